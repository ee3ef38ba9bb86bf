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
_PRECOMPILED = "pingbridge_all.h"


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
    precompile = project / _PRECOMPILED
    if precompile.is_file():
        # Dependencies matter to a second compilation only; finding them takes a second of CPU time.
        (project / "make.deps").touch()
        _make(project, [f"{_PRECOMPILED}.gch"], jobs=1)
    _make(project, ["all"], jobs=jobs)


def _make(project: Path, goals: list[str], *, jobs: int) -> None:
    done = subprocess.run(
        ["make", f"-j{jobs}", *goals], cwd=project, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise RuntimeError(f"compiling the generated network failed: {tail}")


def add_precompiled_header(project: Path) -> None:
    """Make a C++ standalone project parse its headers once instead of once for each file.

    Halves the compilation (measured, benchmarks/simulate.py: 15.9 to 8.7 CPU seconds for the PING
    network). A header that can't be precompiled is simply read as text.
    """
    makefile = project / "makefile"
    header = "".join(
        f'#include "{name}"\n'
        for name in ("objects.h", "synapses_classes.h", "network.h")
        if (project / name).is_file()
    )
    header += "".join(
        f'#include "brianlib/{name}"\n'
        for name in ("common_math.h", "stdint_compat.h")
        if (project / "brianlib" / name).is_file()
    )
    header += "".join(f"#include <{n}>\n" for n in ("cmath", "ctime", "iostream", "fstream"))
    (project / _PRECOMPILED).write_text(header)
    text = makefile.read_text()
    text += (
        f"\nCXXFLAGS += -include {_PRECOMPILED}\n"
        f"{_PRECOMPILED}.gch: {_PRECOMPILED} makefile\n"
        f"\t$(CXX) -c -Wno-write-strings $(OPTIMISATIONS) -I. -x c++-header $< -o $@\n"
    )
    makefile.write_text(text)


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
