"""metrics.jsonl: a line for every update and every epoch of a training."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def open_step_log(path: Path, n_bytes: int) -> Iterator[StepLog]:
    """Open a log where the checkpoint left it, after `n_bytes`; later lines are of lost epochs."""
    with path.open("ab") as file:
        file.truncate(min(n_bytes, file.tell()))
        yield StepLog(file)


class StepLog:
    """Lines of JSON, each on disk as soon as it is written."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line; numbers that are not finite become null."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = json.dumps(_strict({"timestamp": stamp, **line}), allow_nan=False)
        self._file.write(text.encode() + b"\n")
        self._file.flush()

    def position(self) -> int:
        """Return the number of bytes that are safely on disk."""
        os.fsync(self._file.fileno())
        return int(self._file.tell())


def _strict(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in line.items()
    }
