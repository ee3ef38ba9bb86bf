"""Emptying a run folder, and only that: what protects everything else from ``--wipe-dir``."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.runs.marker import MARKER, read_marker, refuse_live
from bridge.runs.ownership import foreign_files, read_config
from bridge.runs.provenance import TOOL

_RUN_ID = re.compile(r"r-\d{8}-\d{6}")


def wipe_folder(folder: Path, *, protect: Iterable[str | Path] = ()) -> None:
    """Empty a folder of what runs of this program wrote; a missing or empty one is fine.

    The marker of this process stays.

    Parameters
    ----------
    folder : Path
    protect : iterable of path
        What must not be taken away.

    Raises
    ------
    ValueError
        For a symbolic link; the working directory, the home directory or one above them; a folder
        without the config.json of a run; one that holds something to protect, a file that no run
        wrote, or a live run. Nothing is deleted then.
    """
    there = [] if folder.is_symlink() or not folder.exists() else os.listdir(folder)
    if not folder.is_symlink() and set(there) <= {MARKER}:
        return
    _check(folder, protect=protect)
    # config.json goes last: a wipe that is interrupted can be repeated.
    with one_line(folder):
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == "config.json"):
            if entry.name == MARKER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _check(folder: Path, *, protect: Iterable[str | Path]) -> None:
    if folder.is_symlink():
        raise ValueError(f"--wipe-dir: {folder} is a symbolic link; name the folder itself")
    whole = folder.resolve()
    for place, name in (
        (Path.cwd(), "the working directory"),
        (Path(os.path.expanduser("~")), "the home directory"),
        *((Path(one), f"{one}, which the run reads") for one in protect),
    ):
        if place.resolve().is_relative_to(whole):
            raise ValueError(
                f"--wipe-dir: {folder} holds {name}; nothing was deleted, choose another --out-dir"
            )
    block = (read_config(folder) or {}).get("provenance", {})
    if block.get("tool") != TOOL or not _RUN_ID.fullmatch(str(block.get("run_id"))):
        raise ValueError(
            f"--wipe-dir: {folder} was not written by a run of {TOOL} (its config.json would say "
            "so); nothing was deleted, empty it yourself or choose another --out-dir"
        )
    for marker_file in sorted(folder.rglob(MARKER)):
        marker = read_marker(marker_file.parent)
        if marker is not None and marker.alive and marker.pid != os.getpid():
            refuse_live(marker_file.parent, marker)
    strangers = foreign_files(folder)
    if strangers:
        shown = ", ".join(strangers[:3]) + (" ..." if len(strangers) > 3 else "")
        raise ValueError(
            f"--wipe-dir: {folder} holds {shown}, which no run wrote; nothing was deleted, move "
            "that away or choose another --out-dir"
        )


@contextlib.contextmanager
def one_line(folder: Path, flag: str = "--out-dir") -> Iterator[None]:
    """Say in one line which folder could not be written; `flag` is what names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"{folder} cannot be written ({reason}); choose another {flag}") from None
