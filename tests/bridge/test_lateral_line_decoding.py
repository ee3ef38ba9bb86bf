"""Decoding errors in centimetres against maps whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.lateral_line.decoding import decoder_errors_cm, place_error_cm
from bridge.lateral_line.map_quality import floor_of_path, map_quality

DT_S, N_STEPS, N_CELLS, BODY_CM = 1e-3, 1000, 80, 4.0
X_CM = np.linspace(-0.5, 4.5, N_STEPS)


def body_map(shift_cells=0):
    """Return one spike per step of the cell at the sphere (or so many cells ahead)."""
    cell = np.clip(np.rint(X_CM / BODY_CM * (N_CELLS - 1)), 0, N_CELLS - 1).astype(np.int64)
    return (cell + shift_cells) % N_CELLS, np.arange(N_STEPS)


def place_error(cell, step):
    quality = map_quality(
        step, cell, n_cells=N_CELLS, x_cm=X_CM, dt_s=DT_S, circle_cm=(0.0, BODY_CM)
    )
    return place_error_cm(quality, BODY_CM)


def test_a_map_of_the_body_is_off_by_nothing_and_a_shifted_one_by_its_shift():
    assert place_error(*body_map()) < 0.06  # 20 ms of smoothing at the ends, cells of 0.05 cm
    assert place_error(*body_map(20)) == pytest.approx(20 / 80 * BODY_CM, abs=0.06)
    # The ends meet: three quarters ahead is a quarter behind.
    assert place_error(*body_map(60)) == pytest.approx(20 / 80 * BODY_CM, abs=0.06)


def test_spikes_that_say_nothing_are_off_by_a_quarter_of_the_body():
    rng = np.random.default_rng(1)
    cell, step = rng.integers(0, N_CELLS, 1000), np.arange(N_STEPS)
    assert place_error(cell, step) == pytest.approx(BODY_CM / 4, abs=0.15)
    nothing = np.empty(0, dtype=np.int64)
    assert np.isnan(place_error(nothing, nothing))


def place_cells(rng, width_cm=0.4, peak_hz=60.0):
    """Return Poisson spikes of cells whose tuning is a bell around their place on the path."""
    place = np.linspace(-0.5, 4.5, N_CELLS)
    rate = peak_hz * np.exp(-((X_CM[:, np.newaxis] - place) ** 2) / (2 * width_cm**2))
    step, cell = np.nonzero(rng.random(rate.shape) < rate * DT_S)
    return cell, step


def test_the_decoder_finds_a_code_whatever_the_order_of_its_cells():
    rng = np.random.default_rng(2)
    tests = [place_cells(rng) for _ in range(6)]
    errors = decoder_errors_cm(tests, n_cells=N_CELLS, x_cm=X_CM, dt_s=DT_S)
    assert len(errors) == 6
    # About 15 spikes in 20 ms, each of them known to 0.4 cm: some 0.1 cm.
    assert 0.03 < np.mean(errors) < 0.15
    order = rng.permutation(N_CELLS)
    shuffled = [(order[cell], step) for cell, step in tests]
    again = decoder_errors_cm(shuffled, n_cells=N_CELLS, x_cm=X_CM, dt_s=DT_S)
    assert again == pytest.approx(errors, abs=1e-9)
    assert place_error(*shuffled[0]) > 0.5  # the population vector reads no such code


def test_the_decoder_answers_silence_with_the_middle():
    nothing = np.empty(0, dtype=np.int64)
    errors = decoder_errors_cm(
        [(nothing, nothing)] * 3, n_cells=N_CELLS, x_cm=X_CM, dt_s=DT_S
    )  # fmt: skip
    assert errors == pytest.approx([1.25] * 3, abs=0.05)  # a quarter of 5 cm; bins of 0.1 cm


def test_the_decoder_makes_nothing_of_noise():
    rng = np.random.default_rng(3)
    tests = []
    for _ in range(6):
        step, cell = np.nonzero(rng.random((N_STEPS, N_CELLS)) < 20.0 * DT_S)
        tests.append((cell, step))
    errors = decoder_errors_cm(tests, n_cells=N_CELLS, x_cm=X_CM, dt_s=DT_S)
    # Between the middle (5 / 4) and a place of its own, drawn alike (5 / 3).
    assert 1.1 < np.mean(errors) < 1.8


def test_a_decoder_is_not_scored_on_what_it_was_fitted_to():
    with pytest.raises(ValueError, match="give two"):
        decoder_errors_cm([body_map()], n_cells=N_CELLS, x_cm=X_CM, dt_s=DT_S)


@pytest.mark.parametrize(
    ("window", "floor"), [(None, 0.356), ((0.5, 3.5), 0.464), ((0.0, 4.0), 0.007)]
)
def test_the_floor_of_the_path_is_the_published_one(window, floor):
    found = floor_of_path(
        X_CM, n_cells=300, body_length_cm=BODY_CM, dt_s=DT_S, window_cm=window
    )  # fmt: skip
    assert found == pytest.approx(floor, abs=0.002)
