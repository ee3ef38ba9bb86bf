"""Commands that take a while, and what they must have come to."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
from faults import BY_NAME, LEARNED, contents, typed

from bridge.atomic import PARTIAL_PREFIX
from bridge.runs.ownership import RECORDS, foreign_files


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
