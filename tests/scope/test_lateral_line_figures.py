"""Figures over seeds and distances: what is drawn as data, what as left out."""

from __future__ import annotations

import numpy as np
import pytest
from legible import check_legible

from bridge.lateral_line.comparison import of_tests
from scope.figures.lateral_line.several import draw_distances, draw_multiseed


def a_test(sigma_rad, *, valid=0.9):
    """Return the numbers of a test."""
    return {
        "sigma_theta_rad": sigma_rad, "sigma_theta_body_rad": sigma_rad / 2,
        "valid_fraction": valid, "usable": valid >= 0.3, "silent": False,
    }  # fmt: skip


def a_row(seed, sigmas, **more):
    """Return the numbers of a seed with these tests."""
    tests = [a_test(one) if np.isscalar(one) else one for one in sigmas]
    return {**tests[0], "seed": seed, "repeats": tests, "sigma_theta_floor_rad": 0.356, **more}


THIN = a_test(0.02, valid=0.01)


def filled(ax):
    """Return the markers that are drawn as data, (x, y)."""
    lines = [line for line in ax.lines if line.get_marker() in ("o", "s", "D", "^", "v")]
    return [(x, y) for line in lines if line.get_markerfacecolor() != "white"
            for x, y in line.get_xydata() if np.isfinite(y)]  # fmt: skip


def unfilled(ax):
    """Return the open markers, (x, y)."""
    lines = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    return [(x, y) for line in lines for x, y in line.get_xydata()]


def test_seeds_stand_at_their_number_with_mean_and_spread_of_usable_tests():
    rows = [a_row(123, [0.3, 0.5, THIN]), a_row(124, [0.6, 0.6, 0.6])]
    body, path, valid = draw_multiseed(rows).axes
    assert sorted(filled(path)) == [(123, pytest.approx(0.4)), (124, pytest.approx(0.6))]
    assert sorted(filled(body)) == [(123, pytest.approx(0.2)), (124, pytest.approx(0.3))]
    bars = [one for one in path.containers if one.has_yerr]
    half = [np.ptp(bar.lines[2][0].get_segments()[0][:, 1]) / 2 for bar in bars]
    assert half == pytest.approx([of_tests(row, "sigma_theta_rad").sd for row in rows])
    assert filled(valid)[0][1] == pytest.approx((0.9 + 0.9 + 0.01) / 3)
    assert "1 of 6 tests left out (open: all)" in path.get_title(loc="left")


def test_a_seed_without_a_usable_test_is_open_and_counted():
    rows = [a_row(123, [THIN, THIN]), a_row(124, [0.6, 0.6])]
    _, path, _ = draw_multiseed(rows).axes
    assert [x for x, _ in filled(path)] == [124]
    assert unfilled(path) == [(123, pytest.approx(0.02))]
    assert "2 of 4 tests left out (open: all)" in path.get_title(loc="left")


def test_controls_stand_beside_the_network():
    rows = [a_row(k, [0.5, 0.6, THIN], control=a_row(k, [0.4, 0.5, 0.45]),
                  control_matched=a_row(k, [0.3, 0.4, 0.35])) for k in (123, 124, 125)]  # fmt: skip
    figure = draw_multiseed(rows)
    path = figure.axes[1]
    found = sorted(filled(path))
    assert [round(y, 2) for _, y in found] == [0.55, 0.45, 0.35] * 3
    assert path.lines[-1].get_ydata()[0] == pytest.approx(0.356)  # a perfect map of the body
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words == ["trained", "control", "matched control"]
    check_legible(figure)


def test_a_distance_without_spikes_is_a_gap_in_the_line():
    points = [(0.4, 0.5, 0.9), (0.8, 0.3, 0.9), (2.0, 0.02, 0.01), (3.0, 3.14, 0.0)]
    rows = [{"seed": 123, "distances": [
        {**a_test(sigma, valid=valid), "test_distance_cm": cm} for cm, sigma, valid in points
    ]}]  # fmt: skip
    figure = draw_distances(rows)
    _, path, valid = figure.axes
    assert filled(path) == [(0.4, 0.5), (0.8, 0.3)]
    assert unfilled(path) == [(2.0, 0.02), (3.0, 3.14)]
    assert [y for _, y in filled(valid)] == [0.9, 0.9, 0.01, 0.0]
    assert "2 of 4 open: valid below 0.3" in figure.axes[0].get_title(loc="left")
    check_legible(figure)
