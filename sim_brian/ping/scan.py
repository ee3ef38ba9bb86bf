"""One network over many parameter values: one compiled program, run again with new values.

The program has room for every run of the scan (:mod:`sim_brian.ping.room`), so that nothing is
compiled between values, time step and number of steps included. Runs are spread over processes;
each is the run that a single simulation of its value would have been, spike for spike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from bridge.network.spec import CubaSpec, NetworkSpec
from bridge.network.stimulus import Stimulus
from bridge.network.weights import Weights, effective
from bridge.recording import Recording
from bridge.runs.parallel import Failed, count_cores, guarded, outcome_of, parallel_map
from bridge.runs.store import Result
from sim_brian.engine.circuit import RawRun
from sim_brian.engine.executable import Executable
from sim_brian.engine.held_program import HeldProgram
from sim_brian.engine.program import EngineOptions, Program, choose_target
from sim_brian.ping.batch import Batch, batch_room, copies_together
from sim_brian.ping.conductance import PingModel
from sim_brian.ping.current import CubaModel
from sim_brian.ping.room import Room
from sim_brian.ping.run import make_model, record


class Parts(Protocol):
    """What one run is made of; a :class:`bridge.runs.job.Job` is one."""

    @property
    def spec(self) -> NetworkSpec:
        """The network."""
        ...

    @property
    def weights(self) -> Weights:
        """Its weights as stored."""
        ...

    @property
    def stimulus(self) -> Stimulus:
        """Its input."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the initial voltages."""
        ...


Values = Mapping[str, float]
Vary = Callable[[Values], Parts]
"""Returns the parts of the run at some values; picklable."""
Measure = Callable[[Parts, Recording], Result]
"""Returns what is kept of a run; picklable."""


def scan(
    vary: Vary,
    points: Sequence[Values],
    *,
    measure: Measure,
    corners: Sequence[Values] = (),
    engine: EngineOptions | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    apart: bool = False,
    batch: int | None = None,
    guard: bool = False,
) -> Generator[tuple[int, Result], None, None]:
    """Yield (index, what `measure` returns) for every point, in order, as soon as it is there.

    Parameters
    ----------
    vary : callable
        From the values of a point to the parts of its run; `functools.partial(vary, job)` of
        :func:`bridge.runs.vary.vary` for one.
    points : sequence of dict
        Values by name; results are identical for any number of workers.
    measure : callable
        Called where the run was made, with its parts and its recording.
    corners : sequence of dict
        Values that need the most room (synapses, input spikes, steps); default the first and the
        last point. A point that needs more still runs, with a program of its own.
    engine : EngineOptions, optional
        Target and compiler flags.
    jobs, scheduler, apart
        See :func:`bridge.runs.parallel.parallel_map`.
    batch : int, optional
        Points side by side in one simulation (see :mod:`sim_brian.ping.batch`), which this process
        then runs; default 1 on a CPU, and on a GPU of this machine as many as it holds.
    guard : bool
        Yield a :class:`bridge.runs.parallel.Failed` for a point that fails and go on, in place of
        raising its error.

    Raises
    ------
    ValueError, RuntimeError
        As for :func:`sim_brian.ping.run.simulate`, naming the values.
    """
    if not points:
        return
    engine = engine or EngineOptions()
    corners = list(corners) or [points[0], points[-1]]
    models = [_model(vary(values)) for values in corners]
    room = Room.around(models)
    first = dataclasses.replace(models[0], room=room)
    workers = 1 if scheduler is not None else min(jobs or count_cores(), len(points))
    shares = -(-len(points) // workers)
    target = choose_target(first, dataclasses.replace(engine, n_runs=shares))
    engine = dataclasses.replace(engine, target=target, progress=None)
    if batch is None:
        on_gpu = target == "cuda" and scheduler is None and engine.program is None
        batch = copies_together(models[0], len(points)) if on_gpu else 1
    if batch > 1:
        if scheduler is not None:
            raise ValueError("--batch and --scheduler exclude each other; use --batch 1")
        yield from _in_batches(BatchTask(vary, measure, models, engine, batch), points, guard)
        return
    with contextlib.ExitStack() as stack:
        executable = None
        if scheduler is None and target in ("cpp", "cuda"):
            # Generated here once; the workers need neither Brian2 nor a compiler.
            executable = stack.enter_context(Program(first, target, engine)).executable()
        make = functools.partial(
            ScanTask, vary, measure, dict(corners[0]), room, engine, executable
        )
        yield from parallel_map(
            guarded(make) if guard else make, points, jobs=jobs, scheduler=scheduler, apart=apart
        )


def _in_batches(
    task: BatchTask, points: Sequence[Values], guard: bool
) -> Generator[tuple[int, Any], None, None]:
    """Yield (index, result) of points that are run side by side, in order."""
    with contextlib.closing(task):
        for begin in range(0, len(points), task.size):
            chosen = points[begin : begin + task.size]
            found = outcome_of(task, chosen) if guard else task(chosen)
            if isinstance(found, Failed):  # one by one: the others of the batch are good
                found = [_alone(task, values) for values in chosen]
            yield from enumerate(found, begin)


def _alone(task: BatchTask, values: Values) -> Any:
    found = outcome_of(task, [values])
    return found if isinstance(found, Failed) else found[0]


class BatchTask:
    """Runs points of a scan side by side, in one program of this process.

    Parameters
    ----------
    vary, measure
        See :func:`scan`.
    corners : sequence of models
        The runs that need the most room.
    engine : EngineOptions
    size : int
        Points of a batch.
    """

    def __init__(
        self,
        vary: Vary,
        measure: Measure,
        corners: Sequence[PingModel | CubaModel],
        engine: EngineOptions,
        size: int,
    ) -> None:
        self._vary, self._measure = vary, measure
        self._room = batch_room(corners, size)
        self._engine, self.size = engine, size
        self._program = HeldProgram(engine)

    def __call__(self, points: Sequence[Values]) -> list[Result]:
        """Return what is kept of the runs at some points, at most `size` of them."""
        parts = [self._at(values, self._vary, values) for values in points]
        models = [_model(p) for p in parts]
        # Copies of the last fill the batch up: another size would be another program.
        filled = [*models, *[models[-1]] * (self.size - len(models))]
        batch = Batch(filled, self._room)
        raw = batch.split(self._run(batch))
        return [
            self._at(values, self._kept, p, model, one)
            for values, p, model, one in zip(points, parts, models, raw, strict=False)
        ]

    def close(self) -> None:
        """Give back what the program holds on disk."""
        self._program.close()

    def _run(self, batch: Batch) -> RawRun:
        n_steps = batch.whole.stimulus.n_steps
        if not batch.fits():
            batch = Batch(batch.copies)
            with Program(batch, self._engine.target, self._engine) as program:
                return program.run(n_steps=n_steps)
        return self._program.run(batch.values(), n_steps=n_steps, first=lambda: batch)

    def _kept(self, parts: Parts, model: PingModel | CubaModel, raw: RawRun) -> Result:
        recording = record(parts.spec, model.matrices, parts.stimulus, raw, seed=parts.seed)
        return self._measure(parts, recording)

    @staticmethod
    def _at(values: Values, do: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns; its errors name the point."""
        try:
            return do(*arguments)
        except (ValueError, RuntimeError) as error:
            _raise_at(values, error)


def _raise_at(values: Values, error: Exception) -> NoReturn:
    """Raise an error of a point again, naming its values."""
    at = ", ".join(f"{name} = {value:.6g}" for name, value in values.items())
    if not at or at in str(error):
        raise error
    raise type(error)(f"at {at}: {error}") from error


class ScanTask:
    """What a worker process of a scan does: run a point and measure it.

    Parameters
    ----------
    vary, measure
        See :func:`scan`.
    first : dict
        Values of the run that the program is made from.
    room : Room
    engine : EngineOptions
        With a target that is not ``auto``.
    executable : Executable or None
        The compiled program, where it lies on this machine; otherwise this process makes its own.
    """

    def __init__(
        self,
        vary: Vary,
        measure: Measure,
        first: Values,
        room: Room,
        engine: EngineOptions,
        executable: Executable | None,
    ) -> None:
        self._vary, self._measure = vary, measure
        self._first, self._room = first, room
        self._engine, self._program = engine, HeldProgram(engine, executable)
        self._matrices: tuple[Weights, bool, Weights] | None = None

    def __call__(self, values: Values) -> Result:
        """Return what is kept of the run at these values."""
        try:
            parts = self._vary(values)
            model = self._model(parts)
            raw = self._run(parts, model)
            recording = record(parts.spec, model.matrices, parts.stimulus, raw, seed=parts.seed)
            return self._measure(parts, recording)
        except (ValueError, RuntimeError) as error:
            _raise_at(values, error)

    def close(self) -> None:
        """Give back what the program of this process holds on disk."""
        self._program.close()

    def _model(self, parts: Parts) -> PingModel | CubaModel:
        """Return the model of a run; matrices that stayed are not worked out again."""
        spec, dt_ms = parts.spec, parts.stimulus.dt_ms
        fixed = isinstance(spec, CubaSpec) or spec.synapses.order == "decay-add"
        held = self._matrices
        if held is None or not fixed or held[0] is not parts.weights or held[1] != spec.dales_law:
            held = (parts.weights, spec.dales_law, effective(parts.weights, spec, dt_ms))
            self._matrices = held
        return _model(parts, self._room, held[2])

    def _run(self, parts: Parts, model: PingModel | CubaModel) -> RawRun:
        n_steps = parts.stimulus.n_steps
        if not self._room.holds(model):
            with Program(_model(parts), self._engine.target, self._engine) as program:
                return program.run()
        return self._program.run(
            model.values(), n_steps=n_steps,
            first=lambda: _model(self._vary(self._first), self._room),
        )  # fmt: skip


def _model(
    parts: Parts, room: Room | None = None, matrices: Weights | None = None
) -> PingModel | CubaModel:
    return make_model(
        parts.spec, parts.weights, parts.stimulus, seed=parts.seed, record_traces=False, room=room,
        matrices=matrices,
    )  # fmt: skip


def keep_spikes(parts: Parts, recording: Recording) -> Result:
    """Return the whole recording but for traces: a `measure` for those who draw it."""
    found: dict[str, Any] = {
        "dt_ms": recording.dt_ms,
        "n_steps": recording.n_steps,
        "n_trials": recording.n_trials,
        "n_cells": dict(recording.n_cells),
        "backend": recording.backend,
        "seed": recording.seed,
    }
    found |= {f"spikes_{name}": rows for name, rows in recording.spikes.items()}
    if recording.logits is not None:
        found["logits"] = recording.logits
    return found


def kept_recording(result: Result) -> Recording:
    """Return the recording that :func:`keep_spikes` kept."""
    return Recording(
        dt_ms=result["dt_ms"],
        n_steps=result["n_steps"],
        n_trials=result["n_trials"],
        n_cells=result["n_cells"],
        spikes={name: result[f"spikes_{name}"] for name in result["n_cells"]},
        logits=result.get("logits"),
        backend=result["backend"],
        seed=result["seed"],
    )
