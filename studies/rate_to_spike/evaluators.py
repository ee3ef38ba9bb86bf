"""Single trials of a spiking network, judged by the published rule.

Source: spikeRNN, `spiking.eval_tasks`, with the corrected decision rules of `scoring`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bridge.rate_to_spike.cognitive import GoNogoTask, ManteTask, XORTask
from bridge.rate_to_spike.factory import TaskClasses
from bridge.rate_to_spike.lif import check_factors, draw_v_start
from bridge.rate_to_spike.model_file import RateModel
from bridge.rate_to_spike.names import normalise_name, unknown
from bridge.rate_to_spike.scoring import is_right
from bridge.rate_to_spike.task_factory import TaskFactory
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.trials import eval_start, make_trial, task_of

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions


class SpikingEvaluator:
    """Judges single trials of a spiking network; mixed into a task.

    Attributes
    ----------
    eval_amp_thresh : float
    eval_end : int
        First LIF step that is judged.
    """

    task: ClassVar[type[AbstractTask]]

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__({**self.task.defaults, **(settings or {})})  # type: ignore[call-arg]
        self.eval_amp_thresh: float = self.threshold  # type: ignore[attr-defined]
        self.eval_end: int = eval_start(self)  # type: ignore[arg-type]

    def evaluate_single_trial(
        self,
        model_path: str | Path | None,
        scaling_factor: float,
        model_data: Mapping[str, Any] | None = None,
        rng: np.random.Generator | int | None = None,
        engine: EngineOptions | None = None,
    ) -> int:
        """Run a random trial; return 1 if the published rule finds it right, else 0.

        Parameters
        ----------
        model_path : path or None
        scaling_factor : float
        model_data : mapping, optional
            Loaded fields, instead of the file.
        rng : Generator or int, optional
            Draws the trial, the initial voltages and the noise, in this order.
        engine : EngineOptions, optional
        """
        from sim_brian.rate_lif.network import LIF_network_fnc

        task: Any = self
        given = model_path if model_data is None else model_data
        model = _model(given)
        rng = np.random.default_rng(rng)
        stimulus, label = task.generate_stimulus(seed=rng)
        trial = make_trial(task, stimulus, label, 0, start=self.eval_end)
        v0 = draw_v_start(rng, model.n)
        out = LIF_network_fnc(
            model, scaling_factor, trial.u, noise=rng, v0=v0, record=(), engine=engine
        )[5]
        window = out[self.eval_end :]
        return int(
            is_right(window.max(), window.min(), trial.expected, self.eval_amp_thresh, strict=False)
        )


class GoNogoSpikingEvaluator(SpikingEvaluator, GoNogoTask):
    """Go/NoGo; see :class:`SpikingEvaluator`."""

    task = GoNogoTask


class XORSpikingEvaluator(SpikingEvaluator, XORTask):
    """Delayed XOR; see :class:`SpikingEvaluator`."""

    task = XORTask


class ManteSpikingEvaluator(SpikingEvaluator, ManteTask):
    """Context-dependent integration; see :class:`SpikingEvaluator`."""

    task = ManteTask


class SpikingEvaluatorFactory(TaskClasses):
    """The evaluators by the name of their task."""

    _kind = SpikingEvaluator
    _registry: ClassVar[dict[str, type[SpikingEvaluator]]] = {
        "go_nogo": GoNogoSpikingEvaluator,
        "xor": XORSpikingEvaluator,
        "mante": ManteSpikingEvaluator,
    }

    @classmethod
    def create_evaluator(
        cls, name: str, settings: Mapping[str, Any] | None = None
    ) -> SpikingEvaluator:
        """Return an evaluator; settings that are missing are the published ones.

        Raises
        ------
        ValueError
            For an unknown name. A registered task without an evaluator gets one.
        """
        if ":" not in name and normalise_name(name) in cls._registry:
            return cls._registry[normalise_name(name)](settings)
        try:
            task = TaskFactory.task_class(name)
        except ValueError:
            if ":" in name:
                raise
            raise unknown("task", name, cls._registry) from None
        made = type(f"{task.__name__}SpikingEvaluator", (SpikingEvaluator, task), {"task": task})
        found: SpikingEvaluator = made(settings)
        return found

    @classmethod
    def register_evaluator(cls, name: str, evaluator: type[SpikingEvaluator]) -> None:
        """Make an evaluator known.

        Raises
        ------
        ValueError
            If it is no subclass of SpikingEvaluator.
        """
        cls._register(name, evaluator)


def evaluate_single_trial(
    task_name: str,
    model_path: str | Path | None,
    scaling_factor: float,
    settings: Mapping[str, Any] | None = None,
    model_data: Mapping[str, Any] | None = None,
    rng: np.random.Generator | int | None = None,
    engine: EngineOptions | None = None,
) -> int:
    """Run one random trial of a task; return 1 if it is right, else 0.

    Timing that is not given is that of the model file, else the published one.

    Raises
    ------
    ValueError, FileNotFoundError
        For a task, model or factor that makes no trial.
    """
    (factor,) = check_factors([scaling_factor])
    model = _model(model_path if model_data is None else model_data)
    task = task_of(model, task_name, settings)
    evaluator = SpikingEvaluatorFactory.create_evaluator(task_name, task.settings)
    return evaluator.evaluate_single_trial(None, factor, model_data=model.fields, rng=rng,
                                           engine=engine)  # fmt: skip


def _model(given: Any) -> RateModel:
    if given is None:
        raise ValueError("give a model: a .mat file, or what was loaded from one")
    return RateModel.from_fields(given) if isinstance(given, Mapping) else RateModel.load(given)
