"""Learning curves: accuracy against the epoch, of several networks and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from scope.style import EXC, GREY, LINE_STYLES, OTHERS, dress, house_style, new_figure

COLOURS = (EXC, *OTHERS)


def draw_learning_curves(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    bounds: Mapping[str, Mapping[str, float]] | None = None,
    *,
    window: int = 5,
    bottom: float | None = None,
) -> Figure:
    """Return one panel for each title, with a curve for each network.

    Parameters
    ----------
    panels : mapping of mapping
        Title to network to accuracies (seed, epoch), %. The line is the mean over seeds, the band
        spans them; both are running means over `window` epochs.
    bounds : mapping of mapping, optional
        Title to name to an accuracy (%), drawn as a horizontal line. Colours and dashes repeat.
    window : int
        Epochs; no more than there are.
    bottom : float, optional
        Lower end of the axis, %.

    Raises
    ------
    ValueError
        If there is no panel, or the accuracies of a network are not (seed, epoch).
    """
    if not panels:
        raise ValueError("no panel to draw")
    with house_style():
        figure = new_figure(6.0 * len(panels), 4.6, 100)
        axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
        for k, (ax, (title, networks)) in enumerate(zip(axes, panels.items(), strict=True)):
            for colour, (name, values) in zip(cycle(COLOURS), networks.items(), strict=False):
                acc = np.asarray(values, dtype=np.float64)
                if acc.ndim != 2 or 0 in acc.shape:
                    raise ValueError(f"{name}: accuracies are (seed, epoch), not {acc.shape}")
                width = min(window, acc.shape[1])
                smooth = sliding_window_view(acc, width, axis=1).mean(axis=-1)
                epochs = np.arange(width, acc.shape[1] + 1)
                ax.fill_between(
                    epochs, smooth.min(0), smooth.max(0), color=colour, alpha=0.25, lw=0
                )
                ax.plot(epochs, smooth.mean(axis=0), color=colour, label=name)
            for style, (name, value) in zip(
                cycle(LINE_STYLES[1:]), (bounds or {}).get(title, {}).items(), strict=False
            ):
                ax.axhline(value, color=GREY, lw=1.2, ls=style, label=name)
            dress(ax, title=title, xlabel="Epoch", ylabel="Accuracy (%)" if k == 0 else "")
            ax.legend(loc="lower right")
        axes[0].set_ylim(bottom=bottom)
        figure.tight_layout()
    return figure
