"""Log lines of stagers and runners: ``[time] [LEVEL] name: text``, to a stream and to files."""

from __future__ import annotations

import datetime
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


class Logger:
    """A small thread-safe logger whose settings travel to worker processes.

    Parameters
    ----------
    name : str
    level : {"DEBUG", "INFO", "WARNING", "ERROR"}
    stream : file or None
        Default stdout as it is when a line is written; None for no stream.
    file_path : path, optional
        Lines are appended to it as well.
    include_timestamp : bool
    """

    _STDOUT = "stdout"

    def __init__(
        self,
        name: str,
        level: str = "INFO",
        stream: TextIO | str | None = _STDOUT,
        file_path: str | Path | None = None,
        include_timestamp: bool = True,
    ) -> None:
        if str(level).upper() not in LEVELS:
            raise ValueError(f"log level {level!r} is unknown; use {', '.join(LEVELS)}")
        self.name, self.level = name, str(level).upper()
        self.include_timestamp = include_timestamp
        self._stream = stream
        self._files: list[Path] = []
        self._said: set[str] = set()
        self._lock = threading.Lock()
        if file_path is not None:
            self.attach_file(file_path)

    def attach_file(self, path: str | Path) -> None:
        """Append all further lines to a file too, once however often it is attached."""
        path = Path(path).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path not in self._files:
            self._files.append(path)

    def debug(self, text: str, *, once: str | None = None) -> None:
        """Write a line of level DEBUG; with `once`, only the first time for that key."""
        self._write("DEBUG", text, once)

    def info(self, text: str, *, once: str | None = None) -> None:
        """Write a line of level INFO."""
        self._write("INFO", text, once)

    def warning(self, text: str, *, once: str | None = None) -> None:
        """Write a line of level WARNING."""
        self._write("WARNING", text, once)

    def error(self, text: str, *, once: str | None = None) -> None:
        """Write a line of level ERROR."""
        self._write("ERROR", text, once)

    def _write(self, level: str, text: str, once: str | None) -> None:
        if LEVELS[level] < LEVELS[self.level]:
            return
        stamp = ""
        if self.include_timestamp:
            stamp = f"[{datetime.datetime.now():%Y-%m-%d %H:%M:%S}] "
        with self._lock:
            if once is not None:
                if once in self._said:
                    return
                self._said.add(once)
            line = f"{stamp}[{level}] {self.name}: {text}\n"
            stream = sys.stdout if self._stream == self._STDOUT else self._stream
            if stream is not None and not isinstance(stream, str):
                stream.write(line)
                stream.flush()
            for path in self._files:
                with path.open("a", encoding="utf-8") as file:
                    file.write(line)

    def __content__(self) -> None:
        """Return nothing: who is told decides no result."""

    def __enter__(self) -> Logger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.error(f"{type(error).__name__}: {error}")

    def __getstate__(self) -> dict[str, Any]:
        # A worker's own stdout, not a copy of this process's stream.
        state = {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_stream")}
        return state | {"_silent": self._stream is None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        silent = state.pop("_silent")
        self.__dict__.update(state)
        self._stream = None if silent else self._STDOUT
        self._lock = threading.Lock()


def quiet_logger(name: str) -> Logger:
    """Return a logger that writes to files only."""
    return Logger(name, stream=None)
