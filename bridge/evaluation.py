"""How a network does on labelled samples, whichever backend ran it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a network made of some samples.

    Attributes
    ----------
    index, labels : int64, shape (sample,)
    logits : float64, shape (sample, class)
    rates_hz : dict of str to float, Hz
        Mean rate of each population.
    loss : float
        Mean cross-entropy.
    silent : bool, shape (sample,)
        Samples for which the last E layer, all that a readout hears, fired no spike.

    Two rules for ties. `acc` takes the largest logit, the lowest class among equal ones (as
    published). `undecided` are the samples whose largest logit several classes share; `acc_decided`
    counts them as wrong, out of all samples.
    """

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    rates_hz: dict[str, float]
    loss: float
    silent: NDArray[np.bool_]

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Return the class of the largest logit, the lowest of equal ones."""
        found: NDArray[np.int64] = self.logits.argmax(axis=1)
        return found

    @property
    def n_correct(self) -> int:
        """Return the number of samples that were told right."""
        return int((self.predictions == self.labels).sum())

    @property
    def acc(self) -> float:
        """Return the accuracy in percent."""
        return 100.0 * self.n_correct / len(self.labels)

    @property
    def undecided(self) -> NDArray[np.bool_]:
        """Return which samples have several classes of the largest logit, shape (sample,)."""
        largest = self.logits == self.logits.max(axis=1, keepdims=True)
        found: NDArray[np.bool_] = largest.sum(axis=1) > 1
        return found

    @property
    def acc_decided(self) -> float:
        """Return the share of all samples that are decided and right, in percent."""
        right = (self.predictions == self.labels) & ~self.undecided
        return 100.0 * float(right.mean())

    def numbers(self, prefix: str = "") -> dict[str, Any]:
        """Return the accuracy as it is stored: with its interval, its ties and its silent samples.

        Parameters
        ----------
        prefix : str
            Stands before every key.
        """
        low, high = wilson_interval(self.n_correct, len(self.labels))
        held = {
            "acc": self.acc, "acc_low": 100.0 * low, "acc_high": 100.0 * high,
            "acc_decided": self.acc_decided, "n_correct": self.n_correct,
            "n_total": len(self.labels), "n_undecided": int(self.undecided.sum()),
            "n_silent": int(self.silent.sum()),
        }  # fmt: skip
        return {prefix + key: value for key, value in held.items()}

    def prediction_rows(self) -> list[dict[str, Any]]:
        """Return the rows of test_predictions.json, in the order of the samples."""
        return [
            {
                "idx": int(k), "true": int(true), "pred": int(pred), "correct": bool(true == pred),
                "undecided": bool(undecided), "silent": bool(silent),
                "logits": [float(x) for x in logits],
            }
            for k, true, pred, undecided, silent, logits in zip(
                self.index, self.labels, self.predictions, self.undecided, self.silent,
                self.logits, strict=True,
            )
        ]  # fmt: skip


_Z95 = 1.959963984540054  # two-sided 95 % of a normal distribution


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was counted, within 0 to 1.

    Parameters
    ----------
    n_right : int
    n : int

    Raises
    ------
    ValueError
        Unless ``0 <= n_right <= n`` and ``n >= 1``.

    Source: Wilson (1927), J. Am. Stat. Assoc. 22:209.
    """
    if n < 1 or not 0 <= n_right <= n:
        raise ValueError(f"{n_right} of {n} is no share of samples")
    share, z2 = n_right / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # All or nothing right: rounding must not move the end that is exact.
    low = 0.0 if n_right == 0 else centre - half
    return low, 1.0 if n_right == n else centre + half


def accuracy_text(numbers: Mapping[str, Any], prefix: str = "") -> str:
    """Return an accuracy in words: percent, samples, 95 % interval; ties and silence if any.

    Parameters
    ----------
    numbers : mapping
        As :meth:`Evaluation.numbers` gives them.
    prefix : str
        Of its keys.
    """
    acc, low, high = (numbers[prefix + key] for key in ("acc", "acc_low", "acc_high"))
    n = numbers[f"{prefix}n_total"]
    text = f"{acc:.2f} % of {n} (95 %: {low:.1f} to {high:.1f})"
    for what in ("undecided", "silent"):
        count = numbers[f"{prefix}n_{what}"]
        if count:
            text += f", {count} of {n} {what}"
    return text


def evaluation(
    *,
    index: NDArray[np.int64],
    labels: NDArray[np.int64],
    logits: NDArray[np.float64],
    spikes: Mapping[str, NDArray[np.integer]],
    n_cells: Mapping[str, int],
    t_s: float,
) -> Evaluation:
    """Return an evaluation from logits and the spikes of each population.

    Parameters
    ----------
    index, labels : int64, shape (sample,)
    logits : float64, shape (sample, class)
    spikes : mapping of str to int array, shape (sample,)
        Spikes of all cells of a population.
    n_cells : mapping of str to int
    t_s : float, s
        Duration of a trial.
    """
    rows = np.arange(len(labels))
    deepest = max((name for name in n_cells if name.startswith("e")), key=lambda p: int(p[1:]))
    return Evaluation(
        index=np.asarray(index),
        labels=labels,
        logits=logits,
        rates_hz={n: float(spikes[n].sum()) / (n_cells[n] * len(labels) * t_s) for n in n_cells},
        loss=float(np.mean(logsumexp(logits, axis=1) - logits[rows, labels])),
        silent=np.asarray(spikes[deepest]) == 0,
    )
