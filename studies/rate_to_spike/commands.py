"""``rate train``, ``search``, ``convert``, ``eval``, ``plot``: from flags to calls."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.groups_rate import (
    RATE_CONVERT_GROUPS,
    RATE_EVAL_GROUPS,
    RATE_PLOT_GROUPS,
    RATE_SEARCH_GROUPS,
    RATE_TRAIN_GROUPS,
    RateEvalOptions,
    RateLearningOptions,
    RateNetworkOptions,
    RatePlotOptions,
    RateRunOptions,
    RateSearchOptions,
    RateTaskOptions,
    RateTrainRunOptions,
)
from studies.common import ARGV, execution_noted, own_folder, resolve_options

if TYPE_CHECKING:
    from bridge.rate_to_spike.model_file import RateModel
    from bridge.runs.folder import RunFolder
    from bridge.runs.resolve import Resolved
    from sim_brian.engine.program import EngineOptions
    from studies.rate_to_spike.from_options import Chosen


_MODELS = "model"
"""The option that names what is read: it counts by its content."""


def train(**given: Any) -> None:
    """Train a rate network on a cognitive task and keep the model, the curve and a checkpoint."""
    from bridge.rate_to_spike.task_factory import TaskFactory
    from bridge.runs.folder import RunFolder
    from studies.rate_to_spike import from_options
    from studies.rate_to_spike.training import fingerprint_of, has_checkpoint, train_in

    resolved, _ = resolve_options("rate train", given, RATE_TRAIN_GROUPS)
    settings = from_options.task_settings(resolved[RateTaskOptions])
    name = resolved[RateTaskOptions].task or "go-nogo"
    task = TaskFactory.create_task(name, settings)
    from_options.refuse_for_task(settings, task)
    learning, options = resolved[RateLearningOptions], resolved[RateTrainRunOptions]
    folder = options.out_dir or Path("artifacts") / "rate" / task.name
    if learning.resume and options.wipe_dir:
        raise ValueError("--resume and --wipe-dir contradict each other")
    net = from_options.rate_network(resolved, task)
    config = resolved.to_json() | {"task": name, "derived": {"task_settings": task.settings}}
    fingerprint = fingerprint_of(config)
    goes_on = learning.resume and has_checkpoint(folder, fingerprint)
    with RunFolder(
        folder, mode="rate train", config=config, argv=ARGV, wipe=options.wipe_dir,
        repeat="resume" if goes_on else "never",
        resume_flag=None if learning.resume else "--resume",
    ) as run:  # fmt: skip
        run.update_config({
            "execution": {"backend": "torch", "dtype": options.dtype},
            "provenance": {"device": net.w.device.type},
        })  # fmt: skip
        train_in(
            run, net, task, resolved[RateNetworkOptions].decay_taus,
            from_options.training_params(resolved), learning, seed=options.seed,
            fingerprint=fingerprint,
        )  # fmt: skip


def search(**given: Any) -> None:
    """Find the scaling factor at which a spiking network solves its task best."""
    from bridge.runs.folder import RunFolder
    from bridge.runs.ownership import settings_key
    from studies.rate_to_spike import from_options
    from studies.rate_to_spike.workflow import refuse_other_search, search_in

    resolved, _ = resolve_options("rate search", given, RATE_SEARCH_GROUPS)
    factors = from_options.read_factors(resolved[RateSearchOptions].scaling_factors)
    models = from_options.models_to_search(resolved)
    how, options = from_options.search_options(resolved), from_options.run_options(resolved)
    config = resolved.to_json() | {"derived": {"scaling_factors": factors}}
    inputs = {_MODELS: _content([one.model for one in models])}
    paths = [one.path for one in models]
    folder = options.out_dir or own_folder(
        paths[0].parent / "search", mode="rate search", key=settings_key(config, inputs),
        goes_on=True,
    )  # fmt: skip
    if not options.wipe_dir:
        refuse_other_search(folder, models, factors, how)
    run_folder = RunFolder(
        folder, mode="rate search", config=config, argv=ARGV, wipe=options.wipe_dir, repeat="same",
        inputs=inputs, protect=paths,
    )  # fmt: skip
    with run_folder as run, _noted(run, how.engine):
        search_in(run, models, factors, how, skip_done=resolved[RateSearchOptions].skip_done)


def convert(**given: Any) -> None:
    """Turn a rate network into a spiking one, and compare the two."""
    from studies.rate_to_spike import from_options
    from studies.rate_to_spike.workflow import convert_in, warn_of_seen_trials

    resolved, _ = resolve_options("rate convert", given, RATE_CONVERT_GROUPS)
    chosen, how = from_options.chosen_model(resolved), from_options.search_options(resolved)
    warn_of_seen_trials(chosen, how)
    with _run_folder(resolved, "rate convert", chosen) as run, _noted(run, how.engine):
        convert_in(run, chosen, how)


def eval_(**given: Any) -> None:
    """Test a spiking network, and its rate network, on fresh trials."""
    from studies.rate_to_spike import from_options
    from studies.rate_to_spike.workflow import evaluate_in, warn_of_seen_trials

    resolved, _ = resolve_options("rate eval", given, RATE_EVAL_GROUPS)
    chosen, how = from_options.chosen_model(resolved), from_options.search_options(resolved)
    wanted = resolved[RateEvalOptions]
    warn_of_seen_trials(chosen, how)
    with _run_folder(resolved, "rate eval", chosen) as run, _noted(run, how.engine):
        evaluate_in(
            run, chosen, how, all_trial_types=wanted.all_trial_types, plots=wanted.plots
        )  # fmt: skip


def plot(**given: Any) -> None:
    """Draw one trial of each type: rate and spiking outputs, and rasters."""
    from bridge.rate_to_spike.model_file import RATE_STEP_MS
    from studies.rate_to_spike import from_options
    from studies.rate_to_spike.workflow import draw_in

    resolved, _ = resolve_options("rate plot", given, RATE_PLOT_GROUPS)
    chosen, start_ms = from_options.chosen_model(resolved), resolved[RatePlotOptions].start_ms
    end_ms = RATE_STEP_MS * chosen.task.n_steps
    if start_ms >= end_ms:
        raise ValueError(f"--start {start_ms:g} ms leaves nothing of {end_ms:.0f} ms")
    engine = from_options.engine_of(resolved)
    with _run_folder(resolved, "rate plot", chosen) as run, _noted(run, engine):
        draw_in(
            run, chosen, seed=resolved[RateRunOptions].seed,
            rectify=from_options.rectify_of(resolved), start_ms=start_ms, engine=engine,
        )  # fmt: skip


def _noted(run: RunFolder, engine: EngineOptions | None) -> AbstractContextManager[None]:
    assert engine is not None  # every command chooses one
    return execution_noted(run, engine.target, dtype=engine.dtype)


def _content(models: Sequence[RateModel], *more: float) -> str:
    """Return a hash of what trainings left in model files, and of numbers."""
    from bridge.rate_to_spike.model_file import SEARCHED
    from bridge.runs.content import content_hash

    left = [{k: v for k, v in one.fields.items() if k not in SEARCHED} for one in models]
    return content_hash([left, *more])


def _run_folder(resolved: Resolved, mode: str, chosen: Chosen) -> RunFolder:
    from bridge.runs.folder import RunFolder
    from bridge.runs.ownership import settings_key

    options = resolved[RateRunOptions]
    config = resolved.to_json() | {"derived": {"scaling_factor": chosen.factor}}
    inputs = {_MODELS: _content([chosen.model], chosen.factor)}
    folder = options.out_dir or own_folder(
        chosen.path.parent / mode.split()[1], mode=mode, key=settings_key(config, inputs)
    )
    return RunFolder(
        folder, mode=mode, config=config, argv=ARGV, wipe=options.wipe_dir, repeat="same",
        inputs=inputs, protect=[chosen.path],
    )  # fmt: skip
