"""One E-I layer over a whole sequence, as one differentiable operation.

A kernel runs all steps forward, keeping only what the way back needs, and the hand-derived adjoint
of the same order of operations backward. There are two: ``function``
(:mod:`train_torch.kernels.plain`, readable torch on any device) and ``cpp``
(:mod:`train_torch.kernels.native`, compiled loops on the CPU). Both give the spikes and, to
rounding, the gradients of the eager steps of :mod:`train_torch.kernels.cells`.

With x = exp(-dt G/C), G the total conductance, v0 and v the voltage before and after a step (before
the reset), v_inf its limit, h = (1 - x)/G and q = (v_inf - v0) x dt/C, the adjoint of a
conductance-based step is, with a bar for gradients and z for spikes:

    v_bar  = [free, no spike] v_bar' + [free] z_bar S(v - v_th);  0 at the floor
    d      = v_bar / gamma
    v0_bar = v_bar - d (1 - x)
    g_bar  = g_bar' decay + d (q + (E - v_inf) h)       for each of the two conductances
    z_bar of the step before = g_bar W^T, plus what readout and next layer send

A kick has the gradient of its conductance; gamma is ``v_grad_dampen``, S the surrogate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bridge.network.spec import CellSpec

MATRICES = ("w_in", "w_ee", "w_ei", "w_ie", "w_ii", "w_out")


@dataclass(frozen=True, kw_only=True)
class ConductanceCells:
    """Constants of one population of conductance-based cells, and how gradients pass."""

    cell: CellSpec
    dt_ms: float
    decay_exc: float
    decay_inh: float
    n_ref_steps: int
    slope: float
    dampen: float

    def numbers(self) -> list[float]:
        """Return the constants in the order of ``Ping`` in kernels/cells.h."""
        cell = self.cell
        return [
            self.dt_ms, self.decay_exc, self.decay_inh, cell.g_leak_us, cell.e_leak_mv,
            cell.e_exc_mv, cell.e_inh_mv, cell.c_m_nf, cell.v_th_mv, cell.v_reset_mv,
            cell.v_floor_mv, self.n_ref_steps, self.slope, self.dampen,
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CurrentCells:
    """Constants of current-based cells: hard reset, clamp at 0, arctan surrogate."""

    leak: float
    tau_ms: float
    v_th: float
    slope: float

    def numbers(self) -> list[float]:
        """Return the constants in the order of ``Cuba`` in kernels/cells.h."""
        return [self.leak, self.tau_ms, self.v_th, self.slope]


Cells = ConductanceCells | CurrentCells


@dataclass(frozen=True, kw_only=True, eq=False)
class EventTable:
    """Input spikes of a batch, by trial, then step.

    Attributes
    ----------
    n_steps, n_trials : int
    start : Tensor, int64, (trial * n_steps + step,) + 1
        Where the channels of each step begin.
    channel : Tensor, int32
    """

    n_steps: int
    n_trials: int
    start: Tensor
    channel: Tensor

    @classmethod
    def of(cls, rows: Tensor, *, n_steps: int, n_trials: int, device: torch.device) -> EventTable:
        """Return the table of rows (step, trial, channel) on the CPU, by trial, then step."""
        slot = rows[:, 1] * n_steps + rows[:, 0]
        count = torch.bincount(slot, minlength=n_trials * n_steps)
        start = torch.zeros(len(count) + 1, dtype=torch.int64)
        torch.cumsum(count, 0, out=start[1:])
        return cls(
            n_steps=n_steps, n_trials=n_trials, start=start.to(device),
            channel=rows[:, 2].to(torch.int32).contiguous().to(device),
        )  # fmt: skip

    def raster(self, n_in: int) -> Tensor:
        """Return counts of spikes, uint8, (step, trial, channel)."""
        device, n = self.start.device, self.n_trials * self.n_steps
        slot = torch.repeat_interleave(
            torch.arange(n, device=device), self.start.diff(), output_size=len(self.channel)
        )
        one = torch.ones((), dtype=torch.uint8, device=device).expand(len(self.channel))
        counts = torch.zeros((n, n_in), dtype=torch.uint8, device=device)
        counts.index_put_((slot, self.channel.long()), one, accumulate=True)
        return counts.view(self.n_trials, self.n_steps, n_in).transpose(0, 1).contiguous()


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What a kernel keeps of the way there for the way back.

    Parameters
    ----------
    dtype : torch.dtype or None
        Float type of the kept voltages and conductances: that of the network (None), or the next
        smaller one. Spikes are kept exactly in either case.
    checkpoint_steps : int
        0 keeps every step; otherwise only the state every so many steps, and the steps between
        are run once more on the way back.
    """

    dtype: torch.dtype | None = None
    checkpoint_steps: int = 0

    def dtype_for(self, dtype: torch.dtype) -> torch.dtype:
        """Return the float type in which a network of `dtype` keeps its trajectory."""
        smaller = {torch.float64: torch.float32, torch.float32: torch.bfloat16}
        if self.dtype in (None, dtype):
            return dtype
        if self.dtype != smaller[dtype]:
            raise ValueError(
                f"a network of {_name(dtype)} keeps its trajectory as {_name(dtype)} or "
                f"{_name(smaller[dtype])}, not {_name(self.dtype)}"
            )
        return self.dtype


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerSettings:
    """A layer without its weights.

    Attributes
    ----------
    exc, inh : Cells
    n_steps : int
    v_start_exc, v_start_inh : Tensor, (trial, cell), mV (or 1)
        Initial voltages; no I cells without the latter.
    events : EventTable, optional
        Input spikes.
    external : Tensor, (step, trial, E cell), µS, optional
    bias_us : float, µS
    window : int
        The state is detached before every step that is a multiple of it; 0: never.
    keep_spikes : bool
        Return spikes of every step.
    keeping : Keeping
    """

    exc: Cells
    inh: Cells
    n_steps: int
    v_start_exc: Tensor
    v_start_inh: Tensor | None = None
    events: EventTable | None = None
    external: Tensor | None = None
    bias_us: float = 0.0
    window: int = 0
    keep_spikes: bool = False
    keeping: Keeping = Keeping()

    @property
    def n_inh(self) -> int:
        """Number of I cells."""
        return 0 if self.v_start_inh is None else self.v_start_inh.shape[1]

    def cells(self, population: str) -> Cells:
        """Return the constants of population ``e`` or ``i``."""
        return self.exc if population == "e" else self.inh

    @property
    def dtype(self) -> torch.dtype:
        """Float type of the layer."""
        return self.v_start_exc.dtype


Matrices = dict[str, Tensor | None]
"""By the names of `MATRICES`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCall:
    """What a kernel is called with: the layer, its input from below, its weights.

    Attributes
    ----------
    settings : LayerSettings
    drive : Tensor, (step, trial, E cell), µS, or None
        Kicks from the layer below.
    w : dict of str to Tensor or None, (pre, post)
        Weights as a step uses them, one entry for each of `MATRICES`.
    """

    settings: LayerSettings
    drive: Tensor | None
    w: Matrices

    @classmethod
    def of(
        cls, settings: LayerSettings, drive: Tensor | None, *matrices: Tensor | None
    ) -> LayerCall:
        """Return the call with matrices in the order of `MATRICES`."""
        return cls(settings=settings, drive=drive, w=dict(zip(MATRICES, matrices, strict=True)))


@dataclass(kw_only=True, eq=False)
class Trajectory:
    """What a kernel kept; its content is the kernel's own. It serves one way back."""

    parts: dict[str, Any]
    spent: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRun:
    """What a layer did.

    Attributes
    ----------
    counts_exc, counts_inh : Tensor, (trial, cell)
        Spikes; those of E cells carry the gradient.
    spikes_exc, spikes_inh : Tensor, (step, trial, cell), or None
        Where they were asked for.
    out : Tensor, (step, trial, target), or None
        Spikes of each step times `w_out`.
    lost_step : Tensor, int64, (trial,) or ()
        First step with a lost voltage; `n_steps` if there is none.
    """

    counts_exc: Tensor
    counts_inh: Tensor | None
    spikes_exc: Tensor | None
    spikes_inh: Tensor | None
    out: Tensor | None
    lost_step: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerGradients:
    """What arrives from above: gradients of spikes, counts and out; and whose are wanted."""

    spikes: Tensor | None
    counts: Tensor | None
    out: Tensor | None
    wanted: frozenset[str]


class Kernel(Protocol):
    """Runs a layer forward and backward."""

    name: str

    def forward(self, call: LayerCall, *, learns: bool) -> tuple[LayerRun, Trajectory | None]:
        """Run all steps; keep what the way back needs if it `learns`."""
        ...

    def backward(
        self, call: LayerCall, trajectory: Trajectory, grads: LayerGradients
    ) -> tuple[Tensor | None, Matrices]:
        """Return the gradient of the drive and of the matrices that `grads` wants."""
        ...


def layer(
    kernel: Kernel, settings: LayerSettings, *, drive: Tensor | None = None, **w: Tensor | None
) -> LayerRun:
    """Run one layer over a whole sequence.

    Parameters
    ----------
    kernel : Kernel
    settings : LayerSettings
    drive : Tensor, (step, trial, E cell), µS, optional
        Kicks from the layer below, differentiable.
    w_in, w_ee, w_ei, w_ie, w_ii, w_out : Tensor, (pre, post), optional
        Weights as a step uses them, differentiable. `w_out` leads to the next layer or readout.
    """
    done = _Layer.apply(kernel, settings, drive, *(w.get(name) for name in MATRICES))
    counts, counts_inh, spikes, spikes_inh, out, lost = done
    return LayerRun(
        counts_exc=counts, counts_inh=counts_inh, spikes_exc=spikes, spikes_inh=spikes_inh,
        out=out, lost_step=lost,
    )  # fmt: skip


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Kernel, settings: LayerSettings, *given: Tensor | None) -> Any:
        tensors = tuple(None if x is None else x.detach().contiguous() for x in given)
        call = LayerCall.of(settings, *tensors)
        run, trajectory = kernel.forward(call, learns=any(ctx.needs_input_grad))
        ctx.kernel, ctx.settings, ctx.trajectory = kernel, settings, trajectory
        ctx.save_for_backward(*tensors)
        rest = (run.spikes_inh, run.counts_inh, run.lost_step)
        ctx.mark_non_differentiable(*(x for x in rest if x is not None))
        ctx.set_materialize_grads(False)
        return (
            run.counts_exc, run.counts_inh, run.spikes_exc, run.spikes_inh, run.out,
            run.lost_step,
        )  # fmt: skip

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        call = LayerCall.of(ctx.settings, *ctx.saved_tensors)
        trajectory: Trajectory = ctx.trajectory
        if trajectory.spent:
            raise RuntimeError(
                "the trajectory of this forward pass was used up by an earlier backward(); run "
                "forward again, or use the eager kernel, which can keep its graph"
            )
        trajectory.spent = True
        wanted = {
            n for n, x in zip(("drive", *MATRICES), ctx.needs_input_grad[2:], strict=True) if x
        }
        counts, _, spikes, _, out, _ = (None if g is None else g.contiguous() for g in grads)
        arriving = LayerGradients(spikes=spikes, counts=counts, out=out, wanted=frozenset(wanted))
        for_drive, made = ctx.kernel.backward(call, trajectory, arriving)
        trajectory.parts.clear()
        return None, None, for_drive, *(made.get(name) for name in MATRICES)


def _name(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")
