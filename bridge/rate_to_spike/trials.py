"""Trials of a spiking network: which task and timing, what is shown, with which random stream.

Every trial has a stream of its own, so that a result depends neither on the trials beside it nor
on where it was computed. Its first part draws the trial, its second the initial voltages and the
noise, which all scaling factors share: they are compared on the same trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.files.reading import cause
from bridge.rate_to_spike.lif import LIF_STEPS
from bridge.rate_to_spike.model_file import RateModel
from bridge.rate_to_spike.names import guess_task, normalise_name, unknown
from bridge.rate_to_spike.task_factory import TaskFactory
from bridge.rate_to_spike.tasks import AbstractTask

TIMING = ("T", "stim_on", "stim_dur", "delay")
LEGACY: Mapping[str, Mapping[str, Any]] = {
    "go_nogo": {"T": 200, "stim_on": 50, "stim_dur": 25, "eval_end": 10_000},
    "xor": {"T": 300, "stim_on": 50, "stim_dur": 50, "delay": 10, "eval_end": 20_000},
    "mante": {
        "T": 500, "stim_on": 50, "stim_dur": 200, "eval_end": 26_000, "encoding": "noisy",
    },
}  # fmt: skip
"""Windows of the 2019 evaluation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One trial of a spiking network.

    Attributes
    ----------
    number : int
        Of its random stream.
    stimulus : float64, shape (n_in, T)
        As the rate network gets it.
    u : float64, shape (n_in, column)
        As the spiking network gets it: one column more.
    label : object
    type : str
        Under which its accuracy is counted.
    expected : int
        1, -1, or 0 for no answer.
    start : int
        First LIF step that is judged.
    """

    number: int
    stimulus: NDArray[np.float64]
    u: NDArray[np.float64]
    label: Any
    type: str
    expected: int
    start: int


def task_of(
    model: RateModel,
    task_name: str | None,
    task_settings: Mapping[str, Any] | None = None,
    *,
    path: str | Path | None = None,
    legacy_windows: bool = False,
) -> AbstractTask:
    """Return the task that a model is tested on.

    Its timing: what is given, else what the model file says it was trained with, else the
    published one. A file may name a task that is known here, but no code: ``module:Class`` has to
    be given.

    Parameters
    ----------
    model : RateModel
    task_name : str, optional
        From the file if not given, else guessed from its path.
    task_settings : mapping, optional
        Any of T, stim_on, stim_dur, delay, encoding, eval_amp_thresh, eval_end.
    path : path, optional
        To guess from.
    legacy_windows : bool
        Timing and windows of the 2019 evaluation.

    Raises
    ------
    ValueError
        If the task is unknown, code that only the file names, or does not fit the network; or if
        the file holds a timing that is none.
    """
    name = task_name or _named_in(model) or guess_task(str(path or ""))
    if name is None:
        raise ValueError(
            f"{model.source}: the task is not known; name it "
            f"({', '.join(TaskFactory.list_available_tasks())})"
        )
    task_class = TaskFactory.task_class(name)
    settings: dict[str, Any] = dict(task_class.defaults)
    trained_on = model.text("task")
    if trained_on is None or normalise_name(trained_on) == normalise_name(name):
        settings |= {k: v for k in TIMING if (v := model.whole(k)) is not None}
        encoding = model.text("encoding")
        if encoding is not None:
            settings["encoding"] = encoding
    if legacy_windows:
        if task_class.name not in LEGACY:
            raise ValueError(f"task {name}: there are no 2019 windows for it")
        settings |= LEGACY[task_class.name]
    settings |= {key: value for key, value in (task_settings or {}).items() if value is not None}
    task = TaskFactory.create_task(name, settings)
    u, _ = task.generate_stimulus(seed=np.random.default_rng(0))
    if u.shape[0] != model.n_in:
        raise ValueError(
            f"{model.source}: the network has {model.n_in} input channels, the task {name} has "
            f"{u.shape[0]}"
        )
    return task


def _named_in(model: RateModel) -> str | None:
    """Return the task that a model file names; it is looked up, never imported."""
    name = model.text("task")
    if name is None:
        return None
    if ":" in name:
        raise ValueError(
            f"{model.source}: task = {cause(name)!r} names code, and no file can have code run; "
            "if it is yours, pass it yourself (--task my_tasks:DMS)"
        )
    if normalise_name(name) not in TaskFactory.list_available_tasks():
        raise unknown(f"task in {model.source}:", cause(name), TaskFactory.list_available_tasks())
    return name


def eval_start(task: AbstractTask) -> int:
    """Return the first LIF step that is judged.

    Raises
    ------
    ValueError
        If no step is left.
    """
    given = task.settings.get("eval_end")
    start = int(given) if given is not None else LIF_STEPS * task.evaluation_start()
    if not 0 <= start < LIF_STEPS * (task.n_steps - 1):
        raise ValueError(
            f"task {task.name}: eval_end = {start} LIF steps leaves nothing of a trial of "
            f"{LIF_STEPS * task.n_steps}"
        )
    return start


def draw_trials(
    task: AbstractTask,
    n_trials: int,
    seed: int,
    *,
    balanced: bool = False,
    extra_column: bool = True,
    first: int = 0,
) -> list[Trial]:
    """Return trials `first`, `first` + 1 ...

    Parameters
    ----------
    task : AbstractTask
    n_trials : int
    seed : int
    balanced : bool
        Let the trial types take turns instead of drawing them.
    extra_column : bool
        Give the spiking network T + 1 columns (a run of exactly T rate steps).
    first : int

    Raises
    ------
    ValueError
        For fewer than one trial, or balanced trials of a task that names no types.
    """
    if n_trials < 1:
        raise ValueError(f"n_trials = {n_trials} must be at least 1")
    if balanced and not task.trial_types:
        raise ValueError(f"task {task.name} names no trial types; it can't be balanced")
    start, trials = eval_start(task), []
    for number in range(first, first + n_trials):
        rng = np.random.default_rng(_stream(seed, number, 0))
        chosen = task.trial_types[number % len(task.trial_types)] if balanced else None
        stimulus, label = task.generate_stimulus(chosen, rng)
        trials.append(
            make_trial(task, stimulus, label, number, start=start, extra_column=extra_column)
        )
    return trials


def make_trial(
    task: AbstractTask,
    stimulus: NDArray[np.float64],
    label: Any,
    number: int,
    *,
    start: int,
    extra_column: bool = True,
) -> Trial:
    """Return the trial of a stimulus."""
    return Trial(
        number=number,
        stimulus=stimulus,
        u=task.extended(stimulus) if extra_column else stimulus,
        label=label,
        type=task.type_of(stimulus, label),
        expected=task.expected_response(label),
        start=start,
    )


def run_rng(seed: int, number: int, factor: int | None = None) -> np.random.Generator:
    """Return the stream of a trial's initial voltages and noise.

    Parameters
    ----------
    seed, number : int
    factor : int, optional
        Index of the scaling factor, for noise of its own.
    """
    return np.random.default_rng(_stream(seed, number, 1 if factor is None else 2 + factor))


def _stream(seed: int, number: int, part: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(number, part))


def types_of(trials: Sequence[Trial]) -> list[str]:
    """Return the types that occur, sorted."""
    return sorted({trial.type for trial in trials})
