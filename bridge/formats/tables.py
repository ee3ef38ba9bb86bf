"""Tables of numbers: the same rows as CSV for people and as HDF5 for programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bridge.atomic import write_text
from bridge.files.hdf5 import check_packing, dataset, new_hdf5, open_hdf5, put, take
from bridge.files.reading import Allowance

Row = Mapping[str, Any]
"""Numbers, truth values or text by column; None or NaN where undefined."""


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV: one header line, every digit of a number, nothing where undefined.

    Raises
    ------
    ValueError
        If there are no rows, or they have different columns.
    """
    columns = _columns(rows)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_text(row[name]) for name in columns])
    write_text(path, buffer.getvalue())


def write_table_hdf5(
    path: Path,
    rows: Sequence[Row],
    *,
    units: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Write rows as HDF5: one dataset for each column, its unit as attribute, NaN where undefined.

    Raises
    ------
    ValueError
        If there are no rows, or they have different columns.
    """
    with new_hdf5(path) as file:
        for name, value in (attributes or {}).items():
            file.attrs[name] = value
        for name in _columns(rows):
            values = [row[name] for row in rows]
            if any(isinstance(value, str) for value in values):
                _put_text(file, name, [str(v or "") for v in values])
            else:
                put(file, name, _numbers(values), unit=(units or {}).get(name))


def read_table_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a table written by :func:`write_table_hdf5`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or holds anything but columns of numbers and texts in this file.
    """
    with open_hdf5(path) as file:
        allowance = Allowance(path)
        return {name: _column(file, name, allowance) for name in file}


def _put_text(file: h5py.File, name: str, values: list[str]) -> None:
    # Of one length: texts of their own lengths would lie in a heap, where no checksum is kept.
    encoded = np.array([value.encode() for value in values])
    longest = h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize))
    file.create_dataset(
        name, data=encoded.astype(longest), dtype=longest, track_times=False,
        chunks=encoded.shape, fletcher32=True,
    )  # fmt: skip


def _column(file: h5py.File, name: str, allowance: Allowance) -> NDArray[Any]:
    item = dataset(file, name)
    kind = h5py.check_string_dtype(item.dtype)
    if kind is None:
        return take(file, name, allowance, whole=True)
    if kind.length is not None:
        check_packing(item, allowance)
        return np.asarray(item.asstr()[()], dtype=object)
    allowance.spend(16 * item.size, item.name)
    found = np.empty(item.shape, dtype=object)
    for place in np.ndindex(item.shape):  # each may be the same long text
        found[place] = item.asstr()[place]
        allowance.spend(len(found[place]), item.name)
    return found


def _columns(rows: Sequence[Row]) -> list[str]:
    if not rows:
        raise ValueError("a table needs at least one row")
    columns = list(rows[0])
    for row in rows:
        if list(row) != columns:
            raise ValueError(f"rows have different columns: {', '.join(set(row) ^ set(columns))}")
    return columns


def _numbers(values: Sequence[Any]) -> NDArray[Any]:
    if all(isinstance(value, bool | np.bool_) for value in values):
        return np.asarray(values, dtype=np.uint8)
    if all(isinstance(value, int | np.integer) for value in values):
        return np.asarray(values, dtype=np.int64)
    return np.asarray([np.nan if v is None else float(v) for v in values])


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return str(value)
