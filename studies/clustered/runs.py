"""What the commands of clustered networks share: stagers, folders, runs over values."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.cluster import check_scheduler
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
from bridge.runs.options import parameters
from studies.common import ARGV, execution_noted

if TYPE_CHECKING:
    from bridge.clustered.config import ClusteredConfig
    from bridge.runs.folder import RunFolder
    from bridge.runs.resolve import Resolved
    from studies.clustered.logger import Logger
    from studies.stored import Stored

DESCRIBED = (
    "configs/", "metadata/cmd.txt", "metadata/config.yaml", "metadata/owner.json",
    "metadata/perturbations", "metadata/run.log", "metadata/seeds.txt", "metadata/sweep.log",
)  # fmt: skip
"""Files of a run folder that say what was asked for; the rest are results."""
IN_NUMPY: dict[str, Any] = {
    "execution": {"backend": "numpy", "dtype": "float64"}, "provenance": {"device": "cpu"},
}  # fmt: skip
"""What config.json says of a command that runs no network."""

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


def own_folder(
    typed: Path | None, default: Path, mode: str, resolved: Resolved,
    inputs: Mapping[str, str],
) -> Path:  # fmt: skip
    """Return the folder of a command: what was typed, or the default one.

    A default that holds results of another command or of other settings is left to them: ``-2``,
    ``-3`` ... are added to its name, unless it is to be wiped, or seeds are to be read there.

    Parameters
    ----------
    typed : Path or None
    default : Path
    mode : str
        The command.
    resolved : Resolved
    inputs : mapping
        A hash of what is read, by option.
    """
    from bridge.runs.ownership import occupant, settings_key

    wanted = resolved.to_json()
    if typed is not None or wanted.get("wipe_dir") or wanted.get("load_saved_seeds"):
        return (default if typed is None else typed).absolute()
    key, place, n = settings_key(wanted, inputs), default.absolute(), 1
    while (there := occupant(place)) is not None and there.results:
        if there.mode == mode and there.key == key:
            break
        n += 1
        place = default.absolute().with_name(f"{default.name}-{n}")
    return place


def open_folder(
    mode: str, folder: Path, resolved: Resolved, inputs: Mapping[str, str], *,
    config: Path | None = None, protect: Sequence[Path] = (),
) -> RunFolder:  # fmt: skip
    """Return the run folder of a command.

    Parameters
    ----------
    mode : str
        The command.
    folder : Path
    resolved : Resolved
    inputs : mapping
        A hash of what is read, by option.
    config : Path, optional
        The configuration that is run.
    protect : sequence of Path
        What is read without an option that names it.
    """
    from bridge.runs.folder import RunFolder

    block = resolved.to_json() | ({"config": str(config)} if config is not None else {})
    where = resolved.options.get(ClusteredOptions, resolved.options.get(OutputOptions))
    return RunFolder(
        folder, mode=mode, config=block, argv=ARGV, wipe=bool(getattr(where, "wipe_dir", False)),
        repeat="same", flag="--save-dir", inputs=inputs, protect=protect, described=DESCRIBED,
    )  # fmt: skip


def seeds_of(resolved: Resolved, save_dir: Path, n_repeats: int) -> list[int]:
    """Return the seeds that were asked for; `n_repeats` where nothing says how many."""
    from studies.clustered.repeater import chosen_seeds

    repeats = resolved[RepeatOptions]
    from_file = repeats.seeds_file is not None or repeats.load_saved_seeds
    return chosen_seeds(
        repeats.n_repeats if repeats.n_repeats or from_file else n_repeats, save_dir,
        seed=repeats.seed, seeds_file=repeats.seeds_file,
        load_saved_seeds=repeats.load_saved_seeds,
    )  # fmt: skip


def contents(config: Path, seeds: Sequence[int] | None = None) -> dict[str, str]:
    """Return a hash of a configuration and of seeds, however they were asked for."""
    from bridge.runs.content import content_hash
    from bridge.runs.inputs import file_hash

    found = {"config": file_hash(config)}
    if seeds is not None:
        names = [parameter.key for parameter in parameters(RepeatOptions)]
        found |= dict.fromkeys(names, content_hash(list(seeds)))
    return found


def saved_seeds(folder: Path, resolved: Resolved) -> list[Path]:
    """Return the file in a folder that holds the seeds of this run, where it is read."""
    read = resolved[RepeatOptions].load_saved_seeds
    return [folder / "metadata" / "seeds.txt"] if read else []


def told_logger(name: str) -> Logger:
    """Return a logger whose lines go to files and, shortened, to the terminal."""
    from studies.clustered.logger import Logger

    class Told(Logger):
        def _write(self, level: str, text: str, once: str | None) -> None:
            super()._write(level, text, once)
            log.log(getattr(logging, level), "%s", text.splitlines()[0])

    return Told(name, stream=None)


def claim(out: RunFolder, *folders: str) -> None:
    """Say that folders hold files of this run only: --wipe-dir may take what a kill leaves."""
    for name in folders:
        out.folder_of_files(name)


def analysis_settings(resolved: Resolved, n_clusters: int | None) -> dict[str, Any]:
    """Return the settings of the attractor analysis."""
    options = resolved[AttractorOptions]
    return {
        "n_excitatory_clusters": None if options.populations == "all" else n_clusters,
        "threshold_rule": options.threshold_rule, "kernel": options.kernel,
        "kernel_ms": options.kernel_ms, "minimal_life_span_ms": options.minimal_life_span_ms,
    }  # fmt: skip


def applied_perturbations(parsed: ClusteredConfig, duration_s: float | None) -> dict[str, Any]:
    """Return the array of every perturbed target as a run of that length has it.

    Parameters
    ----------
    parsed : ClusteredConfig
    duration_s : float, s, optional
        In place of that of the configuration.
    """
    from bridge.clustered.perturbation import gather_perturbations

    dt_s = parsed.init.delta_t_s or 1.0
    duration_s = duration_s or parsed.init.duration_s or dt_s
    return gather_perturbations(
        parsed.perturbation, {}, length=parsed.n_populations, n_steps=round(duration_s / dt_s),
        dt_s=dt_s,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueRuns:
    """Runs of a network over the values of one entry of its configuration, each with every seed.

    Attributes
    ----------
    mode : str
        The command.
    name : str
        Of the entry, its element included.
    values : list of float
    trees : list of dict
        The configuration at each value.
    seeds : list of int
        As the trials of a sweep runner have them (``repeat(random_seed=...)``).
    folder : Path
    config : Path
    resolved : Resolved
    """

    mode: str
    name: str
    values: list[float]
    trees: list[dict[str, Any]]
    seeds: list[int]
    folder: Path
    config: Path
    resolved: Resolved

    @contextlib.contextmanager
    def measured(self) -> Iterator[tuple[RunFolder, dict[float, list[dict[str, Any]]]]]:
        """Give the run folder and the measurements of every value, one for each seed.

        What is measured is kept until the block has ended well.

        Raises
        ------
        ValueError
            If the folder holds unfinished runs of another configuration; nothing is written.
        StepError
            If runs failed, after all others have been done.
        """
        from studies.clustered.execution import Workers
        from studies.clustered.sweeps import noted

        runner = Workers(**parallel_settings(self.resolved)).runner(
            functools.partial(measure_item, self._settings())
        )
        logger = told_logger(self.mode)
        job = self._job(logger)
        folder = open_folder(
            self.mode, self.folder, self.resolved, contents(self.config, self.seeds),
            config=self.config, protect=saved_seeds(self.folder, self.resolved),
        )  # fmt: skip
        with folder as out, job:
            claim(out, "configs", "metadata")
            self._describe(out, logger)
            with execution_noted(out, self.resolved[SimulationOptions].backend):
                found = dict(job.results(runner, label="runs", **noted(job, logger)))
            n = len(self.seeds)
            yield (
                out,
                {
                    value: [found[k * n + s] for s in range(n)]
                    for k, value in enumerate(self.values)
                },
            )

    def _settings(self) -> dict[str, Any]:
        simulation = self.resolved[SimulationOptions]
        analysis = analysis_settings(self.resolved, None)
        if self.resolved[AttractorOptions].populations != "all":
            del analysis["n_excitatory_clusters"]  # as many as the network of each value has
        return {
            "duration_s": simulation.duration_sec, "backend": simulation.backend,
            "arousal_noise": simulation.arousal_noise, "analysis": analysis,
        }  # fmt: skip

    def _job(self, logger: Logger) -> Stored:
        from studies.clustered.repeater import CLEAR
        from studies.stored import UNFINISHED, Stored

        items = [(tree, seed) for tree in self.trees for seed in self.seeds]
        return Stored(
            self.folder / "metadata" / UNFINISHED,
            items,
            # The spikes are the same on every backend.
            key={k: v for k, v in self._settings().items() if k != "backend"},
            name=lambda k: f"value {self.values[k // len(self.seeds)]:g} (seed {items[k][1]})",
            clear=CLEAR,
            wiped=self.resolved[ClusteredOptions].wipe_dir,
            say=logger,
        )

    def _describe(self, out: RunFolder, logger: Logger) -> None:
        """Write seeds, configurations and perturbations, as a sweep runner does."""
        from bridge.atomic import write_text
        from studies.clustered import read_config
        from studies.clustered.sweeps import describe_steps

        logger.attach_file(out.path("metadata/sweep.log"))
        duration_s = self.resolved[SimulationOptions].duration_sec
        arrays = [applied_perturbations(read_config(tree), duration_s) for tree in self.trees]
        describe_steps(out.folder, self.trees, arrays, logger)
        write_text(out.path("metadata/seeds.txt"), "".join(f"{seed}\n" for seed in self.seeds))


def value_runs(mode: str, given: dict[str, Any], n_repeats: int) -> ValueRuns:
    """Return the runs that a command asks for, all checked.

    Parameters
    ----------
    mode : str
        The command.
    given : dict
        What was typed.
    n_repeats : int
        Seeds, where nothing says how many.

    Raises
    ------
    ValueError, FileNotFoundError
        For values, seeds, durations or workers that are none.
    """
    from bridge.runs.recipes import find_recipe
    from bridge.runs.resolve import resolve
    from studies.clustered import read_config
    from studies.clustered.sweeps import with_value

    resolved = resolve(CLUSTERED_SWEEP_GROUPS, given)
    where, what = resolved[ClusteredOptions], resolved[ParameterOptions]
    path = find_recipe(where.config or "configs/snn_test_run.yaml")
    parsed = read_config(path)
    values = list(what.values)
    if len(set(values)) != len(values):
        raise ValueError("--values names a value twice")
    tree = dict(parsed.tree)
    if what.param.startswith("arousal."):
        from bridge.runs.options import to_json

        tree["arousal"] = to_json(parsed.arousal)
    trees = [with_value(tree, what.param.split("."), value, what.param_idx) for value in values]
    for one in trees:
        read_config(with_duration(read_config(one), resolved[SimulationOptions].duration_sec))
    check_scheduler(parallel_settings(resolved)["scheduler"])
    default = Path("simulations") / mode.split()[-1]
    seeds = seeds_of(resolved, where.save_dir or default, n_repeats)
    folder = own_folder(where.save_dir, default, mode, resolved, contents(path, seeds))
    element = "" if what.param_idx is None else f"[{what.param_idx}]"
    return ValueRuns(
        mode=mode, name=what.param + element, values=values, trees=trees, seeds=seeds,
        folder=folder, config=path, resolved=resolved,
    )  # fmt: skip


def measure_item(settings: dict[str, Any], item: Any) -> dict[str, Any]:
    """Return the measurements of one run; a function of a module, for processes."""
    from studies.clustered.compare import measure_network

    tree, seed = item
    return measure_network(tree, seed, **settings)
