"""Figures of clustered networks: rasters by cluster, cluster rates, transition matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from scope.style import EXC, GREY, INH, dress, house_style, new_figure, say

DPI = 100
_MAX_DOTS = 400_000
_BANDS = (("E clusters", EXC, 0.10), ("E background", EXC, 0.25), ("I clusters", INH, 0.10),
          ("I background", INH, 0.25))  # fmt: skip


def raster_figure(
    *, step: ArrayLike, neuron: ArrayLike, n_steps: int, boundaries: ArrayLike,
    n_clusters: int | None, dt_s: float,
) -> Figure:  # fmt: skip
    """Return the raster of one recording: every spike a dot, bands for the four kinds of cells.

    Parameters
    ----------
    step, neuron : int arrays
        Of each spike.
    boundaries : int array, shape (P + 1,)
        First neuron of each population, and their number.
    n_clusters : int or None
        Clusters of each type; None where the populations have no such meaning.
    """
    with house_style():
        figure = new_figure(12.0, 7.0, DPI)
        ax = figure.add_axes((0.10, 0.09, 0.76, 0.83))
        draw_raster(
            ax, step=step, neuron=neuron, n_steps=n_steps, boundaries=boundaries,
            n_clusters=n_clusters, dt_s=dt_s,
        )  # fmt: skip
    return figure


def draw_raster(
    ax: Axes, *, step: ArrayLike, neuron: ArrayLike, n_steps: int, boundaries: ArrayLike,
    n_clusters: int | None, dt_s: float,
) -> Axes:  # fmt: skip
    """Draw a raster; see :func:`raster_figure`."""
    edges = np.asarray(boundaries)
    steps, cells = np.asarray(step), np.asarray(neuron)
    n_exc = edges[-1] if n_clusters is None else edges[n_clusters + 1]
    every = max(1, -(-len(steps) // _MAX_DOTS))
    for chosen, colour in ((cells < n_exc, EXC), (cells >= n_exc, INH)):
        ax.plot(
            steps[chosen][::every] * dt_s, cells[chosen][::every], linestyle="", marker=",",
            color=colour, rasterized=True,
        )  # fmt: skip
    if n_clusters is not None:
        q = n_clusters
        limits = (edges[0], edges[q], edges[q + 1], edges[2 * q + 1], edges[2 * q + 2])
        for (name, colour, alpha), low, high in zip(_BANDS, limits, limits[1:], strict=False):
            if high > low:
                ax.axhspan(low, high, facecolor=colour, alpha=alpha, edgecolor="none", zorder=0)
                ax.text(1.01, (low + high) / 2, name, transform=ax.get_yaxis_transform(),
                        va="center", color=colour, fontsize=12)  # fmt: skip
        for edge in edges[1:-1]:
            ax.axhline(edge - 0.5, color=GREY, linewidth=0.3, zorder=0.5)
    title = "Spikes" if every == 1 else f"Spikes (every {every}th)"
    dress(ax, title=title, xlabel="Time (s)", ylabel="Neuron index")
    ax.set_xlim(0.0, n_steps * dt_s)
    ax.set_ylim(-0.5, edges[-1] - 0.5)
    return ax


def rates_figure(
    *, rates_hz: NDArray[np.float64], active: NDArray[np.bool_], dt_s: float, threshold_hz: float
) -> Figure:
    """Return smoothed rates of clusters over time, and when each is active.

    Parameters
    ----------
    rates_hz : float64, shape (P, T)
    active : bool, shape (P, T)
    """
    with house_style():
        figure = new_figure(12.0, 7.0, DPI)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        figure.subplots_adjust(left=0.09, right=0.90, top=0.93, bottom=0.09, hspace=0.22)
        n, n_steps = rates_hz.shape
        every = max(1, n_steps // 2000)
        shown = rates_hz[:, ::every]
        extent = (0.0, n_steps * dt_s, -0.5, n - 0.5)
        # A few bursts must not take the whole range of colours.
        top = float(np.percentile(shown, 99.8)) or 1.0
        image = upper.imshow(
            shown, aspect="auto", origin="lower", extent=extent, cmap="magma", vmin=0.0, vmax=top,
            interpolation="nearest",
        )  # fmt: skip
        dress(upper, title="Cluster rates", ylabel="Cluster")
        upper.tick_params(labelbottom=False)
        box = upper.get_position()
        bar = figure.colorbar(image, cax=figure.add_axes((0.915, box.y0, 0.014, box.height)))
        dress(bar.ax, ylabel="Rate (Hz)")
        lines = [
            [(begin * dt_s, row), (end * dt_s, row)]
            for row in range(n)
            for begin, end in _stretches(active[row])
        ]
        lower.add_collection(LineCollection(lines, colors=EXC, linewidths=3.0))
        dress(
            lower, title=f"Active (above {threshold_hz:.1f} Hz)", xlabel="Time (s)",
            ylabel="Cluster",
        )  # fmt: skip
        lower.set_ylim(-0.7, n - 0.3)
        for ax in (upper, lower):
            ax.yaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
        lower.set_xlim(extent[0], extent[1])
    return figure


def _stretches(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[0], row.astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(a), int(b)) for a, b in zip(begins, ends, strict=True)]


def transitions_figure(
    *, matrix: NDArray[np.float64], identities: Sequence[Sequence[int]], counts: ArrayLike,
    most: int = 24,
) -> Figure:  # fmt: skip
    """Return the transition probabilities between the most frequent states.

    Parameters
    ----------
    matrix : float64, shape (n, n)
    identities : sequence of sequences
        Active populations of each state, from 0.
    counts : int array, shape (n,)
        Occurrences of each state.
    most : int
        States shown.
    """
    occurrences = np.asarray(counts)
    chosen = np.argsort(-occurrences, kind="stable")[:most]
    with house_style():
        figure = new_figure(10.0, 9.0, DPI)
        ax = figure.add_axes((0.20, 0.17, 0.64, 0.72))
        n_all = len(occurrences)
        title = f"Transitions: the {len(chosen)} most frequent of {n_all} states"
        if not len(chosen):
            dress(ax, title="Transitions")
            say(ax, "no state lasted long enough", bare=True)
            return figure
        shown = matrix[np.ix_(chosen, chosen)]
        image = ax.imshow(shown, cmap="Blues", vmin=0.0, vmax=max(float(shown.max()), 1e-9))
        dress(ax, title=title, xlabel="Next state", ylabel="State: active clusters (occurrences)")
        names = [_name(identities[k]) for k in chosen]
        size = 11 if len(chosen) <= 16 else 9
        ax.set_xticks(range(len(chosen)), names, rotation=90, fontsize=size)
        labels = [f"{name} ({occurrences[k]})" for name, k in zip(names, chosen, strict=True)]
        ax.set_yticks(range(len(chosen)), labels, fontsize=size)
        bar = figure.colorbar(image, cax=figure.add_axes((0.87, 0.17, 0.02, 0.72)))
        dress(bar.ax, ylabel="Probability")
    return figure


def _name(identity: Sequence[int]) -> str:
    return "-".join(map(str, identity)) if len(identity) else "none"


def sweep_figure(
    *, values: ArrayLike, rows: Sequence[dict[str, Any]], name: str, columns: Sequence[str]
) -> Figure:
    """Return numbers of a sweep against the swept value, one panel for each column."""
    x = np.asarray(values, dtype=float)
    with house_style():
        figure = new_figure(10.0, 2.6 * len(columns) + 0.8, DPI)
        axes = figure.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
        figure.subplots_adjust(left=0.11, right=0.97, top=0.95, bottom=0.08, hspace=0.3)
        for ax, column in zip(axes, columns, strict=True):
            y = [np.nan if row[column] is None else float(row[column]) for row in rows]
            ax.plot(x, y, color=EXC, marker="o")
            dress(ax, title=column.replace("_", " "))
        axes[-1].set_xlabel(name)
    return figure
