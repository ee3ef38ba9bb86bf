"""Does the input do what was asked of it? Image, spikes, and the rates that came out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from bridge.network.stimulus import Stimulus
from scope.measure.windows import WindowMs, steps_of
from scope.oscilloscope.panels_activity import RasterStyle, plot_drive
from scope.oscilloscope.panels_network import plot_digit
from scope.style import EXC, GREY, INH, SHADE, dress, house_style, mark_window, new_figure, say

DPI = 120
PANEL_IN = (7.3, 5.2)
TOP_IN, BOTTOM_IN, LEFT_IN, RIGHT_IN = 0.65, 0.75, 0.95, 0.35
BAND_SD = 2.0


def empirical_rate_hz(stimulus: Stimulus) -> NDArray[np.float64]:
    """Return the rate of each input channel over all trials, shape (n_in,), Hz."""
    counts = np.bincount(stimulus.events[:, 2], minlength=stimulus.n_in)
    return counts / (stimulus.n_trials * stimulus.t_ms / 1000.0)


def requested_rate_hz(
    intensity: ArrayLike,
    *,
    rate_hz: float,
    t_ms: float,
    stim_overdrive: float = 1.0,
    stim_window_ms: WindowMs | None = None,
) -> NDArray[np.float64]:
    """Return the mean rate that was asked of each channel, shape (n_in,), Hz.

    Parameters
    ----------
    intensity : array, 0 to 1
        Pixels in channel order (any shape); ones for synthetic spikes.
    rate_hz : float, Hz
        Rate of a channel of intensity 1 outside the stimulus window.
    t_ms : float, ms
        Length of a trial.
    stim_overdrive : float
        Factor on the rate inside the window.
    stim_window_ms : tuple of float, ms, optional
    """
    factor = 1.0
    if stim_window_ms is not None:
        inside_ms = max(min(stim_window_ms[1], t_ms) - max(stim_window_ms[0], 0.0), 0.0)
        factor += (stim_overdrive - 1.0) * inside_ms / t_ms
    return np.asarray(intensity, dtype=np.float64).ravel() * rate_hz * factor


def poisson_band_hz(
    rate_hz: NDArray[np.float64], *, total_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the band of 2 standard deviations that a Poisson count of `total_ms` leaves, Hz."""
    sd_hz = np.sqrt(rate_hz / (total_ms / 1000.0))
    return np.maximum(rate_hz - BAND_SD * sd_hz, 0.0), rate_hz + BAND_SD * sd_hz


def plot_channel_rates(
    ax: Axes, stimulus: Stimulus, requested_hz: NDArray[np.float64] | None
) -> Axes:
    """Draw the rate of each channel against the rate that was asked of it.

    Band: 2 standard deviations of a Poisson count over all trials; about 95 % of the channels lie
    inside. Where all channels were asked for the same rate, they stand by number instead. At
    rates near one spike per step, doubled events collapse and channels fall below the band.

    Parameters
    ----------
    ax : Axes
    stimulus : Stimulus
    requested_hz : float64, shape (n_in,), Hz, or None

    Raises
    ------
    ValueError
        If `requested_hz` does not hold one rate for each channel.
    """
    found_hz = empirical_rate_hz(stimulus)
    total_ms = stimulus.n_trials * stimulus.t_ms
    if requested_hz is None:
        dress(ax, title="Channel rates", xlabel="Channel", ylabel="Rate (Hz)", title_colour=GREY)
        ax.plot(found_hz, ".", color=GREY, markersize=4, gid="channel_rates")
        return ax
    requested_hz = np.asarray(requested_hz, dtype=np.float64)
    if requested_hz.shape != found_hz.shape:
        raise ValueError(
            f"requested_hz has shape {requested_hz.shape}; expected {found_hz.shape}, "
            "one rate for each input channel"
        )
    low_hz, high_hz = poisson_band_hz(requested_hz, total_ms=total_ms)
    inside = (found_hz >= low_hz) & (found_hz <= high_hz)
    asked = requested_hz > 0
    share = 100.0 * np.mean(inside[asked]) if asked.any() else 100.0
    title = f"Channel rates: {share:.1f} % within ±2 sd"
    stray = int(np.count_nonzero(found_hz[~asked]))
    if stray:
        title += f", {stray} stray"
    if np.ptp(requested_hz) > 0:
        dress(ax, title=title, xlabel="Requested rate (Hz)", ylabel="Empirical rate (Hz)",
              title_colour=GREY)  # fmt: skip
        at = requested_hz
        line_at = np.linspace(0.0, float(requested_hz.max()), 200).astype(np.float64)
        line_hz = line_at
    else:
        dress(ax, title=title, xlabel="Channel", ylabel="Rate (Hz)", title_colour=GREY)
        at = np.arange(len(found_hz), dtype=np.float64)
        line_at = np.array([-0.5, len(found_hz) - 0.5])
        line_hz = np.full(2, requested_hz[0])
    band_low_hz, band_high_hz = poisson_band_hz(line_hz, total_ms=total_ms)
    ax.fill_between(line_at, band_low_hz, band_high_hz, color=SHADE, linewidth=0.0, zorder=0,
                    label="±2 sd (Poisson)", gid="poisson_band")  # fmt: skip
    ax.plot(line_at, line_hz, color="#1A1A1A", linestyle="--", linewidth=1.5, label="requested",
            gid="requested")  # fmt: skip
    ax.plot(at[inside], found_hz[inside], "o", color=INH, markersize=4, alpha=0.6, linestyle="",
            label="inside", gid="inside")  # fmt: skip
    ax.plot(at[~inside], found_hz[~inside], "x", color=EXC, markersize=6, linestyle="",
            label="outside", gid="outside")  # fmt: skip
    top = max(float(found_hz.max()), float(band_high_hz.max()), 1.0)
    ax.set_ylim(0.0, 1.3 * top)
    ax.legend(loc="upper left", ncols=2)
    return ax


def plot_mean_drive(
    ax: Axes,
    stimulus: Stimulus,
    *,
    trial: int = 0,
    stim_window_ms: WindowMs | None = None,
) -> Axes:
    """Draw the injected conductance: mean over cells, and the band of their heterogeneity.

    The band is one standard deviation across cells in each step: fixed heterogeneity and private
    noise together.
    """
    dress(ax, title="Mean drive, ±1 sd across cells", xlabel="Time (ms)",
          ylabel="Conductance per step (nS)", title_colour=GREY)  # fmt: skip
    if stimulus.g_ext_us is None:
        return say(ax, "no conductance input", bare=True)
    mark_window(ax, stim_window_ms)
    g_ns = 1e3 * stimulus.g_ext_us[trial]  # (step, cell)
    mean_ns, sd_ns = g_ns.mean(axis=1), g_ns.std(axis=1)
    t_ms = np.arange(stimulus.n_steps) * stimulus.dt_ms
    ax.fill_between(t_ms, mean_ns - sd_ns, mean_ns + sd_ns, color=INH, alpha=0.3, linewidth=0.0,
                    label="±1 sd", gid="heterogeneity_band")  # fmt: skip
    ax.plot(t_ms, mean_ns, color=INH, linewidth=1.5, label="mean", gid="mean_drive")
    ax.set_xlim(0.0, stimulus.t_ms)
    ax.set_ylim(0.0, 1.25 * max(float((mean_ns + sd_ns).max()), 1e-9))
    ax.legend(loc="upper right", ncols=2)
    return ax


def plot_cell_drive(
    ax: Axes,
    stimulus: Stimulus,
    *,
    trial: int = 0,
    stim_window_ms: WindowMs | None = None,
) -> Axes:
    """Draw the distribution over cells of the time-averaged drive, inside and outside the window.

    Averaging leaves the fixed heterogeneity and what remains of the noise.
    """
    dress(ax, title="Drive of the cells", xlabel="Conductance per step (nS)", ylabel="Cells",
          title_colour=GREY)  # fmt: skip
    if stimulus.g_ext_us is None:
        return say(ax, "no conductance input", bare=True)
    g_ns = 1e3 * stimulus.g_ext_us[trial]
    stim = np.zeros(stimulus.n_steps, dtype=np.bool_)
    if stim_window_ms is not None:
        first, stop = (max(steps_of(edge_ms, stimulus.dt_ms), 0) for edge_ms in stim_window_ms)
        stim[first:stop] = True
    parts = (("outside", ~stim, GREY, "-"), ("stimulus", stim, INH, "--"))
    shown = [(n, g_ns[at].mean(axis=0), c, line) for n, at, c, line in parts if at.any()]
    every = np.concatenate([cells for _, cells, _, _ in shown])
    edges = np.histogram_bin_edges(every, bins=60)
    for name, cells_ns, colour, line in shown:
        mean_ns = float(cells_ns.mean())
        spread = f", sd {100 * cells_ns.std() / mean_ns:.1f} %" if mean_ns > 0 else ""
        counts = np.histogram(cells_ns, bins=edges)[0]
        ax.stairs(counts, edges, color=colour, linestyle=line, linewidth=2.0,
                  label=f"{name} {mean_ns:.3g} nS{spread}", gid=f"cells_{name}")  # fmt: skip
    ax.set_ylim(0.0, 1.4 * ax.get_ylim()[1])
    ax.legend(loc="upper center")
    return ax


def draw_diagnostics(
    stimulus: Stimulus,
    *,
    image: NDArray[np.float64] | None = None,
    digit: int | None = None,
    requested_hz: NDArray[np.float64] | None = None,
    trial: int = 0,
    stim_window_ms: WindowMs | None = None,
    raster: RasterStyle = "scatter",
) -> Figure:
    """Return the input-encoding diagnostics of a run.

    Input spikes: the image (where there is one), the raster, the rate of each channel against the
    requested one. Conductance input: its image, its mean over time, its spread over cells.

    Parameters
    ----------
    stimulus : Stimulus
    image : float64, shape (height, width), optional
    digit : int, optional
        Its class.
    requested_hz : float64, shape (n_in,), Hz, optional
        Rate asked of each channel, averaged over the trial; see :func:`requested_rate_hz`.
    trial : int
        The trial that is drawn; rates are taken over all trials.
    stim_window_ms : tuple of float, ms, optional
        Shaded.
    raster : {"scatter", "imshow"}

    Raises
    ------
    ValueError
        If there is no such trial, or `requested_hz` has the wrong shape.
    """
    if not 0 <= trial < stimulus.n_trials:
        raise ValueError(f"trial {trial} does not exist; there are 0 to {stimulus.n_trials - 1}")
    panels: list[Callable[[Axes], Axes]] = []
    if image is not None:
        shown = image
        panels.append(lambda ax: plot_digit(ax, shown, digit=digit))
    panels.append(
        lambda ax: plot_drive(
            ax, stimulus, trial=trial, raster=raster, stim_window_ms=stim_window_ms
        )
    )
    if stimulus.g_ext_us is not None:
        panels.append(
            lambda ax: plot_mean_drive(ax, stimulus, trial=trial, stim_window_ms=stim_window_ms)
        )
        panels.append(
            lambda ax: plot_cell_drive(ax, stimulus, trial=trial, stim_window_ms=stim_window_ms)
        )
    if len(stimulus.events) or stimulus.g_ext_us is None:
        panels.append(lambda ax: plot_channel_rates(ax, stimulus, requested_hz))
    n_columns = min(len(panels), 3)
    n_rows = math.ceil(len(panels) / n_columns)
    width_in, height_in = PANEL_IN[0] * n_columns, PANEL_IN[1] * n_rows
    with house_style():
        figure = new_figure(width_in, height_in, DPI)
        for k, plot in enumerate(panels):
            row, column = divmod(k, n_columns)
            box = (
                (column * PANEL_IN[0] + LEFT_IN) / width_in,
                (height_in - (row + 1) * PANEL_IN[1] + BOTTOM_IN) / height_in,
                (PANEL_IN[0] - LEFT_IN - RIGHT_IN) / width_in,
                (PANEL_IN[1] - BOTTOM_IN - TOP_IN) / height_in,
            )
            plot(figure.add_axes(box, label=str(k)))
    return figure
