"""What the tests of faults share: a finished run of every command, made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import Command, make_inputs, typed
from filelock import FileLock


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """Return a folder that all workers of this test run share, with what the commands read."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "faults"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            make_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def first_run(shared) -> Callable[[Command], Path]:
    """Return a function: the folder of a finished run of a command. Nobody writes there."""

    def made(command: Command) -> Path:
        folder = shared / "runs" / command.name.replace(" ", "_") / "run"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                before = Path.cwd()
                os.chdir(shared)
                try:
                    said = typed(command.argv(folder))
                finally:
                    os.chdir(before)
                assert said.code == 0, said.err
        return folder

    (shared / "runs").mkdir(exist_ok=True)
    return made


@pytest.fixture
def place(tmp_path, shared, monkeypatch) -> Path:
    """Return a working folder of one's own that holds what the commands read."""
    shutil.copytree(
        shared, tmp_path, dirs_exist_ok=True, ignore=lambda folder, names: {"runs"} & set(names)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def finished(place, first_run) -> Callable[..., Path]:
    """Return a function: a copy of a finished run of a command in the own folder."""

    def copied(command: Command, name: str = "run") -> Path:
        return Path(shutil.copytree(first_run(command), place / name, symlinks=True))

    return copied
