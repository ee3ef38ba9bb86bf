"""Recipes on the command line: found by name, listed, printed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from bridge.home import CONFIGS
from bridge.runs.recipes import shipped_recipes
from bridge.runs.resolve import read_recipe
from cli import main
from studies.clustered import read_config
from studies.commands import COMMAND_GROUPS, COMMANDS, command_name
from studies.recipes import TEMPLATE, command_of, description_of

GROUPS_OF = {command_name(command): command.groups for command in COMMANDS} | {
    command_name(command, group): command.groups
    for group, (_, commands) in COMMAND_GROUPS.items()
    for command in commands
}
WITH_CONFIG = [
    name
    for name, groups in GROUPS_OF.items()
    if any("config" in group.__dataclass_fields__ for group in groups)
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def listed(out: str) -> dict[str, tuple[str, str]]:
    """Return command and description by name, read from what was printed."""
    found, command = {}, ""
    for line in out.splitlines():
        if line.startswith("  "):
            name, text = line.split(maxsplit=1)
            found[name] = (command, text)
        else:
            command = line
    return found


def test_every_recipe_is_listed_with_its_command_and_what_it_is(capsys):
    assert main(["recipes"]) == 0
    found = listed(capsys.readouterr().out)
    assert found.keys() == shipped_recipes().keys()
    assert found["ping/demo"] == (
        "pingbridge image --config NAME",
        "A handwritten three drives 512 E and 128 I cells; they answer with gamma at about 38 Hz.",
    )
    assert found["rate/xor"][0] == "pingbridge rate train --config NAME"
    assert found["clustered/2_cluster_mf"][0] == "pingbridge meanfield solve --config NAME"
    assert (
        found["clustered/perturbed/half_driven"][0] == "pingbridge clustered perturb --config NAME"
    )
    assert found["clustered/snn_long_run"] == (
        "pingbridge clustered run --config NAME",
        "Thirty seconds of the default network: enough to count attractors.",
    )
    assert "mine.yaml" in found["clustered/templates/mean_field_template"][0]
    for name, (_, text) in found.items():
        assert 20 < len(text) < 150, name


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_command_it_is_listed_under_reads_it(name):
    command = command_of(CONFIGS / f"{name}.yaml")
    if command == TEMPLATE:
        with pytest.raises(ValueError, match="missing"):
            read_config(name, spiking="spiking" in name)
    elif command.startswith(("clustered", "meanfield")):
        parsed = read_config(name, spiking=command.startswith("clustered"))
        assert bool(parsed.perturbation) == (command == "clustered perturb")
    else:
        recipe = read_recipe(name, GROUPS_OF[command], command=command)
        assert recipe.values


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        ("# One line.\n# Another.\nseed: 1\n", "One line."),
        ("# Goes on\n# here. Not there.\n", "Goes on here. Not there."),
        ("# Why? Because.\n# More.\n", "Why? Because."),
        ("# Run with --dt 0.1 ...\n# 1 and see.\n", "Run with --dt 0.1 ... 1 and see."),
        ("# No end\nseed: 1\n# later.\n", "No end"),
        (f"# {'word ' * 20}et al. 2022. And {'more ' * 9}.\n", f"{'word ' * 20}et al. 2022."),
        (f"# A head: {'word ' * 30}.\n", "A head"),
        ("seed: 1\n", ""),
    ],
)
def test_a_description_is_the_first_thing_that_is_said(comment, text, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(comment)
    assert description_of(path) == text


def test_lines_are_wrapped_on_a_terminal_only(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["recipes"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) > 100
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    ping = lines[lines.index("pingbridge video --config NAME") : lines.index(
        "pingbridge rate train --config NAME")]  # fmt: skip
    assert max(map(len, ping)) <= 70
    assert " ".join(" ".join(ping).split()).count("overdrive 10.") == 2


def test_one_is_printed_as_it_is_and_its_place_beside_it(capsys):
    assert main(["recipes", "demo"]) == 0
    told = capsys.readouterr()
    assert told.out == (CONFIGS / "ping" / "demo.yaml").read_text()
    assert told.err == f"{CONFIGS / 'ping' / 'demo.yaml'}\n"


def test_one_that_is_not_there_is_one_line(capsys):
    assert main(["recipes", "demmo"]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert told.err.count("\n") == 1
    assert "did you mean ping/demo?" in told.err


def test_a_reader_that_leaves_early_is_no_error():
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m cli recipes | head -1"],
        cwd=CONFIGS.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "pingbridge image --config NAME\n"


@pytest.mark.parametrize("name", ["demo", "ping/demo", "ping/demo.yaml", "configs/ping/demo.yaml"])
def test_a_run_takes_a_recipe_by_name_and_keeps_where_it_was(name, tmp_path, capsys):
    words = ["image", "--config", name, "--n-hidden", "32", "--t-ms", "150", "--out-dir", "run"]
    assert main(words) == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["config"] == str(CONFIGS / "ping" / "demo.yaml")
    assert (config["tau_gaba"], config["digit"]) == (6, 3)


def test_a_recipe_of_ones_own_wins(tmp_path, capsys):
    (tmp_path / "demo.yaml").write_text("tau-gaba: 11\n")
    words = ["sim", "--n-hidden", "16", "--dt", "0.5", "--t-ms", "110", "--codegen", "numpy"]
    assert main([*words, "--config", "demo", "--out-dir", "run"]) == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["config"], config["tau_gaba"]) == ("demo.yaml", 11)


def test_the_wrong_command_is_told_the_right_one(capsys):
    assert main(["sim", "--config", "demo"]) == 2
    said = capsys.readouterr().err
    assert said.endswith("is for the command 'image', not 'sim'; type image --config demo\n")


@pytest.mark.parametrize("command", WITH_CONFIG)
def test_every_command_with_config_knows_the_names(command, capsys):
    """An unknown name is answered by the same one line everywhere: they look in the same place."""
    assert main([*command.split(), "--config", "demmo"]) == 2
    assert "did you mean ping/demo?" in capsys.readouterr().err


def test_a_mean_field_takes_a_configuration_by_name(tmp_path, capsys):
    assert main(["meanfield", "solve", "--config", "18-cluster-mf", "--n-runs", "2",
                 "--save-dir", "mf"]) == 0, capsys.readouterr().err  # fmt: skip
    config = json.loads((tmp_path / "mf" / "config.json").read_text())
    shipped = CONFIGS / "clustered" / "18_cluster_mf.yaml"
    assert config["config"] == str(shipped)
    kept = yaml.safe_load((tmp_path / "mf" / "metadata" / "config.yaml").read_text())
    assert kept == yaml.safe_load(shipped.read_text())
