"""The scaling-factor search: every trial at every factor, and which factor is the best.

Source: spikeRNN, `lambda_grid_search`; what it got wrong (one trial list for all workers, errors
counted as wrong answers, other timing than in training) is not repeated.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import LifParameters, check_factors, convert
from bridge.rate_to_spike.model_file import RateModel, update_rate_model
from bridge.rate_to_spike.scoring import RULES, Share, is_right, plateau, share_of
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.trials import Trial, draw_trials, eval_start, task_of

if TYPE_CHECKING:
    from bridge.runs.store import ResultStore
    from sim_brian.engine import EngineOptions

log = logging.getLogger("pingbridge")

DEFAULT_FACTORS = tuple(range(20, 76, 5))
RULES_DIFFER = 0.1
RATE_OK = 0.9
FIRST_ROUND = 20
"""Trials after which an adaptive search first drops factors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchOptions:
    """How to search.

    Attributes
    ----------
    n_trials : int
    seed : int
    rectify : 'auto' or bool
    score : {'strict', 'published'}
        The rule that chooses.
    balanced : bool
        Trial types take turns.
    independent : bool
        Noise of its own for every factor instead of the same for all.
    adaptive : bool
        Drop factors that are clearly worse after 20, 40, 80 ... trials.
    init_v : {'uniform', 'subthreshold'}
    extra_column : bool
        T + 1 input columns instead of T.
    parameters : LifParameters
    jobs : int, optional
    scheduler : str, optional
    engine : EngineOptions, optional
    """

    n_trials: int = 100
    seed: int = 0
    rectify: bool | str = "auto"
    score: str = "strict"
    balanced: bool = False
    independent: bool = False
    adaptive: bool = False
    init_v: str = "uniform"
    extra_column: bool = True
    parameters: LifParameters = field(default_factory=LifParameters)
    jobs: int | None = None
    scheduler: str | None = None
    engine: EngineOptions | None = None

    def __post_init__(self) -> None:
        if isinstance(self.n_trials, bool) or int(self.n_trials) != self.n_trials:
            raise ValueError(f"n_trials = {self.n_trials!r} must be a whole number")
        if self.n_trials < 1:
            raise ValueError(f"n_trials = {self.n_trials} must be at least 1")
        if self.score not in RULES:
            raise ValueError(f"score = {self.score!r} is unknown; use {' or '.join(RULES)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What trials at several factors came to; arrays of shape (factor, trial), NaN: not run.

    Attributes
    ----------
    factors : list
    trials : list of Trial
    strict, published : bool arrays
        Right answers (False where not run).
    ran : bool array
    mean, latency, rate_exc_hz, rate_inh_hz : float arrays
    outputs : float array (factor, trial, rate step - 1), or None
    """

    factors: list[Any]
    trials: list[Trial]
    ran: NDArray[np.bool_]
    strict: NDArray[np.bool_]
    published: NDArray[np.bool_]
    mean: NDArray[np.float64]
    latency: NDArray[np.float64]
    rate_exc_hz: NDArray[np.float64]
    rate_inh_hz: NDArray[np.float64]
    outputs: NDArray[np.float64] | None = None

    def share(self, factor: int, rule: str = "strict") -> Share:
        """Return the accuracy at the factor of this index."""
        right = self.strict if rule == "strict" else self.published
        return share_of(right[factor][self.ran[factor]])

    def accuracies(self, rule: str = "strict") -> NDArray[np.float64]:
        """Return the accuracy at every factor."""
        return np.array([self.share(k, rule).value for k in range(len(self.factors))])


def measure(
    model: RateModel,
    task: AbstractTask,
    factors: Sequence[float],
    options: SearchOptions,
    *,
    trials: list[Trial] | None = None,
    keep_outputs: bool = False,
    store: Callable[[int, int], ResultStore] | None = None,
    label: str | None = None,
) -> Measured:
    """Return what a converted network does in fresh trials at every factor.

    Parameters
    ----------
    model, task, factors, options
    trials : list of Trial, optional
        Those to run; drawn if not given.
    keep_outputs : bool
    store : callable, optional
        Given the number of a round and its blocks, the store of its results.
    label : str, optional
        Of the progress bar.
    """
    factors = check_factors(factors)
    if trials is None:
        trials = draw_trials(
            task, options.n_trials, options.seed, balanced=options.balanced,
            extra_column=options.extra_column,
        )  # fmt: skip
    found = _Table(factors, trials, task)
    network = convert(model, rectify=options.rectify, parameters=options.parameters)
    from sim_brian.rate_lif_runs import run_trials

    for number, (chosen, begin, end) in enumerate(_rounds(found, options)):
        blocks = run_trials(
            network, [factors[k] for k in chosen], trials[begin:end], seed=options.seed,
            threshold=task.threshold, init_v=options.init_v, independent=options.independent,
            keep_outputs=keep_outputs, jobs=options.jobs, scheduler=options.scheduler,
            engine=options.engine, store=None if store is None else store(number, end - begin),
            label=label,
        )  # fmt: skip
        for block in blocks:
            begin = found.enter(chosen, begin, block)
    return found.measured()


def _rounds(found: _Table, options: SearchOptions) -> Iterable[tuple[list[int], int, int]]:
    """Yield the factors to run and the range of trials; later ones depend on what was found."""
    n_trials = len(found.trials)
    chosen = list(range(len(found.factors)))
    begin, end = 0, min(FIRST_ROUND, n_trials) if options.adaptive else n_trials
    while begin < n_trials:
        yield chosen, begin, end
        begin, end = end, min(2 * end, n_trials)
        if begin < n_trials:
            # The interval is Wilson's: a factor goes when even its upper end is below the lower
            # end of the best.
            shares = {k: found.measured().share(k, options.score) for k in chosen}
            best_low = max(share.interval[0] for share in shares.values())
            chosen = [k for k in chosen if shares[k].interval[1] >= best_low]


class _Table:
    def __init__(self, factors: list[Any], trials: list[Trial], task: AbstractTask) -> None:
        self.factors, self.trials, self._task = factors, trials, task
        shape = (len(factors), len(trials))
        names = ("highest", "lowest", "mean", "latency", "rate_exc_hz", "rate_inh_hz")
        self._values = {name: np.full(shape, np.nan) for name in names}
        self._outputs: NDArray[np.float64] | None = None

    def enter(self, chosen: list[int], begin: int, block: Mapping[str, Any]) -> int:
        """Enter the results of a block of trials; return the trial after it."""
        end = begin + len(block["highest"])
        at = np.ix_(chosen, range(begin, end))
        for name, table in self._values.items():
            table[at] = np.asarray(block[name]).T
        if "outputs" in block:
            one = np.asarray(block["outputs"]).transpose(1, 0, 2)
            if self._outputs is None:
                shape = (len(self.factors), len(self.trials), one.shape[2])
                self._outputs = np.full(shape, np.nan)
            self._outputs[at] = one
        return end

    def measured(self) -> Measured:
        """Return the results so far."""
        expected = np.array([trial.expected for trial in self.trials])
        high, low = self._values["highest"], self._values["lowest"]
        ran = ~np.isnan(high)
        threshold = self._task.threshold
        published = is_right(high, low, expected, threshold, strict=False) & ran
        strict = is_right(high, low, expected, threshold, strict=self._task.signed) & ran
        others = {n: v for n, v in self._values.items() if n not in ("highest", "lowest")}
        return Measured(
            factors=self.factors, trials=self.trials, ran=ran, strict=strict, published=published,
            outputs=self._outputs, **others,
        )  # fmt: skip


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
    """

    best: Any
    score: str
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
    ``all_perfs_strict``, ``scaling_factors``, ``n_trials_per_factor``.

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
