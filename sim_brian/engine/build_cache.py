"""Compiled programs by the hash of their generated code, shared safely between processes."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from filelock import FileLock

from bridge.cache import cache_root

log = logging.getLogger("pingbridge")

KEEP_PROGRAMS = 400
"""Programs kept (0.2 to 0.5 MB each); beyond that the least recently used ones are removed."""

_DATA_FOLDERS = {"static_arrays", "results"}


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
    """Return the compiled program of `key`, or None; marks it as recently used."""
    program = cache_root() / "programs" / key / "main"
    try:
        os.utime(program)
    except OSError:
        return None
    return program


def get_or_compile(key: str, project: Path, *, jobs: int) -> tuple[Path, bool]:
    """Return the program of a generated project, compiling it where the cache lacks it.

    Two processes that want the same program wait for each other; the finished file appears in the
    cache by one rename, so that a killed compilation leaves nothing behind that could be taken
    for a program.

    Returns
    -------
    program : Path
    compiled : bool
        True if it was compiled by this call.

    Raises
    ------
    RuntimeError
        If the compiler fails; the message ends with its last lines.
    """
    found = lookup(key)
    if found:
        return found, False
    folder = cache_root() / "programs"
    with FileLock(str(folder / f"{key}.lock")):
        found = lookup(key)
        if found:
            return found, False
        _compile(project, jobs=jobs)
        target = folder / key
        target.mkdir(exist_ok=True)
        os.replace(_stage(project / "main", target), target / "main")
    (folder / f"{key}.lock").unlink(missing_ok=True)
    _prune(folder)
    return folder / key / "main", True


def _stage(built: Path, target: Path) -> Path:
    # The project may lie on another file system, where a rename would not be atomic.
    handle, name = tempfile.mkstemp(dir=target, prefix="main.")
    with os.fdopen(handle, "wb") as out:
        out.write(built.read_bytes())
    os.chmod(name, 0o700)
    return Path(name)


def _compile(project: Path, *, jobs: int) -> None:
    # Compiled once and never again: nobody needs to know which file depends on which.
    done = subprocess.run(
        ["make", f"-j{jobs}", "DEPS="], cwd=project, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        # What make adds says only that something failed.
        tail = " | ".join([s for s in said if not s.startswith("make")][-3:] or said[-3:])
        raise RuntimeError(f"compiling the generated network failed: {tail}")


def _prune(folder: Path) -> None:
    programs = sorted(folder.glob("*/main"), key=_last_use, reverse=True)
    for program in programs[KEEP_PROGRAMS:]:
        # A program that is running keeps its file: unlinking only takes the name away.
        program.unlink(missing_ok=True)
        try:
            program.parent.rmdir()
        except OSError:
            continue


def _last_use(program: Path) -> float:
    try:
        return program.stat().st_mtime
    except FileNotFoundError:  # another process prunes too
        return 0.0
