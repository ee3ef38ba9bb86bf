"""HDF5 files: written whole, with checksums and without dates; read without leaving the file.

Links, external and virtual data are refused, and so is every filter but gzip, lzf, shuffle and
checksums. A dataset is measured before it is read: its shape, and each large chunk unpacked up to
the size it announces (HDF5 itself would unpack whatever is in there).
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
# deflate packs 1032 to 1 at best: what a smaller chunk can unpack to does no harm
_HARMLESS_CHUNK = 2**18
_LZF_MOST = 88  # lzf: 264 bytes from 3


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


def take(group: h5py.Group, name: str, allowance: Allowance | None = None) -> NDArray[Any]:
    """Return one dataset as an array of numbers.

    Parameters
    ----------
    group : h5py.Group
    name : str
    allowance : Allowance, optional
        Shared with the other datasets of the file; its own if not given.

    Raises
    ------
    ValueError
        If it is missing, a link, stored elsewhere, not numeric, packed in an unknown way, or
        unpacks to more than is allowed.
    """
    item = dataset(group, name)
    if item.dtype.kind not in "fiub":
        raise ValueError(f"{item.name} is of type {item.dtype}, not numeric")
    check_packing(item, allowance or Allowance(Path(group.file.filename)))
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


def check_packing(item: h5py.Dataset, allowance: Allowance) -> None:
    """Refuse a dataset that is packed in an unknown way, or unpacks to more than is allowed."""
    item_bytes = item.id.get_type().get_size()
    allowance.spend(item.size * item_bytes, item.name)
    if item.chunks is None:
        return
    plist = item.id.get_create_plist()
    filters = {plist.get_filter(k)[0]: plist.get_filter(k)[2] for k in range(plist.get_nfilters())}
    if len(filters) < plist.get_nfilters() or not set(filters) <= {
        _DEFLATE, _SHUFFLE, _FLETCHER32, _LZF,
    }:  # fmt: skip
        raise ValueError(f"{item.name} is packed by filters {list(filters)}; gzip is read")
    nominal = math.prod(item.chunks) * item_bytes
    if nominal > item.size * item_bytes:
        allowance.spend(nominal, f"a chunk of {item.name}")
    if _LZF in filters and filters[_LZF][2:3] != (nominal,):
        raise ValueError(f"{item.name} announces another size of its chunks to lzf")
    summed = list(filters).index(_FLETCHER32) if _FLETCHER32 in filters else None
    for stored in _stored_chunks(item):
        try:
            _, packed = item.id.read_direct_chunk(tuple(stored.chunk_offset))
        except (OSError, ValueError):
            # HDF5 would take it for a missing one, and read zeros.
            raise ValueError(f"{item.name} has a chunk that is not in its place") from None
        if summed is not None and stored.filter_mask >> summed & 1:
            raise ValueError(f"{item.name} has a chunk without its checksum")
        if stored.size <= _HARMLESS_CHUNK:
            continue
        if _DEFLATE in filters:
            _check_inflates(item, packed, nominal)
        elif _LZF in filters:
            allowance.spend(max(0, _LZF_MOST * stored.size - nominal), f"a chunk of {item.name}")


def _stored_chunks(item: h5py.Dataset) -> list[Any]:
    if hasattr(item.id, "chunk_iter"):
        found: list[Any] = []
        item.id.chunk_iter(found.append)
        return found
    return [item.id.get_chunk_info(k) for k in range(item.id.get_num_chunks())]  # HDF5 < 1.12.3


def _check_inflates(item: h5py.Dataset, packed: bytes, nominal: int) -> None:
    inflater = zlib.decompressobj()
    most = nominal + 4  # a checksum may be packed with it
    n_bytes = len(inflater.decompress(packed, most + 1))
    if n_bytes > most or not inflater.eof:
        raise FileContentError(
            f"{item.file.filename}: {item.name}: a chunk unpacks to more than the "
            f"{in_words(nominal)} that it announces; nothing was loaded"
        )
