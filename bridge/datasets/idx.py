"""IDX files, the format of MNIST: a header of sizes, then unsigned bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from bridge.files.reading import FileContentError, in_words, open_ordinary

MOST_BYTES = 2**30
"""Largest array that is read: thirteen times the images of MNIST and its extensions."""

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"


def find_idx(directory: Path, name: str) -> Path | None:
    """Return the file of a standard name in a folder, or None.

    Parameters
    ----------
    directory : Path
    name : str
        For example ``train-images-idx3-ubyte``; the spelling ``train-images.idx3-ubyte`` and the
        ending ``.gz`` are found too, an unpacked file first.
    """
    stem, _, rest = name.partition("-idx")
    for spelling in (name, f"{stem}.idx{rest}"):
        for ending in ("", ".gz"):
            path = directory / (spelling + ending)
            if path.is_file():
                return path
    return None


def idx_shape(path: Path, *, n_dims: int) -> tuple[int, ...]:
    """Return the shape that the header of an IDX file gives; nothing else is read.

    Parameters and errors are those of :func:`read_idx`.
    """
    with _open(path) as stream:
        return _header(stream, path, n_dims)


def read_idx(path: Path, *, n_dims: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes, plain or packed by gzip.

    Which of the two it is tells its content: browsers unpack files and keep the ending ``.gz``.

    Parameters
    ----------
    path : Path
    n_dims : int
        Dimensions that the file must have: 1 for labels, 3 for images.

    Returns
    -------
    uint8
        Read-only, in the shape that the header gives.

    Raises
    ------
    ValueError
        If the file is no such IDX file, announces more than `MOST_BYTES`, or does not hold as many
        bytes as its header announces.
    FileNotFoundError
        If there is no such file.

    Source: LeCun, Cortes & Burges, The MNIST database, section "File formats".
    """
    with _open(path) as stream:
        shape = _header(stream, path, n_dims)
        n_header, n_bytes = 4 + 4 * n_dims, math.prod(shape)
        if n_bytes > MOST_BYTES:
            raise FileContentError(
                f"{path} announces {' x '.join(map(str, shape))} bytes ({in_words(n_bytes)}); at "
                f"most {in_words(MOST_BYTES)} are read"
            )
        data = stream.read(n_bytes + 1)  # to its end, where a packed file keeps its checksum
    if len(data) != n_bytes:
        more = " or more" if len(data) > n_bytes else ""
        raise FileContentError(
            f"{path} holds {n_header + len(data)} bytes{more} where its header "
            f"({' x '.join(map(str, shape))}) announces {n_header + n_bytes}; fetch it again"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _header(stream: BinaryIO, path: Path, n_dims: int) -> tuple[int, ...]:
    n_header = 4 + 4 * n_dims
    head = stream.read(n_header)
    magic, expected_magic = head[:4], bytes([0, 0, _UNSIGNED_BYTE, n_dims])
    if magic != expected_magic:
        raise FileContentError(
            f"{path} is not an IDX file of unsigned bytes in {n_dims} dimensions: it begins with "
            f"0x{magic.hex() or '(nothing)'}, not 0x{expected_magic.hex()}"
        )
    if len(head) < n_header:
        raise FileContentError(f"{path} ends inside its header ({len(head)} bytes); fetch it again")
    return struct.unpack(f">{n_dims}I", head[4:])


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    with open_ordinary(path) as file:
        magic = file.read(4)
        file.seek(0)
        if not magic.startswith(_GZIP_MAGIC):
            if path.suffix == ".gz" and magic[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
                raise FileContentError(
                    f"{path} is not a whole gzip file, nor an unpacked one; fetch it again"
                )
            yield file
            return
        try:
            with gzip.open(file) as stream:
                yield cast(BinaryIO, stream)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise FileContentError(
                f"{path} is not a whole gzip file ({error}); fetch it again"
            ) from error
