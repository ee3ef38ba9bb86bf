"""The engine: the same network on every target, cached programs, fallbacks."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import networks
import numpy as np
import pytest
from networks import raster, small_cuba, small_ping

from bridge import cache
from sim_brian.engine import cost, toolchain
from sim_brian.engine import program as engine
from sim_brian.engine.cuda import toolkit as cuda_toolkit
from sim_brian.engine.program import EngineOptions, open_program, run_model
from sim_brian.ping.run import make_model, simulate

NUMPY = EngineOptions(target="numpy")
CPP = EngineOptions(target="cpp")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Return an empty cache of compiled programs."""
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def ping_run(engine_options=NUMPY, *, seed=5, n_steps=600, sizes=(48,), traces=False, n_trials=3):
    spec, weights = small_ping(sizes=sizes)
    stimulus = raster(n_trials=n_trials, n_steps=n_steps, n_in=40, p=0.02, seed=seed, dt_ms=0.1)
    return simulate(spec, weights, stimulus, record_traces=traces, engine=engine_options)


def assert_equal_spikes(one, other):
    assert one.n_cells == other.n_cells
    for population in one.n_cells:
        np.testing.assert_array_equal(one.spikes[population], other.spikes[population])
        assert len(one.spikes[population]), "a silent network proves nothing"


# ---- the same spikes everywhere ---------------------------------------------------------------


@pytest.mark.compiler
def test_one_program_for_all_runs_of_a_network(own_cache):
    """A repetition, other input, another number of steps: compiled once, the spikes of NumPy."""
    before = state_of_brian2()
    expected, _ = ping_run(NUMPY, traces=True)
    first, raw_first = ping_run(CPP, traces=True)
    again, raw_again = ping_run(CPP, traces=True)
    assert (raw_first.compiled, raw_again.compiled) == (True, False)
    assert_equal_spikes(expected, first)
    assert_equal_spikes(expected, again)
    for name, trace in expected.traces.items():
        if name.startswith("v"):
            # The exponentials of numpy and of the C library may differ in the last bit.
            np.testing.assert_allclose(first.traces[name], trace, rtol=0, atol=1e-10)
        else:
            # Sums of weights on the grid are exact, in whatever order a target adds them.
            np.testing.assert_array_equal(first.traces[name], trace)
        np.testing.assert_array_equal(first.traces[name], again.traces[name])
    for seed, n_steps in ((6, 600), (7, 450)):
        compiled, raw = ping_run(CPP, seed=seed, n_steps=n_steps, traces=True)
        assert not raw.compiled
        assert_equal_spikes(compiled, ping_run(NUMPY, seed=seed, n_steps=n_steps)[0])
    assert len(list(own_cache.glob("programs/*/main"))) == 1
    assert state_of_brian2() == before
    _, raw = ping_run(EngineOptions(target="cpp", fast_math=True), traces=True)
    assert raw.compiled
    assert len(list(own_cache.glob("programs/*/main"))) == 2


def state_of_brian2():
    import brian2
    from brian2.devices import get_device

    names = ("codegen.target", "codegen.cpp.extra_compile_args_gcc")
    return get_device(), [brian2.prefs[name] for name in names]


@pytest.mark.compiler
@pytest.mark.slow
def test_cython(not_optimised):
    compiled, raw = ping_run(EngineOptions(target="cython"))
    assert raw.target == "cython"
    assert_equal_spikes(ping_run(NUMPY)[0], compiled)
    again, raw = ping_run(EngineOptions(target="cython"))
    assert not raw.compiled
    assert_equal_spikes(again, compiled)


@pytest.mark.compiler
def test_two_layers_and_current_based_network_compiled():
    assert_equal_spikes(ping_run(NUMPY, sizes=(48, 24))[0], ping_run(CPP, sizes=(48, 24))[0])
    spec, weights = small_cuba()
    stimulus = raster(n_trials=2, n_steps=300, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    runs = [simulate(spec, weights, stimulus, engine=o)[0] for o in (NUMPY, CPP)]
    assert_equal_spikes(*runs)


def test_trials_side_by_side_are_single_trials():
    together, _ = ping_run()
    spec, weights = small_ping()
    stimulus = raster(n_trials=3, n_steps=600, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    for trial in range(3):
        rows = stimulus.trial_events(trial)
        rows[:, 1] = 0
        alone = type(stimulus)(dt_ms=0.1, n_steps=600, n_trials=1, n_in=40, events=rows)
        single, _ = simulate(spec, weights, alone, engine=NUMPY)
        for population in single.n_cells:
            np.testing.assert_array_equal(
                single.spikes[population][:, [0, 2]],
                together.trial_spikes(population, trial)[:, [0, 2]],
            )


# ---- one program, many runs ---------------------------------------------------------------------


@pytest.mark.compiler
def test_a_program_runs_again_with_new_values():
    spec, weights = small_ping()
    stimulus = raster(n_trials=1, n_steps=600, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    half = weights.scaled("W_ie_1", 0.5)
    models = [make_model(spec, w, stimulus, seed=0, record_traces=False) for w in (weights, half)]
    with open_program(models[0], CPP) as program:
        plain = program.run()
        changed = program.run({"w_ie_1.w": models[1].values()["w_ie_1.w"]})
        back = program.run()
    expected = run_model(models[1], NUMPY)

    def events(raw):
        index, step = raw.spikes["e1"]
        return sorted(zip(step.tolist(), index.tolist(), strict=True))

    assert events(changed) == events(expected)
    assert events(plain) == events(back) != events(changed)


_COMPILE = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[1])
    from networks import raster, small_ping
    from sim_brian.engine.program import EngineOptions
    from sim_brian.ping.run import simulate
    spec, weights = small_ping()
    stimulus = raster(n_trials=1, n_steps=300, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    recording, raw = simulate(spec, weights, stimulus, engine=EngineOptions(target="cpp"))
    print(raw.compiled, len(recording.spikes["e1"]), recording.spikes["e1"].sum())
    """
)


_SLOW_COMPILER = """#!/bin/sh
case "$*" in
*main.cpp*) if [ -e "$HOLD" ]; then echo held here > "$HOLD"; sleep 1000000000; fi;;
esac
exec g++ "$@"
"""


@pytest.mark.compiler
def test_a_killed_compilation_and_two_processes_that_share_a_cache(tmp_path):
    # A compiler that waits in the middle of its work as long as there is somebody to hear of it.
    (tmp_path / "g++").write_text(_SLOW_COMPILER)
    (tmp_path / "g++").chmod(0o755)
    os.mkfifo(tmp_path / "hold")
    env = os.environ | {"PINGBRIDGE_CACHE_DIR": str(tmp_path / "cache"),
                        "CXX": str(tmp_path / "g++"), "HOLD": str(tmp_path / "hold")}  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", _COMPILE, str(Path(networks.__file__).parent)]
    with subprocess.Popen(command, env=env, start_new_session=True) as process:
        assert (tmp_path / "hold").read_text() == "held here\n"
        os.killpg(process.pid, signal.SIGKILL)
    (tmp_path / "hold").unlink()
    assert not list(tmp_path.glob("cache/programs/*/main"))  # nothing that looks finished
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
            for _ in range(2)]  # fmt: skip
    outputs = [p.communicate()[0].splitlines()[-1].split() for p in both]
    assert sorted(o[0] for o in outputs) == ["False", "True"]  # one compiled, one waited
    assert outputs[0][1:] == outputs[1][1:]
    assert len(list(tmp_path.glob("cache/programs/*/main"))) == 1


def test_an_unwritable_cache_falls_back_to_the_temporary_folder(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(blocked / "cache"))
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    assert cache.cache_root().parent == tmp_path


# ---- what is missing ----------------------------------------------------------------------------


def test_without_a_compiler_the_run_falls_back_and_says_so(monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.WARNING, logger="pingbridge"):
        recording, raw = ping_run(CPP, n_steps=300)
    assert raw.target == "numpy"
    assert len(caplog.records) == 1
    assert "needs a C++ compiler" in caplog.text
    assert len(recording.spikes["e1"])


def test_fast_math_does_not_fall_back(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="needs a C\\+\\+ compiler"):
        ping_run(EngineOptions(target="cpp", fast_math=True))
    with pytest.raises(ValueError, match="--fast-math needs a C\\+\\+ compiler"):
        ping_run(EngineOptions(fast_math=True))
    with pytest.raises(ValueError, match="can't apply to --codegen numpy"):
        EngineOptions(target="numpy", fast_math=True)


@pytest.mark.compiler
def test_a_compiler_error_is_one_line(own_cache, tmp_path, monkeypatch):
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\ncase $1 in --version) exit 0;; esac\necho no good >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    toolchain.compiler_fingerprint.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=r"compiling the generated network failed.*no good"):
            ping_run(CPP)
    finally:
        toolchain.compiler_fingerprint.cache_clear()
    assert not list(own_cache.glob("programs/*/main"))


def test_cuda_says_what_it_lacks(monkeypatch):
    pytest.importorskip("brian2cuda")
    monkeypatch.setattr(cuda_toolkit, "nvcc", lambda: None)
    with pytest.raises(ValueError, match="nvcc and none was found"):
        ping_run(EngineOptions(target="cuda"))
    monkeypatch.setattr(cuda_toolkit, "nvcc", lambda: "/usr/bin/nvcc")
    monkeypatch.setattr(cuda_toolkit, "curand", lambda: "somewhere")
    monkeypatch.setattr(cuda_toolkit, "gpus", lambda: ())
    with pytest.raises(ValueError, match="needs an NVIDIA GPU"):
        ping_run(EngineOptions(target="cuda"))


def test_unknown_target():
    with pytest.raises(ValueError, match="use one of auto, numpy, cython, cpp, cuda"):
        EngineOptions(target="fortran")


# ---- auto ---------------------------------------------------------------------------------------


def test_auto_does_not_wait_for_a_compiler_for_one_small_run(own_cache, caplog):
    with caplog.at_level(logging.INFO, logger="pingbridge"):
        _, raw = ping_run(EngineOptions(), n_steps=300)
    assert raw.target == "numpy"
    assert "codegen: numpy (auto: about" in caplog.text


def test_auto_compiles_for_a_scan_and_reuses_what_is_compiled(own_cache, monkeypatch):
    monkeypatch.setattr(toolchain, "missing_for", lambda target: None)
    spec, weights = small_ping()
    stimulus = raster(n_trials=1, n_steps=6000, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    model = make_model(spec, weights, stimulus, seed=0, record_traces=False)
    assert engine.choose_target(model, EngineOptions()) == "numpy"
    assert engine.choose_target(model, EngineOptions(n_runs=300)) == "cpp"
    cost.remember("cpp", model.structure(), variant=EngineOptions().variant, key="abc")
    assert engine.choose_target(model, EngineOptions()) == "numpy"  # noted, but not there any more
    cache.put(Path(sys.executable), cache.program_path("abc"))
    assert engine.choose_target(model, EngineOptions()) == "cpp"


def test_auto_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    spec, weights = small_ping()
    stimulus = raster(n_trials=1, n_steps=6000, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    model = make_model(spec, weights, stimulus, seed=0, record_traces=False)
    assert engine.choose_target(model, EngineOptions(n_runs=10_000)) == "numpy"


# ---- what it leaves behind ----------------------------------------------------------------------


@pytest.mark.compiler
def test_progress_is_reported_during_long_runs():
    seen = []
    options = EngineOptions(target="cpp", progress=seen.append)
    spec, weights = small_ping()
    few = raster(n_trials=1, n_steps=600, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    n_steps = 200_000
    # Reports come every half second of the processor: as long as it takes on this machine.
    while not any(0 < fraction < 1 for fraction in seen):
        seen.clear()
        simulate(spec, weights, dataclasses.replace(few, n_steps=n_steps), engine=options)
        assert seen[-1] == 1.0
        assert seen == sorted(seen)
        n_steps *= 2
        assert n_steps < 10**9, "no report in the middle"


def test_another_standalone_project_is_not_touched():
    from brian2.devices import reset_device, set_device

    set_device("cpp_standalone", build_on_run=False)
    try:
        for target in ("numpy", "cpp"):
            with pytest.raises(ValueError, match="another Brian2 standalone project is active"):
                ping_run(EngineOptions(target=target), n_steps=5)
    finally:
        reset_device()


def test_a_users_preferences_do_not_change_the_arithmetic():
    import brian2

    expected, _ = ping_run(NUMPY, traces=True)
    brian2.prefs["core.default_float_dtype"] = np.float32
    try:
        recording, _ = ping_run(NUMPY, traces=True)
        assert brian2.prefs["core.default_float_dtype"] == np.float32  # put back
    finally:
        brian2.prefs["core.default_float_dtype"] = np.float64
    np.testing.assert_array_equal(recording.traces["ge_e_1"], expected.traces["ge_e_1"])


_IMPORT = """
import logging, signal, sys, warnings
before = signal.getsignal(signal.SIGINT), sys.excepthook, warnings.showwarning
from sim_brian.engine.brian import load_brian2
load_brian2()
assert (signal.getsignal(signal.SIGINT), sys.excepthook, warnings.showwarning) == before
logging.captureWarnings(True)
captured = warnings.showwarning
load_brian2()
assert warnings.showwarning is captured
"""


def test_importing_brian2_leaves_python_as_it_was():
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_compiler_with_a_wrapper_is_found(monkeypatch):
    monkeypatch.setenv("CXX", f"{sys.executable} g++")
    assert toolchain.cpp_compiler() == sys.executable
