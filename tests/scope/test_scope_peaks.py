"""Peaks are those of scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from scope.measure.peaks import find_peaks


@given(
    st.lists(st.integers(0, 4), max_size=60), st.sampled_from([0.0, 1.0, 2.5]),
    st.sampled_from([1.0, 1.2, 3.0, 7.5]),
)  # fmt: skip
def test_plateaus_ties_and_crowds(values, height, distance):
    series = np.array(values, dtype=np.float64)
    expected, _ = scipy.signal.find_peaks(series, height=height, distance=distance)
    np.testing.assert_array_equal(find_peaks(series, height=height, distance=distance), expected)


@pytest.mark.parametrize("distance", [1.0, 40.0, 111.3])
def test_smooth_noise(distance):
    rng = np.random.default_rng(1)
    series = np.convolve(rng.random(4000), np.hanning(25))
    expected, _ = scipy.signal.find_peaks(series, height=5.0, distance=distance)
    assert len(expected) > 10
    np.testing.assert_array_equal(find_peaks(series, height=5.0, distance=distance), expected)
