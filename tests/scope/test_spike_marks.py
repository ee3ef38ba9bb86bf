"""Many marks drawn as one image look as Matplotlib draws them one by one."""

from __future__ import annotations

import numpy as np
import pytest

from scope.film import spike_marks
from scope.film.spike_marks import SpikeMarks, covered
from scope.oscilloscope.panels_activity import plot_spikes
from scope.style import EXC, new_figure


def raster(n_spikes, *, dt_ms=0.1, dpi=120, alpha=None):
    """Return a figure with a raster that also has spikes on every edge of its axes."""
    rng = np.random.default_rng(n_spikes)
    spikes = np.stack([rng.integers(0, 600, n_spikes), rng.integers(0, 100, n_spikes)], axis=1)
    spikes[:4] = [[0, 0], [599, 0], [0, 99], [599, 99]]
    figure = new_figure(4.0, 3.0, dpi)
    ax = figure.add_axes((0.13, 0.17, 0.61, 0.7))
    plot_spikes(ax, spikes, dt_ms=dt_ms, n_cells=100, window_ms=(0.0, 600 * dt_ms), colour=EXC)
    (marks,) = ax.collections
    marks.set_alpha(alpha)
    ax.set_ylim(10.3, 90.7)  # cut the marks of some, and leave out others
    return figure, marks


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


@pytest.mark.parametrize("dt_ms", [0.05, 0.1, 0.25])  # marks of three lengths
def test_the_picture_of_a_film_is_the_same(dt_ms, monkeypatch):
    figure, scatter = raster(9000, dt_ms=dt_ms)
    expected = pixels(figure)
    marks = SpikeMarks(scatter)
    assert marks.get_gid() == "spikes"
    drawn = []
    monkeypatch.setattr(
        spike_marks, "covered", lambda *given: drawn.append(given) or covered(*given)
    )
    np.testing.assert_array_equal(pixels(figure), expected)
    assert drawn
    marks.set_offsets(marks.get_offsets()[:1000])
    assert not np.array_equal(pixels(figure), expected)
    assert len(drawn) == 1  # few marks are Matplotlib's


@pytest.mark.parametrize("look", [{"dpi": 110}, {"dpi": 55}, {"alpha": 0.3}])
def test_marks_that_let_something_through(look):
    figure, scatter = raster(9000, **look)
    expected = pixels(figure)
    SpikeMarks(scatter)
    # Matplotlib rounds colours at each mark, of which some ten lie on a pixel.
    np.testing.assert_allclose(pixels(figure), expected, rtol=0, atol=3)


def test_opacities_of_overlapping_marks():
    mark = np.array([[1.0, 0.5], [0.5, 0.0]])
    rows, columns = np.array([0, 0, -1, 5]), np.array([0, 1, 0, 5])
    expected = [[1.0, 1.0, 0.5], [0.5, 0.5, 0.0]]
    np.testing.assert_allclose(covered(rows, columns, mark, (2, 3)), expected, rtol=1e-6)
    twice = covered(np.array([0, 0]), np.array([1, 1]), mark, (2, 3))
    np.testing.assert_allclose(twice, [[0.0, 1.0, 0.75], [0.0, 0.75, 0.0]], rtol=1e-6)
