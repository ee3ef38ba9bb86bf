"""Whose folder it is: which run lives there, which files are its own, who else may come in.

A folder belongs to the command and the resolved settings that made it. A second command never
replaces, mixes with or deletes what another left there. The provenance in config.json keeps what
was in the folder before the first run (which is nobody's to delete) and what runs wrote.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bridge.atomic import PARTIAL_PREFIX, to_json_text
from bridge.files.json_text import read_json_object
from bridge.runs.inputs import input_contents
from bridge.runs.marker import MARKER, read_marker

RECORDS = frozenset({"config.json", "run.sh", "output.log", MARKER})
"""What every run writes about itself: no results."""

ASIDE = ".wiped"
"""Folder in a run folder for what is wiped, until the new run has results of its own."""

Repeat = Literal["same", "resume", "never"]
"""What the same command may do with a folder that holds its results: write them again where its
settings are the same, which gives the same files; go on because the user said so; nothing."""

# Options that decide where results go or how they are computed, never what they are.
_HARMLESS = frozenset({
    "out_dir", "save_dir", "wipe_dir", "resume", "jobs", "scheduler", "parallel", "max_workers",
    "executor", "config", "keep_frames", "epochs_done", "derived", "execution", "mode",
    "provenance", "modal", "modal_gpu",
    "from_dir",  # what it hands on stands in the settings and in load_weights
    "skip_done", "sim_name", "verbose", "export", "batch", "save_recording",
})  # fmt: skip


def settings_key(config: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> str:
    """Return a hash of what decides the results of a run: its settings and what it reads.

    Parameters
    ----------
    config : mapping
        The options, as config.json has them.
    inputs : mapping, optional
        A hash of what is read, by option: it counts in place of what the option says. Default
        :func:`bridge.runs.inputs.input_contents`.
    """
    from bridge.runs.content import content_hash  # numpy, which most of a start does without

    inputs = input_contents(config) if inputs is None else inputs
    kept = {k: value for k, value in config.items() if k not in _HARMLESS and k not in inputs}
    return content_hash([json.loads(to_json_text(kept)), dict(inputs)])


@dataclass(frozen=True, kw_only=True)
class Occupant:
    """The run that a folder belongs to.

    Attributes
    ----------
    mode : str
        Its command.
    key : str
        Of its settings (:func:`settings_key`).
    state : str
        ``running`` (killed, where nobody works there), ``done``, ``failed``, ``interrupted``.
    results : tuple of str
        Files beyond the records, as the folder holds them.
    started_at : str
    """

    mode: str
    key: str
    state: str
    results: tuple[str, ...]
    started_at: str

    @property
    def taken(self) -> bool:
        """Whether there is something to lose: results, or the record of a run that ended well."""
        return bool(self.results) or self.state == "done"


def occupant(folder: Path) -> Occupant | None:
    """Return the run that a folder belongs to; None for a folder without one."""
    config = read_config(folder)
    if config is None:
        return None
    block = config.get("provenance")
    block = block if isinstance(block, dict) else config  # older runs spread it
    ended = block.get("ended")
    state = ended.get("state") if isinstance(ended, dict) else None
    known = Manifest.of(config)
    found = [
        name for name in entries(folder, without=known.foreign)
        if name not in RECORDS and not Path(name).name.startswith(PARTIAL_PREFIX)
    ]  # fmt: skip
    return Occupant(
        mode=str(config.get("mode", "unknown")),
        key=str(block.get("settings_key") or settings_key(config)),
        state=str(state or "done"),
        results=tuple(found),
        started_at=str(block.get("started_at", "unknown")),
    )


def read_config(folder: Path) -> dict[str, Any] | None:
    """Return the config.json of a run folder; None where there is none that a run wrote."""
    try:
        raw = read_json_object(folder / "config.json")
    except (OSError, ValueError):
        return None
    block = raw.get("provenance", raw)
    return raw if isinstance(block, dict) and "run_id" in block else None


def entries(folder: Path, *, without: frozenset[str] = frozenset()) -> list[str]:
    """Return the files below a folder by their relative names; runs in sub-folders left out.

    Parameters
    ----------
    folder : Path
    without : set of str
        Names in the folder itself that are not looked at.
    """
    found = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here == folder:
            folders[:] = [
                name for name in folders if name not in without and not name.startswith(ASIDE)
            ]
            files = [name for name in files if name not in without]
        elif read_config(here) is not None:
            folders.clear()
            continue
        inside = here.relative_to(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        found += [str(inside / name) for name in (*files, *links)]
    return sorted(found)


def admit(
    folder: Path, *, mode: str, key: str, repeat: Repeat, flag: str = "--out-dir",
    resume_flag: str | None = None,
) -> None:  # fmt: skip
    """Refuse a run that would replace or mix with what another one left in a folder.

    Parameters
    ----------
    folder : Path
    mode, key : str
        Command and settings of the run that wants to come in.
    repeat : {"same", "resume", "never"}
    flag : str
        What names the folder.
    resume_flag : str, optional
        What goes on with a run of this command.

    Raises
    ------
    ValueError
        Naming what is there, and what to type instead.
    """
    there = occupant(folder)
    if there is None or not there.taken:
        return
    if there.mode == mode and (repeat == "resume" or (repeat == "same" and there.key == key)):
        return
    files = there.results or ("config.json", "output.log")
    shown = ", ".join(files[:3]) + (" ..." if len(files) > 3 else "")
    other = (
        f"{there.mode} run" if there.mode != mode
        else f"{mode} run with other settings" if there.key != key
        else f"{mode} run with the same settings"
    )  # fmt: skip
    ways = [f"choose another {flag}", "or clear it with --wipe-dir"]
    if resume_flag is not None and there.mode == mode:
        ways.insert(0, f"go on with {resume_flag}")
    raise ValueError(
        f"{folder} holds the results of a {other} (started {there.started_at}: {shown}); "
        f"{', '.join(ways)}"
    )


@dataclass(frozen=True)
class Manifest:
    """What a run folder knows of its files.

    Attributes
    ----------
    foreign : set of str
        Names in the folder itself that were there before the first run.
    written : set of str
        Files of runs, and folders that hold files of runs only (they end in ``/``).
    """

    foreign: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> Manifest:
        """Return what a config.json keeps; nothing where it keeps nothing readable."""
        try:
            kept = (config or {})["provenance"]["files"]
            return cls(frozenset(map(str, kept["foreign"])), frozenset(map(str, kept["written"])))
        except (TypeError, KeyError):
            return cls()

    def to_json(self) -> dict[str, list[str]]:
        """Return it as config.json keeps it."""
        return {"foreign": sorted(self.foreign), "written": sorted(self.written)}

    def owns(self, name: str) -> bool:
        """Tell whether a run wrote a file."""
        path = Path(name)
        return (
            name in RECORDS
            or name in self.written
            or path.name.startswith(PARTIAL_PREFIX)
            or any(f"{parent}/" in self.written for parent in path.parents)
        )


def refuse_file_of_a_run(path: Path, flag: str, *, own: Path | None = None) -> None:
    """Refuse to write a file that another run has written.

    Parameters
    ----------
    path : Path
    flag : str
        What names the file.
    own : Path, optional
        The run folder of the command itself.

    Raises
    ------
    ValueError
    """
    file = path.absolute()
    for folder in file.parents:
        config = read_config(folder)
        if config is None or (own is not None and folder == own.absolute()):
            continue
        if file.exists() and Manifest.of(config).owns(str(file.relative_to(folder))):
            raise ValueError(
                f"{flag} {path} is a file of the {config.get('mode', 'unknown')} run in {folder}; "
                "choose another"
            )


def foreign_files(folder: Path) -> list[str]:
    """Return the files of a run folder that no run wrote, those of runs below it included."""
    known = Manifest.of(read_config(folder))
    there = {path.name for path in folder.iterdir()}
    found = [name for name in entries(folder, without=known.foreign) if not known.owns(name)]
    found += sorted(known.foreign & there)
    for path in sorted(folder.rglob("config.json")):
        below = path.parent
        aside = str(below.relative_to(folder)).startswith(ASIDE)
        if below != folder and not aside and read_config(below) is not None:
            found += [str(below.relative_to(folder) / name) for name in foreign_files(below)]
    return sorted(set(found))


def newest_unfinished(inside: Path, *, mode: str, key: str) -> Path | None:
    """Return the latest folder of a command that the same settings began and did not finish.

    Parameters
    ----------
    inside : Path
        The folder of the runs.
    mode, key : str
        Command and settings.
    """
    if not inside.is_dir():
        return None
    begun = []
    for place in inside.iterdir():
        if place.is_symlink() or not place.is_dir():
            continue
        there = occupant(place)
        if there is None or (there.mode, there.key) != (mode, key) or there.state == "done":
            continue
        marker = read_marker(place)
        if marker is None or not marker.alive:
            begun.append((there.started_at, place))
    return max(begun)[1] if begun else None
