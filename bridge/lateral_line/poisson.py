"""Poisson spikes of the afferents and of the background, drawn once and given to every target.

Each trial has a generator of its own, spawned from the seed and the trial's number: the spikes of
a trial do not depend on how training is cut into runs, and a resumed run gets the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line import chance
from bridge.lateral_line.params import NetworkParams

NEVER = 2**30
"""A step that no run reaches."""

TEST_TRIAL = -1
"""Number under which the spikes of the test are drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """Spikes of many cells: sorted by cell, then step.

    Attributes
    ----------
    cell, step : int32, shape (n_events,)
    n_cells : int
    """

    cell: NDArray[np.int32]
    step: NDArray[np.int32]
    n_cells: int

    def table(self, length: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return playback lists for the engine, one for each cell.

        Parameters
        ----------
        length : int
            At least `n_events` + `n_cells`.

        Returns
        -------
        steps : float64, shape (length,)
            Ascending steps of each cell, cell after cell, each list closed by `NEVER`; padded.
        cursor : int32, shape (n_cells,)
            Where each cell's list begins.
        """
        steps = np.empty(length)
        ends = np.cumsum(np.bincount(self.cell, minlength=self.n_cells) + 1)
        # Before an event of cell c lie c closing entries.
        steps[np.arange(len(self.step), dtype=np.int32) + self.cell] = self.step
        steps[ends - 1] = steps[ends[-1] :] = NEVER
        cursor = np.concatenate([[0], ends[:-1]])
        return steps, cursor.astype(np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class InputSpikes:
    """Everything that chance sends into the network in a run."""

    ll: Events
    mon: Events
    ts: Events


def draw_spikes(
    params: NetworkParams, drives: list[NDArray[np.float64]], trials: list[int], *,
    repeat: int = 0,
) -> InputSpikes:  # fmt: skip
    """Return the spikes of consecutive trials, steps counted from the first one's start.

    Parameters
    ----------
    params : NetworkParams
    drives : list of float64, shape (n_steps, n_ll), Hz
        Drive of the afferents in each trial.
    trials : list of int
        Numbers of the trials; `TEST_TRIAL` for the test.
    repeat : int
        Which of the tests of a seed; 0 is the first, and training.
    """
    dt_s = params.dt_s
    layers: dict[str, list[tuple[NDArray, NDArray]]] = {"ll": [], "mon": [], "ts": []}
    begin = 0
    for drive_hz, trial in zip(drives, trials, strict=True):
        if repeat:
            rng = chance.repeat_rng(params.seed, repeat, chance.SPIKES)
        else:
            rng = chance.spikes_rng(params.seed, trial - TEST_TRIAL)
        n_steps = len(drive_hz)
        fired = rng.random(drive_hz.T.shape) < drive_hz.T * dt_s
        cell, step = np.nonzero(fired)
        layers["ll"].append((cell.astype(np.int32), step.astype(np.int32) + begin))
        for name, n_cells, rate_hz in (
            ("mon", params.n_mon, params.bg_rate_mon_hz),
            ("ts", params.n_ts, params.bg_rate_ts_hz),
        ):
            who, when = _bernoulli(rng, n_cells, n_steps, min(1.0, rate_hz * dt_s))
            layers[name].append((who, when + begin))
        begin += n_steps
    return InputSpikes(
        ll=_merge(layers["ll"], params.n_ll),
        mon=_merge(layers["mon"], params.n_mon),
        ts=_merge(layers["ts"], params.n_ts),
    )


def _bernoulli(
    rng: np.random.Generator, n_cells: int, n_steps: int, p: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return cell and step of each success among independent trials, by their geometric gaps."""
    total = n_cells * n_steps
    parts = []
    last = -1
    while p > 0 and last < total:
        expected = (total - last) * p
        gaps = rng.geometric(p, size=int(expected + 5.0 * np.sqrt(expected)) + 16)
        part = last + np.cumsum(gaps)
        last = int(part[-1])
        parts.append(part)
    at = np.concatenate([*parts, np.empty(0, dtype=np.int64)])
    at = at[at < total]
    cell = at // n_steps
    return cell.astype(np.int32), (at - cell * n_steps).astype(np.int32)


def _merge(parts: list[tuple[NDArray, NDArray]], n_cells: int) -> Events:
    cell = np.concatenate([cell for cell, _ in parts])
    step = np.concatenate([step for _, step in parts])
    if len(parts) > 1:
        kind = np.int16 if n_cells < 2**15 else np.int32  # int16 is sorted by radix
        order = np.argsort(cell.astype(kind), kind="stable")
        cell, step = cell[order], step[order]
    return Events(cell=cell, step=step, n_cells=n_cells)


def table_length(n_events: float, n_cells: int) -> int:
    """Return a table length that holds about `n_events` events with certainty.

    Generated code holds table lengths, so that a few lengths let programs be shared: eight of them
    lie between one power of two and the next.
    """
    needed = n_events + 8.0 * np.sqrt(n_events) + n_cells + 64
    unit = 1 << max(int(np.ceil(np.log2(needed))) - 4, 0)
    return unit * int(np.ceil(needed / unit))
