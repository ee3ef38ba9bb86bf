"""Wiping: it takes what a run wrote, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.runs import groups  # noqa: F401  # whose path options are not to be wiped away
from bridge.runs.folder import RunFolder
from bridge.runs.wipe import wipe_folder

ROOT = Path(__file__).resolve().parents[2]
BLOCK = {"tool": "pingbridge", "run_id": "r-20260102-030405", "started_at": "2026-01-02T03:04:05"}


def open_run(folder: Path, **settings) -> RunFolder:
    settings = {"mode": "sim", "config": {"seed": 3}, "argv": ["sim"], "repeat": "same", **settings}
    return RunFolder(folder, provenance_block=BLOCK, **settings)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


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
        assert names(folder) == {"config.json", "run.sh", "output.log", ".running"}
    assert (treasure / "gold").exists()
    assert "frames" not in names(folder)


def test_wiping_takes_config_json_last(tmp_path, monkeypatch):
    folder = old_run(tmp_path / "run")
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(OSError(16, "busy")))
    with pytest.raises(OSError, match=r"cannot be written \(busy\)"):
        wipe_folder(folder)
    assert "config.json" in names(folder)
    monkeypatch.undo()
    wipe_folder(folder)
    assert names(folder) == set()


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
        wipe_folder(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_wiping_where_one_stands_or_lives_is_refused(tmp_path, monkeypatch):
    folder = old_run(tmp_path / "run")
    (folder / "inside").mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="holds the working directory"):
        wipe_folder(folder)
    monkeypatch.chdir(folder / "inside")
    with pytest.raises(ValueError, match="holds the working directory"):
        wipe_folder(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(folder / "inside"))
    with pytest.raises(ValueError, match="holds the home directory"):
        wipe_folder(folder)
    with pytest.raises(ValueError, match="--wipe-dir"):
        wipe_folder(Path("/"))
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
            wipe_folder(outer)
    finally:
        other.kill()
        other.communicate()
    assert (outer / "frames" / "f1.png").exists()
    wipe_folder(outer)
    assert names(outer) == set()


@pytest.mark.parametrize("when", ["before", "between", "inside a folder", "in a killed run"])
def test_what_no_run_wrote_is_not_wiped(when, tmp_path):
    """Not what lay there before the first run, nor what was put there since."""
    folder = tmp_path / "run"
    folder.mkdir()
    mine = folder / ("notes/chapter1.tex" if when == "inside a folder" else "chapter1.tex")
    mine.parent.mkdir(exist_ok=True)
    if when in ("before", "inside a folder"):
        mine.write_text("ten years")
    old_run(folder)
    if when == "in a killed run":
        config = folder / "config.json"
        config.write_text(config.read_text().replace('"done"', '"running"'))
    if when in ("between", "in a killed run"):
        mine.write_text("ten years")
    before = sorted(folder.rglob("*"))
    with (
        pytest.raises(ValueError, match=r"(chapter1\.tex|notes), which no run wrote; nothing was"),
        open_run(folder, wipe=True),
    ):
        pass
    assert sorted(folder.rglob("*")) == before
