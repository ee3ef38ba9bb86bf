"""One time step of the cells, as functions of tensors: the readable reference.

Every faster path computes what stands here. The order of operations is the contract of
:mod:`bridge.network.update_order`; shapes are (batch, cell).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bridge.network.spec import CellSpec
from train_torch.kernels.surrogate import Surrogate, scale_grad

LOST_MV = 1e6
"""A voltage beyond this, or one that is not a number, is lost."""


@dataclass(frozen=True, kw_only=True)
class CellState:
    """Conductance-based cells between two steps.

    Attributes
    ----------
    v_mv : Tensor, (batch, cell), mV
        After reset.
    g_exc_us, g_inh_us : Tensor, (batch, cell), µS
    n_ref_left : Tensor, (batch, cell)
        Refractory steps left, as whole numbers of the network's float type.
    spikes : Tensor, (batch, cell)
        1 where the cell fired in the step that just ended.
    sane : Tensor, (), bool
        No voltage was lost in that step.
    """

    v_mv: Tensor
    g_exc_us: Tensor
    g_inh_us: Tensor
    n_ref_left: Tensor
    spikes: Tensor
    sane: Tensor

    @classmethod
    def at(cls, v_mv: Tensor) -> CellState:
        """Return cells that start at voltages `v_mv`, without conductance or spikes."""
        zero = torch.zeros_like(v_mv)
        return cls(
            v_mv=v_mv,
            g_exc_us=zero,
            g_inh_us=zero,
            n_ref_left=zero,
            spikes=zero,
            sane=torch.ones((), dtype=torch.bool, device=v_mv.device),
        )


def conductance_step(
    state: CellState,
    kick_exc_us: Tensor,
    kick_inh_us: Tensor | None,
    cell: CellSpec,
    *,
    dt_ms: float,
    decay_ampa: float,
    decay_gaba: float,
    n_ref_steps: int,
    surrogate: Surrogate,
    v_grad_dampen: float = 1.0,
) -> CellState:
    """Return the cells one step later.

    Parameters
    ----------
    state : CellState
    kick_exc_us, kick_inh_us : Tensor, (batch, cell), µS
        Summed weights of the spikes that arrive in this step; None for no inhibition.
    cell : CellSpec
    dt_ms, decay_ampa, decay_gaba, n_ref_steps
        Constants of the grid, see :func:`bridge.network.steps.step_constants`.
    surrogate : Surrogate
    v_grad_dampen : float
        The gradient through the increment of the voltage is divided by it.

    Source: exact solution of the membrane under conductances held for a step; pinglab.
    """
    ge, gi, v_free = free_membrane(
        state, kick_exc_us, kick_inh_us, cell,
        dt_ms=dt_ms, decay_ampa=decay_ampa, decay_gaba=decay_gaba, v_grad_dampen=v_grad_dampen,
    )  # fmt: skip
    v = v_free.clamp(min=cell.v_floor_mv)
    left = (state.n_ref_left - 1.0).clamp(min=0.0)
    free = left == 0
    # Outside of `free` no spike and no gradient; filling instead of a product keeps a NaN visible.
    # (where() with a number would copy it to the GPU and wait.)
    spikes = surrogate.spike(v - cell.v_th_mv).masked_fill(~free, 0.0)
    fired = free & (v >= cell.v_th_mv)
    held = fired | ~free
    return CellState(
        v_mv=v.masked_fill(held, cell.v_reset_mv),
        g_exc_us=ge,
        g_inh_us=gi,
        n_ref_left=left.masked_fill(fired, float(n_ref_steps)),
        spikes=spikes,
        sane=(v_free.detach().abs() < LOST_MV).all(),
    )


def free_membrane(
    state: CellState,
    kick_exc_us: Tensor,
    kick_inh_us: Tensor | None,
    cell: CellSpec,
    *,
    dt_ms: float,
    decay_ampa: float,
    decay_gaba: float,
    v_grad_dampen: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return both conductances (µS), and the voltage (mV) without floor, spike or reset.

    Parameters are those of :func:`conductance_step`.
    """
    ge = state.g_exc_us * decay_ampa + kick_exc_us
    gi = state.g_inh_us
    if kick_inh_us is not None:
        gi = gi * decay_gaba + kick_inh_us
    g = cell.g_leak_us + (ge + gi)
    v_inf = (cell.g_leak_us * cell.e_leak_mv + (ge * cell.e_exc_mv + gi * cell.e_inh_mv)) / g
    # Numbers become tensors before a division: torch turns number / tensor into a reciprocal and
    # a product, which rounds twice. They stay on the CPU, from where a kernel takes them as
    # arguments; on a GPU, new_tensor() would make the host wait for it.
    tau_ms = torch.tensor(cell.c_m_nf, dtype=g.dtype) / g
    rise = (v_inf - state.v_mv) * (1.0 - torch.exp(torch.tensor(-dt_ms, dtype=g.dtype) / tau_ms))
    return ge, gi, state.v_mv + scale_grad(rise, 1.0 / v_grad_dampen)


def current_step(
    v: Tensor,
    kick: Tensor,
    *,
    leak: float,
    tau_ms: float,
    v_th: float,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor]:
    """Return voltage after reset and spikes of current-based cells one step later.

    Parameters
    ----------
    v : Tensor, (batch, cell), dimensionless
    kick : Tensor, (batch, cell)
        Summed weights of the spikes that arrive, inhibitory ones negative.
    leak : float
        ``dt / tau``.
    tau_ms : float, ms
        A spike moves the voltage by its weight divided by this, whatever dt.

    Source: pinglab, CUBA-PING (hard reset, lower clamp at rest, no refractory time).
    """
    v = (v - leak * v + kick / tau_ms).clamp(min=0.0)
    spikes = surrogate.spike(v - v_th)
    return v.masked_fill(v >= v_th, 0.0), spikes
