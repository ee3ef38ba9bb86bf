"""Many copies of a network in one simulation, each with weights, constants and input of its own.

Made for GPUs, which are idle with one network and hardly slower with hundreds. Copies do not see
each other; each is, spike for spike, the run that it would have been alone. They share the cells
and the synapses: where one copy lacks a synapse that another has, its weight is zero. A copy with
fewer steps than others runs on, and what it does after its end is cut off.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.network.stimulus import Stimulus
from sim_brian.engine.circuit import Circuit, RawRun, Workload
from sim_brian.engine.cuda import toolkit as cuda_toolkit
from sim_brian.ping import parts
from sim_brian.ping.conductance import PingModel
from sim_brian.ping.ei_model import EIModel
from sim_brian.ping.room import Room

GPU_CELLS = 1_000_000
GPU_SYNAPSES = 50_000_000
"""Most cells and synapses of one simulation on a GPU: setting synapses up takes host time, too."""

BYTES_PER_SYNAPSE = 48
"""On the device while a network is set up: ends, weight, delay and lists (read off the code)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Models of the same cells side by side, as one model for the engine.

    Parameters
    ----------
    copies : sequence of EIModel
        Of one kind, with equal populations, trials and input channels, without traces.
    room : Room, optional
        Made by :func:`batch_room`; of these copies alone if left out.

    Raises
    ------
    ValueError
        If the copies differ in more than values.
    """

    copies: Sequence[EIModel]
    room: Room | None = None

    def __post_init__(self) -> None:
        """Refuse copies that do not go together."""
        shapes = {
            (type(m).__name__, str(m.spec.populations), m.stimulus.n_trials, m.stimulus.n_in,
             m.n_external > 0, m.record_traces)
            for m in self.copies
        }  # fmt: skip
        if len(shapes) != 1:
            raise ValueError(
                "networks side by side must have the same cells, trials and kind of input; use "
                "--batch 1"
            )
        if self.copies[0].record_traces:
            raise ValueError("networks side by side keep no traces; use --batch 1")

    @functools.cached_property
    def whole(self) -> EIModel:
        """All copies as one model with many trials; its weights and constants are not theirs."""
        first = self.copies[0]
        given: dict[str, Any] = {
            "stimulus": merged([m.stimulus for m in self.copies]),
            "room": self.room or batch_room(self.copies, len(self.copies)),
            "own_constants": True,
        }
        if isinstance(first, PingModel):
            starts = [m.v_start_mv for m in self.copies if isinstance(m, PingModel)]
            given["v_start_mv"] = {n: np.concatenate([s[n] for s in starts]) for n in starts[0]}
        return dataclasses.replace(first, **given)

    @property
    def workload(self) -> Workload:
        """Size of one run."""
        return self.whole.workload

    def structure(self) -> str:
        """Return what shapes the generated code."""
        return self.whole.structure()

    def build(self, clock: Any) -> Circuit:
        """Return the Brian2 objects."""
        return self.whole.build(clock)

    def fits(self) -> bool:
        """Tell whether these copies fit into the room."""
        room, whole = self.room, self.whole
        return room is None or (
            all(room.has_synapses_of(copy) for copy in self.copies)
            and whole.stimulus.n_trials == room.n_trials
            and len(whole.inputs) <= room.n_inputs
            and all(len(table.steps) <= room.n_events for table in whole.inputs)
            and whole.n_external == room.n_external
        )

    def values(self) -> dict[str, Any]:
        """Return all run-time values: those of each copy, one after the other."""
        whole = self.whole
        given = whole.values()
        for name, connection in whole.connections.items():
            mask = whole.masks[name]
            w = np.zeros(len(connection.pre))
            own = [
                np.tile(m.matrices[name][mask], m.stimulus.n_trials)
                if name in m.matrices else np.zeros(mask.sum() * m.stimulus.n_trials)
                for m in self.copies
            ]  # fmt: skip
            w[: connection.n_entries * connection.n_trials] = np.concatenate(own)
            if name == "W_in":
                given |= {f"w_in{k}.w": w for k in range(len(whole.inputs))}
            else:
                given[f"{name.lower()}.w"] = w
        return given | self._constants()

    def _constants(self) -> dict[str, NDArray[Any]]:
        populations, n_trials = self.whole.spec.populations, self.copies[0].stimulus.n_trials
        each = [model.constants() for model in self.copies]
        found: dict[str, NDArray[Any]] = {}
        for variable in each[0]:
            population = variable.split(".")[0]
            if population not in populations:  # tables: the whole's own
                continue
            n_cells = populations[population] * n_trials
            found[variable] = np.concatenate([
                np.broadcast_to(np.asarray(constants[variable]), (n_cells,)) for constants in each
            ])  # fmt: skip
        return found

    def split(self, raw: RawRun) -> list[RawRun]:
        """Return what each copy did."""
        n_trials, n_copies = self.copies[0].stimulus.n_trials, len(self.copies)
        spikes: list[dict[str, Any]] = [{} for _ in self.copies]
        for name, (index, step) in raw.spikes.items():
            size = self.whole.spec.populations[name] * n_trials
            order = np.argsort(index // size, kind="stable")
            index, step = index[order], step[order]
            cut = np.searchsorted(index // size, np.arange(n_copies + 1))
            for k, model in enumerate(self.copies):
                own = slice(cut[k], cut[k + 1])
                inside = step[own] < model.stimulus.n_steps
                spikes[k][name] = (index[own][inside] - k * size, step[own][inside])
        found = []
        for k, model in enumerate(self.copies):
            finals = {}
            for name, state in raw.finals.items():
                own = np.array(state).reshape(n_copies, -1)[k]
                finals[name] = np.where(own > model.stimulus.n_steps, 0, own)  # lost after its end
            found.append(dataclasses.replace(
                raw, spikes=spikes[k], finals=finals, run_s=raw.run_s / n_copies,
                prepare_s=raw.prepare_s / n_copies,
            ))  # fmt: skip
        return found


def merged(stimuli: Sequence[Stimulus]) -> Stimulus:
    """Return stimuli side by side, as trials of one that lasts as long as the longest."""
    first, n_trials = stimuli[0], stimuli[0].n_trials
    rows = []
    for k, stimulus in enumerate(stimuli):
        shifted = stimulus.events.copy()
        shifted[:, 1] += k * n_trials
        rows.append(shifted)
    events = np.concatenate(rows)
    n_steps = max(s.n_steps for s in stimuli)
    external = None
    if first.g_ext_us is not None:
        external = np.zeros((n_trials * len(stimuli), n_steps, first.g_ext_us.shape[2]))
        for k, stimulus in enumerate(stimuli):
            assert stimulus.g_ext_us is not None
            own = slice(k * n_trials, (k + 1) * n_trials)
            external[own, : stimulus.n_steps] = stimulus.g_ext_us
    return dataclasses.replace(
        first,
        n_steps=n_steps,
        n_trials=n_trials * len(stimuli),
        events=events,
        g_ext_us=external,
    )


def batch_room(models: Sequence[EIModel], n_copies: int) -> Room:
    """Return room for `n_copies` side by side of networks like these."""
    room = Room.around(models)
    n_external = max(
        (m.stimulus.g_ext_us.size for m in models if m.stimulus.g_ext_us is not None), default=0
    )
    length = n_copies * room.n_events
    return dataclasses.replace(
        room,
        n_trials=room.n_trials * n_copies,
        n_events=1 << max(12, (length - 1).bit_length()) if length else 0,
        n_external=parts.bucket(n_external * n_copies) if n_external else 0,
    )


def copies_together(model: EIModel, n_copies: int) -> int:
    """Return how many copies of a network make one simulation on the GPU: batches of equal size."""
    n_trials = model.stimulus.n_trials
    cells = n_trials * (model.stimulus.n_in + sum(model.spec.populations.values()))
    synapses = n_trials * sum(int(np.count_nonzero(mask)) for mask in model.masks.values())
    n_batches = -(-n_copies // max(1, most_copies(cells, synapses)))
    return -(-n_copies // n_batches)


def most_copies(cells: int, synapses: int) -> int:
    """Return how many copies of so many cells and synapses fit on the GPU of this machine."""
    here, most = cuda_toolkit.gpus(), GPU_SYNAPSES
    if here and here[0].memory_mb:
        most = min(most, here[0].memory_mb * 2**20 // 2 // BYTES_PER_SYNAPSE)
    return min(GPU_CELLS // max(cells, 1), most // max(synapses, 1))
