"""A compiled network as files: everything that any process needs to run it with new values."""

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

from sim_brian.engine.circuit import RawRun
from sim_brian.engine.cuda.errors import explain, is_chatter

PROGRESS = "pingbridge-progress"
"""Begins a line in which a program tells how far it is."""


@dataclass(frozen=True)
class ArrayFile:
    """Where a result lies and how to read it."""

    name: str
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Generated:
    """What a run must know of a generated project: types of its values, files of its results."""

    dtypes: Mapping[str, np.dtype[Any]]
    spikes: Mapping[str, tuple[ArrayFile, ArrayFile]]
    traces: Mapping[str, tuple[ArrayFile, int]]
    finals: Mapping[str, ArrayFile]


@dataclass(frozen=True, kw_only=True)
class Executable:
    """A compiled program with the folder of its connectivity; picklable, safe to run side by side.

    Every run has a private folder for its values and results.

    Parameters
    ----------
    project : Path
        Folder of the generated project, which a
        :class:`sim_brian.engine.standalone.StandaloneProgram` keeps while it is open.
    program : Path
    files : Generated
    target : str
    compiled : bool
    prepare_s : float, s
        See :class:`sim_brian.engine.circuit.RawRun`.
    capability : str or None
        Compute capability that a GPU program is compiled for.
    """

    project: Path
    program: Path
    files: Generated
    target: str
    compiled: bool
    prepare_s: float
    capability: str | None = None

    def run(
        self,
        values: Mapping[str, Any],
        *,
        n_steps: int,
        progress: Callable[[float], None] | None = None,
    ) -> RawRun:
        """Run the compiled program once with these values.

        Raises
        ------
        RuntimeError
            If the program fails or complains.
        """
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=self.project, prefix="run-") as name:
            folder = Path(name)
            results = folder / "results"
            results.mkdir()
            command = [str(self.program), "--results_dir", f"{results}{os.sep}"]
            # Brian2's programs lower the case of what they are given, paths included, and take
            # what begins with a digit for a number: values go by short names below the project.
            full = {
                "control.n_steps": n_steps,
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
                    for population, (index, t) in self.files.spikes.items()
                },
                traces={
                    trace: _read(results, file).reshape(-1, width).astype(np.float64)
                    for trace, (file, width) in self.files.traces.items()
                },
                finals={state: _read(results, file) for state, file in self.files.finals.items()},
                target=self.target,
                compiled=self.compiled,
                prepare_s=self.prepare_s,
                run_s=run_s,
            )

    def _argument(self, folder: Path, variable: str, value: Any) -> str:
        if variable not in self.files.dtypes:
            raise ValueError(f"the network has no variable {variable!r} to give a value to")
        array = np.asarray(value, dtype=self.files.dtypes[variable])
        if array.ndim == 0:
            return repr(array.item())
        path = folder / f"value{len(list(folder.iterdir()))}"
        np.ascontiguousarray(array).tofile(path)
        return str(path.relative_to(self.project))

    def _execute(self, command: list[str], progress: Callable[[float], None] | None) -> None:
        with (
            tempfile.TemporaryFile("w+") as complaints,
            subprocess.Popen(
                command, cwd=self.project, stdout=subprocess.PIPE, stderr=complaints, text=True
            ) as process,
        ):
            assert process.stdout is not None
            other = []
            try:
                for line in process.stdout:
                    if line.startswith(PROGRESS):
                        if progress is not None:
                            progress(float(line.split()[1]))
                    elif self.target != "cuda" or not is_chatter(line):
                        other.append(line.strip())
            except BaseException:
                process.kill()
                raise
            process.wait()
            complaints.seek(0)
            said = " | ".join(filter(None, [*other, complaints.read().strip()]))[-2000:]
        if process.returncode or said:
            reason = explain(said, self.capability) if self.target == "cuda" else None
            if reason is not None:
                raise RuntimeError(reason)
            raise RuntimeError(
                f"the compiled network ended with status {process.returncode}: {said or 'silent'}"
            )


def _read(results: Path, file: ArrayFile) -> NDArray[Any]:
    path = results / file.name
    # Brian2 writes no file for a dynamic array that stayed empty.
    if not path.exists() or not path.stat().st_size:
        return np.empty(0, dtype=file.dtype)
    return np.fromfile(path, dtype=file.dtype)
