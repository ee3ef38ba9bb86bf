"""The moving oscilloscope: one figure for all frames of a video, its artists updated in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist

from scope.animated_panels import MOVING_PANELS, Panel
from scope.oscilloscope import SIZE_IN, Preset, make_axes
from scope.panels_activity import RasterStyle
from scope.style import house_style, new_figure
from scope.video import Pixels
from scope.view import OscilloscopeView

WIDTH_PX = 1920
"""Width of a frame; its height follows from the 16:9 figure."""


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
        for artist in self._moving():
            artist.draw(renderer)
        return np.array(canvas.buffer_rgba())  # type: ignore[attr-defined]

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
        self.n_layouts += 1

    def _moving(self) -> list[Artist]:
        return [artist for panel in self._panels.values() for artist in panel.moving]
