"""Moving panels of a sweep: where it is, and what was measured so far."""
# ruff: noqa: D102 - lay_out, update and fits are documented once, in Panel

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scope.film.moving_panel import Panel, the
from scope.oscilloscope import panels_progress as progress
from scope.oscilloscope.view import OscilloscopeView
from scope.style import EXC, GREY, INH, TIMES, house_style


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
        self._value = the(self.ax, "sweep_value")
        self.ax.autoscale(False)
        self.moving = [self._done, self._now, self._value]

    def update(self, view: OscilloscopeView) -> bool:
        sweep = view.sweep
        if sweep is None or self._values is None or tuple(sweep.values) != self._values:
            self.lay_out([view])
            return True
        frames = np.arange(1, sweep.index + 2)
        self._done.set_data(frames, sweep.values[: sweep.index + 1])
        self._now.set_data([sweep.index + 1], [sweep.value])
        self._value.set_text(progress.sweep_now(sweep))
        return False


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
