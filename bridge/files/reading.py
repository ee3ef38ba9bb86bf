"""Reading what others may have written: ordinary files, bounded memory, one line for what is wrong.

What unpacks itself is measured before it is unpacked. Without more knowledge a file may take
`LIMIT_GIB`, or eight times its own size where that is more (no stored number grows by more); the
environment variable ``PINGBRIDGE_READ_LIMIT_GIB`` sets another limit. Readers that know what they
want (a matrix of N x N, 60000 images) refuse everything else from the header alone.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LIMIT_GIB = 4.0
"""What one file may take in memory, GiB."""
LIMIT_VARIABLE = "PINGBRIDGE_READ_LIMIT_GIB"
TEXT_BYTES = 64 * 2**20
"""Longest text file that is read: thousands of times what any of ours holds."""

_GROWTH = 8  # one byte at rest becomes one float64 at most
_MAX_CAUSE_CHARS = 160


class FileContentError(ValueError):
    """A file that cannot be used; the message is one line that names the file."""


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever goes wrong while reading `path` as `what` into one line of `ValueError`."""
    try:
        yield
    except FileContentError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except Exception as error:
        raise FileContentError(
            f"{path} is damaged or not a usable {what} ({cause(error)}); nothing was loaded"
        ) from error


def cause(error: BaseException | str) -> str:
    """Return the first line of an error's message, cut short and fit for a terminal."""
    line = " ".join(str(error).strip().split("\n")[0].split()) or type(error).__name__
    line = "".join(c if c.isprintable() else "?" for c in line).rstrip(".")
    return line if len(line) <= _MAX_CAUSE_CHARS else line[: _MAX_CAUSE_CHARS - 3] + "..."


def check_ordinary(path: Path) -> None:
    """Refuse what is no ordinary file: opening a pipe or a device would wait for ever.

    Raises
    ------
    FileNotFoundError
        If there is nothing of that name.
    ValueError
        For a folder, a pipe, a device, or a name that no file can have.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file") from None
    except ValueError:  # a null byte in it
        raise FileContentError(f"{cause(str(path))}: no file can have this name") from None
    if stat.S_ISDIR(mode):
        raise FileContentError(f"{path} is a folder; name a file")
    if not stat.S_ISREG(mode):
        raise FileContentError(f"{path} is a pipe or a device; only ordinary files are read")


@contextmanager
def open_ordinary(path: Path) -> Iterator[BinaryIO]:
    """Open an ordinary file for reading bytes; see :func:`check_ordinary`."""
    check_ordinary(path)
    with path.open("rb") as file:
        yield file


def read_bytes(path: Path, *, most: int = TEXT_BYTES) -> bytes:
    """Return the content of an ordinary file of at most `most` bytes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is longer, or no ordinary file.
    """
    with open_ordinary(path) as file:
        long = os.fstat(file.fileno()).st_size > most
        content = b"" if long else file.read(most + 1)  # it may be growing
    if long or len(content) > most:
        raise FileContentError(f"{path} is longer than {in_words(most)}, the most that is read")
    return content


def read_text(path: Path, *, most: int = TEXT_BYTES) -> str:
    """Return the content of a text file in UTF-8, without a byte order mark.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not UTF-8, longer than `most` bytes, or no ordinary file.
    """
    content = read_bytes(path, most=most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise FileContentError(f"{path}, line {line}: not UTF-8 text") from None


class Allowance:
    """What may still be unpacked from one file.

    Parameters
    ----------
    path : Path
        The file, which messages name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._limit = max(limit_bytes(), _GROWTH * path.stat().st_size)
        self._left = self._limit

    def spend(self, n_bytes: int, what: str) -> None:
        """Take `n_bytes` off the allowance for `what`, before they are allocated.

        Raises
        ------
        ValueError
            If they are not left; says how much there would be, and how to allow it.
        """
        if n_bytes > self._left:
            raise FileContentError(
                f"{self.path}: with {what} ({in_words(n_bytes)}) it would take more than "
                f"{in_words(self._limit)} of memory; nothing was loaded (set {LIMIT_VARIABLE} to "
                "read more)"
            )
        self._left -= n_bytes


def limit_bytes() -> int:
    """Return what one file may take in memory.

    Raises
    ------
    ValueError
        If the environment variable holds no number > 0.
    """
    given = os.environ.get(LIMIT_VARIABLE, "").strip()
    try:
        gib = float(given) if given else LIMIT_GIB
    except ValueError:
        gib = math.nan
    if not 0 < gib < 2**30:
        raise ValueError(f"{LIMIT_VARIABLE} = {given!r} must be a number of GiB > 0")
    return int(gib * 2**30)


def in_words(n_bytes: int) -> str:
    """Return a number of bytes as people say it: ``1.5 GiB``."""
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
