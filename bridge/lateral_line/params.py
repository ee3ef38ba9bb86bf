"""All parameters of a run in one object, checked against each other; the presets.

What is called a preset here is typed as ``--mode``, as in the published program, and stands under
``mode`` in params.json and in the sidecar of a weight file, whose names are published, too. In
config.json, whose ``mode`` is the command, it stands under ``preset``.
"""

from __future__ import annotations

import dataclasses
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
        "checkpoint_trials": 4, "checkpoint_save_every_n_checkpoints": 2, "mon_to_ts_sigma": 2.7,
        "ts_lateral_radius": 5, "mon_to_global_inh_p": 0.12, "ts_to_global_inh_p": 0.30,
        "mon_ts_gain_mV": 110.0, "ll_to_mon_topography_strength": 0.5,
        "mon_to_ts_topography_strength": 0.5,
    },
    # As published: three inputs of 7 to 10 mV leave every MON cell below threshold.
    "ll_fast_literal": {
        "n_mon": 800, "n_ts": 80, "trial_duration_s": 0.8, "n_training_trials": 40,
        "checkpoint_trials": 10, "checkpoint_save_every_n_checkpoints": 1,
        "pv_window": "checkpoint",
    },
}  # fmt: skip
"""What each preset changes of the defaults."""

MIN_SPEED_CM_S = 0.1
"""Speed below which no sphere of a test moves; a constant of the published model."""
MARGIN_CM = 0.5
"""How far before the body the sphere of a test starts; a constant of the published model."""

MAX_VALUES = 200_000_000
"""Numbers that any array of a run may hold (1.6 GB)."""
MAX_STEPS = 2**31 - 1
"""Steps of a training: they are stored in 32 bits."""

_LEARNING = (
    "ll_mon_apre", "ll_mon_apost", "ll_mon_homeo_eta", "mon_ts_apre", "mon_ts_apost",
    "mon_ts_homeo_eta",
)  # fmt: skip
"""Everything that moves weights."""


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
        self._check_load()

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
        window, shown = (self.eval_x_min_cm, self.eval_x_max_cm), self.test_range_cm
        if (window[0] is None) != (window[1] is None):
            raise ValueError("--eval-x-min and --eval-x-max belong together: give both or neither")
        if window[0] is not None and window[1] is not None and window[0] >= window[1]:
            raise ValueError(f"--eval-x-max {window[1]:g} must be above --eval-x-min {window[0]:g}")
        inside = self.eval_window_cm
        if inside is not None and (inside[1] <= shown[0] or inside[0] >= shown[1]):
            raise ValueError(
                f"--eval-x-min {inside[0]:g} to --eval-x-max {inside[1]:g} cm lies off the path of "
                f"the test, which goes from {shown[0]:g} to {shown[1]:g} cm"
            )
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
        for init, jitter, wmax, flags, learns in (
            (self.mon_ts_w_init, self.mon_ts_w_jitter, self.mon_ts_wmax,
             ("--mon-ts-w-init", "--mon-ts-w-jitter", "--mon-ts-wmax"), True),
            (self.ll_mon_w_init_mV, self.ll_mon_w_jitter_stdp_mV, self.ll_mon_wmax_mV,
             ("--ll-mon-w-init-mv", "--ll-mon-w-jitter-stdp-mv", "--ll-mon-wmax-mv"),
             self.ll_mon_use_stdp),
        ):  # fmt: skip
            # Learning clips at once what a control keeps: they would be two networks.
            if learns and init + jitter > wmax * (1.0 + 1e-9):
                raise ValueError(
                    f"{flags[0]} {init:g} plus {flags[1]} {jitter:g} is above the ceiling "
                    f"({flags[2]} {wmax:g})"
                )
        if self.keep_ll_mon_stdp_during_test and not self.ll_mon_use_stdp:
            raise ValueError("--keep-ll-mon-stdp-during-test needs --use-ll-mon-stdp")

    def _check_load(self) -> None:
        """Refuse what no memory holds, before anything is allocated."""
        steps, rate = self.run_steps, 1.0 / self.dt_s
        for flag, hz in (
            ("--bg-rate-mon-hz", self.bg_rate_mon_hz), ("--bg-rate-ts-hz", self.bg_rate_ts_hz),
        ):  # fmt: skip
            if hz > rate * (1.0 + 1e-9):  # 1 / dt_s is rounded
                raise ValueError(f"{flag} {hz:g} is more than a spike per step ({rate:g} Hz)")
        if self.n_training_trials * self.trial_steps > MAX_STEPS:
            raise ValueError(
                f"--n-training-trials {self.n_training_trials} of --trial-duration-s "
                f"{self.trial_duration_s:g} are more than {MAX_STEPS} steps"
            )
        dense = self.ll_to_mon_topography_strength <= 0
        per_mon = self.mon_to_ts_out_degree + (self.n_ll if dense else self.ll_to_mon_in_degree)
        n_kept = -(-steps // self.trial_steps) // self.checkpoint_trials + 1
        of_test = self.test_s / self.dt_s
        in_run = "--trial-duration-s, --checkpoint-save-every-n, --checkpoint-trials"
        for what, n, flags in (
            ("training positions", self.n_training_trials * self.trial_steps / self.hold_steps,
             "--n-training-trials, --trial-duration-s or a longer --training-position-hold-s"),
            ("synapses", self.n_mon * per_mon,
             "--n-mon, --mon-ts-out-degree, --ll-mon-in-degree (or --ll-mon-topo above 0)"),
            ("weights that are recorded from one saved state to the next",
             n_kept * self.n_mon * per_mon, "--n-mon, --checkpoint-save-every-n"),
            ("rates of the afferents from one saved state to the next", steps * self.n_ll,
             f"--n-ll, {in_run}"),
            ("rates of the afferents in the test", of_test * self.n_ll,
             "--n-ll, --test-path-cm or a larger --speed-cm-s"),
            ("background spikes from one saved state to the next", max(steps, of_test) * self.dt_s
             * (self.n_mon * self.bg_rate_mon_hz + self.n_ts * self.bg_rate_ts_hz),
             f"--bg-rate-mon-hz, --bg-rate-ts-hz, --n-mon, --n-ts, {in_run}"),
        ):  # fmt: skip
            if n > MAX_VALUES:
                raise ValueError(
                    f"this run has {n:.3g} {what}; at most {MAX_VALUES:.3g} are allowed (use a "
                    f"smaller {flags})"
                )

    @property
    def plastic(self) -> bool:
        """Whether any weight can move."""
        return any(
            getattr(self, name) for name in _LEARNING
            if self.ll_mon_use_stdp or name.startswith("mon_ts")
        )  # fmt: skip

    def without_plasticity(self) -> NetworkParams:
        """Return the same network with every increment and every rate of homeostasis at 0."""
        still: dict[str, Any] = dict.fromkeys(_LEARNING, 0.0)
        return dataclasses.replace(self, **still)

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
    def run_steps(self) -> int:
        """Steps of the longest compiled run of a training."""
        return min(self.save_trials, self.n_training_trials) * self.trial_steps

    @property
    def test_speed_cm_s(self) -> float:
        """Speed of the sphere in the sweep of the test."""
        return max(MIN_SPEED_CM_S, self.speed_cm_s)

    @property
    def test_s(self) -> float:
        """Length of the test: what the sphere needs for the path."""
        held = self.test_using_held_snapshots
        return self.test_path_cm / (self.speed_cm_s if held else self.test_speed_cm_s)

    @property
    def test_range_cm(self) -> tuple[float, float]:
        """Positions between which the sphere is in the test."""
        length = self.ll_body_length_cm
        if self.test_using_held_snapshots:
            n_shown = -(-max(1, round(self.test_s / self.dt_s)) // self.hold_steps)
            if self.held_test_spread or n_shown >= self.n_ll or not self.training_ordered_sweeps:
                return 0.0, length
            return 0.0, length * (n_shown - 1) / (self.n_ll - 1)
        if self.direction < 0:
            return length + MARGIN_CM - self.test_path_cm, length + MARGIN_CM
        return -MARGIN_CM, self.test_path_cm - MARGIN_CM

    @property
    def eval_window_cm(self) -> tuple[float, float] | None:
        """Window of the evaluation, None for all."""
        if self.eval_x_min_cm is None or self.eval_x_max_cm is None:
            return None
        return self.eval_x_min_cm, self.eval_x_max_cm

    def to_json(self) -> dict[str, Any]:
        """Return all fields as a flat dictionary."""
        return asdict(self)


def preset(name: str, seed: int = 123, **overrides: Any) -> NetworkParams:
    """Return the parameters of a preset with some of them changed.

    Raises
    ------
    ValueError
        For an unknown preset, or parameters that contradict each other.
    """
    if name not in PRESETS:
        raise ValueError(f"--mode {name} is unknown; legal are {', '.join(PRESETS)}")
    return NetworkParams(**{**PRESETS[name], "seed": seed, **overrides})


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
