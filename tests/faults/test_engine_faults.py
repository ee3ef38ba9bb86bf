"""Lost results, damaged programs, streams that can't be written: errors in one line, or healed."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from faults import COMMANDS, make_inputs, typed
from killed import ROOT
from networks import raster, small_ping

from bridge import cache
from sim_brian.engine import build_cache, cost, reports, toolchain
from sim_brian.engine.circuit import Circuit, Workload
from sim_brian.engine.executable import StartError
from sim_brian.engine.program import EngineOptions, open_program, run_model
from sim_brian.ping.run import make_model

CPP = EngineOptions(target="cpp")
WORD = "ended without a word on its results"


@pytest.fixture
def compiler():
    if toolchain.missing_for("cpp"):
        pytest.skip(toolchain.missing_for("cpp"))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def model_of(*, traces: bool = False):
    spec, weights = small_ping()
    stimulus = raster(n_trials=3, n_steps=600, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    return make_model(spec, weights, stimulus, seed=0, record_traces=traces)


def events(raw) -> list[tuple[int, int]]:
    index, step = raw.spikes["e1"]
    assert len(index), "a silent network proves nothing"
    return sorted(zip(step.tolist(), index.tolist(), strict=True))


# ---- results that are not there -----------------------------------------------------------------


@pytest.fixture(scope="module", params=[False, True], ids=["spikes", "traces"])
def program(request):
    if toolchain.missing_for("cpp"):
        pytest.skip(toolchain.missing_for("cpp"))
    model = model_of(traces=request.param)
    with open_program(model, CPP) as made:
        yield made.executable(), model, request.param


def run_as(program, tmp_path, script: str):
    """Run a program inside a script: ``$MAIN`` is the program, ``$RESULTS`` its folder."""
    executable, model, _ = program
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/bash\nMAIN="{executable.program}"\nRESULTS="$2"\n{script}\n')
    wrapper.chmod(0o755)
    changed = dataclasses.replace(executable, program=wrapper)
    return changed.run(model.values(), n_steps=model.workload.n_steps)


def test_a_program_in_a_script_is_the_program(program, tmp_path):
    executable, model, _ = program
    plain = executable.run(model.values(), n_steps=600)
    assert events(run_as(program, tmp_path, 'exec "$MAIN" "$@"')) == events(plain)


LOST = {
    "writes nothing": ("exec /bin/true", WORD),
    "is killed": ("kill -9 $$", r"ended with SIGKILL \(out of memory\?\): silent"),
    "fails": ("exit 3", "ended with status 3: silent"),
    "a file is cut": (
        '"$MAIN" "$@"; for f in "$RESULTS"*; do truncate -s 8 "$f"; done',
        "bytes as the compiled network wrote them, 8 are there: is the disk full",
    ),
    "files are gone": (
        '"$MAIN" "$@"; rm "$RESULTS"*', "bytes as the compiled network wrote them, 0 are there"
    ),
    "a file is longer": (
        '"$MAIN" "$@"; for f in "$RESULTS"*; do echo >> "$f"; done',
        "bytes as the compiled network wrote them",
    ),
    "no room": (
        "trap '' XFSZ; ulimit -f 1; exec \"$MAIN\" \"$@\"",
        r"could not write the .*MB\): File too large; make room in",
    ),
    "no folder": ('rm -r "$RESULTS"; exec "$MAIN" "$@"', "could not write the .*No such file"),
    "another file is said": (
        '"$MAIN" "$@" | sed "s/pingbridge-wrote /&other/"', "did not say that it wrote"
    ),
    "ends early": (
        'exec "$MAIN" "${@/control.n_steps=600/control.n_steps=599}"',
        "stopped after 599 of 600 steps",
    ),
}  # fmt: skip


@pytest.mark.compiler
@pytest.mark.parametrize("kind", LOST)
def test_a_lost_result_is_no_silent_network(program, tmp_path, kind):
    script, message = LOST[kind]
    with pytest.raises(RuntimeError, match=message) as caught:
        run_as(program, tmp_path, script)
    assert "\n" not in str(caught.value)


@contextlib.contextmanager
def small_disk(folder: Path, *, mb: int):
    """Give a file system of its own, where this process may make one."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mb}m", "tmpfs", str(folder)],
        capture_output=True, check=False,
    ) if os.getuid() == 0 and shutil.which("mount") else None  # fmt: skip
    if made is None or made.returncode:
        pytest.skip("needs root, to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.compiler
def test_a_full_disk_is_an_error_and_room_heals_it(compiler, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", mb=40):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "disk"))
        filler = tmp_path / "disk" / "filler"
        model = model_of(traces=True)  # 5 MB of results
        with open_program(model, CPP) as program:
            plain = program.run()
            for kb, message in ((1000, "could not write the trace"), (0, "values of the run")):
                room = os.statvfs(tmp_path / "disk")
                size = room.f_bavail * room.f_frsize - kb * 1000
                filler.write_bytes(bytes(size))
                with pytest.raises(RuntimeError, match=f"{message}.*No space left|disk full"):
                    program.run()
                filler.unlink()
            again = program.run()
        assert events(again) == events(plain)
        assert plain.traces
        for name, trace in plain.traces.items():
            np.testing.assert_array_equal(again.traces[name], trace)
        filler.write_bytes(bytes(os.statvfs(filler.parent).f_bavail * 4096 - 20_000))
        with pytest.raises(RuntimeError, match="the source code can't be written"):
            open_program(model, CPP)
        assert [path.name for path in filler.parent.iterdir()] == ["filler"]


@pytest.mark.compiler
@pytest.mark.slow
# brian2cuda leaves files to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_gpu_program_is_checked_alike(emulated_gpu, tmp_path):
    model = model_of(traces=True)
    with open_program(model, EngineOptions(target="cuda")) as made:
        gpu = made.executable(), model, True
        plain = gpu[0].run(model.values(), n_steps=600)
        assert events(run_as(gpu, tmp_path, 'exec "$MAIN" "$@"')) == events(plain)
        for script, message in LOST.values():
            if "sed" not in script:
                with pytest.raises(RuntimeError, match=message):
                    run_as(gpu, tmp_path, script)


def test_a_generated_program_that_can_not_be_checked_is_refused(tmp_path):
    source = 'void _write_arrays()\n{ ofstream outfile_a;\n outfile_a.open(results_dir + "a"); }'
    (tmp_path / "objects.cpp").write_text(source)
    reports.say_what_is_written(tmp_path / "objects.cpp", {"a"})
    assert "pingbridge_result outfile_a;" in (tmp_path / "objects.cpp").read_text()
    (tmp_path / "objects.cpp").write_text(source.replace("ofstream", "File"))
    with pytest.raises(RuntimeError, match="writes a in a way that can't be checked"):
        reports.say_what_is_written(tmp_path / "objects.cpp", {"a"})


ENGINE_USERS = [
    "sim", "image", "video", "scan", "crosscheck", "rate search", "rate convert", "rate eval",
    "rate plot", "lateral-line", "clustered run", "clustered perturb", "clustered sweep",
    "clustered compare",
]  # fmt: skip


@pytest.fixture
def silent_compiler(tmp_path, monkeypatch, own_cache):
    """Let every compilation end well and make a program that does nothing."""
    make_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toolchain, "missing_for", lambda target: None)
    monkeypatch.setattr(
        build_cache, "_compile", lambda project, *, jobs: shutil.copy("/bin/true", project / "main")
    )


@pytest.mark.parametrize("name", ENGINE_USERS)
def test_no_command_takes_silence_for_a_result(silent_compiler, tmp_path, name):
    (command,) = [one for one in COMMANDS if one.name == name]
    words = ["cpp" if word == "numpy" else word for word in command.argv(tmp_path / "run")]
    if name == "crosscheck":
        words += ["--train-kernel", "function"]  # its own compilation is another test's
    said = typed(words)
    assert (said.code, WORD in said.line) == (1, True), said.err
    tables = [path.name for path in (tmp_path / "run").rglob("*") if path.suffix in
              (".csv", ".h5", ".png", ".mp4", ".npy", ".npz")]  # fmt: skip
    # What a network is made of is written before it runs.
    assert not set(tables) - {"clusters.npy", "perturbations.npz", "lif_network.npz"}


@pytest.mark.slow
def test_no_worker_takes_silence_for_a_result(silent_compiler, tmp_path):
    (command,) = [one for one in COMMANDS if one.name == "scan"]
    words = ["cpp" if word == "numpy" else word for word in command.argv(tmp_path / "run")]
    said = typed(["2" if word == "1" and words[k - 1] == "--jobs" else word
                  for k, word in enumerate(words)])  # fmt: skip
    assert (said.code, WORD in said.line) == (1, True), said.err


def test_every_user_of_the_engine_is_here():
    others = {"train", "infer", "build", "rate train", "clustered analyze", "meanfield solve",
              "meanfield landscape", "meanfield bifurcation"}  # fmt: skip
    assert {command.name for command in COMMANDS} == {*ENGINE_USERS, *others}


# ---- programs that are damaged ------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    """Return the projects that are compiled, and compile them."""
    found, plain = [], build_cache._compile

    def compile_(project, *, jobs):
        found.append(project)
        plain(project, jobs=jobs)

    monkeypatch.setattr(build_cache, "_compile", compile_)
    return found


def replaced(program: Path, script: str) -> None:
    """Put another program into the cache, with its stamp: it is whole, and wrong."""
    built = program.parents[2] / "built"
    built.write_text(script)
    cache.put(built, program)


@pytest.mark.compiler
def test_a_damaged_program_is_compiled_again_once(compiler, own_cache, counted, caplog):
    caplog.set_level(logging.INFO, logger="pingbridge")
    model = model_of()
    plain = run_model(model, CPP)
    (program,) = own_cache.glob("programs/*/main")
    whole = program.read_bytes()
    damages = {
        "empty": lambda: program.write_bytes(b""),
        "library": lambda: replaced(
            program, "#!/bin/sh\necho 'main: error while loading shared libraries: libx.so: no' "
            ">&2\nexit 127\n",
        ),
        "no program": lambda: replaced(program, "\x7fELF nothing"),
    }  # fmt: skip
    for kind, damage in damages.items():
        damage()
        caplog.clear()
        counted.clear()
        assert events(run_model(model, CPP)) == events(plain), kind
        assert len(counted) == 1, kind
        lines = [record.getMessage() for record in caplog.records]
        assert len([line for line in lines if "compiling it again" in line]) == 1, lines
        assert program.stat().st_size == len(whole), kind
    caplog.clear()
    counted.clear()
    run_model(model, CPP)
    assert not counted
    assert not caplog.records


@pytest.mark.compiler
def test_a_worker_that_cannot_start_a_program_has_it_compiled_anew(program, tmp_path, own_cache):
    """A worker has no source code: it says so, and the next run compiles."""
    executable, model, _ = program
    target = cache.program_path("abc")
    built = tmp_path / "built"
    built.write_text("no program")
    cache.put(built, target)
    with pytest.raises(StartError, match=r"can't be started \(Exec format error\); the next run"):
        dataclasses.replace(executable, program=target).run(model.values(), n_steps=600)
    assert not cache.is_whole(target)


def test_an_error_of_a_start_travels_between_processes():
    import pickle

    error = StartError(Path("main"), "Exec format error")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reason) == (str(error), error.reason)


def test_who_waits_for_another_compilation_says_so(own_cache, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="pingbridge")
    monkeypatch.setattr(cache, "PATIENCE_S", 0.01)
    target = cache.program_path("abc")
    held, go_on, order = threading.Event(), threading.Event(), []

    def other():
        with cache.compiling(target):
            held.set()
            go_on.wait(60)
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(60)
    monkeypatch.setattr(
        cache.log, "info", lambda line: (order.append(line), go_on.set()), raising=True
    )
    with cache.compiling(target):
        order.append("mine")
    thread.join()
    assert order == ["another process is compiling the same; waiting for it", "other", "mine"]


@pytest.mark.parametrize("damage", ["", "\xff\xfe", "../../../bin/true", "folder"])
def test_a_damaged_note_heals(own_cache, monkeypatch, damage):
    model = model_of()
    about = {"variant": CPP.variant}
    cache.put(Path("/bin/true"), cache.program_path("abc"))
    cost.remember("cpp", model.structure(), key="abc", **about)
    assert cost.is_compiled("cpp", model.structure(), **about)
    (note,) = (own_cache / "stamps").iterdir()
    note.unlink()
    if damage == "folder":
        note.mkdir()
    else:
        note.write_bytes(damage.encode("latin-1"))
    assert not cost.is_compiled("cpp", model.structure(), **about)
    cost.remember("cpp", model.structure(), key="abc", **about)  # a folder stays what it is
    assert cost.is_compiled("cpp", model.structure(), **about) == (damage != "folder")


def test_a_program_of_pingbridge_build_that_was_replaced_is_refused(silent_compiler, tmp_path):
    (command,) = [one for one in COMMANDS if one.name == "build"]
    said = typed(command.argv(tmp_path / "built"))
    assert said.code == 0, said.err
    (sim,) = [one for one in COMMANDS if one.name == "sim"]
    words = [word for word in sim.argv(tmp_path / "run") if word not in ("--codegen", "numpy")]
    assert WORD in typed([*words, "--program", "built"]).line
    (tmp_path / "built" / "main").write_bytes(Path("/bin/false").read_bytes())
    said = typed([*words, "--program", "built"])
    assert (said.code, "main is not what was built there" in said.line) == (2, True), said.err


class OneGroup:
    """The smallest network: one cell that decays."""

    workload = Workload(n_steps=3, n_updaters=1, n_cells=1)

    def structure(self) -> str:
        return "one group"

    def build(self, clock) -> Circuit:
        import brian2

        group = brian2.NeuronGroup(
            1, "v : 1", clock=clock, name="cell", method="exact", threshold="v > 1", reset="v = 0"
        )
        group.run_regularly("v = v / 2", clock=clock, name="halving")
        return Circuit(objects=[group, *group.contained_objects], finals={"v": (group, "v")})

    def values(self):
        return {"cell.v": 1.0}


@pytest.mark.compiler
@pytest.mark.slow
def test_a_damaged_module_of_cython_is_compiled_again(compiler, own_cache, not_optimised, caplog):
    caplog.set_level(logging.INFO, logger="pingbridge")
    options = EngineOptions(target="cython")
    assert run_model(OneGroup(), options).finals["v"] == 0.125
    modules = sorted((own_cache / "cython").glob("*.so"))
    assert modules
    for module in modules:
        module.unlink()  # this process has it in memory
        module.write_bytes(b"half")
    code = (
        "import logging, sys\nlogging.basicConfig(level='INFO', format='%(message)s')\n"
        f"sys.path[:0] = {[str(ROOT / 'tests' / 'helpers'), str(Path(__file__).parent)]!r}\n"
        "from test_engine_faults import OneGroup, EngineOptions, run_model\n"
        "print(run_model(OneGroup(), EngineOptions(target='cython')).finals['v'])\n"
    )
    done = subprocess.run(  # a process of its own: this one has the modules in memory
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout == "[0.125]\n", done.stderr
    assert done.stderr.count("is damaged; compiling it again") == len(modules)


@pytest.mark.compiler
@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpp", "cython"])
def test_a_broken_compiler_is_one_line(compiler, own_cache, tmp_path, target):
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\ncase $1 in --version) exit 0;; esac\necho no good >&2\nexit 3\n")
    broken.chmod(0o755)
    said = on_the_command_line("sim", *SHORT, "--codegen", target, "--out-dir", tmp_path / "run",
                               env={"CXX": str(broken)})  # fmt: skip
    assert said.returncode == 1
    (line,) = said.stderr.splitlines()
    assert line.startswith("error: compiling")
    assert "no good" in line


# ---- streams and files that can't be written ----------------------------------------------------

SHORT = ("--n-hidden", "8", "--t-ms", "10", "--burn-in", "0")
RUN = ("sim", *SHORT, "--codegen", "numpy", "--out-dir")


def on_the_command_line(*words: object, shell: str = "", env=None, **settings):
    """Run a command in a process of its own, as a shell starts it: ``shell`` follows the words."""
    command = ["bash", "-c", f'"$0" -P -m cli "$@" {shell}', sys.executable, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | (env or {})
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, **settings
    )


@pytest.mark.parametrize(
    ("shell", "code", "err"),
    [
        (">/dev/full", 1, "error: standard output can't be written (No space left on device)\n"),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", 0, ""),
        (">/dev/full 2>/dev/full", 1, ""),
    ],
)
def test_output_that_goes_nowhere_does_not_stop_a_run(tmp_path, shell, code, err):
    said = on_the_command_line(*RUN, tmp_path / "run", shell=shell)
    assert (said.returncode, said.stderr) == (code, err)
    log = (tmp_path / "run" / "output.log").read_text()
    assert "INFO speed:" in log  # all of it is there
    assert not (tmp_path / "run" / ".running").exists()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.json", "output.log", "run.sh"
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["numpy", pytest.param("cpp", marks=pytest.mark.compiler)])
def test_a_run_leaves_nothing_in_the_temporary_folder(tmp_path, target):
    """Brian2 alone would keep a log and a copy of the script after a run that failed."""
    if toolchain.missing_for(target):
        pytest.skip(toolchain.missing_for(target))
    (tmp_path / "tmp").mkdir()
    for words in (("--seed", "1"), ("--w-in", "1e200", "1e199")):
        on_the_command_line(*RUN[:-2], target, "--out-dir", tmp_path / f"run{words[1]}", *words,
                            env={"TMPDIR": str(tmp_path / "tmp")})  # fmt: skip
        assert not list((tmp_path / "tmp").iterdir())


def test_help_on_a_full_disk_and_an_error_that_nobody_hears(tmp_path):
    said = on_the_command_line("--help", shell=">/dev/full")
    assert said.returncode == 1
    assert said.stderr == "error: standard output can't be written (No space left on device)\n"
    assert on_the_command_line("sim", "--dt", "0", shell="2>&-").returncode == 2
    assert on_the_command_line("sim", "--dt", "0", shell="2>/dev/full").returncode == 2


def test_letters_that_the_terminal_lacks(tmp_path):
    said = on_the_command_line("sim", "--dt", "µ", "--out-dir", tmp_path / "run",
                               env={"PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert said.returncode == 2
    assert said.stderr.startswith(r"error: argument --dt: '\xb5' must be a number")


def test_an_output_log_that_can_not_be_written(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "output.log").symlink_to("/dev/full")
    said = on_the_command_line(*RUN, tmp_path / "run")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.count("output.log can't be written (No space left on device)") == 1
    assert "speed:" in said.stdout


def test_a_name_that_is_not_utf8(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    said = on_the_command_line(*RUN, folder, errors="surrogateescape")
    assert (said.returncode, said.stderr) == (0, "")
    assert (Path(folder) / "config.json").exists()


def test_a_working_folder_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"rmdir {gone}; exec {sys.executable} -P -m cli sim --out-dir {tmp_path / 'run'}"
    said = subprocess.run(
        ["bash", "-c", command], cwd=gone, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said.returncode == 2
    assert said.stderr == "error: the working folder has been deleted; go (cd) to another\n"


def test_steps_that_can_not_be_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for target in ("numpy", "auto"):
        said = typed(["sim", "--dt", "1e-9", "--t-ms", "1e-8", "--codegen", target])
        assert said.code == 2
        assert "cuts the refractory time of 3 ms into 3e+09 steps" in said.line


def test_long_words_are_cut(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["sim", "--dt", "x" * 5000], ["sim", "--config", "x" * 5000], ["x" * 5000]):
        said = typed(words)
        assert said.code == 2
        assert len(said.line) < 800
        assert "xxx" in said.line


# ---- mistakes of this program -------------------------------------------------------------------


def mistake_in(module, statement: str):
    """Return a function with a mistake, as if it stood in the file of a module."""
    found: dict = {}
    exec(compile(f"def wrong(*_):\n    {statement}", module.__file__, "exec"), found)
    return found["wrong"]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [("return {}['weights']", "KeyError"), ("return [][0]", "IndexError"),
     ("return None + 1", "TypeError"), ("return None.x", "AttributeError"),
     ("return 1 / 0", "ZeroDivisionError"), ("assert False", "AssertionError"),
     ("return len(5)", "TypeError")],
)  # fmt: skip
def test_a_bug_does_not_look_like_a_users_mistake(tmp_path, monkeypatch, statement, kind):
    from studies.oscilloscope import forward

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forward, "headline", mistake_in(forward, statement))
    said = typed(["sim", *SHORT, "--out-dir", "run"])
    assert said.code == 70
    assert said.line.startswith(f"error: this is a bug: {kind}")
    assert "(studies/oscilloscope/forward.py, line 2)" in said.line
    assert "Traceback" in (tmp_path / "run" / "output.log").read_text()


def test_a_type_error_on_purpose_is_the_users(tmp_path, monkeypatch):
    from studies.oscilloscope import forward

    monkeypatch.chdir(tmp_path)
    for statement in ("raise TypeError('a is no b')", "raise TypeError('a is no b') from None"):
        monkeypatch.setattr(forward, "headline", mistake_in(forward, statement))
        said = typed(["sim", *SHORT, "--out-dir", "run"])
        assert (said.code, said.line) == (2, "error: a is no b")
    assert "Traceback" not in (tmp_path / "run" / "output.log").read_text()


def test_an_error_in_a_module_of_the_user_is_the_users(tmp_path, monkeypatch):
    from studies.oscilloscope import forward

    def of_the_user(job):
        return {}["weights"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forward, "headline", of_the_user)
    said = typed(["sim", *SHORT, "--out-dir", "run"])
    assert said.code == 1
    assert said.line.startswith(f"error: KeyError: 'weights' ({__file__}, line ")


def test_names_of_the_inside_are_not_shown(tmp_path):
    from bridge.atomic import atomic_path
    from bridge.runs.complaint import one_line

    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "weights.pth") as partial:  # noqa: PT011 (below)
        (partial / "x").write_text("")
    assert one_line(caught.value) == f"{tmp_path}/weights.pth/x: No such file or directory"


# ---- addresses of a scheduler -------------------------------------------------------------------


@contextlib.contextmanager
def server(answer: bytes):
    """Give the address of a server that says something, or nothing, to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        lines = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listening.accept()
                    lines.append(line)
                    line.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(60)
        for line in lines:
            line.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [(b"", "no greeting in"), (b"SSH-2.0-OpenSSH_9\r\n", "another kind of server"),
     (bytes(8), "another kind of server"), (b"HTTP/1.1 400 Bad Request\r\n", "another kind")],
)  # fmt: skip
def test_another_server_is_no_scheduler(monkeypatch, answer, message, capfd):
    pytest.importorskip("distributed")
    from bridge.runs import cluster

    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with server(answer) as address, pytest.raises(ValueError, match=message):
        cluster.connect(address)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("address", ["typo", "tcp://127.0.0.1:9", "tcp://127.0.0.1:99999", "",
                                     "tcp://", "http://127.0.0.1:9", "none.json"])  # fmt: skip
def test_a_wrong_address_is_one_line(monkeypatch, tmp_path, address, capfd):
    pytest.importorskip("distributed")
    from bridge.runs import cluster

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no Dask scheduler there") as caught:
        cluster.connect(address)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", ["{", "[1]", '{"address": 3}', "[" * 100_000])
def test_a_file_that_no_scheduler_wrote(tmp_path, content):
    pytest.importorskip("distributed")
    from bridge.runs import cluster

    (tmp_path / "s.json").write_text(content)
    with pytest.raises(ValueError, match="the file is none that dask scheduler"):
        cluster.connect(str(tmp_path / "s.json"))


def test_the_file_of_a_scheduler_is_its_address(cluster, tmp_path):
    import json

    from bridge.runs.parallel import parallel_map

    (tmp_path / "scheduler.json").write_text(json.dumps({"address": cluster, "type": "Scheduler"}))
    found = parallel_map(_double, [1, 2], scheduler=str(tmp_path / "scheduler.json"))
    assert [result["twice"] for _, result in found] == [2, 4]


def _double():
    return lambda item: {"twice": 2 * item}


@pytest.mark.slow
def test_a_scheduler_of_our_own_listens_to_this_machine_only(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    import psutil

    from bridge.runs.cluster import own_cluster

    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = set(psutil.Process().children(recursive=True))
    with own_cluster(1) as address:
        assert address.startswith("tcp://127.0.0.1:")
        made = set(psutil.Process().children(recursive=True)) - before
        listening = {
            line.laddr
            for process in made
            for line in process.net_connections("inet")
            if line.status == psutil.CONN_LISTEN
        }
        assert len(listening) >= 3
        assert {place.ip for place in listening} == {"127.0.0.1"}
        assert 8787 not in {place.port for place in listening}
    _, alive = psutil.wait_procs(made, timeout=60)
    assert not alive
    assert not list(tmp_path.iterdir())
