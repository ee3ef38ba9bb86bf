"""Precedence, and recipes: what they may say and what is said about the rest."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.runs.inherit import InheritedRun, read_run
from bridge.runs.options import Options, option, to_json
from bridge.runs.resolve import Recipe, read_recipe, resolve


@dataclass(frozen=True, kw_only=True)
class SynapseOptions(Options):
    """Synapses."""

    tau_gaba_ms: float = option(9.0, "GABA decay", unit="ms", flag="tau-gaba", above=0)
    tau_ampa_ms: float = option(2.0, "AMPA decay", unit="ms", flag="tau-ampa", above=0)
    dales_law: bool = option(True, "keep every weight on its side of zero")


@dataclass(frozen=True, kw_only=True)
class NetOptions(Options):
    """Network."""

    n_hidden: tuple[int, ...] | None = option(None, "cells of each layer", at_least=1)
    seed: int = option(42, "seed", at_least=0)
    limit: int | None = option(3, "cap")
    observe: str = option("none", "what to keep", choices=("none", "off", "video"))


GROUPS = (SynapseOptions, NetOptions)


@pytest.fixture
def recipe_file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


def error_of(call, *arguments, **named) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_default_then_from_dir_then_recipe_then_typed(recipe_file):
    inherited = {"tau_gaba": 1, "tau_ampa": 1, "seed": 1}
    recipe = read_recipe(recipe_file("tau-gaba: 2\ntau_ampa: 2\n"))
    resolved = resolve(GROUPS, {"tau_gaba": 3.0}, recipe, inherited)
    assert resolved[SynapseOptions] == SynapseOptions(tau_gaba_ms=3, tau_ampa_ms=2)
    assert resolved[NetOptions] == NetOptions(seed=1)
    assert resolved.origin == {
        "tau_gaba": "typed",
        "tau_ampa": "config",
        "seed": "from-dir",
        "dales_law": "default",
        "n_hidden": "default",
        "limit": "default",
        "observe": "default",
    }
    assert resolved.explicit == {"tau_gaba", "tau_ampa", "seed"}
    assert resolved.to_json() == {
        "tau_gaba": 3.0,
        "tau_ampa": 2.0,
        "dales_law": True,
        "seed": 1,
        "limit": 3,
        "observe": "none",
    }


@pytest.mark.parametrize("higher", ["recipe", "typed"])
def test_a_value_equal_to_the_default_still_wins(higher):
    resolved = resolve(GROUPS, **{"typed": {}, higher: {"seed": 42}}, inherited={"seed": 7})
    assert resolved[NetOptions].seed == 42
    assert "seed" in resolved.explicit


def test_nothing_given_is_all_defaults():
    resolved = resolve(GROUPS, {})
    assert resolved.options == {SynapseOptions: SynapseOptions(), NetOptions: NetOptions()}
    assert resolved.explicit == set()


def test_none_can_be_said_in_a_recipe(recipe_file):
    resolved = resolve(GROUPS, {}, read_recipe(recipe_file("limit:\n")))
    assert resolved[NetOptions].limit is None


def test_inherited_keys_of_other_commands_are_set_aside():
    resolved = resolve([NetOptions], {}, inherited={"seed": 1, "lr": 0.1, "tau_gaba": 4})
    assert resolved.unused == ("lr", "tau_gaba")
    assert resolved[NetOptions].seed == 1


def test_a_config_resolves_to_the_options_that_wrote_it(tmp_path):
    import json

    options = SynapseOptions(tau_gaba_ms=0.1 + 0.2, dales_law=False)
    (tmp_path / "config.json").write_text(json.dumps({"mode": "sim", **to_json(options)}))
    run = read_run(tmp_path, GROUPS)
    assert isinstance(run, InheritedRun)
    assert resolve(GROUPS, {}, inherited=run)[SynapseOptions] == options


def test_an_illegal_value_names_its_source(recipe_file, tmp_path):
    path = recipe_file("tau-gaba: -1\n")
    message = f"recipe {path}: --tau-gaba = -1 ms must be > 0"
    assert error_of(resolve, GROUPS, {}, read_recipe(path)) == message
    message = "--from-dir: --seed = -3 must be >= 0"
    assert error_of(resolve, GROUPS, {}, inherited={"seed": -3}) == message
    assert error_of(resolve, GROUPS, {"seed": -3}) == "--seed = -3 must be >= 0"
    assert resolve(GROUPS, {"seed": 1}, {"seed": -3})[NetOptions].seed == 1  # not the one that acts


def test_yaml_traps(recipe_file):
    path = recipe_file("tau_gaba: 1e-3\ndales-law: off\nn-hidden: 64\nobserve: off\n")
    resolved = resolve(GROUPS, {}, read_recipe(path, GROUPS))
    assert resolved[SynapseOptions] == SynapseOptions(tau_gaba_ms=0.001, dales_law=False)
    assert resolved[NetOptions] == NetOptions(n_hidden=(64,), observe="off")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: on\n", "--seed = on must be a whole number"),
        ("seed: 1e3\n", "--seed = '1e3' must be a whole number >= 0; write 1000"),
        ("tau_gabba: 3\n", "unknown key 'tau_gabba'; did you mean tau_gaba?"),
        ("synapse:\n  tau_gaba: 3\n", "synapse must be a value, not a mapping; keys are flags"),
        ("observe: 2026-01-01\n", "--observe = '2026-01-01' must be one of none, off, video"),
    ],
)
def test_what_a_recipe_cannot_mean_is_an_error(text, message, recipe_file):
    recipe = read_recipe(recipe_file(text))
    assert message in error_of(resolve, GROUPS, {}, recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tau_gaba: 3\nseed: [1, 2\n", ", line 3: expected ',' or ']'"),
        ("seed: 1\n\tx: 2\n", ", line 2: found character"),
        ("- seed\n", "must be a mapping"),
        ("# only this\n", "is empty"),
        ("seed: 1\ntau_gaba: 2\nseed: 3\n", ", line 3: seed is already given in line 1"),
        ("tau-gaba: 1\ntau_gaba: 3\n", "tau_gaba is given twice, with - and with _"),
        ("on: 1\n", "the key True must be the name of a flag"),
        ("seed: 2026-13-45\n", "month must be in 1..12"),
        ("seed: \x07\n", "special characters are not allowed"),
        ("seed: !!python/object:os.system 1\n", "could not determine a constructor"),
        ("command: [sim]\n", "command: must name one command"),
    ],
)
def test_a_broken_recipe_is_one_line(text, message, recipe_file):
    path = recipe_file(text)
    said = error_of(read_recipe, path)
    assert said.startswith(f"recipe {path}")
    assert message in said


def test_a_recipe_that_is_not_text_is_one_line(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"seed: \xff\n")
    assert f"recipe {path}: " in error_of(read_recipe, path)


def test_unknown_keys_are_found_on_reading_if_the_groups_are_given(recipe_file):
    path = recipe_file("sede: 3\n")
    message = f"recipe {path}: unknown key 'sede'; did you mean seed?"
    assert error_of(read_recipe, path, GROUPS) == message


def test_the_command_of_a_recipe_is_checked_and_kept_apart(recipe_file):
    path = recipe_file("command: train\nseed: 3\n")
    recipe = read_recipe(path, GROUPS, command="train")
    assert recipe == Recipe(path=path, command="train", values={"seed": 3})
    assert read_recipe(path).command == "train"
    said = error_of(read_recipe, path, command="sim")
    assert "is for the command 'train', not 'sim'" in said
    assert read_recipe(recipe_file("seed: 3\n"), command="sim").command is None


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml: no such file"):
        read_recipe(tmp_path / "nowhere.yaml")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_recipe(tmp_path)
