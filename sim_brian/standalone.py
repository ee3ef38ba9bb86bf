"""Runs as a compiled program of its own: Brian2's C++ and CUDA standalone devices.

A network is generated once; the program behind it comes from the cache of
:mod:`sim_brian.build_cache`, and every run is one call of it with new values. Each
:class:`StandaloneProgram` works in a private folder, so that processes never share a file that is
being written.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim_brian import build_cache
from sim_brian.circuit import Circuit, Model, RawRun

_PROGRESS = "pingbridge-progress"


@dataclass(frozen=True)
class _ArrayFile:
    """Where a result lies and how to read it."""

    name: str
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Generated:
    """What a run must know of a generated project: types of its values, files of its results."""

    dtypes: Mapping[str, np.dtype[Any]]
    spikes: Mapping[str, tuple[_ArrayFile, _ArrayFile]]
    traces: Mapping[str, tuple[_ArrayFile, int]]
    finals: Mapping[str, _ArrayFile]


def generate(model: Model, target: str, project: Path) -> Generated:
    """Write the source code of a model into a folder; the standalone device must be active."""
    import brian2
    from brian2.devices import get_device

    device = get_device()
    clock = brian2.Clock(dt=1 * brian2.second, name="steps")
    control = brian2.NeuronGroup(
        1,
        "n_steps : integer (shared, constant)\nreport : integer (shared, constant)",
        clock=clock,
        name="control",
    )
    circuit = model.build(clock)
    network = brian2.Network([control, *circuit.objects], name="network")
    # The number of steps and the progress report are run-time values, not literals of the
    # generated code: Brian2 generates a run of no length, and the real one follows it.
    steps = device.get_array_name(control.variables["n_steps"])
    report = device.get_array_name(control.variables["report"])
    device.insert_code(
        "after_network_run",
        f"network.run({steps}[0] * 1.0, {report}[0] ? report_progress : NULL, 0.5);",
    )
    network.run(
        0 * brian2.second,
        report=f'if (duration > 0) std::cout << "{_PROGRESS} " << completed << std::endl;',
        namespace={},
    )
    device.build(directory=str(project), compile=False, run=False, with_output=False)
    if target == "cpp":
        build_cache.add_precompiled_header(project)
    spikes, traces, finals = _result_files(device, circuit)
    return Generated(_value_dtypes(network, circuit), spikes, traces, finals)


class StandaloneProgram:
    """A model as a compiled program that can be run many times without recompiling.

    Must be made while the standalone device is active (see :mod:`sim_brian.engine`).
    """

    def __init__(self, model: Model, target: str, *, flags: tuple[str, ...], jobs: int) -> None:
        begin = time.perf_counter()
        self._target = target
        self._n_steps = model.workload.n_steps
        self._folder = tempfile.TemporaryDirectory(prefix="pingbridge-")
        self._project = Path(self._folder.name)
        try:
            self._files = generate(model, target, self._project)
            key = build_cache.source_key(self._project, flags)
            self.key = key
            self._program, self._compiled = build_cache.get_or_compile(
                key, self._project, jobs=jobs
            )
        except BaseException:
            self.close()
            raise
        self._prepare_s = time.perf_counter() - begin

    def run(
        self, values: Mapping[str, Any], *, progress: Callable[[float], None] | None = None
    ) -> RawRun:
        """Run the compiled program once with these values.

        Raises
        ------
        RuntimeError
            If the program fails or complains.
        """
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=self._project, prefix="run-") as name:
            folder = Path(name)
            results = folder / "results"
            results.mkdir()
            command = [str(self._program), "--results_dir", f"{results}{os.sep}"]
            full = {
                "control.n_steps": self._n_steps,
                "control.report": int(progress is not None),
            } | dict(values)
            for variable, value in full.items():
                command.append(f"{variable}={self._argument(folder, variable, value)}")
            self._execute(command, progress)
            run_s = time.perf_counter() - begin
            return RawRun(
                spikes={
                    population: (
                        _read(results, index).astype(np.int64),
                        np.rint(_read(results, t)).astype(np.int64),
                    )
                    for population, (index, t) in self._files.spikes.items()
                },
                traces={
                    trace: _read(results, file).reshape(-1, width).astype(np.float64)
                    for trace, (file, width) in self._files.traces.items()
                },
                finals={state: _read(results, file) for state, file in self._files.finals.items()},
                target=self._target,
                compiled=self._compiled,
                prepare_s=self._prepare_s,
                run_s=run_s,
            )

    def close(self) -> None:
        """Remove the private folder; the compiled program stays in the cache."""
        self._folder.cleanup()

    def _argument(self, folder: Path, variable: str, value: Any) -> str:
        if variable not in self._files.dtypes:
            raise ValueError(f"the network has no variable {variable!r} to give a value to")
        array = np.asarray(value, dtype=self._files.dtypes[variable])
        if array.ndim == 0:
            return repr(array.item())
        path = folder / variable
        np.ascontiguousarray(array).tofile(path)
        return str(path)

    def _execute(self, command: list[str], progress: Callable[[float], None] | None) -> None:
        with (
            tempfile.TemporaryFile("w+") as complaints,
            subprocess.Popen(
                command, cwd=self._project, stdout=subprocess.PIPE, stderr=complaints, text=True
            ) as process,
        ):
            assert process.stdout is not None
            other = []
            try:
                for line in process.stdout:
                    if line.startswith(_PROGRESS):
                        if progress is not None:
                            progress(float(line.split()[1]))
                    else:
                        other.append(line.strip())
            except BaseException:
                process.kill()
                raise
            process.wait()
            complaints.seek(0)
            said = " | ".join(filter(None, [*other, complaints.read().strip()]))[-2000:]
        if process.returncode or said:
            raise RuntimeError(
                f"the compiled network ended with status {process.returncode}: {said or 'silent'}"
            )


def _value_dtypes(network: Any, circuit: Circuit) -> dict[str, np.dtype[Any]]:
    dtypes = {
        f"{obj.name}.{name}": np.dtype(variable.dtype)
        for obj in network.objects
        if hasattr(obj, "variables")
        for name, variable in obj.variables.items()
        if hasattr(variable, "dtype") and getattr(variable, "array", True)
    }
    for name, table in circuit.tables.items():
        dtypes[f"{name}.values"] = np.dtype(table.values.dtype)
    return dtypes


def _result_files(device: Any, circuit: Circuit) -> tuple[dict, dict, dict]:
    def file(variable: Any) -> _ArrayFile:
        return _ArrayFile(device.get_array_filename(variable), np.dtype(variable.dtype))

    spikes = {
        name: (file(m.variables["i"]), file(m.variables["t"])) for name, m in circuit.spikes.items()
    }
    traces = {
        name: (file(m.variables[variable]), len(m.record))
        for name, (m, variable) in circuit.traces.items()
    }
    finals = {
        name: file(group.variables[variable]) for name, (group, variable) in circuit.finals.items()
    }
    return spikes, traces, finals


def _read(results: Path, file: _ArrayFile) -> NDArray[Any]:
    path = results / file.name
    # Brian2 writes no file for a dynamic array that stayed empty.
    if not path.exists() or not path.stat().st_size:
        return np.empty(0, dtype=file.dtype)
    return np.fromfile(path, dtype=file.dtype)
