"""Figures by name, for those who must not know who draws them.

A simulation that is asked to plot names a figure and hands over its data; the module behind the
name (of `scope`) is imported only then, as any plug-in would be.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

FIGURES = {
    "clustered.raster": "scope.clustered:raster_figure",
    "clustered.landscape": "scope.clustered_mean_field:landscape_figure",
    "clustered.fixed_points": "scope.clustered_mean_field:fixed_points_figure",
    "clustered.transitions": "scope.clustered:transitions_figure",
}


def write_figure(name: str, path: Path, **data: Any) -> None:
    """Draw a figure and write it whole.

    Raises
    ------
    ValueError
        For a figure that does not exist.
    """
    if name not in FIGURES:
        raise ValueError(f"there is no figure {name!r}; legal are {', '.join(FIGURES)}")
    module, _, function = FIGURES[name].partition(":")
    figure = getattr(importlib.import_module(module), function)(**data)
    importlib.import_module("scope.files").save_figure(figure, path)
