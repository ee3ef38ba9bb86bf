"""Weight matrices of a network: the checked container, the form backends use, and their draw."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.network.draw_rules import CUBA_DRAW as CUBA_DRAW
from bridge.network.draw_rules import CUBA_OUT_STD, WeightDraw
from bridge.network.draw_rules import DrawRule as DrawRule
from bridge.network.draw_rules import ei_draw as ei_draw
from bridge.network.published import draw_published
from bridge.network.spec import CubaSpec, NetworkSpec, PingSpec
from bridge.network.steps import step_constants

Matrix = NDArray[np.float64]
WeightUnit = Literal["uS", "1"]
DrawSource = Literal["numpy", "torch"]

GRID_BITS = 44
"""Weights used by a backend are multiples of ``2**-GRID_BITS``."""
GRID_LIMIT = 2.0 ** (np.finfo(np.float64).nmant + 1 - GRID_BITS)
"""Sums of such weights below this magnitude (2**9) are exact in float64."""

_STREAMS = ("W_in", "W_out", "W_ff", "W_ee", "W_ei", "W_ie", "W_ii")
# Position in this tuple is part of every seed's meaning: append, never reorder.


@dataclass(frozen=True, eq=False, repr=False)
class Weights(Mapping[str, Matrix]):
    """The weight matrices of one network, by name; read-only, finite, float64.

    Names are those of `NetworkSpec.matrix_shapes`: ``W_in``, ``W_ff_1to2``, ``W_out``, ``W_ee_1``,
    ``W_ei_1``, ``W_ie_1``, ``W_ii_1``, ``b_out``. Each matrix has shape (pre, post).

    Parameters
    ----------
    matrices : mapping of str to array
        Copied, unless they are read-only float64 arrays already.
    unit : {"uS", "1"}
        Microsiemens per spike (conductance-based), or dimensionless (current-based).

    Raises
    ------
    ValueError
        If an array is not real-valued, or holds an entry that is not finite.
    """

    matrices: Mapping[str, Matrix]
    unit: WeightUnit = "uS"

    def __post_init__(self) -> None:
        if self.unit not in get_args(WeightUnit):
            raise ValueError(f"unit = {self.unit!r} is unknown; use 'uS' or '1' (dimensionless)")
        checked = {str(name): _read_only(name, m) for name, m in self.matrices.items()}
        object.__setattr__(self, "matrices", MappingProxyType(checked))

    @classmethod
    def for_spec(cls, spec: NetworkSpec, matrices: Mapping[str, ArrayLike]) -> Weights:
        """Return the weights of `spec`, complete and in its order; absent optional ones are zero.

        Raises
        ------
        ValueError
            For a name that the network does not have, a required matrix that is missing, a wrong
            shape, or an entry that is not finite.
        """
        shapes = spec.matrix_shapes
        for name in matrices:
            if name not in shapes:
                nearest = difflib.get_close_matches(name, shapes, n=1, cutoff=0.0)[0]
                raise ValueError(
                    f"this {spec.model} network has no matrix {name!r} (nearest: {nearest}); "
                    f"it has {', '.join(shapes)}"
                )
        missing = [n for n in shapes if n not in matrices and n not in spec.optional_matrices]
        if missing:
            raise ValueError(
                f"weights lack {', '.join(missing)}; only "
                f"{', '.join(sorted(spec.optional_matrices)) or 'nothing'} may be left out"
            )
        complete: dict[str, Matrix] = {}
        for name, shape in shapes.items():
            matrix = _read_only(name, matrices[name]) if name in matrices else np.zeros(shape)
            if matrix.shape != shape:
                turned = len(shape) == 2 and matrix.shape == shape[::-1]
                raise ValueError(
                    f"{name} has shape {matrix.shape}; this network needs {shape} (pre, post)"
                    + ("; it looks transposed" if turned else "")
                )
            complete[name] = matrix
        return cls(complete, unit=unit_of(spec))

    def used(self, spec: NetworkSpec) -> Weights:
        """Return the weights with Dale's law applied where `spec` asks for it.

        Every matrix of a conductance-based network is clamped at >= 0, of a current-based one only
        ``W_in``: its readout is signed and its inhibition carries the minus sign.
        """
        if not spec.dales_law:
            return self
        clamped = ["W_in"] if isinstance(spec, CubaSpec) else list(self)
        return self.replace(**{name: np.maximum(self[name], 0.0) for name in clamped})

    def replace(self, **matrices: ArrayLike) -> Weights:
        """Return a copy with some matrices exchanged for others of the same shape.

        Raises
        ------
        ValueError
            For a name that is not here, another shape, or an entry that is not finite.
        """
        for name, matrix in matrices.items():
            shape = self[self._known(name)].shape
            if np.shape(matrix) != shape:
                raise ValueError(f"{name} has shape {np.shape(matrix)}; it must stay {shape}")
        exchanged: dict[str, Any] = {**self.matrices, **matrices}
        return Weights(exchanged, unit=self.unit)

    def scaled(self, name: str, factor: float) -> Weights:
        """Return a copy in which the matrix `name` is multiplied by `factor`.

        Raises
        ------
        ValueError
            For a name that is not here, or a factor that is not finite.
        """
        if not np.isfinite(factor):
            raise ValueError(f"factor of {name} = {factor} is not a finite number")
        return self.replace(**{name: self[self._known(name)] * factor})

    def equals(self, other: Weights) -> bool:
        """Tell whether names, shapes, unit and every entry agree."""
        return (
            self.unit == other.unit
            and self.keys() == other.keys()
            and all(np.array_equal(self[name], other[name]) for name in self)
        )

    def _known(self, name: str) -> str:
        if name not in self.matrices:
            nearest = difflib.get_close_matches(name, self.matrices, n=1, cutoff=0.0) or ["none"]
            raise ValueError(
                f"no matrix {name!r} here; there are {', '.join(self)} (nearest: {nearest[0]})"
            )
        return name

    def __getitem__(self, name: str) -> Matrix:
        return self.matrices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.matrices)

    def __len__(self) -> int:
        return len(self.matrices)

    def __eq__(self, other: object) -> bool:
        return self.equals(other) if isinstance(other, Weights) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equality goes by content

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {'x'.join(map(str, self[name].shape))}" for name in self)
        return f"Weights({shapes}; unit {self.unit})"

    def __reduce__(self) -> tuple[type[Weights], tuple[dict[str, Matrix], str]]:
        # Through the constructor, so that unpickled arrays are read-only again.
        return Weights, (dict(self.matrices), self.unit)


def unit_of(spec: NetworkSpec) -> WeightUnit:
    """Return the unit of a network's weights: µS per spike, or "1" for current-based ones."""
    return "1" if isinstance(spec, CubaSpec) else "uS"


def effective(weights: Mapping[str, ArrayLike], spec: NetworkSpec, dt_ms: float) -> Weights:
    """Return the matrices as a backend uses them in each step.

    Dale's law is applied (see `Weights.used`); with the synapse order kick-decay, recurrent
    matrices are multiplied by one decay of the synapse that they drive, which turns the decay-add
    kernel into the published one; finally every entry is put on the exact grid.

    Parameters
    ----------
    weights : mapping of str to array, shape (pre, post)
        As stored; checked against `spec`.
    dt_ms : float, ms

    Raises
    ------
    ValueError
        If the weights do not fit `spec`, or `dt_ms` is not legal for it.

    Source: pinglab, models.py: ``g <- (g + s W) a`` is ``g a + s (W a)``.
    """
    constants = step_constants(spec, dt_ms)
    used = Weights.for_spec(spec, weights).used(spec)
    decays: dict[str, float] = {}
    if isinstance(spec, PingSpec) and spec.synapses.order == "kick-decay":
        decays = dict.fromkeys(("W_ee", "W_ei"), constants.decay_ampa)
        decays |= dict.fromkeys(("W_ie", "W_ii"), constants.decay_gaba)
    return Weights(
        {name: on_exact_grid(used[name] * decays.get(name[:4], 1.0)) for name in used},
        unit=used.unit,
    )


def on_exact_grid(w: ArrayLike) -> Matrix:
    """Return `w` rounded to multiples of ``2**-44``, so that its sums do not depend on order.

    A float64 holds 53 bits: sums of such numbers are exact, whatever their order and grouping, as
    long as the magnitudes add up to less than 2**9. Backends that add the kicks of a step in
    different orders (dense product, event queue, atomic adds) then agree to the last bit.
    Weights born as float32 with a magnitude of 2**-21 or more are unchanged, others move by at
    most 2**-45 = 2.8e-14. Entries of 2**9 and more stay as they are.
    """
    w = np.asarray(w, dtype=np.float64)
    small = np.abs(w) < GRID_LIMIT
    grid = np.round(np.where(small, w, 0.0) * 2.0**GRID_BITS) * 2.0**-GRID_BITS
    return np.where(small, grid, w) + 0.0  # + 0.0 turns -0.0 into 0.0: same bytes


def draw_weights(
    spec: NetworkSpec, draw: WeightDraw, *, seed: int, source: DrawSource = "numpy"
) -> Weights:
    """Return randomly drawn weights.

    Conductance-based matrices: ``max(mean + std N(0, 1), 0)``, absent with probability
    `sparsity`, divided by ``(1 - sparsity)`` and by the number of presynaptic cells; feed-forward
    matrices stay signed where the network has no Dale's law. Current-based: ``W_in`` is the
    absolute value of a masked normal, ``W_out`` normal with std 0.05, ``W_ei`` and ``W_ie`` normal
    clamped at >= 0, ``b_out`` zero; nothing is divided.

    Parameters
    ----------
    seed : int
        From 0 to 2**63 - 1.
    source : {"numpy", "torch"}
        ``numpy``: float64, one stream per matrix, so that the rule or the presence of one matrix
        leaves the random numbers of the others alone, and a new sparsity keeps the values of the
        connections that stay (up to ``1 - sparsity``). ``torch``: the order and float32
        arithmetic of the published runs, for exact replays.

    Raises
    ------
    ValueError
        For an illegal seed or source, or a sparse E-I loop of a current-based network.

    Source: pinglab, models.py and oscilloscope reference.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ValueError(f"seed = {seed!r} must be a whole number from 0 to 2**63 - 1")
    if source not in get_args(DrawSource):
        raise ValueError(f"source = {source!r} is unknown; use one of numpy, torch")
    if isinstance(spec, CubaSpec):
        for name in ("w_ei", "w_ie"):
            if getattr(draw, name).sparsity:
                raise ValueError(
                    f"{name} sparsity = {getattr(draw, name).sparsity:g}: the E-I loop of a "
                    "current-based network is dense; use 0"
                )
    if source == "torch":
        return Weights.for_spec(spec, draw_published(spec, draw, seed=int(seed)))
    names = [name for name in spec.matrix_shapes if name != "b_out"]
    return Weights.for_spec(spec, {n: _draw_matrix(spec, draw, n, int(seed)) for n in names})


def _stream(seed: int, name: str) -> np.random.Generator:
    """Return the generator of one matrix, which depends on the seed and its name alone."""
    layer = re.search(r"\d+", name)
    key = (_STREAMS.index(re.sub(r"_\d.*", "", name)), int(layer[0]) if layer else 0)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _draw_matrix(spec: NetworkSpec, draw: WeightDraw, name: str, seed: int) -> Matrix:
    shape, cuba, rng = spec.matrix_shapes[name], isinstance(spec, CubaSpec), _stream(seed, name)
    if cuba and name == "W_out":
        return CUBA_OUT_STD * rng.standard_normal(shape)
    rule = draw.rule(name)
    w = rule.mean + rule.std * rng.standard_normal(shape)
    if name in spec.optional_matrices or (spec.dales_law and not cuba):  # optional: recurrent
        w = np.maximum(w, 0.0)
    if rule.sparsity > 0:
        w = w * (rng.random(shape) > rule.sparsity)
    return np.abs(w) if cuba else w / ((1.0 - rule.sparsity) * shape[0])


def _read_only(name: str, matrix: ArrayLike) -> Matrix:
    """Return a finite, read-only float64 array; share it if it is one already."""
    raw = np.asarray(matrix)
    if raw.dtype.kind not in "fiub":
        raise ValueError(f"{name} has entries of type {raw.dtype}; real numbers are needed")
    shared = raw.dtype == np.float64 and raw.base is None and not raw.flags.writeable
    w = raw if shared else np.array(raw, dtype=np.float64, order="C")
    if not np.isfinite(w).all():
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(w))[0])
        raise ValueError(f"{name}{list(where)} = {w[where]} is not a finite number")
    w.setflags(write=False)
    return w
