"""Spiking networks put to the test, beside the rate network that they were made from.

Source: spikeRNN, `spiking.eval_tasks`, with the corrected decision rules of `scoring`.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import check_factors
from bridge.rate_to_spike.model_file import RateModel
from bridge.rate_to_spike.rate_forward import rate_outputs
from bridge.rate_to_spike.scoring import Share, share_of
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.trials import (
    Trial,
    draw_trials,
    task_of,
    types_of,
)
from studies.rate_to_spike.measuring import Measured, SearchOptions, measure
from studies.rate_to_spike.search import model_files

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions

_RATE_STREAM = 2**20  # keeps the rate network's noise apart from that of the spiking one


def load_model_and_scaling_factor(
    path: str | Path, factor: float | None = None
) -> tuple[Path, float]:
    """Return a model file and the factor to use: the given one, else that of the file.

    Raises
    ------
    ValueError
        If there is none.
    """
    if factor is not None:
        return Path(path), float(check_factors([factor])[0])
    found = RateModel.load(path).number("opt_scaling_factor")
    if found is None:
        raise ValueError(
            f"{path} holds no scaling factor; find one with lambda_grid_search (pingbridge rate "
            "search), or give one"
        )
    return Path(path), found


def seen_before(model: RateModel, seed: int) -> str | None:
    """Return a warning if these are the trials by which the scaling factor was chosen."""
    searched = model.number("search_seed")
    if searched is None or int(searched) != seed:
        return None
    return (
        f"seed {seed} is that of the search: these are not fresh trials but those that chose the "
        "scaling factor; take another seed"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """The same trials through the rate network and the spiking one.

    Attributes
    ----------
    measured : Measured
        Of the spiking network; one factor.
    rate : float64, shape (trial, T - 1)
        Output of the rate network.
    rate_right : bool, shape (trial,)
    correlation, rms_difference : float64, shape (trial,)
        Of the two outputs over the whole trial after the stimulus has begun.
    """

    measured: Measured
    rate: NDArray[np.float64]
    rate_right: NDArray[np.bool_]
    correlation: NDArray[np.float64]
    rms_difference: NDArray[np.float64]

    @property
    def spiking(self) -> NDArray[np.float64]:
        """Return the output of the spiking network once per rate step, shape (trial, T - 1)."""
        assert self.measured.outputs is not None
        return self.measured.outputs[0]

    def report(self) -> dict[str, Any]:
        """Return the numbers of the comparison."""
        strict, published = (self.measured.share(0, rule) for rule in ("strict", "published"))
        rate = share_of(self.rate_right)
        types = [trial.type for trial in self.measured.trials]
        found: dict[str, Any] = {
            "scaling_factor": self.measured.factors[0],
            "n_trials": len(types),
            "rate_accuracy": _numbers(rate),
            "spiking_accuracy_strict": _numbers(strict),
            "spiking_accuracy_published": _numbers(published),
            "output_correlation": float(np.nanmean(self.correlation)),
            "output_rms_difference": float(self.rms_difference.mean()),
            "rate_exc_hz": float(self.measured.rate_exc_hz.mean()),
            "rate_inh_hz": float(self.measured.rate_inh_hz.mean()),
            "latency_ms": _mean(self.measured.latency[0]),
            "types": {},
        }
        for name in types_of(self.measured.trials):
            of_type = np.array([one == name for one in types])
            found["types"][name] = {
                "n_trials": int(of_type.sum()),
                "rate_accuracy": float(self.rate_right[of_type].mean()),
                "spiking_accuracy_strict": float(self.measured.strict[0][of_type].mean()),
                "spiking_accuracy_published": float(self.measured.published[0][of_type].mean()),
                "output_correlation": _mean(self.correlation[of_type]),
                "latency_ms": _mean(self.measured.latency[0][of_type]),
            }
        return found


def _numbers(share: Share) -> dict[str, Any]:
    return {"right": share.right, "of": share.total, "share": share.value,
            "interval_95": list(share.interval)}  # fmt: skip


def _mean(values: NDArray[np.float64]) -> float | None:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else None


def compare_with_rate_model(
    model: RateModel,
    task: AbstractTask,
    scaling_factor: float,
    options: SearchOptions,
    *,
    trials: list[Trial] | None = None,
    label: str | None = None,
) -> Comparison:
    """Run the same trials through both networks.

    Parameters
    ----------
    model, task, scaling_factor, options
    trials : list of Trial, optional
        Drawn if not given.
    label : str, optional
        Of the progress bar.
    """
    if trials is None:
        trials = draw_trials(
            task, options.n_trials, options.seed, balanced=options.balanced,
            extra_column=options.extra_column,
        )  # fmt: skip
    measured = measure(
        model, task, [scaling_factor], dataclasses.replace(options, adaptive=False),
        trials=trials, keep_outputs=True, label=label,
    )  # fmt: skip
    rng = np.random.default_rng([options.seed, _RATE_STREAM])
    rate = rate_outputs(model, np.stack([trial.stimulus for trial in trials]), rng)
    right = np.array([
        task.is_correct(o, trial.label) for o, trial in zip(rate, trials, strict=True)
    ])  # fmt: skip
    assert measured.outputs is not None
    n_common = min(rate.shape[1], measured.outputs.shape[2])
    begin = int(task.settings.get("stim_on", 0))
    one, other = rate[:, begin:n_common], measured.outputs[0][:, begin:n_common]
    correlation = np.full(len(trials), np.nan)
    for k in range(len(trials)):
        if one[k].std() > 0 and other[k].std() > 0:
            correlation[k] = np.corrcoef(one[k], other[k])[0, 1]
    return Comparison(
        measured=measured, rate=rate, rate_right=right, correlation=correlation,
        rms_difference=np.sqrt(((one - other) ** 2).mean(axis=1)),
    )  # fmt: skip


def evaluate_task(
    task_name: str | None,
    model_path: str | Path | None = None,
    optimal_scaling_factor: float | None = None,
    task_settings: Mapping[str, Any] | None = None,
    n_trials: int = 100,
    all_trial_types: bool = False,
    *,
    model_dir: str | Path | None = None,
    save_plots: bool = False,
    seed: int | None = None,
    n_workers: int | None = 1,
    rectify: bool | str = "auto",
    engine: EngineOptions | None = None,
) -> dict[str, Any]:
    """Return the accuracies of a spiking network in fresh trials, and those of its rate network.

    Parameters
    ----------
    task_name : str or None
        That of the file, or of its path, if None.
    model_path, model_dir : path
        One of the two. In a folder the first file is taken, with a warning if there are several.
    optimal_scaling_factor : float, optional
        That of the file if not given.
    task_settings : mapping, optional
    n_trials : int
    all_trial_types : bool
        Also write one trial of each type to ``sample_trials.npz`` beside the model.
    save_plots : bool
        Also write pictures into the folder ``plots`` beside the model.
    seed : int, optional
        Fresh if not given.
    n_workers : int, optional
        Processes.
    rectify, engine
        See :class:`studies.rate_to_spike.measuring.SearchOptions`.

    Returns
    -------
    dict
        ``overall_accuracy`` (published rule), ``overall_accuracy_strict``, the accuracy and number
        of each trial type (``go_accuracy``, ``go_trials`` ...), ``Correct trials``, ``Incorrect
        trials``, ``Total trials``, ``scaling_factor``, ``rate_accuracy``, ``comparison``.

    Raises
    ------
    FileNotFoundError, ValueError
    """
    paths = model_files(model_path, model_dir)
    if len(paths) > 1:
        warnings.warn(
            f"{paths[0].parent} holds {len(paths)} models; {paths[0].name} is evaluated",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    path, factor = load_model_and_scaling_factor(paths[0], optimal_scaling_factor)
    model = RateModel.load(path)
    task = task_of(model, task_name, task_settings, path=path)
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    seen = seen_before(model, seed)
    if seen is not None:
        warnings.warn(f"{path.name}: {seen}", UserWarning, stacklevel=2)
    options = SearchOptions(
        n_trials=n_trials, seed=seed, rectify=rectify, jobs=n_workers, engine=engine
    )
    comparison = compare_with_rate_model(model, task, factor, options)
    found = summarise(comparison)
    if all_trial_types or save_plots:
        from bridge.rate_to_spike.sample import write_samples
        from studies.rate_to_spike.samples import sample_trials

        samples = sample_trials(model, task, factor, seed=seed, rectify=rectify, engine=engine)
        if all_trial_types:
            write_samples(path.parent / "sample_trials.npz", samples)
        if save_plots:
            from scope.figures.rate_pictures import write_plots

            write_plots(
                path.parent / "plots",
                samples,
                model.inh,
                title=task.name,
                threshold=task.threshold,
            )
    return found


def summarise(comparison: Comparison) -> dict[str, Any]:
    """Return the numbers of an evaluation under their published names."""
    measured = comparison.measured
    published, strict = measured.share(0, "published"), measured.share(0, "strict")
    types = [trial.type for trial in measured.trials]
    found: dict[str, Any] = {
        "overall_accuracy": published.value,
        "overall_accuracy_strict": strict.value,
        "scaling_factor": measured.factors[0],
        "Correct trials": published.right,
        "Incorrect trials": published.total - published.right,
        "Total trials": published.total,
        "rate_accuracy": float(comparison.rate_right.mean()),
        "comparison": comparison.report(),
    }
    for name in types_of(measured.trials):
        of_type = np.array([one == name for one in types])
        found[f"{name}_accuracy"] = float(measured.published[0][of_type].mean())
        found[f"{name}_trials"] = int(of_type.sum())
    return found
