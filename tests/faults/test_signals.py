"""Ctrl-C, SIGTERM, SIGHUP and kill -9: one line, and nothing of the run is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import COMMANDS, make_inputs
from killed import ROOT, held, held_command

from sim_brian.engine import toolchain

PATIENCE_S = 240.0  # of a busy machine; nothing here waits longer than it must
NEVER_ENDS = ("--n-hidden", "12", "--t-ms", "4000000", "--burn-in", "0")

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at processes through /proc"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a working folder; temporary files go into its folder ``tmp``."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def compiler():
    if toolchain.missing_for("cpp"):
        pytest.skip(toolchain.missing_for("cpp"))


@pytest.fixture
def slow_compiler(compiler, place, monkeypatch):
    """Let whoever compiles wait for ever in a process of the compiler's own."""
    script = place / "g++"
    slow = "*code_objects/*|*main.cpp|*_cython_magic_*|*layer.cpp"  # not what asks it for its flags
    script.write_text(
        f"""#!/bin/sh
for word in "$@"; do
    case $word in {slow}) sleep 98765 & wait;; esac
done
exec {toolchain.cpp_compiler()} "$@"
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(place / "cache"))


def family_of(root: int) -> dict[int, str]:
    """Return the processes that come from one, with what each runs."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                if stat[0] != "Z":
                    parents[int(entry.name)] = int(stat[1])
                    names[int(entry.name)] = (entry / "cmdline").read_bytes().decode(
                        errors="replace"
                    ).replace("\0", " ")  # fmt: skip
    found = {}
    wanted = [root]
    while wanted:
        parent = wanted.pop()
        for pid, its_parent in parents.items():
            if its_parent == parent:
                found[pid] = names.get(pid, "")
                wanted.append(pid)
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.02)


@contextlib.contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Give a running command that obeys Ctrl-C, even where the tests run in the background."""
    code = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            for pid in [process.pid, *family_of(process.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def moment(process: subprocess.Popen[str], condition: Callable[[], object], what: str) -> list[int]:
    """Wait for a moment of a running command; return the processes that belong to it."""
    wait_for(lambda: condition() or process.poll() is not None, what)
    assert process.poll() is None, f"it ended before {what}: {process.stderr.read()}"
    return list(family_of(process.pid))


def is_running(process: subprocess.Popen[str], word: str) -> bool:
    return any(word in command for command in family_of(process.pid).values())


def leftovers(place: Path) -> list[str]:
    """Return what a run should have taken away."""
    found = [*(place / "tmp").iterdir(), *place.rglob(".running"), *place.rglob(".partial-*")]
    # A cache of torch's own, shared by all programs of the user.
    return [str(path) for path in found if not path.name.startswith("torchinductor_")]


def ends_cleanly(process: subprocess.Popen[str], number: int, family: list[int], place: Path):
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert err == "error: interrupted\n"
    assert process.returncode == 128 + number
    assert not [pid for pid in family if lives(pid)]
    assert not leftovers(place)


# ---- every command ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.compiles], ids=str)
def test_sigterm_ends_every_command_as_ctrl_c_does(command, place):
    make_inputs(place)
    words = command.argv(place / "run")
    with held(held_command("bridge.runs.folder:RunFolder._write_config", 2, words)) as process:
        assert (place / "run" / ".running").exists()
        ends_cleanly(process, signal.SIGTERM, list(family_of(process.pid)), place)


# ---- in the middle of things --------------------------------------------------------------------


@pytest.mark.compiler
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_compiled_program_ends_with_the_command(compiler, place, number):
    with running("sim", *NEVER_ENDS, "--codegen", "cpp", "--out-dir", "run") as process:
        family = moment(process, lambda: is_running(process, "--results_dir"), "the program")
        ends_cleanly(process, number, family, place)


@pytest.mark.compiler
def test_a_compiler_and_its_children_end_with_the_command(slow_compiler, place):
    with running("sim", *NEVER_ENDS, "--codegen", "cpp", "--out-dir", "run") as process:
        family = moment(process, lambda: is_running(process, "98765"), "the compilation")
        assert len(family) >= 3  # make, the compiler, what that has started
        ends_cleanly(process, signal.SIGTERM, family, place)
    assert not list((place / "cache" / "tmp").glob("*"))


@pytest.mark.compiler
@pytest.mark.slow
def test_a_compilation_of_cython_ends_with_the_command(slow_compiler, place):
    with running("sim", *NEVER_ENDS, "--codegen", "cython", "--out-dir", "run") as process:
        family = moment(process, lambda: is_running(process, "98765"), "the compilation")
        ends_cleanly(process, signal.SIGTERM, family, place)


@pytest.mark.compiler
@pytest.mark.slow
def test_a_compilation_of_the_training_loops_ends_with_the_command(slow_compiler, place):
    words = ("train", "--max-samples", "60", "--n-hidden", "8", "--t-ms", "20", "--dt", "1",
             "--train-kernel", "cpp", "--observe", "none", "--out-dir", "run")  # fmt: skip
    with running(*words) as process:
        family = moment(process, lambda: is_running(process, "98765"), "the compilation")
        ends_cleanly(process, signal.SIGTERM, family, place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_in_numpy_says_nothing_but_that_it_was_interrupted(place, number):
    """Brian2 would complain of objects that no network has used."""
    where = "sim_brian.engine.runtime:_set_values"
    words = ["sim", *NEVER_ENDS, "--codegen", "numpy", "--out-dir", "run"]
    command = held_command(where, 1, words)
    command[2] = command[2].replace(
        "from cli", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from cli"
    )  # fmt: skip
    with held(command) as process:
        ends_cleanly(process, number, [], place)


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [False, True], ids=["to the command", "to all its processes"])
def test_the_workers_of_a_scan_end_with_it(place, to_all):
    words = ("scan", *NEVER_ENDS, "--codegen", "numpy", "--scan-var", "ei_strength", "--frames",
             "4", "--jobs", "2", "--out-dir", "run")  # fmt: skip
    with running(*words) as process:
        family = moment(process, lambda: len(family_of(process.pid)) >= 3, "two workers")
        if to_all:
            os.killpg(process.pid, signal.SIGTERM)
            _, err = process.communicate(timeout=PATIENCE_S)
            assert (process.returncode, err.splitlines()[-1]) == (143, "error: interrupted")
            wait_for(lambda: not [pid for pid in family if lives(pid)], "the end of all")
        else:
            ends_cleanly(process, signal.SIGTERM, family, place)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "cpp"])
def test_threads_of_repeats_end_with_the_command(compiler, place, backend):
    make_inputs(place)
    words = ("clustered", "run", "--config", "tiny.yaml", "--duration-sec", "100000",
             "--n-repeats", "2", "--parallel", "--backend", backend,
             "--save-dir", "run")  # fmt: skip
    with running(*words) as process:
        if backend == "cpp":
            family = moment(process, lambda: is_running(process, "--results_dir"), "the program")
        else:
            threads = Path(f"/proc/{process.pid}/task")
            family = moment(process, lambda: busy_threads(threads) >= 1, "a repeat")
        ends_cleanly(process, signal.SIGTERM, family, place)


def busy_threads(folder: Path) -> int:
    """Return how many threads besides the first have computed for half a second."""
    found = 0
    with contextlib.suppress(OSError):
        for task in folder.iterdir():
            stat = (task / "stat").read_text().rpartition(")")[2].split()
            found += task.name != folder.parent.name and int(stat[11]) > 50
    return found


@pytest.mark.slow
def test_a_film_that_is_interrupted_leaves_no_half_of_it(place):
    words = ("video", "--n-hidden", "12", "--t-ms", "20", "--burn-in", "0", "--codegen", "numpy",
             "--scan-var", "ei_strength", "--frames", "500", "--jobs", "1",
             "--out-dir", "run")  # fmt: skip
    with running(*words) as process:
        family = moment(process, lambda: is_running(process, "rawvideo"), "the encoder")
        ends_cleanly(process, signal.SIGTERM, family, place)
    assert not list((place / "run").glob("*.mp4"))


def test_a_signal_that_is_ignored_stays_ignored(place):
    """As nohup leaves it."""
    code = "import signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    words = ["sim", "--n-hidden", "8", "--t-ms", "20", "--codegen", "numpy", "--out-dir", "run"]
    command = held_command("bridge.runs.folder:RunFolder._write_config", 1, words)
    command[2] = code + command[2].replace("time.sleep(1e9)", "sys.stdin.readline()")
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "held here" in line:
                break
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate("\n", timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")


def test_handlers_and_streams_are_put_back(place, capsys):
    import cli

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    streams, hook = (sys.stdout, sys.stderr), sys.unraisablehook
    assert cli.main(["sim", "--dt", "0", "--out-dir", "run"]) == 2
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert (sys.stdout, sys.stderr) == streams
    assert sys.unraisablehook is hook


_IN_A_DESTRUCTOR = """
import os, signal, sys, time
from bridge.runs.interrupts import interruptible

class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100):
            pass

with interruptible() as found:
    try:
        made = Slow()
        del made
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", found.exit_code)
"""


def test_an_interruption_in_a_destructor_is_not_lost():
    """Python drops what a destructor raises, with a line on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_DESTRUCTOR], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("interrupted 143\n", "")


# ---- kill -9 ------------------------------------------------------------------------------------


def is_killed(process: subprocess.Popen[str], family: list[int]) -> None:
    process.kill()
    wait_for(lambda: not [pid for pid in family if lives(pid)], "the end of what it had started")


@pytest.mark.compiler
def test_after_a_kill_the_program_ends_and_the_next_start_tidies_up(compiler, place):
    with running("sim", *NEVER_ENDS, "--codegen", "cpp", "--out-dir", "run") as process:
        family = moment(process, lambda: is_running(process, "--results_dir"), "the program")
        (folder,) = (place / "tmp").glob("pingbridge-*")
        is_killed(process, family)
    assert folder.exists()
    other = place / "tmp" / "pingbridge-1-abcdefgh"  # of somebody else: no lock of ours
    other.mkdir()
    (other / "file").touch()
    short = ("--n-hidden", "12", "--t-ms", "20", "--burn-in", "0")
    with running("sim", *short, "--codegen", "cpp", "--out-dir", "next") as process:
        assert (process.communicate(timeout=PATIENCE_S)[1], process.returncode) == ("", 0)
    assert [path.name for path in (place / "tmp").iterdir()] == [other.name]


@pytest.mark.compiler
def test_after_a_kill_no_compiler_is_left(slow_compiler, place):
    with running("sim", *NEVER_ENDS, "--codegen", "cpp", "--out-dir", "run") as process:
        family = moment(process, lambda: is_running(process, "98765"), "the compilation")
        is_killed(process, family)


@pytest.mark.slow
def test_after_a_kill_no_worker_is_left(place):
    words = ("scan", *NEVER_ENDS, "--codegen", "numpy", "--scan-var", "ei_strength", "--frames",
             "4", "--jobs", "2", "--out-dir", "run")  # fmt: skip
    with running(*words) as process:
        family = moment(process, lambda: len(family_of(process.pid)) >= 3, "two workers")
        is_killed(process, family)


def test_folders_of_living_processes_stay(place):
    from bridge.scratch import Scratch, sweep

    mine = Scratch(place / "tmp")
    code = (
        "from bridge.scratch import Scratch; import sys, time\n"
        f"made = Scratch({str(place / 'tmp')!r}); print('held here', flush=True); time.sleep(1e9)"
    )
    with held([sys.executable, "-c", code]) as process:
        sweep(place / "tmp")
        assert len(list((place / "tmp").iterdir())) == 2
        process.kill()
        process.wait()
        sweep(place / "tmp")
    assert list((place / "tmp").iterdir()) == [mine.path]
    mine.close()
    assert not list((place / "tmp").iterdir())
