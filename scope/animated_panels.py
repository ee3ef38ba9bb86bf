"""Panels of a moving oscilloscope: what stays behind, and what is moved from frame to frame.

A panel is drawn once by the functions that stills use. The artists that carry data are then kept
apart: their data are exchanged in place, and only they are drawn for a frame. The rest (axes,
ticks, labels) is drawn anew only where a limit or a text of it has to change.
"""
# ruff: noqa: D102 - lay_out, update and fits are documented once, in Panel

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scope import panels_activity as activity
from scope import panels_network as network
from scope import panels_progress as progress
from scope.oscilloscope import PANELS, raster_populations
from scope.panels_activity import RasterStyle
from scope.spectra import oscilloscope_psd
from scope.style import EXC, GAMMA, GREY, INH, TIMES, house_style
from scope.view import OscilloscopeView


def the(ax: Axes, gid: str) -> Any:
    """Return the artist of that name on an axes, or None."""
    found = ax.findobj(lambda artist: artist.get_gid() == gid)
    return found[0] if found else None


class Panel:
    """One panel; this base draws it anew for every frame, whatever is on it.

    Parameters
    ----------
    ax : Axes
    name : str
        Its key in :data:`scope.oscilloscope.PANELS`.
    references : sequence of OscilloscopeView
        Views whose data the limits must hold.
    raster : {"scatter", "imshow"}

    Attributes
    ----------
    moving : list of Artist
        What is drawn for every frame.
    """

    def __init__(
        self, ax: Axes, name: str, references: Sequence[OscilloscopeView], raster: RasterStyle
    ) -> None:
        self.ax, self.name, self.raster = ax, name, raster
        self.moving: list[Artist] = []
        self.lay_out(references)

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        """Draw the panel afresh, with limits that hold all references."""
        self.draw(references[-1])
        self.moving = [self.ax]

    def update(self, view: OscilloscopeView) -> bool:
        """Show `view`; return whether something besides the moving artists has changed."""
        self.draw(view)
        self.moving = [self.ax]
        return False

    def fits(self, view: OscilloscopeView) -> bool:
        """Tell whether the limits hold what `view` shows."""
        return True

    def draw(self, view: OscilloscopeView) -> None:
        """Draw the panel as a still shows it."""
        with house_style():
            self.ax.clear()
            PANELS[self.name](self.ax, view, self.raster)

    def retitle(self, text: str) -> bool:
        """Set the title; return whether it has to become a moving artist for that."""
        title = self.ax._left_title  # type: ignore[attr-defined]  # titles stand left
        if title.get_text() == text:
            return False
        title.set_text(text)
        if title in self.moving:
            return False
        # Matplotlib moves titles when it draws a whole axes, which a moving title is no part of.
        self.ax._autotitlepos = False  # type: ignore[attr-defined]
        title.set_y(1.0)
        self.moving.append(title)
        return True


class Still(Panel):
    """A panel that changes rarely: drawn with what stays, again only where its key changes."""

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        self.draw(references[-1])
        self._shown = self.key(references[-1])

    def update(self, view: OscilloscopeView) -> bool:
        key = self.key(view)
        if key == self._shown:
            return False
        self.draw(view)
        self._shown = key
        return True

    def key(self, view: OscilloscopeView) -> Hashable:
        """Return what decides how the panel looks."""
        image = None if view.image is None else np.asarray(view.image).tobytes()
        return view.digit, view.label, image


class Header(Panel):
    """The two lines of text."""

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        self.draw(references[-1])
        self.moving = list(self.ax.texts)
        self._by_gid = {text.get_gid(): text for text in self.ax.texts}

    def update(self, view: OscilloscopeView) -> bool:
        shown = network.header_texts(view)
        if shown.keys() != self._by_gid.keys():
            self.lay_out([view])
            return True
        for gid, text in shown.items():
            self._by_gid[gid].set_text(text)
        return False


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
        if the(self.ax, "message") is None:
            with house_style():
                activity.say(self.ax, "no spikes")
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
    """The spectrum, its peak and f_gamma; both lines of its legend are always there."""

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
            self._legend = self.ax.legend(loc="upper right")
            activity.say(self.ax, "no modulation")
        self._silent = the(self.ax, "message")
        self.moving = [self._power, self._peak, self._gamma, self._legend, self._silent]
        self.update(references[-1])

    def update(self, view: OscilloscopeView) -> bool:
        spectrum = oscilloscope_psd(
            view.recording, burn_in_ms=view.burn_in_ms, stim_window_ms=view.psd_window_ms,
            trial=view.trial,
        )  # fmt: skip
        low_hz, high_hz = activity.PSD_BAND_HZ
        inside = (spectrum.freqs_hz >= low_hz) & (spectrum.freqs_hz <= high_hz)
        freqs_hz, power = spectrum.freqs_hz[inside], spectrum.power[inside]
        self._power.set_data(freqs_hz, power)
        self._power.set_marker("o" if len(freqs_hz) <= 60 else "")
        self._silent.set_visible(not power.any())
        peak, gamma = self._legend.get_texts()
        if power.any() and power.max() > activity.PSD_LABEL_ABOVE:
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
        return self.retitle(activity.psd_title(spectrum))


class Output(Panel):
    """The final logits as bars."""

    _low = _high = 0.0

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        self.draw(references[-1])
        known = [v.final_logits for v in references if v.final_logits is not None]
        values = np.concatenate([[self._low, self._high], *known])
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        span = high - low if high > low else 1.0
        self._low, self._high = low, low + span
        bars = [patch for patch in self.ax.patches if patch.get_gid() != "true_class"]
        label = the(self.ax, "argmax_label")
        self._bars: list[Any] = bars if label is not None else []
        if not self._bars:  # no readout, or nothing finite: the panel says so
            self.moving = [self.ax]
            return
        self._best, self._true = label, the(self.ax, "true_label")
        zero = [line for line in self.ax.lines]  # the line at 0 stays above the bars
        self.ax.set_xlim(low - 0.02 * span if low < 0 else 0.0, high + 0.22 * span)
        self.moving = [*self._bars, *zero, self._best]
        if self._true is not None:
            self.moving.append(self._true)

    def update(self, view: OscilloscopeView) -> bool:
        logits = view.final_logits
        usable = logits is not None and len(logits) == len(self._bars) > 0
        if not usable or not np.isfinite(logits).all():  # type: ignore[arg-type]
            self._bars = []
            return super().update(view)
        if not self._bars:
            self.lay_out([view])
            return True
        assert logits is not None
        best = int(np.argmax(logits))
        for k, bar in enumerate(self._bars):
            bar.set_width(logits[k])
            bar.set_facecolor(EXC if k == best else "white")
            bar.set_edgecolor(EXC if k == best else GREY)
        self._best.set_position((max(float(logits[best]), 0.0), best))
        self._best.set_text(f" {best} ◀")
        return False

    def fits(self, view: OscilloscopeView) -> bool:
        logits = view.final_logits
        if logits is None or not self._bars or not np.isfinite(logits).all():
            return True
        return self._low <= float(logits.min()) and float(logits.max()) <= self._high


class Histograms(Panel):
    """The weights; histograms move only where the weights do."""

    def __init__(self, *arguments: Any) -> None:
        self._range: dict[str, tuple[float, float]] = {}
        self._moved: set[str] = set()
        super().__init__(*arguments)

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        view = references[-1]
        names = network.ordered_matrices(view.weights)
        # (limits of a matrix never shrink: see _range)
        widest = {
            name: max((v.weights[name] for v in references if name in v.weights), key=_reach)
            for name in names
        }
        still = {name: view.weights[name] for name in view.weights if name not in widest}
        unit = "µS" if view.model == "ping" else ""
        with house_style():
            self.ax.clear()
            network.plot_weights(self.ax, {**still, **widest}, unit=unit)
        self._names = names
        self._shown: dict[str, Any] = {}
        self._moved |= {
            name for name in names
            if any(not _equal(v.weights.get(name), view.weights[name]) for v in references)
        }  # fmt: skip
        self._inner: dict[str, Any] = {}
        self.moving = []
        for name in self._moved:
            inner = the(self.ax, name)
            if inner is None or the(inner, "histogram") is None:
                continue
            self._inner[name] = inner
            spans = [_span(v.weights[name]) for v in references]
            spans += [self._range[name]] if name in self._range else []
            low, high = min(s[0] for s in spans), max(s[1] for s in spans)
            self._range[name] = (low, high)
            network.set_weight_axis(inner, low, high)
            if the(inner, "zero_share") is None:
                with house_style():
                    network.write_zero_share(inner, 0.5)
            self.moving += [the(inner, "histogram"), the(inner, "zero_share")]
        self._show(view, names)

    def update(self, view: OscilloscopeView) -> bool:
        names = network.ordered_matrices(view.weights)
        changed = [n for n in names if not _equal(self._shown.get(n), view.weights[n])]
        if names != self._names or any(n not in self._inner for n in changed):
            self._moved |= set(changed)
            self.lay_out([view])
            return True
        self._show(view, changed)
        return False

    def _show(self, view: OscilloscopeView, names: Sequence[str]) -> None:
        for name in names:
            self._shown[name] = view.weights[name]
            if name not in self._inner:
                continue
            inner = self._inner[name]
            counts, edges, zero_share = network.weight_histogram(view.weights[name])
            top = max(int(counts.max()), 1)
            the(inner, "histogram").set_data(counts / top, edges)
            inner.set_ylim(0.0, 1.7)  # room for the label; the shape counts, not the height
            text = the(inner, "zero_share")
            text.set_text(network.zero_share_text(zero_share))

    def fits(self, view: OscilloscopeView) -> bool:
        for name, (low, high) in self._range.items():
            span = _span(view.weights[name])
            if span[0] < low or span[1] > high:
                return False
        return True


class Sweep(Panel):
    """The course of the swept value, or the drive against threshold where nothing is swept."""

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        view = references[-1]
        self.draw(view)
        self._values = None if view.sweep is None else tuple(view.sweep.values)
        if view.sweep is None:
            self.moving = [self.ax]
            return
        self._done, self._now = the(self.ax, "sweep_done"), the(self.ax, "sweep_now")
        self.ax.autoscale(False)
        self.moving = [self._done, self._now]
        self.retitle("")

    def update(self, view: OscilloscopeView) -> bool:
        sweep = view.sweep
        if sweep is None or self._values is None or tuple(sweep.values) != self._values:
            self.lay_out([view])
            return True
        frames = np.arange(1, sweep.index + 2)
        self._done.set_data(frames, sweep.values[: sweep.index + 1])
        self._now.set_data([sweep.index + 1], [sweep.value])
        return self.retitle(progress.sweep_title(sweep))


class SweepCurves(Panel):
    """What was measured so far against the swept value: rates, or f0."""

    _top = 0.0

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        view = references[-1]
        self.draw(view)
        self.moving = [self.ax]
        self._lines: dict[str, Any] = {}
        sweep = view.sweep
        if sweep is None:
            return
        for artist in [*self.ax.lines, *self.ax.texts]:
            artist.remove()
        size = progress.marker_size(len(sweep.values))
        self.moving = []
        with house_style():
            if self.name == "sweep_rates":
                for key, colour, marker in (("E", EXC, "o"), ("I", INH, "s")):
                    self._add(key, color=colour, marker=marker, markersize=size, label=key)
                highest = max([1.0, *(r for v in references for r in _measured_rates(v))])
                if highest > self._top:  # with room for those that are still to come
                    self._top = 1.2 * highest
                self.ax.set_ylim(0.0, 1.35 * self._top)  # room for the legend
                self.ax.legend(loc="upper left", ncols=2)
            else:
                self._add("f0", color=EXC, marker="o", markersize=size)
                self._add("none", color=GREY, marker="x", linestyle="", markersize=size + 1,
                          clip_on=False, label=f"{TIMES} no peak")  # fmt: skip
                self.ax.legend(loc="upper right", handlelength=0.0, handletextpad=0.0,
                               markerscale=0.0)  # fmt: skip
        self.update(view)

    def _add(self, key: str, **look: Any) -> None:
        (line,) = self.ax.plot([], [], gid=f"{self.name}_{key}", **look)
        self._lines[key] = line
        self.moving.append(line)

    def update(self, view: OscilloscopeView) -> bool:
        sweep = view.sweep
        if sweep is None or not self._lines:
            return False
        values = np.asarray(sweep.values, dtype=np.float64)[: sweep.index + 1]
        if self.name == "sweep_rates":
            for key, rates in (("E", sweep.rate_e_hz), ("I", sweep.rate_i_hz)):
                self._lines[key].set_data(values[: len(rates)], rates)
        else:
            f0 = np.asarray(sweep.f0_hz, dtype=np.float64)
            found = f0 > 0
            self._lines["f0"].set_data(values[: len(f0)], np.where(found, f0, np.nan))
            missing = values[: len(f0)][~found]
            self._lines["none"].set_data(missing, np.zeros(len(missing)))
        return False

    def fits(self, view: OscilloscopeView) -> bool:
        return self.name == "sweep_f0" or max([0.0, *_measured_rates(view)]) <= self._top


def _measured_rates(view: OscilloscopeView) -> list[float]:
    if view.sweep is None:
        return []
    every = [*view.sweep.rate_e_hz, *view.sweep.rate_i_hz]
    return [float(rate) for rate in every if np.isfinite(rate)]


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    return one is not None and other is not None and np.array_equal(one, other)


def _span(matrix: NDArray[np.floating]) -> tuple[float, float]:
    """Return the lowest and highest finite weight that is not zero; (0, 0) for none."""
    values = np.asarray(matrix)[np.isfinite(matrix) & (np.asarray(matrix) != 0)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _reach(matrix: NDArray[np.floating]) -> float:
    low, high = _span(matrix)
    return max(abs(low), abs(high))


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
