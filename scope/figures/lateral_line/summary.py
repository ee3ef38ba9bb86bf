"""Two summaries of a lateral-line run: everything on one page, and the curves of learning."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bridge.lateral_line.comparison import of_tests
from bridge.lateral_line.field import neuromasts
from bridge.lateral_line.map_quality import MIN_VALID
from bridge.lateral_line.record import SeedResult
from bridge.lateral_line.streams import training_stream
from scope.figures.lateral_line.parts import (
    COLOURS,
    NAMES,
    cells_shown,
    draw_scores,
    end_of_training,
    joined,
    legend_above,
    n_cells,
    page,
    raster,
    rate_to_the_end,
)
from scope.style import EXC, GREY, INH, OTHERS, dress, say

MAX_SNAPSHOTS = 400


def draw_two_stage(result: SeedResult) -> Figure:
    """Return the page of everything: stimulus, rasters, rates, weights, learning."""
    figure = page(14, 14)
    axes = figure.subplots(4, 2)
    geometry(axes[0, 0], result)
    for ax, layer in zip((axes[0, 1], axes[1, 0], axes[1, 1]), ("ll", "mon", "ts"), strict=True):
        _run_raster(ax, result, layer)
    _rates(axes[2, 0], result)
    _histogram(axes[2, 1], result)
    _weights(axes[3, 0], result, n_tracked=8)
    _quality(axes[3, 1], result, final=True)
    figure.tight_layout()
    return figure


def draw_learning_curves(result: SeedResult) -> Figure:
    """Return weights and map quality over training."""
    figure = page(10, 8)
    above, below = figure.subplots(2, 1)
    _weights(above, result, n_tracked=12)
    right = above.twinx()
    change = result.record.w_mean_abs_delta
    right.plot(result.record.t_s, change, color=OTHERS[0], ls="--")
    above.plot([], [], color=OTHERS[0], ls="--", label="|w - w0|")  # for the one legend
    legend_above(above)
    right.spines["right"].set_visible(True)
    dress(right, ylabel="Mean |w - w0|")
    right.set_ylim(bottom=0)
    _quality(below, result, final=False)
    figure.tight_layout()
    return figure


def geometry(ax: Axes, result: SeedResult) -> Axes:
    """Draw the neuromasts, the training positions and the path of the test."""
    p, test = result.params, result.test.stimulus
    xi_cm = neuromasts(p.n_ll, p.ll_body_length_cm)
    ax.scatter(xi_cm, np.zeros_like(xi_cm), s=6, color=GREY, label="neuromasts")
    n_shown = min(MAX_SNAPSHOTS, -(-p.n_training_trials * p.trial_steps // p.hold_steps))
    if n_shown:
        shown = training_stream(p).read(0, n_shown)
        ax.scatter(shown.x_cm, shown.distance_cm, s=10, color=INH, alpha=0.5, label="training")
    ax.plot(test.x_cm, test.y_cm, color=EXC, lw=1.5, label=f"test, {np.ptp(test.x_cm):.1f} cm")
    ax.set_ylim(-0.15 * max(1.0, test.y_cm.max()), 1.6 * max(1.0, test.y_cm.max()))
    legend_above(ax)
    return dress(ax, title="Geometry", xlabel="x (cm)", ylabel="y (cm)")


def mark_end(ax: Axes, result: SeedResult) -> None:
    """Mark the end of training on an axis of time."""
    ax.axvline(end_of_training(result) * result.params.dt_s, color="black", ls="--", lw=1.2)


def _run_raster(ax: Axes, result: SeedResult, layer: str) -> Axes:
    t_s, cell = joined(result, layer)
    every, words = cells_shown(result, layer)
    raster(ax, t_s, cell, layer, n_cells(result, layer), every=every)
    mark_end(ax, result)
    begin = result.tail.begin_step * result.params.dt_s
    total = end_of_training(result) + result.test.stimulus.n_steps
    ax.set_xlim(begin, total * result.params.dt_s)
    xlabel = f"Time (s): last {result.tail.n_steps * result.params.dt_s:g} s of training, test"
    return dress(ax, title=f"{NAMES[layer]}{words}", xlabel=xlabel, ylabel=f"{NAMES[layer]} index")


def _rates(ax: Axes, result: SeedResult) -> Axes:
    p = result.params
    n_steps = result.tail.n_steps + result.test.stimulus.n_steps
    t_s = (result.tail.begin_step + np.arange(n_steps)) * p.dt_s
    for layer in ("mon", "ts"):
        rate = rate_to_the_end(result, layer)
        ax.plot(t_s, rate, color=COLOURS[layer], lw=0.8, label=NAMES[layer])
    mark_end(ax, result)
    ax.set_xlim(t_s[0], t_s[-1])
    legend_above(ax)
    return dress(ax, title="Rates, all cells, 20 ms", xlabel="Time (s)", ylabel="Rate (Hz)")


def _histogram(ax: Axes, result: SeedResult) -> Axes:
    bins = np.linspace(0.0, result.params.mon_ts_wmax, 40).tolist()
    ax.hist(result.mon_ts_w_before, bins=bins, color=GREY, alpha=0.6, label="before")
    ax.hist(result.mon_ts_w, bins=bins, histtype="step", color=EXC, lw=2, label="after")
    legend_above(ax)
    return dress(ax, title="MON to TS weights", xlabel="Weight", ylabel="Synapses")


def _weights(ax: Axes, result: SeedResult, *, n_tracked: int) -> Axes:
    record = result.record
    t_s, mean = np.asarray(record.t_s), np.asarray(record.w_mean)
    sd = np.asarray(record.w_std)
    for k, series in enumerate(np.asarray(record.tracked).T[:n_tracked]):
        ax.plot(t_s, series, color=GREY, lw=0.6, alpha=0.7, label="single" if k == 0 else None)
    ax.fill_between(t_s, mean - sd, mean + sd, color=INH, alpha=0.25, lw=0)
    ax.plot(t_s, mean, color=INH, label="mean \N{PLUS-MINUS SIGN} SD")
    if record.stabilisation_s is not None:
        ax.axvline(record.stabilisation_s, color=EXC, ls=":", label="settled")
    legend_above(ax)
    return dress(ax, title="MON to TS weights", xlabel="Training time (s)", ylabel="Weight")


def _quality(ax: Axes, result: SeedResult, *, final: bool) -> Axes:
    record = result.record
    whole = "a sweep to and fro" if result.params.pv_window == "cycle" else "a checkpoint interval"
    if record.pv_t_s:
        usable = np.asarray(record.pv_valid) >= MIN_VALID
        for series, label, colour, marker in (
            (record.pv_sigma_theta, "$\\sigma_\\theta$", EXC, "o"),
            (record.pv_delta_trial, "$\\delta_{trial}$", INH, "s"),
        ):
            draw_scores(
                ax, record.pv_t_s, series, usable, label=label, color=colour, marker=marker, ms=3
            )  # fmt: skip
        ax.plot(record.pv_t_s, record.pv_valid, color=GREY, ls=":", label="valid (0 to 1)")
        ax.set_ylim(bottom=0)
        if final:  # the title needs its line for itself
            ax.legend(loc="best", fontsize=11.5)
        else:
            legend_above(ax)
    else:
        say(ax, "no map quality in training")
    return dress(
        ax, title=_in_the_test(result) if final else "Map quality",
        xlabel=f"Training time (s); map over {whole}", ylabel="Angle (rad)",
    )  # fmt: skip


def _in_the_test(result: SeedResult) -> str:
    """Return the score of the test or tests, never without the part of the steps it rests on."""
    row = result.to_json() if result.repeats else result.test.to_json()
    found, valid = of_tests(row, "sigma_theta_rad"), of_tests(row, "valid_fraction").mean
    n = found.n + found.n_left_out
    if found.mean is None:
        return f"Map quality; test{'s' if n > 1 else ''} not scored, valid {valid:.2f}"
    if n == 1:
        return f"Map quality; test {found.mean:.2f} rad, valid {valid:.2f}"
    used = n if found.n == n else f"{found.n} of {n}"
    spread = "" if found.sd is None else f"\N{PLUS-MINUS SIGN}{found.sd:.2f}"
    return f"Map; {used} tests {found.mean:.2f}{spread}, valid {valid:.2f}"  # one line of 40
