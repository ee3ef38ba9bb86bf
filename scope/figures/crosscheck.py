"""Two runs of the same network held against each other: f_gamma of both, and the figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bridge.coincidence import match_spikes
from bridge.crosscheck import CrossCheck
from bridge.recording import Recording
from scope.measure.spectra import GammaPeak, f_gamma
from scope.measure.windows import after_burn_in, bin_steps
from scope.oscilloscope.panels_activity import plot_raster
from scope.style import (
    GREY,
    LINE_STYLES,
    OTHERS,
    dress,
    hide_ticks,
    house_style,
    new_figure,
    say,
)

DPI = 100
WIDTH_IN = 14.0
RASTER_IN, POOL_IN, CURVE_IN, ROW_IN, GAP_IN = 3.4, 1.6, 2.0, 0.29, 0.95
BIN_MS = 20.0
"""Bin of the coincidence over time."""
MOST_ROWS = 40
ONLY_ONE, ONLY_OTHER = "#000000", "#009E73"


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """A comparison with the two recordings behind it.

    Parameters
    ----------
    check : CrossCheck
    one, other : Recording
    burn_in_ms : float, ms
        Left out of f_gamma.
    """

    check: CrossCheck
    one: Recording
    other: Recording
    burn_in_ms: float

    @cached_property
    def gamma(self) -> tuple[GammaPeak, GammaPeak]:
        """f_gamma of the deepest E population on both sides."""
        window_ms = after_burn_in(self.one, self.burn_in_ms)
        first = f_gamma(self.one, window_ms=window_ms)
        if self.check.identical:
            return first, first
        return first, f_gamma(self.other, window_ms=window_ms)

    def to_json(self) -> dict[str, Any]:
        """Return the report with f_gamma as plain JSON values."""
        peaks = [None if math.isnan(p.f_hz) else p.f_hz for p in self.gamma]
        rhythm = [p.is_rhythm for p in self.gamma]
        return self.check.to_json() | {"f_gamma_hz": peaks, "f_gamma_is_rhythm": rhythm}

    def gamma_line(self) -> str:
        """Return f_gamma of both sides in one line."""
        first, second = self.gamma
        return f"f_gamma {_hz(first.f_hz)} and {_hz(second.f_hz)} Hz" + (
            "" if first.is_rhythm and second.is_rhythm else " (not a rhythm by its gate)"
        )


def _hz(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def coincidence_in_time(
    one: Recording, other: Recording, population: str, *, bin_ms: float = BIN_MS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of each time bin (ms), and the share of its spikes that both sides have.

    NaN in bins without spikes; all trials together.
    """
    rows = one.spikes[population], other.spikes[population]
    hits = match_spikes(*rows)
    width = bin_steps(bin_ms, one.dt_ms)
    n_bins = math.ceil(one.n_steps / width)
    bins = np.concatenate([r[:, 0] for r in rows]) // width
    total = np.bincount(bins, minlength=n_bins).astype(np.float64)
    matched = np.bincount(bins, weights=np.concatenate(hits), minlength=n_bins)
    share: NDArray[np.float64] = np.full(n_bins, np.nan)
    np.divide(matched, total, out=share, where=total > 0)
    middle_ms = (np.arange(n_bins, dtype=np.float64) + 0.5) * (width * one.dt_ms)
    return middle_ms, share


def plot_compared_raster(ax: Axes, compared: Compared, *, population: str, trial: int) -> Axes:
    """Draw the spikes of a population; those of one side only are marked by side."""
    one, other = compared.one, compared.other
    plot_raster(ax, one, population=population, trial=trial)
    rows = [r.trial_spikes(population, trial) for r in (one, other)]
    hits = match_spikes(*rows)
    counts = [int((~hit).sum()) for hit in hits]
    for k, (marker, colour) in enumerate((("^", ONLY_ONE), ("v", ONLY_OTHER))):
        alone = rows[k][~hits[k]]
        ax.scatter(
            alone[:, 0] * one.dt_ms, alone[:, 2], marker=marker, s=42, facecolors="none",
            edgecolors=colour, linewidths=1.3, zorder=3, gid=f"only_{k}",
        )  # fmt: skip
    kind = "E" if population.startswith("e") else "I"
    common = int(hits[0].sum())
    title = f"{kind} cells ({population}): {common} common spikes"
    if any(counts):
        title += "".join(
            f", {n} only in {name} ({mark})"
            for n, name, mark in zip(counts, compared.check.names, "△▽", strict=True)
        )
    ax.set_title(title)
    step = compared.check.first_steps[trial]
    if step is not None:
        ax.axvline(step * one.dt_ms, color=GREY, linestyle=":", linewidth=1.5, gid="first")
    return ax


def plot_coincidence(ax: Axes, all_compared: Sequence[Compared]) -> Axes:
    """Draw the coincidence of the deepest E population over time for every comparison."""
    dress(ax, title="E spikes that coincide in the same step", xlabel="Time (ms)", ylabel="Share")
    ax.set_xlim(0.0, max(c.one.t_ms for c in all_compared))
    differing = [c for c in all_compared if not c.check.identical]
    if not differing:
        ax.axhline(1.0, color="#000000", gid="all")
        ax.set_ylim(0.0, 1.05)
        return say(ax, "every spike of every comparison is the same")
    lowest = 0.9
    for k, c in enumerate(differing):
        t_ms, share = coincidence_in_time(c.one, c.other, c.one.last_exc)
        lowest = min(lowest, float(np.nanmin(share, initial=1.0)))
        ax.plot(
            t_ms, share, color=OTHERS[k % len(OTHERS)],
            linestyle=LINE_STYLES[k % len(LINE_STYLES)], gid="share",
            label=f"dt {c.check.dt_ms:g} {_target(c)}" if k < 6 else None,
        )  # fmt: skip
    # Room for the legend below the lowest line.
    ax.set_ylim(max(lowest - 0.35 * (1.0 - lowest), -0.4), 1.0 + 0.1 * (1.0 - lowest))
    ax.legend(loc="lower left", ncols=3)
    return ax


def _target(compared: Compared) -> str:
    return compared.check.names[0].removeprefix("brian:")


def table_lines(all_compared: Sequence[Compared]) -> list[str]:
    """Return the table of all comparisons, one line each after the heading."""
    heading = (
        f"{'dt ms':>6}  {'Brian2':<7} {'spikes E':>9} {'spikes I':>9} {'same step':>10} "
        f"{'in window':>10} {'first ms':>9} {'f_gamma Hz':>15}  verdict"
    )
    lines = [heading]
    for c in all_compared:
        check = c.check
        last = check.populations[c.one.last_exc]
        inh = sum(p.n_spikes[0] for n, p in check.populations.items() if n.startswith("i"))
        exc = sum(p.n_spikes[0] for n, p in check.populations.items() if n.startswith("e"))
        first = "-" if check.first_ms is None else f"{check.first_ms:.2f}"
        gamma = " ".join(_hz(p.f_hz) for p in c.gamma)
        lines.append(
            f"{check.dt_ms:>6g}  {_target(c):<7} {exc:>9} {inh:>9} {last.coincidence:>10.2%} "
            f"{last.coincidence_in_window:>10.2%} {first:>9} {gamma:>15}  {check.verdict}"
        )
    return lines


def draw_crosscheck(all_compared: Sequence[Compared]) -> Figure:
    """Return the figure of a cross-check: rasters, coincidence over time, table.

    The rasters show the first comparison that is not identical, in the trial that parts first;
    where all are, the first comparison and trial 0.

    Parameters
    ----------
    all_compared : sequence of Compared
        One for each time step and target; at least one.
    """
    shown = next((c for c in all_compared if not c.check.identical), all_compared[0])
    steps = {k: step for k, step in enumerate(shown.check.first_steps) if step is not None}
    trial = min(steps, key=lambda k: steps[k]) if steps else 0
    has_pool = shown.one.last_inh is not None
    lines = table_lines(all_compared[:MOST_ROWS])
    if len(all_compared) > MOST_ROWS:
        lines.append(f"and {len(all_compared) - MOST_ROWS} more in crosscheck.json")
    heights = [RASTER_IN, *([POOL_IN] if has_pool else []), CURVE_IN, ROW_IN * (len(lines) + 1)]
    total_in = sum(heights) + GAP_IN * len(heights) + 0.45
    with house_style():
        figure = new_figure(WIDTH_IN, total_in, DPI)
        figure.text(
            0.075, 1 - 0.33 / total_in,
            f"{' and '.join(shown.check.names)}, dt {shown.check.dt_ms:g} ms, trial {trial}: "
            f"{shown.check.verdict}", fontsize=16, fontweight="bold", gid="heading",
        )  # fmt: skip
        top_in = total_in - 0.45
        axes = []
        for height in heights:
            top_in -= GAP_IN / 2 + height
            axes.append(figure.add_axes((0.075, top_in / total_in, 0.905, height / total_in)))
            top_in -= GAP_IN / 2
        plot_compared_raster(axes[0], shown, population=shown.one.last_exc, trial=trial)
        if has_pool:
            assert shown.one.last_inh is not None
            plot_compared_raster(axes[1], shown, population=shown.one.last_inh, trial=trial)
        plot_coincidence(axes[-2], all_compared)
        table = axes[-1]
        hide_ticks(table)
        table.set_title("Every comparison with torch (" + shown.check.names[1] + ")")
        for k, line in enumerate(lines):
            table.text(
                0.0, 1.0 - (k + 0.5) / (len(lines) + 1), line, transform=table.transAxes,
                va="center", fontsize=12.5, fontweight="bold" if k == 0 else "normal", gid="row",
            )  # fmt: skip
    return figure
