"""Programs that this one starts: none of them outlives it, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

_lock = threading.Lock()
_running: dict[subprocess.Popen[Any], int | None] = {}  # and the thread that started each


@contextlib.contextmanager
def running(command: list[str], **settings: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a program; it is over when the block ends, and killed if that ends with an error.

    Parameters
    ----------
    command : list of str
    settings
        Of `subprocess.Popen`.
    """
    with subprocess.Popen(command, **settings) as process:
        with _lock:
            _running[process] = threading.get_ident()
        try:
            yield process
            process.wait()
        except BaseException:
            _kill(process)
            raise
        finally:
            with _lock:
                _running.pop(process, None)


def _kill(process: subprocess.Popen[Any]) -> None:
    """Kill a program, and what it has started where it leads a group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.returncode is None and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def kill_programs_of(threads: Collection[int | None]) -> None:
    """Kill what is running in :func:`running` blocks of these threads (their identifiers)."""
    with _lock:
        chosen = [process for process, thread in _running.items() if thread in threads]
    for process in chosen:
        _kill(process)


def run_tool(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that starts others (make, a compiler) and return what it said.

    They form a process group, which goes when this call is left by an error and, within a moment,
    when this process is gone.

    Parameters
    ----------
    command : list of str
    settings
        Of `subprocess.Popen`, besides its streams.
    """
    with running(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", process_group=0, **settings,
    ) as process, watched([-process.pid]):  # fmt: skip
        out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextlib.contextmanager
def watched(pids: list[int]) -> Iterator[None]:
    """Let processes (groups, where negative) be killed if this process ends inside the block."""
    # A shell that waits at the end of a pipe which only this process holds open.
    script = 'read -r _; kill -s KILL -- "$@"'
    with subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", *map(str, pids)], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as guard:  # fmt: skip
        try:
            yield
        finally:
            guard.kill()


@contextlib.contextmanager
def same_modules() -> Iterator[dict[str, str]]:
    """Let the Python programs that are started inside import what this one does.

    By itself ``python -m`` looks into the working folder first, where a bridge.py or random.py of
    the user's own may lie.

    Yields
    ------
    dict of str to str
        The environment variables that do it, for programs that are started later.
    """
    modules = {
        "PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path),
        "PYTHONSAFEPATH": "1",
    }
    before = {name: os.environ.get(name) for name in modules}
    os.environ.update(modules)
    try:
        yield modules
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_of(pid: int) -> str | None:
    """Return boot and start time of a process; None where /proc does not tell, "" if a zombie."""
    found = _stat(pid)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if found is None else "" if found[0] in "ZX" else f"{boot} {found[19]}"


def _stat(pid: int) -> list[str] | None:
    """Return what /proc tells of a process from its state on, or None."""
    try:
        # Field 2 is the program's name in parentheses, which may hold spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def descendants() -> dict[int, str | None]:
    """Return all processes that come from this one, with their start (:func:`start_of`)."""
    parents = _parents()
    found: dict[int, str | None] = {}
    wanted = [os.getpid()]
    while wanted:
        parent = wanted.pop()
        for pid, its_parent in parents.items():
            if its_parent == parent and pid not in found:
                found[pid] = start_of(pid)
                wanted.append(pid)
    return found


def _parents() -> dict[int, int]:
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():
        numbers = [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]
        return {pid: int(stat[1]) for pid in numbers if (stat := _stat(pid)) is not None}
    try:
        said = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return {}
    return {int(pid): int(parent) for pid, parent in map(str.split, said.splitlines())}


def kill_all(processes: Mapping[int, str | None]) -> None:
    """Kill those that still run of the processes that :func:`descendants` returned."""
    for pid, start in processes.items():
        if start != "" and start_of(pid) == start:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
