"""The option groups of the PING commands: the only place where a flag's default is written down.

Fields whose default is None depend on the model, the dataset or the files given; they are worked
out in :mod:`bridge.runs.job`, which also refuses what can't apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.runs.options import Options, option
from bridge.runs.recipes import RECIPE_HELP


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(Options):
    """Network."""

    model: str = option(
        "ping",
        "architecture: conductance-based E-I network, its current-based variant, or the latter "
        "without I cells",
        choices=("ping", "cuba-ping", "cuba-noping"),
    )
    n_hidden: tuple[int, ...] | None = option(
        None, "E cells of each hidden layer, first to last", at_least=1,
        shown_default="scikit 64, mnist 1024, smnist 32, shd 256; synthetic input 1024",
    )  # fmt: skip
    n_inh: tuple[int, ...] | None = option(
        None, "I cells of each E-I layer", at_least=1, shown_default="a quarter of the E cells"
    )
    ei_layers: tuple[int, ...] | None = option(
        None, "hidden layers with E-I structure, counted from 1 (ping)", at_least=1,
        shown_default="all",
    )  # fmt: skip
    readout: str | None = option(
        None, "output stage",
        choices=("rate", "li", "spike-count", "mem-mean"),
        shown_default="rate; cuba-*: mem-mean",
    )  # fmt: skip
    dales_law: bool = option(True, "keep every weight on its side of zero")
    ei_strength: float | None = option(
        None, "E-I coupling s: W_EI = s, W_IE = s * ratio; 0 opens the loop", at_least=0,
        shown_default="ping 0.5, cuba-ping 1",
    )  # fmt: skip
    ei_ratio: float | None = option(
        None, "W_IE / W_EI", at_least=0, shown_default="ping 2, cuba-ping 1"
    )
    w_in_sparsity: float = option(0.95, "fraction of absent input connections", at_least=0, below=1)
    ei_sparsity: float = option(
        0.0, "fraction of absent E-I connections (ping)", at_least=0, below=1
    )
    synapse_order: str = option(
        "decay-add",
        "g <- g a + W s, or the published order, which decays recurrent kicks on arrival (ping)",
        choices=("decay-add", "kick-decay"),
    )
    dt_ms: float = option(0.25, "integration time step", unit="ms", flag="dt", above=0)
    t_ms: float = option(
        200.0, "duration of a trial", unit="ms", above=0, shown_default="200; shd 1000"
    )
    tau_mem_ms: float | None = option(
        None, "membrane time constant of cuba-*, and of the li readout of ping", unit="ms",
        flag="tau-mem", above=0, shown_default="cuba-* 20, li 10",
    )  # fmt: skip
    tau_syn_ms: float = option(2.0, "AMPA decay (ping)", unit="ms", flag="tau-syn", above=0)
    tau_gaba_ms: float = option(9.0, "GABA decay (ping)", unit="ms", flag="tau-gaba", above=0)
    readout_tau_out_ms: float | None = option(
        None, "output time constant of spike-count and mem-mean", unit="ms",
        flag="readout-tau-out", above=0, shown_default="ping 5, cuba-* 20",
    )  # fmt: skip
    v_init: str = option(
        "rest", "initial voltages: at the leak reversal, or uniform up to threshold (ping)",
        choices=("rest", "uniform"),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(Options):
    """Training settings that belong to the network (recorded; a forward run is not changed)."""

    surrogate_slope: float = option(1.0, "slope of the surrogate gradient", unit="1/mV", above=0)
    grad_clip: float = option(1.0, "global-norm gradient clip", above=0)
    tbptt_window: int = option(
        10, "steps between gradient detachments (cuba-*)", unit="steps", at_least=1
    )
    readout_w_out_scale: float = option(
        1.0, "factor on the readout matrix when it is drawn", above=0
    )
    trainable_w_ee: bool = option(False, "let training change E to E weights (ping)")
    trainable_w_ei: bool = option(False, "let training change E to I weights (ping)")
    trainable_w_ie: bool = option(False, "let training change I to E weights (ping)")


@dataclass(frozen=True, kw_only=True)
class InputOptions(Options):
    """Input."""

    input: str | None = option(
        None,
        "stimulus: Poisson spikes, a conductance step, or a dataset sample",
        choices=("synthetic-conductance", "synthetic-spikes", "dataset"),
        shown_default="synthetic-spikes; dataset if --dataset, --digit or --sample is given",
    )
    input_rate_hz: float = option(
        25.0, "Poisson rate of an input channel", unit="Hz", flag="input-rate", at_least=0
    )
    stim_overdrive: float = option(
        1.0, "factor on the drive from 200 to 300 ms", unit="x", at_least=0
    )
    bias_us: float | None = option(
        None, "constant conductance added to E cells in each step, calibrated at dt 0.1 (ping)",
        unit="uS", flag="bias", at_least=0,
        shown_default="0.0002 with synthetic-spikes, else 0",
    )  # fmt: skip
    encoder: str | None = option(
        None, "how rates become spikes: step by step, or as events in time, which every dt bins",
        choices=("steps", "events"),
        shown_default="steps; events for a dataset with --stim-overdrive or in video and scan, and "
        "for a scan of dt",
    )  # fmt: skip
    event_stream: str = option(
        "independent", "random numbers of --encoder events, another stream for each channel and "
        "seed; or those of the published program, where seeds that differ by 3 share most trains "
        "and several events of a step (of shd too) are one",
        choices=("independent", "published"),
    )  # fmt: skip
    dataset: str = option("scikit", "dataset", choices=("scikit", "mnist", "smnist", "shd"))
    digit: int = option(0, "class of the sample", at_least=0, at_most=19)
    sample: int = option(0, "index of the sample within its class", at_least=0)
    trials: int = option(
        1,
        "trials side by side in one simulation, each with its own input noise",
        at_least=1,
        at_most=100_000,
    )
    input_file: Path | None = option(
        None, "explicit input spikes (NPZ or HDF5: in_spk, dt, T_steps, B, N_IN)"
    )


@dataclass(frozen=True, kw_only=True)
class WeightOptions(Options):
    """Weights (advanced)."""

    w_in: tuple[float, ...] | None = option(
        None, "mean and std of the input weights; std is mean/10 if left out", nargs=(1, 2),
        metavar="MEAN [STD]", shown_default="ping 0.3 0.06, cuba-* 0 0.5",
    )  # fmt: skip
    w_ei: tuple[float, ...] | None = option(
        None, "mean and std of W_EI, instead of --ei-strength", nargs=2, metavar=("MEAN", "STD")
    )
    w_ie: tuple[float, ...] | None = option(
        None, "mean and std of W_IE, instead of --ei-strength and --ei-ratio", nargs=2,
        metavar=("MEAN", "STD"),
    )  # fmt: skip
    weight_draw: str = option(
        "numpy", "random generator of drawn weights; torch replays published runs",
        choices=("numpy", "torch"),
    )  # fmt: skip
    weights_file: Path | None = option(
        None, "explicit weights (NPZ or HDF5: W_in, W_ff_1to2, W_out, W_ee_1, W_ei_1 ...)"
    )
    load_weights: Path | None = option(
        None, "trained weights (.pth, or .h5/.npz); wins over those of --from-dir"
    )


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Run and output."""

    from_dir: Path | None = option(
        None, "inherit the settings, and the weights if it was trained, of an earlier run"
    )
    config: Path | None = option(None, RECIPE_HELP)
    out_dir: Path | None = option(
        None, "output folder", shown_default="artifacts/COMMAND-TIME; FROM_DIR/COMMAND"
    )
    wipe_dir: bool = option(False, "clear the output folder first (only one of our own)")
    save_recording: Path | None = option(
        None, "write spikes, logits and traces to a file (.npz or .h5)"
    )
    record_traces: bool = option(False, "record v, ge and gi of every cell and step")
    burn_in_ms: float | None = option(
        None, "start of the trial left out of metrics and plots", unit="ms", flag="burn-in",
        at_least=0, shown_default="100; train and infer 20",
    )  # fmt: skip
    raster: str = option("scatter", "raster style of pictures", choices=("scatter", "imshow"))


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions(Options):
    """Execution."""

    seed: int = option(
        42, "seed of weights, input noise and initial voltages; infer keeps the input noise of the "
        "training's test unless this is given", at_least=0, at_most=2**31 - 1,
    )  # fmt: skip
    backend: str | None = option(
        None, "what runs the network", choices=("brian", "torch", "both"),
        shown_default="brian; infer without --dt-sweep: torch",
    )  # fmt: skip
    codegen: str = option(
        "auto", "Brian2 target; auto takes the cheapest, compilation included",
        choices=("auto", "numpy", "cython", "cpp", "cuda"),
    )  # fmt: skip
    device: str | None = option(
        None, "compute device; cuda means --codegen cuda", choices=("cpu", "mps", "cuda"),
        shown_default="cpu for Brian2, the best there is for torch",
    )  # fmt: skip
    compute_capability: str | None = option(
        None, "GPU that --codegen cuda compiles for, such as 9.0", metavar="X.Y",
        shown_default="the first GPU of this machine",
    )  # fmt: skip
    dtype: str | None = option(
        None, "float type of torch, or of Brian2 where it runs alone",
        choices=("float32", "float64"),
        shown_default="torch in train and infer float32, else float64",
    )  # fmt: skip
    deterministic: bool = option(False, "the same bits from torch each time, on a GPU too")
    train_kernel: str = option(
        "auto", "what runs the steps of torch: compiled loops (cpp, on a CPU), whole sequences in "
        "plain torch (function), or eager steps", choices=("auto", "eager", "function", "cpp"),
        shown_default="auto: cpp; without a compiler or on a GPU function",
    )  # fmt: skip
    fast_math: bool = option(False, "let the compiler reorder arithmetic: spikes may change")
    modal: bool = option(False, "run on Modal.com (a paid service)")
    modal_gpu: str = option(
        "T4", "GPU of a --modal run", choices=("none", "T4", "L4", "A10G", "A100", "H100")
    )


@dataclass(frozen=True, kw_only=True)
class ProgramOptions(Options):
    """Compiled program."""

    program: Path | None = option(
        None,
        "run the program in this folder, made by `pingbridge build`, instead of compiling",
        typed_only=True,
    )


PING_GROUPS = (
    NetworkOptions, InputOptions, WeightOptions, TrainingOptions, RunOptions, ExecutionOptions,
)  # fmt: skip
"""Groups that all commands with one network on one input share."""

SIM_GROUPS = (*PING_GROUPS, ProgramOptions)
"""Groups of `sim` and `image`."""
