"""What kind of file it is, told by its content, and the format that a file of ours declares."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bridge.files.reading import FileContentError, open_ordinary, reading

FileKind = Literal["npz", "hdf5", "torch"]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_PICKLE_MAGIC = b"\x80"  # torch before 1.6 wrote bare pickles


def file_kind(path: Path) -> FileKind:
    """Return what a file is, told by its first bytes and never by its ending.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is a folder, a pipe or a device, empty, or none of NPZ, HDF5 and torch.
    """
    if path.is_dir():
        raise FileContentError(f"{path} is a folder; name a .npz, .h5 or .pth file")
    with reading(path, "NPZ, HDF5 or torch file"), open_ordinary(path) as file:
        head = file.read(len(_HDF5_MAGIC))
        if head == _HDF5_MAGIC:
            return "hdf5"
        if head.startswith(_ZIP_MAGIC):
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
            return "torch" if any(n.rsplit("/", 1)[-1] == "data.pkl" for n in names) else "npz"
        if head.startswith(_PICKLE_MAGIC):
            return "torch"
    what = "is empty" if not head else "is none of these"
    raise FileContentError(f"{path} {what}: NPZ, HDF5, torch state dict; nothing was loaded")


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
