"""IDX files, the format of MNIST: a header of sizes, then unsigned bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTE = 0x08


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


def read_idx(path: Path, *, n_dims: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes, plain or ``.gz``.

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
        If the file is no such IDX file, or does not hold as many bytes as its header announces.
    FileNotFoundError
        If there is no such file.

    Source: LeCun, Cortes & Burges, The MNIST database, section "File formats".
    """
    data = _read_bytes(path)
    n_header = 4 + 4 * n_dims
    magic = data[:4]
    expected_magic = bytes([0, 0, _UNSIGNED_BYTE, n_dims])
    if magic != expected_magic:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes in {n_dims} dimensions: it begins with "
            f"0x{magic.hex() or '(nothing)'}, not 0x{expected_magic.hex()}"
        )
    if len(data) < n_header:
        raise ValueError(f"{path} ends inside its header ({len(data)} bytes); fetch it again")
    shape = struct.unpack(f">{n_dims}I", data[4:n_header])
    n_expected = n_header + math.prod(shape)
    if len(data) != n_expected:
        raise ValueError(
            f"{path} holds {len(data)} bytes where its header "
            f"({' x '.join(map(str, shape))}) announces {n_expected}; fetch it again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=n_header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error}); fetch it again") from error
