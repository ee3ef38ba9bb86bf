"""The loop of long jobs: what is kept, what is run again, what is refused, what failed."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from killed import kill_when_held

from bridge.runs.parallel import Failed
from studies.stored import UNFINISHED, StepError, Stored, job_key, step_runner, task_runner

ROOT = Path(__file__).parents[2]


class Square:
    """A task that writes down which items it has run."""

    def __init__(self, ran: Path, bad: tuple[int, ...] = ()) -> None:
        self.ran, self.bad = ran, bad

    def __call__(self, item: int) -> dict:
        with self.ran.open("a") as file:
            file.write(f"{item}\n")
        if item in self.bad:
            raise ValueError(f"item {item} is bad")
        return {"square": item * item, "root": np.sqrt([item]), "pair": (item, np.float64(item))}


@pytest.fixture
def ran(tmp_path):
    return tmp_path / "ran"


def told(ran: Path) -> list[int]:
    """Return the items that were run since this was asked last."""
    found = [int(line) for line in ran.read_text().split()] if ran.exists() else []
    ran.unlink(missing_ok=True)
    return found


def job(tmp_path, items=(1, 2, 3, 4), **more) -> Stored:
    return Stored(tmp_path / UNFINISHED, items, **({"key": "k"} | more))


def text(results) -> str:
    """Return results with every digit and type."""
    return repr(sorted((k, sorted(found.items())) for k, found in results))


def interrupt(stored: Stored, results, after: int | None = None) -> None:
    """Let a job stop as Ctrl-C stops it: after so many results, or when all are there."""

    def go():
        with stored:
            for n, _ in enumerate(results, 1):
                if n == after:
                    break
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go()


def fail(stored: Stored, results, kind=StepError) -> tuple[list[int], Exception]:
    """Return the items that a job yields before it raises, and what it raises."""
    seen = []

    def go():
        with stored:
            for k, _ in results:
                seen.append(k)

    with pytest.raises(kind) as caught:
        go()
    return seen, caught.value


WAYS = {"here": {"jobs": 1}, "threads": {"jobs": 2, "threads": True}, "processes": {"jobs": 2}}


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_job_goes_on_and_ends_as_an_uninterrupted_one(tmp_path, ran, way, caplog):
    run = task_runner(functools.partial(Square, ran), **WAYS[way])
    with job(tmp_path / "whole") as whole:
        expected = text(whole.results(run))
    assert sorted(told(ran)) == [1, 2, 3, 4]
    first = job(tmp_path)
    interrupt(first, first.results(run), after=2)
    assert len(list((tmp_path / UNFINISHED).glob("0*.npz"))) == 2
    told(ran)
    with job(tmp_path) as second:
        assert text(second.results(run)) == expected
        assert (tmp_path / UNFINISHED).is_dir(), "what is made of the results is not written yet"
    assert sorted(told(ran)) == [3, 4]
    assert "resuming: 2 of 4 runs are there already" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert list((tmp_path / "whole").iterdir()) == []


def test_nothing_is_written_before_an_item_is_done(tmp_path):
    first = job(tmp_path)
    fail(first, first.results(task_runner(no_task, jobs=1)), RuntimeError)
    assert not (tmp_path / UNFINISHED).exists()


def no_task():
    raise RuntimeError("no task")


def test_failures_are_named_when_all_others_are_done(tmp_path, ran):
    bad = task_runner(functools.partial(Square, ran, (2, 4)), jobs=1)
    failed = []
    first = job(tmp_path, what="squares", name=lambda k: f"square {k + 1}")
    results = first.results(bad, on_failure=lambda k, why: failed.append((k, why)))
    seen, error = fail(first, results)
    assert seen == [0, 2]
    assert str(error) == (
        "2 of 4 squares failed (the others are done and kept): "
        "square 2: ValueError: item 2 is bad; square 4: ValueError: item 4 is bad"
    )
    assert "in __call__" in error.__notes__[0]
    assert [k for k, _ in failed] == [1, 3]
    assert failed[0][1].error == "ValueError: item 2 is bad"
    told(ran)
    with job(tmp_path) as second:
        found = list(second.results(task_runner(functools.partial(Square, ran), jobs=1)))
    assert [result["square"] for _, result in found] == [1, 4, 9, 16]
    assert told(ran) == [2, 4]


def test_many_failures_are_counted(tmp_path, ran):
    items = list(range(30))
    first = job(tmp_path, items)
    run = task_runner(functools.partial(Square, ran, tuple(items)), jobs=1)
    _, error = fail(first, first.results(run))
    assert str(error).startswith("30 of 30 ")
    assert str(error).endswith("run 20: ValueError: item 19 is bad; and 10 more")


def test_whole_yields_nothing_after_a_gap_but_keeps_it(tmp_path, ran):
    first = job(tmp_path)
    run = task_runner(functools.partial(Square, ran, (2,)), jobs=1)
    seen, _ = fail(first, first.results(run, whole=True))
    assert seen == [0]
    assert told(ran) == [1, 2, 3, 4]
    assert sorted(path.stem for path in (tmp_path / UNFINISHED).glob("0*.npz")) == [
        "000000", "000002", "000003"
    ]  # fmt: skip


def test_items_come_in_the_order_asked_for(tmp_path, ran):
    run = task_runner(functools.partial(Square, ran), jobs=2)
    first = job(tmp_path)
    interrupt(first, first.results(run, order=[2, 0, 3, 1]), after=2)
    told(ran)
    with job(tmp_path) as second:
        found = list(second.results(run, order=[3, 2, 1, 0]))
    assert [(k, result["square"]) for k, result in found] == [(3, 16), (2, 9), (1, 4), (0, 1)]
    assert sorted(told(ran)) == [2, 4]
    with pytest.raises(ValueError, match="every item once"):
        list(job(tmp_path).results(run, order=[0, 0, 1, 2]))


@pytest.mark.parametrize("more", [{"key": "other"}, {"items": (1, 2, 3)}, {"items": (1, 2, 3, 5)}])
def test_another_job_is_refused_and_nothing_is_touched(tmp_path, ran, more):
    first = job(tmp_path)
    fail(first, first.results(task_runner(functools.partial(Square, ran, (2,)), jobs=1)))
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / UNFINISHED).iterdir()}
    with pytest.raises(ValueError, match=r"unfinished squares of another configuration; clear it"):
        job(tmp_path, **more, what="squares", clear="clear it")
    late = job(tmp_path, **more, wiped=True)  # a folder that was to be wiped, and was not
    with pytest.raises(ValueError, match="another configuration"):
        late.results(task_runner(functools.partial(Square, ran), jobs=1))
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / UNFINISHED).iterdir()}
    assert after == before


@pytest.mark.parametrize("damage", ["cut", "garbage", "gone", "flipped", "mark"])
def test_damaged_items_are_run_again(tmp_path, ran, damage):
    run = task_runner(functools.partial(Square, ran), jobs=1)
    with job(tmp_path / "whole") as whole:
        expected = text(whole.results(run))
    first = job(tmp_path)
    interrupt(first, first.results(run))
    told(ran)
    path = tmp_path / UNFINISHED / "000001.npz"
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-30])
    elif damage == "garbage":
        path.write_bytes(b"half")
    elif damage == "flipped":
        at = content.index(np.sqrt([2]).tobytes())
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif damage == "gone":
        path.unlink()
    else:
        (tmp_path / UNFINISHED / "job.json").write_text("{")
        with pytest.raises(ValueError, match="another configuration"):
            job(tmp_path)
        (tmp_path / UNFINISHED / "job.json").unlink()
        with pytest.raises(ValueError, match="another configuration"):
            job(tmp_path)
        return
    with job(tmp_path) as second:
        assert text(second.results(run)) == expected
    assert told(ran) == [2]


def test_what_belongs_to_an_item_may_lie_elsewhere(tmp_path, ran):
    def keep(k, result):
        (tmp_path / f"{k}.txt").write_text(str(result["square"]))
        return {"size": len(str(result["square"]))}

    def is_there(k, kept):
        path = tmp_path / f"{k}.txt"
        return path.is_file() and len(path.read_text()) == kept["size"]

    run = task_runner(functools.partial(Square, ran), jobs=1)
    how = {"keep": keep, "is_there": is_there}
    first = job(tmp_path)
    interrupt(first, first.results(run, **how))
    (tmp_path / "0.txt").unlink()
    (tmp_path / "3.txt").write_text("1")
    told(ran)
    with job(tmp_path) as second:
        assert list(second.results(run, **how)) == [(k, {"size": 1 + (k == 3)}) for k in range(4)]
    assert told(ran) == [1, 4]
    assert (tmp_path / "3.txt").read_text() == "16"


def test_results_that_cannot_be_kept_are_run_again(tmp_path, caplog):
    def step(item):
        return item if item < 3 else object()

    first = job(tmp_path)
    found = []
    interrupt(first, (found.append(result) for _, result in first.results(step_runner(step))))
    assert found[:2] == [1, 2]
    assert caplog.text.count("a object can't be kept") == 1
    assert len(list((tmp_path / UNFINISHED).glob("0*.npz"))) == 2


def test_a_job_that_nothing_identifies_is_run_anew(tmp_path, ran, caplog):
    lock = threading.Lock()
    run = task_runner(functools.partial(Square, ran), jobs=1)
    for _ in range(2):
        first = job(tmp_path, key=lambda: lock)
        assert first.key is None
        interrupt(first, first.results(run))
        assert told(ran) == [1, 2, 3, 4]
    assert "begins anew" in caplog.text
    assert "a lock can't be identified" in caplog.text
    assert not (tmp_path / UNFINISHED).exists()
    # and it takes nothing that others left for its own
    other = job(tmp_path)
    interrupt(other, other.results(run))
    with pytest.raises(ValueError, match="another configuration"):
        job(tmp_path, key=lambda: lock)


def test_versions_are_part_of_every_key(monkeypatch):
    before = job_key(1)
    monkeypatch.setattr("studies.stored.package_version", lambda name, otherwise: "0.0")
    assert job_key(1) != before


def test_a_job_that_was_not_done_to_its_end_stays(tmp_path, ran):
    with job(tmp_path) as first:
        assert next(first.results(task_runner(functools.partial(Square, ran), jobs=1)))[0] == 0
    assert len(list((tmp_path / UNFINISHED).glob("0*.npz"))) == 1


def test_jobs_of_one_folder_go_one_by_one(tmp_path, ran):
    run = task_runner(functools.partial(Square, ran), jobs=1)
    with Stored(tmp_path / UNFINISHED / "a", [1], key=1) as one:
        list(one.results(run))
        with Stored(tmp_path / UNFINISHED / "b", [2], key=1) as two:
            list(two.results(run))
        assert [path.name for path in (tmp_path / UNFINISHED).iterdir()] == ["a"]
    assert not (tmp_path / UNFINISHED).exists()


def test_a_lost_worker_is_told_and_the_rest_stays(tmp_path):
    def step(item):
        if item == 3:
            os._exit(1)
        time.sleep(0.2)
        return item

    first = job(tmp_path)
    _, error = fail(first, first.results(step_runner(step, jobs=1, apart=True)), Exception)
    assert not isinstance(error, StepError)
    assert len(list((tmp_path / UNFINISHED).glob("0*.npz"))) == 2


SCRIPT = """
import os, sys, time
from pathlib import Path
from studies.stored import Stored, step_runner

def step(item):
    while item > 2 and "HOLD" in os.environ:
        time.sleep(0.1)
    return {"value": item / 3}

found = {}
with Stored(Path(sys.argv[1]) / "unfinished", [1, 2, 3, 4, 5], key=step) as job:
    for k, result in job.results(step_runner(step, jobs=int(sys.argv[2]))):
        found[k] = result
        if k == 1 and "HOLD" in os.environ:
            print("held here", flush=True)
print(found)
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_script_goes_on_in_a_new_process(tmp_path, jobs):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(tmp_path), jobs]
    kill_when_held(command, env={"PYTHONHASHSEED": "1", "HOLD": "1"})
    assert len(list((tmp_path / UNFINISHED).glob("0*.npz"))) == 2
    assert json.loads((tmp_path / UNFINISHED / "job.json").read_text())["n_items"] == 5
    # The step changes by one constant: other results.
    script.write_text(SCRIPT.replace("/ 3", "/ 7"))
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "another configuration" in other.stderr
    script.write_text(SCRIPT.replace("def step", "# a remark decides nothing\ndef step"))
    done = subprocess.run(command, env=environment | {"PYTHONHASHSEED": "2"}, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == str({k: {"value": (k + 1) / 3} for k in range(5)})
    assert not (tmp_path / UNFINISHED).exists()


def test_a_cluster_gives_the_same_results(tmp_path, cluster, ran):
    with job(tmp_path / "here") as here:
        expected = text(here.results(task_runner(functools.partial(Square, ran), jobs=1)))
    first = job(tmp_path)
    bad = task_runner(functools.partial(Square, ran, (2,)), scheduler=cluster)
    assert "item 2 is bad" in str(fail(first, first.results(bad))[1])
    told(ran)
    with job(tmp_path) as second:
        run = task_runner(functools.partial(Square, ran), scheduler=cluster)
        assert text(second.results(run)) == expected
    assert told(ran) == [2]


def test_a_runner_may_be_anything_that_yields(tmp_path):
    def run(items):
        yield from (Failed("ValueError: no", "") if item == 2 else item * 10 for item in items)

    first = job(tmp_path)
    seen, error = fail(first, first.results(run))
    assert seen == [0, 2, 3]
    assert "run 2: ValueError: no" in str(error)
    second = job(tmp_path)
    _, error = fail(second, second.results(lambda items: iter(range(9))), RuntimeError)
    assert "more results than items" in str(error)
