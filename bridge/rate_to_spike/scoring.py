"""When a spiking network's answer is right, and how sure an accuracy is.

Two rules. The published one asks only that the right threshold is crossed: a large, noisy output
then passes for both labels of a task whose answers have signs. The strict one asks in addition that
the other threshold is not crossed; it is what a scaling factor should be chosen by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RULES = ("strict", "published")
DEFAULT_THRESHOLD = 0.7
"""Amplitude that an answer must cross (Source: Kim et al. 2019)."""
NO_RESPONSE_MAX = 0.3
"""What a rate network's output must stay within where no answer is asked for."""


def no_response_below(threshold: float) -> float:
    """Return what a spiking network's output must stay below where no answer is asked for."""
    return 1.0 - threshold


def is_right(
    highest: Any, lowest: Any, expected: Any, threshold: float, *, strict: bool
) -> NDArray[np.bool_]:
    """Return which answers are right; all arguments broadcast.

    Parameters
    ----------
    highest, lowest : array
        Extremes of the output in the window.
    expected : int array
        1 or -1 for an answer of that sign, 0 for none.
    threshold : float
        What an answer must cross; see also :func:`no_response_below`.
    strict : bool
        The other threshold must not be crossed (of tasks whose answers have signs).
    """
    high, low, sign = np.broadcast_arrays(highest, lowest, expected)
    positive, negative = high > threshold, low < -threshold
    if strict:
        positive, negative = positive & (low > -threshold), negative & (high < threshold)
    silent = high < no_response_below(threshold)
    return np.where(sign > 0, positive, np.where(sign < 0, negative, silent))


@dataclass(frozen=True)
class Share:
    """A share of right answers with its 95 % confidence interval (Wilson)."""

    right: int
    total: int

    @property
    def value(self) -> float:
        """Return the share; NaN of nothing."""
        return self.right / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Return the ends of the interval."""
        from scipy.stats import binomtest

        if not self.total:
            return 0.0, 1.0
        found = binomtest(self.right, self.total).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} ({low:.2f}-{high:.2f})"


def share_of(right: NDArray[np.bool_] | Sequence[bool]) -> Share:
    """Return the share of True."""
    array = np.asarray(right, dtype=bool)
    return Share(int(array.sum()), int(array.size))


def plateau(factors: Sequence[float], accuracy: NDArray[np.float64], n: int) -> list[float]:
    """Return the factors within one standard error of the best."""
    best = float(np.nanmax(accuracy))
    error = np.sqrt(max(best * (1.0 - best), 1.0 / n) / n)
    return [f for f, value in zip(factors, accuracy, strict=True) if value >= best - error]
