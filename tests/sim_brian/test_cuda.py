"""The CUDA target: its code, its errors, and its programs run with an emulated GPU.

The emulation (helpers/cuda_on_cpu) compiles what brian2cuda generates with the host's compiler and
runs each kernel thread by thread, with device memory of its own: order of operations, copies
between host and device, schedule and results are the real program's; arithmetic is the host's.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess

import numpy as np
import pytest
import sweeps
from lateral import small
from networks import driven_cuba, driven_ping, raster, small_ping
from rate_models import fields
from scipy.sparse import csr_matrix

from sim_brian.clustered.lif_net import ExternalDrive, LIFNet
from sim_brian.engine import build_cache, toolchain
from sim_brian.engine import program as engine
from sim_brian.engine.cuda import project as cuda_project
from sim_brian.engine.cuda import toolkit as cuda_toolkit
from sim_brian.engine.program import EngineOptions, build_program, open_program
from sim_brian.engine.standalone import generate
from sim_brian.lateral_line.train import run_network
from sim_brian.ping.run import make_model, simulate
from sim_brian.rate_lif.network import LIF_network_fnc

NUMPY = EngineOptions(target="numpy")
CUDA = EngineOptions(target="cuda")

# brian2cuda leaves files to the garbage collector and uses regular expressions carelessly.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::SyntaxWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


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
        files = generated(driven_ping(), tmp_path, traces=True, capability="8.0")
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
    generated(driven_cuba(), tmp_path, fast_math=True, dtype="float32")
    assert "-use_fast_math" in (tmp_path / "makefile").read_text()
    code = "".join(p.read_text() for p in (tmp_path / "code_objects").glob("*.cu"))
    assert "float v = " in code
    assert "double v = " not in code


class Generated(Exception):
    """Raised where a program would be compiled."""


def lateral_line(engine):
    run_network(small(), engine=engine)


def converted_rate_network(engine):
    LIF_network_fnc(fields(), 12.0, np.zeros((1, 100)), noise=0, engine=engine)


def clustered_network(engine, **given):
    net = LIFNet(csr_matrix(np.full((4, 4), 0.1)), 1.0, 0.02, 0.005, 0.0, 1.0, delta_t=1e-3)
    net.run(20, engine=engine, **given)


@pytest.mark.parametrize("run", [lateral_line, converted_rate_network, clustered_network])
def test_every_other_network_is_generated(run, monkeypatch):
    pytest.importorskip("brian2cuda")

    def found(key, project, *, jobs):
        sources = re.search(r"(?m)^SRCS = (.*)$", (project / "makefile").read_text())[1]
        raise Generated(sources)

    monkeypatch.setattr(toolchain, "missing_for", lambda target: None)
    monkeypatch.setattr(cuda_toolkit, "choose_capability", lambda asked: "9.0")
    monkeypatch.setattr(build_cache, "get_or_compile", found)
    with pytest.raises(Generated, match=r"code_objects/unit0\.cu .*host\.cu"):
        run(CUDA)


def test_random_numbers_of_a_network_are_refused(monkeypatch, capfd):
    """Drawn while it runs, as by the clustered network alone: they could not be seeded."""
    pytest.importorskip("brian2cuda")
    monkeypatch.setattr(toolchain, "missing_for", lambda target: None)
    monkeypatch.setattr(cuda_toolkit, "choose_capability", lambda asked: "9.0")
    drive = ExternalDrive(
        nu_hz=np.full((1, 4), 7.0), c_ext=np.full((1, 4), 9.0), j_ext=np.ones((1, 4))
    )
    with pytest.raises(ValueError, match="--codegen cuda can't seed the random numbers"):
        clustered_network(CUDA, drive=drive)
    assert capfd.readouterr().err == ""


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
    generated(driven_cuba(), tmp_path)
    makefile = (tmp_path / "makefile").read_text()
    assert f"NVCC = @/opt/cuda/bin/nvcc -ccbin {shutil.which('g++')}\n" in makefile


# ---- the programs -------------------------------------------------------------------------------


@pytest.mark.compiler
@pytest.mark.slow
def test_two_layers_with_traces(emulated_gpu, monkeypatch):
    expected, _ = simulate(*driven_ping(), record_traces=True, engine=NUMPY)
    recording, raw = simulate(*driven_ping(), record_traces=True, engine=CUDA)
    assert raw.target == "cuda"
    assert_equal_spikes(expected, recording)
    assert expected.traces.keys() == recording.traces.keys()
    for name, trace in expected.traces.items():
        # The exponentials of numpy and of the C library may differ in the last bit.
        np.testing.assert_allclose(recording.traces[name], trace, rtol=0, atol=1e-10)
    # Threads in another order: float64 sums on the grid are exact, whatever comes first.
    monkeypatch.setenv("EMULATED_GPU_REVERSED", "1")
    other = driven_ping(seed=6, n_steps=450)
    reversed_, raw = simulate(*other, record_traces=True, engine=CUDA)
    assert not raw.compiled
    assert_equal_spikes(simulate(*other, engine=NUMPY)[0], reversed_)


@pytest.mark.compiler
@pytest.mark.slow
def test_current_based_network_and_what_goes_wrong(emulated_gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "Upper Case"))
    (tmp_path / "Upper Case").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    expected, _ = simulate(*driven_cuba(), engine=NUMPY)
    model = make_model(*driven_cuba(), seed=0, record_traces=False)
    with open_program(model, CUDA) as program:
        recording, _ = simulate(*driven_cuba(), engine=CUDA)
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
    generated(driven_cuba(), tmp_path, capability="9.0")
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
    parts = {"ping": one, "cuba": driven_cuba(), "two layers": driven_ping()}[network]
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


@pytest.mark.cuda_build
@pytest.mark.parametrize("run", [lateral_line, converted_rate_network])
def test_every_other_program_compiles(run, tmp_path, monkeypatch):
    """As above, through the calls that run these networks."""
    real_nvcc()
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(tmp_path))
    if cuda_toolkit.gpus():
        run(CUDA)
        return
    monkeypatch.setattr(toolchain, "missing_for", lambda target: None)
    monkeypatch.setattr(cuda_toolkit, "choose_capability", lambda asked: "9.0")
    with pytest.raises(RuntimeError, match="no NVIDIA GPU can be used on this machine"):
        run(CUDA)
    (program,) = tmp_path.glob("programs/*/main")
    assert program.stat().st_size > 1_000_000
