"""Statistics of states: what occurred when, for how long, and what followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope.measure.attractors.activity import Interval, swapped_window

Array = NDArray[np.float64]
Identity = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Attractor:
    """One state and its occurrences.

    Attributes
    ----------
    idx : int
        By first appearance.
    clusters : tuple of int
        Active populations, from 0.
    recordings : int, shape (n,)
    starts_s, ends_s : float64, shape (n,)
        Seconds from the beginning of the first recording, recordings laid end to end.
    """

    idx: int
    clusters: Identity
    recordings: NDArray[np.int64]
    starts_s: Array
    ends_s: Array

    @property
    def durations_ms(self) -> Array:
        """Length of each occurrence, ms."""
        return (self.ends_s - self.starts_s) * 1e3

    def as_dict(self) -> dict[str, Any]:
        """Return the entry under the names of saved analyses."""
        durations = self.durations_ms
        return {
            "idx": self.idx,
            "#": len(self.starts_s),
            "starts": self.starts_s.tolist(),
            "ends": self.ends_s.tolist(),
            "occurrence_durations": durations.tolist(),
            "total_duration": float(durations.sum()),
            "clusters": list(self.clusters),
        }


class Occurrences:
    """All kept occurrences, in order of time, and their statistics.

    Parameters
    ----------
    recording, state : int arrays, shape (n,)
        Recording and state number (by first appearance) of each.
    start_s, end_s : float64, shape (n,)
    identities : list of tuples
        Active populations of each state.
    total_s : float
        Observed time, all recordings together.

    All statistics take `t_from` and `t_to` (s; negative from the end): occurrences that start in
    that window, bounds included.
    """

    def __init__(
        self, recording: NDArray[np.int64], state: NDArray[np.int64], start_s: Array,
        end_s: Array, identities: Sequence[Identity], total_s: float,
    ) -> None:  # fmt: skip
        self.recording, self.state = recording, state
        self.start_s, self.end_s = start_s, end_s
        self.identities = [tuple(int(c) for c in one) for one in identities]
        self.total_s = float(total_s)

    @classmethod
    def from_intervals(
        cls, intervals: Sequence[Interval], offsets: Sequence[int], dt_s: float, total_s: float
    ) -> Occurrences:
        """Return the occurrences of intervals, their states numbered by first appearance.

        Parameters
        ----------
        offsets : sequence of int
            Steps before each recording.
        """
        numbers: dict[Identity, int] = {}
        state = [numbers.setdefault(one.state, len(numbers)) for one in intervals]
        begin = np.asarray([offsets[o.recording] + o.begin for o in intervals], dtype=np.int64)
        end = np.asarray([offsets[o.recording] + o.end for o in intervals], dtype=np.int64)
        return cls(
            np.asarray([o.recording for o in intervals], dtype=np.int64),
            np.asarray(state, dtype=np.int64), np.asarray(begin * dt_s, float),
            np.asarray(end * dt_s, float), list(numbers), total_s,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.state)

    def window(self, t_from: float | None, t_to: float | None) -> NDArray[np.bool_]:
        """Return which occurrences start in a window."""
        begin, end = swapped_window(t_from, t_to, self.total_s)
        return (self.start_s >= begin) & (self.start_s <= end)

    def window_s(self, t_from: float | None, t_to: float | None) -> float:
        """Return the observed time (s) of a window."""
        begin, end = swapped_window(t_from, t_to, self.total_s)
        return min(end, self.total_s) - max(begin, 0.0)

    def present(self, t_from: float | None = None, t_to: float | None = None) -> NDArray[np.int64]:
        """Return the states that occur in a window, by number."""
        return np.unique(self.state[self.window(t_from, t_to)])

    def attractor(
        self, idx: int, t_from: float | None = None, t_to: float | None = None
    ) -> Attractor:
        """Return a state with its occurrences in a window."""
        chosen = self.window(t_from, t_to) & (self.state == idx)
        return Attractor(
            idx, self.identities[idx], self.recording[chosen], self.start_s[chosen],
            self.end_s[chosen],
        )  # fmt: skip

    def transition_counts(
        self, t_from: float | None = None, t_to: float | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return states, counts (n, n) of one following another, and occurrences (n,).

        Consecutive kept occurrences of one recording; what was dropped between them does not
        matter, so that a state can follow itself.
        """
        chosen = np.flatnonzero(self.window(t_from, t_to))
        present = np.unique(self.state[chosen])
        place = np.searchsorted(present, self.state[chosen])
        counts = np.zeros((len(present), len(present)), dtype=np.int64)
        same = self.recording[chosen][1:] == self.recording[chosen][:-1]
        np.add.at(counts, (place[:-1][same], place[1:][same]), 1)
        return present, counts, np.bincount(place, minlength=len(present))

    def transition_matrix(
        self, t_from: float | None = None, t_to: float | None = None,
        normalize: str = "occurrences",
    ) -> Array:  # fmt: skip
        """Return transition probabilities, rows and columns by state number.

        Parameters
        ----------
        normalize : {"occurrences", "outgoing"}
            Divide by the occurrences of the first state (the last one of a recording has no
            successor, so that rows may sum to less than 1), or by its transitions.
        """
        if normalize not in ("occurrences", "outgoing"):
            raise ValueError(f"normalize {normalize!r} is unknown; use occurrences or outgoing")
        _, counts, occurrences = self.transition_counts(t_from, t_to)
        below = occurrences if normalize == "occurrences" else counts.sum(axis=1)
        matrix: Array = counts / np.maximum(below, 1)[:, np.newaxis]
        return matrix

    def unique_until(self, t_ms: float) -> int:
        """Return how many states have occurred until a time (ms)."""
        return len(np.unique(self.state[self.start_s * 1e3 <= t_ms]))

    def transition_density_until(self, t_ms: float) -> float:
        """Return the ordered pairs that have followed each other by a time, over n^2."""
        chosen = np.flatnonzero(self.start_s * 1e3 <= t_ms)
        n = len(np.unique(self.state[chosen]))
        same = self.recording[chosen][1:] == self.recording[chosen][:-1]
        state = self.state[chosen]
        pairs = np.stack([state[:-1][same], state[1:][same]], axis=1)
        return len(np.unique(pairs, axis=0)) / n**2 if n and len(pairs) else 0.0
