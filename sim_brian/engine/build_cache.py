"""Compiled programs by the hash of their generated code, shared safely between processes."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from bridge import cache
from bridge.children import run_tool

log = logging.getLogger("pingbridge")

_DATA_FOLDERS = {"static_arrays", "results"}


@dataclass(frozen=True, kw_only=True)
class Cached:
    """A compiled program that stays in the cache until :meth:`close`.

    Attributes
    ----------
    path : Path
    compiled : bool
        True if it was compiled just now.
    lock : int or None
        Descriptor of its lock.
    """

    path: Path
    compiled: bool
    lock: int | None = None

    def close(self) -> None:
        """Let it be removed when the cache is full."""
        if self.lock is not None:
            with contextlib.suppress(OSError):  # closed already
                os.close(self.lock)


def source_key(project: Path, extra: Iterable[str], *, without: Collection[str] = ()) -> str:
    """Return the hash of a generated project: every source file, and `extra` (flags, compiler).

    The arrays that the program reads when it starts are left out: they are data, not code; and so
    are files of the names in `without`.
    """
    digest = hashlib.sha256()
    for part in extra:
        digest.update(part.encode() + b"\0")
    for path in sorted(project.rglob("*")):
        relative = path.relative_to(project)
        is_code = not _DATA_FOLDERS & set(relative.parts) and path.name not in without
        if is_code and path.is_file():
            digest.update(str(relative).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:40]


def lookup(key: str) -> Path | None:
    """Return the compiled program of `key` if it is there and whole; marks it as used."""
    program = cache.program_path(key)
    return program if cache.is_whole(program) else None


def get_or_compile(key: str, project: Path, *, jobs: int) -> Cached:
    """Return the program of a generated project, compiling it where the cache lacks it.

    Two processes that want the same program wait for each other. The finished file appears in the
    cache by one rename and counts once its stamp (size and hash) lies beside it: what a killed
    compilation, a power cut or a full disk leave is not taken for a program but compiled anew.

    Raises
    ------
    RuntimeError
        If the compiler fails; the message ends with its last lines.
    ValueError
        If the size limit of the cache can't be read.
    """
    cache.limit_bytes()
    held = _hold(key)
    if held is not None:
        return held
    program = cache.program_path(key)
    with cache.compiling(program):
        held = _hold(key)
        if held is not None:
            return held
        if program.exists():
            log.info("the compiled program in %s is damaged; compiling it again", program.parent)
        _compile(project, jobs=jobs)
        try:
            cache.put(project / "main", program)
        except OSError as error:
            log.warning(
                "the compiled program can't be kept in %s (%s); it is compiled for this run alone",
                program.parent, error.strerror or error,
            )  # fmt: skip
            return Cached(path=project / "main", compiled=True)
        found = Cached(path=program, compiled=True, lock=cache.hold(program))
    cache.prune()
    return found


def _hold(key: str) -> Cached | None:
    """Return the program of `key`, locked against removal, if it is there and whole."""
    lock = cache.hold(cache.program_path(key))
    found = lookup(key)  # after the lock: it may have been removed before
    if found is None:
        if lock is not None:
            os.close(lock)
        return None
    return Cached(path=found, compiled=False, lock=lock)


def _compile(project: Path, *, jobs: int) -> None:
    # Compiled once and never again: nobody needs to know which file depends on which.
    # What a compiler leaves when it is killed lies in the project and goes with it.
    environment = os.environ | {"TMPDIR": str(project)}
    done = run_tool(["make", f"-j{jobs}", "DEPS="], cwd=project, env=environment)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        # What make adds says only that something failed.
        tail = " | ".join([s for s in said if not s.startswith("make")][-3:] or said[-3:])
        raise RuntimeError(f"compiling the generated network failed: {tail}")
