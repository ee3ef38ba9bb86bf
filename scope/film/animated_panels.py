"""How each panel of the oscilloscope moves in a video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes

from scope.film.moving_activity import Conductance, PopulationRate, Spectrum, Spikes
from scope.film.moving_network import Header, Histograms, Output
from scope.film.moving_panel import Panel, Still
from scope.film.moving_progress import Sweep, SweepCurves
from scope.oscilloscope.panels_activity import RasterStyle
from scope.oscilloscope.view import OscilloscopeView


def _drive_panel(
    ax: Axes, name: str, references: Sequence[OscilloscopeView], raster: RasterStyle
) -> Panel:
    stimulus = references[-1].stimulus
    if stimulus is not None and stimulus.g_ext_us is not None and not len(stimulus.events):
        return Conductance(ax, name, references, raster)
    return Spikes(ax, name, references, raster)


MOVING_PANELS: Mapping[str, Callable[..., Panel]] = {
    "header": Header,
    "e_raster": Spikes,
    "i_raster": Spikes,
    "drive": _drive_panel,
    "participation": PopulationRate,
    "psd": Spectrum,
    "output": Output,
    "weights": Histograms,
    "digit_image": Still,
    "sweep": Sweep,
    "sweep_rates": SweepCurves,
    "sweep_f0": SweepCurves,
}
"""How each panel moves; those that are not named are drawn anew for every frame."""
