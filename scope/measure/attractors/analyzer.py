"""`Analyzer`: from saved spikes to attractor statistics, and back from a saved analysis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.files.reading import LIMIT_VARIABLE, in_words, limit_bytes
from scope.measure.attractors.activity import (
    KERNELS,
    RULES,
    Bools,
    activity_threshold,
    check_labels,
    on_durations_ms,
    population_counts,
    smoothed_rates,
    state_intervals,
)
from scope.measure.attractors.attractors import Attractor, Identity, Occurrences
from scope.measure.attractors.recordings import collect, read_labels
from scope.measure.attractors.saved_analysis import load_saved, save_analysis

Array = NDArray[np.float64]


class Analyzer:
    """Attractor statistics of clustered networks.

    Parameters
    ----------
    spikes : path, array, SpikeEvents, or a list of them
        A file of spikes, a folder of them (each one recording, by the number in the name), or
        spikes in memory: dense (T, N), or events.
    clusters : path or int array (N,), optional
        Population of each neuron, from 1; default the file's own, or ``clusters.npy`` beside the
        folder.
    dt : float, s
    n_excitatory_clusters : int or None
        Only the first so many populations make up the states; None for all of them.
    kernel, kernel_ms
        See :func:`scope.measure.attractors.activity.smoothed_rates`.
    minimal_life_span_ms : float
        Shorter stretches of a state are dropped.
    threshold_rule : {"two_means", "update_then_stop", "stop_before_update"}
        See :func:`scope.measure.attractors.activity.activity_threshold`.
    counts : int array (P, T) or list of them, optional
        Spikes of each population in each step, in place of `spikes`; needs `sizes`.
    sizes : int array (P,), optional
        Neurons of each population.

    Raises
    ------
    FileNotFoundError, ValueError
        For missing files, labels that differ or do not fit, unknown rules.
    """

    def __init__(
        self,
        spikes: Any = None,
        clusters: Any = None,
        dt: float = 0.0005,
        n_excitatory_clusters: int | None = None,
        *,
        kernel: str = "gaussian",
        kernel_ms: float = 10.0,
        minimal_life_span_ms: float = 20.0,
        threshold_rule: str = "two_means",
        counts: Any = None,
        sizes: ArrayLike | None = None,
    ) -> None:
        if not (np.isfinite(dt) and dt > 0):
            raise ValueError(f"dt = {dt:g} s must be a positive number")
        if threshold_rule not in RULES:
            raise ValueError(
                f"threshold rule {threshold_rule!r} is unknown; use {', '.join(RULES)}"
            )
        if kernel not in KERNELS:
            raise ValueError(f"kernel {kernel!r} is unknown; use {', '.join(KERNELS)}")
        if not 0 <= minimal_life_span_ms < np.inf:
            raise ValueError(
                f"minimal_life_span_ms = {minimal_life_span_ms:g} must be a number >= 0"
            )
        self.dt = float(dt)
        self.settings: dict[str, Any] = {
            "kernel": kernel, "kernel_ms": float(kernel_ms),
            "minimal_life_span_ms": float(minimal_life_span_ms), "threshold_rule": threshold_rule,
            "n_excitatory_clusters": n_excitatory_clusters,
        }  # fmt: skip
        self.spikes_path = str(spikes) if isinstance(spikes, str | Path) else None
        self.clusters_path = str(clusters) if isinstance(clusters, str | Path) else None
        if (spikes is None) == (counts is None):
            raise ValueError("give spikes, or counts of each population")
        if counts is not None:
            self._from_counts(counts, sizes)
        else:
            self._from_spikes(spikes, clusters)
        n = n_excitatory_clusters
        if n is not None and not 1 <= n <= len(self.sizes):
            raise ValueError(
                f"n_excitatory_clusters = {n} must be 1 to {len(self.sizes)}, the populations"
            )
        self._used = slice(None) if n is None else slice(0, n)
        self._analyse()

    def _from_counts(self, counts: Any, sizes: ArrayLike | None) -> None:
        if sizes is None:
            raise ValueError("counts need sizes, the neurons of each population")
        self.sizes = np.asarray(sizes, dtype=np.int64)
        alone = isinstance(counts, np.ndarray) and counts.ndim == 2
        arrays = [counts] if alone else list(counts)
        self._counts = [np.asarray(one) for one in arrays]
        for one in self._counts:
            if one.ndim != 2 or len(one) != len(self.sizes):
                raise ValueError(
                    f"counts have the shape {one.shape}; they must be ({len(self.sizes)}, steps)"
                )

    def _from_spikes(self, spikes: Any, clusters: Any) -> None:
        events, labels = collect(spikes)
        if clusters is not None:
            labels = [read_labels(clusters)]
        elif not labels and self.spikes_path is not None:
            beside = Path(self.spikes_path).parent / "clusters.npy"
            if beside.is_file():
                labels = [read_labels(beside)]
        if not labels:
            raise ValueError("no cluster labels: give clusters, or files that hold them")
        shared = check_labels(labels)
        for one in events:
            if one.n_neurons != len(shared):
                raise ValueError(
                    f"spikes of {one.n_neurons} neurons do not fit {len(shared)} cluster labels"
                )
        self.sizes = np.bincount(shared, minlength=int(shared.max()) + 1)[1:]
        n_bytes = 8 * len(self.sizes) * sum(one.n_steps for one in events)
        if n_bytes > limit_bytes():
            raise ValueError(
                f"spikes of {len(self.sizes)} populations in {sum(one.n_steps for one in events)} "
                f"steps take {in_words(n_bytes)}; at most {in_words(limit_bytes())} are analysed "
                f"({LIMIT_VARIABLE})"
            )
        self._counts = [
            population_counts(one.step, one.neuron, shared, one.n_steps) for one in events
        ]

    def _analyse(self) -> None:
        given = self.settings
        min_steps = max(round(given["minimal_life_span_ms"] / (self.dt * 1e3)), 1)
        self.n_steps = [one.shape[1] for one in self._counts]
        offsets = np.concatenate([[0], np.cumsum(self.n_steps)])
        self.thresholds_hz: list[Array] = []
        intervals = []
        self._active_s = np.zeros(len(self.sizes[self._used]))
        for k in range(len(self._counts)):
            active = self._activity(k)
            intervals += state_intervals(active, recording=k, min_steps=min_steps)
            self._active_s += active.sum(axis=1) * self.dt
        total_s = float(offsets[-1]) * self.dt
        self.occurrences = Occurrences.from_intervals(intervals, offsets.tolist(), self.dt, total_s)

    def _activity(self, k: int) -> Bools:
        rates = self.get_rates(k)[self._used]
        if len(self.thresholds_hz) <= k:
            theta = activity_threshold(rates, self.settings["threshold_rule"])
            self.thresholds_hz.append(theta)
        active: Bools = rates > self.thresholds_hz[k][:, np.newaxis]
        return active

    @property
    def has_spikes(self) -> bool:
        """Whether rates and activity are there; a loaded analysis has statistics only."""
        return bool(self._counts)

    def _need_spikes(self) -> None:
        if not self._counts:
            raise ValueError(
                "this analysis was loaded without spikes; rates and activity need Analyzer(spikes)"
            )

    def get_rates(self, recording: int = 0) -> Array:
        """Return the smoothed rates (Hz) of all populations in a recording, shape (P, T)."""
        self._need_spikes()
        return smoothed_rates(
            self._counts[recording], self.sizes, dt_s=self.dt, kernel=self.settings["kernel"],
            kernel_ms=self.settings["kernel_ms"],
        )  # fmt: skip

    def get_activity(self, recording: int = 0) -> Bools:
        """Return which of the used populations are active, shape (P, T)."""
        self._need_spikes()
        return self._activity(recording)

    def get_mean_rates(self) -> Array:
        """Return the mean rate (Hz) of each population over all recordings, shape (P,)."""
        self._need_spikes()
        spikes = sum(one.sum(axis=1) for one in self._counts)
        mean: Array = spikes / np.maximum(self.sizes, 1) / self.occurrences.total_s
        return mean

    def get_on_durations(self) -> list[Array]:
        """Return the lengths (ms) of the active periods of each used population."""
        self._need_spikes()
        each = [on_durations_ms(self._activity(k), self.dt) for k in range(len(self._counts))]
        return [np.concatenate(parts) for parts in zip(*each, strict=True)]

    def get_active_fractions(self) -> Array:
        """Return the share of the observed time in which each used population is active."""
        self._need_spikes()
        fractions: Array = self._active_s / self.occurrences.total_s
        return fractions

    def get_activity_summary(self) -> dict[str, float]:
        """Return what the activity of the used populations looks like, all recordings together.

        ``threshold_hz`` (mean), ``active_hz``, ``inactive_hz``, ``n_active`` (mean number of
        active populations), ``on_time_ms`` (mean active period of at least the minimal life),
        ``on_time_median_ms``, ``activations_per_s`` (such periods of all populations together),
        ``separation`` (difference of the mean rates over the root mean square of both standard
        deviations; about 2.65 for one Gaussian cut in two).
        """
        self._need_spikes()
        sums = np.zeros((2, 3))  # inactive, active: number, sum, sum of squares
        for k in range(len(self._counts)):
            rates, active = self.get_rates(k)[self._used], self._activity(k)
            for which in (0, 1):
                values = rates[active == bool(which)]
                sums[which] += len(values), values.sum(), (values**2).sum()
        n = np.maximum(sums[:, 0], 1)
        mean = sums[:, 1] / n
        variance = np.maximum(sums[:, 2] / n - mean**2, 0.0)
        spread = float(np.sqrt(variance.mean()))
        long = np.concatenate(self.get_on_durations())
        long = long[long >= self.settings["minimal_life_span_ms"]]
        total_s = self.occurrences.total_s
        return {
            "threshold_hz": float(np.mean(self.thresholds_hz)),
            "active_hz": float(mean[1]),
            "inactive_hz": float(mean[0]),
            "n_active": float(sums[1, 0] / sum(self.n_steps)),
            "on_time_ms": float(long.mean()) if len(long) else float("nan"),
            "on_time_median_ms": float(np.median(long)) if len(long) else float("nan"),
            "activations_per_s": len(long) / total_s,
            "separation": float(mean[1] - mean[0]) / spread if spread > 0 else float("nan"),
        }

    # --- statistics of states; t_from and t_to in s, negative from the end -------------------

    def get_num_states(self, t_from: float | None = None, t_to: float | None = None) -> int:
        """Return how many states occur."""
        return len(self.occurrences.present(t_from, t_to))

    def get_occurrences(
        self, t_from: float | None = None, t_to: float | None = None
    ) -> NDArray[np.int64]:
        """Return how often each state occurs, by state number."""
        return self.occurrences.transition_counts(t_from, t_to)[2]

    def get_num_clusters(
        self, t_from: float | None = None, t_to: float | None = None
    ) -> NDArray[np.int64]:
        """Return how many populations are active in each state, by state number."""
        present = self.occurrences.present(t_from, t_to)
        return np.asarray([len(self.occurrences.identities[k]) for k in present], dtype=np.int64)

    def get_life_spans(
        self, t_from: float | None = None, t_to: float | None = None
    ) -> tuple[Array, Array]:
        """Return mean and (population) standard deviation of the life of each state, ms."""
        found = [
            self.occurrences.attractor(int(k), t_from, t_to).durations_ms
            for k in self.occurrences.present(t_from, t_to)
        ]
        mean = np.asarray([d.mean() for d in found]).round(4)
        return mean, np.asarray([d.std() for d in found]).round(4)

    def get_mean_lifespan(
        self, *ids: int, median: bool = False, t_from: float | None = None,
        t_to: float | None = None,
    ) -> float:  # fmt: skip
        """Return the mean (or median) life (ms) of all occurrences of some states, or of all."""
        occurrences = self.occurrences
        chosen = occurrences.window(t_from, t_to)
        if ids:
            chosen &= np.isin(occurrences.state, [self._idx(one) for one in ids])
        durations = (occurrences.end_s - occurrences.start_s)[chosen] * 1e3
        if not len(durations):
            return float("nan")
        return float(np.median(durations) if median else durations.mean())

    def get_attractor_prob(
        self, which: int | Sequence[int], t_from: float | None = None, t_to: float | None = None
    ) -> float:
        """Return the share of the observed time that a state takes."""
        state = self.occurrences.attractor(self._idx(which), t_from, t_to)
        return float(state.durations_ms.sum() / 1e3 / self.occurrences.window_s(t_from, t_to))

    def get_attractor_probs(self, t_from: float | None = None, t_to: float | None = None) -> Array:
        """Return the share of each state, by state number."""
        return np.asarray([
            self.get_attractor_prob(int(k), t_from, t_to)
            for k in self.occurrences.present(t_from, t_to)
        ])  # fmt: skip

    def get_attractor_data(
        self, *which: int | Sequence[int], t_from: float | None = None, t_to: float | None = None
    ) -> list[Attractor]:
        """Return states with their occurrences: some, by number or identity, or all."""
        numbers = [self._idx(one) for one in which] if which else [
            int(k) for k in self.occurrences.present(t_from, t_to)
        ]  # fmt: skip
        return [self.occurrences.attractor(k, t_from, t_to) for k in numbers]

    def get_attractor_idx(self, *clusters: int) -> int:
        """Return the number of the state in which exactly these populations are active."""
        return self._idx(tuple(clusters))

    def get_unique_attractors(
        self, t_from: float | None = None, t_to: float | None = None
    ) -> list[Identity]:
        """Return the active populations of each state, by state number."""
        return [self.occurrences.identities[k] for k in self.occurrences.present(t_from, t_to)]

    def get_unique_attractors_count_until_time(self, t_ms: float) -> int:
        """Return how many states have occurred until a time (ms)."""
        return self.occurrences.unique_until(t_ms)

    def get_transition_density_until_time(self, t_ms: float) -> float:
        """Return the share of ordered pairs of states that have been seen until a time (ms)."""
        return self.occurrences.transition_density_until(t_ms)

    def get_transition_matrix(
        self, t_from: float | None = None, t_to: float | None = None, *,
        normalize: str = "occurrences",
    ) -> Array:  # fmt: skip
        """Return transition probabilities; see :meth:`Occurrences.transition_matrix`."""
        return self.occurrences.transition_matrix(t_from, t_to, normalize)

    def get_sequence_probability(self, *sequence: int | Sequence[int]) -> float:
        """Return the product of the transition probabilities along a sequence of states."""
        if len(sequence) < 2:
            raise ValueError("a sequence needs at least two states")
        matrix = self.get_transition_matrix()
        numbers = [self._idx(one) for one in sequence]
        pairs = itertools.pairwise(numbers)
        return float(np.prod([matrix[a, b] for a, b in pairs]))

    def _idx(self, which: Any) -> int:
        identities = self.occurrences.identities
        if isinstance(which, int | np.integer):
            if 0 <= which < len(identities):
                return int(which)
            raise ValueError(f"there is no state {which}; states are 0 to {len(identities) - 1}")
        identity = tuple(sorted(int(c) for c in which))
        if identity not in identities:
            raise ValueError(f"no state has exactly the populations {list(identity)} active")
        return identities.index(identity)

    # --- files -------------------------------------------------------------------------------

    def save_analysis(self, folder: str | Path) -> Path:
        """Write the analysis into a folder; see :mod:`scope.measure.attractors.saved_analysis`."""
        facts: dict[str, Any] = {
            "spikes_path": self.spikes_path, "clusters_path": self.clusters_path, "dt": self.dt,
            **self.settings, "population_sizes": self.sizes.tolist(),
            "recording_steps": list(self.n_steps), "n_recordings": len(self.n_steps),
            "total_ms": self.occurrences.total_s * 1e3,
            "thresholds_hz": [theta.tolist() for theta in self.thresholds_hz],
        }  # fmt: skip
        return save_analysis(Path(folder), self.occurrences, facts)

    @classmethod
    def load_analysis(cls, folder: str | Path) -> Analyzer:
        """Return a saved analysis: every statistic works, rates and activity need the spikes.

        Raises
        ------
        FileNotFoundError, ValueError
            If the folder is incomplete or damaged; the message names the file.
        """
        occurrences, facts = load_saved(Path(folder))
        loaded = cls.__new__(cls)
        loaded.occurrences = occurrences
        loaded.dt = float(facts["dt"])
        loaded.sizes = np.asarray(facts.get("population_sizes", []), dtype=np.int64)
        loaded.n_steps = [int(n) for n in facts["recording_steps"]]
        loaded.thresholds_hz = [np.asarray(t, dtype=float) for t in facts.get("thresholds_hz", [])]
        loaded.spikes_path = facts.get("spikes_path")
        loaded.clusters_path = facts.get("clusters_path")
        names = ("kernel", "kernel_ms", "minimal_life_span_ms", "threshold_rule",
                 "n_excitatory_clusters")  # fmt: skip
        loaded.settings = {name: facts.get(name) for name in names}
        loaded._counts = []
        loaded._used = slice(None)
        return loaded
