"""Panels of what the network did: rasters, input, population rate.

Each function draws on the axes it is given and returns them; it neither clears them nor knows the
figure around them, so that a video can redraw one panel in place. Burn-in is cut from the data;
the time axis keeps true trial times. The artists that carry data have a `gid`.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bridge.network.stimulus import Stimulus
from bridge.recording import Recording
from scope.measure.metrics import population_rate_hz
from scope.measure.windows import WindowMs, bin_steps, chosen_trials, steps_of
from scope.style import EXC, GREY, INH, dress, mark_window, say

RasterStyle = Literal["scatter", "imshow"]

MAX_ROWS_DRAWN = 256
DILATION_MS = 0.8


def raster_stride(n_cells: int) -> int:
    """Return k such that every k-th cell makes at most 256 rows of a scatter raster."""
    return math.ceil(n_cells / MAX_ROWS_DRAWN)


def raster_points(
    step_cell: NDArray[np.integer],
    *,
    dt_ms: float,
    n_cells: int,
    window_ms: WindowMs,
) -> NDArray[np.float64]:
    """Return the points (time in ms, cell) of a scatter raster, shape (n_drawn, 2).

    Parameters
    ----------
    step_cell : int array, shape (n_spikes, 2)
        Step and cell of each spike of one trial.
    dt_ms : float, ms
    n_cells : int
        Of more than 256 cells every k-th is kept.
    window_ms : tuple of float, ms
        True trial times; spikes outside are left out.
    """
    first, stop = steps_of(window_ms[0], dt_ms), steps_of(window_ms[1], dt_ms)
    steps, cells = step_cell[:, 0], step_cell[:, 1]
    drawn = (steps >= first) & (steps < stop) & (cells % raster_stride(n_cells) == 0)
    return np.stack([steps[drawn] * dt_ms, cells[drawn].astype(np.float64)], axis=1)


def raster_image(
    step_cell: NDArray[np.integer],
    *,
    dt_ms: float,
    n_cells: int,
    window_ms: WindowMs,
    max_shape: tuple[int, int] = (512, 1600),
) -> NDArray[np.uint8]:
    """Return a raster as an image of zeros and ones, every spike widened to 0.8 ms.

    Parameters
    ----------
    step_cell : int array, shape (n_spikes, 2)
    dt_ms : float, ms
    n_cells : int
    window_ms : tuple of float, ms
    max_shape : tuple of int
        Most rows and columns: neighbouring cells and steps are merged (1 if any is 1), since an
        image finer than the screen would lose spikes when it is drawn.

    Returns
    -------
    uint8, shape (rows, columns)
        Row 0 holds cell 0.
    """
    from scipy.ndimage import maximum_filter1d

    first, stop = steps_of(window_ms[0], dt_ms), steps_of(window_ms[1], dt_ms)
    n_steps = stop - first
    per_row = math.ceil(n_cells / max(max_shape[0], 1))
    per_column = math.ceil(n_steps / max(max_shape[1], 1))
    image = np.zeros((math.ceil(n_cells / per_row), math.ceil(n_steps / per_column)), np.uint8)
    steps, cells = step_cell[:, 0] - first, step_cell[:, 1]
    inside = (steps >= 0) & (steps < n_steps)
    image[cells[inside] // per_row, steps[inside] // per_column] = 1
    width = round(bin_steps(DILATION_MS, dt_ms) / per_column)
    return maximum_filter1d(image, width, axis=1) if width > 1 else image


def plot_spikes(
    ax: Axes,
    step_cell: NDArray[np.integer],
    *,
    dt_ms: float,
    n_cells: int,
    window_ms: WindowMs,
    colour: str,
    raster: RasterStyle = "scatter",
    gid: str = "spikes",
) -> Axes:
    """Draw the spikes of one trial: time (ms) against cell.

    Parameters
    ----------
    ax : Axes
    step_cell : int array, shape (n_spikes, 2)
    dt_ms : float, ms
    n_cells : int
    window_ms : tuple of float, ms
    colour : str
    raster : {"scatter", "imshow"}
        One tick for each spike, or an image; see :func:`raster_points`, :func:`raster_image`.
    gid : str
        Name of the artist.
    """
    if raster == "scatter":
        points = raster_points(step_cell, dt_ms=dt_ms, n_cells=n_cells, window_ms=window_ms)
        ax.scatter(points[:, 0], points[:, 1], s=tick_size(dt_ms), c=colour, marker="|",
                   linewidths=1.2, gid=gid)  # fmt: skip
        n_drawn = len(points)
    elif raster == "imshow":
        image = raster_image(
            step_cell, dt_ms=dt_ms, n_cells=n_cells, window_ms=window_ms,
            max_shape=screen_shape(ax),
        )  # fmt: skip
        ax.imshow(
            image, aspect="auto", origin="lower", interpolation="nearest", vmin=0, vmax=1,
            cmap=LinearSegmentedColormap.from_list("spikes", [(1, 1, 1, 0), colour]),
            extent=(*window_ms, -0.5, n_cells - 0.5), gid=gid,
        )  # fmt: skip
        n_drawn = int(image.sum())
    else:
        raise ValueError(f"raster = {raster!r} is unknown; use scatter or imshow")
    ax.set_xlim(*window_ms)
    ax.set_ylim(-0.5, n_cells - 0.5)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    return ax if n_drawn else say(ax, "no spikes")


def tick_size(dt_ms: float) -> float:
    """Return the size (points squared) of a spike's tick.

    Source: pinglab, 25 at dt 0.1 ms, limited to 12 to 35.
    """
    return float(np.clip(25.0 * dt_ms / 0.1, 12.0, 35.0))


def screen_shape(ax: Axes) -> tuple[int, int]:
    """Return the (rows, columns) of a raster image whose spikes take at least 3 x 2 pixels."""
    box = ax.get_window_extent()
    return max(int(box.height) // 3, 1), max(int(box.width) // 2, 1)


def plot_raster(
    ax: Axes,
    recording: Recording,
    *,
    population: str | None,
    trial: int = 0,
    window_ms: WindowMs | None = None,
    raster: RasterStyle = "scatter",
    stim_window_ms: WindowMs | None = None,
    name: str | None = None,
) -> Axes:
    """Draw the spikes of a population; says so where the network has no such population (None).

    Parameters
    ----------
    ax : Axes
    recording : Recording
    population : str or None
        ``e1``, ``i1`` ...: the first letter sets the colour.
    trial : int
    window_ms : tuple of float, ms, optional
        Default: the whole trial.
    raster : {"scatter", "imshow"}
    stim_window_ms : tuple of float, ms, optional
        Shaded.
    name : str, optional
        Title; default "E cells" or "I cells", with the layer where there are several.
    """
    window_ms = window_ms or (0.0, recording.t_ms)
    if population is None:
        dress(ax, title=name or "I cells", title_colour=INH)
        return say(ax, "no I population", bare=True)
    chosen_trials(recording, trial)
    inhibitory = population.startswith("i")
    colour = INH if inhibitory else EXC
    n_cells = recording.n_cells[population]
    if name is None:
        n_layers = len({p[1:] for p in recording.n_cells})
        name = ("I" if inhibitory else "E") + " cells"
        name += f", layer {population[1:]}" if n_layers > 1 else ""
    stride = raster_stride(n_cells) if raster == "scatter" else 1
    drawn = f", every {ordinal(stride)} drawn" if stride > 1 else ""
    dress(
        ax, title=f"{name} ({n_cells}{drawn})", xlabel="Time (ms)", ylabel="Neuron index",
        title_colour=colour,
    )  # fmt: skip
    mark_window(ax, stim_window_ms)
    return plot_spikes(
        ax, recording.trial_spikes(population, trial)[:, [0, 2]], dt_ms=recording.dt_ms,
        n_cells=n_cells, window_ms=window_ms, colour=colour, raster=raster,
        gid=f"{population}_spikes",
    )  # fmt: skip


def ordinal(n: int) -> str:
    """Return 2nd, 3rd, 4th ... for a whole number."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def plot_drive(
    ax: Axes,
    stimulus: Stimulus | None,
    *,
    trial: int = 0,
    window_ms: WindowMs | None = None,
    raster: RasterStyle = "scatter",
    stim_window_ms: WindowMs | None = None,
) -> Axes:
    """Draw the input: its spikes, or a greyscale image of the conductance (dark is strong)."""
    if stimulus is None:
        dress(ax, title="Input", title_colour=GREY)
        return say(ax, "no input recorded", bare=True)
    window_ms = window_ms or (0.0, stimulus.t_ms)
    if stimulus.g_ext_us is not None and not len(stimulus.events):
        return _plot_conductance(ax, stimulus, trial, window_ms)
    stride = raster_stride(stimulus.n_in) if raster == "scatter" else 1
    drawn = f", every {ordinal(stride)} drawn" if stride > 1 else ""
    dress(
        ax, title=f"Input ({stimulus.n_in}{drawn})", xlabel="Time (ms)", ylabel="Channel",
        title_colour=GREY,
    )  # fmt: skip
    mark_window(ax, stim_window_ms)
    return plot_spikes(
        ax, stimulus.trial_events(trial)[:, [0, 2]], dt_ms=stimulus.dt_ms, n_cells=stimulus.n_in,
        window_ms=window_ms, colour=GREY, raster=raster, gid="input_spikes",
    )  # fmt: skip


def conductance_range_us(
    stimulus: Stimulus, trial: int, window_ms: WindowMs
) -> tuple[float, float]:
    """Return the lowest and highest conductance (µS per step) of a window."""
    shown = _conductance(stimulus, trial, window_ms)
    return float(shown.min()), float(shown.max())


def conductance_title(low_us: float, high_us: float) -> str:
    """Return the title of the drive's image: what is white and what is black."""
    return f"Drive, {low_us * 1e3:.2g} (white) to {high_us * 1e3:.2g} nS"


def conductance_image(
    ax: Axes, stimulus: Stimulus, trial: int, window_ms: WindowMs
) -> NDArray[np.float64]:
    """Return the drive, shape (cell, column), averaged over the steps that a pixel column holds."""
    shown = _conductance(stimulus, trial, window_ms)
    per_column = math.ceil(len(shown) / max(int(ax.get_window_extent().width), 1))
    edges = np.arange(0, len(shown), per_column)
    n_averaged = np.diff(np.append(edges, len(shown)))
    image: NDArray[np.float64] = np.add.reduceat(shown, edges, axis=0) / n_averaged[:, None]
    return image.T


def _conductance(stimulus: Stimulus, trial: int, window_ms: WindowMs) -> NDArray[np.float64]:
    assert stimulus.g_ext_us is not None
    first, stop = (steps_of(edge_ms, stimulus.dt_ms) for edge_ms in window_ms)
    return stimulus.g_ext_us[trial][first:stop]


def _plot_conductance(ax: Axes, stimulus: Stimulus, trial: int, window_ms: WindowMs) -> Axes:
    low, high = conductance_range_us(stimulus, trial, window_ms)
    image = conductance_image(ax, stimulus, trial, window_ms)
    dress(
        ax, title=conductance_title(low, high), xlabel="Time (ms)", ylabel="Neuron index",
        title_colour=GREY,
    )  # fmt: skip
    ax.imshow(
        image, aspect="auto", origin="lower", cmap="gray_r", vmin=low,
        vmax=high if high > low else low + 1.0,
        extent=(*window_ms, -0.5, len(image) - 0.5), gid="drive_image",
    )  # fmt: skip
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    return ax


def plot_population_rate(
    ax: Axes,
    recording: Recording,
    *,
    population: str | None = None,
    trial: int | None = 0,
    window_ms: WindowMs | None = None,
    stim_window_ms: WindowMs | None = None,
) -> Axes:
    """Draw the E population rate as the fraction of cells that fire in a bin of 2 ms.

    The axis ends at 0.5, or at the next half if more cells fire.
    """
    population = population or recording.last_exc
    window_ms = window_ms or (0.0, recording.t_ms)
    edges_ms, fraction = population_share(recording, trial, window_ms, population)
    colour = INH if population.startswith("i") else EXC
    dress(
        ax, title=share_title(recording, population), xlabel="Time (ms)", ylabel="Share",
        title_colour=colour,
    )  # fmt: skip
    mark_window(ax, stim_window_ms)
    if len(fraction):
        ax.stairs(fraction, edges_ms, fill=True, color=colour, gid="population_rate")
    ax.set_xlim(*window_ms)
    ax.set_ylim(0.0, share_axis_top(fraction))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
    return ax


def population_share(
    recording: Recording, trial: int | None, window_ms: WindowMs, population: str | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bin edges (ms) and the share of cells that fire in each bin of 2 ms."""
    population = population or recording.last_exc
    edges_ms, rates_hz = population_rate_hz(recording, population, window_ms=window_ms, trial=trial)
    return edges_ms, rates_hz * _bin_ms(recording) / 1000.0


def share_title(recording: Recording, population: str | None = None) -> str:
    """Return the title of the population rate; where dt does not divide 2 ms, bins are shorter."""
    name = (population or recording.last_exc)[0].upper()
    return f"{name} population rate (share of cells in {_bin_ms(recording):.3g} ms)"


def _bin_ms(recording: Recording) -> float:
    return bin_steps(2.0, recording.dt_ms) * recording.dt_ms


def share_axis_top(share: NDArray[np.float64]) -> float:
    """Return where the axis of a share ends: 0.5, or the next half."""
    peak = float(share.max()) if len(share) else 0.0
    return max(1, math.ceil(2.0 * peak - 1e-9)) / 2.0
