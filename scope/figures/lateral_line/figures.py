"""The figures of a lateral-line run: which there are, how they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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
from scope.figures.lateral_line.parts import page
from scope.figures.lateral_line.summary import draw_learning_curves, draw_two_stage
from scope.figures.lateral_line.weights import (
    draw_ll_mon_weights,
    draw_receptive_fields,
    draw_weight_profile,
)
from scope.files import save_figure
from scope.style import EXC, INH, dress, house_style, say

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


def draw_multiseed(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return map quality against the number of the seed; silent seeds are crosses."""
    with house_style():
        figure = page(9, 5)
        ax = figure.add_subplot()
        k = np.arange(len(rows))
        silent = np.array([bool(row["silent"]) for row in rows])
        for name, label, colour, marker in (
            ("sigma_theta_rad", "sigma_theta", EXC, "o"),
            ("delta_trial_rad", "delta_trial", INH, "s"),
        ):
            values = np.array([row[name] for row in rows], dtype=np.float64)
            ax.plot(k[~silent], values[~silent], marker=marker, color=colour, label=label)
            ax.plot(k[silent], values[silent], "x", color=colour)
        ax.set_xticks(k)
        ax.set_ylim(bottom=0)
        dress(ax, title=f"Map quality of {len(rows)} seeds (from {rows[0]['seed']})",
              xlabel="Seed number", ylabel="Angle (rad)")  # fmt: skip
        ax.legend()
        figure.tight_layout()
    return figure


def draw_distances(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return sigma_theta and the valid fraction against test distance, one line for each seed."""
    with house_style():
        figure = page(9, 7)
        axes = figure.subplots(2, 1, sharex=True)
        for k, row in enumerate(rows):
            points = sorted(row.get("distances", ()), key=lambda one: one["test_distance_cm"])
            x = [one["test_distance_cm"] for one in points]
            style = {"marker": "os^Dv"[k % 5], "label": f"seed {row['seed']}"}
            axes[0].plot(x, [one["sigma_theta_rad"] for one in points], color=EXC, **style)
            axes[1].plot(x, [one["valid_fraction"] for one in points], color=INH, **style)
        dress(axes[0], title="Trained at one distance, tested at others",
              ylabel="sigma_theta (rad)")  # fmt: skip
        dress(axes[1], xlabel="Test distance (cm)", ylabel="Valid fraction")
        axes[0].set_ylim(bottom=0)
        axes[1].set_ylim(0, 1.02)
        if len(rows) > 1:
            axes[0].legend()
        if not any(row.get("distances") for row in rows):
            say(axes[0], "no test distances")
        figure.tight_layout()
    return figure
