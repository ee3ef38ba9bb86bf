"""What training goes on from, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.files.json_text import parse_json
from bridge.files.npz import read_npz, write_npz
from bridge.files.reading import FileContentError
from bridge.lateral_line.params import NetworkParams, from_json
from bridge.lateral_line.record import (
    N_TRACKED,
    Spikes,
    Tail,
    TrainingRecord,
    no_tail,
)
from bridge.lateral_line.wiring import n_synapses

VERSION = 2
FIRST_CELLS_ONLY = 1
"""Version whose end of training holds the first cells of a layer only: it is not shown."""
LAYERS = ("ll", "mon", "ts")
FORMAT = "pingbridge-lateral-line-checkpoint"

_CURRICULUM = ("training_noise_scale_early", "training_noise_scale_late")
OF_THE_TEST = frozenset({
    "distance_cm", "direction", "test_path_cm", "test_ll_noise_hz", "test_using_held_snapshots",
    "held_test_spread", "keep_mon_ts_stdp_during_test", "keep_ll_mon_stdp_during_test",
    "eval_x_min_cm", "eval_x_max_cm",
})  # fmt: skip
"""Parameters that decide nothing before the test."""
OF_THE_SCHEDULE = frozenset({"n_training_trials", "checkpoint_save_every_n_checkpoints"})
"""Further ones that may differ between a state of training and the run that goes on from it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingState:
    """Everything that training goes on from.

    Attributes
    ----------
    params : NetworkParams
    n_done : int
        Trials that are over.
    state : dict of str to array
        State of the network by ``group.variable``; homeostasis after trial `n_done` is still to
        come.
    record : TrainingRecord
    spikes_ts : (cell, step)
        Spikes of TS since the last map quality, steps of training.
    tail : Tail
    mon_ts_w_before, ll_mon_w_before_mv : float64, shape (n_synapses,)
        Weights at the start.
    """

    params: NetworkParams
    n_done: int
    state: dict[str, NDArray[Any]]
    record: TrainingRecord
    spikes_ts: Spikes
    tail: Tail
    mon_ts_w_before: NDArray[np.float64]
    ll_mon_w_before_mv: NDArray[np.float64]


def state_sizes(params: NetworkParams, n_synapses: Mapping[str, int]) -> dict[str, int]:
    """Return the variables of the network's state, each with its number of values.

    Parameters
    ----------
    params : NetworkParams
    n_synapses : mapping
        Of ``ll_mon`` and ``mon_ts``.
    """
    p = params
    cells = {"mon": p.n_mon, "ts": p.n_ts, "mon_inh": 1}
    if p.use_ts_feedback_inh:
        cells["ts_inh"] = 1
    found = {f"{cell}.{name}": n for cell, n in cells.items() for name in ("v", "ge", "gi", "ref")}
    found |= {"mon.pre_ts": p.n_mon, "ts.post_mon": p.n_ts}
    if p.ll_mon_use_stdp:
        found |= {"ll.pre_mon": p.n_ll, "mon.post_ll": p.n_mon}
    return found | {f"{name}.w": n for name, n in n_synapses.items()}


def write_state(path: Path, saved: TrainingState) -> None:
    """Write a state of training, whole or not at all."""
    described = {
        "format": FORMAT,
        "version": VERSION,
        "params": saved.params.to_json(),
        "plastic": saved.params.plastic,
        "tail": [saved.tail.begin_step, saved.tail.n_steps],
    }
    arrays: dict[str, Any] = {
        "trial_idx": np.int64(saved.n_done - 1),
        "description": np.frombuffer(json.dumps(described).encode(), dtype=np.uint8),
        "mon_ts_w": saved.state["mon_ts.w"],
        **saved.record.to_arrays(),
        **{f"state:{name}": array for name, array in saved.state.items() if name != "mon_ts.w"},
        "mon_ts_w_before": saved.mon_ts_w_before,
        "ll_mon_w_before_mV": saved.ll_mon_w_before_mv,
        "pending_ts": np.stack(saved.spikes_ts).astype(np.int32),
        **{
            f"tail:{name}": np.stack(spikes).astype(np.int32)
            for name, spikes in saved.tail.spikes.items()
        },
        **{f"counts:{name}": counts for name, counts in saved.tail.counts.items()},
    }
    write_npz(path, arrays)


def read_state(path: Path) -> TrainingState:
    """Return a saved state of training, every array of it checked against its parameters.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, something else, or holds what no training leaves; names the file.
    """
    arrays = read_npz(path)
    try:
        described = parse_json(arrays["description"].tobytes(), "description")
        version = described["version"]
        if described["format"] != FORMAT or version not in (FIRST_CELLS_ONLY, VERSION):
            raise ValueError("another format or version")
        params = from_json(described["params"])
        begin, n_steps = map(int, described["tail"])
        state = {
            name.removeprefix("state:"): array
            for name, array in arrays.items()
            if name.startswith("state:")
        }
        found = TrainingState(
            # Runs without plasticity once left the increments in their parameters.
            params=params if described["plastic"] else params.without_plasticity(),
            n_done=int(arrays["trial_idx"]) + 1,
            state=state | {"mon_ts.w": arrays["mon_ts_w"]},
            record=TrainingRecord.from_arrays(arrays),
            spikes_ts=_pair(arrays, "pending_ts", params.n_ts),
            tail=no_tail(begin + n_steps) if version == FIRST_CELLS_ONLY else Tail(
                begin_step=begin,
                n_steps=n_steps,
                spikes={name: _pair(arrays, f"tail:{name}", n) for name, n in
                        zip(LAYERS, (params.n_ll, params.n_mon, params.n_ts), strict=True)},
                counts={name: arrays[f"counts:{name}"] for name in LAYERS},
            ),
            mon_ts_w_before=arrays["mon_ts_w_before"],
            ll_mon_w_before_mv=arrays["ll_mon_w_before_mV"],
        )  # fmt: skip
        _check(found)
    except (
        AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError
    ) as error:  # fmt: skip
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FileContentError(
            f"{path} is not a state of lateral-line training of this version ({what}); start the "
            "training anew without --resume-from"
        ) from None
    return found


def _pair(arrays: dict[str, NDArray], name: str, n_cells: int) -> Spikes:
    array = arrays[name]
    if array.ndim != 2 or len(array) != 2 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold the cell and the step of each spike")
    cell, step = array[0].astype(np.int64), array[1].astype(np.int64)
    if np.any((cell < 0) | (cell >= n_cells) | (step < 0)):
        raise ValueError(f"{name} holds cells or steps that do not exist")
    return cell, step


_SERIES = {
    "t_s": ("t_s", "w_mean", "w_std", "w_mean_abs_delta", "w_frac_moved"),
    "rate_t_s": ("rate_t_s", "ts_rate_hz"),
    "pv_t_s": ("pv_t_s", "pv_sigma_theta", "pv_delta_trial", "pv_valid"),
}  # series of the record by the times that they belong to


def _check(saved: TrainingState) -> None:
    """Refuse arrays of other shapes than the parameters give, and numbers that are not finite."""
    p, record = saved.params, saved.record
    sizes = state_sizes(p, n_synapses(p))
    if set(saved.state) != set(sizes):
        other = ", ".join(sorted(set(sizes) ^ set(saved.state)))
        raise ValueError(f"its network has other variables: {other}")
    arrays: list[tuple[str, NDArray, tuple[int, ...]]] = [
        *((name, array, (sizes[name],)) for name, array in saved.state.items()),
        ("mon_ts_w_before", saved.mon_ts_w_before, (sizes["mon_ts.w"],)),
        ("ll_mon_w_before_mV", saved.ll_mon_w_before_mv, (sizes["ll_mon.w"],)),
        ("trial_rates_hz", np.asarray(record.trial_rates_hz), (saved.n_done, 3)),
        ("tracked_weight_series", np.asarray(record.tracked),
         (len(record.t_s), min(N_TRACKED, sizes["mon_ts.w"]))),
        ("checkpoint_t_s", np.asarray(record.t_s), (max(1, len(record.t_s)),)),
    ]  # fmt: skip
    for name, array, shape in arrays:
        if array.shape != shape or array.dtype.kind not in "fi":
            raise ValueError(f"{name} must hold {' x '.join(map(str, shape))} numbers")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} holds numbers that are not finite")
    for times, names in _SERIES.items():
        if any(np.shape(getattr(record, n)) != (len(getattr(record, times)),) for n in names):
            raise ValueError("its series differ in length")
    tail, end = saved.tail, saved.n_done * p.trial_steps
    if tail.begin_step < 0 or tail.begin_step + tail.n_steps != end:
        raise ValueError("its last spikes are of another number of trials")
    if any(np.any(step >= tail.n_steps) for _, step in tail.spikes.values()):
        raise ValueError("its last spikes come after its end")
    for name, counts in tail.counts.items():
        if counts.shape != (tail.n_steps,) or counts.dtype.kind != "i" or np.any(counts < 0):
            raise ValueError(f"counts:{name} must hold {tail.n_steps} numbers of spikes")


def check_goes_on(path: Path, saved: TrainingState, params: NetworkParams) -> None:
    """Refuse a state of training that these parameters cannot go on from.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    if saved.params.plastic != params.plastic:
        raise ValueError(f"--resume-from: {path} and this run differ in --disable-all-stdp")
    ours, theirs = params.to_json(), saved.params.to_json()
    changeable = OF_THE_TEST | OF_THE_SCHEDULE
    if ours[_CURRICULUM[0]] != ours[_CURRICULUM[1]]:
        changeable -= {"n_training_trials"}  # the curriculum runs over all of them
    shown = differences(theirs, ours, but=changeable)
    if shown:
        raise ValueError(f"--resume-from: {path} is of another network ({', '.join(shown)})")
    if saved.n_done > params.n_training_trials:
        raise ValueError(
            f"--resume-from: {path} is {saved.n_done} trials old; --n-training-trials "
            f"{params.n_training_trials} is less"
        )


def differences(
    there: dict[str, Any], here: dict[str, Any], *, but: frozenset[str] = frozenset()
) -> list[str]:
    """Return in words what differs between the values of two runs."""
    return [
        f"{name} {there[name]} there, {value} here"
        for name, value in here.items()
        if name not in but and there[name] != value
    ]
