"""Means over tests and seeds, differences to controls, what is left out; the matched rate."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.lateral_line import comparison
from bridge.lateral_line.summary import console_lines, quality_words, several_seeds_lines


def one_test(sigma_rad, *, valid=0.9, usable=True, rate_hz=20.0):
    """Return the numbers of a test."""
    return {
        "sigma_theta_rad": sigma_rad, "sigma_theta_body_rad": sigma_rad / 2, "usable": usable,
        "delta_trial_rad": 0.1, "position_error_ts_cm": 0.2, "valid_fraction": valid,
        "rate_test_ts_hz": rate_hz, "silent": rate_hz == 0,
    }  # fmt: skip


def row_of(sigmas, seed=123, **more):
    """Return the numbers of a seed with these tests."""
    tests = [one if isinstance(one, dict) else one_test(one) for one in sigmas]
    first = {
        **tests[0], "seed": seed, "trained": False, "sigma_theta_floor_rad": 0.356,
        "sigma_theta_ll_rad": 0.6, "position_error_mon_cm": 0.1, "position_error_ll_cm": 0.1,
        **{f"n_spikes_test_{name}": 7 for name in ("ll", "mon", "ts")},
    }  # fmt: skip
    return first | ({"repeats": tests} if len(tests) > 1 else {}) | more


def test_the_interval_is_students():
    found = comparison.spread([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.sd) == (3, 2.0, 1.0)
    assert found.high == pytest.approx(2.0 + 4.302653 / np.sqrt(3), rel=1e-6)  # t(0.975, 2)
    assert found.low == pytest.approx(2.0 - 4.302653 / np.sqrt(3), rel=1e-6)
    assert not found.differs_from_zero
    assert comparison.spread([2.0, 2.1, 2.2]).differs_from_zero


def test_one_number_has_no_interval_and_none_no_mean():
    one = comparison.spread([0.3])
    assert (one.mean, one.sd, one.low) == (0.3, None, None)
    assert not one.differs_from_zero
    none = comparison.spread([float("nan")], n_left_out=2)
    assert (none.n, none.n_left_out, none.mean) == (0, 3, None)


def test_a_test_of_few_spikes_goes_into_no_mean_and_is_counted():
    row = row_of([0.4, 0.6, one_test(0.02, valid=0.01, usable=False)])
    found = comparison.of_tests(row, "sigma_theta_rad")
    assert (found.n, found.n_left_out, found.mean) == (2, 1, 0.5)
    # How many steps were decoded means something in every test.
    assert comparison.of_tests(row, "valid_fraction").mean == pytest.approx((0.9 + 0.9 + 0.01) / 3)


def test_pairs_with_the_same_noise_show_a_difference_that_means_do_not():
    noise = np.array([0.0, 0.2, -0.2, 0.1, -0.1, 0.3])
    row, control = row_of(0.5 + noise), row_of(0.45 + noise)
    found = comparison.paired(row, control, "sigma_theta_rad")
    assert found.mean == pytest.approx(0.05)
    assert found.differs_from_zero
    apart = [comparison.of_tests(one, "sigma_theta_rad") for one in (row, control)]
    assert apart[0].low < apart[1].mean < apart[0].high


def test_a_pair_is_left_out_where_either_test_is_thin():
    thin = one_test(3.0, valid=0.1, usable=False)
    found = comparison.paired(row_of([0.5, thin, 0.5]), row_of([0.4, 0.4, thin]), "sigma_theta_rad")
    assert (found.n, found.n_left_out) == (1, 2)
    assert found.mean == pytest.approx(0.1)


def test_a_seed_counts_once_however_often_it_was_tested():
    rows = [row_of([0.2] * 6, 1), row_of([0.4] * 6, 2)]
    found = comparison.over_seeds(rows, "sigma_theta_rad")
    assert (found.n, found.mean) == (2, pytest.approx(0.3))
    assert found.high - found.mean == pytest.approx(12.7062 * 0.1, rel=1e-4)  # t(0.975, 1)


def test_statistics_of_seeds_with_a_control():
    rows = [row_of([0.5, 0.7], k, control=row_of([0.4, 0.5]), control_matched=None)
            for k in (1, 2)]  # fmt: skip
    found = comparison.statistics_of_seeds(rows)
    assert set(found) == {"tests", "control", "minus_control"}  # a silent network has no match
    assert found["minus_control"]["sigma_theta_rad"]["mean"] == pytest.approx(0.15)
    assert found["control"]["sigma_theta_rad"]["mean"] == pytest.approx(0.45)
    assert comparison.statistics(rows[0])["minus_control"]["sigma_theta_rad"]["n"] == 2


def test_the_console_averages_no_thin_seed():
    thin = one_test(0.01, valid=0.02, usable=False)
    rows = [row_of([0.4], 1), row_of([0.6], 2), row_of([thin], 3)]
    line = several_seeds_lines(rows)[0]
    assert line.startswith("3 seeds: sigma_theta over the body 0.250 +- 0.071 rad, over the path ")
    assert "over the path 0.500 +- 0.141 rad" in line
    assert "1 of 3 left out (valid below 0.3; 0 silent)" in line
    assert "valid 0.607" in line
    assert "too few positions are decoded" in quality_words(rows[2])
    assert "0.01" not in quality_words(rows[2]).replace("0.020", "")


def test_the_console_gives_the_difference_its_interval():
    rows = [row_of([0.5, 0.52], k, control=row_of([0.4, 0.42])) for k in (1, 2)]
    line = several_seeds_lines(rows)[2]
    assert "minus control (mean, 95 % interval): sigma_theta over the body +0.050 rad" in line
    assert "over the path +0.100 rad (+0.100 to +0.100)" in line


def test_the_body_comes_first_and_the_floor_stands_beside_the_path():
    words = quality_words(row_of([0.3]))
    assert words.index("0.150 rad over the body") < words.index("0.300 over the path")
    assert "a perfect map of the body: 0.356" in words
    assert "valid 0.900" in words
    assert console_lines(row_of([0.3]))[0] == f"seed 123: {words}"


@pytest.mark.parametrize("target", [20.0, 100.0, 300.0])
def test_the_matched_factor_of_a_known_law(target):
    tried = []

    def rate_at(scale):
        tried.append(scale)
        return 100.0 * scale**3

    found = comparison.match_rate(rate_at, target)
    assert found.reached
    assert found.rate_hz == pytest.approx(target, rel=comparison.MATCH_TOLERANCE)
    assert found.scale == pytest.approx((target / 100.0) ** (1 / 3), rel=0.02)  # 5 % of the cube
    assert len(tried) == len(set(tried)) == found.n_tried <= 8


def test_a_rate_that_cannot_be_reached_is_said_to_be_missed():
    found = comparison.match_rate(lambda scale: 10.0 if scale < 1.1 else 30.0, 20.0)
    assert not found.reached
    assert found.n_tried == comparison.MATCH_TRIES
    bounded = comparison.match_rate(lambda _: 1.0, 20.0, n_tries=100)
    assert not bounded.reached
    assert bounded.n_tried < 20
    with pytest.raises(ValueError, match="silent network"):
        comparison.match_rate(lambda scale: scale, 0.0)
