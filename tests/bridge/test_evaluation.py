"""Accuracy, its interval, and samples that decide nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from bridge.evaluation import accuracy_text, evaluation, wilson_interval

LOGITS = np.array([
    [0.0, 2.0, 1.0],  # class 1
    [3.0, 3.0, 0.0],  # 0 and 1 share the largest
    [1.0, 1.0, 1.0],
    [0.0, 0.0, 5.0],  # 2; the smaller two tie for nothing
])  # fmt: skip
LABELS = np.array([1, 0, 2, 0])


@pytest.fixture
def found():
    return evaluation(
        index=np.arange(4), labels=LABELS, logits=LOGITS,
        spikes={"e1": np.array([4, 0, 2, 3]), "e2": np.array([2, 1, 0, 5]), "i2": np.zeros(4, int)},
        n_cells={"e1": 2, "e2": 5, "i2": 1}, t_s=0.5,
    )  # fmt: skip


def test_ties_and_silent_samples_are_counted_by_both_rules(found):
    assert found.undecided.tolist() == [False, True, True, False]
    assert found.predictions.tolist() == [1, 0, 0, 2]
    assert found.silent.tolist() == [False, False, True, False]  # e2 is what the readout hears
    numbers = found.numbers("val_")
    # By the index sample 1 is right; undecided it is not.
    assert (numbers["val_acc"], numbers["val_acc_decided"]) == (50.0, 25.0)
    assert (numbers["val_n_correct"], numbers["val_n_total"]) == (2, 4)
    assert (numbers["val_n_undecided"], numbers["val_n_silent"]) == (2, 1)
    rows = found.prediction_rows()
    assert [row["undecided"] for row in rows] == found.undecided.tolist()
    assert [row["silent"] for row in rows] == found.silent.tolist()
    assert accuracy_text(numbers, "val_") == (
        "50.00 % of 4 (95 %: 15.0 to 85.0), 2 of 4 undecided, 1 of 4 silent"
    )
    assert found.rates_hz == {"e1": 9 / (2 * 4 * 0.5), "e2": 8 / (5 * 4 * 0.5), "i2": 0.0}


def test_ties_stand_for_the_lowest_class_whatever_the_labels_are():
    n = 50
    dead = evaluation(
        index=np.arange(n), labels=np.arange(n) % 10, logits=np.zeros((n, 10)),
        spikes={"e1": np.zeros(n, int)}, n_cells={"e1": 3}, t_s=1.0,
    )  # fmt: skip
    assert (dead.acc, dead.acc_decided) == (10.0, 0.0)
    assert dead.numbers()["n_undecided"] == dead.numbers()["n_silent"] == n


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (1, 3), (65, 120), (999, 1000)])
def test_the_interval_is_wilsons(k, n):
    expected = binomtest(k, n).proportion_ci(method="wilson")
    # scipy's quantile and ours differ in the last digits.
    np.testing.assert_allclose(wilson_interval(k, n), expected, rtol=1e-12, atol=1e-15)
    assert 0.0 <= wilson_interval(k, n)[0] <= k / n <= wilson_interval(k, n)[1] <= 1.0


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_no_share_has_no_interval(k, n):
    with pytest.raises(ValueError, match="is no share"):
        wilson_interval(k, n)
