"""Options of the commands that learn and evaluate: ``train`` and ``infer``."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.runs.groups import (
    ExecutionOptions,
    InputOptions,
    NetworkOptions,
    RunOptions,
    TrainingOptions,
    WeightOptions,
)
from bridge.runs.options import Options, option


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(Options):
    """Dataset."""

    max_samples: int | None = option(
        None, "train: cap on the samples of the dataset, before it is split; infer: cap on the "
        "test samples, a part of those of the training", at_least=1, shown_default="all",
    )  # fmt: skip
    split: str = option(
        "stratified", "all files of the dataset joined and split 80:20 by class, or its training "
        "and test files as published (mnist, smnist, shd); infer: that of the training",
        choices=("stratified", "official"),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LearningOptions(Options):
    """Learning."""

    lr: float = option(0.01, "learning rate of Adam; ping wants about 0.0001 to 0.001", above=0)
    lr_schedule: str = option(
        "constant", "learning rate over the epochs: the same, or falling to 0 as a half cosine",
        choices=("constant", "cosine"),
    )  # fmt: skip
    readout_lr_scale: float = option(
        1.0, "factor on the learning rate of the readout: its weights may be far smaller or larger "
        "than those of the input", above=0,
    )  # fmt: skip
    epochs: int = option(0, "passes over the training samples; 0 probes the untrained network",
                         at_least=0)  # fmt: skip
    batch_size: int = option(64, "samples of one update", at_least=1)
    v_grad_dampen: float = option(
        80.0, "divisor of the gradient through the membrane increment (ping)", above=0
    )
    fr_reg_upper_theta: float = option(
        0.0, "spikes per trial above which a rate costs", unit="spikes", at_least=0
    )
    fr_reg_upper_strength: float = option(0.0, "weight of that cost; 0 is off", at_least=0)
    fr_reg_lower_theta: float = option(
        0.0, "spikes per trial below which silence costs", unit="spikes", at_least=0
    )
    fr_reg_lower_strength: float = option(0.0, "weight of that cost; 0 is off", at_least=0)
    fr_reg_mode: str = option(
        "per-neuron", "compare each cell's mean count with theta, or the population's mean",
        choices=("per-neuron", "population"),
    )  # fmt: skip
    val_fraction: float = option(
        0.0, "share of the training samples that chooses the best epoch instead of the test set",
        at_least=0, below=1,
    )  # fmt: skip
    trajectory_dtype: str | None = option(
        None, "float type in which the way back finds voltages and conductances: half the memory, "
        "gradients of fewer digits, the same spikes", choices=("float64", "float32", "bfloat16"),
        shown_default="that of the network",
    )  # fmt: skip
    checkpoint_steps: int = option(
        0, "keep the state only every so many steps and run the steps between again on the way "
        "back: little memory, a fifth to a half more time; 0 keeps every step", at_least=0,
    )  # fmt: skip
    resume: bool = option(False, "go on with the training that --out-dir holds")


@dataclass(frozen=True, kw_only=True)
class TrainingPictureOptions(Options):
    """Pictures of the training."""

    observe: str | None = option(
        None, "an oscilloscope picture of each epoch, a video of them, or nothing at all",
        choices=("video", "images", "none"), shown_default="first and last state only",
    )  # fmt: skip
    frame_rate: float = option(10.0, "frames per second of the video", unit="Hz", above=0)


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Options):
    """Evaluation."""

    dt_sweep: tuple[float, ...] | None = option(
        None, "evaluate at each of these time steps", unit="ms", above=0, metavar="DT"
    )
    frozen_inputs_mode: str | None = option(
        None, "carry the input spikes of the training dt over to each other dt",
        choices=("upsample", "downsample", "resample"),
        shown_default="encode the samples anew at each dt",
    )  # fmt: skip
    noise_seeds: int = option(
        1, "evaluate under so many draws of the input noise: their mean and SD beside the first",
        at_least=1, at_most=1000,
    )  # fmt: skip
    observe: str | None = option(
        None, "a video with a frame for each dt of the sweep, or one picture without a sweep",
        choices=("video", "image"), shown_default="none",
    )  # fmt: skip


_SHARED = (
    NetworkOptions, InputOptions, WeightOptions, TrainingOptions, RunOptions, ExecutionOptions,
)  # fmt: skip
TRAIN_GROUPS = (DatasetOptions, LearningOptions, TrainingPictureOptions, *_SHARED)
"""Groups of `train`."""
INFER_GROUPS = (DatasetOptions, EvaluationOptions, *_SHARED)
"""Groups of `infer`."""
