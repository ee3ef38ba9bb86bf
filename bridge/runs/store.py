"""Results of a long job on disk, item by item: written whole, read back exactly, never unpickled.

Which items are run again, and when the folder goes, is decided in `studies.stored`.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from bridge.atomic import PARTIAL_PREFIX, to_json_text, write_atomically, write_text
from bridge.files.json_text import read_json
from bridge.files.npz import read_npz

Result = Mapping[str, Any]
"""What one item yields: arrays, and anything that JSON holds."""


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What :meth:`ResultStore.get` returns where there is no item, or a damaged one."""

_KEY_FILE = "job.json"
_JSON_ENTRY = "json"


class ResultStore:
    """A folder that holds the finished items of one job; made when the first one is written.

    Parameters
    ----------
    folder : path
    key : str
        Hash of what decides the results.
    n_items : int
    """

    def __init__(self, folder: str | Path, *, key: str, n_items: int) -> None:
        self.folder = Path(folder).absolute()  # a compiled Brian2 run changes the directory
        self.n_items = n_items
        self._mark = {"key": key, "n_items": n_items}

    def is_of_another_job(self) -> bool:
        """Return whether the folder holds something that is not of this job; touches nothing."""
        try:
            return bool(read_json(self.folder / _KEY_FILE) != self._mark)
        except FileNotFoundError:
            return bool(self.done())
        except (OSError, ValueError):  # damaged: nobody knows whose it is
            return True

    def done(self) -> list[int]:
        """Return the numbers of the items that are there, damaged ones included."""
        try:
            names = {path.name for path in self.folder.iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [k for k in range(self.n_items) if self._path(k).name in names]

    def get(self, index: int) -> Any:
        """Return an item as it was put, or :data:`MISSING` where it is missing or damaged."""
        try:
            arrays = read_npz(self._path(index))
            return _decoded(json.loads(arrays[_JSON_ENTRY].tobytes()), arrays)
        except Exception:  # whatever a damaged file raises: the item is computed again
            return MISSING

    def put(self, index: int, result: Any) -> None:
        """Write an item.

        Parameters
        ----------
        result : any
            None, truth values, numbers (numpy's, too), text, arrays; lists, tuples, and mappings
            by text of those. It comes back as it was, type by type.

        Raises
        ------
        TypeError
            If it holds anything else.
        """
        arrays: list[np.ndarray] = []
        # Python's own JSON keeps NaN and every digit: a stored number comes back as it was.
        text = json.dumps(_encoded(result, arrays)).encode()
        entries: dict[str, Any] = {_JSON_ENTRY: np.frombuffer(text, dtype=np.uint8)}
        entries |= {str(k): array for k, array in enumerate(arrays)}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **entries)
        self._open()
        # A loss of power may cost the last items: they are computed again. Thousands of small
        # items would wait for the disk longer than they take to compute.
        write_atomically(
            self._path(index), lambda partial: partial.write_bytes(buffer.getvalue()),
            durable=False,
        )  # fmt: skip

    def remove(self) -> None:
        """Delete the folder: the job is done and its results stand elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self) -> None:
        if (self.folder / _KEY_FILE).is_file():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{PARTIAL_PREFIX}*"):
            leftover.unlink()
        write_text(self.folder / _KEY_FILE, to_json_text(self._mark), durable=False)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.npz"


def _encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return what JSON keeps of a value; arrays are collected, containers say what they are."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, np.generic) or kind is np.ndarray:
        if value.dtype.hasobject:
            raise TypeError("an array of objects can't be kept")
        arrays.append(np.asarray(value))
        return ["array" if kind is np.ndarray else "scalar", len(arrays) - 1]
    if kind in (list, tuple):
        return [kind.__name__, [_encoded(one, arrays) for one in value]]
    if isinstance(value, Mapping) and all(type(name) is str for name in value):
        return {name: _encoded(one, arrays) for name, one in value.items()}
    raise TypeError(f"a {kind.__name__} can't be kept")


def _decoded(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        return {name: _decoded(one, arrays) for name, one in value.items()}
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "array":
        return arrays[str(content)]
    if kind == "scalar":
        return arrays[str(content)][()]
    found = [_decoded(one, arrays) for one in content]
    return found if kind == "list" else tuple(found)
