"""What a training run records at its checkpoints, and what a whole run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line import chance
from bridge.lateral_line.decoding import decoder_errors_cm
from bridge.lateral_line.field import neuromasts, noise_factor
from bridge.lateral_line.map_quality import MapQuality, TuningWidth, stabilisation_time_s
from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.streams import TestStimulus
from bridge.lateral_line.tuning import multimodality
from bridge.lateral_line.wiring import Wiring

Array = NDArray[np.float64]
Spikes = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Cell and step of each spike."""

SHOWN_CELLS = 400
"""Cells of each layer, at most, whose spikes at the end of training are kept and drawn."""

N_TRACKED = 24


def shown_every(n_cells: int) -> int:
    """Return that every so many cells of a layer are shown: evenly over the body, at most 400."""
    return -(-n_cells // SHOWN_CELLS)


def tracked_synapses(params: NetworkParams, n_synapses: int) -> NDArray[np.int64]:
    """Return the MON to TS synapses whose weights are followed."""
    rng = chance.published_rng(params.seed, chance.TRACKED_SYNAPSES)
    return rng.choice(n_synapses, size=min(N_TRACKED, n_synapses), replace=False)


@dataclass(kw_only=True)
class TrainingRecord:
    """Series over training; grows with the number of checkpoints and trials, not with spikes.

    Attributes
    ----------
    t_s, w_mean, w_std, w_mean_abs_delta, w_frac_moved : list of float
        At the checkpoints, the start included; `w_frac_moved` counts changes above 1e-3.
    tracked : list of float64 arrays
        Weights of some synapses at the same times.
    rate_t_s, ts_rate_hz : list of float
        Mean rate of TS since the checkpoint before.
    pv_t_s, pv_sigma_theta, pv_delta_trial, pv_valid : list of float
        Map quality in training.
    trial_rates_hz : list of [LL, MON, TS]
        Mean rates of each trial, Hz per cell.
    """

    t_s: list[float] = field(default_factory=list)
    w_mean: list[float] = field(default_factory=list)
    w_std: list[float] = field(default_factory=list)
    w_mean_abs_delta: list[float] = field(default_factory=list)
    w_frac_moved: list[float] = field(default_factory=list)
    tracked: list[Array] = field(default_factory=list)
    rate_t_s: list[float] = field(default_factory=list)
    ts_rate_hz: list[float] = field(default_factory=list)
    pv_t_s: list[float] = field(default_factory=list)
    pv_sigma_theta: list[float] = field(default_factory=list)
    pv_delta_trial: list[float] = field(default_factory=list)
    pv_valid: list[float] = field(default_factory=list)
    trial_rates_hz: list[list[float]] = field(default_factory=list)

    def add_weights(self, t_s: float, w: Array, w_before: Array, tracked: NDArray) -> None:
        """Add the weight statistics of a checkpoint."""
        change = np.abs(w - w_before)
        self.t_s.append(t_s)
        self.w_mean.append(float(w.mean()) if w.size else float("nan"))
        self.w_std.append(float(w.std()) if w.size else float("nan"))
        self.w_mean_abs_delta.append(float(change.mean()) if w.size else 0.0)
        self.w_frac_moved.append(float((change > 1e-3).mean()) if w.size else 0.0)
        self.tracked.append(np.asarray(w[tracked], dtype=np.float64))

    @property
    def stabilisation_s(self) -> float | None:
        """When the mean weight settled; None if it did not, or never moved."""
        moved = bool(self.w_mean_abs_delta) and self.w_mean_abs_delta[-1] > 0
        return stabilisation_time_s(self.t_s, self.w_mean) if moved else None

    def to_arrays(self) -> dict[str, Array]:
        """Return the series under their published names."""
        named = {published: getattr(self, own) for own, published in _PUBLISHED.items()}
        return {name: np.asarray(series, dtype=np.float64) for name, series in named.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> TrainingRecord:
        """Return the record that :meth:`to_arrays` wrote."""
        found = cls()
        for own, published in _PUBLISHED.items():
            array = np.asarray(arrays[published], dtype=np.float64)
            setattr(found, own, list(array) if own == "tracked" else array.tolist())
        return found


_PUBLISHED = {
    "t_s": "checkpoint_t_s",
    "w_mean": "w_mean_series",
    "w_std": "w_std_series",
    "tracked": "tracked_weight_series",
    "w_mean_abs_delta": "w_mean_abs_delta_series",
    "w_frac_moved": "w_frac_delta_gt_1e3_series",
    "rate_t_s": "ts_ckpt_rate_t_s",
    "ts_rate_hz": "ts_ckpt_rate_series",
    "pv_t_s": "pv_ckpt_t_s",
    "pv_sigma_theta": "pv_sigma_theta_series",
    "pv_delta_trial": "pv_delta_trial_series",
    "pv_valid": "pv_valid_fraction_series",
    "trial_rates_hz": "trial_rates_hz",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class TestOutcome:
    """The test of a network.

    Attributes
    ----------
    stimulus : TestStimulus
    spikes : dict of str to (cell, step)
        Of ``ll``, ``mon``, ``ts``; steps from the start of the test.
    quality : dict of str to MapQuality
        ``ts`` and ``ll`` as published; ``ts_body``, ``mon_body``, ``ll_body``: angle referred to
        the body.
    floor_rad : float
        What a perfect map of the body scores over this path.
    place_error_cm : dict of str to float
        Of ``ll``, ``mon``, ``ts``: :func:`bridge.lateral_line.decoding.place_error_cm`.
    rate_hz : dict of str to float
        Mean rates, Hz per cell.
    widths : dict of str to TuningWidth
        Of ``ll``, ``mon``, ``ts``.
    """

    __test__ = False

    stimulus: TestStimulus
    spikes: dict[str, Spikes]
    quality: dict[str, MapQuality]
    floor_rad: float
    place_error_cm: dict[str, float]
    rate_hz: dict[str, float]
    widths: dict[str, TuningWidth]

    @property
    def usable(self) -> bool:
        """Whether the scores of TS mean something, over the path and over the body."""
        return self.quality["ts"].usable and self.quality["ts_body"].usable

    def to_json(self) -> dict[str, Any]:
        """Return the numbers of the test."""
        ts, ll, body = (self.quality[name] for name in ("ts", "ll", "ts_body"))
        return {
            "sigma_theta_rad": ts.sigma_theta_rad,
            "valid_fraction": ts.valid_fraction,
            "delta_trial_rad": ts.delta_trial_rad,
            "sigma_theta_ll_rad": ll.sigma_theta_rad,
            "delta_trial_ll_rad": ll.delta_trial_rad,
            "sigma_theta_body_rad": body.sigma_theta_rad,
            "delta_trial_body_rad": body.delta_trial_rad,
            # Of the steps at the body: the path goes on beyond its ends.
            "valid_fraction_body": body.valid_in_window,
            "valid_in_window": ts.valid_in_window,
            "silent": ts.silent,
            "usable": self.usable,
            "sigma_theta_floor_rad": self.floor_rad,
            **{f"position_error_{k}_cm": v for k, v in self.place_error_cm.items()},
            **{f"rate_test_{k}_hz": v for k, v in self.rate_hz.items()},
            **{f"sigma_w_{name}_cm": self.widths[name].mean_cm for name in ("ll", "mon", "ts")},
            **{f"n_spikes_test_{name}": len(self.spikes[name][0]) for name in self.spikes},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Tail:
    """The end of training: what the figures show of it.

    Attributes
    ----------
    begin_step : int
        Step of training at which it begins.
    n_steps : int
    spikes : dict of str to (cell, step)
        Of ``ll``, ``mon``, ``ts``, every `shown_every` cells of each; steps from `begin_step`.
    counts : dict of str to int32 array, shape (n_steps,)
        Spikes of all cells of a layer in each step: population rates come from these.
    """

    begin_step: int
    n_steps: int
    spikes: dict[str, Spikes]
    counts: dict[str, NDArray[np.int32]]


def no_tail(begin_step: int) -> Tail:
    """Return an empty end of training that begins here."""
    nothing = np.empty(0, dtype=np.int64)
    return Tail(
        begin_step=begin_step, n_steps=0,
        spikes=dict.fromkeys(("ll", "mon", "ts"), (nothing, nothing)),
        counts=dict.fromkeys(("ll", "mon", "ts"), np.empty(0, dtype=np.int32)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class RepeatedTest:
    """One of several tests of a network: its numbers and spikes."""

    numbers: dict[str, Any]
    spikes: dict[str, Spikes]


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedResult:
    """A trained (or loaded) network and its test.

    `repeats` are the tests with other noise, the first one (`test`) included; empty without any.
    """

    params: NetworkParams
    wiring: Wiring
    record: TrainingRecord
    tail: Tail
    mon_ts_w_before: Array
    ll_mon_w_before_mv: Array
    mon_ts_w: Array
    ll_mon_w_mv: Array
    test: TestOutcome
    seconds: dict[str, float]
    target: str
    repeats: tuple[RepeatedTest, ...] = ()

    def weight_numbers(self) -> dict[str, float]:
        """Return how the MON to TS weights moved and where they ended."""
        w, before, wmax = self.mon_ts_w, self.mon_ts_w_before, self.params.mon_ts_wmax
        change = np.abs(w - before)
        return {
            "w_mean_before": float(before.mean()),
            "w_std_before": float(before.std()),
            "w_mean": float(w.mean()),
            "w_std": float(w.std()),
            "w_mean_abs_delta": float(change.mean()),
            "w_frac_moved": float((change > 1e-3).mean()),
            "w_frac_at_wmax": float(np.isclose(w, wmax).mean()),
            "w_frac_at_zero": float(np.isclose(w, 0.0).mean()),
            "ll_mon_w_mean_mv": float(self.ll_mon_w_mv.mean()),
            "ll_mon_w_mean_abs_delta_mv": float(
                np.abs(self.ll_mon_w_mv - self.ll_mon_w_before_mv).mean()
            ),
        }

    def mean_test_rate_hz(self, layer: str) -> float:
        """Return the mean rate (Hz per cell) of a layer in the tests."""
        if not self.repeats:
            return self.test.rate_hz[layer]
        rates = [one.numbers[f"rate_test_{layer}_hz"] for one in self.repeats]
        return float(np.mean(rates))

    def mean_rates_hz(self) -> dict[str, float]:
        """Return mean rates (Hz per cell) in training; NaN without training."""
        rates = np.asarray(self.record.trial_rates_hz, dtype=np.float64)
        means = rates.mean(axis=0) if len(rates) else np.full(3, np.nan)
        return dict(zip(("ll", "mon", "ts"), map(float, means), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return every number of a seed."""
        p = self.params
        return {
            "seed": p.seed,
            "plastic": p.plastic,
            "trained": bool(self.record.trial_rates_hz),
            "distance_cm": p.distance_cm,
            "test_ll_noise_hz": p.test_ll_noise_hz,
            **self.test.to_json(),
            **({"repeats": self._repeats()} if self.repeats else {}),
            **{f"mean_rate_{k}_train_hz": v for k, v in self.mean_rates_hz().items()},
            **self.weight_numbers(),
            "stabilisation_s": self.record.stabilisation_s,
            "ts_tuning": multimodality(p, self.wiring, self.ll_mon_w_mv, self.mon_ts_w).to_json(),
            "n_training_trials": p.n_training_trials,
            # Of a control, those at the end of training that were run.
            "n_trials_run": len(self.record.trial_rates_hz),
            "noise_jitter": noise_factor(neuromasts(p.n_ll, p.ll_body_length_cm))[1],
            "codegen": self.target,
            **{f"{k}_s": v for k, v in self.seconds.items()},
        }

    def _repeats(self) -> list[dict[str, Any]]:
        """Return the numbers of each test, with the errors of decoders fitted to the others."""
        p, x_cm = self.params, self.test.stimulus.x_cm
        sizes = {"ll": p.n_ll, "mon": p.n_mon, "ts": p.n_ts}
        errors = {
            f"decoder_error_{name}_cm": decoder_errors_cm(
                [one.spikes[name] for one in self.repeats], n_cells=n, x_cm=x_cm, dt_s=p.dt_s
            )
            for name, n in sizes.items()
        }  # fmt: skip
        return [
            {"repeat": k, **one.numbers, **{name: found[k] for name, found in errors.items()}}
            for k, one in enumerate(self.repeats)
        ]
