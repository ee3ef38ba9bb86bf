"""Emptying a run folder, and only that: what protects everything else from ``--wipe-dir``.

What is wiped is set aside first, in the folder itself, and goes once the new run is done or has
results of its own: one that is refused late, or fails before it has any, gives it back.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.runs.marker import MARKER, read_marker, refuse_live
from bridge.runs.ownership import ASIDE, RECORDS, foreign_files, occupant, read_config
from bridge.runs.provenance import TOOL

_GONE = f"{ASIDE}-gone"
_RUN_ID = re.compile(r"r-\d{8}-\d{6}")


def set_aside(folder: Path, *, protect: Iterable[str | Path] = ()) -> None:
    """Move what runs of this program wrote in a folder into `ASIDE`; a missing one is fine.

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
        wrote, or a live run. Nothing is moved then.
    """
    there = [] if folder.is_symlink() or not folder.exists() else os.listdir(folder)
    if not folder.is_symlink() and set(there) <= {MARKER}:
        return
    _check(folder, protect=protect)
    with one_line(folder):
        (folder / ASIDE).mkdir()
        # config.json goes first, and comes back last: while it is not there, files are on the way.
        for name in sorted(there, key=lambda name: name != "config.json"):
            if name not in (MARKER, ASIDE):
                os.rename(folder / name, folder / ASIDE / name)


def drop(folder: Path) -> None:
    """Delete what was set aside."""
    if (folder / ASIDE).is_dir():
        with one_line(folder):
            os.rename(folder / ASIDE, folder / _GONE)
            shutil.rmtree(folder / _GONE)


def bring_back(folder: Path, *, in_place_of: Iterable[str] = ()) -> None:
    """Put back what was set aside, in place of the records of a run that came to nothing.

    Parameters
    ----------
    folder : Path
    in_place_of : iterable of str
        What that run wrote besides.
    """
    aside = folder / ASIDE
    if not aside.is_dir():
        return
    with one_line(folder):
        for name in in_place_of:
            (folder / name).unlink(missing_ok=True)
        for name in RECORDS - {MARKER}:
            if (aside / name).exists():
                (folder / name).unlink(missing_ok=True)
        _remove_empty(folder)
        for name in sorted(os.listdir(aside), key=lambda name: name == "config.json"):
            os.rename(aside / name, folder / name)
        aside.rmdir()


def _remove_empty(folder: Path) -> None:
    """Remove folders without files; what was set aside is left alone."""
    for place, _, _ in os.walk(folder, topdown=False):
        here = Path(place)
        if here != folder and ASIDE not in here.relative_to(folder).parts:
            with contextlib.suppress(OSError):
                here.rmdir()


def settle(folder: Path) -> None:
    """End what a killed run left half done: in favour of its results, else of those before it."""
    if (folder / _GONE).is_dir():
        with one_line(folder):
            shutil.rmtree(folder / _GONE)
    there = occupant(folder)
    if there is not None and there.taken:
        drop(folder)
    else:
        bring_back(folder)


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
