"""HDF5 files: written whole, with checksums and without dates; read without leaving the file.

Links, external and virtual data are refused, and so is every filter but gzip, lzf, shuffle and
checksums. A dataset is measured before it is read. Chunks are unpacked here, each to the size that
it announces and no further: HDF5 itself unpacks whatever is in there, takes a chunk that it does
not find for zeros, and ends the process over some damaged tables (2.0.0).

Source: The HDF Group, HDF5 File Format Specification 3.0; H5Zfletcher32.c.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.atomic import atomic_path
from bridge.files.npz import CheckShape
from bridge.files.reading import Allowance, FileContentError, check_ordinary, in_words, reading

_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_LZF_MOST = 88  # lzf: 264 bytes from 3
_WORDS = 2**18  # of a checksum at once: their weighted sum fits in 64 bits


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for writing under a temporary name; see `atomic_path`."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=("v108", "v108")) as file:
        yield file


@contextmanager
def open_hdf5(path: Path, *, what: str = "HDF5 file") -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; every error inside becomes one line of `ValueError`."""
    with reading(path, what):
        check_ordinary(path)
        with h5py.File(path, "r") as file:
            yield file


def put(group: h5py.Group, name: str, data: ArrayLike, *, unit: str | None = None) -> None:
    """Write one dataset, compressed, with a checksum and without a date; its unit as attribute."""
    array = np.asarray(data)
    packed = (
        {"compression": "gzip", "shuffle": True, "fletcher32": True}
        if array.ndim and array.size
        else {}
    )
    dataset = group.create_dataset(name, data=array, track_times=False, **packed)
    if unit is not None:
        dataset.attrs["unit"] = unit


def take(
    group: h5py.Group, name: str, allowance: Allowance | None = None, *, whole: bool = False
) -> NDArray[Any]:
    """Return one dataset as an array of numbers.

    Parameters
    ----------
    group : h5py.Group
    name : str
    allowance : Allowance, optional
        Shared with the other datasets of the file; its own if not given.
    whole : bool
        Every chunk must be there, as in files of ours; HDF5 takes absent ones for the fill value.

    Raises
    ------
    ValueError
        If it is missing, a link, stored elsewhere, not numeric, packed in an unknown way, or
        unpacks to more than is allowed.
    """
    item = dataset(group, name)
    if item.dtype.kind not in "fiub":
        raise ValueError(f"{item.name} is of type {item.dtype}, not numeric")
    filters = check_packing(item, allowance or Allowance(Path(group.file.filename)))
    plain = h5py.h5t.py_create(item.dtype).equal(item.id.get_type())
    if whole and item.chunks is not None:
        steps = zip(item.shape, item.chunks, strict=True)
        if len(_stored_chunks(item)) != math.prod(-(-size // step) for size, step in steps):
            raise ValueError(f"{item.name} lacks a part of its data")
    if filters and plain and _LZF not in filters:
        return _from_chunks(item, filters)
    array: NDArray[Any] = np.asarray(item[()])
    return array


def dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a dataset whose data are in this file; raises as :func:`take` does."""
    item = child(group, name)
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"{item.name} is a group, not a dataset")
    if item.is_virtual or item.external:
        raise ValueError(f"{item.name} keeps its data in another file")
    if item.shape is None:
        raise ValueError(f"{item.name} is empty")
    return item


def child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Return a member of a group; refuse links, which may lead out of the file."""
    link = group.get(name, getlink=True)
    if link is None:
        raise ValueError(f"{group.name.rstrip('/')}/{name} is missing")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{group.name.rstrip('/')}/{name} is a link; links are not followed")
    return group[name]


def attribute(node: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Return one attribute, which must be a single value.

    Raises
    ------
    ValueError
        If it is missing, or an array: thousands of texts may be one and the same in the file.
    """
    if name not in node.attrs:
        raise ValueError(f"{name} is missing")
    if math.prod(node.attrs.get_id(name).shape or ()) != 1:
        raise ValueError(f"{name} must be a single value")
    return node.attrs[name]


def attributes(node: h5py.Group | h5py.Dataset, *names: str) -> dict[str, Any]:
    """Return those attributes of these names that are there; see :func:`attribute`."""
    return {name: attribute(node, name) for name in names if name in node.attrs}


def read_flat_hdf5(
    path: Path,
    wanted: Callable[[str], bool],
    check: CheckShape = lambda name, shape: None,
) -> dict[str, NDArray[Any]]:
    """Return the datasets at the root of an HDF5 file whose name is `wanted`.

    Parameters are those of :func:`bridge.files.npz.read_npz`.
    """
    with open_hdf5(path) as file:
        allowance = Allowance(path)
        found = {}
        for name in file:
            if wanted(name):
                check(name, dataset(file, name).shape)
                found[name] = take(file, name, allowance)
        return found


def check_packing(item: h5py.Dataset, allowance: Allowance) -> list[int]:
    """Return the filters of a dataset, in the order of writing.

    Raises
    ------
    ValueError
        If it is packed in an unknown way, or unpacks to more than is allowed.
    """
    item_bytes = item.id.get_type().get_size()
    allowance.spend(item.size * item_bytes, item.name)
    if item.chunks is None:
        return []
    plist = item.id.get_create_plist()
    filters = {plist.get_filter(k)[0]: plist.get_filter(k)[2] for k in range(plist.get_nfilters())}
    if len(filters) < plist.get_nfilters() or not set(filters) <= {
        _DEFLATE, _SHUFFLE, _FLETCHER32, _LZF,
    }:  # fmt: skip
        raise ValueError(f"{item.name} is packed by filters {list(filters)}; gzip is read")
    nominal = math.prod(item.chunks) * item_bytes
    if nominal > item.size * item_bytes:
        allowance.spend(nominal, f"a chunk of {item.name}")
    if _LZF in filters:
        if filters[_LZF][2:3] != (nominal,):
            raise ValueError(f"{item.name} announces another size of its chunks to lzf")
        largest = max((stored.size for stored in _stored_chunks(item)), default=0)
        allowance.spend(_LZF_MOST * largest, f"a chunk of {item.name}")
    return list(filters)


def _stored_chunks(item: h5py.Dataset) -> list[Any]:
    if hasattr(item.id, "chunk_iter"):
        found: list[Any] = []
        item.id.chunk_iter(found.append)
        return found
    return [item.id.get_chunk_info(k) for k in range(item.id.get_num_chunks())]  # HDF5 < 1.12.3


def _from_chunks(item: h5py.Dataset, filters: list[int]) -> NDArray[Any]:
    """Return the numbers of a dataset whose chunks are packed by these filters."""
    array = np.full(item.shape, item.fillvalue, dtype=item.dtype)
    for stored in _stored_chunks(item):
        place = tuple(stored.chunk_offset)
        inside = tuple(
            slice(begin, min(begin + step, end))
            for begin, step, end in zip(place, item.chunks, item.shape, strict=True)
        )
        try:
            mask, packed = item.id.read_direct_chunk(place)  # on the grid, and found there
        except (OSError, ValueError):
            raise ValueError(f"{item.name} has a chunk that is not in its place") from None
        block = np.frombuffer(_unpacked(item, packed, filters, mask), dtype=item.dtype)
        block = block.reshape(item.chunks)
        array[inside] = block[tuple(slice(0, one.stop - one.start) for one in inside)]
    return array


def _unpacked(item: h5py.Dataset, packed: bytes, filters: list[int], mask: int) -> bytes:
    """Return the content of a chunk; bit k of `mask` says that filter k was not applied."""
    nominal = math.prod(item.chunks) * item.dtype.itemsize
    for k in reversed(range(len(filters))):
        skipped = mask >> k & 1
        if filters[k] == _FLETCHER32:
            if skipped or not _checksum_fits(packed):
                raise ValueError(f"the checksum of a chunk of {item.name} is wrong")
            packed = packed[:-4]
        elif skipped:
            continue
        elif filters[k] == _DEFLATE:
            inflater = zlib.decompressobj()
            most = nominal + 4  # a checksum may be packed with it
            packed = inflater.decompress(packed, most + 1)
            if len(packed) > most or not inflater.eof:
                raise FileContentError(
                    f"{item.file.filename}: {item.name}: a chunk unpacks to more than the "
                    f"{in_words(nominal)} that it announces; nothing was loaded"
                )
        elif len(packed) == nominal:  # shuffled: first bytes of all numbers, second bytes ...
            bytewise = np.frombuffer(packed, dtype=np.uint8).reshape(item.dtype.itemsize, -1)
            numbers = np.empty(bytewise.shape[::-1], dtype=np.uint8)
            for place, column in enumerate(bytewise):  # twice as fast as a transposed copy
                numbers[:, place] = column
            packed = numbers.tobytes()
    if len(packed) != nominal:
        raise ValueError(f"{item.name} has a chunk of {len(packed)} bytes instead of {nominal}")
    return packed


def _checksum_fits(packed: bytes) -> bool:
    """Return whether a chunk ends in its Fletcher checksum (of either order of bytes)."""
    if len(packed) < 4:
        return False
    content = packed[:-4] + b"\0" * (len(packed) % 2)
    words = np.frombuffer(content, dtype=">u2")
    first = second = 0
    for begin in range(0, len(words), _WORDS):
        some = words[begin : begin + _WORDS].astype(np.int64)
        second += first * len(some) + int(some @ np.arange(len(some), 0, -1))
        first += int(some.sum())
    halves = (first % 65535, second % 65535)
    swapped = tuple((half & 0xFF) << 8 | half >> 8 for half in halves)
    found = tuple(int(half) % 65535 for half in np.frombuffer(packed[-4:], dtype="<u2"))
    return found in (halves, swapped)
