"""How a network does on labelled samples, whichever backend ran it."""

from __future__ import annotations

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
    """

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    rates_hz: dict[str, float]
    loss: float

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Return the class of the largest logit."""
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

    def prediction_rows(self) -> list[dict[str, Any]]:
        """Return the rows of test_predictions.json, in the order of the samples."""
        return [
            {
                "idx": int(k), "true": int(true), "pred": int(pred), "correct": bool(true == pred),
                "logits": [float(x) for x in logits],
            }
            for k, true, pred, logits in zip(
                self.index, self.labels, self.predictions, self.logits, strict=True
            )
        ]  # fmt: skip


def evaluation(
    *,
    index: NDArray[np.int64],
    labels: NDArray[np.int64],
    logits: NDArray[np.float64],
    spikes: Mapping[str, float],
    n_cells: Mapping[str, int],
    t_s: float,
) -> Evaluation:
    """Return an evaluation from logits and the total spikes of each population.

    Parameters
    ----------
    index, labels : int64, shape (sample,)
    logits : float64, shape (sample, class)
    spikes : mapping of str to float
        Of all samples together.
    n_cells : mapping of str to int
    t_s : float, s
        Duration of a trial.
    """
    rows = np.arange(len(labels))
    return Evaluation(
        index=np.asarray(index),
        labels=labels,
        logits=logits,
        rates_hz={n: spikes[n] / (n_cells[n] * len(labels) * t_s) for n in n_cells},
        loss=float(np.mean(logsumexp(logits, axis=1) - logits[rows, labels])),
    )
