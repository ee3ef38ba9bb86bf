"""``rate search``, ``convert``, ``eval``, ``plot``: the spiking network of a rate network."""

from __future__ import annotations

import csv
import functools
import io
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.groups_rate import (
    RATE_CONVERT_GROUPS,
    RATE_EVAL_GROUPS,
    RATE_PLOT_GROUPS,
    RATE_SEARCH_GROUPS,
    RateEvalOptions,
    RateFactorOptions,
    RateModelDirOptions,
    RateModelOptions,
    RateParallelOptions,
    RatePlotOptions,
    RateRunOptions,
    RateSearchOptions,
    RateSearchRunOptions,
    RateSpikingOptions,
    RateTaskOptions,
)
from studies.common import ARGV, resolve_options
from studies.rate_to_spike.train_command import refuse_for_task, task_settings

if TYPE_CHECKING:
    from bridge.rate_to_spike.model_file import RateModel
    from bridge.rate_to_spike.tasks import AbstractTask
    from bridge.runs.folder import RunFolder
    from bridge.runs.resolve import Resolved
    from bridge.runs.store import ResultStore
    from sim_brian.engine.program import EngineOptions
    from studies.rate_to_spike.search import SearchOptions, SearchResult

log = logging.getLogger("pingbridge")

UNFINISHED = "unfinished"
_RECTIFY: dict[str, bool | str] = {"auto": "auto", "on": True, "off": False}


def search(**given: Any) -> None:
    """Find the scaling factor at which a spiking network solves its task best."""
    from bridge.rate_to_spike.model_file import RateModel
    from bridge.runs.folder import RunFolder
    from studies.rate_to_spike.search import model_files

    resolved, _ = resolve_options("rate search", given, RATE_SEARCH_GROUPS)
    one, folder = resolved[RateModelOptions].model, resolved[RateModelDirOptions].model_dir
    if (one is None) == (folder is None):
        raise ValueError("rate search needs --model FILE or --model-dir FOLDER, one of the two")
    paths = model_files(one, folder)
    factors = read_factors(resolved[RateSearchOptions].scaling_factors)
    jobs = [(path, model, _task(resolved, model, path)) for path in paths
            if (model := RateModel.load(path))]  # fmt: skip
    options = _search_options(resolved)
    run_options = _run_options(resolved)
    out_dir = run_options.out_dir or paths[0].parent / "search"
    config = resolved.to_json() | {"derived": {"scaling_factors": factors}}
    with RunFolder(
        out_dir, mode="rate search", config=config, argv=ARGV,
        wipe=run_options.wipe_dir, protect=paths,
    ) as run:  # fmt: skip
        for path, model, task in jobs:
            stem = path.stem if len(jobs) > 1 else ""
            _search_one(resolved, path, model, task, factors, options, run, stem)


def read_factors(words: tuple[str, ...]) -> list[Any]:
    """Return the factors of numbers and ranges ``first:last:step``.

    Raises
    ------
    ValueError
        For anything else, a factor that is not > 0, or one given twice.
    """
    from bridge.rate_to_spike.lif import check_factors
    from studies.rate_to_spike.search import parse_range

    found: list[Any] = []
    for word in words:
        if ":" in word:
            found += parse_range(word)
            continue
        try:
            found.append(int(word) if word.strip().lstrip("+-").isdigit() else float(word))
        except ValueError:
            raise ValueError(
                f"--scaling-factors {word}: write numbers, or first:last:step"
            ) from None
    if len(set(map(float, found))) != len(found):
        raise ValueError("--scaling-factors: a factor is given twice")
    return check_factors(found)


def _task(resolved: Resolved, model: RateModel, path: Path) -> AbstractTask:
    from bridge.rate_to_spike.trials import eval_start, task_of

    options = resolved[RateTaskOptions]
    settings = task_settings(options)
    legacy = RateSpikingOptions in resolved.options and resolved[RateSpikingOptions].legacy_windows
    task = task_of(model, options.task, settings, path=path, legacy_windows=legacy)
    refuse_for_task(settings, task)
    eval_start(task)
    return task


def _search_options(resolved: Resolved, **more: Any) -> SearchOptions:
    from bridge.rate_to_spike.lif import LifParameters
    from studies.rate_to_spike.search import SearchOptions

    spiking, parallel = resolved[RateSpikingOptions], resolved[RateParallelOptions]
    if RateSearchOptions in resolved.options:
        options = resolved[RateSearchOptions]
        more |= {
            "score": options.score, "adaptive": options.adaptive,
            "independent": options.independent,
        }  # fmt: skip
    return SearchOptions(
        n_trials=spiking.n_trials,
        seed=_run_options(resolved).seed,
        rectify=_RECTIFY[resolved[RateModelOptions].rectify],
        balanced=spiking.balanced,
        init_v=spiking.init_v,
        extra_column=spiking.extra_column,
        parameters=LifParameters(
            t_ref_s=spiking.t_ref_ms / 1000.0, tau_r_s=spiking.tau_rise_ms / 1000.0,
            refractory=spiking.refractory,
        ),
        jobs=parallel.jobs,
        scheduler=parallel.scheduler,
        batch=parallel.batch,
        engine=_engine(resolved),
        **more,
    )  # fmt: skip


def _run_options(resolved: Resolved) -> RateRunOptions:
    """Return seed, folder and target; the search has a seed of its own."""
    if RateSearchRunOptions in resolved.options:
        return resolved[RateSearchRunOptions]
    return resolved[RateRunOptions]


def _engine(resolved: Resolved) -> EngineOptions:
    from sim_brian.engine.program import EngineOptions
    from sim_brian.engine.toolchain import missing_for

    target = _run_options(resolved).codegen
    missing = missing_for(target) if target == "cuda" else None
    if missing is not None:
        raise ValueError(missing)
    return EngineOptions(target=target)


def _search_one(
    resolved: Resolved,
    path: Path,
    model: RateModel,
    task: AbstractTask,
    factors: list[Any],
    options: SearchOptions,
    run: RunFolder,
    stem: str,
) -> None:
    from bridge.rate_to_spike.model_file import update_rate_model
    from studies.rate_to_spike.search import report_lines, search_model

    held = model.number("opt_scaling_factor")
    if resolved[RateSearchOptions].skip_done and held is not None:
        log.info("%s holds a scaling factor already: %g", path, held)
        return
    begin = time.perf_counter()
    result = search_model(
        model, task, factors, options,
        store=_store_of(run, stem, model, task, factors, resolved), label=f"search {path.name}",
    )  # fmt: skip
    update_rate_model(path, result.fields())
    for line in report_lines(path, resolved[RateTaskOptions].task or task.name, result):
        log.info("%s", line)
    for line in result.warnings:
        log.warning("%s", line)
    low, high = result.accuracy.interval
    log.info(
        "%s rule: %.2f (95 %%: %.2f to %.2f); as good within one standard error: %s; %.1f s",
        result.score, result.accuracy.value, low, high, ", ".join(map(str, result.plateau)),
        time.perf_counter() - begin,
    )  # fmt: skip
    _write_search(result, task, run, stem, time.perf_counter() - begin)
    import shutil

    shutil.rmtree(run.folder / UNFINISHED / (stem or "model"), ignore_errors=True)
    if not any((run.folder / UNFINISHED).glob("*")):
        shutil.rmtree(run.folder / UNFINISHED, ignore_errors=True)


def _store_of(
    run: RunFolder,
    stem: str,
    model: RateModel,
    task: AbstractTask,
    factors: list[Any],
    resolved: Resolved,
) -> Callable[[int, int], ResultStore]:
    """Return what gives each round of a search its store, so that a killed search goes on."""
    from bridge.runs.store import ResultStore, job_key

    kept = {
        key: value for key, value in resolved.to_json().items()
        if key not in ("out_dir", "wipe_dir", "config", "jobs", "scheduler", "model", "model_dir",
                       "skip_done", "codegen")
    }  # fmt: skip
    described = {
        "options": kept, "task": dict(task.settings), "factors": factors, "w": model.w,
        "w_in": model.w_in, "w_out": model.w_out, "tau": model.tau_steps(),
    }  # fmt: skip

    def store(number: int, n_blocks: int) -> ResultStore:
        folder = run.path(f"{UNFINISHED}/{stem or 'model'}/round{number}")
        return ResultStore(folder, key=job_key(described | {"round": number}), n_items=n_blocks)

    return store


def _write_search(
    result: SearchResult, task: AbstractTask, run: RunFolder, stem: str, wall_s: float
) -> None:
    from scope.figures.rate_figures import draw_search
    from scope.files import save_figure

    name = f"{stem}_" if stem else ""
    rows = result.rows()
    run.write_text(f"{name}search.csv", _table(rows))
    run.write_json(f"{name}search.json", {
        "task": task.name, "opt_scaling_factor": result.best, "score": result.score,
        "accuracy": result.accuracy.value, "interval_95": result.accuracy.interval,
        "plateau": result.plateau, "warnings": result.warnings, "wall_s": wall_s, "factors": rows,
    })  # fmt: skip
    figure = draw_search(rows, best=result.best, rule=result.score, title=f"{task.name} {stem}")
    path = run.write(f"{name}search.png", lambda path: save_figure(figure, path))
    log.info("wrote %s", path)


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def convert(**given: Any) -> None:
    """Turn a rate network into a spiking one, and compare the two."""
    import numpy as np

    from bridge.formats.files import write_npz
    from bridge.rate_to_spike.lif import convert as to_spiking
    from scope.figures.rate_pictures import draw_comparison
    from scope.files import save_figure
    from studies.rate_to_spike.evaluation import compare_with_rate_model

    resolved, _ = resolve_options("rate convert", given, RATE_CONVERT_GROUPS)
    path, model, factor, task = _chosen(resolved)
    options = _search_options(resolved)
    _say_seen(model, options)
    network = to_spiking(model, rectify=options.rectify, parameters=options.parameters)
    with _run_folder(resolved, "rate convert", path, factor) as run:
        arrays: dict[str, Any] = {
            "w": network.scaled_w(factor), "w_in": network.w_in, "w_out": network.w_out / factor,
            "tau_d_s": network.tau_d_s, "inh": network.inh, "scaling_factor": np.float64(factor),
        }  # fmt: skip
        arrays |= {name: np.asarray(value) for name, value in vars(options.parameters).items()}
        run.write("lif_network.npz", lambda partial: write_npz(partial, arrays))
        comparison = compare_with_rate_model(model, task, factor, options, label="trials")
        report = comparison.report()
        run.write_json("conversion.json", report)
        types = [trial.type for trial in comparison.measured.trials]
        figure = draw_comparison(comparison.rate, comparison.spiking, types, title=task.name)
        run.write("conversion.png", lambda partial: save_figure(figure, partial))
        _say_report(report, run)


def eval_(**given: Any) -> None:
    """Test a spiking network, and its rate network, on fresh trials."""
    from bridge.rate_to_spike.sample import write_samples
    from scope.figures.rate_pictures import write_plots
    from studies.rate_to_spike.evaluation import compare_with_rate_model, summarise
    from studies.rate_to_spike.samples import sample_trials

    resolved, _ = resolve_options("rate eval", given, RATE_EVAL_GROUPS)
    path, model, factor, task = _chosen(resolved)
    options, wanted = _search_options(resolved), resolved[RateEvalOptions]
    _say_seen(model, options)
    with _run_folder(resolved, "rate eval", path, factor) as run:
        comparison = compare_with_rate_model(model, task, factor, options, label="trials")
        found = summarise(comparison)
        run.write_json("results.json", found)
        _say_report(found["comparison"], run)
        if wanted.all_trial_types or wanted.plots:
            samples = sample_trials(
                model, task, factor, seed=options.seed, rectify=options.rectify,
                init_v=options.init_v, parameters=options.parameters,
                extra_column=options.extra_column, engine=options.engine,
            )  # fmt: skip
            if wanted.all_trial_types:
                write_samples(run.path("sample_trials.npz"), samples)
            if wanted.plots:
                write_plots(
                    run.folder, samples, model.inh, title=task.name, threshold=task.threshold
                )


def plot(**given: Any) -> None:
    """Draw one trial of each type: rate and spiking outputs, and rasters."""
    from scope.figures.rate_pictures import draw_outputs, draw_rasters
    from scope.files import save_figure
    from studies.rate_to_spike.samples import sample_trials

    resolved, _ = resolve_options("rate plot", given, RATE_PLOT_GROUPS)
    path, model, factor, task = _chosen(resolved)
    start_ms = resolved[RatePlotOptions].start_ms
    if start_ms >= 5.0 * task.n_steps:
        raise ValueError(f"--start {start_ms:g} ms leaves nothing of {5 * task.n_steps} ms")
    with _run_folder(resolved, "rate plot", path, factor) as run:
        samples = sample_trials(
            model, task, factor, seed=_run_options(resolved).seed,
            rectify=_RECTIFY[resolved[RateModelOptions].rectify], engine=_engine(resolved),
        )  # fmt: skip
        for name, figure in (
            ("network_output.png", draw_outputs(
                samples, title=task.name, threshold=task.threshold, start_ms=start_ms)),
            ("spike_raster.png", draw_rasters(
                samples, model.inh, title=task.name, start_ms=start_ms)),
        ):  # fmt: skip
            where = run.write(name, functools.partial(save_figure, figure))
            log.info("wrote %s", where)


def _chosen(resolved: Resolved) -> tuple[Path, RateModel, float, AbstractTask]:
    """Return file, model, scaling factor and task that the options name."""
    from bridge.rate_to_spike.model_file import RateModel
    from studies.rate_to_spike.evaluation import load_model_and_scaling_factor

    given = resolved[RateModelOptions].model
    if given is None:
        raise ValueError("--model FILE is needed: a .mat file of rate train")
    path, factor = load_model_and_scaling_factor(given, resolved[RateFactorOptions].scaling_factor)
    model = RateModel.load(path)
    return path, model, factor, _task(resolved, model, path)


def _say_seen(model: RateModel, options: SearchOptions) -> None:
    from studies.rate_to_spike.evaluation import seen_before

    seen = seen_before(model, options.seed)
    if seen is not None:
        log.warning("%s", seen)


def _run_folder(resolved: Resolved, mode: str, path: Path, factor: float) -> RunFolder:
    from bridge.runs.folder import RunFolder

    options = resolved[RateRunOptions]
    return RunFolder(
        options.out_dir or path.parent / mode.split()[1],
        mode=mode, config=resolved.to_json() | {"derived": {"scaling_factor": factor}},
        argv=ARGV, wipe=options.wipe_dir, protect=[path],
    )  # fmt: skip


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
