"""The spiking network that a rate network becomes: constants, scaled weights, input, noise.

Everything in the units of the published equations: seconds, mV, and rate steps of 100 LIF steps.

Source: Kim, Li & Sejnowski (2019), PNAS 116:22811, methods; the package spikeRNN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.model_file import RATE_STEP_MS, RateModel

LIF_STEPS = 100
"""LIF steps of one rate step, with or without down-sampling."""
SKIPPED_STEPS = 10
"""Steps left out of firing rates: three quarters of the cells fire in step 0."""


@dataclass(frozen=True, kw_only=True)
class LifParameters:
    """Constants of the LIF cells.

    Attributes
    ----------
    dt_s : float, s
        0.05 ms times the down-sampling.
    t_ref_s, tau_m_s, tau_r_s : float, s
        Refractory time, membrane time constant, rise of the synaptic filter (0: none).
    v_reset_mv, v_th_mv, v_spike_mv : float, mV
        Reset, threshold, and what a voltage record shows at a spike.
    bias_mv : float, mV
        Constant input; at threshold, so that cells rest at rheobase.
    noise_mv : float, mV
        Standard deviation of the noise added in each step.
    refractory : {"float", "steps"}
        Compare times in seconds, as published (in 0.7 % of the cases rounding makes it a step
        shorter), or count whole steps.
    """

    dt_s: float = 5e-5
    t_ref_s: float = 0.002
    tau_m_s: float = 0.010
    tau_r_s: float = 0.002
    v_reset_mv: float = -65.0
    v_th_mv: float = -40.0
    v_spike_mv: float = 30.0
    bias_mv: float = -40.0
    noise_mv: float = 0.1
    refractory: str = "float"

    def __post_init__(self) -> None:
        for name in ("dt_s", "tau_m_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be > 0")
        for name in ("t_ref_s", "tau_r_s", "noise_mv"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be >= 0")
        if not self.v_th_mv > self.v_reset_mv:
            raise ValueError(
                f"v_th_mv = {self.v_th_mv:g} mV must lie above v_reset_mv = {self.v_reset_mv:g} mV"
            )
        if self.refractory not in ("float", "steps"):
            raise ValueError(f"refractory = {self.refractory!r} is unknown; use float or steps")


@dataclass(frozen=True, kw_only=True, eq=False)
class LifNetwork:
    """A converted network before scaling: every scaling factor shares it.

    Attributes
    ----------
    w : float64, shape (post, pre)
        Signed weights, to be divided by the scaling factor.
    w_in : float64, shape (n, n_in)
    w_out : float64, shape (n,)
        To be divided by the scaling factor too.
    tau_d_s : float64, shape (n,), s
        Synaptic decay of the receiving cell.
    inh : bool, shape (n,)
    b_out : float
        Output bias of the rate network; not part of the spiking one unless asked for.
    parameters : LifParameters
    """

    w: NDArray[np.float64]
    w_in: NDArray[np.float64]
    w_out: NDArray[np.float64]
    tau_d_s: NDArray[np.float64]
    inh: NDArray[np.bool_]
    b_out: float = 0.0
    parameters: LifParameters = field(default_factory=LifParameters)

    @property
    def n(self) -> int:
        """Return the number of cells."""
        return len(self.tau_d_s)

    def scaled_w(self, factor: float) -> NDArray[np.float64]:
        """Return the weights of one scaling factor, shape (post, pre)."""
        return self.w / factor

    def decay(self) -> NDArray[np.float64]:
        """Return what a step leaves of the synaptic current, shape (n,)."""
        return np.exp(-self.parameters.dt_s / self.tau_d_s)

    def rise_decay(self) -> float:
        """Return what a step leaves of the rising variable; 0 without one."""
        p = self.parameters
        return math.exp(-p.dt_s / p.tau_r_s) if p.tau_r_s > 0 else 0.0

    def kick(self) -> NDArray[np.float64]:
        """Return what a spike adds to the filter of unit area, shape (n,)."""
        rise_s = self.parameters.tau_r_s
        return 1.0 / (rise_s * self.tau_d_s) if rise_s > 0 else 1.0 / self.tau_d_s


def convert(
    model: RateModel,
    *,
    rectify: bool | str = "auto",
    initial: bool = False,
    parameters: LifParameters | None = None,
) -> LifNetwork:
    """Return the spiking network of a rate network; see :meth:`RateModel.signed_w`."""
    return LifNetwork(
        w=model.signed_w(rectify=rectify, initial=initial),
        w_in=model.w_in,
        w_out=model.w_out.ravel(),
        tau_d_s=model.tau_steps() * RATE_STEP_MS / 1000.0,
        inh=model.inh,
        b_out=model.b_out,
        parameters=parameters or LifParameters(),
    )


def check_factors(factors: Sequence[float]) -> list[Any]:
    """Return scaling factors as a list of numbers, whole ones as int.

    Raises
    ------
    ValueError
        For an empty list, or a factor that is no number > 0.
    """
    found: list[Any] = []
    for one in np.ravel(np.asarray(list(factors), dtype=object)):
        if isinstance(one, bool) or not isinstance(one, int | float | np.number):
            raise ValueError(f"scaling factor {one!r} is no number")
        if not (math.isfinite(float(one)) and float(one) > 0):
            raise ValueError(f"scaling factor {float(one):g} must be > 0")
        found.append(int(one) if isinstance(one, int | np.integer) else float(one))
    if not found:
        raise ValueError("no scaling factors: give at least one, such as 20 25 30")
    return found


def check_input(u: Any, n_in: int) -> NDArray[np.float64]:
    """Return an input as float64.

    Raises
    ------
    ValueError
        Unless it has `n_in` rows and at least two columns, all finite.
    """
    found = np.asarray(u, dtype=np.float64)
    if found.ndim != 2 or found.shape[0] != n_in or found.shape[1] < 2:
        raise ValueError(
            f"the input has shape {found.shape}; needed are {n_in} rows (input channels) and at "
            "least 2 columns (rate steps)"
        )
    if not np.isfinite(found).all():
        raise ValueError("the input has entries that are not finite")
    return found


def n_lif_steps(n_columns: int) -> int:
    """Return the LIF steps of an input with so many columns (after down-sampling)."""
    return LIF_STEPS * (n_columns - 1)


def drive(network: LifNetwork, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the external input of each cell (mV), shape (column, cell); not scaled by lambda.

    Raises
    ------
    ValueError
        If it is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.ascontiguousarray((network.w_in @ u).T)
    if not np.isfinite(found).all():
        raise ValueError("the input times the input weights is not finite")
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Stimulation:
    """Artificial stimulation: in each step of a window a coin decides on a kick of +-0.5 mV.

    Attributes
    ----------
    kick_mv : float64, shape (n,), mV
    coins : float64, shape (step,)
        1 where the kick is given.
    """

    kick_mv: NDArray[np.float64]
    coins: NDArray[np.float64]


KICK_MV = 0.5


def read_stims(
    stims: Mapping[str, Any] | None, n: int, n_steps: int, coins: Any
) -> Stimulation | None:
    """Return the stimulation that a `stims` dict asks for.

    Parameters
    ----------
    stims : mapping or None
        ``mode`` ('none', 'exc', 'inh'), ``dur`` ([on, off) in LIF steps), ``units``.
    n, n_steps : int
    coins : Generator or array
        One uniform number for each step of the window; below 0.5 is a kick.

    Raises
    ------
    ValueError
        For an unknown mode, missing units, a unit or a window that doesn't exist.
    """
    stims = stims or {"mode": "none"}
    mode = str(stims.get("mode", "none")).lower()
    if mode not in ("none", "exc", "inh"):
        raise ValueError(f"stims: unknown mode {stims.get('mode')!r}; use none, exc or inh")
    if mode == "none":
        return None
    if stims.get("units") is None:
        raise ValueError(f"stims: mode {mode!r} needs units, a list of cells")
    units = np.ravel(np.asarray(stims["units"])).astype(int)
    if len(units) and (units.min() < 0 or units.max() >= n):
        raise ValueError(f"stims: units must lie between 0 and {n - 1}")
    if stims.get("dur") is None:
        return None
    on, off = (int(one) for one in np.ravel(stims["dur"]))
    if not 0 <= on <= off:
        raise ValueError(f"stims: dur = [{on}, {off}] must ascend from 0 or later")
    on, off = min(on, n_steps), min(off, n_steps)
    kick = np.zeros(n)
    kick[units] = KICK_MV if mode == "exc" else -KICK_MV
    drawn = coins.random(off - on) if hasattr(coins, "random") else np.ravel(coins)[: off - on]
    if len(drawn) < off - on:
        raise ValueError(f"stims: {len(drawn)} coins for a window of {off - on} steps")
    given = np.zeros(n_steps)
    given[on:off] = drawn < 0.5
    return Stimulation(kick_mv=kick, coins=given)


INIT_V = {"uniform": (-65.0, 30.0), "subthreshold": (-65.0, -40.0)}
"""Ranges (mV) of the initial voltages; the first, as published, starts with a volley."""


def draw_v_start(rng: np.random.Generator, n: int, init_v: str = "uniform") -> NDArray[np.float64]:
    """Return initial voltages (mV), shape (n,).

    Raises
    ------
    ValueError
        For an unknown range.
    """
    if init_v not in INIT_V:
        raise ValueError(f"init_v = {init_v!r} is unknown; use {' or '.join(INIT_V)}")
    low, high = INIT_V[init_v]
    return np.asarray(low + (high - low) * rng.random(n))


def scale_noise(deviates: NDArray[np.float64], noise_mv: float) -> NDArray[np.float64]:
    """Return standard normal deviates as they are added to a voltage (mV); works in place."""
    # A tenth by division, as published: another rounding would be another voltage.
    if noise_mv == 0.1:
        deviates /= 10.0
    else:
        deviates *= noise_mv
    return deviates
