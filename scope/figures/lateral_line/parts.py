"""Parts that the lateral-line figures share: the x axis of the test, rasters, rates."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from bridge.lateral_line.map_quality import position_rates, rate_of_counts
from bridge.lateral_line.record import SeedResult, Spikes, shown_every
from scope.style import GREY, new_figure, say

DPI = 180.0

MAX_POINTS = 40_000
"""Spikes of a raster; beyond, it is thinned evenly."""
N_BINS = 40

COLOURS = {"ll": "#595959", "mon": "#0072B2", "ts": "#D55E00"}
NAMES = {"ll": "LL", "mon": "MON", "ts": "TS"}


def page(width_in: float, height_in: float) -> Figure:
    """Return an empty figure of a run, in the resolution of all of them."""
    return new_figure(width_in, height_in, DPI)


def n_cells(result: SeedResult, layer: str) -> int:
    """Return the size of a layer."""
    return {"ll": result.params.n_ll, "mon": result.params.n_mon, "ts": result.params.n_ts}[layer]


def test_window(result: SeedResult) -> tuple[NDArray[np.bool_], float, str]:
    """Return which test steps are shown, what is taken off x, and the label of the x axis."""
    x_cm = result.test.stimulus.x_cm
    window = result.params.eval_window_cm
    if window is None:
        return np.ones(len(x_cm), dtype=bool), 0.0, "Sphere x in the test (cm)"
    inside = (x_cm >= window[0]) & (x_cm <= window[1])
    return inside, window[0], f"Sphere x in the test, from {window[0]:g} cm (cm)"


def binned_rates(
    result: SeedResult, layer: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return rates (Hz; cell, bin), bin centres (cm) and the label of the x axis."""
    cell, step = result.test.spikes[layer]
    shown, offset, label = test_window(result)
    keep = np.flatnonzero(shown)
    if not len(keep):
        return (
            np.zeros((n_cells(result, layer), N_BINS)),
            np.arange(N_BINS, dtype=np.float64),
            label,
        )
    new_step = np.full(len(shown), -1)
    new_step[keep] = np.arange(len(keep))
    x_cm = result.test.stimulus.x_cm[keep] - offset
    if np.ptp(x_cm) <= 0:
        x_cm = x_cm + np.linspace(0, 1e-9, len(x_cm))
    rates, edges = position_rates(
        new_step[step], cell, n_cells=n_cells(result, layer), x_cm=x_cm, dt_s=result.params.dt_s,
        n_bins=min(N_BINS, len(keep)),
    )  # fmt: skip
    return rates, np.asarray((edges[1:] + edges[:-1]) / 2, dtype=np.float64), label


def raster(
    ax: Axes, t_s: NDArray[np.float64], cell: NDArray[np.int64], layer: str, n_total: int, *,
    every: int = 1,
) -> Axes:  # fmt: skip
    """Draw spikes of every so many cells as dots; many are thinned evenly, and the axes say so."""
    keep = cell % every == 0
    t_s, cell = t_s[keep], cell[keep]
    if not len(t_s):
        say(ax, f"{NAMES[layer]} is silent")
    thin = -(-len(t_s) // MAX_POINTS)
    if thin > 1:
        t_s, cell = t_s[::thin], cell[::thin]
        # Above the axes: inside, it would hide data.
        ax.text(1.0, 1.005, f"1 of {thin} spikes drawn", transform=ax.transAxes, ha="right",
                va="bottom", color=GREY, fontsize=10)  # fmt: skip
    size = 2.0 if len(t_s) < 10_000 else 0.6
    ax.scatter(t_s, cell, s=size, color=COLOURS[layer], linewidths=0, rasterized=True)
    ax.set_ylim(-0.5, n_total - 0.5)
    return ax


def cells_shown(result: SeedResult, layer: str) -> tuple[int, str]:
    """Return that every so many cells of a layer are in its raster, and words for the title."""
    n = n_cells(result, layer)
    every = shown_every(n)
    nth = {2: "2nd", 3: "3rd"}.get(every, f"{every}th")
    return every, "" if every == 1 else f", every {nth} of {n} cells"


def rate_to_the_end(result: SeedResult, layer: str) -> NDArray[np.float64]:
    """Return the rate (Hz per cell, all cells) of a layer at the end of training and in the test.

    Its first step is ``result.tail.begin_step``.
    """
    n_steps = result.test.stimulus.n_steps
    of_test = np.bincount(result.test.spikes[layer][1], minlength=n_steps)[:n_steps]
    counts = np.concatenate([result.tail.counts[layer], of_test])
    return rate_of_counts(counts, n_cells(result, layer), result.params.dt_s)


def show_path(ax: Axes, result: SeedResult) -> Axes:
    """Fix an axis of x to the sweep, whatever spikes there are, and mark the body on it."""
    shown, offset, _ = test_window(result)
    x_cm = result.test.stimulus.x_cm[shown] - offset
    if len(x_cm):
        low, high = float(x_cm.min()), float(x_cm.max())
        ax.set_xlim(low, high if high > low else low + 1e-9)
    for end_cm in (0.0, result.params.ll_body_length_cm):
        ax.axvline(end_cm - offset, color=GREY, ls=":", lw=1.0, zorder=0)
    return ax


def joined(result: SeedResult, layer: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return time (s, of the whole run) and cell of the spikes of the end of training and test."""
    dt_s, tail = result.params.dt_s, result.tail
    cell, step = tail.spikes[layer]
    test_cell, test_step = result.test.spikes[layer]
    t_s = np.concatenate([step + tail.begin_step, test_step + end_of_training(result)]) * dt_s
    return t_s, np.concatenate([cell, test_cell])


def end_of_training(result: SeedResult) -> int:
    """Return the number of steps of training that were run."""
    return result.tail.begin_step + result.tail.n_steps


def spread(n: int, wanted: int) -> NDArray[np.int64]:
    """Return up to `wanted` indices spread evenly over ``range(n)``."""
    return np.unique(np.linspace(0, n - 1, min(wanted, n)).round().astype(np.int64))


def spikes_in(spikes: Spikes, shown: NDArray[np.bool_]) -> Spikes:
    """Return the spikes at the steps that are shown."""
    keep = shown[spikes[1]]
    return spikes[0][keep], spikes[1][keep]


def legend_above(ax: Axes) -> None:
    """Put the legend on the line of the title, where it hides no data."""
    ax.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=11.5, handlelength=1.4,
        borderaxespad=0.1,
    )  # fmt: skip


def draw_scores(
    ax: Axes, x: ArrayLike, y: ArrayLike, usable: NDArray[np.bool_], *, color: str, marker: str,
    ms: float = 6, label: str | None = None, ls: str = "-",
) -> Axes:  # fmt: skip
    """Draw scores as a line with gaps; those of tests that are not usable are open markers."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    ax.plot(
        x, np.where(usable, y, np.nan), marker=marker, ms=ms, color=color, label=label, ls=ls
    )  # fmt: skip
    ax.plot(x[~usable], y[~usable], marker=marker, ms=ms, mfc="white", mec=color, ls="none")
    return ax
