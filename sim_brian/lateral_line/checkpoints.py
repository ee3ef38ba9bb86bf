"""What is recorded of a run of training: weights, rates and map quality at its checkpoints."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line.map_quality import map_quality
from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.poisson import InputSpikes
from bridge.lateral_line.record import (
    Spikes,
    Tail,
    TrainingRecord,
    shown_every,
    tracked_synapses,
)
from bridge.lateral_line.streams import TrainingDrive
from bridge.lateral_line.training_state import TrainingState
from sim_brian.engine.circuit import RawRun

TAIL_S = 10.0
"""How much of the end of training is kept for the figures."""


def after_run(
    now: TrainingState, end: int, raw: RawRun, spikes: InputSpikes, x_cm: NDArray[np.float64]
) -> TrainingState:
    """Return the state after a run, its checkpoints recorded.

    Parameters
    ----------
    now : TrainingState
        Before the run.
    end : int
        Trials that are over after it.
    raw : RawRun
    spikes : InputSpikes
    x_cm : float64, shape (n_steps,)
        Position of the sphere in every step of the run.
    """
    p = now.params
    n_steps = (end - now.n_done) * p.trial_steps
    first_step = now.n_done * p.trial_steps
    record = dataclasses.replace(
        now.record, **{f.name: list(getattr(now.record, f.name))
                       for f in dataclasses.fields(now.record)},
    )  # fmt: skip
    found: dict[str, Spikes] = {name: raw.spikes[name] for name in ("mon", "ts")}
    found["ll"] = (spikes.ll.cell.astype(np.int64), spikes.ll.step.astype(np.int64))
    sizes = {"ll": p.n_ll, "mon": p.n_mon, "ts": p.n_ts}
    counts = [
        np.bincount(found[name][1] // p.trial_steps, minlength=end - now.n_done)
        / (sizes[name] * p.trial_duration_s)
        for name in ("ll", "mon", "ts")
    ]
    record.trial_rates_hz += np.stack(counts, axis=1).tolist()
    cell, step = found["ts"]
    pending = (
        np.concatenate([now.spikes_ts[0], cell]),
        np.concatenate([now.spikes_ts[1], step + first_step]),
    )
    due = [k for k in range(now.n_done + 1, end + 1)
           if k % p.checkpoint_trials == 0 or k == p.n_training_trials]  # fmt: skip
    w_at = raw.traces["mon_ts.w"]
    for k in due:
        # Row r of the monitor is the start of the run's r-th checkpoint interval.
        inside = k < end and k % p.checkpoint_trials == 0
        row = (k - now.n_done) // p.checkpoint_trials
        w = w_at[row] if inside else raw.finals["mon_ts.w"]
        _checkpoint(p, record, now, k, w, pending, (first_step, x_cm))
    keep = pending[1] >= (end // p.checkpoint_trials - 1) * p.checkpoint_trials * p.trial_steps
    if p.pv_window == "cycle":
        keep = pending[1] >= end * p.trial_steps - _cycle_steps(p)
    return dataclasses.replace(
        now, n_done=end, state=dict(raw.finals), record=record,
        spikes_ts=(pending[0][keep], pending[1][keep]),
        tail=_tail(p, now.tail, found, first_step, n_steps),
    )  # fmt: skip


def _cycle_steps(params: NetworkParams) -> int:
    """Return the steps of a sweep to and fro."""
    return 2 * params.n_ll * params.hold_steps


def _checkpoint(
    params: NetworkParams, record: TrainingRecord, now: TrainingState, k: int,
    w: NDArray[np.float64], spikes: Spikes, x: tuple[int, NDArray[np.float64]],
) -> None:  # fmt: skip
    p = params
    before = round(record.t_s[-1] / p.trial_duration_s)
    t_s = k * p.trial_duration_s
    record.add_weights(t_s, w, now.mon_ts_w_before, tracked_synapses(p, len(w)))
    begin, end = before * p.trial_steps, k * p.trial_steps
    in_interval = (spikes[1] >= begin) & (spikes[1] < end)
    seconds = (end - begin) * p.dt_s
    record.rate_t_s.append(t_s)
    record.ts_rate_hz.append(float(in_interval.sum() / (p.n_ts * seconds)))
    if (len(record.t_s) - 1) % p.pv_eval_every_checkpoints:
        return
    if p.pv_window == "cycle":
        begin = max(0, end - _cycle_steps(p))
        in_interval = (spikes[1] >= begin) & (spikes[1] < end)
    # Before the first sweep is over, what was shown must not fill the circle.
    part = p.pv_window == "cycle" and end - begin < _cycle_steps(p) // 2
    quality = map_quality(
        spikes[1][in_interval] - begin, spikes[0][in_interval], n_cells=p.n_ts,
        x_cm=_x_trace(p, begin, end, x), dt_s=p.dt_s,
        circle_cm=(0.0, p.ll_body_length_cm) if part else None,
    )  # fmt: skip
    record.pv_t_s.append(t_s)
    record.pv_sigma_theta.append(quality.sigma_theta_rad)
    record.pv_delta_trial.append(quality.delta_trial_rad)
    record.pv_valid.append(quality.valid_fraction)


def _x_trace(
    params: NetworkParams, begin: int, end: int, x: tuple[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    first, x_cm = x
    if begin >= first:
        return x_cm[begin - first : end - first]
    at = np.arange(begin, end) // params.hold_steps  # reaches back before this run
    positions: NDArray[np.float64] = TrainingDrive(params).positions_cm[at]
    return positions


def _tail(
    params: NetworkParams, before: Tail, found: dict[str, Spikes], first_step: int, n_steps: int
) -> Tail:
    end = first_step + n_steps
    # What came before is not always kept: a control begins late.
    begin = max(before.begin_step, end - round(TAIL_S / params.dt_s))
    sizes = {"ll": params.n_ll, "mon": params.n_mon, "ts": params.n_ts}
    spikes, counts = {}, {}
    for name, (cell, step) in found.items():
        now = np.bincount(step, minlength=n_steps).astype(np.int32)
        counts[name] = np.concatenate([before.counts[name], now])[begin - end :]
        old_cell, old_step = before.spikes[name]
        cell = np.concatenate([old_cell, cell])
        step = np.concatenate([old_step + before.begin_step, step + first_step])
        keep = (step >= begin) & (cell % shown_every(sizes[name]) == 0)
        spikes[name] = (cell[keep], step[keep] - begin)
    return Tail(begin_step=begin, n_steps=end - begin, spikes=spikes, counts=counts)
