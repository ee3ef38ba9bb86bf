"""What a machine has for CUDA, and what is said where something is lacking."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from networks import driven_cuba

from sim_brian.engine import doctor
from sim_brian.engine.cuda import errors as cuda_errors
from sim_brian.engine.cuda import toolkit as cuda_toolkit
from sim_brian.engine.program import EngineOptions, build_program, open_program
from sim_brian.ping.run import make_model

NUMPY = EngineOptions(target="numpy")
CUDA = EngineOptions(target="cuda")


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
    model = make_model(*driven_cuba(), seed=0, record_traces=False)
    with pytest.raises(ValueError, match="does not tell its compute capability; name it"):
        open_program(model, CUDA)


def test_building_without_a_gpu_needs_a_name(emulated_gpu, monkeypatch):
    monkeypatch.setenv("EMULATED_GPUS", "")
    model = make_model(*driven_cuba(), seed=0, record_traces=False)
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
