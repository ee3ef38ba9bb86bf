"""Mean drive of the first E layer against its threshold: why a network fires, or does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.network.spec import NetworkSpec, PingSpec
from bridge.network.steps import step_constants
from bridge.network.stimulus import Stimulus
from bridge.recording import Recording


@dataclass(frozen=True, kw_only=True, eq=False)
class DriveBalance:
    """Conductances of the mean cell of the first E layer, float64, shape (step,), µS.

    Attributes
    ----------
    drive_us : array
        AMPA conductance that the input alone makes.
    threshold_us : array
        Drive that brings the cell to threshold under the inhibition of that step.
    bare_threshold_us : float, µS
        The same without inhibition.
    """

    drive_us: NDArray[np.float64]
    threshold_us: NDArray[np.float64]
    bare_threshold_us: float


def drive_balance(
    recording: Recording,
    stimulus: Stimulus | None,
    *,
    spec: NetworkSpec | None,
    weights: Mapping[str, NDArray[np.floating]],
    trial: int = 0,
) -> DriveBalance | None:
    """Return drive and threshold of the mean first-layer E cell, or None where undefined.

    The drive of each step, filtered by the AMPA synapse (a constant one settles at
    ``drive / (1 - a_AMPA)``). The threshold under inhibition ``g_i`` is
    ``g_th + g_i |E_inh - V_th| / (E_exc - V_th)``; ``g_i`` is the recorded trace ``gi_e_1``, or
    else the I spikes filtered by the GABA synapse. None without a conductance-based `spec`, a
    stimulus, or `W_in` for input spikes.

    Source: steady state of the membrane equation; the oscilloscope reference (pinglab).
    """
    from scipy.signal import lfilter

    if not isinstance(spec, PingSpec) or stimulus is None:
        return None
    if len(stimulus.events) and "W_in" not in weights:
        return None
    constants = step_constants(spec, recording.dt_ms)
    n_steps = recording.n_steps
    kicks_us = np.full(n_steps, stimulus.bias_us, dtype=np.float64)
    if stimulus.g_ext_us is not None:
        kicks_us += stimulus.g_ext_us[trial].mean(axis=1)[:n_steps]
    if len(stimulus.events):
        w_in = np.asarray(weights["W_in"], dtype=np.float64)
        per_channel_us = (np.maximum(w_in, 0.0) if spec.dales_law else w_in).mean(axis=1)
        rows = stimulus.trial_events(trial)
        kicks_us += np.bincount(rows[:, 0], per_channel_us[rows[:, 2]], minlength=n_steps)[:n_steps]
    drive_us = lfilter([1.0], [1.0, -constants.decay_ampa], kicks_us)

    g_inh_us = np.zeros(n_steps)
    if "gi_e_1" in recording.traces:
        g_inh_us[:] = recording.traces["gi_e_1"][trial].mean(axis=1)
    elif "i1" in recording.n_cells and "W_ie_1" in weights:
        scale = constants.decay_gaba if spec.synapses.order == "kick-decay" else 1.0
        # (n_inh,): mean over the E cells of what one spike of an I cell adds
        w_ie = np.asarray(weights["W_ie_1"], dtype=np.float64)
        per_cell_us = scale * (np.maximum(w_ie, 0.0) if spec.dales_law else w_ie).mean(axis=1)
        rows = recording.trial_spikes("i1", trial)
        # A spike of step n is felt in step n + 1.
        kicks_us = np.zeros(n_steps)
        kicks_us[1:] = np.bincount(rows[:, 0], per_cell_us[rows[:, 2]], minlength=n_steps)[:-1]
        g_inh_us[:] = lfilter([1.0], [1.0, -constants.decay_gaba], kicks_us)
    cell = spec.exc_cell
    bare_us = cell.g_threshold_us
    per_inh = abs(cell.e_inh_mv - cell.v_th_mv) / (cell.e_exc_mv - cell.v_th_mv)
    return DriveBalance(
        drive_us=drive_us,
        threshold_us=bare_us + per_inh * g_inh_us,
        bare_threshold_us=bare_us,
    )
