"""Tasks that judge any spiking network; the older interface of the published package.

A network is any object with ``simulate(stimulus, stims) -> (spikes, voltages, output, params)``.
Decisions follow the rules of :mod:`bridge.rate_to_spike.scoring`, on LIF steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.cognitive import GoNogoTask, ManteTask, XORTask
from bridge.rate_to_spike.factory import TaskClasses
from bridge.rate_to_spike.lif import check_factors
from bridge.rate_to_spike.model_file import RateModel
from bridge.rate_to_spike.scoring import is_right
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.trials import eval_start

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions


class LIFNetworkAdapter:
    """A model file at a scaling factor, as a network to simulate.

    Parameters
    ----------
    model_path : path
    scaling_factor : float
    seed : int, optional
        Fresh if not given.
    engine : EngineOptions, optional
    """

    def __init__(
        self,
        model_path: str | Path,
        scaling_factor: float,
        *,
        seed: int | None = None,
        engine: EngineOptions | None = None,
    ) -> None:
        self.model = RateModel.load(model_path)
        self.model_path = Path(model_path)
        self.scaling_factor = float(check_factors([scaling_factor])[0])
        self.N = self.model.n
        self._rng = np.random.default_rng(seed)
        self._engine = engine
        self._duration_s: float | None = None

    def simulate(
        self, stimulus: NDArray[np.float64], stims: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], dict[str, Any]]:
        """Return spikes (cell, step), voltages (cell, step; mV), output (step,), params."""
        from sim_brian.rate_lif.network import LIF_network_fnc

        result = LIF_network_fnc(
            self.model, self.scaling_factor, stimulus, stims,
            seed=int(self._rng.integers(2**31)), record=("REC", "spk"), engine=self._engine,
        )  # fmt: skip
        self._duration_s = float(result[6]["T"])
        return result[2], result[1], result[5], result[6]

    def compute_firing_rates(
        self, spikes: NDArray[Any], duration_s: float | None = None
    ) -> NDArray[np.float64]:
        """Return the rate (Hz) of each cell; over the duration of the last run if not given.

        Raises
        ------
        ValueError
            Without a duration.
        """
        duration_s = duration_s or self._duration_s
        if not duration_s:
            raise ValueError("no run yet: give the duration in seconds")
        return np.asarray((np.asarray(spikes) > 0).sum(axis=1) / duration_s)


class AbstractSpikingTask(ABC):
    """A task that runs trials on a spiking network.

    Parameters
    ----------
    settings : mapping, optional
        Over :meth:`get_default_settings`.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.settings = {**self.get_default_settings(), **(settings or {})}

    @abstractmethod
    def get_default_settings(self) -> dict[str, Any]:
        """Return the settings that need not be given."""

    @abstractmethod
    def generate_stimulus(self, trial_type: str | None = None) -> tuple[NDArray[np.float64], Any]:
        """Return input and label of a trial."""

    @abstractmethod
    def evaluate_trial(
        self, spiking_rnn: Any, stimulus: NDArray[np.float64], label: Any
    ) -> dict[str, Any]:
        """Run a trial and judge it."""

    @abstractmethod
    def evaluate_performance(self, spiking_rnn: Any, n_trials: int = 100) -> dict[str, Any]:
        """Run trials and return accuracies."""

    @abstractmethod
    def get_sample_trial_types(self) -> list[str]:
        """Return the types of trials."""


class SpikingTask(AbstractSpikingTask):
    """One of the three tasks; subclasses say which and how results are named."""

    task_class: ClassVar[type[AbstractTask]]
    count_word: ClassVar[str] = "trials"
    takes_turns: ClassVar[bool] = False

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        self.task = self.task_class(self.settings)
        self.eval_end = eval_start(self.task)

    def get_default_settings(self) -> dict[str, Any]:
        """Return the published timing."""
        return dict(self.task_class.defaults)

    def get_sample_trial_types(self) -> list[str]:
        """Return the types of trials."""
        return list(self.task.trial_types)

    def generate_stimulus(
        self, trial_type: str | None = None, seed: Any = None
    ) -> tuple[NDArray[np.float64], Any]:
        """Return input (one column more than rate steps) and label."""
        stimulus, label = self.task.generate_stimulus(trial_type, seed)
        return self.task.extended(stimulus), self._named(label)

    def evaluate_trial(
        self, spiking_rnn: Any, stimulus: NDArray[np.float64], label: Any
    ) -> dict[str, Any]:
        """Run a trial; return everything about it.

        Returns
        -------
        dict
            ``stimulus``, ``label``, ``predicted``, ``spikes``, ``voltages``, ``output``,
            ``decision_value``, ``correct``, ``params``.
        """
        spikes, voltages, output, params = spiking_rnn.simulate(stimulus, {"mode": "none"})
        window = np.ravel(output)[self.eval_end :]
        if not window.size:
            raise ValueError(f"the output has {np.size(output)} steps; none after {self.eval_end}")
        high, low = float(window.max()), float(window.min())
        expected = self.task.expected_response(label)
        predicted, value = self._decide(high, low)
        right = is_right(high, low, expected, self.task.threshold, strict=False)
        return {
            "stimulus": stimulus, "label": label, "predicted": predicted, "spikes": spikes,
            "voltages": voltages, "output": output, "decision_value": value,
            "correct": bool(right), "params": params,
        }  # fmt: skip

    def evaluate_performance(
        self, spiking_rnn: Any, n_trials: int = 100, seed: int | None = None
    ) -> dict[str, Any]:
        """Run trials and return ``overall_accuracy`` and accuracy and number of each type.

        Raises
        ------
        ValueError
            For fewer than one trial.
        """
        if n_trials < 1:
            raise ValueError(f"n_trials = {n_trials} must be at least 1")
        rng = np.random.default_rng(seed)
        right: dict[str, list[bool]] = {name: [] for name in self.get_sample_trial_types()}
        for k in range(n_trials):
            chosen = self.get_sample_trial_types()[k % len(right)] if self.takes_turns else None
            stimulus, label = self.generate_stimulus(chosen, rng)
            result = self.evaluate_trial(spiking_rnn, stimulus, label)
            right[self.task.type_of(stimulus, label)].append(result["correct"])
        found: dict[str, Any] = {
            "overall_accuracy": float(np.mean([one for of in right.values() for one in of]))
        }
        for name, of in right.items():
            found[f"{name}_accuracy"] = float(np.mean(of)) if of else 0.0
            found[f"{name}_{self.count_word}"] = len(of)
        return found

    def create_visualization(self, results: Mapping[str, Any], folder: str | Path) -> Path:
        """Draw the output of a trial of :meth:`evaluate_trial`; return the picture's path."""
        from scope.figures.rate_figures import draw_output
        from scope.files import save_figure

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        figure = draw_output(
            np.ravel(results["output"]), dt_s=float(results["params"]["dt"]),
            title=f"{self.task.name}: {results['label']}, decided {results['predicted']}",
            threshold=self.task.threshold,
        )  # fmt: skip
        return save_figure(figure, folder / f"{self.task.name}_output.png")

    def _named(self, label: Any) -> Any:
        return label

    def _decide(self, high: float, low: float) -> tuple[Any, float]:
        """Return the answer that the output gives (the farther excursion), and its value."""
        value = high if high >= -low else low
        if abs(value) <= self.task.threshold:
            return None, value
        return (1 if value > 0 else -1), value


class GoNogoSpikingTask(SpikingTask):
    """Go/NoGo with labels ``go`` and ``nogo``."""

    task_class = GoNogoTask

    def _named(self, label: Any) -> str:
        return "go" if label == 1 else "nogo"

    def _decide(self, high: float, low: float) -> tuple[Any, float]:
        return ("go" if high > self.task.threshold else "nogo"), high


class XORSpikingTask(SpikingTask):
    """Delayed XOR with labels ``same`` and ``diff``."""

    task_class = XORTask
    count_word = "count"

    def _decide(self, high: float, low: float) -> tuple[Any, float]:
        answer, value = super()._decide(high, low)
        return {1: "same", -1: "diff", None: None}[answer], value


class ManteSpikingTask(SpikingTask):
    """Context-dependent integration; contexts take turns."""

    task_class = ManteTask
    takes_turns = True


class SpikingTaskFactory(TaskClasses):
    """The spiking tasks by name."""

    _kind = AbstractSpikingTask
    _registry: ClassVar[dict[str, type[AbstractSpikingTask]]] = {
        "go_nogo": GoNogoSpikingTask,
        "xor": XORSpikingTask,
        "mante": ManteSpikingTask,
    }

    @classmethod
    def create_task(
        cls, name: str, settings: Mapping[str, Any] | None = None
    ) -> AbstractSpikingTask:
        """Return a task.

        Raises
        ------
        ValueError
            For an unknown name.
        """
        task: AbstractSpikingTask = cls._class_of(name)(settings)
        return task

    @classmethod
    def register_task(cls, name: str, task_class: type[AbstractSpikingTask]) -> None:
        """Make a class known.

        Raises
        ------
        ValueError
            If it is no subclass of AbstractSpikingTask.
        """
        cls._register(name, task_class)
