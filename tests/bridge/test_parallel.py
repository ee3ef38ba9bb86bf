"""The parallel map: the same results wherever they are made, and a store that survives."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bridge.runs.parallel import Failed, count_cores, guarded, item_seeds, parallel_map
from bridge.runs.store import MISSING, ResultStore


class Square:
    """A task that says which process made it, and how often it was made."""

    def __init__(self, offset=0, fail_at=None):
        self.offset, self.fail_at, self.calls = offset, fail_at, 0

    def __call__(self, item, seed=None):
        if item == self.fail_at:
            raise ValueError(f"item {item} is bad")
        self.calls += 1
        drawn = None if seed is None else np.random.default_rng(seed).random(3)
        found = {"value": item * item + self.offset, "pid": os.getpid(), "calls": self.calls}
        return found if drawn is None else found | {"drawn": drawn}


def values(results, key="value"):
    return [result[key] for _, result in results]


def test_here_and_in_processes_the_results_are_the_same():
    items = list(range(12))
    here = list(parallel_map(Square, items, jobs=1, seed=7))
    there = list(parallel_map(Square, items, jobs=2, seed=7))
    assert [k for k, _ in here] == [k for k, _ in there] == items
    assert values(here) == values(there) == [k * k for k in items]
    np.testing.assert_array_equal(values(here, "drawn"), values(there, "drawn"))
    assert set(values(here, "pid")) == {os.getpid()}
    assert os.getpid() not in values(there, "pid")
    # Made once in each process, not for every item.
    last = {r["pid"]: r["calls"] for _, r in there}
    assert sum(last.values()) == len(items)
    assert len(last) <= 2


def test_seeds_belong_to_items_and_not_to_their_number():
    three, five = item_seeds(3, 3), item_seeds(3, 5)
    for one, other in zip(three, five, strict=False):
        assert one.generate_state(4).tolist() == other.generate_state(4).tolist()
    drawn = {tuple(s.generate_state(4)) for s in five}
    assert len(drawn) == 5
    assert item_seeds(4, 1)[0].generate_state(1) != item_seeds(3, 1)[0].generate_state(1)


def test_one_job_apart_leaves_this_process_free():
    (result,) = values(parallel_map(Square, [5], jobs=1, apart=True), "pid")
    assert result != os.getpid()


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_an_item_is_raised_here(jobs):
    with pytest.raises(ValueError, match="item 3 is bad"):
        list(parallel_map(functools.partial(Square, fail_at=3), range(8), jobs=jobs))


def test_a_slow_reader_holds_the_workers_back(tmp_path):
    """Memory does not grow with the number of items: few of them are started ahead."""
    results = parallel_map(functools.partial(Touch, tmp_path), range(40), jobs=2)
    next(results)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 6
    results.close()


class Touch:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, item):
        (self.folder / str(item)).touch()
        return {}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_workers_of_a_killed_process_do_not_stay():
    code = (
        "import time; from test_parallel import Square; from bridge.runs.parallel import *\n"
        "found = parallel_map(Square, range(99), jobs=2)\n"
        "print(next(found)[1]['pid'], flush=True)\n"
        "time.sleep(1e9)"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    assert Path(f"/proc/{worker}").exists()
    process.kill()
    process.wait()
    process.stdout.close()
    while Path(f"/proc/{worker}").exists():  # for ever, if it stays
        time.sleep(0.1)


def test_workers_import_what_the_program_does_not_what_lies_in_the_working_folder(tmp_path):
    from shadows import make_shadows  # not for the workers that import this module

    script = tmp_path / "program" / "job.py"
    script.parent.mkdir()
    (script.parent / "mine.py").write_text("class Half:\n    def __call__(self, n):\n"
                                           "        return {'half': n / 2}\n")  # fmt: skip
    script.write_text(
        "import os; from mine import Half; from bridge.runs.parallel import parallel_map\n"
        "before = dict(os.environ)\n"
        "print(sum(found['half'] for _, found in parallel_map(Half, [1, 2, 5], jobs=2)))\n"
        "assert dict(os.environ) == before\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=make_shadows(tmp_path / "work"), capture_output=True,
        text=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "4.0\n", "")


def test_bad_numbers_of_jobs_are_refused():
    with pytest.raises(ValueError, match="--jobs = 0"):
        list(parallel_map(Square, [1], jobs=0))
    assert 1 <= count_cores() <= (os.cpu_count() or 1)


def test_guarded_tasks_say_what_failed_and_go_on():
    make = guarded(functools.partial(Square, fail_at=3))
    for how in ({"jobs": 1}, {"jobs": 2}, {"jobs": 2, "threads": True}):
        found = dict(parallel_map(make, range(6), **how))
        failed = found.pop(3)
        assert isinstance(failed, Failed)
        assert failed.error == "ValueError: item 3 is bad"
        assert "in __call__" in failed.traceback
        assert [found[k]["value"] for k in (0, 1, 2, 4, 5)] == [0, 1, 4, 16, 25]


# ------------------------------------------------------------------------------------ the store


def test_a_result_comes_back_as_it_was(tmp_path):
    """Type by type, digit by digit, wherever it is nested."""
    results = [
        None, True, 3, 0.1 + 0.2, float("nan"), float("-inf"), "µ", [], (), {}, [1, (2.0, "a")],
        np.float64(0.1), np.float32(0.1), np.int64(7), np.bool_(True), np.str_("ab"),
        {"row": {"rate": -0.0, "none": None, "array": 1, "scalar": [["list", 0]]}},
        {"spikes": np.array([[1, 2, 3]], dtype=np.int32), "empty": np.empty((0, 3), np.int32),
         "deep": [{"in": np.array([1.5, np.nan])}], "zero": np.array(2.0)},
    ]  # fmt: skip
    store = ResultStore(tmp_path / "s", key="k", n_items=len(results))
    for k, result in enumerate(results):
        store.put(k, result)
        found = store.get(k)
        assert repr(found) == repr(result)
        assert type(found) is type(result)
    for name in ("spikes", "empty", "zero"):
        assert store.get(len(results) - 1)[name].dtype == results[-1][name].dtype
        assert store.get(len(results) - 1)[name].shape == results[-1][name].shape
    assert store.done() == list(range(len(results)))
    for bad in (np.array([object()]), object(), {1: 2}, {1}, [b"bytes"]):
        with pytest.raises(TypeError, match="can't be kept"):
            store.put(0, bad)
    assert store.get(0) is None, "what was there stays"


def test_a_store_tells_whose_it_is_and_touches_nothing(tmp_path):
    def store(key, n_items=2):
        return ResultStore(tmp_path / "s", key=key, n_items=n_items)

    assert not store("one").is_of_another_job()
    assert store("one").done() == []
    assert store("one").get(0) is MISSING
    assert not (tmp_path / "s").exists()
    store("one").put(0, 1)
    assert not store("one").is_of_another_job()
    assert store("other").is_of_another_job()
    assert store("one", 3).is_of_another_job()
    (tmp_path / "s" / "job.json").write_text("{")
    assert store("one").is_of_another_job()
    (tmp_path / "s" / "job.json").unlink()
    assert store("one").is_of_another_job()  # items of nobody
    store("one").remove()
    assert not (tmp_path / "s").exists()


# ------------------------------------------------------------------------------------ the cluster


def test_a_missing_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pingbridge\[cluster\]"):
        list(parallel_map(Square, [1], scheduler="tcp://127.0.0.1:1"))


def test_nobody_at_the_address_is_an_error_in_words(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("bridge.runs.cluster.CONNECT_S", 0.5)
    with pytest.raises(ValueError, match="no Dask scheduler there"):
        list(parallel_map(Square, [1], scheduler="tcp://127.0.0.1:9"))


def test_a_cluster_gives_the_same_results(cluster):
    items = list(range(9))
    here = list(parallel_map(Square, items, jobs=1, seed=7))
    there = list(parallel_map(Square, items, scheduler=cluster, seed=7))
    assert values(here) == values(there)
    np.testing.assert_array_equal(values(here, "drawn"), values(there, "drawn"))
    assert os.getpid() not in values(there, "pid")
    with pytest.raises(ValueError, match="item 3 is bad"):
        list(parallel_map(functools.partial(Square, fail_at=3), items, scheduler=cluster))
    assert threading.active_count() < 50
