"""A second command after every first one in one folder: nothing is lost, nothing is mixed."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from faults import BY_NAME, COMMANDS, Command, changes, contents, typed

from bridge.runs.ownership import RECORDS, foreign_files

FIRST = [one for one in COMMANDS if not one.compiles]
QUICK = ("sim", "infer", "rate train", "clustered analyze", "meanfield solve", "lateral-line")
"""Commands that run again in the short version."""
TIMED = frozenset({
    "metrics.json", "metrics.jsonl", "search.json", "scan.h5", "model.pth", "checkpoint.pth",
    "metadata/run.log", "metadata/sweep.log", "metadata/cmd.txt", "analysis/analysis_config.json",
})  # fmt: skip
"""Files in which a run says when and where it was, or how long it took."""
RESULTS = "results.json"
"""Of `infer`: it names the file of the weights, which moved with its folder."""


def without_places(folder):
    """Return the results of an evaluation without the place of its weights."""
    path = folder / RESULTS
    if not path.is_file():
        return None
    return {**json.loads(path.read_text()), "load_weights": None}


def faults_of_a_second(second: Command, first: Command, folder, more=()) -> list[str]:
    """Run a command that must not come in; return what is wrong with how it was refused."""
    before = contents(folder)
    said = typed(second.argv(folder, *more))
    name = f"{' '.join([second.name, *more])} after {first.name}"
    if said.code != 2:
        return [f"{name}: exit code {said.code}: {said.err or said.out[-300:]}"]
    wrong = [f"{name}: {path} has changed" for path in changes(before, contents(folder))]
    needed = [str(folder), second.folder_flag]
    if second.wipes:
        needed.append("--wipe-dir")
    if second is first and second.again == "resume":
        needed.append("--resume")
    if "other results" not in said.err and "of another configuration" not in said.err:
        needed.append(first.name)  # those say which settings or files are there
    missing = [word for word in needed if word not in said.err]
    if missing or said.err.count("\n") != 1 or not said.err.startswith("error: "):
        wrong.append(f"{name}: lacks {missing}: {said.err}")
    return wrong


@pytest.mark.parametrize("first", FIRST, ids=str)
def test_no_second_command_takes_anything_away(first, finished):
    folder = finished(first)
    wrong = []
    for second in COMMANDS:
        if second is not first:
            wrong += faults_of_a_second(second, first, folder)
    wrong += faults_of_a_second(first, first, folder, first.other)
    if first.again == "resume":
        wrong += faults_of_a_second(first, first, folder)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "command",
    [pytest.param(one, marks=() if one.name in QUICK else pytest.mark.faults) for one in FIRST],
    ids=str,
)
def test_the_same_command_again_comes_to_the_same(command, finished):
    """It writes the same files, goes on where it is asked to, or finds nothing to do."""
    folder = finished(command)
    before, results = contents(folder), without_places(folder)
    again = ("--resume",) if command.again == "resume" else ()
    said = typed(command.argv(folder, *again))
    assert said.code == 0, said.err
    after = contents(folder)
    assert set(after) == set(before)
    assert set(changes(before, after)) <= RECORDS | TIMED | {RESULTS}
    assert without_places(folder) == results
    if command.again != "same":  # run.sh names the folder of the first run, where it was made
        assert before["run.sh"] == after["run.sh"]


@pytest.mark.parametrize("command", FIRST, ids=str)
def test_a_folder_knows_all_its_files(command, first_run):
    """Then --wipe-dir can take them, and nothing else."""
    assert foreign_files(first_run(command)) == []


@pytest.mark.faults
@pytest.mark.compiler
def test_a_folder_with_a_program_is_left_alone(place):
    first, folder = BY_NAME["build"], place / "run"
    assert typed(first.argv(folder)).code == 0
    wrong = []
    for second in FIRST:
        wrong += faults_of_a_second(second, first, folder)
    wrong += faults_of_a_second(first, first, folder, first.other)
    assert not wrong, "\n".join(wrong)
    assert foreign_files(folder) == []
    before = contents(folder)
    assert typed(first.argv(folder)).code == 0
    assert set(changes(before, contents(folder))) <= RECORDS


# ---- folders that nobody named -------------------------------------------------------------------


def test_an_analysis_beside_recordings_stays_out_of_them(finished):
    run = finished(BY_NAME["clustered run"])
    before = contents(run)
    analyze = ("clustered", "analyze", "--spikes", run / "data")
    assert typed(analyze).code == 0
    assert {name for name in contents(run) if not name.startswith("analyze")} == set(before)
    assert not changes(before, {k: v for k, v in contents(run).items() if k in before})
    first = contents(run / "analyze")
    assert typed([*analyze, "--kernel-ms", "20"]).code == 0  # has a folder of its own
    assert contents(run / "analyze") == first
    assert (run / "analyze-2" / "analysis" / "summary.json").is_file()


def test_a_search_writes_beside_its_model_and_into_it(place):
    """The factor goes into the model, as documented; the model counts by what its training left."""
    search = ("rate", "search", *BY_NAME["rate search"].flags)
    kept = {name: one for name, one in contents(place).items() if name != "model.mat"}
    assert typed(search).code == 0
    there = contents(place)
    assert kept == {name: there[name] for name in kept}
    first = contents(place / "search")
    assert typed([*search, "--seed", "5"]).code == 0
    assert contents(place / "search") == first
    (other,) = place.glob("search-*")
    assert json.loads((other / "config.json").read_text())["seed"] == 5
    said = typed([*search, "--seed", "6", "--out-dir", "search"])
    assert said.code == 2
    assert contents(place / "search") == first
    assert typed(search).code == 0  # the factor in the file is none of its inputs
    assert len(list(place.glob("search*"))) == 2


@pytest.mark.parametrize(
    ("name", "path"),
    [("infer", "weights.npz"), ("rate convert", "model.mat"), ("meanfield solve", "tiny.yaml"),
     ("clustered analyze", "spikes/data/spikes_0.npy")],
)  # fmt: skip
def test_another_content_of_a_file_is_another_run(name, path, place):
    """What a run reads counts by its content, not by its name."""
    command, folder = BY_NAME[name], place / "run"
    more = ("--config", "tiny.yaml") if name == "meanfield solve" else ()
    assert typed(command.argv(folder, *more)).code == 0
    other = place / "other"
    other.mkdir()
    change(place / path)
    assert not faults_of_a_second(command, command, folder, more)


def change(path):
    """Change numbers in a file, so that it is still of its kind."""
    if path.suffix == ".yaml":
        text = path.read_text()
        assert "level: 0.3" in text
        path.write_text(text.replace("level: 0.3", "level: 0.35"))
    elif path.suffix == ".mat":
        from rate_models import model_file

        model_file(path, seed=1)
    elif path.suffix == ".npz":
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "W_in": 1.5 * arrays["W_in"]})
    else:
        np.save(path, ~np.load(path))


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("train", "weights.h5", ("sim", *BY_NAME["sim"].flags, "--save-recording")),
        ("clustered run", "metadata/run.log",
         ("clustered", "analyze", "--spikes", "spikes/data", "--save-dir", "b", "--export")),
    ],
)  # fmt: skip
def test_a_file_of_another_run_is_no_output(name, file, words, finished):
    folder = finished(BY_NAME[name])
    before = contents(folder)
    said = typed([*words, folder / file])
    assert said.code == 2
    assert f"is a file of the {name} run" in said.line
    assert contents(folder) == before


def test_a_recording_in_its_run_folder_is_a_file_of_the_run(place):
    command, folder = BY_NAME["sim"], place / "run"
    for more in ((), ("--wipe-dir",)):
        said = typed([*command.argv(folder), "--save-recording", "run/rec.npz", *more])
        assert said.code == 0, said.err
        assert foreign_files(folder) == []


@pytest.mark.faults
def test_a_film_of_earlier_epochs_stays(place):
    command, folder = BY_NAME["train"], place / "run"
    assert typed(command.argv(folder, "--observe", "video")).code == 0
    film = (folder / "observe.mp4").read_bytes()
    said = typed(["train", "--resume", "--epochs", "2", "--out-dir", folder])
    assert said.code == 0, said.err
    assert (folder / "observe.mp4").read_bytes() == film
    assert (folder / "observe_from_2.mp4").is_file()


# ---- what --wipe-dir takes -----------------------------------------------------------------------


WIPES_ITS_INPUT = {
    "the spikes that are analysed": (
        "clustered run", "clustered analyze --spikes run/data --save-dir run",
    ),
    "their labels": (
        "clustered run",
        "clustered analyze --spikes spikes/data --clusters run/clusters.npy --save-dir run",
    ),
    "its seeds": (
        "clustered run",
        "clustered run --config tiny.yaml --seeds-file run/metadata/seeds.txt --save-dir run",
    ),
    "its saved seeds": (
        "clustered run", "clustered run --config tiny.yaml --load-saved-seeds --save-dir run",
    ),
    "its configuration": (
        "clustered run", "meanfield solve --config run/metadata/config.yaml --save-dir run",
    ),
    "the model that is searched": ("rate train", "rate search --model run/model.mat --out-dir run"),
    "one of the models": ("rate train", "rate search --model-dir run --out-dir run"),
    "the model that is drawn": (
        "rate train", "rate plot --model run/model.mat --scaling-factor 10 --out-dir run",
    ),
    "weights": ("train", "image --load-weights run/weights.h5 --out-dir run"),
    "settings": ("train", "infer --from-dir run --out-dir run"),
    "an input": ("image", "sim --input-file run/snapshot.npz --out-dir run"),
    "a program": ("image", "sim --program run --out-dir run"),
}  # fmt: skip


@pytest.mark.parametrize("what", WIPES_ITS_INPUT)
def test_what_a_run_reads_is_not_wiped_away(what, finished):
    name, second = WIPES_ITS_INPUT[what]
    folder = finished(BY_NAME[name])
    before = contents(folder)
    said = typed([*second.split(), "--wipe-dir"])
    assert said.code == 2, said.out
    assert said.err.count("\n") == 1
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["sim", "train", "rate eval", "clustered run", "meanfield solve"])
def test_what_no_run_wrote_is_not_wiped_away(name, finished, tmp_path):
    command = BY_NAME[name]
    folder = finished(command)
    for mine in (folder / "chapter1.tex", folder / "plots" / "mine.png"):
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("ten years")
        before = contents(folder)
        said = typed(command.argv(folder, "--wipe-dir"))
        assert said.code == 2, said.out
        assert mine.name in said.err
        assert contents(folder) == before
        mine.unlink()
    shutil.rmtree(folder / "plots") if not os.listdir(folder / "plots") else None
    said = typed(command.argv(folder, "--wipe-dir"))
    assert said.code == 0, said.err


def test_wiping_leaves_what_the_run_left(finished):
    command = BY_NAME["sim"]
    folder = finished(BY_NAME["meanfield solve"])
    assert typed(command.argv(folder, "--wipe-dir")).code == 0
    assert set(contents(folder)) == {"config.json", "run.sh", "output.log"}
