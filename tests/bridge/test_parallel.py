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

from bridge.runs.parallel import count_cores, item_seeds, parallel_map
from bridge.runs.store import ResultStore, job_key


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


def test_results_come_in_the_order_asked_for():
    order = [3, 0, 2, 1]
    results = list(parallel_map(Square, [1, 2, 3, 4], jobs=2, order=order))
    assert [k for k, _ in results] == order
    assert values(results) == [16, 1, 9, 4]
    with pytest.raises(ValueError, match="every item once"):
        list(parallel_map(Square, [1, 2], jobs=1, order=[0, 0]))


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
        "time.sleep(99)"
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
    end = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()


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


# ------------------------------------------------------------------------------------ the store


def test_only_what_is_missing_is_computed(tmp_path):
    def store():
        return ResultStore(tmp_path / "s", key=job_key({"a": 1}), n_items=5)

    results = parallel_map(Square, range(5), jobs=1, store=store())
    assert [next(results)[0], next(results)[0]] == [0, 1]
    results.close()
    assert store().done() == [0, 1]
    # A task with another offset betrays which items it has computed.
    again = list(parallel_map(functools.partial(Square, 100), range(5), jobs=2, store=store()))
    assert values(again) == [0, 1, 104, 109, 116]
    assert store().done() == [0, 1, 2, 3, 4]


def test_a_result_comes_back_as_it_was(tmp_path):
    result = {
        "row": {"rate": 0.1 + 0.2, "none": None, "nan": float("nan"), "name": "µ", "flag": True},
        "spikes": np.array([[1, 2, 3]], dtype=np.int32), "empty": np.empty((0, 3), np.int32),
    }  # fmt: skip
    store = ResultStore(tmp_path / "s", key="k", n_items=1)
    store.put(0, result)
    found = store.get(0)
    assert repr(found["row"]) == repr(result["row"])
    for name in ("spikes", "empty"):
        np.testing.assert_array_equal(found[name], result[name])
        assert found[name].dtype == result[name].dtype
    with pytest.raises(TypeError, match="array of objects"):
        store.put(0, {"bad": np.array([object()])})


def test_a_damaged_item_is_computed_again(tmp_path):
    store = ResultStore(tmp_path / "s", key="k", n_items=2)
    list(parallel_map(Square, range(2), jobs=1, store=store))
    (tmp_path / "s" / "000001.npz").write_bytes(b"half")
    found = values(parallel_map(functools.partial(Square, 100), range(2), jobs=1, store=store))
    assert found == [0, 101]


def test_items_of_another_job_are_not_mixed_in(tmp_path):
    ResultStore(tmp_path / "s", key="one", n_items=2)
    with pytest.raises(ValueError, match="another configuration"):
        ResultStore(tmp_path / "s", key="other", n_items=2)
    with pytest.raises(ValueError, match="another configuration"):
        ResultStore(tmp_path / "s", key="one", n_items=3)
    (tmp_path / "s" / "job.json").write_text("{")
    with pytest.raises(ValueError, match="another configuration"):
        ResultStore(tmp_path / "s", key="one", n_items=2)


def test_the_key_sees_every_number():
    base = {"values": [1.0, 2.0], "weights": {"w": np.eye(2)}}
    same = {"weights": {"w": np.eye(2)}, "values": (1.0, 2.0)}
    assert job_key(base) == job_key(same)
    other = np.eye(2)
    other[0, 0] = np.nextafter(1.0, 2.0)
    assert job_key(base) != job_key({**base, "weights": {"w": other}})
    assert job_key(base) != job_key({**base, "values": [1.0, 2.0000000000000004]})


# ------------------------------------------------------------------------------------ the cluster


def test_a_missing_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pingbridge\[cluster\]"):
        list(parallel_map(Square, [1], scheduler="tcp://127.0.0.1:1"))


def test_nobody_at_the_address_is_an_error_in_words(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("bridge.runs.parallel.CONNECT_S", 0.5)
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
