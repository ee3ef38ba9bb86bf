"""What a network is: frozen, validated descriptions with units in the names.

Units are closed, so that no conversion factor appears in any integration code: ms, mV, nF, µS,
nA, Hz (nF / µS = ms, µS * mV = nA). The order in which one step is computed is written down in
:mod:`bridge.network.update_order`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, get_args

SynapseOrder = Literal["decay-add", "kick-decay"]
ReadoutMode = Literal["rate", "li", "spike-count", "mem-mean"]
StartState = Literal["rest", "uniform"]
Model = Literal["ping", "cuba-ping", "cuba-noping"]

EXC_PER_INH = 4
"""E cells for each I cell where the size of the I pool is not given (Source: pinglab, N_E // 4)."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _check_finite(spec: object) -> None:
    for f in fields(spec):  # type: ignore[arg-type]
        value = getattr(spec, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{f.name} = {value} is not a finite number")


def _check_positive(spec: object, *names: str) -> None:
    for name in names:
        value = getattr(spec, name)
        _require(value > 0, f"{name} = {value:g} must be > 0")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{name} = {value!r} is unknown; use one of {', '.join(choices)}")


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """A conductance-based leaky integrate-and-fire cell.

    Parameters
    ----------
    c_m_nf, g_leak_us : float
        Capacitance (nF) and leak conductance (µS); their quotient is the membrane time constant.
    e_leak_mv, e_exc_mv, e_inh_mv : float, mV
        Reversal potentials of the leak, of AMPA and of GABA.
    v_th_mv, v_reset_mv, v_floor_mv : float, mV
        Threshold (a spike when V >= v_th), hard reset, lower clamp after each update.
    tau_ref_ms : float, ms
        Refractory time; :func:`bridge.network.steps.step_constants` turns it into steps.

    Source: Börgers (2017), An Introduction to Modeling Neuronal Dynamics (time constant ratio 4);
    values of the oscilloscope reference (pinglab).
    """

    c_m_nf: float
    g_leak_us: float
    tau_ref_ms: float
    e_leak_mv: float = -65.0
    e_exc_mv: float = 0.0
    e_inh_mv: float = -80.0
    v_th_mv: float = -50.0
    v_reset_mv: float = -65.0
    v_floor_mv: float = -200.0

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_positive(self, "c_m_nf", "g_leak_us", "tau_ref_ms")
        # A held cell sits at v_reset and must not count as a spike (see update_order).
        _require(
            self.v_reset_mv < self.v_th_mv,
            f"v_reset_mv = {self.v_reset_mv:g} must lie below v_th_mv = {self.v_th_mv:g}",
        )
        _require(
            self.v_floor_mv <= self.v_reset_mv,
            f"v_floor_mv = {self.v_floor_mv:g} must not lie above v_reset_mv",
        )

    @property
    def tau_mem_ms(self) -> float:
        """Membrane time constant at rest, ms."""
        return self.c_m_nf / self.g_leak_us

    @property
    def g_threshold_us(self) -> float:
        """AMPA conductance (µS) that holds the cell just at threshold without inhibition."""
        return self.g_leak_us * (self.v_th_mv - self.e_leak_mv) / (self.e_exc_mv - self.v_th_mv)


EXC_CELL = CellSpec(c_m_nf=1.0, g_leak_us=0.05, tau_ref_ms=3.0)
INH_CELL = CellSpec(c_m_nf=0.5, g_leak_us=0.1, tau_ref_ms=1.5)


@dataclass(frozen=True, kw_only=True)
class SynapseSpec:
    """Exponential synapses of the conductance-based network.

    Parameters
    ----------
    tau_ampa_ms, tau_gaba_ms : float, ms
        Conductance decay times.
    order : {"decay-add", "kick-decay"}
        ``decay-add`` is ``g <- g a + W s`` (exact for delta-driven exponentials, the default);
        ``kick-decay`` decays recurrent kicks in the step in which they arrive, as the published
        runs before mid-2026 did: the same kernel with recurrent weights multiplied by ``a``.
    """

    tau_ampa_ms: float = 2.0
    tau_gaba_ms: float = 9.0
    order: SynapseOrder = "decay-add"

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_positive(self, "tau_ampa_ms", "tau_gaba_ms")
        _check_choice("synapse order", self.order, get_args(SynapseOrder))


@dataclass(frozen=True, kw_only=True)
class ReadoutSpec:
    """How class logits are read from the spikes of the last E layer.

    Parameters
    ----------
    mode : {"rate", "li", "spike-count", "mem-mean"}
    tau_li_ms : float, ms
        Time constant of the non-spiking integrator of ``li``.
    tau_out_ms : float, ms
        Time constant of the output LIF of ``spike-count`` and ``mem-mean``.
    threshold : float, dimensionless
        Threshold of that output LIF; its reset is subtractive.
    """

    mode: ReadoutMode = "rate"
    tau_li_ms: float = 10.0
    tau_out_ms: float = 5.0
    threshold: float = 1.0

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_choice("readout", self.mode, get_args(ReadoutMode))
        _check_positive(self, "tau_li_ms", "tau_out_ms", "threshold")


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One hidden layer: E cells, and I cells where the layer has E-I structure (`n_inh` > 0)."""

    n_exc: int
    n_inh: int = 0

    def __post_init__(self) -> None:
        _require(self.n_exc >= 1, f"n_exc = {self.n_exc} must be at least 1")
        _require(self.n_inh >= 0, f"n_inh = {self.n_inh} must not be negative")


def ei_layer(n_exc: int, n_inh: int | None = None) -> LayerSpec:
    """Return an E-I layer; `n_inh` defaults to a quarter of `n_exc`, at least one cell."""
    return LayerSpec(n_exc=n_exc, n_inh=max(1, n_exc // EXC_PER_INH) if n_inh is None else n_inh)


@dataclass(frozen=True, kw_only=True)
class PingSpec:
    """The conductance-based network `ping`: stacked E layers, E-I loops in those with I cells.

    Parameters
    ----------
    n_in : int
        Input channels.
    layers : tuple of LayerSpec
        Hidden layers, first to last.
    n_classes : int
        Output units of the readout.
    dales_law : bool
        Clamp every matrix at >= 0 when it is used.
    start : {"rest", "uniform"}
        Initial voltages: all at the leak reversal, or uniform between it and threshold.
    """

    model: ClassVar[Model] = "ping"

    n_in: int
    layers: tuple[LayerSpec, ...]
    n_classes: int = 10
    exc_cell: CellSpec = EXC_CELL
    inh_cell: CellSpec = INH_CELL
    synapses: SynapseSpec = field(default_factory=SynapseSpec)
    readout: ReadoutSpec = field(default_factory=ReadoutSpec)
    dales_law: bool = True
    start: StartState = "rest"

    def __post_init__(self) -> None:
        _require(self.n_in >= 1, f"n_in = {self.n_in} must be at least 1")
        _require(self.n_classes >= 1, f"n_classes = {self.n_classes} must be at least 1")
        _require(len(self.layers) >= 1, "a network needs at least one hidden layer")
        _check_choice("start", self.start, get_args(StartState))

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """E cells of each layer."""
        return tuple(layer.n_exc for layer in self.layers)

    @property
    def ei_layers(self) -> tuple[int, ...]:
        """1-based numbers of the layers that own I cells."""
        return tuple(k for k, layer in enumerate(self.layers, 1) if layer.n_inh)

    @property
    def populations(self) -> dict[str, int]:
        """Cell counts by population, ``e1``, ``i1``, ``e2`` ... in the order of computation."""
        sizes: dict[str, int] = {}
        for k, layer in enumerate(self.layers, 1):
            sizes[f"e{k}"] = layer.n_exc
            if layer.n_inh:
                sizes[f"i{k}"] = layer.n_inh
        return sizes

    @property
    def matrix_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape (pre, post) of every weight matrix by its name in weight files.

        Their order is that in which published runs drew them, and so a contract.
        """
        sizes = self.hidden_sizes
        shapes: dict[str, tuple[int, ...]] = {"W_in": (self.n_in, sizes[0])}
        for k in range(1, len(sizes)):
            shapes[f"W_ff_{k}to{k + 1}"] = (sizes[k - 1], sizes[k])
        shapes["W_out"] = (sizes[-1], self.n_classes)
        for k, layer in enumerate(self.layers, 1):
            if layer.n_inh:
                shapes[f"W_ee_{k}"] = (layer.n_exc, layer.n_exc)
                shapes[f"W_ei_{k}"] = (layer.n_exc, layer.n_inh)
                shapes[f"W_ie_{k}"] = (layer.n_inh, layer.n_exc)
                shapes[f"W_ii_{k}"] = (layer.n_inh, layer.n_inh)
        return shapes

    @property
    def optional_matrices(self) -> frozenset[str]:
        """Names whose absence means zero: the recurrent matrices."""
        feed_forward = ("W_in", "W_ff", "W_out")
        return frozenset(n for n in self.matrix_shapes if not n.startswith(feed_forward))


@dataclass(frozen=True, kw_only=True)
class CubaSpec:
    """The current-based network `cuba-ping`, and its control `cuba-noping` (`n_inh` = 0).

    One hidden layer, dimensionless voltage (rest and reset 0, threshold 1), delta synapses, no
    refractory time; the output unit is a leaky integrator that never spikes.

    Parameters
    ----------
    tau_mem_ms, tau_out_ms : float, ms
        Membrane time constant of E and I, and of the output units.
    dales_law : bool
        Clamp `W_in` at >= 0; the readout is signed in either case.
    """

    n_in: int
    n_exc: int
    n_inh: int
    n_classes: int = 10
    tau_mem_ms: float = 20.0
    tau_out_ms: float = 20.0
    v_th: float = 1.0
    dales_law: bool = True

    def __post_init__(self) -> None:
        _check_finite(self)
        for name in ("n_in", "n_exc", "n_classes"):
            _require(getattr(self, name) >= 1, f"{name} = {getattr(self, name)} must be >= 1")
        _require(self.n_inh >= 0, f"n_inh = {self.n_inh} must not be negative")
        _check_positive(self, "tau_mem_ms", "tau_out_ms", "v_th")

    @property
    def model(self) -> Model:
        """`cuba-ping` with an I population, `cuba-noping` without."""
        return "cuba-ping" if self.n_inh else "cuba-noping"

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """E cells of the one hidden layer."""
        return (self.n_exc,)

    @property
    def ei_layers(self) -> tuple[int, ...]:
        """(1,) with an I population, () without."""
        return (1,) if self.n_inh else ()

    @property
    def populations(self) -> dict[str, int]:
        """Cell counts by population: ``e1``, and ``i1`` where there is one."""
        return {"e1": self.n_exc} | ({"i1": self.n_inh} if self.n_inh else {})

    @property
    def matrix_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape (pre, post) of every weight array by its name in weight files."""
        shapes: dict[str, tuple[int, ...]] = {
            "W_in": (self.n_in, self.n_exc),
            "W_out": (self.n_exc, self.n_classes),
            "b_out": (self.n_classes,),
        }
        if self.n_inh:
            shapes["W_ei_1"] = (self.n_exc, self.n_inh)
            shapes["W_ie_1"] = (self.n_inh, self.n_exc)
        return shapes

    @property
    def optional_matrices(self) -> frozenset[str]:
        """Names whose absence means zero: the recurrent matrices and the output bias."""
        return frozenset({"W_ei_1", "W_ie_1", "b_out"} & set(self.matrix_shapes))


NetworkSpec = PingSpec | CubaSpec
