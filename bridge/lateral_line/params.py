"""All parameters of a run in one object, checked against each other; the presets of the modes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bridge.lateral_line.options import (
    CellOptions,
    InhibitionOptions,
    LayerOptions,
    LLMonOptions,
    MapOptions,
    MonTsOptions,
    StimulusOptions,
)
from bridge.runs.options import option

_THESIS: dict[str, Any] = {
    "n_mon": 3200, "n_ts": 300, "trial_duration_s": 1.2, "n_training_trials": 1000,
    "checkpoint_trials": 5, "training_fixed_distance": False, "training_distance_max_cm": 0.8,
    "distance_cm": 0.8, "test_path_cm": 5.0, "ll_to_mon_in_degree": 10,
    "ll_to_mon_topography_strength": 0.08, "ll_mon_w_mean_mV": 11.5, "mon_to_ts_sigma": 10.0,
    "mon_to_ts_topography_strength": 0.08, "mon_ts_apre": 0.01, "mon_ts_apost": -0.006,
    "mon_ts_wmax": 0.028, "mon_ts_w_jitter": 0.005, "mon_ts_gain_mV": 72.0,
    "mon_to_global_inh_p": 0.03, "global_inh_to_mon_mV": 1.15, "ts_lateral_radius": 18,
    "ts_local_inh_peak_mV": 0.9, "use_ts_feedback_inh": True, "ts_to_global_inh_p": 0.08,
    "ts_to_global_inh_drive_mV": 0.25, "global_inh_to_ts_mV": 0.2, "bg_rate_ts_hz": 20.0,
    "bg_w_ts_mV": 0.85,
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "ll_thesis": _THESIS,
    # The thesis network at a quarter of its size, with the same number of contacts per cell.
    "ll_fast": _THESIS | {
        "n_mon": 800, "n_ts": 80, "trial_duration_s": 0.8, "n_training_trials": 40,
        "checkpoint_trials": 4, "mon_to_ts_sigma": 2.7, "ts_lateral_radius": 5,
        "mon_to_global_inh_p": 0.12, "ts_to_global_inh_p": 0.30, "mon_ts_gain_mV": 110.0,
        "ll_to_mon_topography_strength": 0.5, "mon_to_ts_topography_strength": 0.5,
    },
    # As published: three inputs of 7 to 10 mV leave every MON cell below threshold.
    "ll_fast_literal": {
        "n_mon": 800, "n_ts": 80, "trial_duration_s": 0.8, "n_training_trials": 40,
        "checkpoint_trials": 10,
    },
}  # fmt: skip
"""What each mode changes of the defaults."""


@dataclass(frozen=True, kw_only=True)
class NetworkParams(
    MapOptions, CellOptions, InhibitionOptions, MonTsOptions, LLMonOptions, StimulusOptions,
    LayerOptions,
):  # fmt: skip
    """Every parameter of one run, flat; its fields are those of the option groups and the seed."""

    seed: int = option(123, "master seed", flag="seed-start", at_least=0, at_most=2**31 - 1)

    def __post_init__(self) -> None:
        """Check the values against each other.

        Raises
        ------
        ValueError
            Naming the flags and the legal values.
        """
        super().__post_init__()
        self._check_sizes()
        self._check_stimulus()
        self._check_cells()

    def _check_sizes(self) -> None:
        if self.mon_to_ts_out_degree > self.n_ts:
            raise ValueError(
                f"--mon-ts-out-degree {self.mon_to_ts_out_degree} is more than the {self.n_ts} TS "
                "cells; use at most --n-ts"
            )
        if self.ll_to_mon_in_degree > self.n_ll:
            raise ValueError(
                f"--ll-mon-in-degree {self.ll_to_mon_in_degree} is more than the {self.n_ll} "
                "afferents; use at most --n-ll"
            )
        if self.trial_steps < 1:
            raise ValueError(
                f"--trial-duration-s {self.trial_duration_s:g} is shorter than a step "
                f"(--dt-s {self.dt_s:g})"
            )

    def _check_stimulus(self) -> None:
        low, high = self.training_distance_min_cm, self.training_distance_max_cm
        if low > high:
            raise ValueError(
                f"--training-distance-min-cm {low:g} is above --training-distance-max-cm {high:g}"
            )
        window = (self.eval_x_min_cm, self.eval_x_max_cm)
        if (window[0] is None) != (window[1] is None):
            raise ValueError("--eval-x-min and --eval-x-max belong together: give both or neither")
        if window[0] is not None and window[1] is not None and window[0] >= window[1]:
            raise ValueError(f"--eval-x-max {window[1]:g} must be above --eval-x-min {window[0]:g}")
        if self.held_test_spread and not self.test_using_held_snapshots:
            raise ValueError("--held-test-spread applies to --test-using-held-snapshots only")

    def _check_cells(self) -> None:
        if self.vreset_mV >= self.vth_mV or self.el_mV >= self.vth_mV:
            raise ValueError(
                f"--vreset-mv {self.vreset_mV:g} and --el-mv {self.el_mV:g} must lie below "
                f"--vth-mv {self.vth_mV:g}"
            )
        for flag, tau_ms in (("--tau-m-ms", self.tau_m_ms), ("--tau-s-ms", self.tau_s_ms)):
            if self.dt_s * 1000 >= tau_ms:
                raise ValueError(
                    f"--dt-s {self.dt_s:g} ({self.dt_s * 1000:g} ms) must be below {flag} "
                    f"{tau_ms:g}: the integration would not be stable"
                )
        if self.keep_ll_mon_stdp_during_test and not self.ll_mon_use_stdp:
            raise ValueError("--keep-ll-mon-stdp-during-test needs --use-ll-mon-stdp")

    @property
    def trial_steps(self) -> int:
        """Steps of a trial."""
        return round(self.trial_duration_s / self.dt_s)

    @property
    def hold_steps(self) -> int:
        """Steps for which a training position is held."""
        return max(1, round(self.training_position_hold_s / self.dt_s))

    @property
    def save_trials(self) -> int:
        """Trials from one state on disk to the next: the length of one compiled run."""
        return self.checkpoint_trials * self.checkpoint_save_every_n_checkpoints

    @property
    def eval_window_cm(self) -> tuple[float, float] | None:
        """Window of the evaluation, None for all."""
        if self.eval_x_min_cm is None or self.eval_x_max_cm is None:
            return None
        return self.eval_x_min_cm, self.eval_x_max_cm

    def to_json(self) -> dict[str, Any]:
        """Return all fields as a flat dictionary."""
        return asdict(self)


def preset(mode: str, seed: int = 123, **overrides: Any) -> NetworkParams:
    """Return the parameters of a mode with some of them changed.

    Raises
    ------
    ValueError
        For an unknown mode, or parameters that contradict each other.
    """
    if mode not in PRESETS:
        raise ValueError(f"--mode {mode} is unknown; legal are {', '.join(PRESETS)}")
    return NetworkParams(**{**PRESETS[mode], "seed": seed, **overrides})


def from_json(mapping: Mapping[str, Any]) -> NetworkParams:
    """Return the parameters that :meth:`NetworkParams.to_json` wrote.

    Raises
    ------
    ValueError
        If a field is unknown.
    """
    known = NetworkParams.__dataclass_fields__
    unknown = sorted(set(mapping) - set(known))
    if unknown:
        raise ValueError(f"unknown network parameters: {', '.join(unknown)}")
    return NetworkParams(**mapping)
