"""From input options to a stimulus: which input is meant, and the sample behind it."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.datasets import catalog as datasets
from bridge.network import encoders, synthetic
from bridge.network.spec import CubaSpec, NetworkSpec
from bridge.network.steps import calibration_factor, count_steps
from bridge.network.stimulus import Stimulus
from bridge.runs.applies import asked_for
from bridge.runs.groups import ExecutionOptions, InputOptions, NetworkOptions
from bridge.runs.inherit import InheritedRun
from bridge.runs.resolve import Resolved
from bridge.runs.trained_split import TrainedSplit

log = logging.getLogger("pingbridge")

SHD_TRIAL_MS = 1000.0
"""Duration of a trial of shd unless --t-ms is given (Source: Cramer et al. 2022, whose recordings
are 0.2 to 1.4 s long)."""
SYNTHETIC_BIAS_US = 0.0002
"""Bias conductance of synthetic-spikes, per step at dt 0.1 ms (Source: pinglab)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StimulusPlan:
    """Which input a run has, before it is encoded.

    Attributes
    ----------
    kind : str
        ``synthetic-spikes``, ``synthetic-conductance``, ``dataset`` or ``file``.
    dataset : str or None
    n_in : int or None
        Channels, where the input decides them.
    n_classes : int
    default_hidden : int or None
        E cells where --n-hidden is not given.
    sample : datasets.Sample or None
        The chosen sample.
    file : Stimulus or None
        The input read from a file.
    training : TrainedSplit or None
        Of the weights that are loaded.
    """

    kind: str
    dataset: str | None = None
    n_in: int | None = None
    n_classes: int = 10
    default_hidden: int | None = None
    sample: datasets.Sample | None = None
    file: Stimulus | None = None
    training: TrainedSplit | None = None

    @property
    def sample_part(self) -> str | None:
        """Say whether the weights were trained on the sample; None where nothing tells."""
        if self.sample is None or self.training is None:
            return None
        return self.training.part_of(self.sample)


def plan_stimulus(
    resolved: Resolved, inherited: InheritedRun | None = None, *, dataset_only: bool = False
) -> StimulusPlan:
    """Return which input the options mean, with the sample or the file already read.

    An input that was not named flips to the dataset where --dataset, --digit or --sample was
    given, or where the run inherits from a training.

    Raises
    ------
    ValueError, FileNotFoundError
        For a sample or file that isn't there or can't be read.
    """
    given = resolved[InputOptions]
    if given.input_file is not None and not dataset_only:
        from bridge.formats.recordings import load_stimulus

        stimulus = load_stimulus(given.input_file)
        return StimulusPlan(kind="file", n_in=stimulus.n_in, file=stimulus)
    kind = "dataset" if dataset_only else _kind(resolved, inherited)
    if kind != "dataset":
        return StimulusPlan(kind=kind)
    info = datasets.dataset_info(given.dataset)
    return StimulusPlan(
        kind=kind,
        dataset=given.dataset,
        n_in=info.n_in,
        n_classes=info.n_classes,
        default_hidden=info.n_hidden,
        sample=datasets.select(given.dataset, given.digit, given.sample),
    )


def _kind(resolved: Resolved, inherited: InheritedRun | None) -> str:
    given = resolved[InputOptions]
    named = [key for key in ("dataset", "digit", "sample") if asked_for(resolved, key)]
    if asked_for(resolved, "input"):
        assert given.input is not None
        if given.input != "dataset" and named:
            log.warning("--%s has no effect: --input %s was asked for", named[0], given.input)
        return given.input
    if named:
        log.info("input: dataset (because of --%s)", named[0])
        return "dataset"
    if inherited is not None and inherited.mode == "train" and "dataset" in inherited.values:
        log.info("input: dataset (the inherited run was trained on %s)", given.dataset)
        return "dataset"
    return given.input or "synthetic-spikes"


def make_stimulus(resolved: Resolved, plan: StimulusPlan, spec: NetworkSpec) -> Stimulus:
    """Return the input of a run, encoded on its grid.

    Raises
    ------
    ValueError
        If dt does not divide the trial, a flag contradicts the input, or a rate asks for more
        than one spike per step.
    """
    given = resolved[InputOptions]
    network, seed = resolved[NetworkOptions], resolved[ExecutionOptions].seed
    if plan.file is not None:
        return _from_file(resolved, plan.file)
    dt_ms = network.dt_ms
    bias_us = given.bias_us
    seeds = [encoders.trial_seed(seed, trial) for trial in range(given.trials)]
    made: Stimulus
    if plan.dataset == "smnist":
        assert plan.sample is not None
        assert plan.sample.image is not None
        rows = encoders.SMNIST_ROW_MS / dt_ms
        if abs(rows - round(rows)) > 1e-9 * rows:
            raise ValueError(
                f"dt = {dt_ms:g} ms does not divide the rows of smnist (10 ms each); use a dt such "
                "as 0.1, 0.25, 0.5 or 1"
            )
        images = np.stack([plan.sample.image] * given.trials)
        made = encoders.smnist_rows(images, rate_hz=given.input_rate_hz, dt_ms=dt_ms, seeds=seeds)
        if asked_for(resolved, "t_ms") and abs(network.t_ms - made.t_ms) > 1e-9 * made.t_ms:
            raise ValueError(
                f"--t-ms {network.t_ms:g} contradicts --dataset smnist, whose trials take "
                f"{made.t_ms:g} ms (28 rows of 10 ms); leave it out"
            )
    elif plan.kind == "synthetic-spikes":
        if bias_us is None and not isinstance(spec, CubaSpec):
            bias_us = SYNTHETIC_BIAS_US
        if encoder_of(plan, given) == "events":
            made = _events(np.ones(spec.n_in), given, network, seed)
        else:
            made = synthetic.synthetic_spikes(
                spec.n_in,
                rate_hz=given.input_rate_hz,
                overdrive=given.stim_overdrive,
                dt_ms=dt_ms,
                n_steps=count_steps(network.t_ms, dt_ms),
                n_trials=given.trials,
                seed=seed,
            )
    elif plan.kind == "synthetic-conductance":
        if isinstance(spec, CubaSpec):
            raise ValueError(
                f"--input synthetic-conductance can't apply to --model {spec.model}, which has no "
                "conductances"
            )
        made = synthetic.synthetic_conductance(
            spec.hidden_sizes[0],
            overdrive=given.stim_overdrive,
            dt_ms=dt_ms,
            n_steps=count_steps(network.t_ms, dt_ms),
            n_trials=given.trials,
            seed=seed,
        )
        made = dataclasses.replace(made, n_in=spec.n_in)
    else:
        made = _from_sample(plan, given, network, seeds, seed)
    if bias_us:
        made = dataclasses.replace(made, bias_us=bias_us * calibration_factor(dt_ms))
    return made


def encoder_of(plan: StimulusPlan, given: InputOptions) -> str | None:
    """Return how the rates of an input become spikes; None for one that is spikes already."""
    rates = plan.kind == "synthetic-spikes" or (
        plan.kind == "dataset" and plan.dataset in ("scikit", "mnist")
    )
    if not rates:
        return None
    if given.encoder is None and plan.kind == "dataset" and given.stim_overdrive != 1.0:
        return "events"
    return given.encoder or "steps"


def fit_trial(resolved: Resolved, plan: StimulusPlan) -> Resolved:
    """Return the options with the trial of shd as long as a word, where nobody said how long."""
    if plan.dataset != "shd" or resolved.origin["t_ms"] != "default":
        return resolved
    network = dataclasses.replace(resolved[NetworkOptions], t_ms=SHD_TRIAL_MS)
    return dataclasses.replace(resolved, options={**resolved.options, NetworkOptions: network})


def say_late(n_late: int, n_events: int, *, t_ms: float, what: str) -> None:
    """Warn about recorded events that the trial is too short for."""
    if n_late:
        log.warning(
            "%s: %d of %d events (%.2g %%) lie after the end of the trial of %g ms and are left "
            "out; a longer --t-ms takes them in", what, n_late, n_events,
            100.0 * n_late / n_events, t_ms,
        )  # fmt: skip


def refuse_idle_stream(resolved: Resolved, plan: StimulusPlan) -> None:
    """Refuse ``--event-stream`` where rates do not become events.

    Raises
    ------
    ValueError
        Naming the encoder.
    """
    given = resolved[InputOptions]
    encoder = encoder_of(plan, given)
    if asked_for(resolved, "event_stream") and encoder != "events" and plan.dataset != "shd":
        raise ValueError(
            "--event-stream applies to input that is encoded as events; add --encoder events"
        )


def _from_sample(
    plan: StimulusPlan, given: InputOptions, network: NetworkOptions, seeds: list[int], seed: int
) -> Stimulus:
    assert plan.sample is not None
    n_steps = count_steps(network.t_ms, network.dt_ms)
    if plan.dataset == "shd":
        assert plan.sample.times_s is not None
        assert plan.sample.units is not None
        return encoders.shd_bins(
            [plan.sample.times_s] * given.trials,
            [plan.sample.units] * given.trials,
            dt_ms=network.dt_ms,
            n_steps=n_steps,
            collapse=given.event_stream == "published",
        )
    assert plan.sample.image is not None
    if encoder_of(plan, given) == "events":
        return _events(plan.sample.image, given, network, seed)
    if given.stim_overdrive != 1.0:
        raise ValueError(
            "--encoder steps has no stimulus window for a dataset; use --encoder events, or "
            "--stim-overdrive 1"
        )
    return encoders.dataset_rate(
        np.stack([plan.sample.image] * given.trials),
        rate_hz=given.input_rate_hz,
        dt_ms=network.dt_ms,
        n_steps=n_steps,
        seeds=seeds,
    )


def _events(
    pixels: NDArray[np.float64], given: InputOptions, network: NetworkOptions, seed: int
) -> Stimulus:
    return encoders.dataset_window(
        pixels,
        rate_hz=given.input_rate_hz,
        overdrive=given.stim_overdrive,
        dt_ms=network.dt_ms,
        n_steps=count_steps(network.t_ms, network.dt_ms),
        seed=seed,
        n_trials=given.trials,
        stream=given.event_stream,
    )


def _from_file(resolved: Resolved, stimulus: Stimulus) -> Stimulus:
    """Return the stimulus of a file; --dt and --t-ms may repeat what it says, not contradict."""
    network, bias_us = resolved[NetworkOptions], resolved[InputOptions].bias_us
    for key, flag, asked, held in (
        ("dt", "--dt", network.dt_ms, stimulus.dt_ms),
        ("t_ms", "--t-ms", network.t_ms, stimulus.t_ms),
    ):
        if asked_for(resolved, key) and abs(asked - held) > 1e-6 * held:
            raise ValueError(
                f"{flag} {asked:g} contradicts the input file, which has {held:g} ms; leave it out"
            )
    if bias_us is not None:
        stimulus = dataclasses.replace(
            stimulus, bias_us=bias_us * calibration_factor(stimulus.dt_ms)
        )
    return stimulus


def sample_image(plan: StimulusPlan) -> NDArray[np.float64] | None:
    """Return the picture behind a dataset input, shape (row, column), or None."""
    if plan.sample is None or plan.sample.image is None:
        return None
    image = plan.sample.image
    side = round(image.size**0.5)
    return image.reshape(side, side)
