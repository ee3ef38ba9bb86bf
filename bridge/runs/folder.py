"""The run folder: what every command leaves behind, whole, with the way to do it again.

On entry, in this order: ``.running``, the question whose folder it is
(:mod:`bridge.runs.ownership`), optional wipe (:mod:`bridge.runs.wipe`), ``config.json``,
``run.sh``, ``output.log``. Nothing is written or deleted before everything that can be refused has
been. The marker goes when the run ends, and config.json says how it ended; a marker that stays
tells of a crash.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
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
from bridge.runs.complaint import is_bug
from bridge.runs.console import LOG, close_log_file, open_log_file
from bridge.runs.inputs import input_contents, input_paths
from bridge.runs.marker import MARKER, Marker, claim, refuse_live
from bridge.runs.ownership import (
    RECORDS,
    Manifest,
    Repeat,
    admit,
    entries,
    occupant,
    read_config,
    settings_key,
)
from bridge.runs.provenance import ENVIRONMENT, provenance
from bridge.runs.wipe import bring_back, drop, one_line, set_aside, settle

PROGRAM = (sys.executable, "-P", "-m", "cli")
"""How the program is started; its arguments follow. A cli.py in the working folder is not ours."""


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
        Empty the folder first; only of what runs of this program wrote.
    repeat : {"same", "resume", "never"}
        What may be done where the same command has left results: write them again if the settings
        are the same; go on; nothing. Another command, or other settings, are always refused.
    resume_flag : str, optional
        What goes on with a run of this command, for the message.
    flag : str
        What names the folder, for messages.
    latest : path, optional
        A link that is to lead to this folder from now on.
    provenance_block : mapping, optional
        From :func:`bridge.runs.provenance.provenance`; made here if not given.
    inputs : mapping, optional
        A hash of what the run reads, by option (:func:`bridge.runs.inputs.input_contents`).
    protect : iterable of path
        Files and folders that wiping must not take away, besides those that options name.
    described : sequence of str
        Starts of the names of files that describe the run: no results.
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
        repeat: Repeat,
        resume_flag: str | None = None,
        flag: str = "--out-dir",
        latest: str | Path | None = None,
        provenance_block: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
        protect: Iterable[str | Path] = (),
        described: Sequence[str] = (),
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.folder = Path(out_dir).absolute()  # a compiled Brian2 run changes the directory
        block = dict(provenance() if provenance_block is None else provenance_block)
        block["inputs"] = input_contents(config) if inputs is None else dict(inputs)
        block["settings_key"] = settings_key(config, block["inputs"])
        self.config: dict[str, Any] = {"mode": mode, "provenance": block, **config}
        self.run_id = str(block["run_id"])
        self._command = [*program, *argv]
        self._wipe, self._repeat = wipe, repeat
        self._resume_flag, self._flag = resume_flag, flag
        self._latest = None if latest is None else Path(latest).absolute()
        self._protect = [*protect, *input_paths(config)]
        self._described = tuple(described)
        self._files = Manifest()
        self._claimed: set[str] = set()
        self._strangers: frozenset[str] = frozenset()
        self._aside = False
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
        made = self._make_folder()
        try:
            with one_line(self.folder, self._flag):
                crashed = self._mark()
                goes_on = self._let_in()
                for leftover in self.folder.glob(f"{PARTIAL_PREFIX}*"):
                    leftover.unlink()
                self._describe(goes_on)
                self._open_log()
                self._link()
        except BaseException:
            if self._aside:
                bring_back(self.folder)
            self._close()
            if made:
                with contextlib.suppress(OSError):  # as it was: it was not there
                    self.folder.rmdir()
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
        """Say in config.json and output.log how the run ended; take the marker away."""
        ended: dict[str, Any] = {"state": "done"}
        if error is not None and not (isinstance(error, SystemExit) and error.code in (None, 0)):
            self._log_failure(error)
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            ended = {"state": "interrupted" if stopped else "failed", "reason": _reason(error)}
        ended["at"] = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            known = Manifest(self._files.foreign, frozenset(self._claimed))
            there = entries(self.folder, without=known.foreign)
            written = {name for name in there if known.owns(name)} - RECORDS - self._strangers
            written -= {name for name in written if Path(name).name.startswith(PARTIAL_PREFIX)}
            results = {name for name in written if not name.startswith(self._described)}
            if self._aside and ended["state"] != "done" and not results:
                self._close_log()
                bring_back(self.folder, in_place_of=written)
                return
            self._files = Manifest(known.foreign, frozenset(written))
            self._write_config(ended=ended)
            drop(self.folder)
        except OSError:
            if error is None:
                raise
        finally:
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
        self._claim(str(relative))
        return path

    def folder_of_files(self, name: str) -> Path:
        """Return a folder inside the run folder that holds nothing but files of this run."""
        path = self.path(f"{name}/x").parent
        self._claim(f"{name}/")
        return path

    def _claim(self, name: str) -> None:
        """Note that a file is the run's own, even if the run is killed.

        While the run lasts config.json names the folder of a file and not each file in it.
        """
        self._claimed.add(name)
        top = Path(name).parts[0]
        if top != name and top not in self._files.foreign:
            name = f"{top}/"
        if self._marked_by == os.getpid() and not self._files.owns(name):
            self._files = Manifest(self._files.foreign, self._files.written | {name})
            self._write_config()

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

    def _make_folder(self) -> bool:
        """Make the folder; return whether it was not there before."""
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is a file; choose another {self._flag}")
        if self.folder.is_dir():
            return False
        with one_line(self.folder, self._flag):
            self.folder.mkdir(parents=True, exist_ok=True)
        return True

    def _let_in(self) -> bool:
        """Refuse a folder that is another's; wipe it where that is asked for.

        Returns whether the run goes on with what an earlier one began.
        """
        config = self.folder / "config.json"
        if config.exists() and read_config(self.folder) is None:
            raise ValueError(f"{config} was not written by a run; choose another {self._flag}")
        settle(self.folder)
        if self._wipe:
            set_aside(self.folder, protect=self._protect)
            self._aside = True
        admit(
            self.folder,
            mode=self.config["mode"],
            key=self.config["provenance"]["settings_key"],
            repeat=self._repeat,
            flag=self._flag,
            resume_flag=self._resume_flag,
        )
        there = occupant(self.folder)
        if there is None:
            there_before = {path.name for path in self.folder.iterdir()} - RECORDS
            self._files = Manifest(foreign=frozenset(there_before))
            return False
        self._files = Manifest.of(read_config(self.folder))
        self._claimed = set(self._files.written)
        held = entries(self.folder, without=self._files.foreign)
        self._strangers = frozenset(name for name in held if not self._files.owns(name))
        return (
            bool(there.results)
            and there.mode == self.config["mode"]
            and (self._repeat == "resume" or there.state != "done")
        )

    def _describe(self, goes_on: bool) -> None:
        """Write config.json and run.sh; a run that goes on keeps those of the first start."""
        if goes_on:
            held = read_config(self.folder) or {}
            before = held.get("provenance", {})
            now = {
                "started_at": self.config["provenance"].get("started_at"),
                "run_id": self.run_id,
                "command": shlex.join(self._command),
            }
            resumed = [*before.get("resumed", ()), now]
            self.config["provenance"] = {**self.config["provenance"], "resumed": resumed}
            # Where nothing is left to be run, the results are of the start before.
            self.config |= {key: held[key] for key in ("execution",) if key in held}
            if "device" in before:
                self.config["provenance"].setdefault("device", before["device"])
        self._write_config(ended={"state": "running"})
        script = self.folder / "run.sh"
        if not (goes_on and script.is_file()):
            write_text(script, self._script(), executable=True)

    def _write_config(self, ended: Mapping[str, Any] | None = None) -> None:
        block = {**self.config["provenance"], "files": self._files.to_json()}
        if ended is not None:
            block["ended"] = dict(ended)
        self.config = {**self.config, "provenance": block}
        write_text(self.folder / "config.json", to_json_text(self.config))

    def _script(self) -> str:
        lines = ["#!/bin/bash", f"cd -- {shlex.quote(os.getcwd())} || exit 1"]
        for name in ENVIRONMENT:
            if os.environ.get(name):
                lines.append(f"export {name}={shlex.quote(os.environ[name])}")
        # A checkout need not be installed: it may have been found as the working folder.
        modules = os.environ.get("PYTHONPATH", "")
        if project() is not None and str(HOME) not in modules.split(os.pathsep):
            modules = os.pathsep.join(filter(None, (modules, str(HOME))))
        if modules:
            lines.append(f"export PYTHONPATH={shlex.quote(modules)}")
        return "\n".join([*lines, shlex.join(self._command)]) + "\n"

    def _link(self) -> None:
        """Let the link to the latest run lead here, where links can be made."""
        if self._latest is None or (self._latest.exists() and not self._latest.is_symlink()):
            return
        partial = self._latest.with_name(f"{PARTIAL_PREFIX}{os.getpid()}-{self._latest.name}")
        with contextlib.suppress(OSError):
            partial.symlink_to(os.path.relpath(self.folder, self._latest.parent))
            os.replace(partial, self._latest)

    def _open_log(self) -> None:
        self._log_file = open_log_file(self.folder / "output.log")
        if LOG.getEffectiveLevel() > logging.INFO:
            self._level_before = LOG.level
            LOG.setLevel(logging.INFO)

    def _mark(self) -> Marker | None:
        """Take the folder for this process; return the marker of a crashed run.

        Raises
        ------
        ValueError
            If another process is at work there.
        """
        block = self.config["provenance"]
        found = claim(
            self.folder, started_at=block.get("started_at"), run_id=self.run_id,
            command=shlex.join(self._command),
        )  # fmt: skip
        if found is not None and found.alive:
            refuse_live(self.folder, found, self._flag)
        self._marked_by = os.getpid()
        atexit.register(self._close)
        return found

    def _log_failure(self, error: BaseException) -> None:
        """Note a failure in the file only: the terminal gets it from the command line."""
        if self._log_file is None:
            return
        user_error = isinstance(error, ValueError | TypeError | OSError | KeyboardInterrupt)
        user_error = user_error and not is_bug(error)
        record = LOG.makeRecord(
            LOG.name,
            logging.ERROR,
            __file__,
            0,
            "the run stopped: %s",
            (_reason(error),),
            None if user_error else (type(error), error, error.__traceback__),
        )
        self._log_file.handle(record)

    def _close_log(self) -> None:
        if self._log_file is not None:
            close_log_file(self._log_file)
            self._log_file = None

    def _close(self) -> None:
        """Take handler and marker away; can be called again."""
        self._close_log()
        if self._level_before is not None:
            LOG.setLevel(self._level_before)
            self._level_before = None
        if self._marked_by == os.getpid():  # not the copy of this object in a forked worker
            self._marked_by = None
            atexit.unregister(self._close)
            (self.folder / MARKER).unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
