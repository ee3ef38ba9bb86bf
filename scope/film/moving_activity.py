"""Moving panels of what the network did: rasters, input, population rate, spectrum."""
# ruff: noqa: D102 - lay_out, update and fits are documented once, in Panel

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from matplotlib.text import Text
from numpy.typing import NDArray

from scope.film.moving_panel import Panel, the
from scope.film.spike_marks import SpikeMarks
from scope.measure.spectra import oscilloscope_psd
from scope.oscilloscope import panels_activity as activity
from scope.oscilloscope import panels_spectrum as spectra
from scope.oscilloscope.figure import raster_populations
from scope.oscilloscope.view import OscilloscopeView
from scope.style import EXC, GAMMA, GREY, house_style, say


class Spikes(Panel):
    """A raster of spikes: of the E cells, the I cells or the input."""

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        view = references[-1]
        self.draw(view)
        self._shape = self._key(view)
        found = self._spikes(view)
        if found is None:  # no such population: the panel says so and stays
            self._marks = None
            return
        gid = found[0]
        self._marks = the(self.ax, gid)
        if self.raster == "scatter":
            self._marks = SpikeMarks(self._marks)
        if the(self.ax, "message") is None:
            with house_style():
                say(self.ax, "no spikes")
        self._silent = the(self.ax, "message")
        self.moving = [self._marks, self._silent]
        self.update(view)

    def update(self, view: OscilloscopeView) -> bool:
        if self._key(view) != self._shape:
            self.lay_out([view])
            return True
        found = self._spikes(view)
        if self._marks is None or found is None:
            return False
        _, step_cell, dt_ms, n_cells = found
        if self.raster == "scatter":
            points = activity.raster_points(
                step_cell, dt_ms=dt_ms, n_cells=n_cells, window_ms=view.window_ms
            )
            self._marks.set_offsets(points)
            self._marks.set_sizes([activity.tick_size(dt_ms)])
            n_drawn = len(points)
        else:
            image = activity.raster_image(
                step_cell, dt_ms=dt_ms, n_cells=n_cells, window_ms=view.window_ms,
                max_shape=activity.screen_shape(self.ax),
            )  # fmt: skip
            self._marks.set_data(image)
            n_drawn = int(image.sum())
        self._silent.set_visible(not n_drawn)
        return False

    def _key(self, view: OscilloscopeView) -> Hashable:
        found = self._spikes(view)
        return view.window_ms, view.stim_window_ms, None if found is None else found[0::3]

    def _spikes(self, view: OscilloscopeView) -> tuple[str, NDArray[np.integer], float, int] | None:
        """Return gid, spikes (step, cell), dt (ms) and number of cells."""
        recording = view.recording
        if self.name == "drive":
            stimulus = view.stimulus
            if stimulus is None or (stimulus.g_ext_us is not None and not len(stimulus.events)):
                return None
            rows = stimulus.trial_events(view.trial)[:, [0, 2]]
            return "input_spikes", rows, stimulus.dt_ms, stimulus.n_in
        population = raster_populations(view)[0 if self.name == "e_raster" else 1][0]
        if population is None:
            return None
        rows = recording.trial_spikes(population, view.trial)[:, [0, 2]]
        return f"{population}_spikes", rows, recording.dt_ms, recording.n_cells[population]


class Conductance(Panel):
    """The conductance drive as an image."""

    _known: Sequence[tuple[float, float]] = ()

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        view = references[-1]
        self.draw(view)
        self._image = the(self.ax, "drive_image")
        ranges = [activity.conductance_range_us(v.stimulus, v.trial, v.window_ms)
                  for v in references if v.stimulus is not None]  # fmt: skip
        ranges += self._known
        self._known = [(min(r[0] for r in ranges), max(r[1] for r in ranges))]
        self._low, self._high = self._known[0]
        self._image.set_clim(self._low, max(self._high, self._low + 1e-12))
        # One scale for all frames, and the title says which.
        title = activity.conductance_title(self._low, self._high)
        self.ax._left_title.set_text(title)  # type: ignore[attr-defined]  # titles stand left
        self.moving = [self._image]

    def update(self, view: OscilloscopeView) -> bool:
        assert view.stimulus is not None
        self._image.set_data(
            activity.conductance_image(self.ax, view.stimulus, view.trial, view.window_ms)
        )
        return False

    def fits(self, view: OscilloscopeView) -> bool:
        if view.stimulus is None:
            return True
        low, high = activity.conductance_range_us(view.stimulus, view.trial, view.window_ms)
        return low >= self._low and high <= self._high


class PopulationRate(Panel):
    """The share of E cells that fire in a bin."""

    _top = 0.5

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        self.draw(references[-1])
        self._stairs = the(self.ax, "population_rate")
        self.moving = [self._stairs]
        self._top = max(self._top, *map(self._top_of, references))
        self.ax.set_ylim(0.0, self._top)

    def update(self, view: OscilloscopeView) -> bool:
        edges_ms, share = activity.population_share(view.recording, view.trial, view.window_ms)
        self._stairs.set_data(share, edges_ms)
        return self.retitle(activity.share_title(view.recording))

    def fits(self, view: OscilloscopeView) -> bool:
        return self._top_of(view) <= self._top

    def _top_of(self, view: OscilloscopeView) -> float:
        share = activity.population_share(view.recording, view.trial, view.window_ms)[1]
        return activity.share_axis_top(share)


class Spectrum(Panel):
    """The spectrum, its peak and f_gamma; both lines of its legend have fixed places."""

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        self.draw(references[-1])
        for line in list(self.ax.lines):
            line.remove()
        for text in list(self.ax.texts):
            text.remove()
        with house_style():
            (self._power,) = self.ax.plot([], [], color=EXC, markersize=4, gid="psd")
            (self._peak,) = self.ax.plot([], [], color=GREY, linestyle="--", label="peak",
                                         gid="psd_peak")  # fmt: skip
            (self._gamma,) = self.ax.plot([], [], color="#1A1A1A", linestyle=":", label="gamma",
                                          gid="f_gamma")  # fmt: skip
            self.ax.set_ylim(0.0, 1.75)  # room for a legend of two lines
            if (legend := self.ax.get_legend()) is not None:
                legend.remove()
            self._texts = [
                self._legend_line(y, line) for y, line in ((0.92, self._peak), (0.75, self._gamma))
            ]
            say(self.ax, "no modulation")
        self._silent = the(self.ax, "message")
        self.moving = [self._power, self._peak, self._gamma, self._silent, *self._texts]
        self.alone = list(self._texts)
        self.update(references[-1])

    def update(self, view: OscilloscopeView) -> bool:
        spectrum = oscilloscope_psd(
            view.recording, burn_in_ms=view.burn_in_ms, stim_window_ms=view.psd_window_ms,
            trial=view.trial,
        )  # fmt: skip
        low_hz, high_hz = spectra.PSD_BAND_HZ
        inside = (spectrum.freqs_hz >= low_hz) & (spectrum.freqs_hz <= high_hz)
        freqs_hz, power = spectrum.freqs_hz[inside], spectrum.power[inside]
        self._power.set_data(freqs_hz, power)
        self._power.set_marker("o" if len(freqs_hz) <= 60 else "")
        self._silent.set_visible(not power.any())
        peak, gamma = self._texts
        if power.any() and power.max() > spectra.PSD_LABEL_ABOVE:
            at_hz = float(freqs_hz[np.argmax(power)])
            self._peak.set_data([at_hz, at_hz], [0.0, 1.05])
            peak.set_text(f"peak {at_hz:.0f} Hz, {spectrum.resolution_hz:.3g} Hz bins")
        else:
            self._peak.set_data([], [])
            peak.set_text("no peak")
        summary = view.summary
        if np.isfinite(summary.f_gamma_hz):
            self._gamma.set_data([summary.f_gamma_hz] * 2, [0.0, 1.05])
            doubt = "" if summary.f_gamma_valid else f": {summary.f_gamma_note or 'no rhythm'}"
            gamma.set_text(f"f{GAMMA} {summary.f_gamma_hz:.1f} Hz{doubt}")
        else:
            self._gamma.set_data([], [])
            gamma.set_text(f"f{GAMMA} -")
        return self.retitle(spectra.psd_title(spectrum))

    def _legend_line(self, y: float, line: Any) -> Text:
        """Draw a sample of a line; return the text beside it."""
        axes_units = self.ax.transAxes
        self.ax.plot([0.38, 0.43], [y, y], color=line.get_color(), linestyle=line.get_linestyle(),
                     transform=axes_units)  # fmt: skip
        return self.ax.text(0.45, y, "", va="center", fontsize=13, transform=axes_units)
