"""The wheel works alone: installed in a fresh environment, run from an empty folder.

``make test-wheel`` does the same on every interpreter that it names.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import tarfile
import zipfile

import installed as packaging
import pytest
from command_line import same
from shadows import make_shadows

from bridge.formats.recordings import load_recording
from bridge.home import CONFIGS
from bridge.runs.recipes import shipped_recipes

PYTHONS = os.environ.get("PINGBRIDGE_WHEEL_PYTHONS", "").split() or [sys.executable]
TORCH = shlex.split(os.environ.get("PINGBRIDGE_WHEEL_TORCH", ""))
ROOMS = ("bridge", "configs", "scope", "sim_brian", "studies", "train_torch")
SMALL = ["--n-hidden", "16", "--dt", "0.5", "--t-ms", "120", "--input-rate", "200",
         "--codegen", "numpy"]  # fmt: skip


def _name(python: str) -> str:
    return "this Python" if python == sys.executable else python.replace("/", "_")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return packaging.build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session", params=PYTHONS, ids=_name)
def installed(request, built, tmp_path_factory):
    python = request.param
    if packaging.version_of(python) is None:
        pytest.skip(f"{python} does not start here")
    return packaging.install(built.wheel, tmp_path_factory.mktemp("env") / "venv", python, TORCH)


def files(folder, *below):
    """Return the files of a folder, or of some of its folders, by their relative names."""
    return {
        path.relative_to(folder).as_posix()
        for start in (below or (".",))
        for path in (folder / start).rglob("*")
        if path.is_file()
    }


def test_the_source_distribution_holds_all_that_a_checkout_has(built):
    with tarfile.open(built.sdist) as archive:
        inside = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    assert files(built.copy) - inside <= {".gitignore"}
    assert {"tests/reference/README.md", "constraints.txt", "CHANGELOG.md"} <= inside


def test_the_wheel_holds_the_rooms_whole_and_nothing_else(built):
    inside = {name for name in zipfile.ZipFile(built.wheel).namelist() if ".dist-info/" not in name}
    facade = files(built.copy, "pingbridge") if (built.copy / "pingbridge").is_dir() else set()
    assert inside == files(built.copy, *ROOMS) | facade | {"cli.py"}
    assert {"configs/ping/demo.yaml", "train_torch/kernels/simd.h", "scope/py.typed"} <= inside


def test_the_program_knows_its_version_and_its_recipes(installed, tmp_path):
    assert (
        installed.program("--version", cwd=tmp_path).stdout == f"pingbridge {installed.version}\n"
    )
    told = installed.program("recipes", cwd=tmp_path).stdout
    assert set(re.findall(r"^  (\S+)", told, re.MULTILINE)) == set(shipped_recipes())
    shown = installed.program("recipes", "demo", cwd=tmp_path)
    assert shown.stdout == (CONFIGS / "ping" / "demo.yaml").read_text()
    assert shown.stderr == f"{installed.packages / 'configs' / 'ping' / 'demo.yaml'}\n"
    assert not list(tmp_path.iterdir())


def test_networks_and_theory_run(installed, tmp_path):
    told = installed.commands(
        ["image", "--config", "demo", "--n-hidden", "32", "--t-ms", "150", "--out-dir", "image"],
        ["scan", *SMALL, "--scan-var", "tau_gaba", "--scan-values", "6", "12", "--jobs", "1",
         "--out-dir", "scan"],
        ["meanfield", "solve", "--n-runs", "5"],
        ["clustered", "run", "--n-repeats", "1", "--duration-sec", "0.2", "--backend", "numpy",
         "--no-plot"],
        cwd=tmp_path,
    )  # fmt: skip
    assert f"rooms: {installed.packages}/bridge/__init__.py\n" in told
    assert (tmp_path / "image" / "snapshot.png").stat().st_size > 20_000
    assert len((tmp_path / "scan" / "scan.csv").read_text().splitlines()) == 3
    solved = tmp_path / "simulations" / "meanfield_solve"
    assert (solved / "data" / "fixed_points.csv").is_file()
    assert (tmp_path / "simulations" / "snn_long_run" / "analysis" / "summary.json").is_file()

    config = json.loads((tmp_path / "image" / "config.json").read_text())
    assert config["config"] == str(installed.packages / "configs" / "ping" / "demo.yaml")
    block = config["provenance"]
    assert block["tool_version"] == installed.version
    assert block["git_sha"] == "unknown"
    assert re.fullmatch(r"packages:[0-9a-f]{12}", block["python_env_hash"])
    assert block["python"]["executable"] == str(installed.folder / "bin" / "python")
    config = json.loads((solved / "config.json").read_text())
    assert config["config"] == str(
        installed.packages / "configs" / "clustered" / "2_cluster_mf.yaml"
    )
    assert config["provenance"]["python_env_hash"] == block["python_env_hash"]


def test_run_sh_runs_the_wheel_whatever_lies_in_the_working_folder(installed, tmp_path):
    work = make_shadows(tmp_path / "work")
    installed.program("sim", *SMALL, "--out-dir", "run", "--save-recording", "run.h5", cwd=work)
    before = load_recording(work / "run.h5")
    (work / "run.h5").unlink()
    script = work / "run" / "run.sh"
    assert "PYTHONPATH" not in script.read_text()
    done = packaging.call([str(script)], cwd=tmp_path)
    assert "my own" not in done.stdout + done.stderr
    assert same(before, load_recording(work / "run.h5"))
    assert len(before.spikes["e1"])


@pytest.mark.compiler
def test_training_compiles_the_loops_that_ship(installed, tmp_path):
    if not installed.has_torch:
        pytest.skip("no torch in this environment (make test-wheel TORCH='what to ask pip for')")
    if shutil.which(os.environ.get("CXX") or "g++") is None:
        pytest.skip("no C++ compiler (g++)")
    told = installed.commands(
        ["train", "--dataset", "scikit", "--epochs", "1", "--dt", "1", "--n-hidden", "16",
         "--max-samples", "100", "--observe", "none", "--train-kernel", "cpp", "--out-dir", "net"],
        cwd=tmp_path,
    )  # fmt: skip
    assert f"kernels: {installed.packages / 'train_torch' / 'kernels'} None\n" in told
    assert (tmp_path / "net" / "weights.pth").is_file()
