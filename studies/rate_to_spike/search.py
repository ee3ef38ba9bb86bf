"""The scaling-factor search: every trial at every factor, and which factor is the best.

Source: spikeRNN, `lambda_grid_search`; what it got wrong (one trial list for all workers, errors
counted as wrong answers, other timing than in training) is not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.rate_to_spike.model_file import RateModel, update_rate_model
from bridge.rate_to_spike.scoring import Share, plateau
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.trials import eval_start, task_of
from bridge.runs.parameter import is_whole
from studies.rate_to_spike.measuring import Measured, SearchOptions, measure

if TYPE_CHECKING:
    from studies.rate_to_spike.measuring import Rounds

DEFAULT_FACTORS = tuple(range(20, 76, 5))
MOST_IN_RANGE = 10_000
RULES_DIFFER = 0.1
RATE_OK = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """The outcome for one model.

    Attributes
    ----------
    best : int or float
        The first factor with the highest accuracy.
    score : str
        The rule that chose it.
    plateau : list
        Factors within one standard error of the best.
    measured : Measured
    warnings : list of str
    seed : int
        Of the trials: an evaluation with the same seed would run these trials again.
    """

    best: Any
    score: str
    seed: int
    plateau: list[Any]
    measured: Measured
    warnings: list[str]

    @property
    def accuracy(self) -> Share:
        """Return the accuracy of the best factor."""
        return self.measured.share(self.measured.factors.index(self.best), self.score)

    def fields(self) -> dict[str, Any]:
        """Return what is added to the model file."""
        ran = self.measured.ran.sum(axis=1)
        return {
            "opt_scaling_factor": float(self.best),
            "all_perfs": self.measured.accuracies("published"),
            "all_perfs_strict": self.measured.accuracies("strict"),
            "scaling_factors": np.array([float(f) for f in self.measured.factors]),
            "n_trials_per_factor": ran.astype(np.float64),
            "search_seed": float(self.seed),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each factor, for a table."""
        found = []
        for k, factor in enumerate(self.measured.factors):
            strict, published = (self.measured.share(k, rule) for rule in ("strict", "published"))
            ran = self.measured.ran[k]
            found.append({
                "scaling_factor": factor, "n_trials": strict.total, "strict": strict.value,
                "strict_low": strict.interval[0], "strict_high": strict.interval[1],
                "published": published.value, "published_low": published.interval[0],
                "published_high": published.interval[1],
                "rate_exc_hz": float(self.measured.rate_exc_hz[k][ran].mean()),
                "rate_inh_hz": float(self.measured.rate_inh_hz[k][ran].mean()),
            })  # fmt: skip
        return found


def search_model(
    model: RateModel,
    task: AbstractTask,
    factors: Sequence[float],
    options: SearchOptions,
    *,
    rounds: Rounds | None = None,
    label: str | None = None,
) -> SearchResult:
    """Return the best scaling factor of a model, and everything that was measured.

    For the arguments, see :func:`studies.rate_to_spike.measuring.measure`.

    Raises
    ------
    ValueError
        For factors or a model that make no search.
    RuntimeError
        If a run fails; it is never counted as a wrong answer.
    """
    measured = measure(model, task, factors, options, rounds=rounds, label=label)
    accuracies = measured.accuracies(options.score)
    # A factor that an adaptive search dropped early can't win by the luck of its few trials.
    full = measured.ran.all(axis=1)
    best = int(np.argmax(np.where(full, accuracies, -1.0)))
    at = measured.factors[best]
    return SearchResult(
        best=at,
        score=options.score,
        seed=options.seed,
        plateau=plateau(measured.factors, accuracies, len(measured.trials)),
        measured=measured,
        warnings=_doubts(model, measured, best),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelOnTask:
    """A model file, and the task that it is tested on.

    Attributes
    ----------
    path : Path
    model : RateModel
    task : AbstractTask
    task_name : str
        As it was asked for.
    """

    path: Path
    model: RateModel
    task: AbstractTask
    task_name: str

    @property
    def factor(self) -> float | None:
        """Return the scaling factor that the file held when it was read."""
        return self.model.number("opt_scaling_factor")


def load_models(
    paths: Sequence[Path],
    task_name: str | None = None,
    task_settings: Mapping[str, Any] | None = None,
    *,
    legacy_windows: bool = False,
) -> list[ModelOnTask]:
    """Return the models of files, each with its task.

    Parameters are those of :func:`bridge.rate_to_spike.trials.task_of`.

    Raises
    ------
    FileNotFoundError, ValueError
        If one of them can't be tested: nothing was run or written.
    """
    loaded = {path: RateModel.load(path) for path in paths}
    found = []
    for path, model in loaded.items():
        task = task_of(model, task_name, task_settings, path=path, legacy_windows=legacy_windows)
        eval_start(task)
        found.append(
            ModelOnTask(path=path, model=model, task=task, task_name=task_name or task.name)
        )
    return found


def search_files(
    models: Sequence[ModelOnTask],
    factors: Sequence[float],
    options: SearchOptions,
    *,
    skip_done: bool = False,
    labelled: bool = False,
    rounds_of: Callable[[ModelOnTask], Rounds] | None = None,
) -> Iterator[tuple[ModelOnTask, SearchResult | None]]:
    """Search model after model and write each result into its file.

    Parameters
    ----------
    models : sequence of ModelOnTask
    factors, options
        See :func:`search_model`.
    skip_done : bool
        Leave files alone that held a factor already; their result is None.
    labelled : bool
        Name the file in a progress bar.
    rounds_of : callable, optional
        Given a model, what keeps the results of its rounds.

    Raises
    ------
    RuntimeError
        If a run fails; the message names the file.
    """
    for one in models:
        if skip_done and one.factor is not None:
            yield one, None
            continue
        try:
            result = search_model(
                one.model, one.task, factors, options,
                rounds=None if rounds_of is None else rounds_of(one),
                label=f"search {one.path.name}" if labelled else None,
            )  # fmt: skip
        except RuntimeError as error:
            raise RuntimeError(f"{one.path}, task {one.task_name}: {error}") from error
        update_rate_model(one.path, result.fields())
        yield one, result


def _doubts(model: RateModel, measured: Measured, best: int) -> list[str]:
    found = []
    rate = model.number("eval_perf_mean")
    if rate is not None and rate < RATE_OK:
        found.append(
            f"the rate network itself solved only {rate:.2f} of its trials: train it longer "
            "before converting it"
        )
    strict, published = (measured.share(best, rule).value for rule in ("strict", "published"))
    if abs(published - strict) > RULES_DIFFER:
        found.append(
            f"at factor {measured.factors[best]} the published rule counts {published:.2f} right, "
            f"the strict one {strict:.2f}: the output is large and noisy"
        )
    if len(measured.factors) > 1 and best in (0, len(measured.factors) - 1):
        found.append(
            f"the best factor, {measured.factors[best]}, is at the edge of the grid: search beyond"
        )
    return found


def model_files(
    model_path: str | Path | None = None, model_dir: str | Path | None = None
) -> list[Path]:
    """Return the model files that are meant, sorted.

    Raises
    ------
    ValueError
        Unless exactly one of file and folder is given.
    FileNotFoundError
        If it does not exist, or the folder holds no .mat file.
    """
    if (model_path is None) == (model_dir is None):
        raise ValueError("give a model file or a folder of models, one of the two")
    if model_path is not None and not Path(model_path).is_dir():
        return [Path(model_path)]
    folder = Path(model_dir if model_dir is not None else model_path)  # type: ignore[arg-type]
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found = sorted(p for p in folder.glob("*.mat") if not p.name.startswith("."))
    if not found:
        raise FileNotFoundError(f"{folder} holds no .mat file")
    return found


def report_lines(path: Path, task_name: str, result: SearchResult) -> list[str]:
    """Return what the published search prints for a file."""
    accuracies = result.measured.accuracies(result.score)
    lines = [f"Analyzing {path.name}", f"Processing {task_name} task"]
    for factor, accuracy in zip(result.measured.factors, accuracies, strict=True):
        lines += [
            f"Testing scaling factor: {factor}",
            f"Performance for scaling factor {factor}: {accuracy:.3f}",
        ]
    return [
        *lines,
        f"Best performance: {result.accuracy.value:.3f} with scaling factor: {result.best}",
        f"Saved results for {path.name}",
    ]


def parse_range(text: str) -> list[int]:
    """Return the whole numbers of ``a:b`` or ``a:b:s``, b included if it is met.

    Raises
    ------
    ValueError
        For anything else, or a range of nothing.
    """
    words = str(text).split(":")
    parts = [int(word) for word in words] if all(map(is_whole, words)) else []
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] < 1) or parts[1] < parts[0]:
        raise ValueError(f"range {text!r}: write first:last or first:last:step, such as 20:75:5")
    found = range(parts[0], parts[1] + 1, parts[2] if len(parts) == 3 else 1)
    if len(found) > MOST_IN_RANGE:
        raise ValueError(f"range {text!r} is longer than {MOST_IN_RANGE} numbers")
    return list(found)
