"""Temporary folders that go with their process: at its end or, after a kill, at the next start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
import weakref
from pathlib import Path

_ALIVE = ".alive"
_NAME = re.compile(r"pingbridge-\d+-[a-z0-9_]+")
_ORPHANED_S = 3600.0
"""Age (s) of an empty folder without a lock from which on nobody is just about to make one."""

_swept: set[str] = set()


class Scratch:
    """A private folder that lives until :meth:`close`, or as long as its process.

    It holds a file that is locked while the process lives: the folders of processes that were
    killed are thereby known, on any machine, and removed by the first one that comes to `place`.

    Parameters
    ----------
    place : path, optional
        Where it is made; default the system's temporary directory.
    """

    def __init__(self, place: str | Path | None = None) -> None:
        place = Path(tempfile.gettempdir() if place is None else place)
        if str(place) not in _swept:
            _swept.add(str(place))
            sweep(place)
        self.path = Path(tempfile.mkdtemp(prefix=f"pingbridge-{os.getpid()}-", dir=place))
        try:
            lock = _locked(self.path)
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        self._remove = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def close(self) -> None:
        """Remove the folder."""
        self._remove()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exc: object) -> None:
        self.close()


def _locked(folder: Path) -> int | None:
    """Return the open lock of a new folder; None where the file system has no locks."""
    made = folder / f"{_ALIVE}-new"
    lock = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # nobody will be able to tell whether this process lives
        os.close(lock)
        made.unlink()
        return None
    made.rename(folder / _ALIVE)  # seen by others only once it is locked
    return lock


def _remove(folder: Path, lock: int | None, owner: int) -> None:
    if os.getpid() != owner:  # a forked process has a copy of the object
        return
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def sweep(place: Path) -> None:
    """Remove the folders that killed processes of this user have left in a folder."""
    try:
        entries = [entry for entry in os.scandir(place) if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            told = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False) and told.st_uid == os.getuid():
                _remove_if_dead(Path(entry.path), age_s=time.time() - told.st_mtime)


def _remove_if_dead(folder: Path, *, age_s: float) -> None:
    try:
        lock = os.open(folder / _ALIVE, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        if age_s > _ORPHANED_S:
            folder.rmdir()  # if it is empty: killed before it made its lock
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if its process lives
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
