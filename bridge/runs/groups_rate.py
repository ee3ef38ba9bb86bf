"""The option groups of the ``rate`` commands: rate network to spiking network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.runs.groups_scan import WorkerOptions
from bridge.runs.options import Options, option
from bridge.runs.recipes import RECIPE_HELP


@dataclass(frozen=True, kw_only=True)
class RateTaskOptions(Options):
    """Task."""

    task: str | None = option(
        None, "go-nogo, xor, mante, or module:Class of your own",
        shown_default="train: go-nogo; others: that of the model", typed_only=":",
    )  # fmt: skip
    trial_steps: int | None = option(
        None, "T, length of a trial", unit="rate steps of 5 ms", at_least=2, at_most=1_000_000,
        shown_default="that of the model, else 200, 300, 500",
    )  # fmt: skip
    stim_on: int | None = option(
        None, "begin of the stimulus", unit="rate steps", at_least=0,
        shown_default="that of the model, else 50",
    )  # fmt: skip
    stim_dur: int | None = option(
        None, "its duration", unit="rate steps", at_least=1,
        shown_default="that of the model, else 25, 50, 200",
    )  # fmt: skip
    delay: int | None = option(
        None, "time between the two pulses of xor", unit="rate steps", at_least=0,
        shown_default="that of the model, else 10",
    )  # fmt: skip
    encoding: str | None = option(
        None, "input code of mante", choices=("cue", "noisy"),
        shown_default="that of the model, else cue",
    )  # fmt: skip
    eval_amp_thresh: float = option(0.7, "amplitude that an answer must cross", above=0)


@dataclass(frozen=True, kw_only=True)
class RateNetworkOptions(Options):
    """Rate network."""

    n_units: int = option(200, "units", at_least=2, at_most=5000)
    p_inh: float = option(0.2, "probability that a unit is inhibitory", at_least=0, at_most=1)
    p_rec: float = option(0.2, "probability of a connection", above=0, at_most=1)
    som_units: int = option(0, "inhibitory units that receive no inhibition", at_least=0)
    gain: float = option(1.5, "factor on weights drawn from gaus", above=0)
    w_dist: str = option("gaus", "distribution of the weights", choices=("gaus", "gamma"))
    apply_dale: bool = option(True, "let every unit excite or inhibit only")
    decay_taus: tuple[float, ...] = option(
        (4.0, 20.0), "time constant of all units, or the range in which each learns its own",
        unit="rate steps of 5 ms", above=0, nargs=(1, 2),
    )  # fmt: skip
    act: str = option("sigmoid", "activation", choices=("sigmoid", "clipped_relu", "softplus"))


@dataclass(frozen=True, kw_only=True)
class RateLearningOptions(Options):
    """Learning."""

    n_trials: int = option(6000, "largest number of updates", at_least=1, at_most=10_000_000)
    batch_size: int = option(
        1, "trials of an update; 1 is the published training", at_least=1, at_most=100_000
    )
    lr: float = option(0.01, "learning rate of Adam", above=0)
    loss_fn: str = option("l2", "loss over time", choices=("l1", "l2"))
    loss_threshold: float = option(
        7.0, "stop below this mean loss, once more than 95 % are right", above=0
    )
    min_updates: int | None = option(
        None, "go on so long in any case", at_least=0, shown_default="go-nogo 1500, others 0"
    )
    eval_freq: int = option(100, "updates between evaluations", at_least=1)
    eval_trials: int = option(100, "trials of an evaluation", at_least=1, at_most=100_000)
    train_bias: bool = option(
        True, "train the output bias, which the spiking network does not have"
    )
    resume: bool = option(False, "go on with the training that --out-dir holds")


@dataclass(frozen=True, kw_only=True)
class RateTrainRunOptions(Options):
    """Run and output."""

    config: Path | None = option(None, RECIPE_HELP)
    out_dir: Path | None = option(None, "output folder", shown_default="artifacts/rate/TASK")
    wipe_dir: bool = option(False, "clear the output folder first (only one of our own)")
    seed: int = option(0, "seed of weights, trials and noise", at_least=0, at_most=2**31 - 1)
    device: str | None = option(
        None, "compute device", choices=("cpu", "cuda", "mps"), shown_default="cpu"
    )
    dtype: str = option("float32", "float type", choices=("float32", "float64"))


@dataclass(frozen=True, kw_only=True)
class RateModelOptions(Options):
    """Model."""

    model: Path | None = option(None, "model file (.mat)")
    rectify: str = option(
        "auto", "take negative recurrent weights as absent; auto: under Dale's law",
        choices=("auto", "on", "off"),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RateModelDirOptions(Options):
    """Folder of models."""

    model_dir: Path | None = option(None, "folder of model files, instead of --model")


@dataclass(frozen=True, kw_only=True)
class RateFactorOptions(Options):
    """Scaling factor."""

    scaling_factor: float | None = option(
        None, "divides recurrent and output weights; about the rate (Hz) that stands for 1",
        above=0, shown_default="that of the model",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RateSpikingOptions(Options):
    """Spiking network."""

    n_trials: int = option(
        100, "fresh trials, at each scaling factor", at_least=1, at_most=1_000_000
    )
    balanced: bool = option(False, "let the trial types take turns")
    init_v: str = option(
        "uniform", "initial voltages: up to +30 mV as published, or below threshold",
        choices=("uniform", "subthreshold"),
    )  # fmt: skip
    refractory: str = option(
        "float", "compare times in seconds as published, or count whole steps",
        choices=("float", "steps"),
    )  # fmt: skip
    t_ref_ms: float = option(2.0, "refractory time", unit="ms", flag="t-ref", at_least=0,
                             at_most=10_000)  # fmt: skip
    tau_rise_ms: float = option(
        2.0, "rise of the synaptic filter; 0 is a single exponential", unit="ms",
        flag="tau-rise", at_least=0, at_most=10_000,
    )  # fmt: skip
    extra_column: bool = option(True, "run T rate steps (T + 1 input columns) instead of T - 1")
    legacy_windows: bool = option(False, "timing and windows of the 2019 evaluation")


@dataclass(frozen=True, kw_only=True)
class RateSearchOptions(Options):
    """Search."""

    scaling_factors: tuple[str, ...] = option(
        ("20:75:5",), "factors, or ranges first:last:step", metavar="FACTOR"
    )
    score: str = option(
        "strict", "rule that chooses: strict asks that the wrong threshold is never crossed",
        choices=("strict", "published"),
    )  # fmt: skip
    adaptive: bool = option(
        False, "drop factors that are clearly worse after 20, 40, 80 ... trials"
    )
    independent: bool = option(
        False, "noise of its own for every factor instead of the same for all"
    )
    skip_done: bool = option(False, "leave models alone that hold a scaling factor")


@dataclass(frozen=True, kw_only=True)
class RateEvalOptions(Options):
    """Evaluation."""

    all_trial_types: bool = option(
        False, "write one trial of each type, with spikes, to sample_trials.npz"
    )
    plots: bool = option(True, "draw network_output.png and the rasters")


@dataclass(frozen=True, kw_only=True)
class RatePlotOptions(Options):
    """Picture."""

    start_ms: float = option(0.0, "begin of the time axis", unit="ms", flag="start", at_least=0)


@dataclass(frozen=True, kw_only=True)
class RateRunOptions(Options):
    """Run and output."""

    config: Path | None = option(None, RECIPE_HELP)
    out_dir: Path | None = option(
        None, "output folder", shown_default="a folder named after the command beside the model"
    )
    wipe_dir: bool = option(False, "clear the output folder first (only one of our own)")
    seed: int = option(
        2, "seed of trials, initial voltages and noise; another than that of the search, or the "
        "trials are not fresh", at_least=0, at_most=2**31 - 1,
    )  # fmt: skip
    codegen: str = option(
        "auto", "Brian2 target; auto takes the cheapest, compilation included",
        choices=("auto", "numpy", "cython", "cpp", "cuda"),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RateSearchRunOptions(RateRunOptions):
    """Run and output."""

    seed: int = option(1, "seed of trials, initial voltages and noise", at_least=0,
                       at_most=2**31 - 1)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RateParallelOptions(WorkerOptions):
    """Parallel execution."""

    batch: int | None = option(
        None, "trials side by side in one simulation, each at every scaling factor", at_least=1,
        at_most=100_000, shown_default="as many as make 2400 cells, at least 1",
    )  # fmt: skip


RATE_TRAIN_GROUPS = (
    RateTaskOptions, RateNetworkOptions, RateLearningOptions, RateTrainRunOptions,
)  # fmt: skip
"""Groups of `rate train`."""
RATE_SEARCH_GROUPS = (
    RateModelOptions, RateModelDirOptions, RateTaskOptions, RateSpikingOptions, RateSearchOptions,
    RateParallelOptions, RateSearchRunOptions,
)  # fmt: skip
"""Groups of `rate search`."""
RATE_CONVERT_GROUPS = (
    RateModelOptions, RateFactorOptions, RateTaskOptions, RateSpikingOptions, RateParallelOptions,
    RateRunOptions,
)  # fmt: skip
"""Groups of `rate convert`."""
RATE_EVAL_GROUPS = (
    RateModelOptions, RateFactorOptions, RateTaskOptions, RateSpikingOptions, RateEvalOptions,
    RateParallelOptions, RateRunOptions,
)  # fmt: skip
"""Groups of `rate eval`."""
RATE_PLOT_GROUPS = (
    RateModelOptions, RateFactorOptions, RateTaskOptions, RatePlotOptions, RateRunOptions,
)  # fmt: skip
"""Groups of `rate plot`."""
