"""Results of a long job, item by item on disk, so that a killed job goes on where it stopped."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridge.atomic import PARTIAL_PREFIX, to_json_text, write_atomically, write_text

Result = Mapping[str, Any]
"""What one item yields: arrays, and anything that JSON holds."""

_KEY_FILE = "job.json"
_JSON_ENTRY = "json"


def job_key(description: Any) -> str:
    """Return a hash of what decides the results of a job: anything that JSON holds, and arrays.

    Two jobs with the same key may share results. Leave out what cannot change a result (folders,
    workers, the progress bar).
    """
    digest = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value)
            digest.update(f"<{array.dtype}{array.shape}>".encode() + array.tobytes())
        elif isinstance(value, Mapping):
            digest.update(b"{")
            for name in sorted(value, key=str):
                digest.update(f"{name}:".encode())
                feed(value[name])
            digest.update(b"}")
        elif isinstance(value, list | tuple):
            digest.update(b"[")
            for one in value:
                feed(one)
            digest.update(b"]")
        else:
            digest.update(f"{type(value).__name__} {value!r};".encode())

    feed(description)
    return digest.hexdigest()


class ResultStore:
    """A folder that holds the finished items of one job.

    Each item is a file of its own, written whole or not at all, never unpickled.

    Parameters
    ----------
    folder : path
        Made if missing.
    key : str
        From :func:`job_key`.
    n_items : int

    Raises
    ------
    ValueError
        If the folder holds items of another job: they would end up in the same table.
    """

    def __init__(self, folder: str | Path, *, key: str, n_items: int) -> None:
        self.folder = Path(folder)
        self.n_items = n_items
        mark = {"key": key, "n_items": n_items}
        held = self._held()
        if held is not None and held != mark:
            raise ValueError(
                f"{self.folder} holds unfinished results of another configuration; choose another "
                "--out-dir, or clear this one with --wipe-dir"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{PARTIAL_PREFIX}*"):
            leftover.unlink()
        if held is None:
            write_text(self.folder / _KEY_FILE, to_json_text(mark))

    def done(self) -> list[int]:
        """Return the numbers of the items that are there."""
        found = (path.stem for path in self.folder.glob("*.npz"))
        return sorted(int(stem) for stem in found if stem.isdigit() and int(stem) < self.n_items)

    def get(self, index: int) -> dict[str, Any] | None:
        """Return an item, or None where it is missing or its file damaged."""
        try:
            with np.load(self._path(index), allow_pickle=False) as archive:
                found = json.loads(archive[_JSON_ENTRY].tobytes())
                return found | {
                    n.removeprefix("array:"): archive[n] for n in archive.files if n != _JSON_ENTRY
                }
        except FileNotFoundError:
            return None
        except Exception:  # whatever a damaged file raises: it is computed again
            return None

    def put(self, index: int, result: Result) -> None:
        """Write an item.

        Raises
        ------
        TypeError
            If it holds something that is neither an array nor JSON.
        """
        arrays = {n: v for n, v in result.items() if isinstance(v, np.ndarray)}
        plain = {n: v for n, v in result.items() if n not in arrays}
        # Python's own JSON keeps NaN and every digit: a stored number comes back as it was.
        text = json.dumps(plain).encode()
        entries: dict[str, Any] = {_JSON_ENTRY: np.frombuffer(text, dtype=np.uint8)}
        entries |= {f"array:{name}": array for name, array in arrays.items()}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **entries)
        write_atomically(self._path(index), lambda partial: partial.write_bytes(buffer.getvalue()))

    def remove(self) -> None:
        """Delete the folder: the job is done and its results stand elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _held(self) -> Any:
        try:
            return json.loads((self.folder / _KEY_FILE).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return "damaged"

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.npz"
