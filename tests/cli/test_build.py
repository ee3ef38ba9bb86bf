"""build, doctor, and running what was built."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import SMALL, same

from cli import main
from sim_brian.engine import doctor
from sim_brian.engine.cuda import toolkit as cuda_toolkit

NET = SMALL[: SMALL.index("--codegen")]

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::SyntaxWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def built(call, *flags, name="built"):
    return call("build", *NET, *flags, name=name, record=False)


@pytest.mark.compiler
def test_a_program_for_the_cpu(call, monkeypatch, tmp_path):
    made = built(call, "--codegen", "cpp")
    assert made.code == 0, made.err
    assert json.loads((made.folder / "program.json").read_text())["target"] == "cpp"
    assert (made.folder / "source" / "main.cpp").is_file()
    assert made.config["mode"] == "build"
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(tmp_path / "empty"))  # it needs no cache
    monkeypatch.setenv("CXX", "no-such-compiler")  # and no compiler
    ran = call("sim", "--from-dir", made.folder, "--program", made.folder, name="ran")
    assert ran.code == 0, ran.err
    assert ran.config["execution"]["codegen"] == "cpp"
    assert not ran.config["execution"]["compiled"]
    assert same(ran.recording, call("sim", *SMALL, name="plain").recording)
    for flags, message in (
        (("--n-hidden", "24"), "is the program of another network"),
        (("--dtype", "float32"), "computes in float64; this run in float32"),
        (("--codegen", "numpy"), "is made for --codegen cpp"),
        (("--backend", "torch"), "--program can't apply to --backend torch"),
    ):
        refused = call("sim", "--from-dir", made.folder, "--program", made.folder, *flags,
                       name="refused")  # fmt: skip
        assert refused.code == 2, flags
        assert message in refused.err
    described = json.loads((made.folder / "program.json").read_text())
    binary = (made.folder / "main").read_bytes()
    (made.folder / "main").write_text(f"#!/bin/sh\ntouch {tmp_path}/touched\n")
    replaced = call("sim", "--from-dir", made.folder, "--program", made.folder, name="replaced")
    assert (replaced.code, "is not what was built there" in replaced.err) == (2, True)
    assert not (tmp_path / "touched").exists()
    (made.folder / "main").write_bytes(binary)
    for content, message in (
        ("{", "damaged; build it again"),
        ("[" * 100_000, "damaged; build it again"),
        (json.dumps(described | {"binary": 3}), "damaged; build it again"),
        (json.dumps(described | {"format_version": 1}), "format version 1, and this is version 2"),
    ):
        (made.folder / "program.json").write_text(content)
        damaged = call("sim", "--from-dir", made.folder, "--program", made.folder, name="damaged")
        assert (damaged.code, message in damaged.err) == (2, True), damaged.err


@pytest.mark.compiler
@pytest.mark.slow
def test_a_program_for_a_gpu_elsewhere(call, emulated_gpu, monkeypatch):
    monkeypatch.setenv("EMULATED_GPUS", "")  # nvcc and no GPU
    refused = call("sim", *NET, "--codegen", "cuda", name="refused")
    assert refused.code == 2
    assert "needs an NVIDIA GPU and nvidia-smi lists none" in refused.err
    refused = built(call, "--codegen", "cuda", name="nameless")
    assert refused.code == 2
    assert "name the compute capability of one: --compute-capability 8.0, 9.0" in refused.err
    refused = built(call, "--codegen", "cuda", "--compute-capability", "7.0", name="unknown")
    assert refused.code == 2
    assert "7.0 is unknown to this compiler; nvcc here compiles for 8.0, 9.0" in refused.err
    made = built(call, "--compute-capability", "8.0", "--codegen", "cuda")
    assert made.code == 0, made.err
    assert json.loads((made.folder / "program.json").read_text())["capability"] == "8.0"
    for path in made.folder.rglob("*.o"):
        raise AssertionError(f"{path} is left over")
    # Another machine: a GPU, no compiler.
    monkeypatch.setenv("EMULATED_GPUS", "Emulated GPU,16384,8.0")
    monkeypatch.setattr(cuda_toolkit, "nvcc", lambda: None)
    ran = call("sim", "--from-dir", made.folder, "--program", made.folder, name="ran")
    assert ran.code == 0, ran.err
    assert same(ran.recording, call("sim", *SMALL, name="plain").recording)
    # And one without.
    monkeypatch.setenv("EMULATED_GPU_ERROR", "100")
    failed = call("sim", "--from-dir", made.folder, "--program", made.folder, name="failed")
    assert failed.code == 1
    assert failed.err.count("\n") == 1
    assert failed.err.startswith("error: no NVIDIA GPU can be used on this machine")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("build", "--codegen", "numpy"), "makes no program of its own; use cpp or cuda"),
        (("build", "--save-recording", "x.npz"), "can't apply to build"),
        (("build", "--backend", "torch"), "runs in Brian2"),
        (("sim", "--compute-capability", "9.0"), "applies to --codegen cuda only"),
        (("sim", "--program", "nowhere"), "there is no program in it"),
        (("sim", "--deterministic"), "--deterministic is for torch"),
        (("sim", "--backend", "torch", "--compute-capability", "9.0"), "is for Brian2"),
        (("scan", "--batch", "0"), "must be >= 1"),
        (("scan", "--batch", "2", "--scheduler", "tcp://127.0.0.1:1", "--codegen", "numpy"),
         "--batch and --scheduler exclude each other"),
    ],
)  # fmt: skip
def test_what_is_refused(call, flags, message):
    command, *rest = flags
    outcome = call(command, "--n-hidden", "16", "--t-ms", "300", *rest, record=False)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_points_side_by_side_from_the_command_line(call):
    flags = (*SMALL, "--scan-var", "tau_gaba", "--scan-values", "6", "9", "12")
    alone = call("scan", *flags, "--jobs", "1", name="alone", record=False)
    together = call("scan", *flags, "--batch", "3", name="together", record=False)
    assert (alone.code, together.code) == (0, 0), together.err
    film = call("video", *flags, "--batch", "2", name="film", record=False)
    assert film.code == 0, film.err
    tables = [(o.folder / "scan.csv").read_text() for o in (alone, together, film)]
    assert tables[0] == tables[1] == tables[2]


# ---- doctor -------------------------------------------------------------------------------------


def examined(capsys, *flags):
    code = main(["doctor", *flags])
    told = capsys.readouterr()
    states = {
        line[3:].split("  ")[0].strip(): (line[:2].strip(), line)
        for line in told.out.splitlines() if line[:2].strip() in ("ok", "--", "!!")
    }  # fmt: skip
    return code, states, told.err


def on_path(folder: Path, *names: str) -> str:
    """Return a PATH with these programs of this machine and no others."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return str(folder)


def test_doctor_without_nvcc(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin", "g++", "make"))
    monkeypatch.setattr(cuda_toolkit, "nvcc", lambda: None)
    code, states, _ = examined(capsys)
    assert code == 0  # nothing is wrong: there just is no CUDA
    assert states["nvcc"][0] == "--"
    assert "install the CUDA toolkit" in states["nvcc"][1]
    assert states["--codegen cuda"][0] == states["cuda-build"][0] == "--"
    assert states["--codegen numpy"][0] == "ok"
    for needs in ("cuda", "cuda-build"):
        code, _, err = examined(capsys, "--needs", needs)
        assert code == 1
        assert err.startswith("error: ")
        assert err.count("\n") == 1


def test_doctor_with_nvcc_and_no_gpu(capsys, emulated_gpu, monkeypatch):
    monkeypatch.setenv("EMULATED_GPUS", "")
    code, states, _ = examined(capsys, "--needs", "cuda-build")
    assert code == 0
    assert "CUDA 13.0, compiles for 8.0, 9.0, 12.0" in states["nvcc"][1]
    assert states["GPU"][0] == "--"
    assert states["cuda-build"][0] == "ok"
    assert states["--codegen cuda"][0] == "--"
    assert "nvidia-smi lists none" in states["--codegen cuda"][1]
    assert examined(capsys, "--needs", "cuda")[0] == 1


def test_doctor_with_a_gpu(capsys, emulated_gpu, monkeypatch):
    code, states, _ = examined(capsys, "--needs", "cuda")
    assert code == 0
    assert "Emulated GPU (compute capability 9.0, 16384 MiB)" in states["GPU"][1]
    monkeypatch.setenv("EMULATED_GPUS", "Old GPU,4096,6.1")
    code, states, err = examined(capsys)
    assert code == 1
    assert "does not compile for compute capability 6.1" in err


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"brian2": "2.9.0", "brian2cuda": "1.0a7"}, "do not go together"),
        ({"brian2": "2.9.0", "numpy": "2.4.6"}, "does not import with numpy 2.4.6"),
        ({"brian2": "2.7.1"}, "not supported"),
    ],
)
def test_doctor_with_versions_that_do_not_fit(capsys, monkeypatch, versions, message):
    plain = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: versions.get(name) or plain(name))
    code, _, err = examined(capsys)
    assert code == 1
    assert message in err
    assert err.count("\n") == 1


def test_doctor_without_a_compiler(capsys, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    code, states, _ = examined(capsys)
    assert code == 0
    assert states["C++ compiler"][0] == states["--codegen cpp"][0] == "--"
    assert examined(capsys, "--needs", "cpp")[0] == 1
    assert os.environ["CXX"] == "no-such-compiler"
