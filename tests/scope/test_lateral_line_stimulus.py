"""Figures of the stimulus: what they show is what the neuromasts get."""

from __future__ import annotations

import numpy as np
from legible import check_legible
from numpy.testing import assert_array_equal

from bridge.lateral_line.field import neuromasts
from bridge.lateral_line.streams import simulate
from scope.figures.lateral_line.stimulus import draw_sweep, gallery


def test_a_sweep_shows_path_mean_and_every_neuromast():
    sweep = simulate(300, 0.004, neuromasts(30, 4.0), rng=np.random.default_rng(3),
                     distance_cm=0.7, direction=-1.0, speed_cm_s=10.0)  # fmt: skip
    figure = draw_sweep(sweep)
    check_legible(figure)
    geometry, position, mean, image, bar = figure.axes
    assert_array_equal(position.lines[0].get_ydata(), sweep.x_cm)
    assert_array_equal(mean.lines[0].get_ydata(), sweep.rate_hz.mean(axis=1))
    (drawn,) = image.images
    assert_array_equal(drawn.get_array(), sweep.rate_hz.T)
    assert drawn.get_clim() == (0.0, 200.0)
    assert [ax.get_ylabel() for ax in (geometry, position, mean, image, bar)] == [
        "y (cm)", "Sphere x (cm)", "Rate (Hz)", "x (cm)", "Rate (Hz)"
    ]  # fmt: skip


def test_the_gallery_has_every_distance_in_both_directions():
    found = gallery((0.7, 2.3), dt_s=0.01)
    assert list(found) == ["sweep_0.7_cm_tailward", "sweep_0.7_cm_headward",
                           "sweep_2.3_cm_tailward", "sweep_2.3_cm_headward"]  # fmt: skip
    tail, head = (found[f"sweep_0.7_cm_{word}ward"].axes[1].lines[0].get_ydata()
                  for word in ("tail", "head"))  # fmt: skip
    assert tail[0] == -1.0
    assert head[0] == 5.0
