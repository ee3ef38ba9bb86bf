"""Panels of a moving oscilloscope: what stays behind, and what is moved from frame to frame.

A panel is drawn once by the functions that stills use. The artists that carry data are then kept
apart: their data are exchanged in place, and only they are drawn for a frame. The rest (axes,
ticks, labels) is drawn anew only where a limit or a text of it has to change.
"""
# ruff: noqa: D102 - lay_out, update and fits are documented once, in Panel

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.text import Text

from scope.oscilloscope.figure import PANELS
from scope.oscilloscope.panels_activity import RasterStyle
from scope.oscilloscope.view import OscilloscopeView
from scope.style import house_style


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
        Its key in :data:`scope.oscilloscope.figure.PANELS`.
    references : sequence of OscilloscopeView
        Views whose data the limits must hold.
    raster : {"scatter", "imshow"}

    Attributes
    ----------
    moving : list of Artist
        What is drawn for every frame.
    alone : list of Text
        Those of them over and under which nothing else moves: their pixels can be kept.
    """

    def __init__(
        self, ax: Axes, name: str, references: Sequence[OscilloscopeView], raster: RasterStyle
    ) -> None:
        self.ax, self.name, self.raster = ax, name, raster
        self.moving: list[Artist] = []
        self.alone: list[Text] = []
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
        self.alone.append(title)
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
