"""The three published tasks: Go/NoGo, delayed XOR, context-dependent integration (Mante).

Draws are made in the published order, so that a seeded generator gives the published trials.

Source: Kim, Li & Sejnowski (2019), PNAS 116:22811, and its code.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.tasks import AbstractTask, Seed, draws_from


class GoNogoTask(AbstractTask):
    """Answer 1 after a pulse, nothing without one. Labels 1 (Go) and 0."""

    name = "go_nogo"
    n_in = 1
    required = ("T", "stim_on", "stim_dur")
    defaults: ClassVar = {"T": 200, "stim_on": 50, "stim_dur": 25}
    trial_types = ("go", "nogo")
    signed = False

    def validate_settings(self) -> None:
        """Raise ValueError unless stim_on + stim_dur < T."""
        self._require(last_step="stim_on + stim_dur")

    def generate_stimulus(
        self, trial_type: str | None = None, seed: Seed = False
    ) -> tuple[NDArray[np.float64], int]:
        """Return input (1, T) and label; one draw, Go if it is at most 0.5."""
        chosen, draws = self._choose(trial_type), draws_from(seed)
        go = chosen == "go" if chosen is not None else draws.random() <= 0.5
        u = np.zeros((1, self.n_steps))
        if go:
            u[0, self.settings["stim_on"] : self._end] = 1.0
        return u, int(go)

    def generate_target(self, label: Any, seed: Seed = False) -> NDArray[np.float64]:
        """Return 1 from the end of the pulse on for Go, else 0."""
        z = np.zeros(self.n_steps - 1)
        if int(label) == 1:
            z[self._end :] = 1.0
        return z

    def response_window(self) -> tuple[int, int]:
        """Return the steps after the pulse."""
        return self._end, self.n_steps

    def expected_response(self, label: Any) -> int:
        """Return 1 for Go, 0 for NoGo."""
        return 1 if label in (1, "go") else 0

    def type_of(self, stimulus: NDArray[np.float64], label: Any) -> str:
        """Return ``go`` or ``nogo``."""
        return "go" if self.expected_response(label) else "nogo"


class XORTask(AbstractTask):
    """Say whether two pulses had the same sign. Labels ``same`` and ``diff``."""

    name = "xor"
    n_in = 2
    required = ("T", "stim_on", "stim_dur", "delay")
    defaults: ClassVar = {"T": 300, "stim_on": 50, "stim_dur": 50, "delay": 10}
    trial_types = ("++", "+-", "-+", "--")
    response_after = 10
    response_dur = 100

    def validate_settings(self) -> None:
        """Raise ValueError unless stim_on + 2 stim_dur + delay < T."""
        self._require(last_step="stim_on + 2*stim_dur + delay")

    def generate_stimulus(
        self, trial_type: str | None = None, seed: Seed = False
    ) -> tuple[NDArray[np.float64], str]:
        """Return input (2, T) and label; two draws, + if below 0.5."""
        chosen, draws = self._choose(trial_type), draws_from(seed)
        if chosen is None:
            chosen = "".join("+" if draws.random() < 0.5 else "-" for _ in range(2))
        first, second = (1.0 if sign == "+" else -1.0 for sign in chosen)
        on, dur = self.settings["stim_on"], self.settings["stim_dur"]
        u = np.zeros((2, self.n_steps))
        u[0, on : on + dur] = first
        u[1, on + dur + self.settings["delay"] : self._end] = second
        return u, "same" if first == second else "diff"

    def generate_target(self, label: Any, seed: Seed = False) -> NDArray[np.float64]:
        """Return +-1 in the response window, 0 elsewhere."""
        z = np.zeros(self.n_steps - 1)
        start, stop = self.response_window()
        z[start:stop] = float(self.expected_response(label))
        return z

    def response_window(self) -> tuple[int, int]:
        """Return the 100 steps that begin 10 steps after the second pulse."""
        start = self._end + self.response_after
        return start, min(start + self.response_dur, self.n_steps)

    def evaluation_start(self) -> int:
        """Return the end of the second pulse."""
        return self._end

    def expected_response(self, label: Any) -> int:
        """Return 1 for the same sign, -1 for different ones."""
        return 1 if label == "same" else -1

    def type_of(self, stimulus: NDArray[np.float64], label: Any) -> str:
        """Return the signs of the two pulses, like ``+-``."""
        return "".join("+" if row.sum() > 0 else "-" for row in stimulus[:2])


class ManteTask(AbstractTask):
    """Report the sign of one of two inputs, the one that the context names. Labels 1 and -1.

    With ``encoding`` ``'cue'`` (default) row 0 is the context (+1 colour, -1 motion), rows 1 and 2
    the two evidences, drawn evenly from +-1.25 and constant. With ``'noisy'`` (2019 code) rows 0
    and 1 are the evidences, noise of variance 1 around +-0.5, and row 2 or 3 is 1 throughout the
    trial: attend row 0 or row 1.
    """

    name = "mante"
    n_in = 4
    required = ("T", "stim_on", "stim_dur")
    defaults: ClassVar = {"T": 500, "stim_on": 50, "stim_dur": 200}
    trial_types = ("color", "motion")
    encodings = ("cue", "noisy")
    offset = 0.5

    def validate_settings(self) -> None:
        """Raise ValueError unless stim_on + stim_dur < T and the encoding is known."""
        self._require(last_step="stim_on + stim_dur")
        if self.encoding not in self.encodings:
            raise ValueError(
                f"task mante: unknown encoding {self.encoding!r}; use one of "
                f"{', '.join(self.encodings)}"
            )

    @property
    def encoding(self) -> str:
        """Return how the evidence is coded."""
        return str(self.settings.get("encoding", "cue"))

    def generate_stimulus(
        self, trial_type: str | None = None, seed: Seed = False
    ) -> tuple[NDArray[np.float64], int]:
        """Return input (4, T) and label: the sign of the evidence that the context names."""
        chosen, draws = self._choose(trial_type), draws_from(seed)
        if self.encoding == "noisy":
            return self._noisy(chosen, draws)
        color, motion = (2.5 * (draws.random() - 0.5) for _ in range(2))
        if chosen is None:
            chosen = "color" if draws.random() < 0.5 else "motion"
        u = np.zeros((4, self.n_steps))
        window = slice(self.settings["stim_on"], self._end)
        u[0, window] = 1.0 if chosen == "color" else -1.0
        u[1, window], u[2, window] = color, motion
        return u, 1 if (color if chosen == "color" else motion) > 0 else -1

    def _noisy(self, chosen: str | None, draws: Any) -> tuple[NDArray[np.float64], int]:
        u = np.zeros((4, self.n_steps))
        window = slice(self.settings["stim_on"], self._end)
        signs = []
        for row in range(2):
            signs.append(1 if draws.random() <= 0.5 else -1)
            noise = draws.standard_normal(self.settings["stim_dur"])
            u[row, window] = noise + self.offset * signs[row]
        if chosen is None:
            chosen = "color" if draws.random() <= 0.5 else "motion"
        cued = self.trial_types.index(chosen)
        u[2 + cued] = 1.0
        return u, signs[cued]

    def generate_target(self, label: Any, seed: Seed = False) -> NDArray[np.float64]:
        """Return the label from the end of the stimulus on, 0 before."""
        z = np.zeros(self.n_steps - 1)
        z[self._end :] = float(label)
        return z

    def response_window(self) -> tuple[int, int]:
        """Return the steps after the stimulus."""
        return self._end, self.n_steps

    def expected_response(self, label: Any) -> int:
        """Return the label."""
        return int(label)

    def type_of(self, stimulus: NDArray[np.float64], label: Any) -> str:
        """Return the context, ``color`` or ``motion``."""
        if self.encoding == "noisy":
            return "color" if stimulus[2].any() else "motion"
        return "color" if stimulus[0].sum() > 0 else "motion"

    def coherence(self, stimulus: NDArray[np.float64]) -> float:
        """Return the mean of the evidence that the context names."""
        first = 0 if self.encoding == "noisy" else 1
        row = first + self.trial_types.index(self.type_of(stimulus, None))
        return float(stimulus[row, self.settings["stim_on"] : self._end].mean())
