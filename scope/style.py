"""The look of every figure: palette, fonts, layout helpers. Nothing here changes global state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

EXC = "#D55E00"
"""Excitatory: vermilion."""
INH = "#0072B2"
"""Inhibitory: blue."""
GREY = "#595959"
"""All chrome: spines, ticks, labels, input."""
SHADE = "#E6E6E6"
"""Ground of marked windows and bands."""
OTHERS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Further line colours where E, I and grey do not suffice."""
LINE_STYLES = ("-", "--", "-.", ":")
GAMMA = "\N{GREEK SMALL LETTER GAMMA}"
TIMES = "\N{MULTIPLICATION SIGN}"
MARKERS = "os^Dvx+*"

HOUSE: Mapping[str, Any] = {
    # The font itself, not "monospace": generic names are resolved when the figure is drawn.
    "font.family": ["DejaVu Sans Mono"],
    "font.size": 14.0,
    "axes.titlesize": 16.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelsize": 14.0,
    "axes.labelpad": 2.0,
    # Titles stand left, time labels right: they share the gap between two rows.
    "xaxis.labellocation": "right",
    "xtick.labelsize": 13.0,
    "ytick.labelsize": 13.0,
    "legend.fontsize": 13.0,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.borderaxespad": 0.2,
    "legend.labelspacing": 0.25,
    "legend.columnspacing": 1.2,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": "#1A1A1A",
    "text.color": "#1A1A1A",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.size": 4.0,
    "ytick.major.size": 4.0,
    "xtick.major.pad": 3.0,
    "ytick.major.pad": 3.0,
    "lines.linewidth": 2.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": "figure",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the house style to what is made inside the block, whatever the user's own is."""
    with style.context(["default", dict(HOUSE)]):
        yield


def new_figure(width_in: float, height_in: float, dpi: float) -> Figure:
    """Return an empty figure on its own Agg canvas (no window, no pyplot state)."""
    figure = Figure(figsize=(width_in, height_in), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def dress(
    ax: Axes,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    title_colour: str | None = None,
) -> Axes:
    """Set title and labels, and fix the tick style that is in force now.

    Ticks are made when a figure is drawn, by then outside :func:`house_style`; their size and
    colour are therefore stored on the axes.
    """
    rc: Mapping[Any, Any] = matplotlib.rcParams
    ax.set_title(title, color=title_colour or rc["axes.titlecolor"])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    for axis in ("x", "y"):
        ax.tick_params(
            axis=axis,
            labelsize=rc[f"{axis}tick.labelsize"],
            labelfontfamily=rc["font.family"][0],
            color=rc[f"{axis}tick.color"],
            labelcolor=rc[f"{axis}tick.color"],
            length=rc[f"{axis}tick.major.size"],
            pad=rc[f"{axis}tick.major.pad"],
        )
    return ax


def say(ax: Axes, message: str, *, bare: bool = False) -> Axes:
    """Write `message` in the middle of an axes that has nothing to show.

    With `bare`, ticks and axis labels go too: there is no scale to read.
    """
    if bare:
        hide_ticks(ax)
        ax.set_xlabel("")
        ax.set_ylabel("")
    ax.text(
        0.5, 0.5, message, transform=ax.transAxes, ha="center", va="center", color=GREY,
        gid="message",
    )  # fmt: skip
    return ax


def hide_ticks(ax: Axes) -> Axes:
    """Remove ticks, tick labels and spines: for images and texts."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax


def mark_window(ax: Axes, window_ms: tuple[float, float] | None) -> Axes:
    """Shade the stimulus window lightly behind everything else."""
    if window_ms is not None:
        ax.axvspan(*window_ms, facecolor=SHADE, edgecolor="none", alpha=0.6, zorder=0,
                   gid="stim_window")  # fmt: skip
    return ax
