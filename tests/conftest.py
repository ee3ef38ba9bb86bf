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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what compiles by its parameter; put long tests first.

    No worker is then alone with one at the end. Those that share a cluster follow one another: one
    worker starts one, not each its own.
    """
    for item in items:
        given = getattr(getattr(item, "callspec", None), "params", {})
        if any(given.get(name) in ("cpp", "cython") for name in ("kernel", "target")):
            item.add_marker("compiler")
    items.sort(key=lambda item: (
        item.get_closest_marker("slow") is None, "cluster" not in getattr(item, "fixturenames", ())
    ))  # fmt: skip


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is compiled where nothing can compile it; a compiler that fails is no reason."""
    if item.get_closest_marker("compiler"):
        from sim_brian.engine.toolchain import missing_for

        missing = missing_for("cpp")
        if missing is not None:
            pytest.skip(missing)


class _Garbage:
    """Keeps what stays in memory out of later collections.

    Brian2 collects garbage at the begin of every run; with torch, sympy and the rest in memory that
    takes longer than a small run itself (a third of the whole suite).
    """

    n_modules = n_searched = 0

    def set_aside(self) -> None:
        """Set aside what is in memory, if that has grown or been searched often."""
        searched = gc.get_stats()[2]["collections"]
        if len(sys.modules) > self.n_modules + 50 or searched > self.n_searched + 10:
            gc.collect()
            gc.freeze()
            self.n_modules, self.n_searched = len(sys.modules), searched + 1


_GARBAGE = _Garbage()


def pytest_collection_finish() -> None:
    """Set aside what the test files import."""
    _GARBAGE.set_aside()


@pytest.fixture(autouse=True)
def what_stays_in_memory_is_not_searched_for_garbage():
    """Set aside what a test has imported."""
    yield
    _GARBAGE.set_aside()


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
