"""What a system hands to the engine, and what it gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The size of one run, from which the engine estimates what each target would cost.

    Attributes
    ----------
    n_steps : int
    n_updaters : int
        Brian2 objects that act in each step.
    n_cells : int
        Cells updated in each step, all groups and trials together.
    n_deliveries : float
        Expected synaptic events of the whole run.
    """

    n_steps: int
    n_updaters: int
    n_cells: int
    n_deliveries: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Circuit:
    """The Brian2 objects of one network, made inside the engine's device.

    Attributes
    ----------
    objects : list
        Everything that belongs into the network, each with a name of its own.
    tables : dict of str to TimedArray
        Lookup tables whose values are given at run time.
    spikes : dict of str to SpikeMonitor
        By the name under which the events come back.
    traces : dict of str to (StateMonitor, variable)
    finals : dict of str to (group, variable)
        State read when the run is over.
    random : bool
        The code draws ``rand()``; each run is then seeded by the value ``control.seed``.
    """

    objects: list[Any]
    tables: Mapping[str, Any] = field(default_factory=dict)
    spikes: Mapping[str, Any] = field(default_factory=dict)
    traces: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    finals: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    random: bool = False


class Model(Protocol):
    """A network that the engine can run.

    `build` makes the objects (structure: everything that shapes generated code and connectivity);
    `values` are given anew for each run and never cause a compilation: a mapping from
    ``group.variable`` (or ``table.values``) to a number or an array. A circuit that draws random
    numbers takes the seed of a run (0 to 2**31 - 1) as the value ``control.seed``: numpy, cython
    and cpp then draw the same numbers, as long as each operation calls ``rand()`` once.
    """

    @property
    def workload(self) -> Workload:
        """Size of one run."""
        ...

    def structure(self) -> str:
        """Return a text that is equal for networks with the same generated code."""
        ...

    def build(self, clock: Any) -> Circuit:
        """Return the Brian2 objects, all on `clock`, which ticks once per step."""
        ...

    def values(self) -> Mapping[str, float | int | NDArray[Any]]:
        """Return the values of one run."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class RawRun:
    """Events and traces of one run, by name; indices are those of the Brian2 groups.

    Attributes
    ----------
    spikes : dict of str to (index, step) int arrays, in no particular order
    traces : dict of str to float64 array, shape (step, index)
    finals : dict of str to array
    target : str
        What ran it.
    compiled : bool
        True if something had to be compiled for it.
    prepare_s, run_s : float, s
        Wall time of building (compilation included) and of the run itself.
    """

    spikes: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
    traces: Mapping[str, NDArray[np.float64]]
    finals: Mapping[str, NDArray[Any]]
    target: str
    compiled: bool
    prepare_s: float
    run_s: float
