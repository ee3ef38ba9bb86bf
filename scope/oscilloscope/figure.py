"""The oscilloscope figure: where each panel stands, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scope.measure.drive import drive_balance
from scope.measure.spectra import oscilloscope_psd
from scope.oscilloscope import panels_activity as activity
from scope.oscilloscope import panels_network as network
from scope.oscilloscope import panels_progress as progress
from scope.oscilloscope.panels_activity import RasterStyle
from scope.oscilloscope.panels_spectrum import plot_psd
from scope.oscilloscope.view import OscilloscopeView
from scope.style import GREY, dress, house_style, new_figure, say

Preset = Literal["full", "video", "dataset", "sweep_video", "train"]

SIZE_IN = (22.0, 12.375)
DPI = 120
N_COLUMNS = 3
HEADER_ROWS = 0.35
"""Height of the header strip in rows."""
INSET_LEFT, INSET_BOTTOM, INSET_RIGHT, INSET_TOP = 0.09, 0.20, 0.05, 0.16
"""Free margins of a panel as fractions of one cell of the grid (Source: pinglab)."""
MARGIN_IN = 0.12
"""White rim of the whole figure, inches."""

_FULL = ("e_raster", "drive", "weights", "i_raster", "participation", "output", "psd")
PRESETS: Mapping[str, tuple[str, ...]] = {
    "full": _FULL,
    "video": (*_FULL, "sweep"),
    "dataset": (
        "e_raster", "digit_image", "weights", "drive", "i_raster", "output", "psd",
        "participation",
    ),
    "sweep_video": (*_FULL, "digit_image", "sweep_rates", "sweep_f0", "sweep"),
    "train": (*_FULL, "digit_image", "acc_curve", "grad_flow", "rate_curve"),
}  # fmt: skip
"""Panels of each layout in order; the header stands above all of them."""


def panel_boxes(preset: Preset) -> dict[str, tuple[int, int, int, int]]:
    """Return the cell (left, bottom, width, height) of each panel, in columns and rows.

    Columns count from the left, rows from the top of the grid (`bottom` is the row below the
    panel). The E raster takes 2 x 2 cells at the top left, the others one cell each in row-major
    order; the last one stretches over what is left of its row.

    Raises
    ------
    ValueError
        If there is no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset = {preset!r} is unknown; use one of {', '.join(PRESETS)}")
    boxes: dict[str, tuple[int, int, int, int]] = {"e_raster": (0, 2, 2, 2)}
    free = ((row, column) for row in range(100) for column in range(N_COLUMNS)
            if row >= 2 or column >= 2)  # fmt: skip
    names = [name for name in PRESETS[preset] if name != "e_raster"]
    for name, (row, column) in zip(names, free, strict=False):
        width = N_COLUMNS - column if name == names[-1] else 1
        boxes[name] = (column, row + 1, width, 1)
    return boxes


def make_axes(figure: Figure, preset: Preset) -> dict[str, Axes]:
    """Return new axes on a figure by panel name, header included, in the house style."""
    boxes = panel_boxes(preset)
    n_rows = max(bottom for _, bottom, _, _ in boxes.values())
    width_in, height_in = figure.get_size_inches()
    column = (width_in - 2 * MARGIN_IN) / width_in / N_COLUMNS
    row = (height_in - 2 * MARGIN_IN) / height_in / (n_rows + HEADER_ROWS)
    left, base = MARGIN_IN / width_in, MARGIN_IN / height_in
    # The insets are fractions of one cell, also where a panel takes several: axes line up.
    strip = (
        left + INSET_LEFT * column,
        base + n_rows * row,
        (N_COLUMNS - INSET_LEFT - INSET_RIGHT) * column,
        HEADER_ROWS * row,
    )
    rects = {"header": strip}
    for name, (at, below, n_wide, n_high) in boxes.items():
        rects[name] = (
            left + (at + INSET_LEFT) * column,
            base + (n_rows - below + INSET_BOTTOM) * row,
            (n_wide - INSET_LEFT - INSET_RIGHT) * column,
            (n_high - INSET_BOTTOM - INSET_TOP) * row,
        )
    with house_style():  # spines take their colour when they are made
        return {name: figure.add_axes(rect, label=name) for name, rect in rects.items()}


def raster_populations(
    view: OscilloscopeView,
) -> tuple[tuple[str, str | None], tuple[str | None, str | None]]:
    """Return (population, title) of the E and of the I raster.

    A feed-forward network of several layers has no I cells: its last two layers are shown.
    """
    recording = view.recording
    if recording.last_inh is not None:
        return (recording.last_exc, None), (recording.last_inh, None)
    layers = sorted((p for p in recording.n_cells if p.startswith("e")), key=lambda p: int(p[1:]))
    if len(layers) < 2:
        return (recording.last_exc, None), (None, None)
    first, second = layers[-2:]
    return (first, f"Hidden {first[1:]}"), (second, f"Hidden {second[1:]}")


def _raster(which: int) -> Callable[[Axes, OscilloscopeView, RasterStyle], Axes]:
    def draw(ax: Axes, view: OscilloscopeView, raster: RasterStyle) -> Axes:
        population, name = raster_populations(view)[which]
        return activity.plot_raster(
            ax, view.recording, population=population, name=name, trial=view.trial,
            window_ms=view.window_ms, raster=raster, stim_window_ms=view.stim_window_ms,
        )  # fmt: skip

    return draw


def _drive(ax: Axes, view: OscilloscopeView, raster: RasterStyle) -> Axes:
    return activity.plot_drive(
        ax, view.stimulus, trial=view.trial, window_ms=view.window_ms, raster=raster,
        stim_window_ms=view.stim_window_ms,
    )  # fmt: skip


def _participation(ax: Axes, view: OscilloscopeView, _: RasterStyle) -> Axes:
    return activity.plot_population_rate(
        ax, view.recording, trial=view.trial, window_ms=view.window_ms,
        stim_window_ms=view.stim_window_ms,
    )  # fmt: skip


def _psd(ax: Axes, view: OscilloscopeView, _: RasterStyle) -> Axes:
    spectrum = oscilloscope_psd(
        view.recording, burn_in_ms=view.burn_in_ms, stim_window_ms=view.psd_window_ms,
        trial=view.trial,
    )  # fmt: skip
    summary = view.summary
    return plot_psd(
        ax, spectrum, f_gamma_hz=summary.f_gamma_hz, f_gamma_valid=summary.f_gamma_valid,
        note=summary.f_gamma_note,
    )  # fmt: skip


def _sweep(ax: Axes, view: OscilloscopeView, _: RasterStyle) -> Axes:
    if view.sweep is not None:
        return progress.plot_sweep(ax, view.sweep)
    balance = drive_balance(
        view.recording, view.stimulus, spec=view.spec, weights=view.weights, trial=view.trial
    )
    return progress.plot_drive_threshold(
        ax, balance, dt_ms=view.recording.dt_ms, window_ms=view.window_ms,
        stim_window_ms=view.stim_window_ms,
    )  # fmt: skip


def _of_sweep(plot: Callable[..., Axes], title: str) -> Callable[..., Axes]:
    def draw(ax: Axes, view: OscilloscopeView, _: RasterStyle) -> Axes:
        if view.sweep is None:
            dress(ax, title=title, title_colour=GREY)
            return say(ax, "no sweep", bare=True)
        return plot(ax, view.sweep)

    return draw


def _true_class(view: OscilloscopeView) -> int | None:
    return view.digit if view.label is None else view.label


PANELS: Mapping[str, Callable[[Axes, OscilloscopeView, RasterStyle], Axes]] = {
    "header": lambda ax, view, _: network.plot_header(ax, view),
    "e_raster": _raster(0),
    "i_raster": _raster(1),
    "drive": _drive,
    "participation": _participation,
    "psd": _psd,
    "output": lambda ax, view, _: network.plot_output(
        ax, view.final_logits, label=_true_class(view)
    ),
    "weights": lambda ax, view, _: network.plot_weights(
        ax, view.weights, unit="µS" if view.model == "ping" else ""
    ),
    "digit_image": lambda ax, view, _: network.plot_digit(ax, view.image, digit=_true_class(view)),
    "sweep": _sweep,
    "sweep_rates": _of_sweep(progress.plot_sweep_rates, "Rates"),
    "sweep_f0": _of_sweep(progress.plot_sweep_f0, "f₀"),
    "acc_curve": lambda ax, view, _: progress.plot_accuracy(ax, view.history),
    "grad_flow": lambda ax, view, _: progress.plot_gradient_flow(ax, view.history),
    "rate_curve": lambda ax, view, _: progress.plot_epoch_rates(ax, view.history),
}
"""How each panel is drawn from a view."""


def draw_panels(
    axes: Mapping[str, Axes],
    view: OscilloscopeView,
    *,
    raster: RasterStyle = "scatter",
    only: Iterable[str] | None = None,
) -> None:
    """Clear axes made by :func:`make_axes` and draw their panels anew.

    Parameters
    ----------
    axes : dict of str to Axes
    view : OscilloscopeView
    raster : {"scatter", "imshow"}
    only : iterable of str, optional
        Panels to draw; default all. A video redraws what has changed since the last frame.

    Raises
    ------
    ValueError
        If `raster` is unknown.
    KeyError
        If `only` names a panel that is not among `axes`.
    """
    if raster not in get_args(RasterStyle):
        raise ValueError(f"raster = {raster!r} is unknown; use scatter or imshow")
    with house_style():
        for name in axes if only is None else only:
            ax = axes[name]
            ax.clear()
            PANELS[name](ax, view, raster)


def draw_oscilloscope(
    view: OscilloscopeView, *, preset: Preset = "full", raster: RasterStyle = "scatter"
) -> Figure:
    """Return the oscilloscope figure of a view: 22 x 12.375 inches at 120 dpi.

    Parameters
    ----------
    view : OscilloscopeView
    preset : {"full", "video", "dataset", "sweep_video", "train"}
        Which panels, see :data:`PRESETS`.
    raster : {"scatter", "imshow"}
        One tick for each spike, or an image of all cells.

    Raises
    ------
    ValueError
        If `preset` or `raster` is unknown.

    Source: layout of the oscilloscope reference (pinglab).
    """
    with house_style():
        figure = new_figure(*SIZE_IN, DPI)
    draw_panels(make_axes(figure, preset), view, raster=raster)
    return figure
