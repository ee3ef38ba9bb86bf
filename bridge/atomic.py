"""Files that are there whole or not at all, and JSON that any reader accepts."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

PARTIAL_PREFIX = ".partial-"
"""Start of the names of files that are still being written."""


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block ends well.

    A reader sees the old file or the new one, never half of one; after an error nothing is left.
    The temporary name keeps the suffix: some writers choose the format by it, or append one.

    Parameters
    ----------
    path : Path
    durable : bool
        Wait until the disk holds the file, so that it survives a loss of power. Without it, such
        a loss can leave an empty file: for what is computed again where it is missing or damaged.

    Raises
    ------
    FileNotFoundError
        If the folder of `path` does not exist.
    ValueError
        If `path` is a folder.
    OSError
        If it can't be written; names `path`, not the temporary name.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist; make it first")
    partial = path.with_name(f"{PARTIAL_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield partial
        if durable:
            _flush(partial)
        os.replace(partial, path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(partial):
            raise
        if error.errno is None:  # NumPy says how much was written, and not where
            raise OSError(f"{path} can't be written ({error})") from error
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _flush(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):  # nothing was written; write but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):  # has no fsync
            raise
    finally:
        os.close(handle)


def write_atomically(path: Path, writer: Callable[[Path], object], *, durable: bool = True) -> None:
    """Let `writer` write a temporary file beside `path`, then put it in place.

    For `durable`, see :func:`atomic_path`.

    Raises
    ------
    RuntimeError
        If the writer returns without having written the file it was given.
    """
    with atomic_path(path, durable=durable) as partial:
        writer(partial)
        if not partial.is_file():
            raise RuntimeError(f"the writer of {path.name} did not write the file it was given")


def write_text(path: Path, text: str, *, executable: bool = False, durable: bool = True) -> None:
    """Write a text file whole; UTF-8, arguments of other encodings byte for byte.

    For `durable`, see :func:`atomic_path`.
    """

    def write(partial: Path) -> None:
        partial.write_bytes(text.encode("utf-8", errors="surrogateescape"))
        if executable:
            mode = partial.stat().st_mode
            partial.chmod(mode | (mode & 0o444) >> 2)  # whoever may read may execute

    write_atomically(path, write, durable=durable)


def to_json_text(value: Any) -> str:
    """Return `value` as strict JSON: indented, keys in their order, NaN and infinity as null.

    Takes tuples, paths, and anything with ``tolist()`` (numpy arrays and scalars) besides what
    JSON has.

    Raises
    ------
    TypeError
        For any other object, naming its type.
    """
    plain = _plain(value)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a file name that is not UTF-8
        text = json.dumps(plain, indent=2, allow_nan=False)
    return text + "\n"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"{type(value).__name__} {value!r} has no place in a JSON file")
