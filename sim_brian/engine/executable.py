"""A compiled network as files: everything that any process needs to run it with new values."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge import cache
from bridge.children import running
from sim_brian.engine import reports
from sim_brian.engine.circuit import RawRun
from sim_brian.engine.cuda.errors import explain, is_chatter
from sim_brian.engine.reports import LOST, PROGRESS, Report

_LIBRARY = "error while loading shared libraries"


class StartError(RuntimeError):
    """A compiled program can't be started.

    Parameters
    ----------
    program : Path
    reason : str
    """

    def __init__(self, program: Path, reason: str) -> None:
        self.reason = f"the compiled program {program} can't be started ({reason})"
        super().__init__(
            f"{self.reason}; the next run compiles it anew, if it is one of the cache. Where that "
            "fails, too: set PINGBRIDGE_CACHE_DIR to a folder whose files may be executed"
        )
        self._made_of = (program, reason)

    def __reduce__(self) -> tuple[Any, ...]:  # workers send it home
        return type(self), self._made_of


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

    @property
    def contents(self) -> dict[str, str]:
        """What each file of results holds, by its name."""
        found: dict[str, str] = {}
        for population, (index, t) in self.spikes.items():
            found |= dict.fromkeys((index.name, t.name), f"spikes of {population}")
        found |= {file.name: f"trace {trace}" for trace, (file, _) in self.traces.items()}
        return found | {file.name: f"state {state}" for state, file in self.finals.items()}


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
        StartError
            If the program can't be started.
        RuntimeError
            If it fails or complains, or if its results are not there whole: a lost
            result is never a silent network.
        """
        begin = time.perf_counter()
        with self._private_folder() as folder:
            results = folder / "results"
            command = [str(self.program), "--results_dir", f"{results}{os.sep}"]
            # Brian2's programs lower the case of what they are given, paths included, and take
            # what begins with a digit for a number: values go by short names below the project.
            full = {
                "control.n_steps": n_steps,
                "control.report": int(progress is not None),
            } | dict(values)
            try:
                for variable, value in full.items():
                    command.append(f"{variable}={self._argument(folder, variable, value)}")
            except OSError as error:
                raise RuntimeError(reports.explain_no_room(error, "values of the run")) from None
            report = self._execute(command, progress)
            reports.check_results(
                report, results, self.files.contents, n_steps=n_steps, program=self.program
            )
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

    @contextlib.contextmanager
    def _private_folder(self) -> Iterator[Path]:
        """Give a folder with one for results in it."""
        with contextlib.ExitStack() as stack:
            try:
                name = stack.enter_context(
                    tempfile.TemporaryDirectory(dir=self.project, prefix="run-")
                )
                (Path(name) / "results").mkdir()
            except OSError as error:
                raise RuntimeError(reports.explain_no_room(error, "values of the run")) from None
            yield Path(name)

    def _argument(self, folder: Path, variable: str, value: Any) -> str:
        if variable not in self.files.dtypes:
            raise ValueError(f"the network has no variable {variable!r} to give a value to")
        array = np.asarray(value, dtype=self.files.dtypes[variable])
        if array.ndim == 0:
            return repr(array.item())
        path = folder / f"value{len(list(folder.iterdir()))}"
        np.ascontiguousarray(array).tofile(path)
        return str(path.relative_to(self.project))

    def _execute(self, command: list[str], progress: Callable[[float], None] | None) -> Report:
        report = Report()
        other = []
        with contextlib.ExitStack() as stack:
            complaints = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            try:
                process = stack.enter_context(
                    running(
                        command, cwd=self.project, stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE, stderr=complaints, text=True, errors="replace",
                    )
                )  # fmt: skip
            except OSError as error:
                raise self._cannot_start(error.strerror or str(error)) from None
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(PROGRESS):
                    if progress is not None:
                        progress(float(line.split()[1]))
                elif not report.takes(line) and (
                    self.target != "cuda" or line.startswith(LOST) or not is_chatter(line)
                ):
                    other.append(line.strip())
            process.wait()
            complaints.seek(0)
            said = " | ".join(filter(None, [*other, complaints.read().strip()]))[-2000:]
        if process.returncode == 127 and _LIBRARY in said and self.target != "cuda":
            raise self._cannot_start(said)
        if process.returncode or said:
            reason = reports.explain_loss(said, self.files.contents)
            if reason is None and self.target == "cuda":
                reason = explain(said, self.capability)
            if reason is None:
                end = reports.explain_end(process.returncode)
                reason = f"the compiled network ended with {end}: {said or 'silent'}"
            raise RuntimeError(reason)
        return report

    def _cannot_start(self, reason: str) -> StartError:
        cache.forget(self.program)
        return StartError(self.program, reason)


def _read(results: Path, file: ArrayFile) -> NDArray[Any]:
    path = results / file.name
    # There may be no file for a dynamic array that stayed empty; what the program said was checked.
    if not path.exists():
        return np.empty(0, dtype=file.dtype)
    return np.fromfile(path, dtype=file.dtype)
