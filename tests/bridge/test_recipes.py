"""Recipes by name: what is found from where, and what is said when nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge import home
from bridge.runs import recipes
from bridge.runs.recipes import find_recipe, shipped_recipes

DEMO = home.CONFIGS / "ping" / "demo.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder, far from any configs/."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shipping(tmp_path, monkeypatch):
    """Ship three files, two of them under one short name, beside somebody else's."""
    configs = tmp_path / "shipped" / "configs"
    for name in ("ping/fast", "rate/fast", "rate/deep/slow", "theirs/demo"):
        path = configs / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("seed: 1\n")
    monkeypatch.setattr(recipes, "CONFIGS", configs)
    return configs


@pytest.mark.parametrize(
    "name",
    ["demo", "demo.yaml", "ping/demo", "ping/demo.yaml", "configs/ping/demo.yaml", "./ping/demo",
     "ping/demo.yml", Path("configs/demo"), str(DEMO), DEMO.with_suffix("")],
)  # fmt: skip
def test_a_recipe_is_found_from_anywhere(name):
    assert find_recipe(name) == DEMO


def test_a_configuration_is_found_under_its_published_names():
    mean_field = home.CONFIGS / "clustered" / "2_cluster_mf.yaml"
    half = home.CONFIGS / "clustered" / "perturbed" / "half_driven.yaml"
    assert find_recipe("configs/2_cluster_mf.yaml") == mean_field
    assert find_recipe("configs/perturbed/half_driven.yaml") == half
    assert find_recipe("half-driven") == half
    assert find_recipe("lateral-line/fast").parent.name == "lateral_line"


@pytest.mark.parametrize("own", ["demo", "demo.yaml", "demo.yml"])
def test_a_file_that_is_there_wins(own, elsewhere):
    (elsewhere / own).write_text("seed: 1\n")
    assert find_recipe("demo") == Path(own)
    assert find_recipe("ping/demo") == DEMO  # names another one


def test_a_folder_of_that_name_does_not_hide_a_recipe(elsewhere):
    (elsewhere / "demo").mkdir()
    assert find_recipe("demo") == DEMO


def test_a_path_of_ones_own_is_not_looked_for_among_the_shipped(elsewhere):
    (elsewhere / "ping").mkdir()
    for path in ("../ping/demo.yaml", elsewhere / "ping" / "demo.yaml", "/ping/demo.yaml"):
        with pytest.raises(FileNotFoundError, match=r"demo\.yaml: no such file"):
            find_recipe(path)


def test_what_ships_has_names_that_can_be_typed():
    found = shipped_recipes()
    assert next(iter(found)) == "ping/demo"
    assert {path.parent for path in found.values()} >= {home.CONFIGS / s for s in recipes.SYSTEMS}
    for name, path in found.items():
        assert path == home.CONFIGS / f"{name}.yaml"
        assert path.is_file()
        assert find_recipe(name) == path
        assert "-" not in name
        assert find_recipe(path.stem) == path  # one that is not unique would be an error


def test_every_folder_of_configs_ships():
    folders = {path.name for path in home.CONFIGS.iterdir() if path.is_dir()}
    assert folders == set(recipes.SYSTEMS)


def test_an_ambiguous_name_is_one_line_with_the_candidates(shipping):
    with pytest.raises(ValueError, match="fast") as caught:
        find_recipe("fast")
    assert str(caught.value) == (
        "recipe fast: several ship under that name; use ping/fast or rate/fast"
    )
    assert find_recipe("rate/fast") == shipping / "rate" / "fast.yaml"
    assert find_recipe("slow") == find_recipe("deep/slow") == shipping / "rate/deep/slow.yaml"


def test_files_of_others_do_not_ship(shipping):
    assert list(shipped_recipes()) == ["ping/fast", "rate/deep/slow", "rate/fast"]
    with pytest.raises(FileNotFoundError):
        find_recipe("theirs/demo")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("demmo", " (did you mean ping/demo?)"),
     ("config/pign/demo.yaml", " (did you mean ping/demo?)"),
     ("half_drive", " (did you mean clustered/perturbed/half_driven?)"), ("qqqqq", "")],
)  # fmt: skip
def test_an_unknown_name_names_the_nearest(wrong, hint):
    with pytest.raises(FileNotFoundError) as caught:
        find_recipe(wrong)
    assert str(caught.value) == (
        f"recipe {wrong}: no such file, and none of that name ships{hint}; "
        "`pingbridge recipes` lists those that do"
    )
