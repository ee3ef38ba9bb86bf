"""Command lines in a process of their own, killed at a moment that no clock decides."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

_HELD = "held here"
_CODE = f"""
import importlib, sys, time
where, times, *words = sys.argv[1:]
module, _, names = where.partition(":")
*outer, name = names.split(".")
owner = importlib.import_module(module)
for part in outer:
    owner = getattr(owner, part)
whole, left = getattr(owner, name), int(times)

def held(*given, **more):
    global left
    result = whole(*given, **more)
    left -= 1
    if left == 0:
        print("{_HELD}", flush=True)
        time.sleep(1e9)
    return result

setattr(owner, name, held)
from cli import main
sys.exit(main(words))
"""


def kill_after(
    where: str, times: int, words: Sequence[str], *, env: Mapping[str, str] | None = None
) -> None:
    """Run the command line until a function has returned for the n-th time; kill -9 it there.

    Parameters
    ----------
    where : str
        The function, as ``module:Class.name``.
    times : int
    words : sequence of str
        What is typed after the program's name.
    env : mapping, optional
        Changes of the environment.
    """
    kill_when_held(held_command(where, times, words), env=env)


def held_command(where: str, times: int, words: Sequence[str]) -> list[str]:
    """Return the command that stops for ever when a function has returned for the n-th time."""
    return [sys.executable, "-c", _CODE, where, str(times), *words]


def kill_when_held(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
    """Run a program until it prints a line that ends with "held here"; kill -9 it and its children.

    What it does after that line is its own affair: it should wait for ever.
    """
    with held(command, env=env) as process:
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def held(
    command: Sequence[str], *, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Give a program that has printed a line that ends with "held here"; kill it afterwards."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | dict(env or {})
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        told = []
        try:
            for line in process.stdout:
                told.append(line)
                if line.rstrip().endswith(_HELD):
                    break
            else:
                told.append(process.stderr.read())
                raise AssertionError("it ended before it could be killed:\n" + "".join(told))
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
