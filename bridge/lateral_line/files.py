"""The files of a lateral-line run: weights, sidecar, state of training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.formats.files import FileContentError, read_npz, write_npz
from bridge.lateral_line.params import NetworkParams, from_json
from bridge.lateral_line.record import SeedResult, Tail, TrainingRecord
from bridge.lateral_line.wiring import Wiring

SCHEMA_VERSION = 1
CHECKPOINT_FORMAT = "pingbridge-lateral-line-checkpoint"

_CURRICULUM = ("training_noise_scale_early", "training_noise_scale_late")
CHANGEABLE = frozenset({
    "n_training_trials", "checkpoint_save_every_n_checkpoints", "distance_cm", "direction",
    "test_path_cm", "test_ll_noise_hz", "test_using_held_snapshots", "held_test_spread",
    "keep_mon_ts_stdp_during_test", "keep_ll_mon_stdp_during_test", "eval_x_min_cm",
    "eval_x_max_cm",
})  # fmt: skip
"""Parameters that may differ between a saved state of training and the run that goes on."""


def weight_arrays(result: SeedResult) -> dict[str, NDArray[Any]]:
    """Return the arrays of a weight file: final weights under the published names, and more."""
    w = result.wiring
    return {
        "mon_ts_w": result.mon_ts_w,
        "mon_ts_i": w.mon_ts_i,
        "mon_ts_j": w.mon_ts_j,
        "ll_mon_i": w.ll_mon_i,
        "ll_mon_j": w.ll_mon_j,
        # The weights after training; the published program stored those of the start here.
        "ll_mon_w_mV": result.ll_mon_w_mv,
        "ll_mon_w_init_mV": result.ll_mon_w_before_mv,
        "mon_ts_w_init": result.mon_ts_w_before,
    }


def sidecar(result: SeedResult, *, mode: str, save_tag: str) -> dict[str, Any]:
    """Return the small description that lies beside a weight file."""
    p = result.params
    names = (
        "n_ll", "n_mon", "n_ts", "speed_cm_s", "distance_cm", "direction",
        "training_noise_scale_early", "training_noise_scale_late", "mon_ts_apre", "mon_ts_apost",
        "mon_ts_wmax",
    )  # fmt: skip
    return {
        "mode": mode,
        **{name: getattr(p, name) for name in names},
        "seed": p.seed,
        "save_tag": save_tag,
        "plastic": result.plastic,
        "schema_version": SCHEMA_VERSION,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedWeights:
    """Weights of a file; contacts are checked against those that the seed draws."""

    ll_mon_w_mv: NDArray[np.float64]
    mon_ts_w: NDArray[np.float64]
    ll_mon_w_init_mv: NDArray[np.float64]


def read_weights(path: Path, wiring: Wiring) -> SavedWeights:
    """Return the weights of a file for a network.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or holds the weights of another network.
    """
    found = read_npz(path)
    for name in ("mon_ts_i", "mon_ts_j", "ll_mon_i", "ll_mon_j"):
        if name not in found:
            raise FileContentError(f"{path}: {name} is missing; not a lateral-line weight file")
        if not np.array_equal(found[name], getattr(wiring, name)):
            raise FileContentError(
                f"{path} holds another network: its contacts ({name}) differ from those of these "
                "parameters and this seed"
            )
    final = {name: _weights(path, found, name, len(wiring.ll_mon_i if "ll" in name else
                                                   wiring.mon_ts_i))
             for name in ("mon_ts_w", "ll_mon_w_mV", "ll_mon_w_init_mV")}  # fmt: skip
    return SavedWeights(
        ll_mon_w_mv=final["ll_mon_w_mV"],
        mon_ts_w=final["mon_ts_w"],
        ll_mon_w_init_mv=final["ll_mon_w_init_mV"],
    )


def _weights(path: Path, found: dict[str, NDArray], name: str, n: int) -> NDArray[np.float64]:
    array = found.get(name)
    if array is None or array.shape != (n,) or not np.all(np.isfinite(array)):
        raise FileContentError(f"{path}: {name} must hold {n} finite weights")
    return array.astype(np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A saved state of training; see :class:`sim_brian.lateral_line.train.TrainingState`."""

    params: NetworkParams
    plastic: bool
    n_done: int
    state: dict[str, NDArray[Any]]
    record: TrainingRecord
    spikes_ts: tuple[NDArray[np.int64], NDArray[np.int64]]
    tail: Tail
    mon_ts_w_before: NDArray[np.float64]
    ll_mon_w_before_mv: NDArray[np.float64]


def write_checkpoint(path: Path, saved: Checkpoint) -> None:
    """Write a state of training, whole or not at all."""
    described = {
        "format": CHECKPOINT_FORMAT,
        "version": SCHEMA_VERSION,
        "params": saved.params.to_json(),
        "plastic": saved.plastic,
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
    }
    write_npz(path, arrays)


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a saved state of training.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or something else.
    """
    arrays = read_npz(path)
    try:
        described = json.loads(arrays["description"].tobytes())
        if described["format"] != CHECKPOINT_FORMAT or described["version"] != SCHEMA_VERSION:
            raise ValueError("another format or version")
        begin, n_steps = described["tail"]
        state = {
            name.removeprefix("state:"): array
            for name, array in arrays.items()
            if name.startswith("state:")
        }
        return Checkpoint(
            params=from_json(described["params"]),
            plastic=described["plastic"],
            n_done=int(arrays["trial_idx"]) + 1,
            state=state | {"mon_ts.w": arrays["mon_ts_w"]},
            record=TrainingRecord.from_arrays(arrays),
            spikes_ts=_pair(arrays["pending_ts"]),
            tail=Tail(
                begin_step=begin,
                n_steps=n_steps,
                spikes={name: _pair(arrays[f"tail:{name}"]) for name in ("ll", "mon", "ts")},
            ),
            mon_ts_w_before=arrays["mon_ts_w_before"],
            ll_mon_w_before_mv=arrays["ll_mon_w_before_mV"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FileContentError(
            f"{path} is not a state of lateral-line training of this version ({error}); start the "
            "training anew without --resume-from"
        ) from None


def _pair(array: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return array[0].astype(np.int64), array[1].astype(np.int64)


def check_same_network(path: Path, saved: Checkpoint, params: NetworkParams, plastic: bool) -> None:
    """Refuse a state of training that these parameters cannot go on from.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    ours, theirs = params.to_json(), saved.params.to_json()
    changeable = set(CHANGEABLE)
    if ours[_CURRICULUM[0]] != ours[_CURRICULUM[1]]:
        changeable.discard("n_training_trials")  # the curriculum runs over all of them
    different = [name for name in ours if ours[name] != theirs[name] and name not in changeable]
    if different:
        shown = ", ".join(f"{name} {theirs[name]} there, {ours[name]} here" for name in different)
        raise ValueError(f"--resume-from: {path} is of another network ({shown})")
    if saved.plastic != plastic:
        raise ValueError(f"--resume-from: {path} and this run differ in --disable-all-stdp")
    if saved.n_done > params.n_training_trials:
        raise ValueError(
            f"--resume-from: {path} is {saved.n_done} trials old; --n-training-trials "
            f"{params.n_training_trials} is less"
        )
