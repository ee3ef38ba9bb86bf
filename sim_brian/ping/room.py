"""The space that one compiled program gives to many runs.

Generated code holds array lengths and connectivity; weights and input are given for each run. A
program with room for the largest run of a scan serves all of them: a synapse that a run lacks has
weight zero there, and a playback list may be shorter than its table.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bridge.network.stimulus import Stimulus
from sim_brian.ping import parts


class Occupant(Protocol):
    """What a room asks of a model (:class:`sim_brian.ping.ei_model.EIModel`)."""

    @property
    def stimulus(self) -> Stimulus:
        """Its input."""
        ...

    @property
    def matrices(self) -> Mapping[str, NDArray[np.float64]]:
        """Weights as a backend uses them, shape (pre, post)."""
        ...

    @property
    def masks(self) -> Mapping[str, NDArray[np.bool_]]:
        """Which entries of each matrix are synapses."""
        ...

    @property
    def inputs(self) -> list[parts.EventTable]:
        """Playback tables."""
        ...

    @property
    def n_external(self) -> int:
        """Length of the table of an external conductance; 0 for none."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Room:
    """Connectivity and array lengths that hold the runs of a scan.

    Attributes
    ----------
    masks : dict of str to bool array, shape (pre, post)
        Synapses of each matrix.
    n_trials : int
    n_inputs : int
        Playback tables.
    n_events : int
        Length of a playback table.
    n_external : int
        Length of the table of an external conductance; 0 for none.
    """

    masks: Mapping[str, NDArray[np.bool_]]
    n_trials: int
    n_inputs: int
    n_events: int
    n_external: int

    @classmethod
    def around(cls, models: Iterable[Occupant]) -> Room:
        """Return a room for all of these models, which must have the same cells and trials."""
        models = list(models)
        masks: dict[str, NDArray[np.bool_]] = {}
        for model in models:
            for name, mask in model.masks.items():
                masks[name] = masks[name] | mask if name in masks else mask
        lengths = {len(table.steps) for model in models for table in model.inputs}
        n_events = max(lengths, default=0)
        if len({len(model.stimulus.events) for model in models}) > 1:
            n_events *= 2  # the input varies: another draw between the ends may have more spikes
        return cls(
            masks=masks,
            n_trials=models[0].stimulus.n_trials,
            n_inputs=max(len(model.inputs) for model in models),
            n_events=n_events,
            n_external=max(model.n_external for model in models),
        )

    @functools.cached_property
    def connections(self) -> dict[str, parts.SparseMatrix]:
        """Connectivity of each matrix."""
        return {name: parts.sparse_matrix(mask, self.n_trials) for name, mask in self.masks.items()}

    def holds(self, model: Occupant) -> bool:
        """Tell whether a model, made in this room, fits into it."""
        return (
            self.has_synapses_of(model)
            and model.stimulus.n_trials == self.n_trials
            and len(model.inputs) <= self.n_inputs
            and all(len(table.steps) <= self.n_events for table in model.inputs)
            and model.n_external == self.n_external
        )

    def has_synapses_of(self, model: Occupant) -> bool:
        """Tell whether there is a synapse for each weight of a model."""
        for name, matrix in model.matrices.items():
            if name in ("W_out", "b_out"):
                continue
            mask = self.masks.get(name)
            if np.any(matrix) if mask is None else np.any(matrix[~mask]):
                return False
        return True
