"""Perturbations in the space of populations: vectors, coefficients, time dependence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.clustered.waveforms import diff2exp_wave
from bridge.runs.parameter import nearest

Array = NDArray[np.float64]

COUPLING_TARGETS = ("j_baseline", "j_potentiated", "j")
CELL_TARGETS = ("j_ext", "threshold", "tau_membrane", "tau_synaptic", "tau_refractory")
AROUSAL_TARGETS = ("arousal_level", "arousal_L", "arousal_x_0", "arousal_k", "arousal_M")
TARGETS = ("rate", *COUPLING_TARGETS, *CELL_TARGETS, *AROUSAL_TARGETS)
SHAPES = ("hat", "linear", "diff2exp")
_BLOCK_KEYS = ("vectors", "involved_clusters", "seed", "params", "time_dependence")
_TIME_KEYS = ("shape", "onset_time", "offset_time", "tau_rise", "tau_decay")


class VectorialPerturbation:
    """Vectors over populations that are combined with coefficients.

    Parameters
    ----------
    vectors : sequences
        Values of each vector, on its `involved_clusters` or, without them, on all populations.
    n_vectors : int, optional
        How many; needed for random vectors.
    length : int
        Populations.
    structured : bool
        Random vectors: +-1 with probability `balance` of +1, otherwise normal (mean, sigma).
    involved_clusters : list, optional
        Populations of each vector, or one list for all. Values belong to the indices as they are
        paired.
    sigma, mean, balance : float
    rng : numpy Generator, optional
        For random vectors.

    Raises
    ------
    ValueError
        For vectors of the wrong length or indices that do not exist.
    """

    def __init__(
        self,
        *vectors: ArrayLike,
        n_vectors: int | None = None,
        length: int,
        structured: bool = True,
        involved_clusters: Sequence[Any] | None = None,
        sigma: float = 1.0,
        mean: float = 0.0,
        balance: float = 0.5,
        rng: np.random.Generator | None = None,
    ) -> None:
        n = len(vectors) if n_vectors is None else int(n_vectors)
        if vectors and n != len(vectors):
            raise ValueError(f"n_vectors = {n} but {len(vectors)} vectors are given")
        if n < 1:
            raise ValueError("give vectors, or n_vectors for random ones")
        if not 0 <= balance <= 1:
            raise ValueError(f"balance = {balance:g} must be a probability")
        if not vectors and rng is None:
            raise ValueError("random vectors need rng, a numpy Generator")
        places = _places(involved_clusters, n, length)
        self.length = length
        self.vectors: Array = np.zeros((n, length))
        for k, place in enumerate(places):
            if vectors:
                values = np.asarray(vectors[k], dtype=float)
                if values.shape != (len(place),):
                    raise ValueError(
                        f"vector {k} has {values.size} values for {len(place)} populations"
                    )
            elif structured:
                assert rng is not None
                values = np.where(rng.random(len(place)) < balance, 1.0, -1.0)
            else:
                assert rng is not None
                values = rng.normal(mean, sigma, len(place))
            self.vectors[k, place] = values

    def get_perturbation(self, *coeffs: ArrayLike) -> Array:
        """Return the sum of coefficient times vector: (length,), or (length, T) for time series.

        Parameters
        ----------
        coeffs : number or (T,) array for each vector; one (n_vectors, T) array is taken apart
        """
        given: Sequence[ArrayLike] = coeffs
        if len(coeffs) == 1 and len(self.vectors) > 1 and np.ndim(coeffs[0]) >= 1:
            given = list(np.asarray(coeffs[0], dtype=float))
        if len(given) != len(self.vectors):
            raise ValueError(f"{len(given)} coefficients for {len(self.vectors)} vectors")
        result: Array = self.vectors.T @ np.stack([np.asarray(c, dtype=float) for c in given])
        return result


class CirculantPerturbation:
    """A matrix of ones with one shifted diagonal added within E and one from I to E.

    Parameters
    ----------
    n_clusters : int
        Populations, all counted.
    n_excitatory : int
        Excitatory populations.
    n_clusters_to_perturb : int, optional
        Default all.
    """

    def __init__(
        self, n_clusters: int, n_excitatory: int, n_clusters_to_perturb: int | None = None
    ) -> None:
        n = n_clusters if n_clusters_to_perturb is None else n_clusters_to_perturb
        if not 0 < n <= n_clusters:
            raise ValueError(f"n_clusters_to_perturb = {n} must be 1 to {n_clusters}")
        if n_excitatory + n > n_clusters and n_clusters_to_perturb is not None:
            raise ValueError(
                f"n_excitatory + n_clusters_to_perturb = {n_excitatory + n} is more than the "
                f"{n_clusters} populations"
            )
        self.n_clusters, self.n_excitatory, self.n = n_clusters, n_excitatory, n

    def get_perturbation(self, alpha: float, beta: float) -> Array:
        """Return the matrix, shape (n_clusters, n_clusters)."""
        matrix = np.ones((self.n_clusters, self.n_clusters))
        row = np.arange(self.n)
        matrix[row, (row + 1) % self.n] += alpha
        column = self.n_excitatory + (row - 1) % self.n
        inside = column < self.n_clusters
        matrix[row[inside], column[inside]] += beta
        return matrix


def _places(involved: Sequence[Any] | None, n: int, length: int) -> list[NDArray[np.int64]]:
    if involved is None:
        return [np.arange(length)] * n
    lists = list(involved)
    if lists and not isinstance(lists[0], Sequence | np.ndarray):
        lists = [lists] * n
    if len(lists) != n:
        raise ValueError(f"involved_clusters has {len(lists)} lists for {n} vectors")
    found = []
    for k, one in enumerate(lists):
        place = np.asarray(one)
        if place.ndim != 1 or (place.size and place.dtype.kind not in "iu"):
            raise ValueError(f"involved_clusters of vector {k} must be whole numbers")
        place = place.astype(np.int64)
        if place.size and (place.min() < 0 or place.max() >= length):
            raise ValueError(
                f"involved_clusters of vector {k}: populations are 0 to {length - 1}, not "
                f"{int(place.max() if place.max() >= length else place.min())}"
            )
        if len(np.unique(place)) != len(place):
            raise ValueError(f"involved_clusters of vector {k} names a population twice")
        found.append(place)
    return found


@dataclass(frozen=True)
class PerturbationBlock:
    """One target of the ``perturbation`` section.

    Attributes
    ----------
    vectors : tuple of tuples, or None for random ones
    involved_clusters : nested tuple or None
    seed : int
        Of random vectors.
    params : tuple of float
        A coefficient for each vector.
    shape, onset_time, offset_time, tau_rise, tau_decay
        Time dependence (s); `shape` is None without one.
    """

    vectors: tuple[tuple[float, ...], ...] | None
    involved_clusters: tuple[Any, ...] | None
    seed: int
    params: tuple[float, ...]
    shape: str | None = None
    onset_time: float = 0.0
    offset_time: float | None = None
    tau_rise: float = 0.075
    tau_decay: float = 0.1

    def vectorial(self, length: int) -> VectorialPerturbation:
        """Return the vectors over `length` populations."""
        return VectorialPerturbation(
            *(self.vectors or ()),
            n_vectors=len(self.params),
            length=length,
            involved_clusters=self.involved_clusters,
            rng=np.random.default_rng(self.seed),
        )

    def check_length(self, target: str, length: int) -> None:
        """Raise `ValueError`, naming the target, where the vectors do not fit the populations."""
        try:
            self.vectorial(length)
        except ValueError as error:
            raise ValueError(f"perturbation.{target}: {error}") from None

    def mask(self, *, n_steps: int, dt_s: float) -> Array:
        """Return the time course, shape (n_steps,): exactly 1 throughout without one."""
        if self.shape is None:
            return np.ones(n_steps)
        begin = round(self.onset_time / dt_s)
        end = n_steps if self.offset_time is None else round(self.offset_time / dt_s)
        step = np.arange(n_steps)
        inside = (step >= begin) & (step < end)
        if self.shape == "hat":
            return inside.astype(float)
        if self.shape == "linear":
            return np.where(inside, (step - begin) / max(end - begin, 1), 0.0)
        wave = diff2exp_wave(
            (step - begin) * dt_s, tau_rise_s=self.tau_rise, tau_decay_s=self.tau_decay
        )
        return np.where(inside, wave, 0.0)

    def values(self, length: int, *, n_steps: int | None = None, dt_s: float = 0.0) -> Array:
        """Return the perturbation: (length,) where it is constant, else (length, n_steps)."""
        constant: Array = self.vectorial(length).get_perturbation(*self.params)
        if self.shape is None or n_steps is None:
            return constant
        mask = self.mask(n_steps=n_steps, dt_s=dt_s)
        return constant if np.all(mask == 1.0) else np.asarray(np.outer(constant, mask), float)


def read_perturbations(section: Mapping[str, Any]) -> dict[str, PerturbationBlock]:
    """Return the blocks of the ``perturbation`` section by target.

    Raises
    ------
    ValueError
        For unknown targets, keys and shapes (names the nearest), or lists that do not fit.
    """
    found = {}
    for target, block in section.items():
        _known(target, TARGETS, "perturbation target")
        if block is None:
            continue
        if not isinstance(block, Mapping):
            raise ValueError(f"perturbation.{target} must be a mapping of {', '.join(_BLOCK_KEYS)}")
        try:
            found[target] = _read_block(block)
        except (TypeError, ValueError) as error:
            raise ValueError(f"perturbation.{target}: {error}") from None
    return found


def _read_block(block: Mapping[str, Any]) -> PerturbationBlock:
    for key in block:
        _known(key, _BLOCK_KEYS, "key")
    vectors = block.get("vectors")
    params = block.get("params")
    if params is None:
        raise ValueError("params is missing: one coefficient for each vector")
    params = tuple(float(p) for p in (params if isinstance(params, Sequence) else [params]))
    if vectors is not None:
        vectors = tuple(tuple(float(v) for v in one) for one in vectors)
        if len(vectors) != len(params):
            raise ValueError(f"{len(params)} params for {len(vectors)} vectors")
    involved = block.get("involved_clusters")
    if involved is not None:
        involved = tuple(tuple(one) if isinstance(one, Sequence) else one for one in involved)
    if not np.all(np.isfinite([*params, *(v for one in vectors or () for v in one)])):
        raise ValueError("vectors and params must be finite")
    time = block.get("time_dependence") or {}
    for key in time:
        _known(key, _TIME_KEYS, "time_dependence key")
    shape = time.get("shape")
    if shape is not None:
        _known(shape, SHAPES, "shape")
    elif time:
        raise ValueError(f"time_dependence needs a shape: {', '.join(SHAPES)}")
    extra = {k: float(time[k]) for k in _TIME_KEYS[1:] if time.get(k) is not None}
    seed = block.get("seed")
    return PerturbationBlock(
        vectors, involved, 256 if seed is None else int(seed), params, shape, **extra
    )


def _known(word: Any, legal: Sequence[str], what: str) -> None:
    if word not in legal:
        near = nearest(str(word), legal)
        hint = f"did you mean {near}?" if near else f"legal are {', '.join(legal)}"
        raise ValueError(f"unknown {what} {word!r}; {hint}")


def gather_perturbations(
    blocks: Mapping[str, PerturbationBlock],
    given: Mapping[str, ArrayLike | None],
    *,
    length: int,
    n_steps: int | None = None,
    dt_s: float = 0.0,
) -> dict[str, Array]:
    """Return the array of every perturbed target; what is given wins over the configuration.

    Arrays are (length,); (length, n_steps) for a `rate` that depends on time; couplings may be
    (length, length).

    Raises
    ------
    ValueError
        For unknown targets, wrong shapes, a time-dependent target other than `rate`.
    """
    found = {
        target: block.values(length, n_steps=n_steps, dt_s=dt_s)
        for target, block in blocks.items()
    }  # fmt: skip
    for target, value in given.items():
        _known(target, TARGETS, "perturbation target")
        if value is not None:
            found[target] = np.asarray(value, dtype=float)
    return {target: _checked(target, value, length, n_steps) for target, value in found.items()}


def _checked(target: str, value: Array, length: int, n_steps: int | None) -> Array:
    if not np.all(np.isfinite(value)):
        raise ValueError(f"perturbation of {target} must be finite")
    matrix = target in COUPLING_TARGETS and value.shape == (length, length)
    if value.shape == (length,) or (matrix and target != "j_potentiated"):
        return value
    if value.ndim == 2 and len(value) == length:
        if np.all(value == value[:, :1]):
            return value[:, 0]
        if target != "rate":
            raise ValueError(
                f"perturbation of {target} can't depend on time; only rate can (a mask that is 1 "
                "throughout is accepted)"
            )
        if n_steps is None:
            return value[:, 0]
        if value.shape[1] != n_steps:
            raise ValueError(
                f"perturbation of rate has {value.shape[1]} time steps; the run has {n_steps}"
            )
        return value
    raise ValueError(
        f"perturbation of {target} has the shape {value.shape}; give one value for each of the "
        f"{length} populations"
    )
