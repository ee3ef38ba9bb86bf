"""The option groups of `clustered ...` and `meanfield ...`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.runs.options import Options, option


@dataclass(frozen=True, kw_only=True)
class ClusteredOptions(Options):
    """Configuration and output."""

    config: Path | None = option(
        None, "configuration: a YAML file, or the name of one that ships (`pingbridge recipes`)",
        shown_default="configs/snn_long_run.yaml; perturb: "
        "configs/snn_params_with_perturbation.yaml; sweep, compare: configs/snn_test_run.yaml; "
        "meanfield: configs/2_cluster_mf.yaml",
    )  # fmt: skip
    save_dir: Path | None = option(
        None, "output folder",
        shown_default="simulations/snn_long_run; perturb: simulations/perturbed_snn; else "
        "simulations/<command>",
    )  # fmt: skip
    wipe_dir: bool = option(False, "clear the output folder first (only one of our own)")


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Options):
    """Output."""

    save_dir: Path | None = option(
        None,
        "output folder",
        shown_default="analyze in the run that wrote the spikes, or beside them; none for a loaded "
        "analysis",
    )
    wipe_dir: bool = option(False, "clear the output folder first (only one of our own)")


@dataclass(frozen=True, kw_only=True)
class RepeatOptions(Options):
    """Repeats and seeds."""

    n_repeats: int | None = option(
        None, "runs, each with a seed of its own", at_least=1, at_most=1_000_000,
        shown_default="run 100, perturb 1, sweep 1, compare 2; with a file of seeds: all of them",
    )  # fmt: skip
    seed: int = option(256, "seed of the seeds", at_least=0, at_most=2**32 - 1)
    seeds_file: Path | None = option(None, "seeds, one integer per line, instead")
    load_saved_seeds: bool = option(False, "use the seeds of SAVE_DIR/metadata/seeds.txt")


@dataclass(frozen=True, kw_only=True)
class SimulationOptions(Options):
    """Simulation."""

    duration_sec: float | None = option(
        None,
        "length of a run, in place of the configuration's",
        unit="s",
        above=0,
        at_most=1_000_000,
    )
    backend: str = option(
        "auto", "Brian2 target; the spikes are the same on all (cuda can't seed them)",
        choices=("auto", "numpy", "cython", "cpp"),
    )  # fmt: skip
    arousal_noise: str = option(
        "per_step", "Beta noise of the external rate: in every step, once per neuron, its mean",
        choices=("per_step", "quenched", "mean"),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SpikeFileOptions(Options):
    """Files of spikes."""

    spike_format: str = option(
        "npy", "dense bool arrays, or events in .npz", choices=("npy", "events")
    )
    plot: bool = option(True, "draw a raster of each repeat")
    sim_name: str | None = option(None, "a label, kept in config.json")


@dataclass(frozen=True, kw_only=True)
class StepParallelOptions(Options):
    """Parallel execution."""

    parallel: bool = option(False, "run several at once")
    max_workers: int | None = option(
        None, "how many at once", at_least=1, at_most=4096, shown_default="one for each core"
    )
    executor: str = option("thread", "what runs them", choices=("thread", "process", "dask"))
    scheduler: str | None = option(
        None,
        "address of a Dask scheduler, or the file it wrote of itself (executor dask); without it "
        "workers are started here",
        typed_only=True,  # whoever answers there sends pickles
    )


@dataclass(frozen=True, kw_only=True)
class AttractorOptions(Options):
    """Attractor analysis."""

    populations: str = option(
        "excitatory", "populations that make up a state: E clusters, or all",
        choices=("excitatory", "all"),
    )  # fmt: skip
    threshold_rule: str = option(
        "two_means", "activity threshold; the others are rules of the original",
        choices=("two_means", "update_then_stop", "stop_before_update"),
    )  # fmt: skip
    kernel: str = option("gaussian", "smoothing of rates", choices=("gaussian", "box"))
    kernel_ms: float = option(
        10.0, "standard deviation or width of it", unit="ms", at_least=0, at_most=10_000
    )
    minimal_life_span_ms: float = option(
        20.0, "shorter stretches of a state are dropped", unit="ms", flag="minimal-life-span",
        at_least=0, at_most=1_000_000_000,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ParameterOptions(Options):
    """Swept parameter."""

    param: str = option("arousal.level", "entry of the configuration, its keys joined with dots")
    param_idx: int | None = option(None, "element, where the entry is a list", at_least=0)
    values: tuple[float, ...] = option((0.1, 0.3, 0.5), "its values")


@dataclass(frozen=True, kw_only=True)
class AnalyzeOptions(Options):
    """Saved spikes or a saved analysis."""

    analysis_dir: Path | None = option(None, "load a saved analysis")
    spikes: Path | None = option(None, "analyse a file or folder of spikes")
    clusters: Path | None = option(
        None, "cluster labels (.npy)", shown_default="clusters.npy beside the folder"
    )
    dt_s: float = option(0.0005, "time step of the spikes", unit="s", flag="dt", above=0)
    n_clusters: int | None = option(
        None, "E clusters", at_least=1, shown_default="(populations - 2) / 2"
    )
    verbose: bool = option(False, "list the ten most frequent states")
    export: Path | None = option(None, "write all occurrences to a CSV file")


@dataclass(frozen=True, kw_only=True)
class StartOptions(Options):
    """Starts of the mean field."""

    n_runs: int = option(100, "random starting points", at_least=1, at_most=1_000_000)


@dataclass(frozen=True, kw_only=True)
class MeanFieldOptions(Options):
    """Mean field."""

    random_seed: int | None = option(
        None, "seed of random starts and sampled noise", at_least=0,
        shown_default="settings.random_seed",
    )  # fmt: skip
    mf_noise: str = option(
        "mean", "Beta noise of the external rate: its mean 1/2, or one draw averaged over neurons",
        flag="arousal-noise", choices=("mean", "sampled"),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ActiveStateOptions(Options):
    """States with some clusters switched on."""

    active_clusters: tuple[int, ...] = option(
        (), "also seek states in which so many clusters are equally active", at_least=0, nargs="*"
    )


@dataclass(frozen=True, kw_only=True)
class LandscapeOptions(Options):
    """Landscape."""

    focus_pops: tuple[int, ...] = option((0, 1), "populations whose rates are imposed", at_least=0)
    grid_density_hz: float = option(0.5, "step of the grid", unit="Hz", flag="grid-density",
                                    above=0)  # fmt: skip
    grid_lims_hz: tuple[float, ...] = option(
        (0.0, 60.0), "low and high rate; one pair, or one for each population", unit="Hz",
        flag="grid-lims", at_least=0,
    )  # fmt: skip
    potential_rule: str = option(
        "end", "force of a segment: at its end (original), or the mean of both ends",
        choices=("end", "trapezoid"),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RangeOptions(Options):
    """Parameter range."""

    param: str = option(
        "architecture.clusters.j_potentiated",
        "entry of the configuration, its keys joined with dots",
    )
    param_idx: int | None = option(
        None, "element, where the entry is a list", at_least=0, shown_default="0 for a list"
    )
    from_value: float | None = option(
        None, "first value", flag="from", shown_default="15 for j_potentiated"
    )
    to_value: float | None = option(
        None, "last value", flag="to", shown_default="22 for j_potentiated"
    )
    n_values: int = option(29, "number of values", at_least=2, at_most=100_000)
    populations: tuple[int, ...] = option(
        (), "populations shown", at_least=0, nargs="*", shown_default="E clusters"
    )
    tolerance: float = option(1e-8, "of critical values", above=0)


_SIMULATED = (ClusteredOptions, RepeatOptions, SimulationOptions)

CLUSTERED_RUN_GROUPS = (*_SIMULATED, SpikeFileOptions, StepParallelOptions, AttractorOptions)
CLUSTERED_SWEEP_GROUPS = (*_SIMULATED, ParameterOptions, StepParallelOptions, AttractorOptions)
CLUSTERED_ANALYZE_GROUPS = (OutputOptions, AnalyzeOptions, AttractorOptions)
MEANFIELD_SOLVE_GROUPS = (
    ClusteredOptions, StartOptions, MeanFieldOptions, ActiveStateOptions,
)  # fmt: skip
MEANFIELD_LANDSCAPE_GROUPS = (ClusteredOptions, LandscapeOptions, MeanFieldOptions)
MEANFIELD_BIFURCATION_GROUPS = (ClusteredOptions, RangeOptions, StartOptions, MeanFieldOptions)
