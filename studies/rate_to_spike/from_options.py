"""What the flags of the rate commands mean: task, model, factors, how to search and on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.files.reading import LIMIT_VARIABLE, in_words, limit_bytes
from bridge.rate_to_spike.lif import LifParameters, check_factors, n_lif_steps
from bridge.rate_to_spike.model_file import RateModel
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.runs.applies import asked_for
from bridge.runs.cluster import check_scheduler
from bridge.runs.groups_rate import (
    RateFactorOptions,
    RateLearningOptions,
    RateModelDirOptions,
    RateModelOptions,
    RateNetworkOptions,
    RateParallelOptions,
    RateRunOptions,
    RateSearchOptions,
    RateSearchRunOptions,
    RateSpikingOptions,
    RateTaskOptions,
    RateTrainRunOptions,
)
from bridge.runs.parameter import number_of
from bridge.runs.resolve import Resolved
from studies.rate_to_spike.evaluation import load_model_and_scaling_factor
from studies.rate_to_spike.measuring import SearchOptions
from studies.rate_to_spike.search import ModelOnTask, load_models, model_files, parse_range

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions
    from train_torch.rate_rnn.network import FR_RNN_dale

_RECTIFY: dict[str, bool | str] = {"auto": "auto", "on": True, "off": False}


def task_settings(options: RateTaskOptions) -> dict[str, Any]:
    """Return the settings that were given, under the names of the tasks."""
    named = {
        "T": options.trial_steps, "stim_on": options.stim_on, "stim_dur": options.stim_dur,
        "delay": options.delay, "encoding": options.encoding,
    }  # fmt: skip
    found = {key: value for key, value in named.items() if value is not None}
    return {**found, "eval_amp_thresh": options.eval_amp_thresh}


def refuse_for_task(settings: dict[str, Any], task: AbstractTask) -> None:
    """Refuse settings that the task does not have.

    Raises
    ------
    ValueError
        Naming the flag.
    """
    for key, flag in (("delay", "delay"), ("encoding", "encoding")):
        known = {*task.required, *(("encoding",) if hasattr(task, "encodings") else ())}
        if key in settings and key not in known:
            raise ValueError(f"--{flag} can't apply to the task {task.name}, which has none")


def models_to_search(resolved: Resolved) -> list[ModelOnTask]:
    """Return the models that ``rate search`` is about, each with its task.

    Raises
    ------
    ValueError, FileNotFoundError
        For files, or flags, that make no search.
    """
    one, folder = resolved[RateModelOptions].model, resolved[RateModelDirOptions].model_dir
    if (one is None) == (folder is None):
        raise ValueError("rate search needs --model FILE or --model-dir FOLDER, one of the two")
    return _models(resolved, model_files(one, folder))


def _models(resolved: Resolved, paths: Sequence[Path]) -> list[ModelOnTask]:
    options = resolved[RateTaskOptions]
    settings = task_settings(options)
    legacy = RateSpikingOptions in resolved.options and resolved[RateSpikingOptions].legacy_windows
    models = load_models(paths, options.task, settings, legacy_windows=legacy)
    for one in models:
        refuse_for_task(settings, one.task)
        _check_size(one)
    return models


def _check_size(one: ModelOnTask) -> None:
    """Refuse trials whose noise alone is more than anything here may take in memory."""
    n_bytes = 8 * n_lif_steps(one.task.n_steps + 1) * one.model.n
    if n_bytes > limit_bytes() // 2:
        raise ValueError(
            f"{one.path}: trials of {one.task.n_steps} rate steps take {in_words(n_bytes)} for "
            f"{one.model.n} cells, at most {in_words(limit_bytes() // 2)} are allowed; use a "
            f"smaller --trial-steps ({LIMIT_VARIABLE} allows more)"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """A model file, the scaling factor to use, and the task to test it on."""

    path: Path
    model: RateModel
    factor: float
    task: AbstractTask


def chosen_model(resolved: Resolved) -> Chosen:
    """Return the model that ``rate convert``, ``eval`` and ``plot`` are about.

    Raises
    ------
    ValueError, FileNotFoundError
        If none is named, or it holds no scaling factor and none is given.
    """
    given = resolved[RateModelOptions].model
    if given is None:
        raise ValueError("--model FILE is needed: a .mat file of rate train")
    path, factor = load_model_and_scaling_factor(given, resolved[RateFactorOptions].scaling_factor)
    (one,) = _models(resolved, [path])
    return Chosen(path=path, model=one.model, factor=factor, task=one.task)


def read_factors(words: tuple[str, ...]) -> list[Any]:
    """Return the factors of numbers and ranges ``first:last:step``.

    Raises
    ------
    ValueError
        For anything else, a factor that is not > 0, or one given twice.
    """
    found: list[Any] = []
    for word in words:
        if ":" in word:
            found += parse_range(word)
            continue
        try:
            found.append(number_of(word))
        except ValueError:
            raise ValueError(
                f"--scaling-factors {word}: write numbers, or first:last:step"
            ) from None
    if len(set(map(float, found))) != len(found):
        raise ValueError("--scaling-factors: a factor is given twice")
    return check_factors(found)


def run_options(resolved: Resolved) -> RateRunOptions:
    """Return seed, folder and target; the search has a seed of its own."""
    if RateSearchRunOptions in resolved.options:
        return resolved[RateSearchRunOptions]
    return resolved[RateRunOptions]


def rectify_of(resolved: Resolved) -> bool | str:
    """Return what ``--rectify`` means to a conversion."""
    return _RECTIFY[resolved[RateModelOptions].rectify]


def engine_of(resolved: Resolved) -> EngineOptions:
    """Return how Brian2 is to run.

    Raises
    ------
    ValueError
        If a GPU is asked for and something is missing.
    """
    from sim_brian.engine.program import EngineOptions
    from sim_brian.engine.toolchain import missing_for

    target = run_options(resolved).codegen
    missing = missing_for(target) if target == "cuda" else None
    if missing is not None:
        raise ValueError(missing)
    return EngineOptions(target=target)


def search_options(resolved: Resolved) -> SearchOptions:
    """Return how trials are run and measured."""
    spiking, parallel = resolved[RateSpikingOptions], resolved[RateParallelOptions]
    check_scheduler(parallel.scheduler)
    more: dict[str, Any] = {}
    if RateSearchOptions in resolved.options:
        options = resolved[RateSearchOptions]
        more = {
            "score": options.score, "adaptive": options.adaptive,
            "independent": options.independent,
        }  # fmt: skip
    return SearchOptions(
        n_trials=spiking.n_trials,
        seed=run_options(resolved).seed,
        rectify=rectify_of(resolved),
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
        engine=engine_of(resolved),
        **more,
    )  # fmt: skip


def rate_network(resolved: Resolved, task: AbstractTask) -> FR_RNN_dale:
    """Return the untrained network of ``rate train``.

    Raises
    ------
    ValueError
        For flags that contradict each other.
    """
    import numpy as np
    import torch

    from train_torch.network.device import choose_device
    from train_torch.rate_rnn.network import make_network

    options, run = resolved[RateNetworkOptions], resolved[RateTrainRunOptions]
    if options.som_units > options.n_units:
        raise ValueError(f"--som-units {options.som_units} exceeds --n-units {options.n_units}")
    if not options.apply_dale and options.som_units:
        raise ValueError("--som-units needs inhibitory units: keep --apply-dale")
    for key, useless in (
        ("gain", options.w_dist == "gamma"), ("p_inh", not options.apply_dale)
    ):  # fmt: skip
        if useless and asked_for(resolved, key):
            why = "--w-dist gamma" if key == "gain" else "--no-apply-dale"
            raise ValueError(f"--{key.replace('_', '-')} does nothing with {why}; leave it out")
    device = choose_device(run.device or "cpu", dtype=run.dtype)
    u, _ = task.generate_stimulus(seed=np.random.default_rng(0))
    net = make_network(
        n_units=options.n_units, n_in=int(u.shape[0]), p_inh=options.p_inh, p_rec=options.p_rec,
        som_n=options.som_units, w_dist=options.w_dist, gain=options.gain,
        apply_dale=options.apply_dale, rng=np.random.default_rng(run.seed), device=device,
        dtype=getattr(torch, run.dtype),
    )  # fmt: skip
    try:
        net.tau_steps(options.decay_taus)
    except ValueError as error:
        raise ValueError(f"--decay-taus: {error}") from None
    return net


def training_params(resolved: Resolved) -> dict[str, Any]:
    """Return the options under the names of the published training."""
    options = resolved[RateLearningOptions]
    return {
        "learning_rate": options.lr,
        "loss_threshold": options.loss_threshold,
        "eval_freq": options.eval_freq,
        "eval_tr": options.eval_trials,
        "eval_amp_thresh": resolved[RateTaskOptions].eval_amp_thresh,
        "activation": resolved[RateNetworkOptions].act,
        "loss_fn": options.loss_fn,
        "P_rec": resolved[RateNetworkOptions].p_rec,
    }
