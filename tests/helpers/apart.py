"""Command lines in processes of their own, forked from one that has the imports behind it."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HELD = "held here"

_PRELOADED = (
    "cli", "sim_brian.ping.run", "sim_brian.ping.scan", "sim_brian.ping.evaluate",
    "sim_brian.engine.runtime", "sim_brian.rate_lif.runs", "sim_brian.lateral_line.train",
    "train_torch.training.trainer", "train_torch.rate_rnn.training", "studies.clustered",
    "studies.rate_to_spike", "studies.lateral_line.workflow", "scope.oscilloscope.figure",
    "scope.figures.scan_figure", "scope.figures.clustered", "scope.film.sweep_film",
    "sklearn.datasets", "scipy.io",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a process may use: memory and processor time; None is all there is."""

    memory_bytes: int | None = None
    cpu_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    code : int or None
        Its exit code, minus the signal that ended it; None if it was still running at the end of
        its time, and was killed.
    out, err : str
    wall_s : float, s
    peak_bytes : int
        Largest memory that it held; 0 if it did not come to say so.
    """

    code: int | None
    out: str
    err: str
    wall_s: float
    peak_bytes: int = 0


class Running:
    """A command line in a process of its own."""

    def __init__(
        self, argv: Iterable[object], *, cwd: Path, env: Mapping[str, str], limits: Limits,
        hold: tuple[str, int] | None,
    ) -> None:  # fmt: skip
        self._files = Path(tempfile.mkdtemp(prefix="apart-"))
        self._began = time.monotonic()
        self.process = _context().Process(
            target=_run, args=([str(word) for word in argv], str(cwd), dict(env), limits, hold,
                               str(self._files)),
        )  # fmt: skip
        self.process.start()

    @property
    def pid(self) -> int:
        """The process and its group."""
        assert self.process.pid is not None
        return self.process.pid

    def kill(self, *, whole_group: bool = False) -> None:
        """Kill -9 the process; its workers and programs only where asked for."""
        with contextlib.suppress(ProcessLookupError):
            if whole_group:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def wait_until_held(self, timeout_s: float = 60.0) -> bool:
        """Wait until the function that is watched has returned; False if the process ended."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if (self._files / "held").exists():
                return True
            if not self.process.is_alive():
                return False
            time.sleep(0.005)
        raise AssertionError(f"not held within {timeout_s:g} s")

    def result(self, timeout_s: float | None = None) -> Ended:
        """Wait for the end; kill the group of one that takes longer."""
        self.process.join(timeout_s)
        code = self.process.exitcode
        if code is None:
            self.kill(whole_group=True)
            self.process.join()
        wall_s = time.monotonic() - self._began
        texts = [self._read(name) for name in ("out", "err", "peak")]
        for path in self._files.iterdir():
            path.unlink()
        self._files.rmdir()
        self.process.close()
        return Ended(code=code, out=texts[0], err=texts[1], wall_s=wall_s,
                     peak_bytes=int(texts[2] or 0))  # fmt: skip

    def _read(self, name: str) -> str:
        path = self._files / name
        return path.read_text(errors="replace") if path.exists() else ""


def begin(
    argv: Iterable[object], *, cwd: Path, env: Mapping[str, str] | None = None,
    limits: Limits | None = None, hold: tuple[str, int] | None = None,
) -> Running:  # fmt: skip
    """Start a command line.

    Parameters
    ----------
    argv : iterable
        What is typed after the program's name.
    cwd : Path
    env : mapping, optional
        Changes of the environment.
    limits : Limits, optional
    hold : (str, int), optional
        A function, as ``module:Class.name``, and after how many returns of it the process waits
        for ever.
    """
    return Running(argv, cwd=cwd, env=env or {}, limits=limits or Limits(), hold=hold)


def _context() -> Any:
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(_PRELOADED))
    return found


def _run(
    argv: list[str], cwd: str, env: dict[str, str], limits: Limits,
    hold: tuple[str, int] | None, files: str,
) -> None:  # fmt: skip
    os.setsid()
    os.chdir(cwd)
    os.environ.update(env)
    tempfile.tempdir = None
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(f"{files}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]
    with _held(hold, files), _limited(limits):
        code = _main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    Path(files, "peak").write_text(str(peak))
    os._exit(code)


def _main(argv: list[str]) -> int:
    from cli import main

    try:
        return main(argv)
    except SystemExit as stop:  # argparse
        return int(stop.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 99


@contextlib.contextmanager
def _limited(limits: Limits) -> Iterator[None]:
    if limits.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    if limits.cpu_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
    yield


@contextlib.contextmanager
def _held(hold: tuple[str, int] | None, files: str) -> Iterator[None]:
    """Let a function wait for ever once it has returned so many times."""
    if hold is not None:
        where, left = hold
        module, _, names = where.partition(":")
        *outer, name = names.split(".")
        owner = importlib.import_module(module)
        for part in outer:
            owner = getattr(owner, part)
        whole = getattr(owner, name)

        def held(*given: Any, **more: Any) -> Any:
            nonlocal left
            result = whole(*given, **more)
            left -= 1
            if left == 0:
                Path(files, "held").touch()
                time.sleep(1e9)
            return result

        setattr(owner, name, held)
    yield
