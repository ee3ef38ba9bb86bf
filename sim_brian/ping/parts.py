"""Parts that every network is built from: event sources, weighted synapses, trials side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.network.stimulus import EventRows

NEVER = 2**30
"""A step that no run reaches (TimedArray values are float64, which hold it exactly)."""


def bucket(n: int) -> int:
    """Return the length to which an array of `n` values is padded: a few lengths serve all.

    Generated code holds array lengths as literals; with padded arrays a program compiled for one
    draw of weights and input serves the others. At most 1/16 is added beyond the first 256.
    """
    step = 2 ** max(8, int(n).bit_length() - 5)
    return max(1, -(-n // step)) * step


@dataclass(frozen=True)
class EventTable:
    """Input spikes as playback lists, one for each cell and trial.

    Attributes
    ----------
    steps : float64, shape (length,)
        Ascending steps of each cell, cell after cell, each list closed by `NEVER`; padded.
    cursor : int32, shape (n_cells,)
        Where each cell's list begins.
    """

    steps: NDArray[np.float64]
    cursor: NDArray[np.int32]

    @property
    def first_step(self) -> NDArray[np.int32]:
        """The first step of each cell, `NEVER` for a silent one."""
        return self.steps[self.cursor].astype(np.int32)


def event_table(rows: EventRows, *, n_trials: int, n_in: int, at_least: int = 0) -> EventTable:
    """Return the playback table of sorted rows (step, trial, channel).

    Its length is a power of two: unused entries cost nothing while a network runs, and input of
    another rate or duration then fits the same program.

    Parameters
    ----------
    rows : int32, shape (n_events, 3)
        Without repeated rows (see :func:`split_repeats`).
    n_trials, n_in : int
    at_least : int
        Shortest length of the table.
    """
    n_cells = n_trials * n_in
    cell = rows[:, 1].astype(np.int64) * n_in + rows[:, 2]
    counts = np.bincount(cell, minlength=n_cells)
    begin = np.concatenate([[0], np.cumsum(counts + 1)[:-1]])
    length = max(1 << max(12, (len(rows) + n_cells - 1).bit_length()), at_least)
    steps = np.full(length, float(NEVER))
    order = np.argsort(cell, kind="stable")
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    steps[np.repeat(begin, counts) + rank] = rows[order, 0]
    return EventTable(steps=steps, cursor=begin.astype(np.int32))


MAX_REPEATS = 16
"""Spikes of one channel in one step; each further one is another set of input synapses."""


def split_repeats(rows: EventRows) -> list[EventRows]:
    """Return the rows as lists without repeats: the k-th list holds k-th spikes of one step.

    Raises
    ------
    ValueError
        If a channel spikes more than `MAX_REPEATS` times in a step.
    """
    if not len(rows):
        return [rows]
    new = np.concatenate([[True], np.any(rows[1:] != rows[:-1], axis=1)])
    start = np.flatnonzero(new)
    rank = np.arange(len(rows)) - np.repeat(start, np.diff(np.append(start, len(rows))))
    if rank.max() >= MAX_REPEATS:
        raise ValueError(
            f"an input channel spikes {int(rank.max()) + 1} times in one step; at most "
            f"{MAX_REPEATS} are allowed (use a smaller dt)"
        )
    return [rows[rank == k] for k in range(int(rank.max()) + 1)]


@dataclass(frozen=True)
class SparseMatrix:
    """The nonzero entries of a weight matrix, repeated for each trial and padded.

    Padding adds synapses of weight zero, spread evenly over the cells.
    """

    pre: NDArray[np.int32]
    post: NDArray[np.int32]
    n_entries: int
    n_trials: int

    def values(self, matrix: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the weights of all synapses from a (pre, post) matrix with the same mask."""
        padded = np.zeros(len(self.pre))
        padded[: self.n_entries * self.n_trials] = np.tile(matrix[mask], self.n_trials)
        return padded


def sparse_matrix(mask: NDArray[np.bool_], n_trials: int) -> SparseMatrix:
    """Return the connectivity of a (pre, post) mask for trials side by side."""
    n_pre, n_post = mask.shape
    pre, post = np.nonzero(mask)
    trial = np.arange(n_trials)[:, np.newaxis]
    all_pre = (pre + trial * n_pre).ravel()
    all_post = (post + trial * n_post).ravel()
    n_pad = bucket(len(all_pre)) - len(all_pre)
    pad = np.arange(n_pad)
    return SparseMatrix(
        pre=np.concatenate([all_pre, pad % (n_pre * n_trials)]).astype(np.int32),
        post=np.concatenate([all_post, pad % (n_post * n_trials)]).astype(np.int32),
        n_entries=len(pre),
        n_trials=n_trials,
    )


def event_source(name: str, n_cells: int, length: int, clock: Any) -> tuple[Any, Any]:
    """Return a playback group and its table; its spikes come before everything else of a step."""
    import brian2

    from sim_brian.ping import equations

    table = brian2.TimedArray(
        np.full(length, float(NEVER)), dt=1 * brian2.second, name=f"{name}_events"
    )
    group = brian2.NeuronGroup(
        n_cells,
        equations.EVENT_SOURCE,
        threshold=equations.EVENT_THRESHOLD,
        reset=equations.EVENT_RESET,
        namespace={"events": table},
        clock=clock,
        name=name,
    )
    group.set_event_schedule("spike", when="start", order=0)
    group.resetter["spike"].when = "start"
    group.resetter["spike"].order = 2  # after the synapses that deliver the event
    return group, table


def synapses(
    name: str, pre: Any, post: Any, connectivity: SparseMatrix, kick: str, *,
    clock: Any, when: str = "synapses", order: int = 0,
) -> Any:  # fmt: skip
    """Return delay-free synapses that add their weight to the variable `kick` of the target."""
    import brian2

    made = brian2.Synapses(
        pre, post, "w : 1 (constant)", on_pre=f"{kick}_post += w", clock=clock, name=name
    )
    made.connect(i=connectivity.pre, j=connectivity.post)
    made.pre.when = when
    made.pre.order = order
    return made


def to_rows(index: NDArray[np.int64], step: NDArray[np.int64], n_cells: int) -> NDArray[np.int32]:
    """Return events of trials side by side as rows (step, trial, cell), unsorted."""
    return np.stack([step, index // n_cells, index % n_cells], axis=1).astype(np.int32)


def to_trace(trace: NDArray[np.float64], n_trials: int) -> NDArray[np.float64]:
    """Return a (step, index) trace of trials side by side as (trial, step, cell)."""
    n_steps = len(trace)
    return np.ascontiguousarray(trace.reshape(n_steps, n_trials, -1).transpose(1, 0, 2))


def check_lost(lost: Mapping[str, NDArray[Any]], n_cells: Mapping[str, int]) -> None:
    """Raise `ValueError` where a voltage was lost, naming population, trial, cell and step.

    Parameters
    ----------
    lost : dict of str to int array, shape (trial * cell,)
        First step, counted from 1, at which a cell's voltage was not finite; 0 for none.
    n_cells : dict of str to int
    """
    for name, steps in lost.items():
        bad = np.flatnonzero(steps)
        if len(bad):
            first = bad[np.argmin(steps[bad])]
            trial, cell = divmod(int(first), n_cells[name])
            raise ValueError(
                f"the voltage of cell {cell} of {name} (trial {trial}) is not finite at step "
                f"{int(steps[first]) - 1}; negative conductances do this: keep --dales-law on or "
                "use weights >= 0"
            )
