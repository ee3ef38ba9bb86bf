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
from bridge.formats.files import new_hdf5, open_hdf5, put

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
                file.create_dataset(
                    name, data=[str(v or "") for v in values], dtype=h5py.string_dtype(),
                    track_times=False,
                )  # fmt: skip
            else:
                put(file, name, _numbers(values), unit=(units or {}).get(name))


def read_table_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a table written by :func:`write_table_hdf5`."""
    with open_hdf5(path) as file:
        return {
            name: file[name].asstr()[()] if file[name].dtype.kind == "O" else file[name][()]
            for name in file
        }


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
