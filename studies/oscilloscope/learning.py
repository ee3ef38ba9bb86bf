"""What ``train`` and ``infer`` share: the network as a torch module, the task, pictures."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bridge.runs.applies import asked_for
from bridge.runs.groups import ExecutionOptions, InputOptions, NetworkOptions, TrainingOptions
from bridge.runs.groups_train import DatasetOptions

if TYPE_CHECKING:
    from bridge.network.task import Task
    from bridge.network.weights import Weights
    from bridge.recording import Recording
    from bridge.runs.inherit import InheritedRun
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved
    from scope.oscilloscope.view import OscilloscopeView
    from train_torch.network.networks import Learning, SpikingNetwork

log = logging.getLogger("pingbridge")

LATE_SAMPLES = 200
"""Samples whose recorded events are held against the trial: a second's reading."""


def settle_split(job: Job, inherited: InheritedRun | None) -> tuple[Job, int | None]:
    """Return an evaluation that splits its samples as its training did, and its cap on the test.

    A cap that the training had stays a part of the split: ``--max-samples`` of ``infer`` takes a
    part of that training's test samples.

    Raises
    ------
    ValueError
        For a setting that would put samples of the training into the test.
    """
    from bridge.runs.trained_split import keep_split

    options = job.resolved[DatasetOptions]
    own = asked_for(job.resolved, "max_samples") or (
        inherited is not None and inherited.mode == "infer"
    )
    cap = options.max_samples if own else None
    if job.plan.training is None:
        log.warning(
            "%s: no config.json of its training beside it; the test part of %s may hold samples "
            "that it was trained on", job.weights_from, job.resolved[InputOptions].dataset,
        )  # fmt: skip
        resolved = job.resolved
    else:
        resolved = keep_split(job.resolved, job.plan.training, capped=True)
    held = dataclasses.replace(resolved[DatasetOptions], max_samples=cap)
    resolved = dataclasses.replace(resolved, options={**resolved.options, DatasetOptions: held})
    return dataclasses.replace(job, resolved=resolved), cap


def make_task(job: Job, *, test_cap: int | None = None, evaluates: bool = False) -> Task:
    """Return the data set of a job with its encoding.

    Parameters
    ----------
    job : Job
    test_cap : int, optional
        At most so many test samples.
    evaluates : bool
        The split is that of the training whose weights are loaded, all samples where nothing tells.

    Raises
    ------
    ValueError, FileNotFoundError
        If the data set can't be read or split, or asks for more than one spike per step.
    """
    import numpy as np

    from bridge.datasets import catalog as datasets
    from bridge.network.task import Task
    from bridge.runs.stimuli import say_late

    given, options = job.resolved[InputOptions], job.resolved[DatasetOptions]
    max_samples = options.max_samples
    if evaluates:
        max_samples = job.plan.training.max_samples if job.plan.training is not None else None
    data = datasets.load(given.dataset, max_samples=max_samples, split=options.split)
    data = data.with_test_cap(test_cap)
    task = Task(
        dataset=data,
        dt_ms=job.resolved[NetworkOptions].dt_ms,
        t_ms=job.resolved[NetworkOptions].t_ms,
        rate_hz=given.input_rate_hz,
        bias_us=given.bias_us or 0.0,
        collapse=given.event_stream == "published",
    )
    if data.events is not None:
        looked_at = np.unique(np.linspace(0, len(data) - 1, LATE_SAMPLES).astype(np.int64))
        say_late(
            *task.late_events(looked_at), t_ms=task.n_steps * task.dt_ms,
            what=f"{len(looked_at)} samples of {data.name} looked at",
        )  # fmt: skip
    task.encode(data.test_index[:1])  # refuses an impossible rate before anything runs
    return task


def make_network(
    job: Job, *, weights: Weights, dt_ms: float, learning: Learning | None = None
) -> SpikingNetwork:
    """Return the network of a job as a torch module on its device.

    Raises
    ------
    ValueError
        If the device is not there.
    """
    import torch

    from train_torch.network.device import choose_device
    from train_torch.network.networks import build_network

    options = job.resolved[ExecutionOptions]
    dtype = options.dtype or "float32"
    return build_network(
        job.spec, weights, dt_ms=dt_ms, learning=learning, dtype=getattr(torch, dtype),
        device=choose_device(options.device, dtype=dtype, deterministic=options.deterministic),
    )  # fmt: skip


def check_kernel(job: Job, network: SpikingNetwork) -> str:
    """Return the kernel that was asked for, refusing one that can't run here."""
    from train_torch.kernels.choice import choose_kernel

    name = job.resolved[ExecutionOptions].train_kernel
    choose_kernel(name, network.device, only_eager=None)
    return name


def torch_execution(job: Job, network: SpikingNetwork) -> dict[str, Any]:
    """Return what config.json says of how torch runs a network: ``execution`` and device."""
    from train_torch.kernels.choice import choose_kernel, name_of

    options, device = job.resolved[ExecutionOptions], network.device
    kernel = choose_kernel(options.train_kernel, device, only_eager=None)
    return {
        "execution": {
            "backend": "torch", "dtype": str(network.dtype).removeprefix("torch."),
            "deterministic": options.deterministic, "train_kernel": name_of(kernel),
        },
        "provenance": {"device": device.type},
    }  # fmt: skip


def refuse_brian_flags(resolved: Resolved, mode: str) -> None:
    """Refuse flags that only mean something to Brian2."""
    options = resolved[ExecutionOptions]
    if options.modal:
        raise ValueError(
            "--modal: running on Modal.com is not available in this version; run locally without it"
        )
    for key in ("codegen", "fast_math", "compute_capability"):
        if asked_for(resolved, key):
            raise ValueError(f"--{key.replace('_', '-')} is for Brian2; {mode} runs in torch")


def learning_of(resolved: Resolved, *, v_grad_dampen: float) -> Learning:
    """Return how gradients flow, from the options."""
    from train_torch.network.networks import Learning

    options = resolved[TrainingOptions]
    trainable = {
        "W_ee": options.trainable_w_ee,
        "W_ei": options.trainable_w_ei,
        "W_ie": options.trainable_w_ie,
    }
    return Learning(
        surrogate_slope=options.surrogate_slope,
        v_grad_dampen=v_grad_dampen,
        tbptt_window=options.tbptt_window,
        trainable=frozenset(name for name, learns in trainable.items() if learns),
    )


def trained_view(job: Job, recording: Recording, weights: Weights, **more: Any) -> OscilloscopeView:
    """Return what the oscilloscope shows of the reference trial of a network that has learned."""
    import numpy as np

    from scope.oscilloscope.pictures import oscilloscope_view

    view = oscilloscope_view(job, recording)
    pred = None if recording.logits is None else int(np.argmax(recording.logits[0]))
    return dataclasses.replace(view, weights=weights, pred=pred, **more)


def bar_over(n: int, *, what: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return what wraps an iterator of `n` items in a progress bar, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda items: items
    from tqdm import tqdm

    def wrap(items: Iterator[Any]) -> Iterator[Any]:
        bar: Iterator[Any] = iter(tqdm(items, total=n, desc=what, leave=False))
        return bar

    return wrap
