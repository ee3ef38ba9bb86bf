"""Bifurcation diagrams of a configuration over one of its entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.clustered.yaml_tree import load_tree
from bridge.mean_field import (
    LIFMeanField,
    bifurcation_diagram,
    critical_value,
    random_starts,
)
from bridge.mean_field.uniform_states import active_states, uniform_start, uniform_states
from studies.clustered.stage_mean_field import FullMeanFieldStager
from studies.clustered.sweeps import with_value


@dataclass(frozen=True, eq=False)
class Diagram:
    """The fixed points of a configuration over one entry; made by :func:`diagram_of`."""

    tree: dict[str, Any]
    content: bytes
    path: tuple[str, ...]
    index: int | None
    values: list[float]
    populations: tuple[int, ...]
    n_clusters: int
    settings: dict[str, Any]
    stager: FullMeanFieldStager

    @property
    def name(self) -> str:
        """Name of the entry."""
        return ".".join(self.path) + ("" if self.index is None else f"[{self.index}]")

    def model(self, value: float) -> LIFMeanField:
        """Return the mean field at a value."""
        tree = with_value(self.tree, self.path, value, self.index)
        return FullMeanFieldStager(tree, **self.settings).model

    def rows(self, *, n_runs: int) -> list[dict[str, Any]]:
        """Return one row for each fixed point: value, type, leading eigenvalue, rates.

        Starts are random, uniform, and with each number of clusters switched on.
        """
        n = self.stager.model.n_populations
        starts = [random_starts(n_runs, n, self.stager.rng("starts"))]
        for value in (self.values[0], self.values[len(self.values) // 2], self.values[-1]):
            model = self.model(value)
            found = [one for k in range(min(self.n_clusters, 9) + 1)
                     for one in active_states(model, k)]  # fmt: skip
            starts += [one.nu[np.newaxis] for one in found]
        points = bifurcation_diagram(self.model, self.values, np.concatenate(starts))
        return [
            {"value": point.value, "type": one.kind,
             "leading_eigenvalue": float(one.eigenvalues[0].real),
             **{f"rate_{p}_hz": float(rate) for p, rate in enumerate(one.nu)}}
            for point in points for one in point.fixed_points
        ]  # fmt: skip

    def critical(self, *, tolerance: float) -> list[float]:
        """Return the values at which the uniform state gains or loses its stability."""
        leading: list[float | None] = []
        for value in self.values:
            states = uniform_states(self.model(value))
            one = states[0] if len(states) == 1 else None
            leading.append(None if one is None else float(one.eigenvalues[0].real))
        found = []
        pairs = zip(self.values, self.values[1:], leading, leading[1:], strict=False)
        for low, high, before, after in pairs:
            if before is not None and after is not None and before * after < 0:
                start: NDArray[np.float64] = uniform_start(self.stager.model)
                found.append(critical_value(self.model, (low, high), start, tolerance=tolerance))
        return found


def diagram_of(
    source: Any, param: str, index: int | None, first: float, last: float, n_values: int, *,
    populations: Sequence[int] = (), **settings: Any,
) -> Diagram:  # fmt: skip
    """Return the diagram of a configuration over evenly spaced values of one entry.

    Parameters
    ----------
    source : path or bytes
        Configuration.
    param : str
        Keys that lead to the entry, joined with dots.
    index : int or None
        Element where the entry is a list; the first by default.
    populations : sequence of int
        Populations shown; default the E clusters.
    settings
        Of :class:`FullMeanFieldStager`.

    Raises
    ------
    ValueError
        For an entry that does not exist, or values that it can't have.
    """
    tree, content, _ = load_tree(source)
    path = tuple(param.split("."))
    node: Any = tree
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    if isinstance(node, list) and index is None:
        index = 0
    values = [float(f"{v:.12g}") for v in np.linspace(first, last, n_values)]
    for value in (first, last):
        FullMeanFieldStager(with_value(tree, path, value, index), **settings)
    stager = FullMeanFieldStager(tree, **settings)
    q, n = stager.network.layout.n_clusters, stager.model.n_populations
    for p in populations:
        if not 0 <= p < n:
            raise ValueError(f"population {p} does not exist; they are 0 to {n - 1}")
    shown = tuple(populations) or tuple(range(q))
    return Diagram(tree, content, path, index, values, shown, q, settings, stager)
