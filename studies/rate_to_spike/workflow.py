"""What the rate commands leave in their run folders: searches, conversions, tests, pictures."""

from __future__ import annotations

import csv
import functools
import io
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.files.npz import write_npz
from bridge.rate_to_spike.lif import convert
from bridge.rate_to_spike.sample import write_samples
from bridge.runs.folder import RunFolder
from scope.figures.rate_figures import draw_search
from scope.figures.rate_pictures import (
    draw_comparison,
    draw_outputs,
    draw_rasters,
    plot_names,
    write_plots,
)
from scope.files import save_figure
from studies.rate_to_spike.evaluation import compare_with_rate_model, seen_before, summarise
from studies.rate_to_spike.from_options import Chosen
from studies.rate_to_spike.measuring import SearchOptions, first_round
from studies.rate_to_spike.samples import sample_trials
from studies.rate_to_spike.search import ModelOnTask, SearchResult, report_lines, search_files
from studies.stored import UNFINISHED, Stored

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions
    from sim_brian.rate_lif.runs import Batch, Block
    from studies.rate_to_spike.measuring import Rounds

log = logging.getLogger("pingbridge")


def search_in(
    run: RunFolder,
    models: Sequence[ModelOnTask],
    factors: Sequence[Any],
    options: SearchOptions,
    *,
    skip_done: bool = False,
) -> None:
    """Search the scaling factor of every model; write it into the model, and the rest here.

    Parameters
    ----------
    run : RunFolder
    models, factors, options
        See :func:`studies.rate_to_spike.search.search_files`.
    skip_done : bool
        Leave models alone that hold a factor.
    """
    stem = _stems(models)
    kept: list[Stored] = []

    def rounds_of(one: ModelOnTask) -> Rounds:
        def stored(number: int, shared: Batch, blocks: list[Block]) -> Stored:
            run.folder_of_files(UNFINISHED)
            kept.append(_stored(run.folder, stem[one.path], number, shared, blocks))
            return kept[-1]

        return stored

    begin = time.perf_counter()
    for one, result in search_files(
        models, factors, options, skip_done=skip_done, labelled=True, rounds_of=rounds_of
    ):
        if result is None:
            log.info("%s holds a scaling factor already: %g", one.path, one.factor)
        else:
            _say_search(one, result, time.perf_counter() - begin)
            _write_search(run, one, result, stem[one.path], time.perf_counter() - begin)
        for rounds in kept:
            rounds.remove()
        kept.clear()
        begin = time.perf_counter()


def refuse_other_search(
    folder: Path, models: Sequence[ModelOnTask], factors: Sequence[Any], options: SearchOptions
) -> None:
    """Refuse a folder with the unfinished trials of another search; touches nothing.

    Raises
    ------
    ValueError
    """
    if not (folder / UNFINISHED).is_dir():
        return
    stem = _stems(models)
    for one in models:
        shared, blocks = first_round(one.model, one.task, factors, options)
        _stored(folder, stem[one.path], 0, shared, blocks).check()


def _stems(models: Sequence[ModelOnTask]) -> dict[Path, str]:
    """Return what the files of each model begin with: nothing where there is one."""
    return {one.path: one.path.stem if len(models) > 1 else "" for one in models}


def _stored(folder: Path, stem: str, number: int, shared: Batch, blocks: list[Block]) -> Stored:
    return Stored(
        folder / UNFINISHED / f"{stem or 'model'}-round{number}", blocks, key=shared,
        name=lambda k: f"trials {blocks[k][0].number} to {blocks[k][-1].number}",
    )  # fmt: skip


def _say_search(one: ModelOnTask, result: SearchResult, wall_s: float) -> None:
    for line in report_lines(one.path, one.task_name, result):
        log.info("%s", line)
    for line in result.warnings:
        log.warning("%s", line)
    low, high = result.accuracy.interval
    log.info(
        "%s rule: %.2f (95 %%: %.2f to %.2f); as good within one standard error: %s; %.1f s",
        result.score, result.accuracy.value, low, high, ", ".join(map(str, result.plateau)),
        wall_s,
    )  # fmt: skip


def _write_search(
    run: RunFolder, one: ModelOnTask, result: SearchResult, stem: str, wall_s: float
) -> None:
    name, task = f"{stem}_" if stem else "", one.task.name
    rows = result.rows()
    run.write_text(f"{name}search.csv", _table(rows))
    run.write_json(f"{name}search.json", {
        "task": task, "opt_scaling_factor": result.best, "score": result.score,
        "accuracy": result.accuracy.value, "interval_95": result.accuracy.interval,
        "plateau": result.plateau, "warnings": result.warnings, "wall_s": wall_s, "factors": rows,
    })  # fmt: skip
    figure = draw_search(rows, best=result.best, rule=result.score, title=f"{task} {stem}")
    path = run.write(f"{name}search.png", lambda path: save_figure(figure, path))
    log.info("wrote %s", path)


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def warn_of_seen_trials(chosen: Chosen, options: SearchOptions) -> None:
    """Warn if these are the trials by which the scaling factor was chosen."""
    seen = seen_before(chosen.model, options.seed)
    if seen is not None:
        log.warning("%s", seen)


def convert_in(run: RunFolder, chosen: Chosen, options: SearchOptions) -> None:
    """Write a spiking network, and how it compares with its rate network."""
    network = convert(chosen.model, rectify=options.rectify, parameters=options.parameters)
    arrays: dict[str, Any] = {
        "w": network.scaled_w(chosen.factor), "w_in": network.w_in,
        "w_out": network.w_out / chosen.factor, "tau_d_s": network.tau_d_s, "inh": network.inh,
        "scaling_factor": np.float64(chosen.factor),
    }  # fmt: skip
    arrays |= {name: np.asarray(value) for name, value in vars(options.parameters).items()}
    run.write("lif_network.npz", lambda partial: write_npz(partial, arrays))
    comparison = compare_with_rate_model(
        chosen.model, chosen.task, chosen.factor, options, label="trials"
    )
    report = comparison.report()
    run.write_json("conversion.json", report)
    types = [trial.type for trial in comparison.measured.trials]
    figure = draw_comparison(comparison.rate, comparison.spiking, types, title=chosen.task.name)
    run.write("conversion.png", lambda partial: save_figure(figure, partial))
    _say_report(report, run)


def evaluate_in(
    run: RunFolder, chosen: Chosen, options: SearchOptions, *, all_trial_types: bool, plots: bool
) -> None:
    """Write how a spiking network does in fresh trials.

    Parameters
    ----------
    run, chosen, options
    all_trial_types : bool
        Write one trial of each type as well.
    plots : bool
        Draw one of each.
    """
    comparison = compare_with_rate_model(
        chosen.model, chosen.task, chosen.factor, options, label="trials"
    )
    found = summarise(comparison)
    run.write_json("results.json", found)
    _say_report(found["comparison"], run)
    if not (all_trial_types or plots):
        return
    samples = sample_trials(
        chosen.model, chosen.task, chosen.factor, seed=options.seed, rectify=options.rectify,
        init_v=options.init_v, parameters=options.parameters, extra_column=options.extra_column,
        engine=options.engine,
    )  # fmt: skip
    if all_trial_types:
        write_samples(run.path("sample_trials.npz"), samples)
    if plots:
        task = chosen.task
        for name in plot_names(samples):
            run.path(name)
        write_plots(
            run.folder, samples, chosen.model.inh, title=task.name, threshold=task.threshold
        )


def draw_in(
    run: RunFolder,
    chosen: Chosen,
    *,
    seed: int,
    rectify: bool | str,
    start_ms: float,
    engine: EngineOptions,
) -> None:
    """Draw one trial of each type, from `start_ms` on."""
    task = chosen.task
    samples = sample_trials(
        chosen.model, task, chosen.factor, seed=seed, rectify=rectify, engine=engine
    )
    for name, figure in (
        ("network_output.png", draw_outputs(
            samples, title=task.name, threshold=task.threshold, start_ms=start_ms)),
        ("spike_raster.png", draw_rasters(
            samples, chosen.model.inh, title=task.name, start_ms=start_ms)),
    ):  # fmt: skip
        where = run.write(name, functools.partial(save_figure, figure))
        log.info("wrote %s", where)


def _say_report(report: Mapping[str, Any], run: RunFolder) -> None:
    rate, strict = report["rate_accuracy"], report["spiking_accuracy_strict"]
    published = report["spiking_accuracy_published"]
    log.info(
        "scaling factor %g, %d trials: spiking %.2f right (95 %%: %.2f to %.2f; published rule "
        "%.2f), rate %.2f", report["scaling_factor"], report["n_trials"], strict["share"],
        *strict["interval_95"], published["share"], rate["share"],
    )  # fmt: skip
    for name, one in report["types"].items():
        log.info(
            "  %-8s %3d trials: spiking %.2f, rate %.2f", name, one["n_trials"],
            one["spiking_accuracy_strict"], one["rate_accuracy"],
        )  # fmt: skip
    log.info(
        "outputs: correlation %.3f, RMS difference %.3f; E %.1f Hz, I %.1f Hz",
        report["output_correlation"], report["output_rms_difference"], report["rate_exc_hz"],
        report["rate_inh_hz"],
    )  # fmt: skip
    log.info("wrote %s", run.folder)
