"""Curves over epochs: means over seeds, running means over epochs, bounds."""

import numpy as np
import pytest

from scope.figures.learning_curves import draw_learning_curves


def test_line_is_the_mean_over_seeds_of_running_means():
    acc = np.array([[10.0, 20.0, 30.0, 40.0], [30.0, 40.0, 50.0, 60.0]])
    figure = draw_learning_curves(
        {"25 Hz": {"PING": acc}, "100 Hz": {"PING": acc + 1}},
        {"25 Hz": {"logistic": 89.3}}, window=2, bottom=5.0,
    )  # fmt: skip
    left, right = figure.axes
    line, bound = left.lines
    np.testing.assert_allclose(line.get_xdata(), [2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [25, 35, 45])
    band = left.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (15, 55)
    assert set(bound.get_ydata()) == {89.3}
    assert len(right.lines) == 1
    assert left.get_ylim()[0] == 5.0
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["PING", "logistic"]


def test_a_window_longer_than_the_training_is_the_training():
    figure = draw_learning_curves({"t": {"COBA": [[50.0, 70.0]]}}, window=9)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [60])


def test_nothing_is_dropped():
    networks = {f"n{k}": [[50.0, 60.0]] for k in range(8)}
    figure = draw_learning_curves({"t": networks}, {"t": {f"b{k}": 10.0 * k for k in range(5)}})
    assert len(figure.axes[0].lines) == 13


@pytest.mark.parametrize("panels", [{}, {"t": {"COBA": [50.0, 70.0]}}, {"t": {"COBA": [[]]}}])
def test_refuses_what_is_no_training(panels):
    with pytest.raises(ValueError, match=r"no panel|are \(seed, epoch\)"):
        draw_learning_curves(panels)
