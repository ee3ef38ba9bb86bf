"""Windows and counts: no spike is lost to rounding, none is counted twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scope_recordings import poisson_rows, recording_of

from scope.measure.windows import (
    after_burn_in,
    bin_steps,
    binned,
    cell_counts,
    step_counts,
    steps_of,
    window_steps,
)

STEPS_MS = (0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.7, 1.0, 1.6)


@given(st.integers(0, 200_000), st.sampled_from(STEPS_MS))
def test_a_time_on_the_grid_is_its_own_step(n, dt_ms):
    assert steps_of(n * dt_ms, dt_ms) == n


def test_truncation_would_lose_a_step_here():
    assert int(0.3 / 0.1) == 2  # the trap
    assert steps_of(0.3, 0.1) == 3


@pytest.mark.parametrize(
    ("dt_ms", "expected"),
    [(0.1, 20), (0.25, 8), (0.3, 6), (2 / 7, 7), (2 / 93, 93), (2.0, 1), (5.0, 1)],
)
def test_a_bin_holds_whole_steps_and_at_least_one(dt_ms, expected):
    assert bin_steps(2.0, dt_ms) == expected


@pytest.mark.parametrize("burn_in_ms", [200.0, 250.0])
def test_a_burn_in_that_eats_the_trial_is_an_error_naming_both(burn_in_ms):
    recording = recording_of({}, n_cells={"e1": 1}, t_ms=200.0)
    with pytest.raises(ValueError, match=f"burn_in_ms = {burn_in_ms:g} ms.*trial of 200 ms"):
        after_burn_in(recording, burn_in_ms)


@pytest.mark.parametrize("burn_in_ms", [-1.0, float("nan")])
def test_a_burn_in_must_be_a_time(burn_in_ms):
    with pytest.raises(ValueError, match="burn_in_ms"):
        after_burn_in(recording_of({}, n_cells={"e1": 1}, t_ms=200.0), burn_in_ms)


def test_burn_in_cuts_at_exactly_its_step():
    # dt 0.1: 20 / 0.1 is exact, 0.7 / 0.1 is 6.999...; both edges must hold.
    rows = np.array([[6, 0, 0], [7, 0, 0], [8, 0, 0]])
    recording = recording_of({"e1": rows}, n_cells={"e1": 1}, t_ms=1.0, dt_ms=0.1)
    counts = step_counts(recording, "e1", window_ms=after_burn_in(recording, 0.7))
    assert counts.tolist() == [[1, 1, 0]]


def test_a_window_outside_the_trial_is_an_error():
    recording = recording_of({}, n_cells={"e1": 1}, t_ms=200.0)
    with pytest.raises(ValueError, match="300 to 400 ms"):
        window_steps(recording, (300.0, 400.0))


def test_a_trial_that_does_not_exist_is_an_error():
    recording = recording_of({}, n_cells={"e1": 1}, t_ms=10.0, n_trials=2)
    with pytest.raises(ValueError, match="trial 2"):
        step_counts(recording, "e1", trial=2)


@given(
    seed=st.integers(0, 1000),
    first=st.integers(0, 39),
    length=st.integers(1, 40),
    trial=st.sampled_from([None, 0, 1, 2]),
)
def test_counts_equal_those_of_the_dense_raster(seed, first, length, trial):
    rng = np.random.default_rng(seed)
    rows = poisson_rows(rng, n_cells=5, rate_hz=200.0, t_ms=10.0, n_trials=3)
    recording = recording_of({"e1": rows}, n_cells={"e1": 5}, t_ms=10.0, n_trials=3)
    dense = recording.raster("e1")[:, first : first + length]
    dense = dense if trial is None else dense[trial : trial + 1]
    window_ms = first * 0.25, (first + length) * 0.25
    given_ = {"window_ms": window_ms, "trial": trial}
    np.testing.assert_array_equal(step_counts(recording, "e1", **given_), dense.sum(axis=2))
    np.testing.assert_array_equal(cell_counts(recording, "e1", **given_), dense.sum(axis=1))


def test_an_incomplete_bin_is_dropped():
    assert binned(np.array([[1, 1, 1, 1, 9]]), 2).tolist() == [[2, 2]]
