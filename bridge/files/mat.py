"""MATLAB files: versions 4 to 7 (their own format) and 7.3 (HDF5), read and written without MATLAB.

Numbers, text and sparse matrices are read; cells, structures and objects stay where they are, as
nothing here uses them. What is compressed is unpacked no further than it announces, its checksum
verified. An update copies every field that it does not replace byte for byte.

Source: The MathWorks, MAT-File Format (2023).
"""

from __future__ import annotations

import io
import math
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bridge.atomic import atomic_path
from bridge.files.reading import Allowance, FileContentError, in_words, open_ordinary, reading

WHAT = ".mat file"
_HEADER = 128
_FLAGS, _MATRIX, _COMPRESSED = 6, 14, 15
_VERIFIED = 2**26  # bytes of a field that is not read, up to which its checksum is verified
_HEAD = 1024  # of a field: flags, at most 32 dimensions, a name of at most 63 characters
_CHAR_BYTES = 16  # of a letter on its way from a number to a text
_ITEM_BYTES = {4: 8, 5: 8, 6: 8, 7: 4, 8: 1, 9: 1, 10: 2, 11: 2, 12: 4, 13: 4, 14: 8, 15: 8}
"""Bytes in memory by class: text, sparse, double, single, whole numbers of 8 to 64 bits."""
_HDF5_CLASSES = {"double", "single", "logical", "int8", "uint8", "int16", "uint16", "int32",
                 "uint32", "int64", "uint64"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MatField:
    """A field of a MATLAB file before it is read.

    Attributes
    ----------
    name : str
    shape : tuple of int
    n_bytes : int
        What it takes in memory, sparse matrices in full.
    """

    name: str
    shape: tuple[int, ...]
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Element(MatField):
    """A field of a file of version 5: where it lies, and what it says of itself."""

    start: int
    stored: int
    packed: bool
    whole: int
    readable: bool


def list_mat(path: Path) -> list[MatField]:
    """Return the fields that :func:`read_mat` reads, without reading them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no MATLAB file, or damaged.
    """
    with reading(path, WHAT), open_ordinary(path) as file:
        return _kind(file).fields(path, file)


def read_mat(path: Path, wanted: Callable[[MatField], bool] = lambda field: True) -> dict[str, Any]:
    """Return the fields that are `wanted` as :func:`scipy.io.loadmat` gives them.

    Scalars are (1, 1), vectors (1, n) or (n, 1), texts arrays of str, sparse matrices sparse.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no MATLAB file, damaged, or unpacks to more than
        :mod:`bridge.files.reading` allows.
    """
    with reading(path, WHAT), open_ordinary(path) as file:
        kind = _kind(file)
        chosen = [field for field in kind.fields(path, file) if wanted(field)]
        allowance = Allowance(path)
        for field in chosen:
            allowance.spend(field.n_bytes, f"field {field.name!r}")
        found = kind.read(path, file, chosen)
        for value in found.values():
            if hasattr(value, "check_format"):  # sparse: indices out of range are not looked for
                value.tocsc().check_format(full_check=True)
        return found


def write_mat(path: Path, fields: Mapping[str, Any]) -> None:
    """Write a MATLAB file (version 7: compressed, each field with a checksum); None is left out."""
    content = _packed(fields)
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def update_mat(path: Path, extra: Mapping[str, Any]) -> None:
    """Add or replace fields of a MATLAB file; all others stay as they are, byte for byte.

    A field that is None is taken away.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no MATLAB file, or damaged.
    """
    list_mat(path)  # what is wrong with the file is said now
    with open_ordinary(path) as file, atomic_path(path) as partial:
        _kind(file).update(path, file, partial, extra)


_TEXT = b"MATLAB 5.0 MAT-file, written by pingbridge"
"""Begin of a file, in place of one with the date: the same content, the same bytes."""
_LONGEST_TEXT = 116


def _packed(fields: Mapping[str, Any]) -> bytes:
    import scipy.io

    buffer = io.BytesIO()
    given = {name: value for name, value in fields.items() if value is not None}
    scipy.io.savemat(buffer, given, do_compression=True)
    content = buffer.getvalue()
    return _TEXT.ljust(_LONGEST_TEXT) + content[_LONGEST_TEXT:]


def _kind(file: BinaryIO) -> type[_Version4] | type[_Version5] | type[_Version7]:
    """Return how to read a file, told by its first bytes."""
    head = file.read(_HEADER)
    file.seek(0)
    if len(head) >= 20 and 0 in head[:4]:  # a text begins all later versions
        return _Version4
    if len(head) < _HEADER or head[126:128] not in (b"IM", b"MI"):
        raise ValueError("it does not begin like one")
    return _Version7 if head[125 if head[126:128] == b"IM" else 124] == 2 else _Version5


class _Version4:
    """The format before 1996: numbers as they are, nothing compressed."""

    @staticmethod
    def fields(path: Path, file: BinaryIO) -> list[MatField]:
        import scipy.io

        found = scipy.io.whosmat(file)
        file.seek(0)
        return [
            MatField(name=name, shape=shape, n_bytes=8 * math.prod(shape))
            for name, shape, _ in found
        ]

    @staticmethod
    def read(path: Path, file: BinaryIO, chosen: list[MatField]) -> dict[str, Any]:
        import scipy.io

        names = [field.name for field in chosen]
        found = scipy.io.loadmat(file, variable_names=names)
        return {name: found[name] for name in names}

    @staticmethod
    def update(path: Path, file: BinaryIO, partial: Path, extra: Mapping[str, Any]) -> None:
        partial.write_bytes(_packed({**read_mat(path), **extra}))


class _Version5:
    """Versions 5 to 7: elements one after the other, each perhaps compressed."""

    @staticmethod
    def fields(path: Path, file: BinaryIO) -> list[MatField]:
        return [one for one in _elements(file) if one.readable]

    @staticmethod
    def read(path: Path, file: BinaryIO, chosen: list[MatField]) -> dict[str, Any]:
        import scipy.io

        file.seek(0)
        header = file.read(_HEADER)
        found: dict[str, Any] = {}
        for field in chosen:
            assert isinstance(field, _Element)
            single = io.BytesIO(header + _unpacked(file, field))
            loaded = scipy.io.loadmat(single)
            found[field.name] = loaded[field.name]
        for one in _elements(file):  # a damaged name or class would hide a field
            if one.packed and one.name not in found and one.whole <= _VERIFIED:
                _unpacked(file, one)
        return found

    @staticmethod
    def update(path: Path, file: BinaryIO, partial: Path, extra: Mapping[str, Any]) -> None:
        elements = list(_elements(file))
        file.seek(0)
        header = bytearray(file.read(_HEADER))
        new = _packed(extra)
        if header[126:128] != new[126:128]:  # of a machine with the other order of bytes
            if not all(one.readable for one in elements):
                raise FileContentError(
                    f"{path} holds cells or structures in the byte order of another machine; save "
                    "it anew on this one"
                )
            partial.write_bytes(_packed({**read_mat(path), **extra}))
            return
        with partial.open("wb") as out:
            out.write(header)
            for one in elements:
                if one.name in extra:
                    continue
                if one.start == int.from_bytes(header[116:124], "little"):
                    header[116:124] = out.tell().to_bytes(8, "little")  # data of objects
                file.seek(one.start)
                out.write(file.read(one.stored))
            out.write(new[_HEADER:])
            out.seek(0)
            out.write(header)


class _Version7:
    """Version 7.3: HDF5, rows and columns exchanged."""

    @staticmethod
    def fields(path: Path, file: BinaryIO) -> list[MatField]:
        from bridge.files.hdf5 import open_hdf5

        with open_hdf5(path, what=WHAT) as held:
            found = [_hdf5_field(held, name) for name in held if not name.startswith("#")]
        return [field for field in found if field is not None]

    @staticmethod
    def read(path: Path, file: BinaryIO, chosen: list[MatField]) -> dict[str, Any]:
        from bridge.files.hdf5 import open_hdf5

        with open_hdf5(path, what=WHAT) as held:
            return {field.name: _hdf5_value(held, field.name) for field in chosen}

    @staticmethod
    def update(path: Path, file: BinaryIO, partial: Path, extra: Mapping[str, Any]) -> None:
        import h5py

        with partial.open("wb") as out:
            shutil.copyfileobj(file, out)
        with h5py.File(partial, "r+") as held:
            for name, given in extra.items():
                if name in held:
                    del held[name]
                if given is not None:
                    _put_hdf5(held, name, given)


def _elements(file: BinaryIO) -> Iterator[_Element]:
    """Yield the elements of a file of version 5, each by its head only."""
    file.seek(0, io.SEEK_END)
    size = file.tell()
    file.seek(126)
    order = "<" if file.read(2) == b"IM" else ">"
    start = _HEADER
    while start < size:
        file.seek(start)
        tag = file.read(8)
        if len(tag) < 8:
            raise ValueError("it ends inside a field")
        kind, n_bytes = struct.unpack(f"{order}II", tag)
        if kind not in (_MATRIX, _COMPRESSED) or start + 8 + n_bytes > size:
            raise ValueError(f"at byte {start} there is no whole field")
        head = file.read(min(n_bytes, _HEAD))
        whole = 8 + n_bytes
        if kind == _COMPRESSED:
            head = zlib.decompressobj().decompress(head, _HEAD)
            inner, inner_bytes = struct.unpack(f"{order}II", head[:8])
            if inner != _MATRIX:
                raise ValueError(f"at byte {start} there is something else than a field")
            head, whole = head[8:], 8 + inner_bytes
        name, number, shape, is_complex = _head(head, order)
        in_memory = math.prod(shape) * _ITEM_BYTES.get(number, 0) * (2 if is_complex else 1)
        yield _Element(
            name=name, shape=shape, n_bytes=in_memory + whole, start=start, stored=8 + n_bytes,
            packed=kind == _COMPRESSED, whole=whole, readable=number in _ITEM_BYTES and bool(name),
        )  # fmt: skip
        start += 8 + n_bytes


def _head(head: bytes, order: str) -> tuple[str, int, tuple[int, ...], bool]:
    """Return name, class and shape of a field, and whether it is complex."""
    if len(head) < 16 or struct.unpack(f"{order}II", head[:8]) != (_FLAGS, 8):
        raise ValueError("a field does not begin like one")
    flags = struct.unpack(f"{order}I", head[8:12])[0]
    number = flags & 0xFF
    if number not in _ITEM_BYTES and number not in (1, 2, 3):
        return "", number, (), False  # functions and objects have another head
    dims, at = _part(head, 16, order)
    name, _ = _part(head, at, order)
    shape = struct.unpack(f"{order}{len(dims) // 4}i", dims[: len(dims) // 4 * 4])
    if any(n < 0 for n in shape):
        raise ValueError(f"a field has the shape {shape}")
    return name.decode("latin-1"), number, shape, bool(flags & 0x800)


def _part(head: bytes, at: int, order: str) -> tuple[bytes, int]:
    """Return one part of a field's head, and where the next one begins."""
    first, second = struct.unpack(f"{order}II", head[at : at + 8])
    if first >> 16:  # small: size, kind and up to four bytes of content in eight bytes
        n_bytes, begin, end = first >> 16, at + 4, at + 8
    else:
        n_bytes, begin, end = second, at + 8, at + 8 + second + (-second) % 8
    if begin + n_bytes > len(head):
        raise ValueError("a field is cut off")
    return head[begin : begin + n_bytes], end


def _unpacked(file: BinaryIO, element: _Element) -> bytes:
    """Return an element as it would stand in a file that is not compressed."""
    file.seek(element.start)
    content = file.read(element.stored)
    if not element.packed:
        return content
    inflater = zlib.decompressobj()
    content = inflater.decompress(content[8:], element.whole + 1)
    if len(content) != element.whole or not inflater.eof:
        raise ValueError(
            f"field {element.name!r} does not unpack to the {in_words(element.whole)} it announces"
        )
    return content


def _hdf5_class(node: Any) -> str:
    from bridge.files.hdf5 import attribute

    found = attribute(node, "MATLAB_class") if "MATLAB_class" in node.attrs else b""
    return found.decode("latin-1") if isinstance(found, bytes) else str(found)


def _hdf5_field(held: Any, name: str) -> MatField | None:
    import h5py

    from bridge.files.hdf5 import attribute, child

    node = child(held, name)
    kind = _hdf5_class(node)
    if isinstance(node, h5py.Group):
        if "MATLAB_sparse" not in node.attrs:
            return None
        sparse = (int(attribute(node, "MATLAB_sparse")), len(child(node, "jc")) - 1)
        return MatField(name=name, shape=sparse, n_bytes=8 * math.prod(sparse))
    if kind not in _HDF5_CLASSES and kind != "char":
        return None
    if "MATLAB_empty" in node.attrs and attribute(node, "MATLAB_empty"):
        return MatField(name=name, shape=(0, 0), n_bytes=0)
    shape = tuple(int(n) for n in node.shape[::-1])
    n_bytes = node.size * (_CHAR_BYTES if kind == "char" else node.dtype.itemsize)
    return MatField(name=name, shape=shape, n_bytes=n_bytes)


def _hdf5_value(held: Any, name: str) -> Any:
    import h5py

    from bridge.files.hdf5 import attribute, child, dataset, take

    node = child(held, name)
    if isinstance(node, h5py.Group):
        from scipy.sparse import csc_matrix

        n_rows, jc = int(attribute(node, "MATLAB_sparse")), take(node, "jc")
        empty = "data" not in node  # a matrix of zeros
        parts = [np.zeros(0) if empty else take(node, part) for part in ("data", "ir")]
        return csc_matrix((parts[0], parts[1].astype(np.int64), jc), shape=(n_rows, len(jc) - 1))
    if "MATLAB_empty" in node.attrs and attribute(node, "MATLAB_empty"):
        return np.zeros((0, 0))
    if node.dtype.names == ("real", "imag"):
        pairs = dataset(held, name)[()]
        return (pairs["real"] + 1j * pairs["imag"]).T
    values = take(held, name).T
    if _hdf5_class(node) == "char":
        rows = ["".join(map(chr, row)) for row in np.atleast_2d(values).tolist()]
        return np.array(rows)
    return values


def _put_hdf5(held: Any, name: str, given: Any) -> None:
    value: NDArray[Any] = np.asarray(given)
    if value.dtype.kind in "US":
        kind = "char"
        value = np.array([[ord(c) for c in str(value.item())]], dtype=np.uint16)
    elif value.dtype.kind == "b":
        kind, value = "logical", value.astype(np.uint8)
    elif value.dtype.kind in "iu":
        kind = value.dtype.name
    else:
        kind, value = "double", value.astype(np.float64)
    rows = np.atleast_2d(value)
    stored = held.create_dataset(name, data=rows.T, track_times=False)
    stored.attrs["MATLAB_class"] = np.bytes_(kind)
    if kind == "char":
        stored.attrs["MATLAB_int_decode"] = np.int32(2)
