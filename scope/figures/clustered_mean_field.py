"""Figures of the mean field: fixed points, landscapes, bifurcations, theory against runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from scope.style import EXC, GREY, INH, dress, house_style, new_figure, say

DPI = 100
_MOST_ARROWS = 26


def fixed_points_figure(
    *, rates: NDArray[np.float64], kinds: Sequence[str], multiplicity: ArrayLike, n_clusters: int,
    sizes: ArrayLike,
) -> Figure:  # fmt: skip
    """Return the rates of every population in each fixed point, stable ones filled.

    Parameters
    ----------
    rates : float64, shape (k, P), Hz
    kinds : sequence of str
        Type of each.
    multiplicity : int array (k,)
        Starts that led to each.
    sizes : int array (P,)
        Populations without cells are left out.
    """
    shown = np.flatnonzero(np.asarray(sizes) > 0)
    with house_style():
        figure = new_figure(11.0, 6.5, DPI)
        ax = figure.add_axes((0.09, 0.12, 0.88, 0.79))
        dress(ax, title=f"{len(rates)} fixed points (filled: stable)", xlabel="Population",
              ylabel="Rate (Hz)")  # fmt: skip
        if not len(rates):
            return _nothing(figure, ax)
        few = len(rates) <= 8
        for k, (row, kind) in enumerate(zip(rates, kinds, strict=True)):
            stable = kind.startswith("stable")
            shift = (k - (len(rates) - 1) / 2) * 0.6 / max(len(rates), 1)
            for chosen, colour in ((shown <= n_clusters, EXC), (shown > n_clusters, INH)):
                ax.plot(np.flatnonzero(chosen) + shift, row[shown[chosen]], linestyle="",
                        marker="o", color=colour, markerfacecolor=colour if stable else "white",
                        alpha=1.0 if few else 0.4)  # fmt: skip
        names = [_population(p, n_clusters) for p in shown]
        ax.set_xticks(range(len(shown)), names, rotation=90 if len(shown) > 12 else 0, fontsize=11)
        ax.set_ylim(bottom=0.0)
    return figure


def _nothing(figure: Figure, ax: Axes) -> Figure:
    say(ax, "no start led to a fixed point", bare=True)
    return figure


def _population(p: int, q: int) -> str:
    if p == q:
        return "E bg"
    if p == 2 * q + 1:
        return "I bg"
    return f"E{p}" if p < q else f"I{p - q - 1}"


def landscape_figure(*, results: Mapping[str, Any]) -> Figure:
    """Return the flow on the grid of two imposed rates, and the potential along its valley.

    Parameters
    ----------
    results : mapping
        From :func:`bridge.mean_field.landscape_results`.

    Raises
    ------
    ValueError
        Where the landscape has no two axes.
    """
    if "path" not in results:
        raise ValueError("a figure of a landscape needs two focus populations")
    x, y = np.asarray(results["axis_0"]), np.asarray(results["axis_1"])
    force = np.asarray(results["force_field"])
    names = [f"population {p}" for p in np.asarray(results["focus_pops"])]
    with house_style():
        figure = new_figure(14.0, 6.6, DPI)
        flow = figure.add_axes((0.065, 0.11, 0.40, 0.80))
        along = figure.add_axes((0.65, 0.11, 0.335, 0.80))
        _flow(figure, flow, x, y, force, results)
        dress(flow, title="Force on two populations", xlabel=f"Rate of {names[0]} (Hz)",
              ylabel=f"Rate of {names[1]} (Hz)")  # fmt: skip
        along.plot(results["displacement"], results["potential"], color=EXC)
        dress(along, title="Along the path of least resistance",
              xlabel="Displacement (Hz)", ylabel="Potential (Hz\N{SUPERSCRIPT TWO})")  # fmt: skip
    return figure


def _flow(
    figure: Figure, ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64],
    force: NDArray[np.float64], results: Mapping[str, Any],
) -> None:  # fmt: skip
    surface = results.get("potential_surface")
    shade = np.asarray(surface) if surface is not None else np.linalg.norm(force, axis=-1)
    # Low lands matter: the square root spreads them over more of the colours.
    mesh = ax.contourf(x, y, np.sqrt(shade - np.nanmin(shade)).T, levels=18, cmap="Greys",
                       alpha=0.75)  # fmt: skip
    box = ax.get_position()
    bar = figure.colorbar(mesh, cax=figure.add_axes((box.x1 + 0.012, box.y0, 0.012, box.height)))
    dress(bar.ax, ylabel="Root of potential (Hz)" if surface is not None else "Root of speed")
    sx, sy = max(1, len(x) // _MOST_ARROWS), max(1, len(y) // _MOST_ARROWS)
    thin = force[::sx, ::sy]
    length = np.linalg.norm(thin, axis=-1, keepdims=True)
    unit = np.divide(thin, length, out=np.zeros_like(thin), where=length > 0)
    ax.quiver(x[::sx], y[::sy], unit[..., 0].T, unit[..., 1].T, color=INH, pivot="mid",
              scale=1.1 * _MOST_ARROWS, width=0.0028)  # fmt: skip
    path = np.asarray(results["path"])
    ax.plot(x[path[:, 0]], y[path[:, 1]], color=EXC, linewidth=2.5)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.set_aspect("equal", adjustable="box")


def bifurcation_figure(
    *, rows: Sequence[Mapping[str, Any]], name: str, populations: Sequence[int], n_clusters: int,
    critical: Sequence[float] = (),
) -> Figure:  # fmt: skip
    """Return rates of fixed points against a parameter: filled dots are stable.

    Parameters
    ----------
    rows : sequence of mappings
        ``value``, ``type`` and ``rate_<p>_hz`` of one fixed point each.
    name : str
        Of the parameter.
    populations : sequence of int
        Populations shown.
    critical : sequence of float
        Values marked with a line.
    """
    with house_style():
        figure = new_figure(11.0, 6.5, DPI)
        ax = figure.add_axes((0.09, 0.12, 0.88, 0.79))
        dress(ax, title="Fixed points (filled: stable)", xlabel=name, ylabel="Rate (Hz)")
        for stable in (False, True):
            chosen = [r for r in rows if str(r["type"]).startswith("stable") == stable]
            for p in populations:
                colour = EXC if p <= n_clusters else INH
                ax.plot([r["value"] for r in chosen], [r[f"rate_{p}_hz"] for r in chosen],
                        linestyle="", marker="o", markersize=5, color=colour,
                        markerfacecolor=colour if stable else "white")  # fmt: skip
        for value in critical:
            ax.axvline(value, color=GREY, linestyle="--", linewidth=1.2)
        ax.set_ylim(bottom=0.0)
    return figure


def compare_figure(*, rows: Sequence[Mapping[str, Any]], name: str) -> Figure:
    """Return simulated rates against mean-field ones over a parameter.

    Parameters
    ----------
    rows : sequence of mappings
        ``value``; for each kind of cells (``e``, ``e_bg``, ``i``, ``i_bg``) ``<kind>_sim_hz`` and
        ``<kind>_mf_hz`` (mean over the clusters, uniform state); ``active_sim_hz``,
        ``inactive_sim_hz``, ``active_mf_hz``, ``inactive_mf_hz``; None where undefined.
    """
    x = [float(r["value"]) for r in rows]

    def column(key: str) -> list[float]:
        return [np.nan if r[key] is None else float(r[key]) for r in rows]

    with house_style():
        figure = new_figure(11.0, 9.0, DPI)
        upper, lower = figure.subplots(2, 1, sharex=True)
        figure.subplots_adjust(left=0.09, right=0.97, top=0.95, bottom=0.08, hspace=0.22)
        looks = (
            ("e", "E clusters", EXC, "o"),
            ("e_bg", "E background", "#E69F00", "s"),
            ("i", "I clusters", INH, "^"),
            ("i_bg", "I background", "#56B4E9", "v"),
        )
        for kind, label, colour, marker in looks:
            upper.plot(x, column(f"{kind}_mf_hz"), color=colour)
            upper.plot(x, column(f"{kind}_sim_hz"), color=colour, marker=marker, linestyle="",
                       label=label)  # fmt: skip
        dress(upper, title="Mean rates: simulated (dots), theory of the uniform state (lines)",
              ylabel="Rate (Hz)")  # fmt: skip
        upper.set_ylim(bottom=0.0)
        upper.legend(loc="best", ncols=2)
        for which, colour, marker in (("active", EXC, "o"), ("inactive", GREY, "s")):
            lower.plot(x, column(f"{which}_mf_hz"), color=colour)
            lower.plot(x, column(f"{which}_sim_hz"), color=colour, marker=marker, linestyle="",
                       label=f"{which} E clusters")  # fmt: skip
        dress(lower, title="Clusters switched on and off: simulated (dots), stable states (lines)",
              xlabel=name, ylabel="Rate (Hz)")  # fmt: skip
        lower.set_ylim(bottom=0.0)
        if np.isfinite(column("active_sim_hz")).any():
            lower.legend(loc="best")
        else:
            say(lower, "clusters do not switch anywhere in this range")
    return figure
