"""The moving oscilloscope: one figure for all frames of a video, its artists updated in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.text import Text

from scope.film.animated_panels import MOVING_PANELS
from scope.film.moving_panel import Panel
from scope.film.video import Pixels
from scope.oscilloscope.figure import SIZE_IN, Preset, make_axes
from scope.oscilloscope.panels_activity import RasterStyle
from scope.oscilloscope.view import OscilloscopeView
from scope.style import house_style, new_figure

WIDTH_PX = 1920
"""Width of a frame; its height follows from the 16:9 figure."""
MAX_TEXTS = 1000
"""Rendered texts that are kept."""


class OscilloscopeAnimation:
    """Frames of an oscilloscope from one figure with fixed axes.

    What stays (axes, ticks, labels) is drawn once and kept as an image; for a frame only the
    artists that carry data are drawn over it. Where a view does not fit the limits, they grow, and
    what stays is drawn again.

    ::

        animation = OscilloscopeAnimation("sweep_video", references=[first, last])
        with VideoWriter(path, size=animation.size, fps=10) as video:
            for view in views:
                video.add(animation.frame(view))

    Parameters
    ----------
    preset : {"full", "video", "dataset", "sweep_video", "train"}
    references : sequence of OscilloscopeView
        Views whose data all axes are to hold from the first frame on (the ends of a sweep).
        Without any, axes begin with the first frame.
    raster : {"scatter", "imshow"}
    width_px : int

    Attributes
    ----------
    size : (int, int)
        Width and height of a frame, pixels.
    n_layouts : int
        How often what stays was drawn.

    Source: restore_region and draw_artist, Matplotlib's blitting guide; measured,
    benchmarks/scan.py.
    """

    def __init__(
        self,
        preset: Preset,
        *,
        references: Sequence[OscilloscopeView] = (),
        raster: RasterStyle = "scatter",
        width_px: int = WIDTH_PX,
    ) -> None:
        if width_px < 320:
            raise ValueError(f"width_px = {width_px} is too small to be read; use 320 or more")
        with house_style():
            self._figure = new_figure(*SIZE_IN, width_px / SIZE_IN[0])
        self._axes = make_axes(self._figure, preset)
        self._raster = raster
        self._references = list(references)
        self._panels: dict[str, Panel] = {}
        self._background: object = None
        self._texts: dict[tuple[int, str], tuple[slice, slice, Pixels]] = {}
        self.n_layouts = 0
        width, height = self._figure.canvas.get_width_height()
        self.size = (int(width), int(height))

    def frame(self, view: OscilloscopeView) -> Pixels:
        """Return the picture of a view, RGBA, uint8, shape (height, width, 4)."""
        stale = self._background is None
        if not self._panels:
            for name, ax in self._axes.items():
                make = MOVING_PANELS.get(name, Panel)
                self._panels[name] = make(ax, name, [*self._references, view], self._raster)
            self._references.clear()  # limits hold them now; their data may go
        for panel in self._panels.values():
            if not panel.fits(view):
                panel.lay_out([view])  # limits only grow
                stale = True
        for panel in self._panels.values():
            stale |= panel.update(view)
        canvas = self._figure.canvas
        if stale:
            self._draw_background()
        canvas.restore_region(self._background)  # type: ignore[attr-defined]
        renderer = canvas.get_renderer()  # type: ignore[attr-defined]
        buffer = np.asarray(canvas.buffer_rgba())  # type: ignore[attr-defined]
        for panel in self._panels.values():
            for artist in panel.moving:
                if isinstance(artist, Text) and artist in panel.alone:
                    self._draw_text(artist, renderer, buffer)
                else:
                    artist.draw(renderer)
        return buffer.copy()

    def _draw_text(self, text: Text, renderer: Any, buffer: Pixels) -> None:
        """Draw a text that stands alone; the pixels of one that was here before are pasted."""
        key = (id(text), text.get_text())
        if key not in self._texts:
            text.draw(renderer)
            box, height = text.get_window_extent(renderer), self.size[1]
            rows = slice(max(int(height - box.y1) - 6, 0), max(int(height - box.y0) + 6, 0))
            columns = slice(max(int(box.x0) - 6, 0), max(int(box.x1) + 6, 0))
            if len(self._texts) >= MAX_TEXTS:
                self._texts.clear()
            self._texts[key] = (rows, columns, buffer[rows, columns].copy())
            return
        rows, columns, pixels = self._texts[key]
        buffer[rows, columns] = pixels

    def _draw_background(self) -> None:
        """Draw everything but the moving artists, and keep it."""
        hidden = [artist for artist in self._moving() if artist.get_visible()]
        for artist in hidden:
            artist.set_visible(False)
        canvas = self._figure.canvas
        canvas.draw()
        for artist in hidden:
            artist.set_visible(True)
        self._background = canvas.copy_from_bbox(self._figure.bbox)  # type: ignore[attr-defined]
        self._texts.clear()
        self.n_layouts += 1

    def _moving(self) -> list[Artist]:
        return [artist for panel in self._panels.values() for artist in panel.moving]
