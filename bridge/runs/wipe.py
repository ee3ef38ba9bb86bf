"""Emptying a run folder, and only that: what protects everything else from ``--wipe-dir``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bridge.runs.marker import MARKER, read_marker, refuse_live
from bridge.runs.provenance import TOOL

_RUN_ID = re.compile(r"r-\d{8}-\d{6}")


def wipe_folder(folder: Path, *, protect: Iterable[str | Path] = ()) -> None:
    """Empty a folder that a run of this program wrote; a missing or empty one is fine.

    Parameters
    ----------
    folder : Path
    protect : iterable of path
        What must not be taken away.

    Raises
    ------
    ValueError
        For a symbolic link; the working directory, the home directory or one above them; a folder
        without the config.json of a run; one that holds something to protect or a live run.
    """
    if folder.is_symlink():
        raise ValueError(f"--wipe-dir: {folder} is a symbolic link; name the folder itself")
    if not folder.exists() or not any(folder.iterdir()):
        return
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
    block = run_of(folder / "config.json") or {}
    if block.get("tool") != TOOL or not _RUN_ID.fullmatch(str(block.get("run_id"))):
        raise ValueError(
            f"--wipe-dir: {folder} was not written by a run of {TOOL} (its config.json would say "
            "so); nothing was deleted, empty it yourself or choose another --out-dir"
        )
    for marker_file in folder.rglob(MARKER):
        marker = read_marker(marker_file.parent)
        if marker is not None and marker.alive:
            refuse_live(marker_file.parent, marker)
    # config.json goes last: a wipe that is interrupted can be repeated.
    with one_line(folder):
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == "config.json"):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def run_of(config: Path) -> Mapping[str, Any] | None:
    """Return the provenance in a config.json, or None if no run wrote the file.

    Older runs spread it over the top level.
    """
    try:
        raw = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(raw, dict):
        return None
    block = raw.get("provenance", raw)
    return block if isinstance(block, dict) and "run_id" in block else None


@contextlib.contextmanager
def one_line(folder: Path) -> Iterator[None]:
    """Say in one line which folder could not be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"{folder} cannot be written ({reason}); choose another --out-dir") from None
