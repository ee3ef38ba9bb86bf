"""Is it a difference? Repeated tests and controls: means, intervals, what is left out.

A test in which few positions were decoded has a score that means nothing: it is left out of every
mean, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

Row = Mapping[str, Any]
"""Numbers of one seed, or of one of its tests."""

QUALITIES = ("sigma_theta_body_rad", "sigma_theta_rad", "delta_trial_rad", "position_error_ts_cm")
"""Scores of the map, smaller is better; they mean something in usable tests only."""
COMPARED = (*QUALITIES, "decoder_error_ts_cm", "valid_fraction", "rate_test_ts_hz")
CONTROLS = {"control": "control", "control_matched": "matched control"}
"""Controls of a row by their key, and what they are called."""
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and spread of some numbers.

    Attributes
    ----------
    n, n_left_out : int
        How many went in; how many there were besides, of tests that are not usable.
    mean, sd : float or None
        None of nothing; the SD (ddof 1) of fewer than two.
    low, high : float or None
        95 % confidence interval of the mean (Student's t); None of fewer than two.
    """

    n: int
    n_left_out: int = 0
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def differs_from_zero(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


def spread(values: Sequence[float], n_left_out: int = 0) -> Spread:
    """Return mean, SD and the interval of the mean; numbers that are not finite are left out."""
    finite = np.array([v for v in values if v is not None and np.isfinite(v)], dtype=np.float64)
    n, n_left_out = len(finite), n_left_out + len(values) - len(finite)
    if not n:
        return Spread(n=0, n_left_out=n_left_out)
    mean = float(finite.mean())
    if n == 1:
        return Spread(n=1, n_left_out=n_left_out, mean=mean)
    sd = float(finite.std(ddof=1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * sd / np.sqrt(n)
    return Spread(
        n=n, n_left_out=n_left_out, mean=mean, sd=sd, low=mean - half, high=mean + half
    )  # fmt: skip


def tests_of(row: Row) -> list[Row]:
    """Return the tests of a row: its repeats, the first one included."""
    return list(row["repeats"]) if row.get("repeats") else [row]


def of_tests(row: Row, name: str) -> Spread:
    """Return a number over the tests of a network; scores of usable ones only."""
    tests = tests_of(row)
    used = [one for one in tests if counts(one, name)]
    return spread([one[name] for one in used], len(tests) - len(used))


def counts(test: Row, name: str) -> bool:
    """Return whether a number of a test means something."""
    return name in test and (name not in QUALITIES or bool(test["usable"]))


def paired(row: Row, control: Row, name: str) -> Spread:
    """Return the difference of a network to its control over tests with the same noise."""
    pairs = list(zip(tests_of(row), tests_of(control), strict=True))
    used = [(a, b) for a, b in pairs if counts(a, name) and counts(b, name)]
    return spread([a[name] - b[name] for a, b in used], len(pairs) - len(used))


def over_seeds(rows: Sequence[Row], name: str, control: str | None = None) -> Spread:
    """Return mean and interval over seeds of a number, or of its difference to a control.

    A seed is one observation, the mean over its tests, however often it was tested.
    """
    found = [
        of_tests(row, name) if control is None else paired(row, row[control], name)
        for row in rows
    ]  # fmt: skip
    known = [one.mean for one in found if one.mean is not None]
    return spread(known, len(found) - len(known))


def statistics(row: Row) -> dict[str, Any]:
    """Return mean and spread over the tests of a seed, and its differences to its controls."""
    found: dict[str, Any] = {
        "tests": {name: of_tests(row, name).to_json() for name in COMPARED if _known([row], name)}
    }
    for key in CONTROLS:
        if row.get(key):
            found[f"minus_{key}"] = {
                name: paired(row, row[key], name).to_json() for name in COMPARED
                if _known([row, row[key]], name)
            }  # fmt: skip
    return found


def statistics_of_seeds(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the same over seeds: each seed counts once."""
    found: dict[str, Any] = {"tests": _over_seeds(rows)}
    for key in CONTROLS:
        beside = [row for row in rows if row.get(key)]
        if beside:
            controls = [row[key] for row in beside]
            found[key] = _over_seeds(controls)
            found[f"minus_{key}"] = {
                name: over_seeds(beside, name, key).to_json() for name in COMPARED
                if _known([*beside, *controls], name)
            }  # fmt: skip
    return found


def _over_seeds(rows: Sequence[Row]) -> dict[str, Any]:
    return {name: over_seeds(rows, name).to_json() for name in COMPARED if _known(rows, name)}


def _known(rows: Sequence[Row], name: str) -> bool:
    return all(name in test for row in rows for test in tests_of(row))


@dataclass(frozen=True, kw_only=True)
class Match:
    """A factor on weights that gives a wanted rate.

    Attributes
    ----------
    scale : float
    rate_hz, target_hz : float
        Found, and wanted.
    tolerance : float
        Relative difference that was allowed.
    reached : bool
        Whether the rate lies within it.
    n_tried : int
    """

    scale: float
    rate_hz: float
    target_hz: float
    tolerance: float
    reached: bool
    n_tried: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


MATCH_TOLERANCE = 0.05
MATCH_TRIES = 12
_WIDEST = 1.0 / 16, 16.0


def match_rate(
    rate_at: Callable[[float], float], target_hz: float, *,
    tolerance: float = MATCH_TOLERANCE, n_tries: int = MATCH_TRIES,
) -> Match:  # fmt: skip
    """Return the factor at which a rate that grows with it is the wanted one, by bisection.

    From 1 it goes by fifths towards the target until that lies between two factors, then halves
    the distance between them (of their logarithms). Of all that were tried the nearest is returned.

    Parameters
    ----------
    rate_at : callable
        Rate, Hz, at a factor.
    target_hz : float
        Above 0.
    tolerance : float
        Relative difference at which the search ends.
    n_tries : int

    Raises
    ------
    ValueError
        If `target_hz` is not above 0: a silent network has no rate that could be matched.
    """
    if not target_hz > 0:
        raise ValueError("a silent network has no rate that a control could be matched to")
    tried: dict[float, float] = {}
    low, high = 0.0, np.inf  # factors known to give too little, too much
    scale = 1.0
    while len(tried) < n_tries:
        tried[scale] = rate_at(scale)
        if abs(tried[scale] / target_hz - 1.0) <= tolerance:
            break
        if tried[scale] < target_hz:
            low = max(low, scale)
        else:
            high = min(high, scale)
        if low > 0 and np.isfinite(high):
            scale = float(np.sqrt(low * high))
        else:
            scale = scale * 1.2 if low > 0 else scale / 1.2
        if not _WIDEST[0] <= scale <= _WIDEST[1]:
            break
    best = min(tried, key=lambda one: abs(tried[one] - target_hz))
    return Match(
        scale=best, rate_hz=tried[best], target_hz=target_hz, tolerance=tolerance,
        reached=abs(tried[best] / target_hz - 1.0) <= tolerance, n_tried=len(tried),
    )  # fmt: skip
