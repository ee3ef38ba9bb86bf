"""What the commands of clustered networks share: stagers, folders, runs over values."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.groups_clustered import (
    CLUSTERED_SWEEP_GROUPS,
    AttractorOptions,
    ClusteredOptions,
    OutputOptions,
    ParameterOptions,
    RepeatOptions,
    SimulationOptions,
    StepParallelOptions,
)
from studies.common import ARGV

if TYPE_CHECKING:
    from bridge.clustered.config import ClusteredConfig
    from bridge.runs.folder import RunFolder
    from bridge.runs.resolve import Resolved

log = logging.getLogger("pingbridge")


def make_stager(tree: Any, seed: int, *, backend: str, arousal_noise: str) -> Any:
    """Return the stager of a seed; a function of a module, so that processes can call it."""
    from studies.clustered import StageSNNSimulation

    return StageSNNSimulation(tree, random_seed=seed, backend=backend, arousal_noise=arousal_noise)


def with_duration(parsed: ClusteredConfig, duration_s: float | None) -> dict[str, Any]:
    """Return the configuration as a tree, its duration replaced where one is given."""
    tree = dict(parsed.tree)
    if duration_s is not None:
        tree["init_params"] = dict(tree["init_params"]) | {"duration_sec": duration_s}
    return tree


def parallel_settings(resolved: Resolved) -> dict[str, Any]:
    """Return how steps run; refuse flags that can't apply."""
    options = resolved[StepParallelOptions]
    if not options.parallel:
        for key in ("max_workers", "executor", "scheduler"):
            if key in resolved.explicit:
                raise ValueError(f"--{key.replace('_', '-')} can't apply without --parallel")
    if options.scheduler is not None and options.executor != "dask":
        raise ValueError("--scheduler needs --executor dask")
    return {
        "parallel": options.parallel, "max_workers": options.max_workers,
        "executor": options.executor, "scheduler": options.scheduler,
    }  # fmt: skip


def open_folder(mode: str, folder: Path, config: Path | None, resolved: Resolved) -> RunFolder:
    """Return the run folder of a command."""
    from bridge.runs.folder import RunFolder

    block = resolved.to_json() | ({"config": str(config)} if config is not None else {})
    where = resolved.options.get(ClusteredOptions, resolved.options.get(OutputOptions))
    return RunFolder(
        folder, mode=mode, config=block, argv=ARGV, wipe=bool(getattr(where, "wipe_dir", False))
    )


def analysis_settings(resolved: Resolved, n_clusters: int | None) -> dict[str, Any]:
    """Return the settings of the attractor analysis."""
    options = resolved[AttractorOptions]
    return {
        "n_excitatory_clusters": None if options.populations == "all" else n_clusters,
        "threshold_rule": options.threshold_rule, "kernel": options.kernel,
        "kernel_ms": options.kernel_ms, "minimal_life_span_ms": options.minimal_life_span_ms,
    }  # fmt: skip


def measured_values(mode: str, given: dict[str, Any], n: int) -> Any:
    """Return values, a function that measures them all, the run folder, and the entry's name."""
    from bridge.runs.recipes import find_recipe
    from bridge.runs.resolve import resolve
    from studies.clustered import read_config, repeat_seeds
    from studies.clustered.repeater import Repeater
    from studies.clustered.sweeps import with_value

    resolved = resolve(CLUSTERED_SWEEP_GROUPS, given)
    where, what = resolved[ClusteredOptions], resolved[ParameterOptions]
    repeats = resolved[RepeatOptions]
    path = find_recipe(where.config or "configs/snn_test_run.yaml")
    parsed = read_config(path)
    values = list(what.values)
    if len(set(values)) != len(values):
        raise ValueError("--values names a value twice")
    tree = with_duration(parsed, None)
    if what.param.startswith("arousal."):
        from bridge.runs.options import to_json

        tree["arousal"] = to_json(parsed.arousal)
    trees = [with_value(tree, what.param.split("."), value, what.param_idx) for value in values]
    for one in trees:
        read_config(one)
    folder = where.save_dir or Path("simulations") / mode.split()[-1]
    if repeats.seeds_file is not None or repeats.load_saved_seeds:
        seeds = Repeater(
            repeats.n_repeats, folder, stager_factory=make_stager, seeds_file=repeats.seeds_file,
            load_saved_seeds=repeats.load_saved_seeds,
        ).seeds  # fmt: skip
    else:
        seeds = repeat_seeds(repeats.seed, repeats.n_repeats or n)
    rows = functools.partial(
        _measure_all, trees=trees, values=values, seeds=seeds, resolved=resolved,
        n_clusters=parsed.clusters.n_clusters, parallel=parallel_settings(resolved),
    )  # fmt: skip
    element = "" if what.param_idx is None else f"[{what.param_idx}]"
    return values, rows, open_folder(mode, folder, path, resolved), what.param + element


def _measure_all(
    out: RunFolder, *, trees: list[Any], values: list[float], seeds: list[int],
    resolved: Resolved, n_clusters: int | None, parallel: dict[str, Any],
) -> dict[float, list[dict[str, Any]]]:  # fmt: skip
    """Return the measurements of every value, one for each seed; goes on after a kill."""
    from bridge.atomic import write_text
    from bridge.clustered.yaml_tree import dump_tree
    from bridge.runs.store import ResultStore, job_key
    from studies.clustered.execution import StepError, run_steps

    simulation = resolved[SimulationOptions]
    settings = {
        "duration_s": simulation.duration_sec, "backend": simulation.backend,
        "arousal_noise": simulation.arousal_noise,
        "analysis": analysis_settings(resolved, n_clusters),
    }  # fmt: skip
    items = [(tree, seed) for tree in trees for seed in seeds]
    for k, tree in enumerate(trees):
        write_text(out.path(f"configs/{k}.yaml"), dump_tree(tree))
    write_text(out.path("metadata/seeds.txt"), "".join(f"{seed}\n" for seed in seeds))
    key = job_key({
        "items": [[dump_tree(tree), seed] for tree, seed in items],
        "settings": {k: v for k, v in settings.items() if k != "backend"},
    })  # fmt: skip
    try:
        store = ResultStore(out.path("metadata/unfinished"), key=key, n_items=len(items))
    except ValueError:
        raise ValueError(
            f"{out.folder} holds unfinished runs of another configuration; choose another "
            "--save-dir, or clear this one with --wipe-dir"
        ) from None
    found = {k: one for k in store.done() if (one := store.get(k)) is not None}
    if found:
        log.info("resuming: %d of %d runs are there already", len(found), len(items))
    left = [k for k in range(len(items)) if k not in found]
    failures = []
    for place, outcome in run_steps(
        functools.partial(measure_item, settings), [items[k] for k in left], label="runs",
        **parallel,
    ):  # fmt: skip
        k = left[place]
        value, seed = values[k // len(seeds)], items[k][1]
        if "error" in outcome:
            failures.append(f"value {value:g} (seed {seed}): {outcome['error']}")
            continue
        found[k] = outcome["value"]
        store.put(k, found[k])
    if failures:
        raise StepError(
            f"{len(failures)} of {len(items)} runs failed (the others are kept): "
            + "; ".join(failures)
        )
    store.remove()
    n = len(seeds)
    return {value: [dict(found[k * n + s]) for s in range(n)] for k, value in enumerate(values)}


def measure_item(settings: dict[str, Any], item: Any) -> dict[str, Any]:
    """Return the measurements of one run; a function of a module, for processes."""
    from studies.clustered.compare import measure_network

    tree, seed = item
    return measure_network(tree, seed, **settings)
