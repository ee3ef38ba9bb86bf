"""What a process does for each seed: train or load, test, draw, and leave every file of it."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.atomic import to_json_text, write_text
from bridge.files.npz import write_npz
from bridge.lateral_line.comparison import statistics
from bridge.lateral_line.record import SeedResult
from bridge.lateral_line.training_state import TrainingState, write_state
from bridge.lateral_line.weight_file import sidecar, weight_arrays
from sim_brian.engine.program import EngineOptions
from sim_brian.lateral_line.progress import Progress
from sim_brian.lateral_line.train import (
    Weights,
    run_control,
    run_matched_control,
    run_network,
)
from studies.lateral_line.owner import CONTROL_TRIALS, Owner

log = logging.getLogger("pingbridge")


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedWork:
    """A seed that is to be run.

    Attributes
    ----------
    place : int
        Its place among the seeds: the line of its progress bar.
    seed : int
    start : TrainingState or None
        What its training goes on from.
    weights : Weights or None
        To be tested without training.
    """

    place: int
    seed: int
    start: TrainingState | None = None
    weights: Weights | None = None


class SeedTask:
    """Runs seeds in one process."""

    def __init__(self, owner: Owner, engine: EngineOptions) -> None:
        self._owner, self._engine = owner, engine

    def __call__(self, work: SeedWork) -> dict[str, Any]:
        """Return the numbers of a seed, all its files written."""
        options, params = self._owner.plan.options, self._owner.plan.of_seed(work.seed)
        state = self._owner.state(work.seed)
        state.parent.mkdir(parents=True, exist_ok=True)
        result, others = run_network(
            params, engine=self._engine, start=work.start, weights=work.weights,
            distances_cm=options.test_distances or (), n_repeats=options.test_repeats,
            report=reporter(work.place, params.n_training_trials),
            save=functools.partial(write_state, state),
        )  # fmt: skip
        row = result.to_json()
        if others:
            row["distances"] = [{"test_distance_cm": d, **one.to_json()}
                                for d, one in others.items()]  # fmt: skip
        if options.with_control:
            control = run_control(
                params, n_trials=CONTROL_TRIALS, n_repeats=options.test_repeats,
                engine=self._engine,
            )  # fmt: skip
            row["control"] = control.to_json()
        if options.control_matched:
            row["control_matched"], row["match"] = self._matched(result)
        if options.test_repeats > 1:
            row["statistics"] = statistics(row)
        self._write(result, row)
        return row

    def _matched(self, result: SeedResult) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return the numbers of the matched control, and how it was matched; None of silence."""
        target_hz = result.mean_test_rate_hz("ts")
        if not target_hz:
            return None, None
        control, match = run_matched_control(
            result.params, target_hz=target_hz, n_trials=CONTROL_TRIALS,
            n_repeats=self._owner.plan.options.test_repeats, engine=self._engine,
        )  # fmt: skip
        return control.to_json(), match.to_json()

    def _write(self, result: SeedResult, row: dict[str, Any]) -> None:
        owner, seed = self._owner, result.params.seed
        options = owner.plan.options
        described = sidecar(result, preset=options.preset, save_tag=options.save_tag)
        write_npz(owner.weights(seed), weight_arrays(result))
        write_text(owner.sidecar(seed), to_json_text(described))
        figures = owner.figures(seed)
        if figures:
            from scope.figures.lateral_line.figures import draw_seed

            draw_seed(result, figures)
        owner.write_numbers(seed, row)


def reporter(place: int, n_trials: int) -> Callable[[Progress], None]:
    """Return what shows how far a seed is: a bar on a terminal, else lines of the log."""
    if not sys.stderr.isatty():
        return _log_progress
    from tqdm import tqdm

    bar: Any = None  # a test of saved weights has none

    def show(now: Progress) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=n_trials, position=place, unit="trial", leave=False)
        bar.set_description(f"seed {now.seed}", refresh=False)
        bar.set_postfix_str(_quality(now), refresh=False)
        bar.update(now.n_done - bar.n)
        if now.n_done >= now.n_trials and not now.running:
            bar.close()

    return show


def _log_progress(now: Progress) -> None:
    if not now.running:
        log.info(
            "seed %d: trial %d/%d, %.1f trials/s, %s", now.seed, now.n_done, now.n_trials,
            now.trials_per_s, _quality(now),
        )  # fmt: skip


def _quality(now: Progress) -> str:
    if now.sigma_theta_rad is None or now.valid_fraction is None:
        return "map quality comes later"
    return f"sigma_theta {now.sigma_theta_rad:.3f}, valid {now.valid_fraction:.2f}"
