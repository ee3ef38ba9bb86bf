"""Programs that `pingbridge build` leaves in a folder, to be run later or on another machine.

The folder holds the program, the source code it was compiled from, and ``program.json``. What the
program is belongs to its code alone: whoever runs it generates the code of his network anew, which
takes no compiler, and compares.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bridge.atomic import atomic_path, to_json_text, write_text
from bridge.files.json_text import read_json_object

DESCRIPTION = "program.json"
FORMAT = "pingbridge-program"
VERSION = 2

_LEFT_OUT = ("*.o", "results", "run-*", "main")


@dataclass(frozen=True, kw_only=True)
class Made:
    """What is known of a program in a folder.

    Attributes
    ----------
    target : {"cpp", "cuda"}
    code : str
        Hash of the generated source files.
    capability : str or None
        Compute capability that it is compiled for.
    dtype : str
    fast_math : bool
    binary : str
        Size and hash of the compiled program (:func:`bridge.cache.stamp_of`).
    """

    target: str
    code: str
    capability: str | None
    dtype: str
    fast_math: bool
    binary: str


def save_made(folder: Path, project: Path, program: Path, made: Made) -> None:
    """Write a compiled program, its source code and its description into a folder.

    The description comes last: a folder without it holds no program.
    """
    (folder / DESCRIPTION).unlink(missing_ok=True)
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(project, source, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    with atomic_path(folder / "main") as partial:
        shutil.copyfile(program, partial)
        partial.chmod(0o755)
    mark = {"format": FORMAT, "format_version": VERSION}
    write_text(folder / DESCRIPTION, to_json_text(mark | asdict(made)))


def read_made(folder: Path) -> Made:
    """Return what stands in a folder that `pingbridge build` has filled.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no program, or one of another version.
    """
    path = folder / DESCRIPTION
    if not path.is_file() or not program_of(folder).is_file():
        raise FileNotFoundError(
            f"--program {folder}: there is no program in it; make one with pingbridge build "
            f"--out-dir {folder}"
        )
    damaged = f"--program {folder}: {DESCRIPTION} is damaged; build it again"
    try:
        found = read_json_object(path)
    except ValueError:
        raise ValueError(damaged) from None
    if found.get("format") != FORMAT:
        raise ValueError(damaged)
    if found.get("format_version") != VERSION:
        raise ValueError(
            f"--program {folder}: format version {found.get('format_version')}, and this is "
            f"version {VERSION}; build it again"
        )
    words = ("target", "code", "dtype", "binary")
    if (
        not all(isinstance(found.get(name), str) for name in words)
        or not isinstance(found.get("fast_math"), bool)
        or not isinstance(found.get("capability"), str | None)
    ):
        raise ValueError(damaged)
    values: dict[str, Any] = {name: found.get(name) for name in Made.__dataclass_fields__}
    return Made(**values)


def program_of(folder: Path) -> Path:
    """Return the path of the program in a folder."""
    return folder / "main"
