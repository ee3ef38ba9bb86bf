"""The CUDA target: its code, its errors, and its programs run with an emulated GPU.

The emulation (helpers/cuda_on_cpu) compiles what brian2cuda generates with the host's compiler and
runs each kernel thread by thread, with device memory of its own: order of operations, copies
between host and device, schedule and results are the real program's; arithmetic is the host's.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sweeps
from networks import raster, small_cuba, small_ping

from scope.scan_metrics import measure_run
from sim_brian import cuda_errors, cuda_project, cuda_toolkit, doctor, engine, toolchain
from sim_brian.engine import EngineOptions, build_program, open_program
from sim_brian.run import make_model, simulate
from sim_brian.standalone import generate

NUMPY = EngineOptions(target="numpy")
CUDA = EngineOptions(target="cuda")

# brian2cuda leaves files to the garbage collector and uses regular expressions carelessly.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::SyntaxWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def ping(*, seed=5, n_trials=2, n_steps=600):
    spec, weights = small_ping(sizes=(48, 24))
    return spec, weights, raster(
        n_trials=n_trials, n_steps=n_steps, n_in=40, p=0.02, seed=seed, dt_ms=0.1
    )  # fmt: skip


def cuba():
    spec, weights = small_cuba()
    return spec, weights, raster(n_trials=2, n_steps=300, n_in=40, p=0.1, seed=1, dt_ms=0.5)


def generated(network, folder, *, traces=False, **options):
    pytest.importorskip("brian2cuda")
    model = make_model(*network, seed=0, record_traces=traces)
    with engine._device("cuda", fast_math=options.pop("fast_math", False), **options):
        return generate(model, "cuda", folder)


def assert_equal_spikes(one, other):
    for population in one.n_cells:
        np.testing.assert_array_equal(one.spikes[population], other.spikes[population])
        assert len(one.spikes[population]), "a silent network proves nothing"


# ---- generated code -----------------------------------------------------------------------------


def test_generated_code_is_put_right(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO):
        files = generated(ping(), tmp_path, traces=True, capability="8.0")
    theirs = [record for record in caplog.records if "brian2cuda" in record.name]
    assert not theirs, "brian2cuda's own lines are not the user's"
    assert capfd.readouterr().err == ""
    main = (tmp_path / "host.cu").read_text()
    assert "network.run(_array_control_n_steps[0] * 1.0" in main
    makefile = (tmp_path / "makefile").read_text()
    assert "-arch=sm_80" in makefile
    assert "-std=c++17" in makefile
    assert "-std=c++11" not in makefile
    assert "-fmad=false" in makefile
    assert "use_fast_math" not in makefile
    assert "-march" not in makefile
    code = "".join(p.read_text() for p in (tmp_path / "code_objects").glob("*.cu"))
    assert "defaultclock.timestep" not in code  # the network has another clock
    assert code.count("steps.timestep[0] >= w_") == 6
    assert "source_target_count" not in code
    written = re.findall(r'results_dir \+ "([^"]+)"', (tmp_path / "objects.cu").read_text())
    wanted = [f.name for pair in files.spikes.values() for f in pair]
    wanted += [f.name for f, _ in files.traces.values()] + [f.name for f in files.finals.values()]
    assert sorted(written) == sorted([*wanted, "last_run_info.txt"])
    sources = re.search(r"(?m)^SRCS = (.*)$", makefile)[1].split()
    assert len(sources) == 6
    assert sorted(sources) == sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.cu"))


def test_fast_math_and_float32_are_by_choice(tmp_path):
    generated(cuba(), tmp_path, fast_math=True, dtype="float32")
    assert "-use_fast_math" in (tmp_path / "makefile").read_text()
    code = "".join(p.read_text() for p in (tmp_path / "code_objects").glob("*.cu"))
    assert "float v = " in code
    assert "double v = " not in code


def test_text_that_is_not_as_expected_stays(tmp_path):
    source = tmp_path / "objects.cu"
    source.write_text("void _write_arrays()\n{\n\nsomething else\n// Write last run info to disk\n")
    before = source.read_text()
    cuda_project.write_only(source, {"wanted"})
    assert source.read_text() == before


def test_a_compiler_with_a_launcher_compiles_cuda(tmp_path, monkeypatch):
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    monkeypatch.setenv("CXX", "ccache g++")
    monkeypatch.setattr(cuda_toolkit, "nvcc", lambda: "/opt/cuda/bin/nvcc")
    generated(cuba(), tmp_path)
    makefile = (tmp_path / "makefile").read_text()
    assert f"NVCC = @/opt/cuda/bin/nvcc -ccbin {shutil.which('g++')}\n" in makefile


# ---- the programs -------------------------------------------------------------------------------


@pytest.mark.compiler
@pytest.mark.slow
def test_two_layers_with_traces(emulated_gpu, monkeypatch):
    expected, _ = simulate(*ping(), record_traces=True, engine=NUMPY)
    recording, raw = simulate(*ping(), record_traces=True, engine=CUDA)
    assert raw.target == "cuda"
    assert_equal_spikes(expected, recording)
    assert expected.traces.keys() == recording.traces.keys()
    for name, trace in expected.traces.items():
        # The exponentials of numpy and of the C library may differ in the last bit.
        np.testing.assert_allclose(recording.traces[name], trace, rtol=0, atol=1e-10)
    # Threads in another order: float64 sums on the grid are exact, whatever comes first.
    monkeypatch.setenv("EMULATED_GPU_REVERSED", "1")
    other = ping(seed=6, n_steps=450)
    reversed_, raw = simulate(*other, record_traces=True, engine=CUDA)
    assert not raw.compiled
    assert_equal_spikes(simulate(*other, engine=NUMPY)[0], reversed_)


@pytest.mark.compiler
@pytest.mark.slow
def test_current_based_network_and_what_goes_wrong(emulated_gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "Upper Case"))
    (tmp_path / "Upper Case").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    expected, _ = simulate(*cuba(), engine=NUMPY)
    model = make_model(*cuba(), seed=0, record_traces=False)
    with open_program(model, CUDA) as program:
        recording, _ = simulate(*cuba(), engine=CUDA)
        assert_equal_spikes(expected, recording)
        for name, value, message in (
            ("EMULATED_GPU_ERROR", "100", "no NVIDIA GPU can be used on this machine"),
            ("EMULATED_GPU_ERROR", "209", "compiled for compute capability 9.0, which this GPU"),
            ("EMULATED_GPU_BYTES", "1000", "the GPU's memory is full: use fewer --trials"),
        ):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                with pytest.raises(RuntimeError, match=re.escape(message)) as caught:
                    program.run()
            assert "\n" not in str(caught.value)
        program.run()  # and works again


@pytest.mark.compiler
@pytest.mark.slow
def test_a_scan_as_one_batch_on_the_gpu(emulated_gpu):
    sweep = sweeps.make(scan_var="tau_gaba", scan_values=[4.5, 9, 18])
    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    assert len(set(expected)) == 3
    assert [r["spikes_sha256"] for r in sweeps.run(sweep, engine=CUDA)] == expected


# ---- many copies in one simulation: on any target -----------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        {"scan_var": "ei_strength", "scan_values": [0, 0.5, 2]},  # other synapses in each
        {"scan_var": "stim-overdrive", "scan_values": [1, 3, 5]},  # other input
        {"scan_var": "dt", "scan_values": [0.5, 1, 2]},  # other steps
        {"scan_var": "digit", "scan_values": [0, 1, 2]},
        {"scan_var": "tau_gaba", "scan_values": [4.5, 9, 18], "model": "ping", "trials": 2},
    ],
    ids=lambda flags: flags["scan_var"],
)
def test_points_side_by_side_are_single_runs(flags):
    sweep = sweeps.make(**flags)
    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    assert len(set(expected)) == 3
    for batch in (2, 3):
        assert [r["spikes_sha256"] for r in sweeps.run(sweep, batch=batch)] == expected


def test_copies_with_external_conductance_and_other_dt():
    sweep = sweeps.make(
        without=("dataset", "input_rate", "w_in", "w_in_sparsity"),
        input="synthetic-conductance", scan_var="dt", scan_values=[0.5, 1, 2],
    )  # fmt: skip
    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    assert [r["spikes_sha256"] for r in sweeps.run(sweep, batch=3)] == expected


def test_current_based_copies():
    sweep = sweeps.make(
        without=("w_in", "w_in_sparsity"), model="cuba-ping", w_in=[0.0, 3.0],
        w_in_sparsity=0.5, scan_var="spike_rate", scan_values=[60, 80, 100],
    )  # fmt: skip
    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    assert len(set(expected)) == 3
    assert [r["spikes_sha256"] for r in sweeps.run(sweep, batch=3)] == expected


def test_an_error_in_a_batch_names_its_point():
    sweep = sweeps.make(scan_var="tau_gaba", scan_values=[4.5, 9])

    def measure(parts, recording):
        if parts.spec.synapses.tau_gaba_ms == 9:
            raise ValueError("not this one")
        return {}

    with pytest.raises(ValueError, match="at tau_gaba = 9: not this one"):
        sweeps.run(sweep, measure=measure, batch=2)


def test_a_batch_takes_up_what_an_interrupted_one_left(tmp_path):
    from bridge.runs.store import ResultStore

    sweep = sweeps.make(scan_var="tau_gaba", scan_values=[4.5, 6, 9, 12, 18])
    seen = []

    def measure(parts, recording):
        seen.append(parts.spec.synapses.tau_gaba_ms)
        return measure_run(parts, recording, stim_window_ms=None)

    def store():
        return ResultStore(tmp_path, key="k", n_items=5)

    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    first = sweeps.run(sweep, measure=measure, batch=2, store=store())
    (tmp_path / "000003.npz").unlink()
    seen.clear()
    again = sweeps.run(sweep, measure=measure, batch=2, store=store())
    assert seen == [12]
    for rows in (first, again):
        assert [row["spikes_sha256"] for row in rows] == expected


def test_a_test_set_is_one_batch_on_a_gpu(monkeypatch):
    from sim_brian.evaluate import batch_size

    spec, weights = small_ping()
    assert batch_size(spec, 100_000) < 1000
    monkeypatch.setattr(cuda_toolkit, "gpus", lambda: (cuda_toolkit.Gpu(
        name="A", capability="9.0", memory_mb=80_000),))  # fmt: skip
    assert batch_size(spec, 9000, matrices=weights, gpu=True) == 9000
    monkeypatch.setattr(cuda_toolkit, "gpus", lambda: (cuda_toolkit.Gpu(
        name="A", capability="9.0", memory_mb=100),))  # fmt: skip
    assert batch_size(spec, 9000, matrices=weights, gpu=True) < 500


def test_float32_in_brian2():
    double, _ = simulate(*ping(), record_traces=True, engine=NUMPY)
    single, _ = simulate(
        *ping(), record_traces=True, engine=EngineOptions(target="numpy", dtype="float32")
    )
    one, other = double.traces["v_e_1"][:, :40], single.traces["v_e_1"][:, :40]
    difference = np.abs(one - other).max()  # before spikes can differ
    assert 0 < difference < 1e-3
    rates = [r.mean_rate_hz("e1") if hasattr(r, "mean_rate_hz") else len(r.spikes["e1"])
             for r in (double, single)]  # fmt: skip
    assert abs(rates[0] - rates[1]) < 0.1 * rates[0]


def test_float32_refuses_what_it_cannot_count(monkeypatch):
    monkeypatch.setattr(engine, "_FLOAT32_COUNTS", 1000)
    with pytest.raises(ValueError, match="float32 can't count beyond 1000"):
        simulate(*ping(), engine=EngineOptions(target="numpy", dtype="float32"))


# ---- the machine --------------------------------------------------------------------------------


def fake_smi(folder: Path, monkeypatch, *rows: str, code: int = 0) -> None:
    """Put an nvidia-smi on the path that prints these rows."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    text = "".join(f"echo '{row}'\n" for row in rows)
    program.write_text(f"#!/bin/sh\n{text}exit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


ROWS = ("0, GPU-aaaa, NVIDIA A100, 40960, 8.0", "1, GPU-bbbb, NVIDIA H200, 143771, 9.0")


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA A100", "NVIDIA H200"]),
        ("1", ["NVIDIA H200"]),
        ("1,0", ["NVIDIA H200", "NVIDIA A100"]),
        ("GPU-bb", ["NVIDIA H200"]),
        ("1,7,0", ["NVIDIA H200"]),  # what follows an unknown name is not visible
        ("", []),
        ("-1", []),
    ],
)
def test_visible_gpus(tmp_path, monkeypatch, visible, names):
    fake_smi(tmp_path, monkeypatch, *ROWS)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.name for gpu in cuda_toolkit.gpus()] == names


def test_a_driver_that_fails_lists_nothing(tmp_path, monkeypatch):
    fake_smi(tmp_path, monkeypatch, "NVIDIA-SMI has failed", code=9)
    assert cuda_toolkit.gpus() == ()


def test_compute_capabilities(emulated_gpu):
    assert cuda_toolkit.capabilities() == ("8.0", "9.0", "12.0")
    assert cuda_toolkit.nvcc_version() == "13.0"
    for given in ("9.0", "90", "sm_90", "compute_90"):
        assert cuda_toolkit.check_capability(given) == "9.0"
    assert cuda_toolkit.check_capability("120") == "12.0"
    with pytest.raises(ValueError, match=r"7\.5 is unknown to this compiler.*8\.0, 9\.0, 12\.0"):
        cuda_toolkit.check_capability("7.5")
    with pytest.raises(ValueError, match=r"no compute capability; write it as 9\.0"):
        cuda_toolkit.check_capability("hopper")
    assert cuda_toolkit.runs_on("8.0", "8.6")
    assert not cuda_toolkit.runs_on("8.6", "8.0")
    assert not cuda_toolkit.runs_on("8.0", "9.0")
    assert cuda_toolkit.choose_capability(None) == "9.0"


def test_a_driver_that_does_not_tell_the_capability(emulated_gpu, monkeypatch):
    monkeypatch.setenv("EMULATED_GPUS", "Old driver,4096,")
    model = make_model(*cuba(), seed=0, record_traces=False)
    with pytest.raises(ValueError, match="does not tell its compute capability; name it"):
        open_program(model, CUDA)


def test_building_without_a_gpu_needs_a_name(emulated_gpu, monkeypatch):
    monkeypatch.setenv("EMULATED_GPUS", "")
    model = make_model(*cuba(), seed=0, record_traces=False)
    with pytest.raises(ValueError, match=r"name the compute capability of one: .*8\.0, 9\.0"):
        build_program(model, CUDA)
    with pytest.raises(ValueError, match="makes no program of its own; use cpp or cuda"):
        build_program(model, NUMPY)


def test_curand_of_the_wheel(tmp_path, monkeypatch):
    """Where the toolkit has none, the wheel's is linked under the name that a linker looks for."""
    wheel = tmp_path / "site" / "nvidia" / "cu13"
    for name in ("include/curand.h", "lib/libcurand.so.10"):
        (wheel / name).parent.mkdir(parents=True)
        (wheel / name).touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cuda_toolkit, "nvcc", lambda: "/usr/bin/nvcc")
    monkeypatch.setattr(cuda_toolkit, "nvcc_version", lambda: "13.0")
    monkeypatch.setattr(cuda_toolkit, "_toolkit_roots", lambda compiler: ())
    found = cuda_toolkit.curand()
    if found is not None and tmp_path not in found.include.parents:
        pytest.skip("the wheel nvidia-curand is installed and comes first")
    assert found is not None
    assert not found.bundled
    assert (found.library / "libcurand.so").resolve() == wheel / "lib" / "libcurand.so.10"
    preferences = cuda_toolkit.preferences(["-O3", "-march=native", "-std=c++11"], fast_math=False,
                                           capability="8.0")  # fmt: skip
    assert preferences["codegen.cpp.extra_compile_args_gcc"] == ["-O3", "-std=c++17"]
    assert f"-Wl,-rpath,{wheel / 'lib'}" in preferences["codegen.cpp.extra_link_args"]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("cudaSetDevice failed : CUDA driver version is insufficient", "no NVIDIA GPU"),
        ("terminate called after std::bad_alloc: cudaErrorMemoryAllocation", "memory is full"),
        (
            "./main: error while loading shared libraries: libcurand.so.10: cannot",
            "libcurand.so.10",
        ),
        ("ERROR while allocating 800 bytes in cudaVector.h/reserve()", "heap"),
        ("the provided PTX was compiled with an unsupported toolchain.", "update the driver"),
        ("something else", None),
    ],
)
def test_what_a_program_said(said, line):
    found = cuda_errors.explain(said, "9.0")
    assert found is None if line is None else line in found


def test_what_versions_go_together():
    assert doctor.wrong_versions("3.11.7", "2.8.0", "2.2.6") is None
    assert doctor.wrong_versions("3.12.1", "2.10.1", "2.5.0") is None
    assert "no cython target" in doctor.wrong_versions("3.11.7", "2.8.0", "2.3.5")
    assert "does not import" in doctor.wrong_versions("3.11.7", "2.9.0", "2.4.6")
    assert "needs Python 3.12" in doctor.wrong_versions("3.11.7", "2.10.1", "2.2.6")
    assert "not supported" in doctor.wrong_versions("3.11.7", "2.7.1", "1.26.4")
    assert cuda_toolkit.wrong_pair("2.8.0", "1.0a7") is None
    assert cuda_toolkit.wrong_pair("2.10.1", "1.0b1") is None
    assert "do not go together" in cuda_toolkit.wrong_pair("2.9.0", "1.0a7")


# ---- the real compiler --------------------------------------------------------------------------

KINDS = ("e1_step_codeobject", "e1_spike_thresholder_codeobject", "e1_spike_resetter_codeobject",
         "w_ei_1_pre_codeobject", "spikes_e1_codeobject")  # fmt: skip
"""A kernel of each kind: state update, threshold, reset, synapses, monitor."""


def real_nvcc():
    missing = cuda_toolkit.missing_for_build()
    if missing or toolchain.cpp_compiler() is None:
        pytest.skip(missing or "needs a C++ compiler")


@pytest.mark.compiler
@pytest.mark.slow
def test_a_kernel_of_each_kind_compiles(tmp_path, monkeypatch):
    real_nvcc()
    plain = cuda_project.merge

    def keep_some(
        project, *arguments, **settings
    ):  # whole programs take minutes: make test-cuda-build
        for path in (project / "code_objects").glob("*.cu"):
            if path.stem not in KINDS:
                path.unlink()
        makefile = project / "makefile"
        kept = " ".join(f"code_objects/{kind}.cu" for kind in KINDS)
        makefile.write_text(re.sub(r"(?m)^SRCS = .*$", f"SRCS = {kept}", makefile.read_text()))
        plain(project, *arguments, **settings)

    monkeypatch.setattr(cuda_project, "merge", keep_some)
    monkeypatch.setattr(cuda_project, "UNITS", 1)
    generated(cuba(), tmp_path, capability="9.0")
    goal = "code_objects/unit0.o"
    done = subprocess.run(["make", goal], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = (tmp_path / goal).read_bytes()
    for kind in KINDS:
        assert f"_run_kernel_{kind}".encode() in found


@pytest.mark.cuda_build
@pytest.mark.parametrize("capability", ["8.0", "9.0"])
@pytest.mark.parametrize("network", ["ping", "cuba", "two layers"])
def test_whole_programs_compile(network, capability):
    """Minutes each; run by `make test-cuda-build`. Where there is no GPU, they say so."""
    real_nvcc()
    spec, weights = small_ping()
    one = spec, weights, raster(n_trials=1, n_steps=300, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    parts = {"ping": one, "cuba": cuba(), "two layers": ping()}[network]
    model = make_model(*parts, seed=0, record_traces=False)
    options = EngineOptions(target="cuda", compute_capability=capability)
    with build_program(model, options) as program:
        executable = program.executable()
        assert executable.capability == capability
        assert executable.program.stat().st_size > 1_000_000
        here = cuda_toolkit.gpus()
        if not here:
            with pytest.raises(RuntimeError, match="no NVIDIA GPU can be used on this machine"):
                program.run()
        elif cuda_toolkit.runs_on(capability, here[0].capability):
            expected, _ = simulate(*parts, engine=NUMPY)
            recording, _ = simulate(*parts, engine=options)
            assert_equal_spikes(expected, recording)
