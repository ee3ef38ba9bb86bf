"""Moving panels of the network itself: its two lines of text, its output, its weights."""
# ruff: noqa: D102 - lay_out, update and fits are documented once, in Panel

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scope.film.moving_panel import Panel, the
from scope.oscilloscope import panels_network as network
from scope.oscilloscope.view import OscilloscopeView
from scope.style import EXC, GREY, house_style


class Header(Panel):
    """The two lines of text."""

    def lay_out(self, references: Sequence[OscilloscopeView]) -> None:
        self.draw(references[-1])
        self.moving = list(self.ax.texts)
        self.alone = list(self.ax.texts)
        self._by_gid = {text.get_gid(): text for text in self.ax.texts}

    def update(self, view: OscilloscopeView) -> bool:
        shown = network.header_texts(view)
        if shown.keys() != self._by_gid.keys():
            self.lay_out([view])
            return True
        for gid, text in shown.items():
            self._by_gid[gid].set_text(text)
        return False


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
