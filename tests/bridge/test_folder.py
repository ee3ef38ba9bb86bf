"""The run folder: what it holds, what survives a crash, and what it refuses to touch."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shadows import make_shadows

from bridge.runs.console import LOG
from bridge.runs.folder import RunFolder
from bridge.runs.marker import read_marker

ROOT = Path(__file__).resolve().parents[2]
BLOCK = {"tool": "pingbridge", "run_id": "r-20260102-030405", "started_at": "2026-01-02T03:04:05"}


@pytest.fixture(autouse=True)
def plain_logger():
    handlers, level = list(LOG.handlers), LOG.level
    yield
    assert [type(h) for h in LOG.handlers if isinstance(h, logging.FileHandler)] == []
    LOG.handlers[:] = handlers
    LOG.setLevel(level)


def open_run(folder: Path, **settings) -> RunFolder:
    settings = {"mode": "sim", "config": {"seed": 3}, "argv": ["sim"], "repeat": "same", **settings}
    return RunFolder(folder, provenance_block=BLOCK, **settings)


def loaded(path: Path):
    return json.loads(path.read_text())


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_run_leaves_config_script_and_log(tmp_path):
    folder = tmp_path / "a" / "b"
    with open_run(folder) as run:
        assert names(folder) == {"config.json", "run.sh", "output.log", ".running"}
        LOG.info("hello")
        run.update_config({"n_exc": 8, "provenance": {"device": "cpu"}})
    assert names(folder) == {"config.json", "run.sh", "output.log"}
    config = loaded(folder / "config.json")
    block = config["provenance"]
    assert config == {"mode": "sim", "provenance": block, "seed": 3, "n_exc": 8}
    assert {**block, **BLOCK, "device": "cpu"} == block
    assert block["ended"]["state"] == "done"
    assert block["files"] == {"foreign": [], "written": []}
    assert list(config)[:2] == ["mode", "provenance"]
    assert (folder / "output.log").read_text().endswith(" INFO hello\n")


def test_the_files_come_in_the_order_of_the_contract(tmp_path, monkeypatch):
    written = []
    replace, link = os.replace, os.link

    def note(change):
        def noting(a, b):
            written.append(Path(b).name)
            return change(a, b)

        return noting

    monkeypatch.setattr(os, "replace", note(replace))
    monkeypatch.setattr(os, "link", note(link))
    with open_run(tmp_path):
        assert written == [".running", "config.json", "run.sh"]
    assert written[3:] == ["config.json"]  # how it ended


def test_the_marker_says_who_is_working(tmp_path):
    with open_run(tmp_path, argv=["sim", "--note", "a b"]):
        marker = loaded(tmp_path / ".running")
        assert marker["pid"] == os.getpid()
        assert marker["run_id"] == BLOCK["run_id"]
        assert marker["started_at"] == BLOCK["started_at"]
        assert marker["command"].endswith("-m cli sim --note 'a b'")
    assert not (tmp_path / ".running").exists()


def test_an_exception_takes_the_marker_away_and_is_in_the_log(tmp_path, capsys):
    def fail(error: BaseException) -> str:
        with pytest.raises(type(error)), open_run(tmp_path):
            raise error
        assert not (tmp_path / ".running").exists()
        return (tmp_path / "output.log").read_text()

    assert "ERROR the run stopped: ValueError: too\n" not in fail(ValueError("too\nlong"))
    log = fail(KeyboardInterrupt())
    assert "ERROR the run stopped: ValueError: too long\n" in log
    assert "ERROR the run stopped: KeyboardInterrupt\n" in log
    assert "Traceback" not in log
    log = fail(ZeroDivisionError("a bug of ours"))
    assert "Traceback" in log
    assert "raise error\nZeroDivisionError: a bug of ours" in log
    assert fail(SystemExit(0)) == log
    assert "a bug of ours" not in "".join(capsys.readouterr())  # the command line says it


def test_a_process_that_exits_inside_leaves_no_marker(tmp_path):
    code = (
        "import sys; from bridge.runs.folder import RunFolder\n"
        "run = RunFolder(sys.argv[1], mode='sim', config={}, argv=[], repeat='same').__enter__()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "r")], cwd=ROOT, check=True)
    assert "output.log" in names(tmp_path / "r")
    assert not (tmp_path / "r" / ".running").exists()


WORKER = """
import sys, time
from bridge.runs.folder import RunFolder

def writer(path):
    path.write_text("half")
    print("ready", flush=True)
    time.sleep(1e9)

with RunFolder(sys.argv[1], mode="sim", config={"seed": 3}, argv=["sim"], repeat="same") as run:
    run.write_text("metrics.json", "whole")
    run.write("metrics.json", writer)
"""


@pytest.fixture
def working_process(tmp_path):
    """A real process in the middle of writing a file in tmp_path / "run"."""
    command = [sys.executable, "-c", WORKER, str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_kill_9_leaves_the_marker_and_whole_files(working_process, tmp_path):
    working_process.send_signal(signal.SIGKILL)
    working_process.wait()
    folder = tmp_path / "run"
    assert loaded(folder / ".running")["pid"] == working_process.pid
    assert (folder / "metrics.json").read_text() == "whole"
    assert loaded(folder / "config.json")["seed"] == 3
    assert any(name.startswith(".partial-") for name in names(folder))
    with open_run(folder):
        pass
    log = (folder / "output.log").read_text()
    assert log.count("did not end properly; its files may be incomplete") == 1
    assert names(folder) == {"config.json", "run.sh", "output.log", "metrics.json"}
    with open_run(folder):
        pass
    assert (folder / "output.log").read_text() == log


def test_a_killed_process_that_nobody_has_waited_for_is_dead(working_process, tmp_path):
    working_process.send_signal(signal.SIGKILL)
    while read_marker(tmp_path / "run").alive:  # for ever, if it is taken for alive
        time.sleep(0.01)


@pytest.mark.parametrize("wipe", [False, True])
def test_a_folder_in_which_somebody_works_is_refused(wipe, working_process, tmp_path):
    folder = tmp_path / "run"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with (
        pytest.raises(ValueError, match=f"process {working_process.pid} is working there"),
        open_run(folder, wipe=wipe),
    ):
        pass
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_same_folder_twice_in_one_process_is_refused(tmp_path):
    with open_run(tmp_path):
        with pytest.raises(ValueError, match=f"process {os.getpid()} is"), open_run(tmp_path):
            pass
        assert (tmp_path / ".running").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"process_start": "another boot 123"},  # the number was given to another process since
        {"pid": 2**22 + 1},  # above what Linux gives
        {"pid": "x"},
        {"pid": 10**30},
    ],
)
def test_a_marker_of_a_dead_process_is_a_crash(change, tmp_path):
    with open_run(tmp_path):
        content = loaded(tmp_path / ".running")
    (tmp_path / ".running").write_text(json.dumps({**content, **change}))
    with open_run(tmp_path):
        assert "did not end properly" in (tmp_path / "output.log").read_text()


@pytest.mark.parametrize("content", ["", "[]", '{"pid": 3'])
def test_a_marker_that_cannot_be_read_is_a_crash(content, tmp_path):
    (tmp_path / ".running").write_text(content)
    with open_run(tmp_path):
        assert "(unknown, started unknown)" in (tmp_path / "output.log").read_text()


def test_a_full_disk_leaves_no_marker(tmp_path, monkeypatch):
    def write(path, *given, **more):
        path.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", write)
        with pytest.raises(OSError, match="No space left"), open_run(tmp_path):
            pass
    assert names(tmp_path) == set()


def test_a_marker_of_another_machine_is_respected(tmp_path):
    with open_run(tmp_path):
        content = loaded(tmp_path / ".running")
    marker = {**content, "host": "elsewhere", "pid": 2**22 + 1}
    (tmp_path / ".running").write_text(json.dumps(marker))
    with (
        pytest.raises(ValueError, match=r"on elsewhere is working.*delete .*\.running if it is"),
        open_run(tmp_path),
    ):
        pass


def test_somebody_who_was_faster_is_respected(tmp_path, monkeypatch):
    """Whoever has the marker has the folder: the other one has not written a byte."""
    late = open_run(tmp_path / "run", argv=["late"])
    with open_run(tmp_path / "run", argv=["early"]):
        before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        with pytest.raises(ValueError, match="is working there"), late:
            pass
        assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_many_at_the_same_instant(tmp_path):
    """One wins; config.json and run.sh are the winner's, the others' are one line."""
    code = (
        "import sys, time; from bridge.runs.folder import RunFolder\n"
        "sys.stdin.read()\n"
        "with RunFolder(sys.argv[1], mode='sim', config={'seed': int(sys.argv[2])}, "
        "argv=['sim', '--seed', sys.argv[2]], repeat='same') as run:\n"
        "    print('in', flush=True)\n"
        "    time.sleep(1e6)\n"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".running").write_text("{}")  # of a run that was killed: all take it away at once
    all_of_them = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(seed)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for seed in range(4)
    ]  # fmt: skip
    try:
        for one in all_of_them:
            one.stdin.close()
        losers = [one for one in all_of_them if one.stdout.readline() != "in\n"]
        (winner,) = set(all_of_them) - set(losers)
        for one in losers:
            assert "is working there" in one.stderr.read()
        seed = str(all_of_them.index(winner))
        assert str(loaded(folder / "config.json")["seed"]) == seed
        assert f"sim --seed {seed}" in (folder / "run.sh").read_text()
        assert loaded(folder / ".running")["pid"] == winner.pid
    finally:
        for one in all_of_them:
            one.kill()
            one.wait()
            one.stdout.close()
            one.stderr.close()


def test_a_forked_worker_does_not_take_the_marker_away(tmp_path):
    code = (
        "import os, sys; from bridge.runs.folder import RunFolder\n"
        "with RunFolder(sys.argv[1], mode='sim', config={}, argv=[], repeat='same') as run:\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        sys.exit(0)  # leaves the block, and runs the hooks of exit\n"
        "    os.waitpid(pid, 0)\n"
        "    print(run.path('.running').exists())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"


def test_a_failing_writer_leaves_the_old_file_and_no_other(tmp_path):
    def failing(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("disk on fire")

    with open_run(tmp_path) as run:
        run.write_text("a.txt", "old")
        before = names(tmp_path)
        with pytest.raises(RuntimeError, match="disk on fire"):
            run.write("a.txt", failing)
        with pytest.raises(RuntimeError, match=r"a\.txt did not write the file"):
            run.write("a.txt", lambda path: None)
        assert (tmp_path / "a.txt").read_text() == "old"
        assert names(tmp_path) == before
        run.write("a.txt", lambda path: path.write_text("new"))
        assert (tmp_path / "a.txt").read_text() == "new"


def test_a_writer_sees_the_suffix_and_parents_are_made(tmp_path):
    suffixes = []
    with open_run(tmp_path) as run:
        path = run.write(
            "frames/f1.png", lambda path: (suffixes.append(path.suffix), path.touch())[1]
        )
    assert suffixes == [".png"]
    assert path == tmp_path / "frames" / "f1.png"
    assert path.is_file()


@pytest.mark.parametrize("name", ["../a.txt", "/tmp/a.txt", "x/../../a.txt", ""])
def test_names_that_lead_out_of_the_folder_are_refused(name, tmp_path):
    with open_run(tmp_path / "run") as run, pytest.raises(ValueError, match="inside the run"):
        run.write_text(name, "x")


def test_json_is_strict_and_keeps_its_order(tmp_path):
    class Array:
        def tolist(self):
            return [1.5, float("nan")]

    value = {"z": float("nan"), "a": (1, float("-inf")), 3: Path("x"), "µ": Array()}
    with open_run(tmp_path) as run:
        text = run.write_json("m.json", value).read_text(encoding="utf-8")
        with pytest.raises(TypeError, match="set"):
            run.write_json("m.json", {"a": {1}})
        assert run.path("m.json").read_text(encoding="utf-8") == text
    assert text.startswith('{\n  "z": null,\n  "a": [\n    1,\n    null\n  ],')
    assert json.loads(text) == {"z": None, "a": [1, None], "3": "x", "µ": [1.5, None]}
    assert "µ" in text


def test_the_mode_of_a_config_stays(tmp_path):
    with open_run(tmp_path) as run, pytest.raises(ValueError, match="'sim' and stays"):
        run.update_config({"mode": "train"})


def test_run_sh_runs_the_command_again(tmp_path, monkeypatch):
    place = make_shadows(tmp_path / 'it\'s a "place" $HOME')
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "cli.py").write_text(
        "import json, sys; json.dump(sys.argv[1:], open('seen.json', 'w'))\n"
    )
    (place / "json.py").touch()  # of the user's own, as the cli.py there
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", str(modules))
    argv = ["sim", "--note", "two words", "it's", 'a "b"', "$HOME `x`", "", "back\\slash", "a\nb"]
    with open_run(place / "out dir", argv=argv):
        pass
    monkeypatch.chdir("/")
    monkeypatch.delenv("PYTHONPATH")
    subprocess.run([place / "out dir" / "run.sh"], check=True)
    assert loaded(place / "seen.json") == argv
    lines = (place / "out dir" / "run.sh").read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    assert lines[1].startswith("cd -- ")


def test_run_sh_stops_where_its_directory_is_gone(tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    with open_run(tmp_path / "out", program=["touch"], argv=["made"]):
        pass
    monkeypatch.chdir(tmp_path)
    place.rmdir()
    assert subprocess.run([tmp_path / "out" / "run.sh"], capture_output=True).returncode == 1
    assert not (tmp_path / "made").exists()


def test_run_sh_keeps_the_module_path(tmp_path, monkeypatch):
    modules = tmp_path / "my modules"
    modules.mkdir()
    (modules / "cli.py").write_text("open('seen', 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", str(modules))
    monkeypatch.chdir(tmp_path)
    with open_run(tmp_path / "out"):
        pass
    monkeypatch.delenv("PYTHONPATH")
    subprocess.run([tmp_path / "out" / "run.sh"], check=True)
    assert (tmp_path / "seen").exists()


def test_run_sh_finds_a_checkout_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    # Without site-packages (-S), as where nothing is installed, and not from the working folder.
    program = [sys.executable, "-S", "-P", "-c", "import bridge.home as h; print(h.HOME)"]
    with open_run(tmp_path / "out", program=program, argv=[]):
        pass
    script = tmp_path / "out" / "run.sh"
    done = subprocess.run([script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ROOT}\n", "")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # as the script that it writes when run again
    first = script.read_text()
    with open_run(tmp_path / "again", program=program, argv=[]):
        pass
    assert (tmp_path / "again" / "run.sh").read_text() == first


def test_a_relative_folder_stays_where_it_was_when_the_directory_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with open_run(Path("run")) as run:
        os.chdir("elsewhere")
        run.write_text("a.txt", "x")
    assert names(tmp_path / "run") == {"config.json", "run.sh", "output.log", "a.txt"}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/self/run")):
        with pytest.raises(OSError, match="choose another --out-dir") as caught, open_run(path):
            pass
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Permission denied"), open_run(tmp_path):
        pass


def test_a_config_json_of_something_else_is_not_overwritten(tmp_path):
    config = tmp_path / "config.json"
    for content in ('{"name": "web app"}', "not json", "[]"):
        config.write_text(content)
        with pytest.raises(ValueError, match="was not written by a run"), open_run(tmp_path):
            pass
        assert config.read_text() == content
        assert names(tmp_path) == {"config.json"}
