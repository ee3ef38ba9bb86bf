"""The run folder: what every command leaves behind, whole, with the way to do it again.

On entry, in this order: optional wipe, mkdir, ``config.json``, ``run.sh``, ``output.log``,
``.running``. The marker goes when the run ends; one that stays tells of a crash.
"""

from __future__ import annotations

import atexit
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bridge.atomic import PARTIAL_PREFIX, to_json_text, write_atomically, write_text
from bridge.home import HOME, project
from bridge.runs.console import LOG, close_log_file, open_log_file
from bridge.runs.marker import MARKER, Marker, read_marker, refuse_live, write_marker
from bridge.runs.provenance import provenance
from bridge.runs.wipe import one_line, run_of, wipe_folder

PROGRAM = (sys.executable, "-P", "-m", "cli")
"""How the program is started; its arguments follow. A cli.py in the working folder is not ours."""

# Options that name something to read: wiping must not take it away.
_INPUT_KEYS = ("from_dir", "load_weights", "weights_file", "input_file", "config")


class RunFolder:
    """A folder that records one run; a context manager.

    Parameters
    ----------
    out_dir : path
        The folder; made if missing.
    mode : str
        The command.
    config : mapping
        Its options as JSON has them (:func:`bridge.runs.options.to_json`).
    argv : sequence of str
        Arguments of the program, without the program.
    wipe : bool
        Empty the folder first; only a folder that a run of this program wrote.
    provenance_block : mapping, optional
        From :func:`bridge.runs.provenance.provenance`; made here if not given.
    protect : iterable of path
        Files and folders that wiping must not take away, besides those that the options
        ``from_dir``, ``load_weights``, ``weights_file`` and ``config`` name.
    program : sequence of str
        How the program is started.

    Attributes
    ----------
    folder : Path
    config : dict
        What config.json holds.
    run_id : str
    """

    def __init__(
        self,
        out_dir: str | Path,
        *,
        mode: str,
        config: Mapping[str, Any],
        argv: Sequence[str],
        wipe: bool = False,
        provenance_block: Mapping[str, Any] | None = None,
        protect: Iterable[str | Path] = (),
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.folder = Path(out_dir).absolute()  # a compiled Brian2 run changes the directory
        block = dict(provenance() if provenance_block is None else provenance_block)
        self.config: dict[str, Any] = {"mode": mode, "provenance": block, **config}
        self.run_id = str(block["run_id"])
        self._command = [*program, *argv]
        self._wipe = wipe
        self._protect = [*protect, *(config[key] for key in _INPUT_KEYS if config.get(key))]
        self._log_file: logging.Handler | None = None
        self._level_before: int | None = None
        self._marked_by: int | None = None

    def __enter__(self) -> RunFolder:
        """Check, wipe, and write what describes the run.

        Raises
        ------
        OSError
            If the folder cannot be written.
        ValueError
            If another process works there, or the folder may not be wiped or overwritten.
        """
        crashed = self._check()
        if self._wipe:
            wipe_folder(self.folder, protect=self._protect)
        try:
            with one_line(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                for leftover in self.folder.glob(f"{PARTIAL_PREFIX}*"):
                    leftover.unlink()
                self._write_config()
                write_text(self.folder / "run.sh", self._script(), executable=True)
                self._open_log()
                self._mark()
        except BaseException:
            self._close()
            raise
        if crashed is not None:
            LOG.warning(
                "%s: the run before (%s, started %s) did not end properly; its files may be "
                "incomplete",
                self.folder,
                crashed.run_id or "unknown",
                crashed.started_at or "unknown",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the marker away; a failure is noted in output.log first."""
        done = isinstance(error, SystemExit) and error.code in (None, 0)
        if error is not None and not done:
            self._log_failure(error)
        self._close()

    def path(self, name: str) -> Path:
        """Return the path of a file in the folder; its parents are made.

        Raises
        ------
        ValueError
            If the name leads out of the folder.
        """
        relative = Path(name)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise ValueError(f"{name!r} must be the name of a file inside the run folder")
        path = self.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, writer: Callable[[Path], object]) -> Path:
        """Write a file whole or not at all; `writer` gets a temporary path of the same suffix."""
        path = self.path(name)
        write_atomically(path, writer)
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file whole or not at all."""
        path = self.path(name)
        write_text(path, text)
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write strict JSON whole or not at all: indented, order kept, NaN as null."""
        return self.write_text(name, to_json_text(value))

    def update_config(self, extra: Mapping[str, Any]) -> None:
        """Add what the run found out to config.json; a ``provenance`` is added to the block.

        Raises
        ------
        ValueError
            If it would change ``mode``.
        """
        if extra.get("mode", self.config["mode"]) != self.config["mode"]:
            raise ValueError(f"mode is {self.config['mode']!r} and stays so")
        block = {**self.config["provenance"], **extra.get("provenance", {})}
        self.config = {**self.config, **extra, "provenance": block}
        self._write_config()

    def _check(self) -> Marker | None:
        """Return the marker of a crashed run; refuse a folder that is not ours to write."""
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is a file; choose another --out-dir")
        config = self.folder / "config.json"
        if config.exists() and run_of(config) is None:
            raise ValueError(f"{config} was not written by a run; choose another --out-dir")
        marker = read_marker(self.folder) if self.folder.is_dir() else None
        if marker is not None and marker.alive:
            refuse_live(self.folder, marker)
        return marker

    def _write_config(self) -> None:
        write_text(self.folder / "config.json", to_json_text(self.config))

    def _script(self) -> str:
        lines = ["#!/bin/bash", f"cd -- {shlex.quote(os.getcwd())} || exit 1"]
        # A checkout need not be installed: it may have been found as the working folder.
        own = None if project() is None else str(HOME)
        modules = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), own)))
        if modules:
            lines.append(f"export PYTHONPATH={shlex.quote(modules)}")
        return "\n".join([*lines, shlex.join(self._command)]) + "\n"

    def _open_log(self) -> None:
        self._log_file = open_log_file(self.folder / "output.log")
        if LOG.getEffectiveLevel() > logging.INFO:
            self._level_before = LOG.level
            LOG.setLevel(logging.INFO)

    def _mark(self) -> None:
        block = self.config["provenance"]
        try:
            write_marker(
                self.folder,
                started_at=block.get("started_at"),
                run_id=self.run_id,
                command=shlex.join(self._command),
            )
        except FileExistsError:
            marker = read_marker(self.folder)
            if marker is not None and marker.alive:  # somebody came in since the check
                refuse_live(self.folder, marker)
            (self.folder / MARKER).unlink(missing_ok=True)
            self._mark()
            return
        self._marked_by = os.getpid()
        atexit.register(self._close)

    def _log_failure(self, error: BaseException) -> None:
        """Note a failure in the file only: the terminal gets it from the command line."""
        assert self._log_file is not None
        user_error = isinstance(error, ValueError | TypeError | OSError | KeyboardInterrupt)
        reason = " ".join(str(error).split())
        record = LOG.makeRecord(
            LOG.name,
            logging.ERROR,
            __file__,
            0,
            "the run stopped: %s",
            (f"{type(error).__name__}: {reason}" if reason else type(error).__name__,),
            None if user_error else (type(error), error, error.__traceback__),
        )
        self._log_file.handle(record)

    def _close(self) -> None:
        """Take handler and marker away; can be called again."""
        if self._log_file is not None:
            close_log_file(self._log_file)
            self._log_file = None
        if self._level_before is not None:
            LOG.setLevel(self._level_before)
            self._level_before = None
        if self._marked_by == os.getpid():  # not the copy of this object in a forked worker
            self._marked_by = None
            atexit.unregister(self._close)
            (self.folder / MARKER).unlink(missing_ok=True)
