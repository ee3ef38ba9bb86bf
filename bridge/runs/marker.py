"""The ``.running`` marker: which process works in a folder, and whether it still lives."""

from __future__ import annotations

import contextlib
import os
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bridge.atomic import to_json_text
from bridge.children import start_of
from bridge.files.json_text import read_json

MARKER = ".running"


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What a ``.running`` file says; None where it says nothing readable."""

    pid: int | None = None
    host: str | None = None
    process_start: str | None = None
    run_id: str | None = None
    started_at: str | None = None

    @property
    def alive(self) -> bool:
        """Return whether the process may still be working there.

        A process of another machine cannot be looked up and counts as alive.
        """
        if self.pid is None:
            return False
        return self.elsewhere or _lives(self.pid, self.process_start)

    @property
    def elsewhere(self) -> bool:
        """Return whether the marker was written on another machine."""
        return self.host is not None and self.host != platform.node()


def read_marker(folder: Path) -> Marker | None:
    """Return the marker of a folder, or None if there is none."""
    return _parse(folder / MARKER)


def _parse(path: Path) -> Marker | None:
    try:
        raw = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # killed while writing it
        return Marker()
    if not isinstance(raw, dict):
        return Marker()

    def text(key: str) -> str | None:
        return raw[key] if isinstance(raw.get(key), str) else None

    pid = raw.get("pid")
    is_pid = isinstance(pid, int) and not isinstance(pid, bool) and pid > 0
    return Marker(
        pid=pid if is_pid else None,
        host=text("host"),
        process_start=text("process_start"),
        run_id=text("run_id"),
        started_at=text("started_at"),
    )


def claim(folder: Path, **content: Any) -> Marker | None:
    """Create the marker of this process, with `content` added.

    Returns
    -------
    Marker or None
        That of a run which was killed here, or of a live one: then nothing was created.
    """
    crashed: Marker | None = None
    while True:
        try:
            _write(folder, content)
        except FileExistsError:
            found = read_marker(folder)
            if found is None:
                continue  # it has just ended
            if found.alive:
                return found
            crashed = found
            _remove_dead(folder, found)
        else:
            return crashed


def _write(folder: Path, content: dict[str, Any]) -> None:
    pid = os.getpid()
    block = {"pid": pid, **content, "host": platform.node(), "process_start": start_of(pid)}
    # Whole from the first moment: others read it while it is written.
    partial = folder / f"{MARKER}-{pid}-{uuid.uuid4().hex[:8]}"
    try:
        partial.write_text(to_json_text(block), encoding="utf-8")  # nothing more on a full disk
        try:
            os.link(partial, folder / MARKER)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with (folder / MARKER).open("x", encoding="utf-8") as file:
                file.write(to_json_text(block))
    finally:
        partial.unlink(missing_ok=True)


def _remove_dead(folder: Path, dead: Marker) -> None:
    """Take the marker of a killed run away, unless another process has put its own there since."""
    taken = folder / f"{MARKER}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        os.rename(folder / MARKER, taken)
    except FileNotFoundError:
        return
    try:
        if _parse(taken) != dead:
            with contextlib.suppress(FileExistsError):
                os.link(taken, folder / MARKER)
    finally:
        taken.unlink()


def refuse_live(folder: Path, marker: Marker, flag: str = "--out-dir") -> NoReturn:
    """Say who works in a folder.

    Raises
    ------
    ValueError
        Always.
    """
    where = f" on {marker.host}" if marker.elsewhere else ""
    raise ValueError(
        f"{folder}: process {marker.pid}{where} is working there (run {marker.run_id}, started "
        f"{marker.started_at}); wait for it, choose another {flag}, or delete "
        f"{folder / MARKER} if it is gone"
    )


def _lives(pid: int, process_start: str | None) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    except OverflowError:
        return False
    now = start_of(pid)
    # The number may have been given to another process since: then the start time differs.
    return now != "" and (now is None or process_start is None or now == process_start)
