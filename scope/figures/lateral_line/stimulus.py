"""Figures of the stimulus alone: a sphere that moves past the neuromasts, and their rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from bridge.lateral_line.field import AFFERENTS, neuromasts
from bridge.lateral_line.streams import Sweep, simulate
from scope.figures.lateral_line.parts import legend_above
from scope.style import EXC, GREY, INH, dress, house_style, new_figure

DPI = 100.0


def gallery(
    distances_cm: Sequence[float] = (0.7, 1.5, 2.3), *, speed_cm_s: float = 10.0,
    n_neuromasts: int = 30, body_length_cm: float = 4.0, duration_s: float = 1.2,
    dt_s: float = 0.001, radius_cm: float = 0.5, flow_sign: int = 1, seed: int = 123,
) -> dict[str, Figure]:  # fmt: skip
    """Return figures of sweeps at several distances, each in both directions, by name."""
    xi_cm = neuromasts(n_neuromasts, body_length_cm)
    found = {}
    for distance in distances_cm:
        for direction, word in ((1.0, "tailward"), (-1.0, "headward")):
            sweep = simulate(
                round(duration_s / dt_s), dt_s, xi_cm, rng=np.random.default_rng(seed),
                distance_cm=distance, direction=direction, speed_cm_s=speed_cm_s,
                radius_cm=radius_cm, flow_sign=flow_sign,
            )  # fmt: skip
            found[f"sweep_{distance:g}_cm_{word}"] = draw_sweep(sweep, radius_cm=radius_cm)
    return found


def draw_sweep(sweep: Sweep, *, radius_cm: float = 0.5) -> Figure:
    """Draw geometry, position of the sphere, mean rate and the rate of every neuromast.

    Parameters
    ----------
    sweep : Sweep
        From :func:`bridge.lateral_line.streams.simulate`.
    radius_cm : float
        Radius at which the sphere is drawn.
    """
    t_s = sweep.t_s
    with house_style():
        figure = new_figure(9.0, 10.0, DPI)
        axes = figure.subplots(4, 1, height_ratios=(1.5, 1.0, 1.0, 1.5))
        geometry, position, mean, image = axes
        figure.subplots_adjust(left=0.11, right=0.86, top=0.94, bottom=0.07, hspace=0.75)
        geometry.scatter(sweep.xi_cm, np.zeros_like(sweep.xi_cm), s=8, color=GREY,
                         label="neuromasts")  # fmt: skip
        geometry.plot(sweep.x_cm, sweep.y_cm, color=EXC, lw=1.5, label="path")
        middle = (float(np.median(sweep.xi_cm)), sweep.distance_cm)
        geometry.add_patch(Circle(middle, radius_cm, color=EXC, alpha=0.3))
        geometry.set_aspect("equal", adjustable="datalim")
        legend_above(geometry)
        dress(geometry, title=f"Sphere at {sweep.distance_cm:g} cm, {sweep.speed_cm_s:g} cm/s",
              xlabel="x (cm)", ylabel="y (cm)")  # fmt: skip
        position.plot(t_s, sweep.x_cm, color=EXC)
        position.axhspan(sweep.xi_cm[0], sweep.xi_cm[-1], color=GREY, alpha=0.15, lw=0)
        dress(position, title="Position (shaded: the body)", xlabel="", ylabel="Sphere x (cm)")
        mean.plot(t_s, sweep.rate_hz.mean(axis=1), color=INH)
        mean.axhline(AFFERENTS.r0_hz, color=GREY, ls="--", lw=1.2)
        dress(mean, title="Mean over neuromasts (dashed: at rest)", xlabel="", ylabel="Rate (Hz)")
        drawn = image.imshow(
            sweep.rate_hz.T, origin="lower", aspect="auto", cmap="magma", vmin=0.0,
            vmax=AFFERENTS.rmax_hz, interpolation="nearest",
            extent=(t_s[0], t_s[-1], sweep.xi_cm[0], sweep.xi_cm[-1]),
        )  # fmt: skip
        dress(image, title="Every neuromast", xlabel="Time (s)", ylabel="x (cm)")
        for ax in (position, mean, image):
            ax.set_xlim(t_s[0], t_s[-1])
        box = image.get_position()
        bar = figure.add_axes((box.x1 + 0.015, box.y0, 0.018, box.height))
        figure.colorbar(drawn, cax=bar)
        dress(bar, ylabel="Rate (Hz)")
    return figure
