"""Reading and writing files safely: atomic, the same bytes for the same content, one-line errors.

Nothing read here is ever unpickled; links out of an HDF5 file are not followed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.lib.format import write_array
from numpy.typing import ArrayLike, NDArray

from bridge.atomic import atomic_path

FileKind = Literal["npz", "hdf5", "torch"]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_PICKLE_MAGIC = b"\x80"  # torch before 1.6 wrote bare pickles
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # earliest date that a zip entry can carry
_MAX_CAUSE_CHARS = 160


class FileContentError(ValueError):
    """A file that cannot be used; the message is one line that names the file."""


def file_kind(path: Path) -> FileKind:
    """Return what a file is, told by its first bytes and never by its ending.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is a folder, empty, or none of NPZ, HDF5 and torch.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise FileContentError(f"{path} is a folder; name a .npz, .h5 or .pth file")
    with reading(path, "NPZ, HDF5 or torch file"):
        with path.open("rb") as file:
            head = file.read(len(_HDF5_MAGIC))
        if head == _HDF5_MAGIC:
            return "hdf5"
        if head.startswith(_ZIP_MAGIC):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            return "torch" if any(n.rsplit("/", 1)[-1] == "data.pkl" for n in names) else "npz"
        if head.startswith(_PICKLE_MAGIC):
            return "torch"
    what = "is empty" if not head else "is none of these"
    raise FileContentError(f"{path} {what}: NPZ, HDF5, torch state dict; nothing was loaded")


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
                write_array(member, array, allow_pickle=False)


def read_npz(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, NDArray]:
    """Return the arrays of an NPZ whose name is `wanted`; object arrays are refused.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, damaged, not an NPZ, or would need unpickling.
    """
    with reading(path, "NPZ"), np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files if wanted(name)}
        for name, array in found.items():
            if not isinstance(array, np.ndarray):  # an entry that is no .npy comes as bytes
                raise ValueError(f"entry {name!r} is not an array")
    return found


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for writing under a temporary name; see `atomic_path`."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=("v108", "v108")) as file:
        yield file


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; every error inside becomes one line of `ValueError`."""
    with reading(path, "HDF5 file"), h5py.File(path, "r") as file:
        yield file


def put(group: h5py.Group, name: str, data: ArrayLike, *, unit: str | None = None) -> None:
    """Write one dataset, compressed and without a date, with its unit as attribute."""
    array = np.asarray(data)
    packed = {"compression": "gzip", "shuffle": True} if array.ndim and array.size else {}
    dataset = group.create_dataset(name, data=array, track_times=False, **packed)
    if unit is not None:
        dataset.attrs["unit"] = unit


def take(group: h5py.Group, name: str) -> NDArray:
    """Return one dataset as an array of numbers.

    Raises
    ------
    ValueError
        If it is missing, a link out of the file, stored elsewhere, or not numeric.
    """
    item = child(group, name)
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"{item.name} is a group, not a dataset")
    if item.is_virtual or item.external:
        raise ValueError(f"{item.name} keeps its data in another file")
    if item.dtype.kind not in "fiub":
        raise ValueError(f"{item.name} is of type {item.dtype}, not numeric")
    array: NDArray = np.asarray(item[()])
    return array


def child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Return a member of a group; refuse links, which may lead out of the file."""
    link = group.get(name, getlink=True)
    if link is None:
        raise ValueError(f"{group.name.rstrip('/')}/{name} is missing")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{group.name.rstrip('/')}/{name} is a link; links are not followed")
    return group[name]


def read_flat_hdf5(path: Path, wanted: Callable[[str], bool]) -> dict[str, NDArray]:
    """Return the datasets at the root of an HDF5 file whose name is `wanted`."""
    with open_hdf5(path) as file:
        return {name: take(file, name) for name in file if wanted(name)}


def check_format(given: Mapping[str, Any], path: Path, *, name: str, version: int) -> None:
    """Raise `ValueError` unless `given` declares the format `name` in version `version`.

    Parameters
    ----------
    given : mapping
        Holds ``format`` and ``format_version``: attributes of an HDF5 file, arrays of an NPZ.
    """
    if "format" not in given or "format_version" not in given:
        raise FileContentError(f"{path} does not say what format it has; expected {name}")
    found_name, found_version = text(given["format"]), text(given["format_version"])
    if found_name != name:
        raise FileContentError(f"{path} has the format {found_name!r}; expected {name!r}")
    if found_version != str(version):
        raise FileContentError(
            f"{path} has version {found_version} of the format {name}; this program reads "
            f"version {version}"
        )


def text(value: Any) -> str:
    """Return an attribute or a zero-dimensional array as text."""
    plain = value.item() if isinstance(value, np.ndarray | np.generic) else value
    return plain.decode("utf-8") if isinstance(plain, bytes) else str(plain)
