"""The scaling-factor search: every trial at every factor, and which factor is the best.

Source: spikeRNN, `lambda_grid_search`; what it got wrong (one trial list for all workers, errors
counted as wrong answers, other timing than in training) is not repeated.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.rate_to_spike.lif import check_factors
from bridge.rate_to_spike.model_file import RateModel, update_rate_model
from bridge.rate_to_spike.scoring import Share, plateau
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.trials import eval_start, task_of
from studies.rate_to_spike.measuring import Measured, SearchOptions, measure

if TYPE_CHECKING:
    from bridge.runs.store import ResultStore
    from sim_brian.engine.program import EngineOptions

log = logging.getLogger("pingbridge")

DEFAULT_FACTORS = tuple(range(20, 76, 5))
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
    store: Callable[[int, int], ResultStore] | None = None,
    label: str | None = None,
) -> SearchResult:
    """Return the best scaling factor of a model, and everything that was measured.

    Raises
    ------
    ValueError
        For factors or a model that make no search.
    RuntimeError
        If a run fails; it is never counted as a wrong answer.
    """
    measured = measure(model, task, factors, options, store=store, label=label)
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


def lambda_grid_search(
    model_path: str | Path | None = None,
    task_name: str | None = None,
    n_trials: int = 100,
    scaling_factors: Iterable[float] | None = None,
    task_settings: Mapping[str, Any] | None = None,
    *,
    model_dir: str | Path | None = None,
    seed: int | None = None,
    n_workers: int | None = None,
    method: str = "batched",
    rectify: bool | str = "auto",
    skip_done: bool = False,
    verbose: bool = True,
    score: str = "strict",
    balanced: bool = False,
    independent: bool = False,
    adaptive: bool = False,
    extra_column: bool = True,
    legacy_windows: bool = False,
    engine: EngineOptions | None = None,
) -> Any:
    """Find the best scaling factor of a model file, or of every one in a folder.

    The results are written into the file: ``opt_scaling_factor``, ``all_perfs`` (published rule),
    ``all_perfs_strict``, ``scaling_factors``, ``n_trials_per_factor``, ``search_seed``.

    Parameters
    ----------
    model_path : path, optional
        A .mat file, or a folder.
    task_name : str, optional
        From the file or its path if not given.
    n_trials : int
        At every factor.
    scaling_factors : iterable of numbers, optional
        20, 25 ... 75 if not given.
    task_settings : mapping, optional
        See :func:`bridge.rate_to_spike.trials.task_of`.
    model_dir : path, optional
        A folder; instead of `model_path`.
    seed : int, optional
        Fresh if not given.
    n_workers : int, optional
        Processes; with ``method='process'`` one for each core if not given.
    method : {'batched', 'process'}
        In this process, or spread over several. The results are the same.
    rectify, score, balanced, independent, adaptive, extra_column, engine
        See :class:`SearchOptions`.
    skip_done : bool
        Leave files alone that hold a factor already.
    verbose : bool
        Print the progress.
    legacy_windows : bool
        Timing and windows of the 2019 evaluation.

    Returns
    -------
    int or float
        The best factor; {file name: factor} where a folder holds several models.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no .mat file in the folder.
    ValueError
        For anything that makes no search; nothing was run or written.
    """
    if method not in ("batched", "process"):
        raise ValueError(f"method = {method!r} is unknown; use batched or process")
    if method == "batched" and n_workers not in (None, 1):
        method = "process"
    factors = check_factors(DEFAULT_FACTORS if scaling_factors is None else list(scaling_factors))
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    options = SearchOptions(
        n_trials=n_trials, seed=seed, rectify=rectify, score=score, balanced=balanced,
        independent=independent, adaptive=adaptive, extra_column=extra_column,
        jobs=1 if method == "batched" else n_workers, engine=engine,
    )  # fmt: skip
    paths = model_files(model_path, model_dir)
    models = {path: RateModel.load(path) for path in paths}
    tasks = {
        path: task_of(model, task_name, task_settings, path=path, legacy_windows=legacy_windows)
        for path, model in models.items()
    }
    for task in tasks.values():
        eval_start(task)
    found = {}
    for path, model in models.items():
        held = model.number("opt_scaling_factor")
        if skip_done and held is not None:
            found[path.name] = _as_given(held, factors)
            continue
        shown = task_name or tasks[path].name
        try:
            result = search_model(model, tasks[path], factors, options)
        except RuntimeError as error:
            raise RuntimeError(f"{path}, task {shown}: {error}") from error
        update_rate_model(path, result.fields())
        if verbose:
            print("\n".join(report_lines(path, shown, result)), flush=True)
        for line in result.warnings:
            warnings.warn(f"{path.name}: {line}", UserWarning, stacklevel=2)
        log.debug("%s: plateau %s", path.name, result.plateau)
        found[path.name] = result.best
    return next(iter(found.values())) if len(found) == 1 else found


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


def _as_given(value: float, factors: Sequence[Any]) -> Any:
    return next((f for f in factors if float(f) == value), value)


def parse_range(text: str) -> list[int]:
    """Return the whole numbers of ``a:b`` or ``a:b:s``, b included if it is met.

    Raises
    ------
    ValueError
        For anything else, or a range of nothing.
    """
    try:
        parts = [int(part) for part in str(text).split(":")]
    except ValueError:
        parts = []
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] < 1) or parts[1] < parts[0]:
        raise ValueError(f"range {text!r}: write first:last or first:last:step, such as 20:75:5")
    return list(range(parts[0], parts[1] + 1, parts[2] if len(parts) == 3 else 1))
