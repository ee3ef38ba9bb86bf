"""``clustered run|perturb|sweep|analyze|compare``: clustered networks and their attractors."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.cluster import check_scheduler
from bridge.runs.groups_clustered import (
    CLUSTERED_ANALYZE_GROUPS,
    CLUSTERED_RUN_GROUPS,
    AnalyzeOptions,
    ClusteredOptions,
    OutputOptions,
    RepeatOptions,
    SimulationOptions,
    SpikeFileOptions,
)
from studies.clustered.runs import (
    IN_NUMPY,
    analysis_settings,
    applied_perturbations,
    claim,
    contents,
    make_stager,
    open_folder,
    own_folder,
    parallel_settings,
    saved_seeds,
    seeds_of,
    told_logger,
    value_runs,
    with_duration,
)
from studies.common import execution_noted

if TYPE_CHECKING:
    from bridge.clustered.config import ClusteredConfig
    from bridge.runs.folder import RunFolder
    from bridge.runs.resolve import Resolved
    from scope.measure.attractors.analyzer import Analyzer
    from studies.clustered.repeater import Repeater

log = logging.getLogger("pingbridge")


def run(**given: Any) -> None:
    """Repeat a configuration with many seeds and analyse its attractors."""
    _repeats("clustered run", given, "configs/snn_long_run.yaml", "simulations/snn_long_run", 100)


def perturb(**given: Any) -> None:
    """Repeat a configuration with its perturbations, which are saved with their statistics."""
    _repeats(
        "clustered perturb", given, "configs/snn_params_with_perturbation.yaml",
        "simulations/perturbed_snn", 1,
    )  # fmt: skip


def _repeats(mode: str, given: dict[str, Any], config: str, save_dir: str, n: int) -> None:
    from bridge.runs.recipes import find_recipe
    from bridge.runs.resolve import resolve
    from studies.clustered import read_config
    from studies.clustered.stager import save_perturbations

    resolved = resolve(CLUSTERED_RUN_GROUPS, given)
    where = resolved[ClusteredOptions]
    path = find_recipe(where.config or config)
    parsed = read_config(path)
    if mode.endswith("perturb") and not parsed.perturbation:
        raise ValueError(f"{path} has no perturbation section; use clustered run")
    duration_s = resolved[SimulationOptions].duration_sec
    read_config(with_duration(parsed, duration_s))  # a run that is too short is told now
    logger = told_logger(mode)
    check_scheduler(parallel_settings(resolved)["scheduler"])
    # Made first: what is wrong with seeds or workers is refused before anything is written.
    seeds = seeds_of(resolved, where.save_dir or Path(save_dir), n)
    read = contents(path, seeds)
    folder = own_folder(where.save_dir, Path(save_dir), mode, resolved, read)
    repeater = _repeater(n, folder, parsed, resolved, logger)
    if not where.wipe_dir:
        repeater.check()
    protect = saved_seeds(folder, resolved)
    with open_folder(mode, folder, resolved, read, config=path, protect=protect) as out:
        claim(out, "data", "plots", "metadata")
        out.path("clusters.npy")
        if parsed.perturbation:
            logger.attach_file(out.path("metadata/run.log"))
            save_perturbations(
                out.path("metadata/perturbations.npz"), applied_perturbations(parsed, duration_s),
                logger,
            )  # fmt: skip
        asked = resolved[SimulationOptions].backend
        with execution_noted(out, asked), repeater.repeats() as found:
            log.info("%d runs in %s", len(found), out.folder / "data")
            _analyse(out, parsed, resolved, repeater.files)


def _repeater(
    n: int, folder: Path, parsed: ClusteredConfig, resolved: Resolved, logger: Any
) -> Repeater:
    from studies.clustered import Repeater

    repeats, simulation = resolved[RepeatOptions], resolved[SimulationOptions]
    files = resolved[SpikeFileOptions]
    from_file = repeats.seeds_file is not None or repeats.load_saved_seeds
    tree = with_duration(parsed, simulation.duration_sec)
    return Repeater(
        repeats.n_repeats if repeats.n_repeats or from_file else n,
        folder,
        stager_factory=functools.partial(
            make_stager, tree, backend=simulation.backend,
            arousal_noise=simulation.arousal_noise,
        ),
        config=parsed if simulation.duration_sec is None else tree,
        seed=repeats.seed,
        seeds_file=repeats.seeds_file,
        load_saved_seeds=repeats.load_saved_seeds,
        spike_format=files.spike_format,
        plot=files.plot,
        logger=logger,
        **parallel_settings(resolved),
    )  # fmt: skip


def _analyse(
    out: RunFolder, parsed: ClusteredConfig, resolved: Resolved, files: list[Path]
) -> None:
    """Analyse the recordings of this run, by name, and nothing else that may lie beside them."""
    from scope.measure.attractors.recordings import read_spikes
    from studies.clustered import Analyzer

    analyzer = Analyzer(
        [read_spikes(path)[0] for path in files], out.folder / "clusters.npy",
        dt=parsed.init.delta_t_s or 0.0005,
        **analysis_settings(resolved, parsed.clusters.n_clusters),
    )  # fmt: skip
    analyzer.spikes_path = str(out.folder / "data")
    _write_analysis(out, analyzer)


def _write_analysis(out: RunFolder, analyzer: Analyzer) -> None:
    from scope.figures.clustered import rates_figure
    from scope.files import save_figure

    analyzer.save_analysis(out.folder_of_files("analysis"))
    summary = analyzer.get_activity_summary() | {
        "n_states": analyzer.get_num_states(),
        "n_occurrences": len(analyzer.occurrences),
        "mean_life_ms": analyzer.get_mean_lifespan(),
        "total_s": analyzer.occurrences.total_s,
        "population_rates_hz": analyzer.get_mean_rates(),
    }
    out.write_json("analysis/summary.json", summary)
    rates = rates_figure(
        rates_hz=analyzer.get_rates(0)[: len(analyzer.thresholds_hz[0])],
        active=analyzer.get_activity(0), dt_s=analyzer.dt,
        threshold_hz=float(analyzer.thresholds_hz[0].mean()),
    )  # fmt: skip
    out.write("plots/cluster_rates.png", lambda path: save_figure(rates, path))
    _write_transitions(out, analyzer)
    log.info(
        "threshold %.1f Hz: %d states in %d occurrences of %.0f ms on average; %.2f clusters "
        "active, on for %.0f ms; active %.1f, inactive %.2f Hz", summary["threshold_hz"],
        summary["n_states"], summary["n_occurrences"], summary["mean_life_ms"],
        summary["n_active"], summary["on_time_ms"], summary["active_hz"], summary["inactive_hz"],
    )  # fmt: skip
    log.info("wrote %s", out.folder / "analysis")


def _write_transitions(out: RunFolder, analyzer: Analyzer) -> None:
    from scope.figures.clustered import transitions_figure
    from scope.files import save_figure

    figure = transitions_figure(
        matrix=analyzer.get_transition_matrix(), identities=analyzer.get_unique_attractors(),
        counts=analyzer.get_occurrences(),
    )  # fmt: skip
    out.write("plots/transition_matrix.png", lambda path: save_figure(figure, path))


def analyze(**given: Any) -> None:
    """Analyse saved spikes, or tell what a saved analysis holds."""
    from bridge.runs.ownership import refuse_file_of_a_run
    from bridge.runs.resolve import resolve
    from studies.clustered import Analyzer

    resolved = resolve(CLUSTERED_ANALYZE_GROUPS, given)
    options, where = resolved[AnalyzeOptions], resolved[OutputOptions]
    if (options.analysis_dir is None) == (options.spikes is None):
        raise ValueError("give --analysis-dir to load an analysis, or --spikes to make one")
    if options.export is not None and not options.export.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"--export {options.export}: there is no folder {options.export.parent}"
        )
    if options.export is not None:
        refuse_file_of_a_run(options.export, "--export")
    if options.analysis_dir is not None:
        own = {"save_dir", "wipe_dir", "spikes", "clusters", "dt", "n_clusters", "populations",
               "threshold_rule", "kernel", "kernel_ms", "minimal_life_span"}  # fmt: skip
        for key in sorted(own & resolved.explicit):
            raise ValueError(
                f"--{key.replace('_', '-')} can't apply to a saved analysis; use --spikes"
            )
        analyzer = Analyzer.load_analysis(options.analysis_dir)
    else:
        assert options.spikes is not None
        analyzer = Analyzer(options.spikes, options.clusters, dt=options.dt_s)
        n = options.n_clusters or max((len(analyzer.sizes) - 2) // 2, 1)
        if n > len(analyzer.sizes):
            raise ValueError(f"--n-clusters {n}: there are {len(analyzer.sizes)} populations")
        settings = analysis_settings(resolved, n)
        analyzer = Analyzer(options.spikes, options.clusters, dt=options.dt_s, **settings)
        mode, read = "clustered analyze", _recordings(options)
        default = _beside(options.spikes) / "analyze"
        folder = own_folder(where.save_dir, default, mode, resolved, read)
        with open_folder(mode, folder, resolved, read) as out:
            out.update_config(IN_NUMPY)
            _write_analysis(out, analyzer)
    _tell(analyzer, options)


def _beside(spikes: Path) -> Path:
    """Return the folder of a run that wrote spikes; else that in which they lie."""
    from bridge.runs.ownership import read_config

    inside = spikes.absolute().parent
    return inside.parent if read_config(inside.parent) is not None else inside


def _recordings(options: AnalyzeOptions) -> dict[str, str]:
    """Return a hash of the files that are analysed, by option."""
    from bridge.runs.content import content_hash
    from bridge.runs.inputs import file_hash
    from scope.measure.attractors.recordings import spike_files

    assert options.spikes is not None
    spikes, clusters = options.spikes, options.clusters
    files = spike_files(spikes) if spikes.is_dir() else [spikes]
    beside = spikes.parent / "clusters.npy" if clusters is None else clusters
    return {
        "spikes": content_hash([(path.name, file_hash(path)) for path in files]),
        **({"clusters": file_hash(beside)} if beside.is_file() else {}),
    }


def _tell(analyzer: Analyzer, options: AnalyzeOptions) -> None:
    import numpy as np

    matrix = analyzer.get_transition_matrix()
    log.info("states: %d", analyzer.get_num_states())
    log.info("transition matrix: %d x %d", *matrix.shape)
    log.info("total time: %.1f ms", analyzer.occurrences.total_s * 1e3)
    if options.verbose:
        counts, (mean, _) = analyzer.get_occurrences(), analyzer.get_life_spans()
        names = analyzer.get_unique_attractors()
        for k in np.argsort(-counts, kind="stable")[:10]:
            log.info("state %d: clusters %s, %d times, %.1f ms on average", k, list(names[k]),
                     counts[k], mean[k])  # fmt: skip
    if options.export is not None:
        from bridge.formats.tables import write_csv

        o = analyzer.occurrences
        rows = [
            {"state": int(o.state[k]), "clusters": " ".join(map(str, o.identities[o.state[k]])),
             "recording": int(o.recording[k]), "start_s": float(o.start_s[k]),
             "end_s": float(o.end_s[k]),
             "duration_ms": float(o.end_s[k] - o.start_s[k]) * 1e3}
            for k in range(len(o))
        ]  # fmt: skip
        write_csv(options.export, rows)
        log.info("wrote %s: %d occurrences", options.export, len(rows))


def sweep(**given: Any) -> None:
    """Run a network over the values of one entry of its configuration; save a table, a figure."""
    runs = value_runs("clustered sweep", given, 1)
    values, name = runs.values, runs.name
    with runs.measured() as (out, measured):
        from scope.figures.clustered import sweep_figure
        from scope.files import save_figure
        from studies.clustered.compare import mean_over_runs

        table = [{"value": value, **mean_over_runs(measured[value])} for value in values]
        _write_table(out, "sweep", table)
        columns = ("e_hz", "i_hz", "active_hz", "n_active", "on_time_ms", "separation")
        figure = sweep_figure(values=values, rows=table, name=name, columns=columns)
        path = out.write("plots/sweep.png", lambda path: save_figure(figure, path))
        for row in table:
            log.info("%s = %g: E %.2f Hz, I %.2f Hz, %.2f clusters active for %s ms, separation "
                     "%.2f", name, row["value"], row["e_hz"], row["i_hz"] or float("nan"),
                     row["n_active"],
                     "?" if row["on_time_ms"] is None else f"{row['on_time_ms']:.0f}",
                     row["separation"] or float("nan"))  # fmt: skip
        log.info("wrote %s", path)


def compare(**given: Any) -> None:
    """Compare simulated rates with the mean field over a parameter, in one table and figure."""
    runs = value_runs("clustered compare", given, 2)
    name = runs.name
    with runs.measured() as (out, measured):
        from scope.figures.clustered_mean_field import compare_figure
        from scope.files import save_figure
        from studies.clustered.compare import compared_row, mean_over_runs

        table = [
            compared_row(value, mean_over_runs(measured[value]), tree)
            for value, tree in zip(runs.values, runs.trees, strict=True)
        ]
        _write_table(out, "compare", table)
        figure = compare_figure(rows=table, name=name)
        path = out.write("plots/compare.png", lambda path: save_figure(figure, path))
        for row in table:
            parts = [
                f"{label} {row[f'{kind}_sim_hz']:.2f} [{row[f'{kind}_mf_hz']:.2f}] "
                f"{row[f'{kind}_difference_percent']:+.1f} %"
                for kind, label in (("e", "E"), ("e_bg", "E bg"), ("i", "I"), ("i_bg", "I bg"),
                                    ("active", "active"), ("inactive", "inactive"))
                if row[f"{kind}_difference_percent"] is not None
            ]  # fmt: skip
            stable = "" if row["uniform_stable"] else " (uniform state unstable)"
            log.info("%s = %g%s: %s", name, row["value"], stable, ", ".join(parts))
        log.info("wrote %s", path)


def _write_table(out: RunFolder, name: str, rows: list[dict[str, Any]]) -> None:
    from bridge.formats.tables import write_csv

    path = out.path(f"data/{name}.csv")
    write_csv(path, rows)
    out.write_json(f"data/{name}.json", rows)
