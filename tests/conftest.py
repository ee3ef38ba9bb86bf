"""Shared fixtures: the reference data, the command line, the targets."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Compiled programs of the tests stay apart from the user's own.
os.environ.setdefault(
    "PINGBRIDGE_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "pingbridge")
)
# Nor are they asked for their commit at each of a thousand runs (tests/bridge/test_provenance.py).
os.environ.setdefault("PINGBRIDGE_GIT_SHA", "unknown")
# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long tests first, so that no worker is alone with one at the end.

    Those that share a cluster follow one another: one worker then starts one, not each its own.
    """
    items.sort(key=lambda item: (
        item.get_closest_marker("slow") is None, "cluster" not in getattr(item, "fixturenames", ())
    ))  # fmt: skip


class _Garbage:
    """Keeps what the imports left out of later collections.

    Brian2 collects garbage at the begin of every run; with torch, sympy and the rest in memory that
    takes longer than a small run itself (a third of the whole suite).
    """

    loaded = 0

    def set_modules_aside(self) -> None:
        if len(sys.modules) > self.loaded + 50:
            gc.collect()
            gc.freeze()
            self.loaded = len(sys.modules)


_GARBAGE = _Garbage()


def pytest_collection_finish() -> None:
    """Set aside what the test files import."""
    _GARBAGE.set_modules_aside()


@pytest.fixture(autouse=True)
def loaded_modules_are_not_searched_for_garbage():
    """Set aside what a test has imported."""
    yield
    _GARBAGE.set_modules_aside()


@pytest.fixture(scope="session")
def reference() -> Path:
    """Return the folder of the reference data: the project's, or one that the environment names."""
    named = os.environ.get("PINGBRIDGE_REFERENCE")
    folder = Path(named) if named else Path(__file__).parent / "reference"
    assert folder.is_dir(), f"PINGBRIDGE_REFERENCE = {named} is not a folder"
    return folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Return the address of a Dask scheduler with two worker processes on this machine."""
    pytest.importorskip("distributed")
    from cluster import local_cluster

    with local_cluster(tmp_path_factory.mktemp("dask")) as address:
        yield address


@pytest.fixture
def not_optimised(monkeypatch):
    """Compile with -O0: cython builds a module for each of dozens of objects, twice as fast so."""
    from brian2 import prefs

    name = "codegen.cpp.extra_compile_args_gcc"
    flags = ["-O0" if flag.startswith("-O") else flag for flag in prefs[name]]
    assert "-O0" in flags
    monkeypatch.setitem(prefs, name, flags)


@pytest.fixture
def emulated_gpu(monkeypatch):
    """Return the home of a CUDA toolkit whose programs run on the CPU; a GPU is listed, too."""
    pytest.importorskip("brian2cuda")
    from gpu_emulation import environment, install

    from sim_brian.engine import toolchain

    missing = toolchain.missing_for("cpp")
    if missing:
        pytest.skip(missing)
    home = install(Path(os.environ["PINGBRIDGE_CACHE_DIR"]).absolute())
    for name, value in environment(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return home
