"""Synaptic matrices of clustered networks: fixed in-degree, drawn on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from bridge.mean_field.siegert import Array


def in_degree(p: ArrayLike, sizes: ArrayLike) -> NDArray[np.int64]:
    """Return the connections of a cell, shape (P, P) [receiving, sending]: floor(p * size)."""
    expected = np.asarray(p, dtype=float) * np.asarray(sizes)
    return np.floor(expected + 1e-9).astype(np.int64)


def generate_clustered_weight_matrix(
    boundaries: ArrayLike, p: ArrayLike, j: ArrayLike, rng: np.random.Generator
) -> csr_matrix:
    """Return a synaptic matrix [receiving, sending] of which each row has a fixed in-degree.

    Every row of a block gets exactly ``floor(p * size)`` connections at columns drawn without
    replacement, all of weight J; the diagonal is then emptied. Blocks are drawn receiving-major:
    the same generator gives the same matrix wherever it is used.

    Parameters
    ----------
    boundaries : int array, shape (P + 1,)
        First neuron of each population, and their number.
    p, j : array, shape (P, P)
        Connection fractions and couplings, [receiving, sending].
    rng : numpy Generator

    Raises
    ------
    ValueError
        For fractions outside 0 to 1 or shapes that do not fit.
    """
    edges = np.asarray(boundaries, dtype=np.int64)
    n = len(edges) - 1
    fractions, couplings = np.asarray(p, dtype=float), np.asarray(j, dtype=float)
    if fractions.shape != (n, n) or couplings.shape != (n, n):
        raise ValueError(
            f"p {fractions.shape} and j {couplings.shape} must be ({n}, {n}): one entry for each "
            "pair of populations"
        )
    if np.any(fractions < 0) or np.any(fractions > 1):
        bad = fractions[(fractions < 0) | (fractions > 1)][0]
        raise ValueError(f"connection probability {bad:g} must lie between 0 and 1")
    degrees = in_degree(fractions, np.diff(edges))
    parts: list[tuple[NDArray[Any], NDArray[Any], Array]] = []
    for a in range(n):
        for b in range(n):
            k, n_rows, n_columns = degrees[a, b], edges[a + 1] - edges[a], edges[b + 1] - edges[b]
            if k == 0 or n_rows == 0 or couplings[a, b] == 0.0:
                continue
            # The k smallest of random keys: a uniform choice without replacement in every row.
            keys = rng.random((n_rows, n_columns))
            columns = (
                np.argpartition(keys, k - 1, axis=1)[:, :k]
                if k < n_columns
                else np.broadcast_to(np.arange(n_columns), (n_rows, n_columns))
            )
            rows = np.repeat(np.arange(edges[a], edges[a + 1]), k)
            parts.append((rows, columns.ravel() + edges[b], np.full(len(rows), couplings[a, b])))
    size = int(edges[-1])
    if not parts:
        return csr_matrix((size, size))
    rows, columns, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = rows != columns
    matrix = csr_matrix((weights[kept], (rows[kept], columns[kept])), shape=(size, size))
    matrix.sort_indices()
    return matrix
