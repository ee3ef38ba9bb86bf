"""Sweeps of small networks, as the command line would make them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.network.spec import NetworkSpec
from bridge.network.stimulus import Stimulus
from bridge.network.weights import Weights
from bridge.recording import Recording
from bridge.runs.groups import PING_GROUPS
from bridge.runs.groups_scan import SCAN_GROUPS
from bridge.runs.job import Job, make_job
from bridge.runs.resolve import resolve
from bridge.runs.sweep import Sweep, make_sweep
from bridge.runs.vary import vary
from scope.measure.scan_metrics import measure_run, spike_hash
from sim_brian.engine.program import EngineOptions
from sim_brian.ping.run import simulate
from sim_brian.ping.scan import scan

NUMPY = EngineOptions(target="numpy")
TINY = {
    "dataset": "scikit", "n_hidden": [24], "dt": 0.5, "t_ms": 260.0, "input_rate": 80.0,
    "w_in": [2.0, 0.4], "w_in_sparsity": 0.5, "burn_in": 20.0,
}  # fmt: skip
"""Fires in volleys, driven by a digit; 520 steps."""


def make(*, without: tuple[str, ...] = (), **flags) -> Sweep:
    """Return the sweep of these flags and those of TINY, but for those it is to be without."""
    base = {key: value for key, value in TINY.items() if key not in without}
    return make_sweep(resolve((*PING_GROUPS, *SCAN_GROUPS), base | flags))


def single(**flags) -> Job:
    """Return the job that `sim` makes of these flags, encoded as sweeps encode."""
    events = {"encoder": "events"} if "input" not in flags else {}
    return make_job(resolve(PING_GROUPS, TINY | events | flags))


def hash_of_sim(job: Job) -> str:
    recording, _ = simulate(job.spec, job.weights, job.stimulus, seed=job.seed, engine=NUMPY)
    return spike_hash(recording)


def run(sweep: Sweep, **more) -> list[dict]:
    """Return the rows of a sweep."""
    measure = functools.partial(measure_run, stim_window_ms=sweep.stim_window_ms)
    settings = {"engine": NUMPY, "jobs": 1, "corners": sweep.corners, "measure": measure} | more
    return [
        dict(result)
        for _, result in scan(functools.partial(vary, sweep.job), sweep.points, **settings)
    ]


@dataclass(frozen=True)
class Published:
    """Parts of a published network; the swept value replaces one of them."""

    spec: NetworkSpec
    weights: Weights
    stimulus: Stimulus
    seed: int = 42


def keep_recording(parts: Published, recording: Recording) -> Mapping[str, object]:
    """Keep the recording itself: for scans in the same process."""
    return {"recording": recording}
