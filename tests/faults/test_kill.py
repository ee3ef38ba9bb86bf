"""kill -9 in the middle of every long command, and the same command once more.

Nothing is lost, nothing is half there, and what comes of it is bit for bit what a run that nobody
killed comes to. The short version kills at moments that no clock decides, the long one
(``make test-faults``; ``PINGBRIDGE_KILLS`` moments for each command) at random ones.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random

import numpy as np
import pytest
from apart import begin
from faults import BY_NAME, LEARNED, contents, typed

from bridge.atomic import PARTIAL_PREFIX
from bridge.runs.ownership import RECORDS, foreign_files

N_KILLS = int(os.environ.get("PINGBRIDGE_KILLS", "12"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Long:
    """A command that takes a while.

    Attributes
    ----------
    command : str
    more : tuple of str
        Flags that make it have several parts.
    flags : tuple of str, optional
        In place of those that it has elsewhere.
    hold : (str, int)
        A function, and after how many returns of it the short version kills.
    resume : tuple of str
        Flags of the command that goes on.
    timed : set of str
        Files in which it says when it was or how long it took.
    held : bool
        What is finished when it is killed is not computed again.
    """

    command: str
    more: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None
    hold: tuple[str, int]
    resume: tuple[str, ...] = ()
    timed: frozenset[str] = frozenset()
    held: bool = True

    def argv(self, folder, *more):
        """Return what is typed."""
        command = BY_NAME[self.command]
        if self.flags is not None:
            command = dataclasses.replace(command, flags=self.flags)
        return command.argv(folder, *self.more, *more)


PUT = "bridge.runs.store:ResultStore.put"
LONG = {
    "train": Long(
        command="train", more=("--epochs", "3"),
        hold=("train_torch.training.trainer:Trainer._keep", 1), resume=("--resume",),
        timed=frozenset({"metrics.json", "metrics.jsonl", "checkpoint.pth"}),
    ),
    "scan": Long(
        command="scan", more=("--scan-values", *"12345"), hold=(PUT, 2),
        timed=frozenset({"scan.h5"}),
    ),
    "video": Long(
        command="video", more=("--scan-values", *"123", "--keep-frames"), hold=(PUT, 2),
        timed=frozenset({"scan.h5"}),
    ),
    "rate train": Long(
        command="rate train", more=("--n-trials", "8", "--eval-freq", "2"),
        hold=("train_torch.rate_rnn.training:save_state", 2), resume=("--resume",),
        timed=frozenset({"metrics.json", "model.pth", "checkpoint.pth"}),
    ),
    "rate search": Long(
        command="rate search", more=("--n-trials", "4", "--batch", "1"), hold=(PUT, 2),
        timed=frozenset({"search.json"}),
    ),
    "lateral-line": Long(
        command="lateral-line", more=("--n-training-trials", "4", "--multi-seed", "2"),
        hold=("studies.lateral_line.seeds:write_state", 3),
    ),
    "clustered run": Long(
        command="clustered run", more=("--n-repeats", "3"), hold=(PUT, 2),
        timed=frozenset({
            "metadata/run.log", "metadata/cmd.txt", "analysis/analysis_config.json",
        }),
    ),
    "clustered sweep": Long(
        command="clustered sweep", more=("--values", "0.3", "0.4", "0.5"), hold=(PUT, 2),
        timed=frozenset({"metadata/sweep.log"}),
    ),
    "train with pictures": Long(
        command="train", more=("--epochs", "2", "--observe", "images"),
        hold=("train_torch.training.trainer:Trainer._keep", 1), resume=("--resume",),
        timed=frozenset({"metrics.json", "metrics.jsonl", "checkpoint.pth"}),
    ),
    "infer --dt-sweep": Long(
        command="infer", flags=(
            "--load-weights", "weights.npz", "--t-ms", "20", "--input-rate", "100", *LEARNED,
            "--dt-sweep", "0.5", "1", "2", "--backend", "torch",
        ), hold=("train_torch.network.evaluate:evaluate", 1), held=False,
    ),
}  # fmt: skip
SHORT = ("train", "scan", "clustered run", "infer --dt-sweep")
"""Killed by the short version; the others have such a test beside their own."""


def without_times(path):
    """Return the numbers of a JSON file that no clock decides."""

    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if not k.endswith(("_s", "_ms_wall"))}
        return [plain(one) for one in value] if isinstance(value, list) else value

    return plain(json.loads(path.read_text()))


def faults_of(job, folder, whole):
    """Compare a run that was killed with one that was not."""
    one, other = contents(folder), contents(whole)
    wrong = [f"{name}: missing" for name in sorted(other.keys() - one.keys())]
    wrong += [f"{name}: left over" for name in sorted(one.keys() - other.keys())]
    lateral = job.command == "lateral-line"
    for name in sorted(one.keys() & other.keys() - RECORDS - job.timed):
        if lateral and name.endswith(".json"):
            same = without_times(folder / name) == without_times(whole / name)
        elif lateral and name.endswith("checkpoint.npz"):
            same = same_arrays(folder / name, whole / name)
        else:
            same = one[name] == other[name]
        if not same:
            wrong.append(f"{name}: differs")
    config = json.loads((folder / "config.json").read_text())
    if config["provenance"]["ended"]["state"] != "done":
        wrong.append(f"config.json: {config['provenance']['ended']}")
    return wrong + [f"{name}: no run wrote it" for name in foreign_files(folder)]


def same_arrays(one, other):
    """Tell whether two files hold the same arrays, but for seconds."""
    with np.load(one) as a, np.load(other) as b:
        return set(a) == set(b) and all(
            np.array_equal(a[name], b[name]) for name in a if not name.endswith("_s")
        )


def whole_files(folder):
    """Check that no file of a killed run is half there."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(PARTIAL_PREFIX):
            if path.suffix == ".json" and path.name != ".running":
                json.loads(path.read_text())
            elif path.suffix == ".npz":
                with np.load(path) as held:
                    assert all(held[name] is not None for name in held)


def uninterrupted(job, place):
    folder = place / "whole" / "run"
    folder.parent.mkdir()
    said = typed(job.argv(folder))
    assert said.code == 0, said.err
    return folder


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in SHORT else pytest.mark.faults) for name in LONG],
)
def test_killed_in_the_middle(name, place):
    job, folder = LONG[name], place / "run"
    running = begin(job.argv(folder), cwd=place, hold=job.hold)
    assert running.wait_until_held(), running.result()
    running.kill(whole_group=True)
    assert running.result().code == -9
    assert (folder / ".running").exists()
    whole_files(folder)
    before = contents(folder)
    said = typed(job.argv(folder, *job.resume))
    assert said.code == 0, said.err
    if job.held:
        assert "resum" in said.out, said.out  # what is finished is not computed again
    assert before  # something was there to go on with
    wrong = faults_of(job, folder, uninterrupted(job, place))
    assert not wrong, "\n".join(wrong)


@pytest.mark.faults
@pytest.mark.parametrize("name", LONG)
def test_killed_at_any_moment(name, place):
    """Killed alone: its workers and programs end by themselves."""
    job, rng = LONG[name], random.Random(f"kill {name}")
    for name in ("warm", "first"):  # the first process of all waits for the imports
        ended = begin(job.argv(place / name), cwd=place).result(120)
    assert ended.code == 0, ended.err
    whole, wrong, killed = uninterrupted(job, place), [], 0
    for k in range(N_KILLS):
        folder = place / str(k) / "run"
        folder.parent.mkdir()
        running = begin(job.argv(folder), cwd=place)
        running.process.join(rng.uniform(0.0, ended.wall_s))
        running.kill()
        killed += running.result().code == -9
        if folder.exists():
            whole_files(folder)
        # A training that was killed before there was anything to go on with is begun again.
        resume = job.resume if (folder / "config.json").exists() else ()
        again = begin(job.argv(folder, *resume), cwd=place).result(120)
        if again.code != 0:
            wrong.append(f"kill {k}: exit code {again.code}: {again.err}")
            continue
        wrong += [f"kill {k}: {one}" for one in faults_of(job, folder, whole)]
    print(f"{name}: {killed} of {N_KILLS} killed while they ran")
    assert not wrong, "\n".join(wrong)
