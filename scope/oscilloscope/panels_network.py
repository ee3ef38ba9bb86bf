"""Panels of what the network is and says: header, digit, weights, output."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scope.oscilloscope.view import OscilloscopeView
from scope.style import EXC, GAMMA, GREY, INH, SHADE, TIMES, dress, hide_ticks, say

MAX_HISTOGRAMS = 8
N_BINS = 30
HEADER_SIZES = (22.0, 19.0)
"""Font sizes of the two header lines, points."""


def _text(value: float, form: str, unit: str = "") -> str:
    return f"{value:{form}}{unit}" if math.isfinite(value) else "-"


def header_fields(view: OscilloscopeView) -> dict[str, str]:
    """Return the metrics of the header's second line by their names; "-" where undefined."""
    summary = view.summary
    gamma = _text(summary.f_gamma_hz, ".1f", " Hz")
    return {
        "E": _text(summary.rate_e_hz, ".1f", " Hz"),
        "I": _text(summary.rate_i_hz, ".1f", " Hz"),
        "f₀": f"{summary.f0_hz:.0f} Hz" if summary.f0_hz > 0 else "-",
        f"f{GAMMA}": gamma if summary.f_gamma_valid else "-",
        "CV": _text(summary.cv, ".2f"),
        "I/E": _text(summary.ie_ratio, ".2f") if summary.rate_e_hz > 0 else "-",
        "act": _text(100.0 * summary.act, ".0f", " %"),
    }


def plot_header(ax: Axes, view: OscilloscopeView) -> Axes:
    """Write the two header lines: what runs and its headline; the metrics in fixed places."""
    hide_ticks(ax)
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, 1.0)
    shown = header_texts(view)
    big, small = HEADER_SIZES
    ax.text(0.0, 0.98, shown.pop("header_what"), fontsize=big, fontweight="bold", va="top",
            gid="header_what")  # fmt: skip
    if "header_title" in shown:
        ax.text(1.0, 0.98, shown.pop("header_title"), fontsize=big, fontweight="bold", va="top",
                ha="right", gid="header_title")  # fmt: skip
    colours = {"header_E": EXC, "header_I": INH}
    for k, (gid, text) in enumerate(shown.items()):
        # A place of its own for each number: nothing jumps from frame to frame.
        ax.text(k / len(shown), 0.02, text, fontsize=small, va="bottom",
                color=colours.get(gid, GREY), gid=gid)  # fmt: skip
    return ax


def header_texts(view: OscilloscopeView) -> dict[str, str]:
    """Return the texts of the header by their gid: what runs, its headline if any, the metrics."""
    recording = view.recording
    n_exc = recording.n_cells[recording.last_exc]
    size = f"N={n_exc} E"
    if recording.last_inh is not None:
        size += f" + {recording.n_cells[recording.last_inh]} I"
    conductance = view.stimulus is not None and view.stimulus.g_ext_us is not None
    rate = "-" if view.input_rate_hz is None else f"{view.input_rate_hz:g} Hz"
    drive = "conductance" if conductance else rate
    what = (
        f"{view.spinner} {view.model.upper()}   dt={recording.dt_ms:g} ms   {size}   input={drive}"
    )
    if view.stim_overdrive not in (None, 1.0):
        what += f" {TIMES}{view.stim_overdrive:g}"
    shown = {"header_what": what}
    if view.title != view.model:
        shown["header_title"] = view.title
    return shown | {f"header_{n}": f"{n} {value}" for n, value in header_fields(view).items()}


def plot_digit(ax: Axes, image: NDArray[np.float64] | None, *, digit: int | None = None) -> Axes:
    """Draw the input image in inverted grey (ink is dark)."""
    dress(ax, title="Input image" if digit is None else f"Input digit {digit}", title_colour=GREY)
    hide_ticks(ax)
    if image is None:
        return say(ax, "no image")
    top = float(np.max(image))
    ax.imshow(image, cmap="gray_r", interpolation="nearest", vmin=0.0, vmax=top if top > 0 else 1.0,
              gid="digit")  # fmt: skip
    ax.spines[:].set_visible(True)
    ax.set_anchor("W")  # below its title
    return ax


def matrix_title(name: str, *, n_layers: int = 1) -> str:
    """Return how a weight matrix is called in a figure: W_in is In, W_ei_1 is E→I."""
    if name == "W_in":
        return "In"
    if name == "W_out":
        return "Out"
    if name.startswith("W_ff_"):
        return f"H{name.rsplit('to', 1)[-1]}"
    _, kind, layer = name.split("_")
    return f"{kind[0].upper()}→{kind[1].upper()}" + (f" {layer}" if n_layers > 1 else "")


def ordered_matrices(weights: Mapping[str, NDArray[np.floating]]) -> list[str]:
    """Return the names of the matrices in the order In, H2.., Out, E→E, E→I, I→E, I→I.

    An I→I matrix of zeros is left out, biases too.
    """
    feed = ["W_in", *sorted(n for n in weights if n.startswith("W_ff_")), "W_out"]
    rest = []
    for kind in ("ee", "ei", "ie", "ii"):
        rest += sorted(n for n in weights if n.startswith(f"W_{kind}_"))
    return [
        n for n in feed + rest if n in weights and (not n.startswith("W_ii_") or np.any(weights[n]))
    ]


def weight_histogram(
    matrix: NDArray[np.floating],
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """Return the histogram of the finite weights that are not exactly zero.

    Returns
    -------
    counts : int64, shape (30,)
    edges : float64, shape (31,)
        In the unit of the matrix.
    zero_share : float, 0 to 1
        Exact zeros among all finite weights: the share of missing connections.
    """
    values = np.asarray(matrix, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    present = values[values != 0.0]
    zero_share = 1.0 - len(present) / len(values) if len(values) else 0.0
    counts, edges = np.histogram(present, bins=N_BINS)
    return counts.astype(np.int64), edges, zero_share


def plot_weights(
    ax: Axes, weights: Mapping[str, NDArray[np.floating]], *, unit: str = "µS"
) -> Axes:
    """Draw one histogram for each weight matrix, up to eight in the one panel.

    Parameters
    ----------
    ax : Axes
        Becomes the frame of small axes inside it.
    weights : dict of str to array, shape (pre, post)
        Exact zeros are not counted; their share is written on the histogram. A line marks zero
        where any weight is negative.
    unit : str
        Unit of all matrices but the readout, which has none; "" for dimensionless networks.
    """
    names = ordered_matrices(weights)
    shown = names[:MAX_HISTOGRAMS]
    title = f"Weights ({unit})" if unit else "Weights"
    if len(names) > len(shown):
        title += f", {len(shown)} of {len(names)} matrices"
    dress(ax, title=title, title_colour=GREY)
    hide_ticks(ax)
    if not shown:
        return say(ax, "no weights")
    n_layers = len({n.rsplit("_", 1)[1] for n in names if n[2:4] in ("ee", "ei", "ie", "ii")})
    n_rows = 1 if len(shown) <= 3 else 2
    n_columns = math.ceil(len(shown) / n_rows)
    height = (1.0 - 0.34 * (n_rows - 1)) / n_rows
    width = (1.0 - 0.06 * (n_columns - 1)) / n_columns
    for k, name in enumerate(shown):
        row, column = divmod(k, n_columns)
        box = (column * (width + 0.06), 1.0 - height - row * (height + 0.34), width, height)
        inner = ax.inset_axes(box, gid=name)
        label = matrix_title(name, n_layers=n_layers)
        _plot_histogram(inner, weights[name], label=label, colour=_presynaptic_colour(name))
    return ax


def _presynaptic_colour(name: str) -> str:
    return {"e": EXC, "i": INH}[name[2]] if name[2:4] in ("ee", "ei", "ie", "ii") else GREY


def _plot_histogram(ax: Axes, matrix: NDArray[np.floating], *, label: str, colour: str) -> Axes:
    import matplotlib

    counts, edges, zero_share = weight_histogram(matrix)
    dress(ax)
    small = 0.85 * matplotlib.rcParams["font.size"]
    ax.tick_params(axis="x", labelsize=small)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    if not counts.any():
        ax.set_xticks([])
        ax.text(0.5, 0.4, "all zero", transform=ax.transAxes, ha="center", va="center",
                fontsize=small, color=GREY)  # fmt: skip
    else:
        ax.stairs(counts, edges, fill=True, color=colour, gid="histogram")
        low, high = float(edges[0]), float(edges[-1])
        if low < 0:
            ax.vlines(0.0, 0.0, 1.1 * counts.max(), color="#1A1A1A", linewidth=1.0, gid="zero")
        set_weight_axis(ax, low, high)
        ax.set_ylim(0.0, 1.7 * counts.max())  # room for the label
    ax.text(0.0, 1.0, label, transform=ax.transAxes, va="top", color=colour, fontweight="bold",
            fontsize=small, gid="label")  # fmt: skip
    if 0.0 < zero_share < 1.0:
        write_zero_share(ax, zero_share)
    return ax


def set_weight_axis(ax: Axes, low: float, high: float) -> None:
    """Set the weight axis of a histogram; its ends are the ticks."""
    ax.set_xlim(low, high)
    ax.set_xticks([low, high], [_short(low), _short(high)])
    first, last = ax.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


def write_zero_share(ax: Axes, zero_share: float) -> None:
    """Write the share of missing connections into the corner of a histogram."""
    import matplotlib

    ax.text(1.0, 1.0, zero_share_text(zero_share), transform=ax.transAxes, va="top", ha="right",
            color=GREY, fontsize=0.85 * matplotlib.rcParams["font.size"],
            gid="zero_share")  # fmt: skip


def zero_share_text(zero_share: float) -> str:
    """Return the share of exact zeros in words; nothing where there are none."""
    if zero_share >= 1.0:
        return "all zero"
    return f"0: {100 * zero_share:.0f}%" if zero_share > 0.0 else ""


def _short(value: float) -> str:
    """Return two significant digits, as short as possible (0.0021, 1.2e-5)."""
    text = f"{value:.2g}"
    return text.replace("e-0", "e-").replace("e+0", "e")


def plot_output(ax: Axes, logits: NDArray[np.float64] | None, *, label: int | None = None) -> Axes:
    """Draw the final logits as horizontal bars; the largest is filled and marked.

    Parameters
    ----------
    ax : Axes
    logits : float64, shape (n_classes,), or None
    label : int, optional
        The true class, marked on its tick.
    """
    dress(ax, title="Output", xlabel="Logit", ylabel="Class", title_colour=GREY)
    if logits is None or not len(logits):
        return say(ax, "no readout", bare=True)
    n = len(logits)
    finite = np.isfinite(logits)
    if not finite.any():
        return say(ax, "no logit is finite", bare=True)
    shown = np.where(finite, logits, 0.0)
    best = int(np.argmax(np.where(finite, logits, -np.inf)))
    bars = ax.barh(np.arange(n), shown, height=0.8, color="white", edgecolor=GREY, linewidth=1.2)
    bars[best].set(facecolor=EXC, edgecolor=EXC, gid="argmax")
    ax.text(max(float(shown[best]), 0.0), best, f" {best} ◀", va="center", ha="left", color=EXC,
            fontweight="bold", gid="argmax_label")  # fmt: skip
    low, high = min(float(shown.min()), 0.0), max(float(shown.max()), 0.0)
    span = high - low if high > low else 1.0
    ax.set_xlim(low - 0.02 * span if low < 0 else 0.0, high + 0.22 * span)
    ax.set_ylim(-0.6, n - 0.4)
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    every = math.ceil(n / 6)
    ax.set_yticks(range(0, n, every))
    if label is not None and 0 <= label < n:
        ax.axhspan(label - 0.5, label + 0.5, facecolor=SHADE, edgecolor="none", zorder=0,
                   gid="true_class")  # fmt: skip
        ax.text(0.995, label, "true", transform=ax.get_yaxis_transform(), ha="right", va="center",
                color=GREY, gid="true_label")  # fmt: skip
    if not finite.all():
        say(ax, f"{n - int(finite.sum())} logits are not finite")
    return ax
