"""What a figure shows: its named artists, and whether its texts can be read."""

from __future__ import annotations

import matplotlib
from matplotlib.text import Text


def drawn_texts(figure):
    """(text, bounding box in pixels) of everything that is written on a figure."""
    renderer = figure.canvas.get_renderer()
    off_scale = set()
    for ax in figure.findobj(matplotlib.axes.Axes):
        for axis in (ax.xaxis, ax.yaxis):
            shown = set(axis._get_ticks_to_draw() if hasattr(axis, "_get_ticks_to_draw")
                        else axis._update_ticks())  # fmt: skip
            visible = axis.get_visible() and ax.axison
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if tick not in shown or not visible:
                    off_scale |= {tick.label1, tick.label2}
    found = []
    for text in figure.findobj(Text):
        if text in off_scale or not text.get_visible() or not text.get_text().strip():
            continue
        found.append((text, text.get_window_extent(renderer)))
    return found


def check_legible(figure):
    """No text overlaps another, leaves the figure, or is smaller than 11.5 points."""
    figure.canvas.draw()
    texts = drawn_texts(figure)
    width, height = figure.bbox.size
    for text, box in texts:
        assert text.get_fontsize() >= 11.5, text
        assert box.x0 >= 0, f"{text.get_text()!r} is cut at the left"
        assert box.y0 >= 0, f"{text.get_text()!r} is cut at the bottom"
        assert box.x1 <= width, f"{text.get_text()!r} is cut at the right"
        assert box.y1 <= height, f"{text.get_text()!r} is cut at the top"
    for k, (one, box) in enumerate(texts):
        for other, beside in texts[k + 1 :]:
            across = min(box.x1, beside.x1) - max(box.x0, beside.x0)
            along = min(box.y1, beside.y1) - max(box.y0, beside.y0)
            # Boxes include the space of descenders: two pixels are no overlap of ink.
            assert min(across, along) <= 2.0, f"{one.get_text()!r} overlaps {other.get_text()!r}"


def the(ax, gid):
    """Return the one artist of that name."""
    found = ax.findobj(lambda artist: artist.get_gid() == gid)
    assert len(found) == 1, f"{gid}: {len(found)} artists"
    return found[0]


def has(ax, gid):
    return bool(ax.findobj(lambda artist: artist.get_gid() == gid))


def message(ax):
    return the(ax, "message").get_text()
