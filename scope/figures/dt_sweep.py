"""Accuracy and rate of a trained network against the time step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scope.style import GREY, dress, house_style, new_figure

_TRAINED = "#CC3311"


def draw_dt_sweep(
    points: Mapping[str, Sequence[Mapping[str, Any]]], *, train_dt_ms: float | None, title: str
) -> Figure:
    """Return a figure of two panels: accuracy (%) and hidden rate (Hz) against dt (ms).

    Parameters
    ----------
    points : dict of str to sequence of mapping
        By backend: rows with ``dt`` (ms), ``acc`` (%) and ``hid_rate_hz``, ascending in dt.
    train_dt_ms : float or None, ms
        The step at which the network was trained, marked by a line and a square.
    title : str

    Source: the layout of the oscilloscope reference's dt_sweep.png (pinglab), with a rate panel.
    """
    with house_style():
        figure = new_figure(5.0, 7.6, 150)
        top = figure.add_axes((0.15, 0.56, 0.8, 0.37))
        bottom = figure.add_axes((0.15, 0.09, 0.8, 0.37))
        styles = (("o", "-"), ("x", "--"))
        for (backend, rows), (marker, line) in zip(points.items(), styles, strict=False):
            dt = np.array([row["dt"] for row in rows])
            for ax, key in ((top, "acc"), (bottom, "hid_rate_hz")):
                values = [row[key] for row in rows]
                ax.plot(dt, values, line, marker=marker, color="black", label=backend, ms=5)
                here = [k for k, d in enumerate(dt) if train_dt_ms and np.isclose(d, train_dt_ms)]
                if here:
                    ax.plot(dt[here], np.array(values)[here], "s", color=_TRAINED, ms=8, zorder=3)
        largest = max(row["hid_rate_hz"] for rows in points.values() for row in rows)
        top.set_ylim(0, 105)
        bottom.set_ylim(0, 1.15 * max(largest, 1.0))
        for ax, name in ((top, "Test accuracy (%)"), (bottom, "E rate (Hz)")):
            if train_dt_ms is not None:
                ax.axvline(train_dt_ms, color=_TRAINED, ls="--", lw=1, label="trained here")
            ax.set_xscale("log")
            ticks = sorted({row["dt"] for rows in points.values() for row in rows})
            ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
            ax.minorticks_off()
            ax.grid(color=GREY, alpha=0.3)
            dress(ax, title=title if ax is top else "", xlabel="dt (ms)", ylabel=name)
        if len(points) > 1 or train_dt_ms is not None:
            top.legend(loc="lower left", frameon=False)
    return figure
