"""NumPy's files: written whole and without dates; read without pickles, measured before."""

from __future__ import annotations

import functools
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from bridge.atomic import atomic_path
from bridge.files.reading import Allowance, open_ordinary, reading

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # earliest date that a zip entry can carry
_READ_AT_ONCE = 2**20


def write_npz(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Write named arrays as a compressed NPZ, in the order given and without dates.

    Raises
    ------
    ValueError
        For an array of Python objects, which only a pickle could hold.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, given in arrays.items():
            array = np.asarray(given, order="C")
            if array.dtype.hasobject:
                raise ValueError(f"{name}: arrays of Python objects cannot be stored")
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # the same bytes on every operating system
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


CheckShape = Callable[[str, tuple[int, ...]], None]
"""Raises ValueError for the name and shape of an array that has no use, before it is read."""


def read_npz(
    path: Path,
    wanted: Callable[[str], bool] = lambda name: True,
    check: CheckShape = lambda name, shape: None,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an NPZ whose name is `wanted`; nothing else is unpacked.

    The checksum of every entry that is read is verified; arrays of Python objects are refused.

    Parameters
    ----------
    path : Path
    wanted : callable
    check : callable
        Gets name and shape of each array before it is read; may raise ValueError.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, damaged, not an NPZ, would need unpickling, or unpacks to more than
        :mod:`bridge.files.reading` allows.
    """
    with reading(path, "NPZ"), open_ordinary(path) as file, zipfile.ZipFile(file) as archive:
        chosen = {
            name: entry
            for entry in archive.infolist()
            if wanted(name := entry.filename.removesuffix(".npy"))
        }
        allowance = Allowance(path)
        for name, entry in chosen.items():
            allowance.spend(entry.file_size, f"entry {name!r}")
        return {name: _entry(archive, entry, name, check) for name, entry in chosen.items()}


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of an ``.npy`` file; raises as :func:`read_npz` does."""
    with reading(path, "NPY file"), open_ordinary(path) as file:
        return _array(file, path.stat().st_size, "the array", lambda shape: None)


def is_npz(path: Path) -> bool:
    """Return whether a file begins like an NPZ, whatever it is called; raises as `read_npz`."""
    with open_ordinary(path) as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, check: CheckShape
) -> NDArray[Any]:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"entry {name!r} is packed by method {entry.compress_type}, not by NumPy")
    with archive.open(entry) as member:
        return _array(
            cast(BinaryIO, member), entry.file_size, f"entry {name!r}",
            functools.partial(check, name),
        )  # fmt: skip


def _array(
    file: BinaryIO, n_bytes: int, what: str, check: Callable[[tuple[int, ...]], None]
) -> NDArray[Any]:
    """Return the array that fills a stream of `n_bytes` from its header to its end."""
    try:
        version = npy.read_magic(file)
    except ValueError:
        raise ValueError(f"{what} is not an array") from None
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"{what} is of version {version} of the format")
    # Version 3 is version 2 in UTF-8, which concerns names of columns only; NumPy has no public
    # reader of its header.
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_column, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{what} holds Python objects, which are never unpickled")
    check(shape)
    count = math.prod(shape)
    if count and (not dtype.itemsize or count * dtype.itemsize != n_bytes - file.tell()):
        raise ValueError(f"{what} does not hold as many bytes as its header announces")
    flat = np.empty(count, dtype=dtype)
    left: memoryview = flat.view(np.uint8).data if count else memoryview(b"")
    while left:
        piece = file.read(min(len(left), _READ_AT_ONCE))
        if not piece:
            raise EOFError(f"{what} is truncated")
        left[: len(piece)] = piece
        left = left[len(piece) :]
    return flat.reshape(shape[::-1]).T if by_column else flat.reshape(shape)
