"""Runs in the Python process: Brian2's numpy and cython targets."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridge.cache import cache_root
from sim_brian.engine.circuit import Circuit, Model, RawRun

log = logging.getLogger("pingbridge")

_OF_COMPILERS = ("CompileError", "LinkError", "DistutilsExecError", "DistutilsPlatformError")


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
        """Run once with these values; see :class:`sim_brian.engine.circuit.Model`.

        Raises
        ------
        RuntimeError
            If the compiler fails; the message ends with its last lines.
        """
        if self._target != "cython":
            return self._run(values, n_steps=n_steps, progress=progress)
        removed: set[Path] = set()
        while True:
            try:
                with _compiler_in_one_line():
                    return self._run(values, n_steps=n_steps, progress=progress)
            except Exception as error:
                damaged = _damaged_module(error)
                if damaged is None or damaged in removed:
                    raise
                removed.add(damaged)
                damaged.unlink(missing_ok=True)
                log.info("the compiled loop %s is damaged; compiling it again", damaged)

    def _run(
        self,
        values: Mapping[str, Any],
        *,
        n_steps: int,
        progress: Callable[[float], None] | None,
    ) -> RawRun:
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


class _WithoutCompiler:
    """A stream without what Brian2 repeats of a compiler that failed."""

    def __init__(self, stream: Any, kept: list[str]) -> None:
        self._stream, self._kept = stream, kept

    def write(self, text: str) -> int:
        if sys._getframe(1).f_globals.get("__name__") == "brian2.utils.logger":
            self._kept.append(text)
            return len(text)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _compiler_in_one_line() -> Iterator[None]:
    """Turn what a failing compiler says into the end of one error."""
    said: list[str] = []
    flags: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        flags.append(record.getMessage())
        return False

    logger = logging.getLogger("brian2.codegen.cpp_prefs")
    out, err = sys.stdout, sys.stderr
    ours = _WithoutCompiler(out, said), _WithoutCompiler(err, said)
    sys.stdout, sys.stderr = ours
    logger.addFilter(keep)
    try:
        yield
    except Exception as error:
        if not any(type(one).__name__ in _OF_COMPILERS for one in _causes(error)):
            raise
        lines = [line.strip() for line in "".join(said).splitlines() if line.strip()]
        tail = " | ".join(lines[-3:]) or " ".join(str(error).split())[-300:]
        raise RuntimeError(f"compiling the loops of the network failed: {tail}") from error
    finally:
        logger.removeFilter(keep)
        if (sys.stdout, sys.stderr) == ours:
            sys.stdout, sys.stderr = out, err
    for line in flags:
        log.warning("%s", line)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _damaged_module(error: Exception) -> Path | None:
    """Return the file of the cache that could not be loaded, if that was the error."""
    for one in _causes(error):
        if isinstance(one, ImportError) and one.path:
            path = Path(one.path)
            if path.is_relative_to(cache_root() / "cython"):
                return path
    return None


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
