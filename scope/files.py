"""Figures as files: the same figure gives the same bytes, and a file is whole or absent."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from bridge.atomic import atomic_path
from scope.style import house_style


def png_bytes(fig: Figure) -> bytes:
    """Return a figure as PNG, free of dates and software versions."""
    buffer = io.BytesIO()
    with house_style():
        # "Software" would carry the version of matplotlib; None removes it.
        fig.savefig(buffer, format="png", dpi=fig.dpi, metadata={"Software": None})
    return buffer.getvalue()


def save_figure(fig: Figure, path: str | Path) -> Path:
    """Write a figure to a PNG file and return its path.

    Raises
    ------
    ValueError
        If `path` does not end in ``.png``.
    FileNotFoundError
        If its folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path.name!r} does not end in .png; figures are saved as PNG only")
    data = png_bytes(fig)
    with atomic_path(path) as partial:
        partial.write_bytes(data)
    return path
