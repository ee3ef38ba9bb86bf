"""Two files of one run never contradict each other, and run.sh does the same again."""

from __future__ import annotations

import json
import shlex
import subprocess

import h5py
import numpy as np
import pytest
from faults import BY_NAME, COMMANDS, Command, changes, contents, typed

from bridge.runs.options import by_key, to_json
from bridge.runs.ownership import RECORDS, entries, settings_key
from bridge.runs.provenance import TOOL
from bridge.runs.resolve import resolve
from cli import build_parser
from studies.commands import COMMAND_GROUPS
from studies.commands import COMMANDS as SINGLE

FIRST = [one for one in COMMANDS if not one.compiles]
CHANGING = ("provenance", "execution")
"""Parts of config.json that a run still adds to when other files are written."""
WORKED_OUT = {"t_ms"}


def read(path):
    return json.loads(path.read_text())


def config_of(folder):
    return read(folder / "config.json")


def plain(config):
    """Return what of a configuration stands fast from the start of a run on."""
    return {key: value for key, value in config.items() if key not in CHANGING}


@pytest.mark.parametrize("command", FIRST, ids=str)
def test_config_json_says_who_ran_what_on_what(command, first_run):
    folder = first_run(command)
    config = config_of(folder)
    block = config["provenance"]
    assert config["mode"] == command.name
    assert block["tool"] == TOOL
    assert block["ended"]["state"] == "done"
    assert block["device"] == "cpu"
    assert set(block["files"]["written"]) == set(entries(folder)) - RECORDS
    assert block["files"]["foreign"] == []
    assert block["settings_key"] == settings_key(config, block["inputs"])
    about = config["execution"]
    ran = about.get("runs", [about])
    kinds = {one["backend"].partition(":")[0] for one in ran}
    assert kinds <= {"brian", "torch", "numpy"}
    for one in ran:
        if one["backend"].startswith("brian"):
            assert one["codegen"] == "numpy", one  # what was asked for is what ran
    assert not (folder / ".running").exists()


def groups_of(name):
    for one in SINGLE:
        if one.function.__name__.replace("_", "-") == name:
            return one.groups
    first, second = name.split()
    for one in COMMAND_GROUPS[first].commands:
        if one.function.__name__.rstrip("_") == second:
            return one.groups
    raise AssertionError(name)


@pytest.mark.parametrize("command", FIRST, ids=str)
def test_run_sh_is_the_command_of_config_json(command, first_run):
    """What it says, parsed by the parser of the program, are the settings that config.json has."""
    folder = first_run(command)
    words = shlex.split((folder / "run.sh").read_text().splitlines()[-1])
    program, argv = words[: words.index("cli") + 1], words[words.index("cli") + 1 :]
    assert program[1:] == ["-P", "-m", "cli"]
    assert argv == command.argv(folder)
    given = vars(build_parser().parse_args(argv))
    groups = groups_of(command.name)
    known = by_key(groups)
    resolved = resolve(groups, {key: value for key, value in given.items() if key in known})
    config = config_of(folder)
    for key in resolved.explicit:
        group, _ = known[key]
        said = to_json(resolved[group])[key]
        if command.name.split()[0] in ("clustered", "meanfield") and key == "config":
            assert config[key].endswith(said)
        elif isinstance(said, list) and len(said) == 1 and not isinstance(config[key], list):
            assert [config[key]] == said, key
        elif key in ("load_weights", "weights_file", "input_file"):  # absolute in config.json
            assert config[key].endswith(said), key
        else:
            assert config[key] == said, key


@pytest.mark.parametrize("name", ["train", "infer"])
def test_metrics_hold_the_configuration_of_their_run(name, first_run):
    folder = first_run(BY_NAME[name])
    config, metrics = config_of(folder), read(folder / "metrics.json")
    held = metrics["config"]
    assert plain(held) == plain(config)
    assert held["execution"] == config["execution"]
    for key in ("run_id", "started_at", "settings_key", "inputs", "device", "git_sha"):
        assert held["provenance"][key] == config["provenance"][key], key
    assert metrics["mode"] == config["mode"]
    assert metrics["model"] == config["model"]


def test_a_training_is_what_all_its_files_say(first_run):
    folder = first_run(BY_NAME["train"])
    config, metrics = config_of(folder), read(folder / "metrics.json")
    rows = read(folder / "test_predictions.json")
    assert len(rows) == config["derived"]["n_test"]
    assert 100 * np.mean([row["correct"] for row in rows]) == pytest.approx(metrics["best_acc"])
    assert len(metrics["epochs"]) == config["epochs"]
    with h5py.File(folder / "weights.h5") as file:
        about = dict(file.attrs)
        sizes = [file["W_in"].shape if "W_in" in file else file["weights/W_in"].shape]
    assert about["model"] == config["model"]
    assert about["seed"] == config["seed"]
    assert sizes == [(config["derived"]["n_in"], config["derived"]["hidden_sizes"][0])]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if "acc" in line]
    assert [line["acc"] for line in epochs] == [row["acc"] for row in metrics["epochs"]]


def test_an_evaluation_is_what_all_its_files_say(first_run):
    folder = first_run(BY_NAME["infer"])
    config, results = config_of(folder), read(folder / "results.json")
    metrics, rows = read(folder / "metrics.json"), read(folder / "test_predictions.json")
    for key in ("model", "t_ms", "input_rate", "dataset", "load_weights", "frozen_inputs_mode"):
        assert results[key] == config.get(key), key
    assert results["backend"] == config["execution"]["backend"] == "torch"
    (point,) = results["sweep"]
    assert point["dt"] == config["dt"]
    assert point["n_total"] == len(rows) == config["derived"]["n_test"] == metrics["n_total"]
    assert point["n_correct"] == sum(row["correct"] for row in rows) == metrics["n_correct"]
    assert point["acc"] == metrics["best_acc"]


@pytest.mark.parametrize("name", ["scan", "video"])
def test_a_table_holds_the_configuration_of_its_run(name, first_run):
    folder = first_run(BY_NAME[name])
    config = config_of(folder)
    with h5py.File(folder / "scan.h5") as file:
        held = json.loads(file.attrs["config"])
        columns = {key: file[key][()] for key in file}
    assert plain(held) == plain(config)
    assert held["execution"] == config["execution"]
    (name,) = config["sweep"]["variables"]
    (values,) = config["sweep"]["values"]
    assert columns[name].tolist() == values == config["scan_values"]
    header, *rows = (folder / "scan.csv").read_text().splitlines()
    assert len(rows) == len(values)
    assert header.split(",")[1] == name


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_a_recording_holds_the_configuration_of_its_run(ending, place):
    from bridge.formats.recordings import load_recording

    said = typed([*BY_NAME["sim"].argv(place / "run"), "--save-recording", f"rec.{ending}"])
    assert said.code == 0, said.err
    config, held = config_of(place / "run"), load_recording(place / f"rec.{ending}")
    assert plain(held.config) == plain(config)
    assert held.config["execution"] == config["execution"]
    assert held.dt_ms == config["dt"]
    assert held.n_steps == config["derived"]["n_steps"]
    assert dict(held.n_cells) == config["derived"]["populations"]
    assert held.backend == config["execution"]["backend"]


def test_a_picture_has_the_numbers_of_its_run(first_run):
    folder = first_run(BY_NAME["image"])
    config, metrics = config_of(folder), read(folder / "metrics.json")
    with np.load(folder / "snapshot.npz") as held:
        assert held["dt"].item() == config["dt"]
        assert held["n_e"].item() == config["n_hidden"][0]
        n_spikes = int(held["spk_e"].sum()) if held["spk_e"].ndim > 1 else len(held["spk_e"])
        n_steps = config["derived"]["n_steps"]
        assert held["spk_e"].shape[0] in (n_steps, n_spikes)
    assert metrics  # every number of it is recomputed from the recording in tests/scope


@pytest.mark.parametrize("name", ["rate search", "rate convert", "rate eval"])
def test_reports_name_the_settings_of_their_run(name, first_run):
    folder = first_run(BY_NAME[name])
    config = config_of(folder)
    if name == "rate search":
        found = read(folder / "search.json")
        factors = [row["scaling_factor"] for row in found["factors"]]
        assert factors == config["derived"]["scaling_factors"]
        assert found["opt_scaling_factor"] in factors
        return
    report = read(folder / ("conversion.json" if name == "rate convert" else "results.json"))
    report = report.get("comparison", report)
    assert report["scaling_factor"] == config["scaling_factor"]
    assert report["n_trials"] == config["n_trials"]


def test_the_lateral_line_says_the_same_everywhere(first_run):
    folder = first_run(BY_NAME["lateral-line"])
    config, params = config_of(folder), read(folder / "params.json")
    summary = read(folder / "run_summary.json")
    row = read(folder / "artifacts" / "seed_123_results.json")
    assert params["mode"] == config["preset"]
    assert params["seed_start"] == config["seed_start"] == row["seed"]
    network = params["network_params"]
    shared = config.keys() & network.keys()
    assert {"n_mon", "n_ts", "n_training_trials"} < shared
    assert {key: config[key] for key in shared} == {key: network[key] for key in shared}
    shared = summary.keys() & row.keys()
    assert "sigma_theta" in " ".join(shared)
    assert {key: summary[key] for key in shared} == {key: row[key] for key in shared}


@pytest.mark.parametrize("name", ["clustered run", "clustered sweep"])
def test_clustered_runs_say_the_same_everywhere(name, first_run):
    folder = first_run(BY_NAME[name])
    config = config_of(folder)
    seeds = (folder / "metadata" / "seeds.txt").read_text().split()
    assert len(seeds) == config["n_repeats"]
    if name == "clustered run":
        summary = read(folder / "analysis" / "summary.json")
        about = read(folder / "analysis" / "analysis_config.json")
        for key in ("threshold_rule", "kernel", "kernel_ms"):
            assert about[key] == config[key], key
        assert about["n_occurrences"] == summary["n_occurrences"]
        assert about["n_recordings"] == len(seeds)
    else:
        rows = read(folder / "data" / "sweep.json")
        assert [row["value"] for row in rows] == config["values"]
        assert len(list((folder / "configs").iterdir())) == len(rows)


# ---- run.sh, in a shell that knows nothing -------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("command", FIRST, ids=str)
def test_run_sh_in_a_fresh_shell_comes_to_the_same(command: Command, place, tmp_path):
    """From another folder, with nothing in the environment, and the folder is gone."""
    folder = place / "run"
    assert typed(command.argv(folder)).code == 0
    before = contents(folder)
    script = (folder / "run.sh").read_text()
    again = tmp_path / "again.sh"
    again.write_text(script)
    moved = folder.rename(place / "kept")
    done = subprocess.run(
        ["/usr/bin/env", "-i", "HOME=/nonexistent", "PATH=/usr/bin:/bin", "PINGBRIDGE_GIT_SHA=u",
         "bash", str(again)], cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = contents(folder)
    assert set(after) == set(before)
    timed = {"metrics.json", "metrics.jsonl", "checkpoint.pth", "search.json", "scan.h5",
             "model.pth", "metadata/run.log", "metadata/sweep.log", "metadata/cmd.txt"}  # fmt: skip
    if command.name == "lateral-line":
        timed |= {name for name in before if name.endswith("results.json")}
        timed |= {"run_summary.json", *(n for n in before if n.endswith("checkpoint.npz"))}
    assert set(changes(before, after)) <= RECORDS | timed
    one, other = config_of(moved), config_of(folder)
    assert plain(one) == plain(other)
    assert one["provenance"]["settings_key"] == other["provenance"]["settings_key"]
