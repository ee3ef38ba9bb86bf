"""Sweeps: a stager over the values of one entry of its configuration."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bridge.atomic import write_text
from bridge.clustered.config import plain_tree, read_config
from bridge.clustered.yaml_tree import dump_tree, load_tree
from bridge.runs.content import UnidentifiedError
from bridge.runs.parallel import Failed
from studies.clustered.execution import Workers
from studies.clustered.logger import Logger
from studies.clustered.owner import refuse_results_of_others, take_over
from studies.clustered.repeater import repeat_seeds
from studies.clustered.stage_mean_field import FullMeanFieldStager, ReducedMeanFieldStager
from studies.clustered.stage_snn import StageSNNSimulation
from studies.clustered.stager import Stager, save_perturbations
from studies.stored import UNFINISHED, Stored, job_key

SEED_MODES = ("fixed", "per_step")
CLEAR = "choose another main_dir, or remove that folder"


def with_value(
    tree: Mapping[str, Any], path: Sequence[str], value: Any, index: int | None = None
) -> dict[str, Any]:
    """Return a configuration in which one entry is another; the original is not touched.

    Parameters
    ----------
    path : sequence of str
        Keys from the top to the entry.
    index : int, optional
        Element of a list; required where the entry is one and `value` is not.

    Raises
    ------
    ValueError
        For a path that does not exist, or an index that is missing or does not apply.
    """
    changed = copy.deepcopy(dict(tree))
    node: Any = changed
    for depth, key in enumerate(path):
        if not isinstance(node, dict) or key not in node:
            raise ValueError(
                f"the configuration has no entry {'.'.join(map(str, path[: depth + 1]))}"
            )
        if depth < len(path) - 1:
            node = node[key]
    name, last = ".".join(map(str, path)), path[-1]
    old = node[last]
    plain = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(old, list):
        if index is not None:
            raise ValueError(f"{name} is no list: param_idx = {index} can't apply")
        node[last] = _like(old, plain)
    elif index is None:
        if not isinstance(plain, list):
            raise ValueError(f"{name} is a list of {len(old)}: say param_idx, which element")
        node[last] = plain
    elif not 0 <= index < len(old):
        raise ValueError(f"{name} has {len(old)} elements: param_idx = {index} does not exist")
    else:
        old[index] = _like(old[index], plain)
    return changed


def _like(old: Any, value: Any) -> Any:
    """Return a whole number for a whole number: 5.0 synapses are 5."""
    whole = isinstance(old, int) and not isinstance(old, bool)
    if whole and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


class BaseSweepRunner:
    """Runs a stager for each value of one entry of its configuration.

    Subclass it and implement the hooks:

    ``_step(param, idx, sweep_param, **kwargs)``
        One step; the stager of the step is ``self._sweep_object``. What it returns is its result.
    ``_store(result, idx, directory)``
        Keep a result (called in order, in the process that called :meth:`execute`).
    ``summary(results, sweep_params)``, ``_summary_plot(results, sweep_params, directory)``
        Called when all steps are done.
    ``summarize_repeated_run(results, directory)``
        Called when all trials of :meth:`repeat` are done.
    """

    stager_class: ClassVar[type[Stager]]

    def __init__(self, **stager_settings: Any) -> None:
        self.stager_settings = stager_settings
        self._sweep_object: Any = None

    def _step(self, param: Any, idx: int, sweep_param: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a method _step")

    def _store(self, *args: Any, **kwargs: Any) -> None:
        """Keep the result of a step; nothing by default."""

    def summary(self, results: list[Any], sweep_params: Sequence[Any]) -> Any:
        """Summarise all results; nothing by default."""

    def _summary_plot(self, *args: Any, **kwargs: Any) -> None:
        """Draw a summary; nothing by default."""

    def summarize_repeated_run(self, *args: Any, **kwargs: Any) -> Any:
        """Summarise all trials; nothing by default."""

    def execute(
        self,
        main_dir: str | Path,
        baseline_params: Any,
        param: Sequence[str],
        sweep_params: Sequence[Any],
        param_idx: int | None = None,
        parallel: bool = False,
        max_workers: int | None = None,
        executor: str = "thread",
        scheduler: str | None = None,
        seed_mode: str = "fixed",
        random_seed: int | None = None,
        **step_settings: Any,
    ) -> list[Any]:
        """Run all steps and return their results in order.

        Every configuration is built and checked before the first step runs, and written to
        ``configs/<k>.yaml``. A sweep that was killed, or whose summary failed, goes on with the
        steps that are missing, if nothing has changed: values, seeds, settings, the code of the
        runner and what it refers to.

        Parameters
        ----------
        main_dir : path
            Gets data/, plots/, configs/ and metadata/.
        baseline_params : path, bytes or mapping
        param : sequence of str
            Keys that lead to the entry.
        sweep_params : sequence
            Its values.
        param_idx : int, optional
            Element, where the entry is a list.
        parallel, max_workers, executor, scheduler
            See :class:`studies.clustered.execution.Workers`.
        seed_mode : {"fixed", "per_step"}
            The same seed for all steps, or one for each, drawn from it.
        random_seed : int, optional
            In place of ``settings.random_seed``.
        step_settings
            For `_step`.

        Raises
        ------
        ValueError
            For values, seeds or workers that are none, and if `main_dir` holds steps of another
            sweep, unfinished ones or results; nothing is written.
        StepError
            If steps failed, after all others have been done; names each with its value.
        """
        workers = Workers(
            parallel=parallel, max_workers=max_workers, executor=executor, scheduler=scheduler
        )
        folder = Path(main_dir).absolute()
        values = list(sweep_params)
        if not values:
            raise ValueError("sweep_params holds no value")
        path = [param] if isinstance(param, str) else list(param)
        tree = _tree(baseline_params)
        trees = [with_value(tree, path, value, param_idx) for value in values]
        configs = [read_config(one, spiking=self.stager_class.spiking) for one in trees]
        seeds = self._seeds(configs[0].settings.random_seed, random_seed, seed_mode, len(values))
        workers.check_picklable(**{type(self).__name__: self, "step_settings": step_settings})
        steps = list(zip(range(len(values)), trees, seeds, values, strict=True))
        logger = Logger(type(self).__name__, stream=None)
        job = Stored(
            folder / "metadata" / UNFINISHED,
            steps,
            key={"runner": self, "param": path, "settings": step_settings},
            what="steps",
            name=lambda k: f"step {k} ({values[k]}, seed {seeds[k]})",
            clear=CLEAR,
            say=logger,
        )
        # Without the state of the runner: a summary may have left something in it.
        owner = None
        with contextlib.suppress(UnidentifiedError):
            owner = job_key([type(self), self.stager_settings, path, steps, step_settings])
        refuse_results_of_others(folder, owner, clear=CLEAR)
        perturbations = [
            self.stager_class(one, random_seed=seed, **self.stager_settings).perturbations({})
            for one, seed in zip(trees, seeds, strict=True)
        ]
        for name in ("data", "plots"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        logger.attach_file(folder / "metadata" / "sweep.log")
        described = [_seeded(one, seed) for one, seed in zip(trees, seeds, strict=True)]
        take_over(folder, owner)
        describe_steps(folder, described, perturbations, logger)
        with job:
            results = self._results(job, workers, path, step_settings, folder, logger)
            self.summary(results, values)
            self._summary_plot(results, values, folder / "plots")
        return results

    def _results(
        self, job: Stored, workers: Workers, path: list[str], settings: dict[str, Any],
        folder: Path, logger: Logger,
    ) -> list[Any]:  # fmt: skip
        results = []
        step = functools.partial(_sweep_step, self, path, settings)
        for k, result in job.results(workers.runner(step), label="sweep", **noted(job, logger)):
            self._store(result, k, folder)
            results.append(result)
        return results

    @staticmethod
    def _seeds(configured: int | None, given: int | None, mode: str, n: int) -> list[int]:
        if mode not in SEED_MODES:
            raise ValueError(f"seed_mode {mode!r} is unknown; use {', '.join(SEED_MODES)}")
        seed = given if given is not None else configured
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1)
        return repeat_seeds(seed, n) if mode == "per_step" else [seed] * n

    def repeat(
        self, directory: str | Path, n_trials: int, baseline_params: Any, param: Sequence[str],
        sweep_params: Sequence[Any], param_idx: int | None = None, *,
        random_seed: int | None = None, **settings: Any,
    ) -> list[list[Any]]:  # fmt: skip
        """Run the sweep several times, in ``trial_<k>/``, each trial with a seed of its own.

        The seeds are drawn from `random_seed`, default ``settings.random_seed``.
        """
        if n_trials < 1:
            raise ValueError(f"n_trials = {n_trials} must be at least 1")
        tree = _tree(baseline_params)
        base = random_seed
        if base is None:
            base = read_config(tree, spiking=self.stager_class.spiking).settings.random_seed
        if base is None:
            base = int(np.random.SeedSequence().generate_state(1)[0] >> 1)
        folder = Path(directory)
        results = [
            self.execute(
                folder / f"trial_{k}", tree, param, sweep_params, param_idx, random_seed=seed,
                **settings,
            )
            for k, seed in enumerate(repeat_seeds(base, n_trials))
        ]  # fmt: skip
        self.summarize_repeated_run(results, folder)
        return results


class SNNBaseSweepRunner(BaseSweepRunner):
    """Sweeps of spiking networks; see :class:`BaseSweepRunner`."""

    stager_class = StageSNNSimulation


class FullMeanFieldBaseSweepRunner(BaseSweepRunner):
    """Sweeps of fixed points; see :class:`BaseSweepRunner`."""

    stager_class = FullMeanFieldStager

    def _step(self, param: Any, idx: int, sweep_param: Any, **kwargs: Any) -> Any:
        found = self._sweep_object.run(**kwargs)
        return {
            "rates": found["unique_fixed_points"], "types": [str(t) for t in found["unique_type"]],
            "multiplicity": found["multiplicity"],
        }  # fmt: skip


class ReducedMeanFieldSweepRunner(BaseSweepRunner):
    """Sweeps of landscapes; see :class:`BaseSweepRunner`."""

    stager_class = ReducedMeanFieldStager

    def _step(self, param: Any, idx: int, sweep_param: Any, **kwargs: Any) -> Any:
        return dict(self._sweep_object.run(**kwargs))


def _sweep_step(
    runner: BaseSweepRunner, path: Sequence[str], settings: Mapping[str, Any], item: Any
) -> Any:
    """Build the stager of a step and run it; the runner is a copy of its own for each step."""
    k, tree, seed, value = item
    own = copy.copy(runner)
    own._sweep_object = own.stager_class(tree, random_seed=seed, **own.stager_settings)
    return own._step(path, k, value, **settings)


def _tree(source: Any) -> dict[str, Any]:
    return plain_tree(source) if isinstance(source, Mapping) else load_tree(source)[0]


def _seeded(tree: Mapping[str, Any], seed: int) -> dict[str, Any]:
    settings = dict(tree.get("settings") or {}) | {"random_seed": seed}
    return {**tree, "settings": settings}


def noted(job: Stored, logger: Logger) -> dict[str, Any]:
    """Return arguments of :meth:`Stored.results` that log what is done and what failed."""

    def done(k: int, result: Any) -> Any:
        logger.info(f"{job.name(k)} done")
        return result

    def failed(k: int, why: Failed) -> None:
        logger.error(f"{job.name(k)} failed\n{why.traceback}")

    return {"keep": done, "on_failure": failed}


def describe_steps(
    folder: Path, trees: Sequence[Mapping[str, Any]], perturbations: Sequence[Mapping[str, Any]],
    logger: Logger,
) -> None:  # fmt: skip
    """Write the configuration of every step, and its perturbations with their statistics.

    Parameters
    ----------
    folder : Path
        Gets ``configs/<k>.yaml`` and ``metadata/perturbations_<k>.npz``; those of a longer sweep
        that was here before go.
    trees : sequence of mapping
    perturbations : sequence of mapping of target to array
    logger : Logger
    """
    for name in ("configs", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for k, (tree, arrays) in enumerate(zip(trees, perturbations, strict=True)):
        write_text(folder / "configs" / f"{k}.yaml", dump_tree(plain_tree(tree)))
        save_perturbations(folder / "metadata" / f"perturbations_{k}.npz", arrays, logger)
    k = len(trees)
    while (folder / "configs" / f"{k}.yaml").is_file():
        (folder / "configs" / f"{k}.yaml").unlink()
        (folder / "metadata" / f"perturbations_{k}.npz").unlink(missing_ok=True)
        k += 1
