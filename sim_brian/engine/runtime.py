"""Runs in the Python process: Brian2's numpy and cython targets."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from sim_brian.engine.circuit import Circuit, Model, RawRun


class RuntimeProgram:
    """A model on Brian2's runtime device; each run builds its objects afresh."""

    def __init__(self, model: Model, target: str, *, compiled: bool) -> None:
        self._model = model
        self._target = target
        self._compiled = compiled

    def run(
        self,
        values: Mapping[str, Any],
        *,
        n_steps: int,
        progress: Callable[[float], None] | None = None,
    ) -> RawRun:
        """Run once with these values; see :class:`sim_brian.engine.circuit.Model`."""
        import brian2

        begin = time.perf_counter()
        clock = brian2.Clock(dt=1 * brian2.second, name="steps")
        circuit = self._model.build(clock)
        network = brian2.Network(circuit.objects)
        values = dict(values)
        seed = values.pop("control.seed", None)
        _set_values(network, circuit, values)
        prepared = 0.0

        def report(elapsed: Any, completed: float, start: Any, duration: Any) -> None:
            nonlocal prepared
            # The first report comes when all is generated and compiled, before the first step.
            prepared = prepared or time.perf_counter()
            if progress is not None:
                progress(float(completed))

        with _seeded(seed):
            network.run(
                n_steps * brian2.second,
                report=report,
                report_period=0.5 * brian2.second,
                namespace={},
            )
        finished = time.perf_counter()
        if round(float(network.t_)) != n_steps:
            raise RuntimeError(f"the run ended early, after {float(network.t_):g} steps")
        return RawRun(
            spikes={
                name: (np.asarray(m.i[:], dtype=np.int64), _steps(m.t_[:]))
                for name, m in circuit.spikes.items()
            },
            traces={
                name: np.asarray(getattr(m, f"{variable}_")).T.astype(np.float64)
                for name, (m, variable) in circuit.traces.items()
            },
            finals={
                name: np.array(getattr(group, f"{variable}_")[:])
                for name, (group, variable) in circuit.finals.items()
            },
            target=self._target,
            compiled=self._compiled,
            prepare_s=prepared - begin,
            run_s=finished - prepared,
        )

    def close(self) -> None:
        """Do nothing: objects go when a run is over."""


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Seed Brian2's random numbers (numpy's global ones) and put those back afterwards."""
    if seed is None:
        yield
        return
    from brian2.devices import get_device

    device = get_device()
    before = device.get_random_state()
    device.seed(int(seed))
    try:
        yield
    finally:
        device.set_random_state(before)


def _steps(t_s: Any) -> Any:
    # The clock ticks once per second of Brian time, so that times are step numbers.
    return np.rint(np.asarray(t_s)).astype(np.int64)


def _set_values(network: Any, circuit: Circuit, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        owner, variable = name.split(".")
        if owner in circuit.tables:
            table = circuit.tables[owner]
            table.values[...] = value
        else:
            setattr(network[owner], variable, value)
