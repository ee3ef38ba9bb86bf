"""The summary figure of a scan: rates, f_gamma and rhythmicity against one parameter, or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scope.oscilloscope.panels_progress import GAMMA_SHADE_HZ, marker_size, parameter_axis
from scope.style import EXC, GAMMA, GREY, INH, SHADE, TIMES, dress, house_style, new_figure, say

CURVES_IN = (12.0, 11.0)
MAPS_IN = (15.0, 11.0)
DPI = 100


def draw_scan(
    rows: Sequence[Mapping[str, Any]],
    *,
    variables: Sequence[str],
    units: Sequence[str],
    title: str = "",
    ceiling_ms: float | None = None,
) -> Figure:
    """Return the figure of a scan.

    Parameters
    ----------
    rows : sequence of dict
        The columns of :mod:`scope.measure.scan_metrics`, and one for each variable.
    variables, units : sequence of str
        One name, or two: curves, or maps.
    title : str
    ceiling_ms : float, ms, optional
        Onset of I double spikes in a scan of dt, marked in the curves.
    """
    with house_style():
        if len(variables) == 1:
            return _curves(rows, variables[0], units[0], title, ceiling_ms)
        return _maps(rows, variables, units, title)


def axis_label(variable: str, unit: str) -> str:
    """Return the label of a parameter's axis."""
    return f"{variable} ({unit})" if unit else variable


def _curves(
    rows: Sequence[Mapping[str, Any]],
    variable: str,
    unit: str,
    title: str,
    ceiling_ms: float | None,
) -> Figure:
    figure = new_figure(*CURVES_IN, DPI)
    axes = figure.subplots(3, 1, sharex=True)
    figure.subplots_adjust(left=0.09, right=0.97, top=0.9, bottom=0.07, hspace=0.32)
    figure.text(0.09, 0.955, title, fontsize=18, fontweight="bold")
    x = _column(rows, variable)
    order = np.argsort(x, kind="stable")
    x = x[order]
    look: dict[str, Any] = {"markersize": marker_size(len(x))}
    rates, gamma, rhythm = axes
    for ax, name, ylabel in (
        (rates, "Rates", "Rate (Hz)"),
        (gamma, f"f{GAMMA}, gamma band shaded", "Frequency (Hz)"),
        (rhythm, "Rhythmicity of the E autocorrelogram", "Lobe / trough"),
    ):
        dress(ax, title=name, ylabel=ylabel, title_colour=GREY)
        parameter_axis(ax, variable, x, margin=0.03)
        ax.tick_params(axis="x", labelbottom=True)
        if ceiling_ms is not None:
            ax.axvline(ceiling_ms, color="#1A1A1A", linestyle=":", gid="ceiling",
                       label="I cells double-fire" if ax is rates else None)  # fmt: skip
    rhythm.set_xlabel(axis_label(variable, unit))
    rates.plot(x, _column(rows, "rate_e_hz")[order], color=EXC, marker="o", label="E",
               gid="rate_e", **look)  # fmt: skip
    rates.plot(x, _column(rows, "rate_i_hz")[order], color=INH, marker="s", label="I",
               gid="rate_i", **look)  # fmt: skip
    _room_above(rates)
    rates.legend(loc="upper left", ncols=3)
    f_hz, valid = _column(rows, "f_gamma_hz")[order], _column(rows, "f_gamma_valid")[order] > 0
    gamma.axhspan(*GAMMA_SHADE_HZ, facecolor=SHADE, edgecolor="none", zorder=0)
    gamma.plot(x, np.where(valid, f_hz, np.nan), color=EXC, marker="o", label="rhythm",
               gid="f_gamma", **look)  # fmt: skip
    gamma.plot(x[~valid], f_hz[~valid], color=GREY, marker="x", linestyle="",
               markersize=look["markersize"] + 2, label=f"{TIMES} peak without a rhythm",
               gid="f_gamma_doubtful")  # fmt: skip
    _room_above(gamma, at_least=100.0)
    gamma.legend(loc="upper left", ncols=2)
    lobe = _column(rows, "lobe_to_trough")[order]
    rhythm.plot(x, lobe, color=EXC, marker="o", gid="lobe_to_trough", **look)
    rhythm.axhline(1.0, color=GREY, linestyle="--", linewidth=1.0)
    if np.isfinite(lobe).any():
        _room_above(rhythm)
    else:
        say(rhythm, "no rhythm to measure")
    return figure


def _maps(
    rows: Sequence[Mapping[str, Any]], variables: Sequence[str], units: Sequence[str], title: str
) -> Figure:
    figure = new_figure(*MAPS_IN, DPI)
    axes = figure.subplots(2, 2)
    figure.subplots_adjust(left=0.08, right=0.97, top=0.89, bottom=0.08, hspace=0.34, wspace=0.26)
    figure.text(0.08, 0.95, title, fontsize=18, fontweight="bold")
    y, x = (np.unique(_column(rows, name)) for name in variables)
    at = (
        np.searchsorted(y, _column(rows, variables[0])),
        np.searchsorted(x, _column(rows, variables[1])),
    )
    valid = _column(rows, "f_gamma_valid") > 0
    shown = (
        ("E rate (Hz)", _column(rows, "rate_e_hz"), "Oranges"),
        ("I rate (Hz)", _column(rows, "rate_i_hz"), "Blues"),
        (f"f{GAMMA} (Hz), white: no rhythm",
         np.where(valid, _column(rows, "f_gamma_hz"), np.nan), "viridis"),
        ("Lobe / trough of the E autocorrelogram", _column(rows, "lobe_to_trough"), "Greys"),
    )  # fmt: skip
    for ax, (name, values, colours) in zip(axes.flat, shown, strict=True):
        grid = np.full((len(y), len(x)), np.nan)
        grid[at] = values
        dress(ax, title=name, title_colour=GREY, xlabel=axis_label(variables[1], units[1]),
              ylabel=axis_label(variables[0], units[0]))  # fmt: skip
        if not np.isfinite(grid).any():
            say(ax, "nothing to show", bare=True)
            continue
        mesh = ax.pcolormesh(_edges(x), _edges(y), grid, cmap=colours, gid="map", rasterized=True)
        bar = figure.colorbar(mesh, ax=ax, pad=0.02)
        dress(bar.ax)
    return figure


def _room_above(ax: Axes, at_least: float = 0.0) -> None:
    """Begin the axis at 0 and leave room for the legend."""
    finite = [v for line in ax.lines for v in np.asarray(line.get_ydata(), float)
              if np.isfinite(v) and line.get_gid() != "ceiling"]  # fmt: skip
    ax.set_ylim(0.0, max(1.3 * max(finite, default=1.0), at_least, 1e-9))


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    return np.asarray([np.nan if r[name] is None else float(r[name]) for r in rows])


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the borders between the cells of a map."""
    if len(values) == 1:
        return np.asarray([values[0] - 0.5, values[0] + 0.5])
    middle = (values[1:] + values[:-1]) / 2
    first, last = 2 * values[0] - middle[0], 2 * values[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])
