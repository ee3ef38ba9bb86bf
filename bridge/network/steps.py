"""Everything that follows from the time step, computed in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bridge.network.spec import CellSpec, CubaSpec, NetworkSpec

DT_CAL_MS = 0.1
"""Step at which per-step conductance increments are calibrated (Source: pinglab)."""
TAU_CAL_MS = 2.0
"""AMPA time constant of that calibration; an overridden tau does not change it."""
MAX_STEPS = 50_000_000
MAX_REF_STEPS = 2**31 - 1
"""Counters of refractory steps are 32-bit integers in both backends."""


def count_steps(t_ms: float, dt_ms: float) -> int:
    """Return the number of steps in a trial.

    Parameters
    ----------
    t_ms, dt_ms : float, ms
        Duration and time step.

    Raises
    ------
    ValueError
        If either is not positive and finite, or if `dt_ms` does not divide `t_ms` (relative
        tolerance 1e-9): a trial with a fraction of a step cannot be compared across backends.
    """
    for name, value in (("dt", dt_ms), ("t_ms", t_ms)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} = {value:g} ms must be a positive number")
    exact = t_ms / dt_ms
    n_steps = round(exact)
    if n_steps < 1 or abs(exact - n_steps) > 1e-9 * max(exact, 1.0):
        below = max(math.floor(exact), 1) * dt_ms
        raise ValueError(
            f"dt = {dt_ms:g} ms does not divide the trial of {t_ms:g} ms "
            f"({exact:.6g} steps); use a t_ms such as {below:g} or {below + dt_ms:g}, or another dt"
        )
    if n_steps > MAX_STEPS:
        raise ValueError(
            f"{t_ms:g} ms at dt = {dt_ms:g} ms are {n_steps} steps; at most {MAX_STEPS} are allowed"
        )
    return n_steps


def refractory_steps(tau_ref_ms: float, dt_ms: float) -> int:
    """Return the refractory time in whole steps, at least one.

    Half steps go to the even neighbour, as in Python's `round` of the float quotient (1.5 ms at
    dt 0.6 is 2 steps, at dt 0.2 it is 8). This quantisation is a genuine dt-dependence of the
    model: 1.5 ms become 2 ms at dt 1.

    Raises
    ------
    ValueError
        If there are more steps than a backend can count.
    """
    exact = tau_ref_ms / dt_ms
    if exact > MAX_REF_STEPS:
        raise ValueError(
            f"dt = {dt_ms:g} ms cuts the refractory time of {tau_ref_ms:g} ms into {exact:.3g} "
            f"steps, and at most {MAX_REF_STEPS} can be counted; use a dt of "
            f"{tau_ref_ms / MAX_REF_STEPS:.2g} ms or more"
        )
    return max(1, round(exact))


def calibration_factor(dt_ms: float) -> float:
    """Return the factor that makes a per-step conductance increment independent of dt.

    An increment added each step settles at ``g / (1 - exp(-dt / tau_AMPA))``; multiplied by this
    factor it settles where it would at dt = 0.1 ms.

    Source: pinglab, ``k(dt) = (1 - exp(-dt / 2)) / (1 - exp(-0.1 / 2))``.
    """
    return math.expm1(-dt_ms / TAU_CAL_MS) / math.expm1(-DT_CAL_MS / TAU_CAL_MS)


@dataclass(frozen=True, kw_only=True)
class StepConstants:
    """Constants of a network on a grid of `dt_ms`.

    Attributes
    ----------
    decay_ampa, decay_gaba : float
        ``exp(-dt / tau)`` of the synapses (1 where the model has none).
    decay_li, decay_out : float
        The same for the readout's integrator and output LIF.
    n_ref_exc_steps, n_ref_inh_steps : int
        Refractory steps (0 where the model has none).
    """

    dt_ms: float
    decay_ampa: float
    decay_gaba: float
    decay_li: float
    decay_out: float
    n_ref_exc_steps: int
    n_ref_inh_steps: int


def step_constants(spec: NetworkSpec, dt_ms: float) -> StepConstants:
    """Return every constant that depends on dt, afresh; nothing keeps an old one.

    Raises
    ------
    ValueError
        If `dt_ms` is not positive, or so coarse that the explicit leak of a current-based
        network is unstable (dt >= 2 tau).
    """
    if not (math.isfinite(dt_ms) and dt_ms > 0):
        raise ValueError(f"dt = {dt_ms:g} ms must be a positive number")
    if isinstance(spec, CubaSpec):
        shortest = min(spec.tau_mem_ms, spec.tau_out_ms)
        if dt_ms >= 2 * shortest:
            raise ValueError(
                f"dt = {dt_ms:g} ms makes the explicit leak unstable; use less than "
                f"{2 * shortest:g} ms (twice the shortest time constant)"
            )
        return StepConstants(
            dt_ms=dt_ms, decay_ampa=1.0, decay_gaba=1.0, decay_li=1.0,
            decay_out=1.0 - dt_ms / spec.tau_out_ms, n_ref_exc_steps=0, n_ref_inh_steps=0,
        )  # fmt: skip
    return StepConstants(
        dt_ms=dt_ms,
        decay_ampa=math.exp(-dt_ms / spec.synapses.tau_ampa_ms),
        decay_gaba=math.exp(-dt_ms / spec.synapses.tau_gaba_ms),
        decay_li=math.exp(-dt_ms / spec.readout.tau_li_ms),
        decay_out=math.exp(-dt_ms / spec.readout.tau_out_ms),
        n_ref_exc_steps=refractory_steps(spec.exc_cell.tau_ref_ms, dt_ms),
        n_ref_inh_steps=refractory_steps(spec.inh_cell.tau_ref_ms, dt_ms),
    )


def rate_ceiling_hz(cell: CellSpec, dt_ms: float) -> float:
    """Return the highest rate (Hz) that the refractory steps allow."""
    return 1000.0 / (refractory_steps(cell.tau_ref_ms, dt_ms) * dt_ms)
