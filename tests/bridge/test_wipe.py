"""Wiping: it takes what a run wrote, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.runs import groups  # noqa: F401  # whose path options are not to be wiped away
from bridge.runs.folder import RunFolder
from bridge.runs.wipe import set_aside

ROOT = Path(__file__).resolve().parents[2]
BLOCK = {"tool": "pingbridge", "run_id": "r-20260102-030405", "started_at": "2026-01-02T03:04:05"}


def open_run(folder: Path, **settings) -> RunFolder:
    settings = {"mode": "sim", "config": {"seed": 3}, "argv": ["sim"], "repeat": "same", **settings}
    return RunFolder(folder, provenance_block=BLOCK, **settings)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
        if path.is_file()
    }  # fmt: skip


def old_run(folder: Path) -> Path:
    with open_run(folder) as run:
        run.write_text("frames/f1.png", "x")
    return folder


def test_wiping_takes_what_a_run_wrote_and_follows_no_links(tmp_path):
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").touch()
    folder = tmp_path / "run"
    with open_run(folder) as run:
        run.write_text("frames/f1.png", "x")
        run.path("link").symlink_to(treasure)
    with open_run(folder, wipe=True):
        assert names(folder) == {"config.json", "run.sh", "output.log", ".running", ".wiped"}
    assert names(folder) == {"config.json", "run.sh", "output.log"}
    assert (treasure / "gold").exists()
    assert "frames" not in names(folder)


def test_what_is_wiped_goes_with_the_first_result(tmp_path):
    """Until then the earlier run is there; one that fails, or is refused late, gives it back."""
    folder = old_run(tmp_path / "run")
    (folder / "sub").mkdir()
    old_run(folder / "sub")
    before = contents(folder)
    for error in (ValueError("late"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)):  # noqa: PT012, SIM117  # the run is the statement
            with open_run(
                folder, wipe=True, config={"seed": 4}, described=["metadata/seeds"]
            ) as run:
                assert "frames" not in names(folder)
                run.write_text("metadata/seeds.txt", "4")
                run.folder_of_files("unfinished")
                raise error
        assert contents(folder) == before
        assert "unfinished" not in names(folder)
    with pytest.raises(RuntimeError):  # noqa: PT012, SIM117  # the same
        with open_run(folder, wipe=True) as run:
            run.write_text("scan.csv", "x")
            raise RuntimeError("half way")
    assert names(folder) == {"config.json", "run.sh", "output.log", "scan.csv"}


def test_a_run_without_results_of_its_own_wipes_too(tmp_path):
    folder = old_run(tmp_path / "run")
    with open_run(folder, wipe=True):
        pass
    assert names(folder) == {"config.json", "run.sh", "output.log"}


KILLED = """
import os, sys
from pathlib import Path
from bridge.runs import wipe
from bridge.runs.folder import RunFolder
folder, where = Path(sys.argv[1]), sys.argv[2]
whole, left = os.rename, int(where) if where.isdigit() else 0

def rename(a, b):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    whole(a, b)

os.rename = rename
with RunFolder(folder, mode="sim", config={"seed": 4}, argv=[], wipe=True, repeat="same") as run:
    if where == "with a result":
        run.write_text("scan.csv", "new")
    if where.isalpha() or where == "with a result":
        os._exit(9)
    raise ValueError("refused")
"""


@pytest.mark.parametrize("where", ["1", "2", "4", "5", "7", "begun", "with a result"])
def test_a_wipe_that_is_killed_loses_one_run_at_most(where, tmp_path):
    """Killed while files move away or back, before the first result, or after it."""
    folder = old_run(tmp_path / "run")
    before = contents(folder)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), where], cwd=ROOT, capture_output=True
    )
    assert done.returncode == 9, done.stderr
    new = where == "with a result"
    with open_run(folder, config={"seed": 4 if new else 3}):  # who has the settings may come in
        assert ".wiped" not in names(folder)
    after = contents(folder)
    if new:
        assert set(after) == {"config.json", "run.sh", "output.log", "scan.csv"}
    else:
        assert set(after) == set(before)
        assert after["frames/f1.png"] == before["frames/f1.png"]


@pytest.mark.parametrize("exists", [True, False])
def test_wiping_nothing_is_fine(exists, tmp_path):
    folder = tmp_path / "run"
    if exists:
        folder.mkdir()
    with open_run(folder, wipe=True):
        pass


FOREIGN = [
    None,
    '{"name": "web app"}',
    '{"mode": "train", "run_id": "r-20260102-030405"}',  # another program's run
    '{"provenance": {"tool": "pingbridge", "run_id": "mine"}}',
    '{"provenance": {"tool": "pingbridge"}}',
    '{"provenance": "pingbridge"}',
]


@pytest.mark.parametrize("config", FOREIGN)
def test_wiping_a_folder_that_no_run_wrote_is_refused(config, tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "data").touch()
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="not written by a run"), open_run(tmp_path, wipe=True):
        pass
    with pytest.raises(ValueError, match=r"--wipe-dir: .* was not written by a run"):
        set_aside(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_wiping_where_one_stands_or_lives_is_refused(tmp_path, monkeypatch):
    folder = old_run(tmp_path / "run")
    (folder / "inside").mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="holds the working directory"):
        set_aside(folder)
    monkeypatch.chdir(folder / "inside")
    with pytest.raises(ValueError, match="holds the working directory"):
        set_aside(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(folder / "inside"))
    with pytest.raises(ValueError, match="holds the home directory"):
        set_aside(folder)
    with pytest.raises(ValueError, match="--wipe-dir"):
        set_aside(Path("/"))
    assert (folder / "run.sh").exists()


def test_wiping_through_a_link_is_refused(tmp_path):
    folder = old_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ValueError, match="symbolic link"), open_run(tmp_path / "link", wipe=True):
        pass
    assert (folder / "frames" / "f1.png").exists()


@pytest.mark.parametrize("how", ["from_dir", "load_weights", "config", "protect"])
def test_wiping_away_what_the_run_reads_is_refused(how, tmp_path):
    folder = old_run(tmp_path / "run")
    read = folder if how == "from_dir" else folder / "frames" / "f1.png"
    settings = {"protect": [read]} if how == "protect" else {"config": {how: str(read)}}
    with (
        pytest.raises(ValueError, match="which the run reads; nothing was deleted"),
        open_run(folder, wipe=True, **settings),
    ):
        pass
    assert (folder / "frames" / "f1.png").exists()


def test_wiping_around_a_live_run_is_refused(tmp_path):
    outer = old_run(tmp_path / "outer")
    code = (
        "import sys, time; from bridge.runs.folder import RunFolder\n"
        "with RunFolder(sys.argv[1], mode='infer', config={}, argv=[], repeat='same') as run:\n"
        "    print(flush=True)\n"
        "    time.sleep(1e6)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(outer / "infer")], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        other.stdout.readline()
        with pytest.raises(ValueError, match=rf"infer: process {other.pid} is working there"):
            set_aside(outer)
    finally:
        other.kill()
        other.communicate()
    assert (outer / "frames" / "f1.png").exists()
    set_aside(outer)
    assert names(outer) == {".wiped"}


@pytest.mark.parametrize(
    "when", ["before", "between", "inside a folder", "in a killed run", "beside the frames",
             "during the run"],
)  # fmt: skip
def test_what_no_run_wrote_is_not_wiped(when, tmp_path):
    """Not what lay there before the first run, nor what was put there since."""
    folder = tmp_path / "run"
    folder.mkdir()
    places = {"inside a folder": "notes", "beside the frames": "frames"}
    mine = folder / places.get(when, ".") / "chapter1.tex"
    if when in ("before", "inside a folder"):
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("ten years")
    with open_run(folder) as run:
        run.write_text("frames/f1.png", "x")
        if when == "during the run":
            mine.write_text("ten years")
    if when == "in a killed run":
        config = folder / "config.json"
        config.write_text(config.read_text().replace('"done"', '"running"'))
    if when in ("between", "in a killed run", "beside the frames"):
        mine.write_text("ten years")
    if when == "beside the frames":  # a second run of the kind does not make it its own
        with open_run(folder) as run:
            run.folder_of_files("frames")
    before = sorted(folder.rglob("*"))
    with (
        pytest.raises(ValueError, match=r"(chapter1\.tex|notes), which no run wrote; nothing was"),
        open_run(folder, wipe=True),
    ):
        pass
    assert sorted(folder.rglob("*")) == before
