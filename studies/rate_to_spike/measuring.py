"""Trials of a converted network at several scaling factors, and what they came to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import LifParameters, check_factors, convert
from bridge.rate_to_spike.model_file import RateModel
from bridge.rate_to_spike.scoring import RULES, Share, is_right, share_of
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.trials import Trial, draw_trials

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions
    from sim_brian.rate_lif.runs import Batch, Block
    from studies.stored import Stored

    Rounds = Callable[[int, Batch, list[Block]], Stored]
    """Given the number of a round, what its runs share and the trials of each, keeps them."""

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
    batch : int, optional
        Trials side by side in one simulation; the results do not depend on it.
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
    batch: int | None = None
    engine: EngineOptions | None = None

    def __post_init__(self) -> None:
        if isinstance(self.n_trials, bool) or int(self.n_trials) != self.n_trials:
            raise ValueError(f"n_trials = {self.n_trials!r} must be a whole number")
        if self.n_trials < 1:
            raise ValueError(f"n_trials = {self.n_trials} must be at least 1")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch = {self.batch} must be at least 1")
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
    rounds: Rounds | None = None,
    label: str | None = None,
) -> Measured:
    """Return what a converted network does in fresh trials at every factor.

    Parameters
    ----------
    model, task, factors, options
    trials : list of Trial, optional
        Those to run; drawn if not given.
    keep_outputs : bool
    rounds : callable, optional
        What keeps the results of each round; see :data:`Rounds`.
    label : str, optional
        Of the progress bar.
    """
    from sim_brian.rate_lif.runs import plan_runs, run_blocks, run_trials

    factors = check_factors(factors)
    if trials is None:
        trials = draw(task, options)
    found = _Table(factors, trials, task)
    network = convert(model, rectify=options.rectify, parameters=options.parameters)
    how: dict[str, Any] = {
        "jobs": options.jobs,
        "scheduler": options.scheduler,
        "engine": options.engine,
    }
    settings = _settings(task, options) | {"keep_outputs": keep_outputs}
    for number, (chosen, begin, end) in enumerate(_rounds(found, options)):
        at = [factors[k] for k in chosen]
        blocks: Iterable[Mapping[str, Any]]
        if rounds is None:
            blocks = run_trials(network, at, trials[begin:end], **settings, **how, label=label)
        else:
            shared, parts = plan_runs(network, at, trials[begin:end], **settings)
            run = functools.partial(run_blocks, shared, guard=True, **how)
            results = rounds(number, shared, parts).results(run, label=label, whole=True)
            blocks = (block for _, block in results)
        for block in blocks:
            begin = found.enter(chosen, begin, block)
    return found.measured()


def first_round(
    model: RateModel, task: AbstractTask, factors: Sequence[float], options: SearchOptions
) -> tuple[Batch, list[Block]]:
    """Return what the runs of the first round share, and the trials of each."""
    from sim_brian.rate_lif.runs import plan_runs

    factors, trials = check_factors(factors), draw(task, options)
    network = convert(model, rectify=options.rectify, parameters=options.parameters)
    end = _first_end(options, len(trials))
    return plan_runs(network, factors, trials[:end], **_settings(task, options))


def draw(task: AbstractTask, options: SearchOptions) -> list[Trial]:
    """Return the trials of a search."""
    return draw_trials(
        task, options.n_trials, options.seed, balanced=options.balanced,
        extra_column=options.extra_column,
    )  # fmt: skip


def _settings(task: AbstractTask, options: SearchOptions) -> dict[str, Any]:
    return {
        "seed": options.seed, "threshold": task.threshold, "init_v": options.init_v,
        "independent": options.independent, "batch": options.batch,
    }  # fmt: skip


def _first_end(options: SearchOptions, n_trials: int) -> int:
    return min(FIRST_ROUND, n_trials) if options.adaptive else n_trials


def _rounds(found: _Table, options: SearchOptions) -> Iterable[tuple[list[int], int, int]]:
    """Yield the factors to run and the range of trials; later ones depend on what was found."""
    n_trials = len(found.trials)
    chosen = list(range(len(found.factors)))
    begin, end = 0, _first_end(options, n_trials)
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
