"""What a task is: inputs, targets, and when an answer is right.

Times are rate steps (5 ms): step `t` of an input is column `t`. A task of one's own subclasses
:class:`AbstractTask`; docs/rate_to_spike.md has an example.

Source: Kim, Li & Sejnowski (2019), PNAS 116:22811, and the package spikeRNN.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.scoring import DEFAULT_THRESHOLD, NO_RESPONSE_MAX

Seed = bool | int | np.random.Generator | None
"""False or None: NumPy's global generator. True: that, seeded with 42. Else one of its own."""

MOST_STEPS = 1_000_000
"""Longest trial, 83 minutes: a damaged file must not ask for all memory."""


class Draws(Protocol):
    """What NumPy's global functions and a Generator have in common."""

    def random(self) -> float:
        """Return a number from [0, 1)."""
        ...

    def standard_normal(self, size: Any = None) -> Any:
        """Return normal deviates."""
        ...


def draws_from(seed: Seed) -> Draws:
    """Return the generator that a `seed` argument means."""
    if isinstance(seed, np.random.Generator):
        return seed
    if seed is True:
        np.random.seed(42)  # noqa: NPY002  # what the published package means by seed=True
    if seed is None or isinstance(seed, bool):
        return cast(np.random.Generator, np.random)  # the module has both functions
    return np.random.default_rng(seed)


class AbstractTask(ABC):
    """A task with its settings.

    Subclasses define :meth:`validate_settings`, :meth:`generate_stimulus` and
    :meth:`generate_target`. With :meth:`response_window` and :meth:`expected_response` as well a
    task can be trained, converted, searched and evaluated like those that are built in.

    Parameters
    ----------
    settings : mapping
        Times in rate steps; copied.

    Raises
    ------
    ValueError
        If a setting is missing or the stimuli don't end before ``T``.
    """

    name: ClassVar[str] = ""
    n_in: ClassVar[int] = 1
    """Input channels."""
    required: ClassVar[tuple[str, ...]] = ("T",)
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Timing of the published trainings."""
    trial_types: ClassVar[tuple[str, ...]] = ()
    signed: ClassVar[bool] = True
    """Some answers are negative: the strict rule then forbids crossing the other threshold."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        self.validate_settings()

    @property
    def n_steps(self) -> int:
        """Return the rate steps of a trial."""
        return int(self.settings["T"])

    @property
    def threshold(self) -> float:
        """Return the amplitude that an answer must cross."""
        return threshold_of(self.settings)

    @abstractmethod
    def validate_settings(self) -> None:
        """Raise ValueError for settings that make no trial."""

    @abstractmethod
    def generate_stimulus(
        self, trial_type: str | None = None, seed: Seed = False
    ) -> tuple[NDArray[np.float64], Any]:
        """Return the input, shape (n_in, T), and the label of a trial.

        Parameters
        ----------
        trial_type : str, optional
            One of `trial_types`; drawn if not given.
        seed : bool, int or Generator
            See :data:`Seed`.

        Raises
        ------
        ValueError
            For an unknown trial type.
        """

    @abstractmethod
    def generate_target(self, label: Any, seed: Seed = False) -> NDArray[np.float64]:
        """Return the output asked for, shape (T - 1,)."""

    def simulate_trial(
        self, trial_type: str | None = None, seed: Seed = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        """Return stimulus, target and label of a trial, in this order."""
        draws: Any = draws_from(seed)
        own = draws if isinstance(draws, np.random.Generator) else False
        stimulus, label = self.generate_stimulus(trial_type, own)
        return stimulus, self.generate_target(label), label

    def response_window(self) -> tuple[int, int]:
        """Return first and last + 1 rate step in which the answer is looked for.

        Raises
        ------
        NotImplementedError
            If the task doesn't say.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no response_window(): define it to evaluate the task"
        )

    def evaluation_start(self) -> int:
        """Return the rate step from which a spiking network's output is judged, to its end."""
        return self.response_window()[0]

    def expected_response(self, label: Any) -> int:
        """Return 1 or -1 for an answer of that sign, 0 for none.

        Raises
        ------
        NotImplementedError
            If the task doesn't say.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no expected_response(label): define it to evaluate the task"
        )

    def is_correct(self, output: NDArray[Any], label: Any) -> bool:
        """Return whether a rate network's output, shape (T - 1,), is right."""
        start, stop = self.response_window()
        window = np.asarray(output, dtype=np.float64).ravel()[start:stop]
        if not window.size:
            raise ValueError(f"task {self.name}: no step is left after the stimuli to answer in")
        expected = self.expected_response(label)
        if expected == 0:
            return bool(np.abs(window).max() < NO_RESPONSE_MAX)
        return bool((expected * window).max() > self.threshold)

    def extended(self, stimulus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the input with one more column, as the spiking network takes it (T + 1).

        The new column repeats the last one: zero, unless an input lasts the whole trial.
        """
        return np.concatenate([stimulus, stimulus[:, -1:]], axis=1)

    def type_of(self, stimulus: NDArray[np.float64], label: Any) -> str:
        """Return the name under which a trial's accuracy is counted."""
        return str(label)

    def _require(self, *, last_step: str) -> None:
        """Check the usual settings: keys there, whole numbers, the stimuli end before T.

        `last_step` is an expression like ``stim_on + stim_dur``.
        """
        missing = [key for key in self.required if key not in self.settings]
        if missing:
            raise ValueError(
                f"task {self.name}: settings lack {', '.join(missing)}; needed are "
                f"{', '.join(self.required)}"
            )
        for key in self.required:
            value = self.settings[key]
            number = isinstance(value, int | float | np.integer | np.floating)
            # The bound comes first: NaN and infinity have no int().
            within = number and not isinstance(value, bool) and 0 <= value <= MOST_STEPS
            if not within or value != int(value):
                raise ValueError(
                    f"task {self.name}: {key} = {value!r} must be a whole number of rate steps "
                    f"between 0 and {MOST_STEPS}"
                )
            self.settings[key] = int(value)
        if self.settings["T"] < 2:
            raise ValueError(f"task {self.name}: T = {self.settings['T']} must be at least 2")
        end = sum(
            self.settings[word.removeprefix("2*")] * (2 if word.startswith("2*") else 1)
            for word in last_step.split(" + ")
        )
        if end >= self.settings["T"]:
            raise ValueError(
                f"task {self.name}: the stimuli end at step {end} ({last_step}), not before "
                f"T = {self.settings['T']}"
            )
        self._end = int(end)

    def _choose(self, trial_type: str | None) -> str | None:
        if trial_type is not None and trial_type not in self.trial_types:
            raise ValueError(
                f"task {self.name}: unknown trial type {trial_type!r}; use one of "
                f"{', '.join(self.trial_types)}"
            )
        return trial_type


def threshold_of(settings: Mapping[str, Any]) -> float:
    """Return the amplitude threshold; the published misspelling is understood too."""
    for key in ("eval_amp_thresh", "eval_amp_threh"):
        if settings.get(key) is not None:
            return float(settings[key])
    return DEFAULT_THRESHOLD
