"""What the layers did in the test: rasters, tuning, drive, population rates."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import sparse

from bridge.lateral_line.map_quality import population_rate
from bridge.lateral_line.record import SeedResult
from scope.figures.lateral_line.parts import (
    COLOURS,
    N_BINS,
    NAMES,
    binned_rates,
    cells_shown,
    end_of_training,
    legend_above,
    n_cells,
    page,
    raster,
    rate_to_the_end,
    show_path,
    spikes_in,
    spread,
    test_window,
)
from scope.style import dress, say


def draw_test_phase(result: SeedResult) -> Figure:
    """Return the test by itself, its time from 0: the sphere, rasters, rates."""
    p, test = result.params, result.test
    figure = page(14, 12)
    axes = figure.subplots(5, 1, sharex=True)
    axes[0].plot(test.stimulus.t_s, test.stimulus.x_cm, color="black")
    dress(axes[0], ylabel="Sphere x (cm)", title=(
        f"Test of {test.stimulus.n_steps * p.dt_s:g} s after "
        f"{end_of_training(result) * p.dt_s:g} s of training"
    ))  # fmt: skip
    for ax, layer in zip(axes[1:4], ("ll", "mon", "ts"), strict=True):
        cell, step = test.spikes[layer]
        every, words = cells_shown(result, layer)
        raster(
            ax, test.stimulus.t_s[step], cell, layer, n_cells(result, layer), every=every
        )  # fmt: skip
        dress(ax, title=f"{NAMES[layer]}{words}", ylabel=f"{NAMES[layer]} index")
    for layer in ("mon", "ts"):
        rate = population_rate(
            test.spikes[layer][1], n_cells(result, layer), test.stimulus.n_steps, p.dt_s
        )
        axes[4].plot(test.stimulus.t_s, rate, color=COLOURS[layer], label=NAMES[layer])
    legend_above(axes[4])
    dress(
        axes[4], title="Rates, all cells", xlabel="Time in the test (s)", ylabel="Rate (Hz)"
    )  # fmt: skip
    axes[4].set_xlim(0, test.stimulus.n_steps * p.dt_s)
    figure.align_ylabels(axes)
    figure.tight_layout()
    return figure


def draw_tuning(result: SeedResult, layer: str, wanted: int) -> Figure:
    """Return the tuning of some cells to the position of the sphere."""
    rates, x_cm, label = binned_rates(result, layer)
    cells = spread(n_cells(result, layer), wanted)
    n_columns = min(4, len(cells))
    n_rows = -(-len(cells) // n_columns)
    figure = page(3.4 * n_columns, 2.4 * n_rows + 0.6)
    axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    top = max(float(rates[cells].max()), 1.0)
    for ax, cell in zip(axes.ravel(), cells, strict=False):
        ax.plot(x_cm, rates[cell], "o-", ms=3, lw=1.2, color=COLOURS[layer])
        ax.set_ylim(0, 1.05 * top)
        show_path(ax, result)
        dress(ax, title=f"{NAMES[layer]} {cell}")
    for ax in axes.ravel()[len(cells) :]:
        ax.set_visible(False)
    if not rates.any():
        say(axes[0, 0], "silent in the test")
    for ax in axes[:, 0]:
        ax.set_ylabel("Rate (Hz)")
    figure.supxlabel(f"{label}; dotted: ends of the body", fontsize=14)
    figure.tight_layout()
    return figure


def draw_spikes_vs_x(result: SeedResult, layer: str) -> Figure:
    """Return every spike of the test at the position of the sphere: the map itself."""
    figure = page(8, 4.2)
    ax = figure.add_subplot()
    shown, offset, label = test_window(result)
    cell, step = spikes_in(result.test.spikes[layer], shown)
    raster(ax, result.test.stimulus.x_cm[step] - offset, cell, layer, n_cells(result, layer))
    show_path(ax, result)
    dress(
        ax, title=f"{NAMES[layer]} spikes in the test (dotted: ends of the body)", xlabel=label,
        ylabel=f"{NAMES[layer]} index",
    )  # fmt: skip
    figure.tight_layout()
    return figure


def draw_drive_heatmap(result: SeedResult) -> Figure:
    """Return the feed-forward drive of TS: spikes of MON times weight, by position."""
    drive, edges, label = _drive(result)
    figure = page(10, 6)
    ax = figure.add_subplot()
    image = ax.imshow(
        drive, origin="lower", aspect="auto", cmap="viridis", interpolation="nearest", vmin=0.0,
        vmax=float(drive.max()) or 1.0,
        extent=(edges[0], edges[-1], -0.5, len(drive) - 0.5),
    )  # fmt: skip
    bar = figure.colorbar(image, ax=ax)
    bar.set_label("Drive (mV x spikes)")
    dress(ax, title="MON to TS drive in the test", xlabel=label, ylabel="TS index")
    figure.tight_layout()
    return figure


def draw_drive_winner(result: SeedResult) -> Figure:
    """Return the TS cell with the largest feed-forward drive at each position."""
    drive, edges, label = _drive(result)
    figure = page(10, 4.2)
    ax = figure.add_subplot()
    if drive.any():
        # A position without any drive has no winner: a gap, not cell 0.
        winner = np.where(drive.any(axis=0), drive.argmax(axis=0), np.nan)
        ax.plot((edges[1:] + edges[:-1]) / 2, winner, "o-", color=COLOURS["ts"])
    else:
        say(ax, "MON is silent in the test")
    margin = 0.03 * len(drive) + 0.5  # the markers of the first and last cell are whole
    ax.set_ylim(-margin, len(drive) - 1 + margin)
    show_path(ax, result)
    dress(ax, title="TS cell with the largest drive", xlabel=label, ylabel="TS index")
    figure.tight_layout()
    return figure


def _drive(result: SeedResult) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return the drive (TS cell, position bin), the bins' edges (cm) and the label of x."""
    p, w = result.params, result.wiring
    shown, offset, label = test_window(result)
    cell, step = spikes_in(result.test.spikes["mon"], shown)
    x_cm = result.test.stimulus.x_cm[shown] - offset
    if not len(x_cm):
        return np.zeros((p.n_ts, 1)), np.array([0.0, 1.0]), label
    n_bins = min(N_BINS, len(x_cm))
    low, high = float(x_cm.min()), float(x_cm.max())
    edges = np.linspace(low, high if high > low else low + 1e-9, n_bins + 1)
    at = np.clip(
        np.searchsorted(edges, result.test.stimulus.x_cm[step] - offset, side="right") - 1,
        0, n_bins - 1,
    )  # fmt: skip
    counts = sparse.csr_matrix((np.ones(len(cell)), (cell, at)), shape=(p.n_mon, n_bins))
    weights = sparse.csr_matrix(
        (result.mon_ts_w * p.mon_ts_gain_mV, (w.mon_ts_j, w.mon_ts_i)), shape=(p.n_ts, p.n_mon)
    )
    return (weights @ counts).toarray(), np.asarray(edges, dtype=np.float64), label


def draw_transition(result: SeedResult) -> Figure:
    """Return the rate of TS from 2 s before the end of training to the end of the test."""
    p = result.params
    figure = page(9, 3.8)
    ax = figure.add_subplot()
    end = end_of_training(result)
    begin = max(result.tail.begin_step, end - round(2.0 / p.dt_s))
    rate = rate_to_the_end(result, "ts")[begin - result.tail.begin_step :]
    ax.plot((begin + np.arange(len(rate))) * p.dt_s, rate, color=COLOURS["ts"], lw=1.0)
    ax.axvline(end * p.dt_s, color="black", ls="--", lw=1.2)
    ax.set_ylim(bottom=0)
    title = "TS, all cells: end of training (dashed) and test"
    dress(ax, title=title, xlabel="Time (s)", ylabel="Rate (Hz)")
    figure.tight_layout()
    return figure
