"""Panels that accumulate from frame to frame: the state of a sweep, the epochs of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray

from scope.measure.drive import DriveBalance
from scope.measure.windows import WindowMs
from scope.oscilloscope.view import SweepState, TrainingHistory
from scope.style import (
    EXC,
    GREY,
    INH,
    LINE_STYLES,
    MARKERS,
    OTHERS,
    SHADE,
    TIMES,
    dress,
    mark_window,
    say,
)

GAMMA_SHADE_HZ = (30.0, 80.0)
F0_AXIS_HZ = (0.0, 120.0)
HEALTHY_GRAD_RATIO = (1e-3, 1e-2)
MAX_GRAD_LINES = 8


def sweep_label(sweep: SweepState) -> str:
    """Return the name of the swept variable with its unit, as an axis label."""
    return f"{sweep.variable} ({sweep.unit})" if sweep.unit else sweep.variable


def plot_sweep(ax: Axes, sweep: SweepState) -> Axes:
    """Draw the course of the swept value: all faint, the done part solid, a dot at its end."""
    values = np.asarray(sweep.values, dtype=np.float64)
    frames = np.arange(1, len(values) + 1)
    dress(
        ax,
        title=sweep_title(sweep), xlabel="Frame", ylabel=sweep.unit or "Value", title_colour=GREY,
    )  # fmt: skip
    ax.text(1.0, 1.0, sweep_now(sweep), transform=ax.transAxes, ha="right", va="bottom",
            color=EXC, fontweight="bold", gid="sweep_value")  # fmt: skip
    done = slice(0, sweep.index + 1)
    ax.plot(frames, values, color=GREY, alpha=0.3, gid="sweep_all")
    ax.plot(frames[done], values[done], color=GREY, linewidth=3.0, gid="sweep_done")
    ax.plot(frames[sweep.index], sweep.value, "o", color=EXC, markersize=11, gid="sweep_now")
    ax.set_xlim(0.5, len(values) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    ax.margins(y=0.12)
    return ax


def sweep_title(sweep: SweepState) -> str:
    """Return the title of the sweep: its range, and where it stands."""
    first, last = sweep.values[0], sweep.values[-1]
    return f"Sweep {sweep.variable} {first:g} → {last:g}"


def sweep_now(sweep: SweepState) -> str:
    """Return the current value in words."""
    return f"now {sweep.value:.4g}"


def marker_size(n_points: int) -> float:
    """Return the size (points) of a marker of which there will be `n_points` along an axis."""
    return 6.0 if n_points <= 60 else 3.0


def parameter_axis(
    ax: Axes, variable: str, values: NDArray[np.float64], *, margin: float = 0.04
) -> None:
    """Make the x axis that of a parameter: logarithmic for dt, else with a margin.

    Parameters
    ----------
    ax : Axes
    variable : str
    values : float64, shape (value,)
        All that will be drawn.
    margin : float
        As a share of their range.
    """
    low, high = float(values.min()), float(values.max())
    if variable == "dt" and low > 0:
        ax.set_xscale("log")
        ax.set_xlim(low / 1.1, high * 1.1)
        ax.minorticks_off()
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        room = margin * (high - low) or 0.5
        ax.set_xlim(low - room, high + room)


def _sweep_axis(ax: Axes, sweep: SweepState) -> NDArray[np.float64]:
    """Set the x axis of an accumulating panel for the whole sweep; return the values so far."""
    values = np.asarray(sweep.values, dtype=np.float64)
    parameter_axis(ax, sweep.variable, values)
    return values[: sweep.index + 1]


def plot_sweep_rates(ax: Axes, sweep: SweepState) -> Axes:
    """Draw the E and I rates measured so far against the swept value."""
    dress(ax, title="Rates", xlabel=sweep_label(sweep), ylabel="Rate (Hz)", title_colour=GREY)
    values = _sweep_axis(ax, sweep)
    if not len(sweep.rate_e_hz):
        return say(ax, "no rates yet", bare=True)
    return _plot_rates(
        ax, values, (sweep.rate_e_hz, sweep.rate_i_hz), gid="sweep_rate", headroom=1.2,
        size=marker_size(len(sweep.values)),
    )  # fmt: skip


def _plot_rates(
    ax: Axes,
    x: NDArray[Any],
    rates_hz: tuple[Sequence[float], Sequence[float]],
    *,
    gid: str,
    headroom: float,
    size: float,
) -> Axes:
    """Draw the E and I rates that are known against `x`; an axis from 0 leaves the legend room."""
    top = 1.0
    for name, rates, colour, marker in zip("EI", rates_hz, (EXC, INH), "os", strict=True):
        hz = np.asarray(rates, dtype=np.float64)
        if not np.isfinite(hz).any():
            continue
        ax.plot(x, hz, color=colour, marker=marker, markersize=size, label=name,
                gid=f"{gid}_{name}")  # fmt: skip
        top = max(top, float(np.nanmax(hz)))
    ax.set_ylim(0.0, headroom * top)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", ncols=2)
    return ax


def plot_sweep_f0(ax: Axes, sweep: SweepState) -> Axes:
    """Draw f0 measured so far against the swept value; a cross at zero where there was none."""
    dress(ax, title="f₀, gamma band shaded", xlabel=sweep_label(sweep), ylabel="f₀ (Hz)",
          title_colour=GREY)  # fmt: skip
    values = _sweep_axis(ax, sweep)
    ax.axhspan(*GAMMA_SHADE_HZ, facecolor=SHADE, edgecolor="none", zorder=0, gid="gamma_band")
    ax.set_ylim(*F0_AXIS_HZ)
    if not len(sweep.f0_hz):
        return say(ax, "no f₀ yet", bare=True)
    f0 = np.asarray(sweep.f0_hz, dtype=np.float64)
    found = f0 > 0
    size = marker_size(len(sweep.values))
    ax.plot(values, np.where(found, f0, np.nan), color=EXC, marker="o", markersize=size,
            gid="sweep_f0")  # fmt: skip
    if not found.all():
        ax.plot(values[~found], np.zeros(int((~found).sum())), "x", color=GREY, markersize=size + 2,
                clip_on=False, label=f"{TIMES} no peak", gid="sweep_no_f0")  # fmt: skip
        ax.legend(loc="upper right", handlelength=0.0, handletextpad=0.0, markerscale=0.0)
    return ax


def plot_drive_threshold(
    ax: Axes,
    balance: DriveBalance | None,
    *,
    dt_ms: float,
    window_ms: WindowMs,
    stim_window_ms: WindowMs | None = None,
) -> Axes:
    """Draw the mean drive against the bare and the effective threshold, in nS, logarithmic.

    Shaded where the drive exceeds the effective threshold; says so where the network has no
    conductances. Inhibition lifts the threshold up to a hundredfold, hence the logarithm; the axis
    starts at a tenth of the bare threshold.
    """
    dress(ax, title="Drive against threshold", xlabel="Time (ms)", ylabel="g (nS)",
          title_colour=GREY)  # fmt: skip
    ax.set_xlim(*window_ms)
    if balance is None:
        return say(ax, "needs a conductance-based network,\nits input and weights", bare=True)
    mark_window(ax, stim_window_ms)
    first = round(window_ms[0] / dt_ms)
    t_ms = np.arange(first, len(balance.drive_us)) * dt_ms
    drive_ns = 1e3 * balance.drive_us[first:]
    threshold_ns = 1e3 * balance.threshold_us[first:]
    ax.fill_between(t_ms, threshold_ns, drive_ns, where=drive_ns > threshold_ns, color=EXC,
                    alpha=0.35, linewidth=0.0, gid="above_threshold")  # fmt: skip
    ax.plot(t_ms, drive_ns, color=GREY, linewidth=1.5, label="drive", gid="drive")
    ax.axhline(1e3 * balance.bare_threshold_us, color="#1A1A1A", linestyle="--", linewidth=1.5,
               label="bare threshold", gid="bare_threshold")  # fmt: skip
    ax.plot(t_ms, threshold_ns, color=INH, linewidth=1.5, label="with inhibition",
            gid="effective_threshold")  # fmt: skip
    top = max(float(drive_ns.max()), float(threshold_ns.max()), 1e3 * balance.bare_threshold_us)
    ax.set_yscale("log")
    ax.minorticks_off()
    low = 1e2 * balance.bare_threshold_us
    ax.set_ylim(low, top * (top / low) ** 0.3)  # room for the legend
    ax.legend(loc="upper right", ncols=3)
    return ax


def _percent_of_maximum(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    top = float(finite.max()) if len(finite) else 0.0
    return 100.0 * array / top if top > 0 else np.full(array.shape, np.nan)


def _epoch_axis(ax: Axes, history: TrainingHistory) -> NDArray[np.int64]:
    epochs = np.asarray(history.epochs, dtype=np.int64)
    ax.set_xlim(epochs[0] - 0.5, max(epochs[-1], epochs[0] + 1) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    return epochs


def plot_accuracy(ax: Axes, history: TrainingHistory | None) -> Axes:
    """Draw accuracy (%), and loss and learning rate as % of their maximum so far."""
    dress(
        ax,
        title="Accuracy (%); loss, lr (% of maximum)",
        xlabel="Epoch",
        ylabel="%",
        title_colour=GREY,
    )
    if history is None or not len(history.epochs):
        return say(ax, "no epoch yet", bare=True)
    epochs = _epoch_axis(ax, history)
    for name, percent, colour, line, marker in (
        ("acc", np.asarray(history.acc_percent, dtype=np.float64), EXC, "-", "o"),
        ("loss", _percent_of_maximum(history.loss), INH, "--", "s"),
        ("lr", _percent_of_maximum(history.lr), GREY, ":", "^"),
    ):
        ax.plot(epochs, percent, color=colour, linestyle=line, marker=marker, markersize=5,
                label=name, gid=f"curve_{name}")  # fmt: skip
    ax.set_ylim(0.0, 130.0)
    ax.set_yticks([0, 25, 50, 75, 100])
    ax.legend(loc="upper left", ncols=3)
    return ax


def plot_gradient_flow(ax: Axes, history: TrainingHistory | None) -> Axes:
    """Draw gradient norm over parameter norm of each parameter; the healthy band is shaded."""
    dress(ax, title="Gradient / weight", xlabel="Epoch", ylabel="Ratio", title_colour=GREY)
    drawable = {}
    if history is not None and len(history.epochs):
        for name, values in history.grad_ratios.items():
            ratio = np.asarray(values, dtype=np.float64)
            if np.any(np.isfinite(ratio) & (ratio > 0)):
                drawable[name] = np.where(np.isfinite(ratio) & (ratio > 0), ratio, np.nan)
    if history is None or not drawable:
        return say(ax, "no gradients yet", bare=True)
    ax.set_yscale("log")
    epochs = _epoch_axis(ax, history)
    ax.axhspan(*HEALTHY_GRAD_RATIO, facecolor=SHADE, edgecolor="none", zorder=0, gid="healthy")
    others = iter((GREY, *OTHERS) * MAX_GRAD_LINES)
    names = list(drawable)[:MAX_GRAD_LINES]
    if len(names) < len(drawable):
        ax.set_title(f"Gradient / weight, {len(names)} of {len(drawable)}", color=GREY)
    for k, name in enumerate(names):
        ax.plot(epochs, drawable[name], color=_presynaptic_colour(name) or next(others),
                linestyle=LINE_STYLES[k % len(LINE_STYLES)], marker=MARKERS[k % len(MARKERS)],
                markersize=5, label=name, gid=f"grad_{name}")  # fmt: skip
    every = np.concatenate([drawable[name] for name in names])
    low = min(float(np.nanmin(every)), HEALTHY_GRAD_RATIO[0])
    high = max(float(np.nanmax(every)), HEALTHY_GRAD_RATIO[1])
    n_columns = min(len(names), 4)
    room = 0.25 * -(-len(names) // n_columns) + 0.05  # rows of the legend
    ax.set_ylim(low / 2.0, 2.0 * high * (high / low) ** room)
    ax.minorticks_off()
    ax.legend(loc="upper left", ncols=n_columns, columnspacing=0.8)
    return ax


def _presynaptic_colour(name: str) -> str | None:
    """Return the colour of the cells that a recurrent matrix (W_ei.1) comes from."""
    return {"ee": EXC, "ei": EXC, "ie": INH, "ii": INH}.get(name[2:4])


def plot_epoch_rates(ax: Axes, history: TrainingHistory | None) -> Axes:
    """Draw the E and I rates of each epoch."""
    dress(ax, title="Rates by epoch", xlabel="Epoch", ylabel="Rate (Hz)", title_colour=GREY)
    if history is None or not len(history.epochs):
        return say(ax, "no epoch yet", bare=True)
    return _plot_rates(
        ax, _epoch_axis(ax, history), (history.rate_e_hz, history.rate_i_hz), gid="epoch_rate",
        headroom=1.25, size=5.0,
    )  # fmt: skip
