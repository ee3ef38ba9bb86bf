"""The figures of a lateral-line run: which there are, how they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.record import SeedResult
from scope.figures.lateral_line.activity import (
    draw_drive_heatmap,
    draw_drive_winner,
    draw_spikes_vs_x,
    draw_test_phase,
    draw_transition,
    draw_tuning,
)
from scope.figures.lateral_line.summary import draw_learning_curves, draw_two_stage
from scope.figures.lateral_line.weights import (
    draw_ll_mon_weights,
    draw_receptive_fields,
    draw_weight_profile,
)
from scope.files import save_figure
from scope.style import house_style

FIGURES: dict[str, Callable[[SeedResult], Figure]] = {
    "brian2_spatial_two_stage": draw_two_stage,
    "brian2_test_phase_only": draw_test_phase,
    "brian2_learning_curves": draw_learning_curves,
    "brian2_llmon_weights": draw_ll_mon_weights,
    "brian2_ts_tuning": lambda result: draw_tuning(result, "ts", 16),
    "brian2_mon_ts_weight_profile": draw_weight_profile,
    "brian2_mon_to_ts_receptive_fields": draw_receptive_fields,
    "brian2_ts_spikes_vs_x_test": lambda result: draw_spikes_vs_x(result, "ts"),
    "brian2_mon_spikes_vs_x_test": lambda result: draw_spikes_vs_x(result, "mon"),
    "brian2_ll_spikes_vs_x_test": lambda result: draw_spikes_vs_x(result, "ll"),
    "brian2_mon_tuning_examples": lambda result: draw_tuning(result, "mon", 8),
    "brian2_mon_ts_drive_heatmap": draw_drive_heatmap,
    "brian2_mon_ts_drive_winner": draw_drive_winner,
    "brian2_ts_pop_rate_train_test_transition": draw_transition,
}
"""Every figure of a seed by the start of its file name."""

THESIS_COPIES = {
    "brian2_spatial_two_stage": "LL_THESIS_BASELINE_ACTIVE_latest.png",
    "brian2_test_phase_only": "LL_THESIS_BASELINE_TEST_ONLY_latest.png",
}
"""Further names of figures of a run of the preset `ll_thesis`."""


def figure_name(base: str, params: NetworkParams, suffix: str = "") -> str:
    """Return the file name of a figure."""
    p = params
    return f"{base}_u_{p.speed_cm_s:.1f}_nMON_{p.n_mon}_nTS_{p.n_ts}{suffix}.png"


def draw_seed(result: SeedResult, paths: Mapping[str, Path]) -> None:
    """Draw figures of a seed, each into its file; `paths` bears the names of `FIGURES`."""
    for base, path in paths.items():
        with house_style():
            figure = FIGURES[base](result)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, path)
