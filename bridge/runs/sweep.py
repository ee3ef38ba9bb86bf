"""From the options of `video` and `scan` to the points of a sweep, all checked before any runs."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridge.datasets import catalog as datasets
from bridge.network.event_times import STEP_OFF_MS, STEP_ON_MS
from bridge.runs.applies import asked_for
from bridge.runs.groups import InputOptions, NetworkOptions
from bridge.runs.groups_scan import SecondSweepOptions, SweepOptions
from bridge.runs.inherit import InheritedRun
from bridge.runs.job import Job, make_job
from bridge.runs.options import Options
from bridge.runs.resolve import Resolved
from bridge.runs.stimuli import make_stimulus, refuse_idle_stream
from bridge.runs.variables import VARIABLES
from bridge.runs.vary import check_dt, vary

log = logging.getLogger("pingbridge")

MAX_POINTS = 1_000_000
DEFAULT_MIN, DEFAULT_MAX, DEFAULT_FRAMES = 1.0, 50.0, 10
"""Range where none is given (Source: the seed's --scan-min, --scan-max, --frames)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """One or two parameters over many values, for a job.

    Attributes
    ----------
    job : Job
        The unswept configuration, its input encoded as the sweep encodes it.
    variables : tuple of str
        One name, or two.
    values : tuple of tuple of float
        Values of each variable.
    """

    job: Job
    variables: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]

    @property
    def points(self) -> list[dict[str, float]]:
        """Every combination of values; the last variable runs fastest."""
        combined = itertools.product(*self.values)
        return [dict(zip(self.variables, point, strict=True)) for point in combined]

    @property
    def corners(self) -> list[dict[str, float]]:
        """The combinations of lowest and highest values."""
        ends = [sorted({min(values), max(values)}) for values in self.values]
        combined = itertools.product(*ends)
        return [dict(zip(self.variables, point, strict=True)) for point in combined]

    @property
    def stim_window_ms(self) -> tuple[float, float] | None:
        """The window with overdrive, the same for all points, or None where none has one."""
        if "stim-overdrive" in self.variables and self.job.plan.kind != "file":
            return STEP_ON_MS, STEP_OFF_MS
        return self.job.stim_window_ms

    def config(self) -> dict[str, Any]:
        """Return what config.json keeps: the options as worked out."""
        return self.job.config() | {
            "sweep": {
                "variables": list(self.variables), "values": [list(v) for v in self.values],
            },
        }  # fmt: skip

    def content(self) -> dict[str, Any]:
        """Return everything that decides the results of this sweep, for a key."""
        return {
            "options": {
                key: value for key, value in self.job.resolved.to_json().items()
                if key not in _HARMLESS
            },
            "variables": self.variables,
            "values": self.values,
            "weights": dict(self.job.weights),
            "events": self.job.stimulus.events,
        }  # fmt: skip


_HARMLESS = frozenset({
    "out_dir", "wipe_dir", "config", "from_dir", "save_recording", "raster", "codegen", "device",
    "backend", "jobs", "scheduler", "frame_rate", "keep_frames", "modal", "modal_gpu",
    "load_weights", "weights_file",
    "compute_capability", "batch", "deterministic",
})  # fmt: skip
"""Options that change no result: weights and input count by their content."""


def make_sweep(resolved: Resolved, inherited: InheritedRun | None = None) -> Sweep:
    """Return the sweep that resolved options describe; nothing is written, nothing simulated.

    Raises
    ------
    ValueError, FileNotFoundError
        For anything that does not fit together, and for any value that makes the network or its
        input invalid; names the value.
    """
    first = resolved[SweepOptions]
    asked = [_Axis(resolved, first.scan_var, "", first.scan_min, first.scan_max, first.frames,
                   first.scan_values)]  # fmt: skip
    if SecondSweepOptions in resolved.options:
        second = resolved[SecondSweepOptions]
        if second.scan_var2 is not None:
            asked.append(_Axis(resolved, second.scan_var2, "2", second.scan_min2,
                               second.scan_max2, second.frames2, second.scan_values2))  # fmt: skip
        else:
            for key in ("scan_min2", "scan_max2", "frames2", "scan_values2"):
                if asked_for(resolved, key):
                    raise ValueError(f"--{key.replace('_', '-')} needs --scan-var2")
    names = tuple(axis.name for axis in asked)
    if len(set(names)) < len(names):
        raise ValueError(f"--scan-var and --scan-var2 are both {names[0]}; sweep two parameters")
    for axis in asked:
        axis.check()
    job = _event_coded(make_job(resolved, inherited), names)
    refuse_idle_stream(job.resolved, job.plan)
    values = tuple(axis.values(job) for axis in asked)
    n_points = int(np.prod([len(v) for v in values]))
    if n_points > MAX_POINTS:
        raise ValueError(f"the sweep has {n_points} points; at most {MAX_POINTS} are allowed")
    sweep = Sweep(job=job, variables=names, values=values)
    for corner in sweep.corners:
        vary(job, corner)
    return sweep


def _event_coded(job: Job, variables: Sequence[str]) -> Job:
    """Return the job with the input of a sweep: events in time, that jitter with no parameter."""
    given, kind = job.resolved[InputOptions], job.plan.kind
    pixels = kind == "dataset" and job.plan.dataset in ("scikit", "mnist")
    if given.encoder is None and (pixels or (kind == "synthetic-spikes" and "dt" in variables)):
        options: dict[type[Options], Options] = dict(job.resolved.options)
        options[InputOptions] = dataclasses.replace(given, encoder="events")
        resolved = dataclasses.replace(job.resolved, options=options)
        stimulus = make_stimulus(resolved, job.plan, job.spec)
        return dataclasses.replace(job, resolved=resolved, stimulus=stimulus)
    if "dt" in variables and given.encoder == "steps":
        raise ValueError(
            "--encoder steps draws other input at every dt; leave it out for --scan-var dt"
        )
    return job


@dataclass(frozen=True)
class _Axis:
    """One swept parameter as it was asked for."""

    resolved: Resolved
    name: str
    suffix: str
    low: float | None
    high: float | None
    frames: int | None
    explicit: tuple[float, ...] | None

    def check(self) -> None:
        """Refuse what is wrong whatever the network."""
        variable = VARIABLES[self.name]
        for value in (*(self.explicit or ()), self.low, self.high):
            if value is not None:
                variable.check(value)
        ends = [k for k in ("scan_min", "scan_max", "frames")
                if asked_for(self.resolved, k + self.suffix)]  # fmt: skip
        if self.explicit is not None and ends:
            raise ValueError(
                f"--{ends[0].replace('_', '-')}{self.suffix} and --scan-values{self.suffix} "
                "contradict each other: the values already say it"
            )

    def values(self, job: Job) -> tuple[float, ...]:
        """Return the values, each legal for the job."""
        if self.explicit is not None:
            found = [float(v) for v in self.explicit]
        elif self.name == "digit":
            found = self._classes(job)
        else:
            low = DEFAULT_MIN if self.low is None else self.low
            high = DEFAULT_MAX if self.high is None else self.high
            self._check_order(low, high)
            frames = DEFAULT_FRAMES if self.frames is None else self.frames
            found = np.linspace(low, high, frames).tolist()
        for value in found:
            VARIABLES[self.name].check(value)
        if self.name == "dt":
            return self._dividing(job, found)
        if self.name == "digit":
            for value in found:
                vary(job, {"digit": value})
        return tuple(found)

    def _check_order(self, low: float, high: float) -> None:
        if low > high:
            raise ValueError(
                f"--scan-min{self.suffix} {low:g} is above --scan-max{self.suffix} {high:g}"
            )

    def _classes(self, job: Job) -> list[float]:
        name = job.resolved[InputOptions].dataset
        n_classes = datasets.dataset_info(name).n_classes
        for value in (self.low, self.high):
            if value is not None and value >= n_classes:
                raise ValueError(
                    f"--scan-var digit: the value {value:g} is no class of {name}; use 0 to "
                    f"{n_classes - 1}"
                )
        low = 0 if self.low is None else int(self.low)
        high = n_classes - 1 if self.high is None else int(self.high)
        self._check_order(low, high)
        found = [float(digit) for digit in range(low, high + 1)]
        if self.frames is not None and self.frames != len(found):
            log.warning(
                "--frames%s %d: a sweep of digit has one frame for each class, %d here",
                self.suffix, self.frames, len(found),
            )  # fmt: skip
        return found

    def _dividing(self, job: Job, wanted: Sequence[float]) -> tuple[float, ...]:
        """Return time steps that divide the trial: those that were typed must, others move."""
        t_ms = job.resolved[NetworkOptions].t_ms
        typed = set(wanted if self.explicit is not None else (wanted[0], wanted[-1]))
        for dt_ms in sorted(typed):
            try:
                check_dt(job, dt_ms)
            except ValueError as error:
                raise ValueError(f"--scan-var dt: {error}") from None
        found = [dt if dt in typed else t_ms / round(t_ms / dt) for dt in wanted]
        moved = max((abs(b / a - 1.0) for a, b in zip(wanted, found, strict=True)), default=0.0)
        if moved > 1e-9:
            log.info(
                "dt: values between the ends are moved to the nearest one that divides the trial "
                "of %g ms (by %.2g %% at most)", t_ms, 100.0 * moved,
            )  # fmt: skip
        return tuple(found)
