"""A disk without room, a folder that is read-only, two processes at once: in every command."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from apart import begin
from faults import BY_NAME, COMMANDS, changes, contents, typed
from long_runs import LONG, faults_of, uninterrupted, whole_files

from bridge.runs.ownership import RECORDS

pytestmark = pytest.mark.faults

FIRST = [one for one in COMMANDS if not one.compiles]


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """Mount something on a folder; skip where nobody may."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def disk(folder: Path, kb: int) -> Iterator[Path]:
    """Give a small disk."""
    with mounted(folder, "-t", "tmpfs", "-o", f"size={kb}k", "tmpfs"):
        yield folder


def resize(folder: Path, kb: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kb}k", str(folder)], check=True)


def no_half_files(folder: Path) -> None:
    if folder.exists():
        whole_files(folder)


@pytest.mark.parametrize("kb", [4, 12, 24, 40, 80])
@pytest.mark.parametrize("command", FIRST, ids=str)
def test_a_full_disk(command, kb, place, first_run):
    """One line; nothing is half there; with room the same command comes to what it should."""
    whole = contents(first_run(command))
    with disk(place / "disk", kb) as small:
        folder = small / "run"
        said = typed(command.argv(folder))
        no_half_files(folder)
        if said.code == 0:
            return  # there was room
        assert said.code in (1, 2), said.err
        assert said.err.count("\n") == 1, said.err
        assert "No space left" in said.err or "room" in said.err or "full" in said.err, said.err
        resize(small, 20_000)
        results = contents(folder).keys() - RECORDS if folder.exists() else set()
        resume = command.again == "resume" and bool(results)
        said = typed(command.argv(folder, *(("--resume",) if resume else ())))
        assert said.code == 0, said.err
        assert set(contents(folder)) == set(whole)


@pytest.mark.parametrize("name", ["sim", "image", "scan", "clustered run", "meanfield solve"])
def test_a_full_disk_takes_nothing_that_was_there(name, place, finished):
    """With --wipe-dir neither, as long as the new run has nothing to show."""
    command = BY_NAME[name]
    kept = finished(command)
    with disk(place / "disk", 4000) as small:
        folder = Path(shutil.copytree(kept, small / "run"))
        before = contents(folder)
        filler = os.open(small / "filler", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(filler, bytes(1024))
        os.close(filler)
        said = typed(command.argv(folder, *command.other, "--wipe-dir"))
        assert said.code in (1, 2), said.out
        assert said.err.count("\n") == 1, said.err
        assert not changes(before, contents(folder))


@pytest.mark.parametrize("command", FIRST, ids=str)
def test_a_folder_that_is_read_only(command, place, finished):
    """One line that names the folder and the flag; what is there stays."""
    folder = finished(command)
    before = contents(folder)
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        for more in ((), command.other, ("--wipe-dir",) if command.wipes else ()):
            said = typed(command.argv(folder, *more))
            assert said.code == 2, said.out
            assert said.err.count("\n") == 1, said.err
            assert str(folder) in said.err
            assert command.folder_flag in said.err
        assert contents(folder) == before


@pytest.mark.parametrize("command", FIRST, ids=str)
def test_two_at_once(command, place):
    """One has the folder; the other is told so, or comes after it; the files are those of one."""
    folder = place / "run"
    pair = [begin(command.argv(folder, *more), cwd=place) for more in ((), command.other)]
    ended = [one.result(120) for one in pair]
    codes = sorted(one.code for one in ended)
    assert codes[0] == 0, ended
    assert codes[1] in (0, 2), ended
    for one in ended:
        if one.code == 2:
            assert one.err.count("\n") == 1, one.err
            assert "is working there" in one.err or "holds" in one.err, one.err
    if command.again == "goes on" and codes == [0, 0]:
        return  # the second one had nothing to do
    assert codes == [0, 2], ended
    config = json.loads((folder / "config.json").read_text())
    script = (folder / "run.sh").read_text().split()
    won = ended[0].code == 0
    other = list(command.other)
    has_other = any(script[k : k + len(other)] == other for k in range(len(script)))
    assert has_other != won
    assert config["provenance"]["ended"]["state"] == "done"
    assert not (folder / ".running").exists()


@pytest.mark.parametrize("name", LONG)
def test_a_folder_that_goes_in_the_middle(name, place):
    """Somebody deletes the folder of a run: one line, or the run is there as a whole."""
    job, folder = LONG[name], place / "run"
    running = begin(job.argv(folder), cwd=place, hold=(job.hold[0], 10**9))
    for _ in range(2000):
        if (folder / "run.sh").exists() or not running.process.is_alive():
            break
        running.process.join(0.01)
    shutil.rmtree(folder, ignore_errors=True)
    ended = running.result(120)
    if ended.code != 0:
        assert ended.code in (1, 2), ended
        assert "Traceback" not in ended.err
        assert [line for line in ended.err.splitlines() if line.startswith("error: ")]
    shutil.rmtree(folder, ignore_errors=True)
    said = typed(job.argv(folder))
    assert said.code == 0, said.err
    assert not faults_of(job, folder, uninterrupted(job, place))
    assert set(contents(folder)) >= RECORDS - {".running"}
