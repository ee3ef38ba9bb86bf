"""Where compiled code is kept: a folder of the user's own, shared by both backends.

What lies there can always be made again. It is trusted only whole (:func:`is_whole`), and what was
used last stays when the folder grows beyond its limit (:func:`prune`).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bridge.atomic import PARTIAL_PREFIX, atomic_path
from bridge.scratch import Scratch, sweep

log = logging.getLogger("pingbridge")

LIMIT_VARIABLE = "PINGBRIDGE_CACHE_MAX_MB"
DEFAULT_LIMIT_MB = 2000
PATIENCE_S = 2.0
"""How long (s) somebody else's compilation is waited for in silence."""
KINDS = ("programs", "cython", "kernels", "stamps", "cuda")
"""Folders of the cache: Brian2's programs and loops, torch's loops, notes, links to libraries."""

_PROGRAM = "main"
_STAMP = ".stamp"
_LOCK = ".lock"
_OLD_S = 24 * 3600.0
_TEMPORARY = "tmp"


def cache_root() -> Path:
    """Return the folder of compiled programs, made if need be.

    ``$PINGBRIDGE_CACHE_DIR``, else ``$XDG_CACHE_HOME/pingbridge``, else ``~/.cache/pingbridge``;
    where none of them can be written, a folder of this user's in the system's temporary directory.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    named = os.environ.get("PINGBRIDGE_CACHE_DIR")
    choices = [Path(named) if named else Path(base) / "pingbridge"]
    choices.append(Path(tempfile.gettempdir()) / f"pingbridge-cache-{os.getuid()}")
    for root in choices:
        try:
            programs = root / "programs"
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            programs.mkdir(exist_ok=True, mode=0o700)
            # What lies here is executed: it must be this user's own.
            told = [folder.stat() for folder in (root, programs)]
            own = all(one.st_uid == os.getuid() and not one.st_mode & 0o002 for one in told)
            if own and os.access(programs, os.W_OK):
                if root != choices[0]:
                    _warn_fallback(choices[0], root)
                return root
        except OSError:
            continue
    raise OSError(
        f"no writable folder for compiled programs (tried {', '.join(map(str, choices))}); "
        "set PINGBRIDGE_CACHE_DIR to one"
    )


@functools.cache
def _warn_fallback(wanted: Path, used: Path) -> None:
    log.warning(
        "compiled programs can't be kept in %s (not writable, or by others, too); they go to %s",
        wanted, used,
    )  # fmt: skip


def limit_bytes() -> int:
    """Return how much the cache may hold: ``$PINGBRIDGE_CACHE_MAX_MB``, or the default.

    Raises
    ------
    ValueError
        If the variable is no number of megabytes.
    """
    told = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_MB)
    if not (told.isascii() and told.isdigit()):
        raise ValueError(
            f"{LIMIT_VARIABLE} = {told!r} must be a whole number of megabytes, such as "
            f"{DEFAULT_LIMIT_MB} (the default); 0 keeps nothing"
        )
    return int(told) * 10**6


# ---- files that are whole -----------------------------------------------------------------------


def program_path(key: str) -> Path:
    """Return where the program of a hash lies, or would lie."""
    return cache_root() / "programs" / key / _PROGRAM


def put(built: Path, target: Path) -> None:
    """Put a compiled file into the cache: safe on the disk first, then its name, then its stamp.

    Raises
    ------
    OSError
        If there is no room, or the cache can't be written; what was there before may be gone.
    """
    target.parent.mkdir(exist_ok=True, mode=0o700)
    stamp = _stamp_file(target)
    stamp.unlink(missing_ok=True)
    # The built file may lie on another file system, where a rename would not be atomic.
    place = cache_root() / _TEMPORARY
    place.mkdir(exist_ok=True, mode=0o700)
    with Scratch(place) as folder:
        staged = folder / target.name
        shutil.copyfile(built, staged)
        staged.chmod(0o700)
        text = stamp_of(built)
        _flush(staged)
        os.replace(staged, target)
    with atomic_path(stamp) as partial:
        partial.write_text(text, encoding="ascii")
        _flush(partial)


def is_whole(target: Path) -> bool:
    """Return whether a compiled file is, byte for byte, what :func:`put` left; marks it as used."""
    try:
        stamp = _stamp_file(target).read_text(encoding="ascii")
        if not os.access(target, os.X_OK) or stamp != stamp_of(target):
            return False
        os.utime(target)
    except (OSError, ValueError):
        return False
    return True


def forget(target: Path) -> None:
    """Let a file of the cache that can't be used be made anew by the next who asks for it."""
    with contextlib.suppress(OSError):
        if target.is_relative_to(cache_root()):
            _stamp_file(target).unlink(missing_ok=True)


def stamp_of(path: Path) -> str:
    """Return the size and the hash of a file, in one line."""
    content = path.read_bytes()
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}\n"


def _stamp_file(target: Path) -> Path:
    return target.with_name(target.name + _STAMP)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hold(target: Path) -> int | None:
    """Return the descriptor of a lock that keeps a file from removal; None where it can't be had.

    Close the descriptor to let it go.
    """
    try:
        lock = os.open(target, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError:  # a file system without locks
        os.close(lock)
        return None
    return lock


@contextlib.contextmanager
def compiling(target: Path) -> Iterator[None]:
    """Let one process at a time make a file; who waits for long says so."""
    name = target.parent.name if target.name == _PROGRAM else target.stem
    folder = target.parent.parent if target.name == _PROGRAM else target.parent
    folder.mkdir(exist_ok=True, mode=0o700)
    path = folder / f"{name}{_LOCK}"
    lock = FileLock(str(path))
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        log.info("another process is compiling the same; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
    path.unlink(missing_ok=True)  # whoever waits for it finds the file that was made


# ---- what it holds, and its limit ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that can be removed by itself.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    name : str
    paths : tuple of Path
        Its files; the first one is the compiled code.
    n_bytes : int
        On the disk.
    used_s : float, s
        When it was used last, as far as the file system tells (seconds since 1970).
    """

    kind: str
    name: str
    paths: tuple[Path, ...]
    n_bytes: int
    used_s: float


def entries() -> list[Entry]:
    """Return what the cache holds, what was used last first."""
    root = cache_root()
    found = []
    for kind in KINDS:
        groups: dict[str, list[Path]] = {}
        for path in _files(root / kind):
            # A program has a folder; a module of Cython, a library and their notes share a name.
            name = path.relative_to(root / kind).parts[0].partition(".")[0]
            groups.setdefault(name, []).append(path)
        for name, paths in groups.items():
            one = _entry(kind, name, paths)
            if one is not None:
                found.append(one)
    return sorted(found, key=lambda entry: entry.used_s, reverse=True)


def _files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield Path(entry.path)


def _entry(kind: str, name: str, paths: list[Path]) -> Entry | None:
    told = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another process removes, too
            told[path] = path.lstat()
    held = [
        path for path in told
        if path.suffix != _LOCK and not path.name.startswith(PARTIAL_PREFIX)
    ]  # fmt: skip
    if not held:  # a lock, which is nothing by itself
        return None
    main = sorted(held, key=lambda path: (path.name != _PROGRAM, path.suffix != ".so", path))
    first = told[main[0]]
    # Brian2 loads its modules without a mark; the time of the last access is better than nothing.
    used = max(first.st_mtime, first.st_atime) if kind == "cython" else first.st_mtime
    size = sum(max(one.st_size, one.st_blocks * 512) for one in told.values())
    return Entry(kind=kind, name=name, paths=tuple(main), n_bytes=size, used_s=used)


def remove(entry: Entry) -> bool:
    """Remove something unless it is in use; return whether it is gone."""
    with contextlib.ExitStack() as stack:
        if entry.kind in ("cython", "kernels"):
            # Whoever has loaded it keeps it; whoever is about to holds this lock.
            path = entry.paths[0].parent / f"{entry.name}{_LOCK}"
            try:
                stack.enter_context(FileLock(str(path), timeout=0))
            except Timeout:
                return False
            stack.callback(path.unlink, missing_ok=True)
        elif entry.kind == "programs" and not _is_free(entry.paths[0]):
            return False
        for path in entry.paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in entry.paths if path.parent.name == entry.name}:
            with contextlib.suppress(OSError):  # something new was put there
                folder.rmdir()
    return True


def _is_free(program: Path) -> bool:
    try:
        lock = os.open(program, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: nobody can tell
        return True
    finally:
        os.close(lock)
    return True


def prune() -> int:
    """Remove what was used least recently until the cache is within its limit; return the bytes.

    Nothing that is in use is removed, nor does this raise where something can't be removed.
    """
    limit, removed = limit_bytes(), 0
    with contextlib.suppress(OSError):
        tidy()
        held = entries()
        size = sum(entry.n_bytes for entry in held)
        for entry in reversed(held):
            if size <= limit:
                break
            with contextlib.suppress(OSError):
                if remove(entry):
                    size -= entry.n_bytes
                    removed += entry.n_bytes
    return removed


def tidy() -> None:
    """Remove what killed compilations left, and locks that nobody has used for a day."""
    root = cache_root()
    sweep(root / _TEMPORARY)
    old = time.time() - _OLD_S
    for kind in KINDS:
        for path in _files(root / kind):
            with contextlib.suppress(Timeout, OSError):
                if path.lstat().st_mtime > old:
                    continue
                if path.name.startswith(PARTIAL_PREFIX):
                    path.unlink()
                elif path.suffix == _LOCK:
                    with FileLock(str(path), timeout=0):
                        path.unlink()
