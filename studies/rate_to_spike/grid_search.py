"""The published search, one call from Python.

Source: spikeRNN, `lambda_grid_search`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.rate_to_spike.lif import check_factors
from studies.rate_to_spike.measuring import SearchOptions
from studies.rate_to_spike.search import (
    DEFAULT_FACTORS,
    load_models,
    model_files,
    report_lines,
    search_files,
)

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions

log = logging.getLogger("pingbridge")


def lambda_grid_search(
    model_path: str | Path | None = None,
    task_name: str | None = None,
    n_trials: int = 100,
    scaling_factors: Iterable[float] | None = None,
    task_settings: Mapping[str, Any] | None = None,
    *,
    model_dir: str | Path | None = None,
    seed: int | None = None,
    n_workers: int | None = None,
    method: str = "batched",
    rectify: bool | str = "auto",
    skip_done: bool = False,
    verbose: bool = True,
    score: str = "strict",
    balanced: bool = False,
    independent: bool = False,
    adaptive: bool = False,
    extra_column: bool = True,
    legacy_windows: bool = False,
    engine: EngineOptions | None = None,
) -> Any:
    """Find the best scaling factor of a model file, or of every one in a folder.

    The results are written into the file: ``opt_scaling_factor``, ``all_perfs`` (published rule),
    ``all_perfs_strict``, ``scaling_factors``, ``n_trials_per_factor``, ``search_seed``.

    Parameters
    ----------
    model_path : path, optional
        A .mat file, or a folder.
    task_name : str, optional
        From the file or its path if not given.
    n_trials : int
        At every factor.
    scaling_factors : iterable of numbers, optional
        20, 25 ... 75 if not given.
    task_settings : mapping, optional
        See :func:`bridge.rate_to_spike.trials.task_of`.
    model_dir : path, optional
        A folder; instead of `model_path`.
    seed : int, optional
        Fresh if not given.
    n_workers : int, optional
        Processes; with ``method='process'`` one for each core if not given.
    method : {'batched', 'process'}
        In this process, or spread over several. The results are the same.
    rectify, score, balanced, independent, adaptive, extra_column, engine
        See :class:`studies.rate_to_spike.measuring.SearchOptions`.
    skip_done : bool
        Leave files alone that hold a factor already.
    verbose : bool
        Print the progress.
    legacy_windows : bool
        Timing and windows of the 2019 evaluation.

    Returns
    -------
    int or float
        The best factor; {file name: factor} where a folder holds several models.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no .mat file in the folder.
    ValueError
        For anything that makes no search; nothing was run or written.
    """
    if method not in ("batched", "process"):
        raise ValueError(f"method = {method!r} is unknown; use batched or process")
    if method == "batched" and n_workers not in (None, 1):
        method = "process"
    factors = check_factors(DEFAULT_FACTORS if scaling_factors is None else list(scaling_factors))
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    options = SearchOptions(
        n_trials=n_trials, seed=seed, rectify=rectify, score=score, balanced=balanced,
        independent=independent, adaptive=adaptive, extra_column=extra_column,
        jobs=1 if method == "batched" else n_workers, engine=engine,
    )  # fmt: skip
    models = load_models(
        model_files(model_path, model_dir), task_name, task_settings, legacy_windows=legacy_windows
    )
    found: dict[str, Any] = {}
    for one, result in search_files(models, factors, options, skip_done=skip_done):
        name = one.path.name
        if result is None:
            found[name] = _as_given(one.factor, factors)
            continue
        if verbose:
            print("\n".join(report_lines(one.path, one.task_name, result)), flush=True)
        for line in result.warnings:
            warnings.warn(f"{name}: {line}", UserWarning, stacklevel=2)
        log.debug("%s: plateau %s", name, result.plateau)
        found[name] = result.best
    return next(iter(found.values())) if len(found) == 1 else found


def _as_given(value: float | None, factors: Sequence[Any]) -> Any:
    return next((f for f in factors if float(f) == value), value)
