"""``infer``: accuracy of trained weights on the test set, at one time step or at many."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from bridge.runs.applies import asked_for
from bridge.runs.groups import ExecutionOptions, NetworkOptions, RunOptions, WeightOptions
from bridge.runs.groups_train import INFER_GROUPS, EvaluationOptions
from studies.common import choose_folder, headline, open_run, resolve_options
from studies.oscilloscope import learning as shared
from studies.oscilloscope.evaluation import EvaluationSweep, evaluate_at_all, evaluation_backend
from studies.oscilloscope.evaluation_files import observe_evaluation, write_evaluation

if TYPE_CHECKING:
    from bridge.network.task import Task
    from bridge.runs.inherit import InheritedRun
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved

log = logging.getLogger("pingbridge")


def infer(**given: Any) -> None:
    """Evaluate trained weights on the test set."""
    from bridge.runs.job import make_job

    resolved, inherited = resolve_options("infer", given, INFER_GROUPS)
    options = resolved[EvaluationOptions]
    backends = _backends(resolved)
    _refuse(resolved, backends)
    job = make_job(resolved, inherited, mode="infer")
    if job.weights_from is None:
        raise ValueError(
            "infer needs trained weights: --from-dir RUN of a training, or --load-weights FILE"
        )
    job, test_cap = shared.settle_split(job, inherited)
    task = shared.make_task(job, test_cap=test_cap, evaluates=True)
    train_dt_ms = _train_dt(job, inherited)
    noise_seed = _noise_seed(job, task, inherited)
    sweep = EvaluationSweep(job, task, train_dt_ms=train_dt_ms, noise_seed=noise_seed)
    alone = len(backends) == 1
    runners = {name: evaluation_backend(name, job, alone=alone) for name in backends}
    for dt_ms in sweep.tasks:  # refuses a dt before anything runs
        sweep.encoder(dt_ms, sweep.noise_seeds[0])(task.dataset.test_index[:1])
    run_options = job.resolved[RunOptions]
    config = job.config()
    training = job.plan.training
    config["derived"] |= {
        "n_test": len(task.dataset.test_index), "train_dt_ms": train_dt_ms,
        "noise_seeds": list(sweep.noise_seeds),
        "split_of_training": None if training is None else training.to_json(),
    }  # fmt: skip
    folder = choose_folder("infer", run_options, config)
    with open_run("infer", folder, run_options, config) as run:
        log.info("infer %s", headline(job, of_sample=False))
        with contextlib.ExitStack() as noting:
            for backend in reversed(runners.values()):  # what the first one notes stays
                noting.enter_context(backend.noting(run))
            beside = None if alone else run.config["execution"]
            points = evaluate_at_all(job, sweep, runners)
        if beside is not None:
            run.update_config({"execution": {**run.config["execution"], "compared_with": beside}})
        write_evaluation(job, sweep, points, run)
        if options.observe is not None:
            observe_evaluation(job, sweep, runners[backends[0]], run)


def _backends(resolved: Resolved) -> tuple[str, ...]:
    asked = resolved[ExecutionOptions].backend
    if asked is None:
        asked = "brian" if resolved[EvaluationOptions].dt_sweep is not None else "torch"
    return ("brian", "torch") if asked == "both" else (asked,)


def _refuse(resolved: Resolved, backends: tuple[str, ...]) -> None:
    options = resolved[EvaluationOptions]
    if "brian" not in backends:
        shared.refuse_brian_flags(resolved, "infer --backend torch")
    if "torch" not in backends:
        for key in ("train_kernel", "deterministic"):
            if asked_for(resolved, key):
                raise ValueError(
                    f"--{key.replace('_', '-')} is for torch; this infer runs in Brian2 "
                    "(see --backend)"
                )
    if options.frozen_inputs_mode is not None and options.dt_sweep is None:
        raise ValueError("--frozen-inputs-mode applies to a --dt-sweep only")
    wanted = "video" if options.dt_sweep is not None else "image"
    if options.observe not in (None, wanted):
        with_sweep = "with" if options.dt_sweep is not None else "without"
        raise ValueError(f"--observe {options.observe}: {with_sweep} --dt-sweep use {wanted}")
    if options.dt_sweep is not None and asked_for(resolved, "dt"):
        raise ValueError("--dt and --dt-sweep contradict each other: the sweep gives every dt")


def _noise_seed(job: Job, task: Task, inherited: InheritedRun | None) -> int | None:
    """Return the seed of the input noise that was asked for; None for that of the training's test.

    Raises
    ------
    ValueError
        If the samples have no noise.
    """
    from bridge.network.encoders import EVAL_SEED, FROZEN_SEED
    from bridge.runs.ownership import read_config

    if not task.is_noisy:
        network, weights = job.resolved[NetworkOptions], job.resolved[WeightOptions]
        loop = (network.ei_strength, network.ei_ratio, weights.w_ei, weights.w_ie)
        for key, acts in (("noise_seeds", False), ("seed", any(one is not None for one in loop))):
            if asked_for(job.resolved, key) and not acts:
                raise ValueError(
                    f"--{key.replace('_', '-')} can't apply to infer on {task.dataset.name}: its "
                    "samples are recorded events without noise"
                )
        return None
    if asked_for(job.resolved, "seed"):
        return job.seed
    if inherited is None or inherited.mode != "infer":
        return None
    held = (read_config(inherited.path) or {}).get("derived", {}).get("noise_seeds")
    if not (isinstance(held, list) and held and isinstance(held[0], int)):
        return None
    return None if held[0] in (EVAL_SEED, FROZEN_SEED) else held[0]


def _train_dt(job: Job, inherited: InheritedRun | None) -> float | None:
    """Return the step at which the weights were trained, ms; None where nothing tells.

    Weights that were named are those of the training in whose folder they lie.
    """
    from bridge.runs.ownership import read_config

    own = inherited is not None and job.weights_from == inherited.weights_path
    if inherited is not None and own and inherited.mode in ("train", None):
        dt_ms = inherited.values.get("dt")
    else:
        assert job.weights_from is not None
        config = read_config(job.weights_from.parent) or {}
        dt_ms = config.get("dt") if config.get("mode") == "train" else None
    return float(dt_ms) if isinstance(dt_ms, int | float) and dt_ms > 0 else None
