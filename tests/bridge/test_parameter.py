"""Numbers as people type them, and what only people may say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.runs.groups import SIM_GROUPS, ExecutionOptions, ProgramOptions
from bridge.runs.groups_clustered import StepParallelOptions
from bridge.runs.groups_rate import RateTaskOptions
from bridge.runs.groups_scan import WorkerOptions
from bridge.runs.inherit import InheritedRun
from bridge.runs.options import Options, by_key, option
from bridge.runs.parameter import number_of
from bridge.runs.resolve import read_recipe, resolve


@dataclass(frozen=True, kw_only=True)
class Some(Options):
    """Some options."""

    dt_ms: float = option(0.25, "step", unit="ms", flag="dt", above=0)
    seed: int = option(1, "seed", at_least=0)
    sizes: tuple[int, ...] = option((1,), "sizes")
    place: Path | None = option(None, "a path")


SOME = {key: parameter for key, (_, parameter) in by_key([Some]).items()}


@pytest.mark.parametrize("text", ["0_25", "1_0", "٣", "\uff11", "1²", "²", "0x1F", "1,5", "", " "])
@pytest.mark.parametrize("key", ["dt", "seed", "sizes"])
def test_numbers_in_other_digits_are_refused(key, text):
    with pytest.raises(ValueError, match=f"--{key} = .* must be"):
        SOME[key].read_text(text)
    with pytest.raises(ValueError, match="must be"):
        SOME[key].read(text)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("dt", "0.25", 0.25), ("dt", "1e-3", 1e-3), ("dt", "+.5", 0.5), ("dt", " 2 ", 2.0),
        ("seed", "12", 12), ("seed", "+7", 7), ("seed", "012", 12),
    ],
)  # fmt: skip
def test_numbers_as_people_type_them(key, text, value):
    assert SOME[key].read_text(text) == value
    assert SOME[key].read(text) == value


def test_a_whole_number_of_thousands_of_digits_is_one_line():
    with pytest.raises(ValueError, match="--seed = ") as caught:
        SOME["seed"].read_text("9" * 5000)
    assert "\n" not in str(caught.value)


def test_a_number_is_whole_or_not():
    assert [number_of(word) for word in ("3", "3.0", "1e1")] == [3, 3.0, 10.0]
    assert isinstance(number_of("3"), int)
    for word in ("1_0", "٣", "x"):
        with pytest.raises(ValueError, match=word):
            number_of(word)


def test_a_path_without_a_null_byte():
    with pytest.raises(ValueError, match=r"--place = .* without a null byte"):
        SOME["place"].read("a\0b")


CODE = [
    (ProgramOptions, "program", "prog"),
    (WorkerOptions, "scheduler", "tcp://10.0.0.1:8786"),
    (StepParallelOptions, "scheduler", "tcp://10.0.0.1:8786"),
    (RateTaskOptions, "task", "evil:Task"),
]


@pytest.mark.parametrize(("group", "key", "value"), CODE)
def test_which_code_runs_is_typed(tmp_path, group, key, value):
    assert str(getattr(resolve([group], {key: value})[group], key)) == value
    path = tmp_path / "r.yaml"
    path.write_text(f"{key}: '{value}'\n")
    with pytest.raises(ValueError, match=f"recipe {path}: --{key} = .* must be typed"):
        resolve([group], {}, read_recipe(path))
    run = InheritedRun(
        path=tmp_path, mode=None, values={key: value}, provenance={}, weights_path=None, notes=[],
        warnings=[],
    )  # fmt: skip
    with pytest.raises(ValueError, match=f"--from-dir {tmp_path}: --{key} = .* must be typed"):
        resolve([group], {}, None, run)
    typed = resolve([group], {key: value}, read_recipe(path), run)
    assert str(getattr(typed[group], key)) == value


def test_a_recipe_may_name_a_task_that_is_known(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("task: xor\n")
    assert resolve([RateTaskOptions], {}, read_recipe(path))[RateTaskOptions].task == "xor"


def test_every_option_that_names_code_is_on_the_list():
    """A program, a scheduler: whoever adds another one has to think of it here."""
    found = {
        key for key, (_, parameter) in by_key(SIM_GROUPS).items() if parameter.declared.typed_only
    }
    assert found == {"program"}
    assert ExecutionOptions.__dataclass_fields__["modal"].default is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: 010", "line 1: seed: 010 can be misread .*base 8.* write 10"),
        ("seed: -007", "write -7"),
        ("dt: 1:30", "dt: 1:30 can be misread .*base 60.* write 90"),
        ("dt: -1:30.5", "write -90.5"),
        ("seed: 1_000", "write 1000"),
        ("dt: 1_0.5", "write 10.5"),
        ("sizes: [1, 010]", "sizes: 010 can be misread"),
        ("place: &a [*a]", "an alias stands for what it is part of"),
        ("seed: 1\nseed: 2", "line 2: seed is already given in line 1"),
        pytest.param("a: " + "[" * 70 + "]" * 70, "nested too deeply", id="lists"),
        pytest.param("a: " + "{a: " * 70 + "1" + "}" * 70, "nested too deeply", id="mappings"),
        pytest.param("- " * 5000 + "a", "nested too deeply", id="recursion"),
        pytest.param("seed: " + "9" * 5000, "4300 digits", id="digits"),
        ("seed: \xff", "must be a whole number"),
    ],
)
def test_recipes_that_can_be_misread(tmp_path, line, message):
    path = tmp_path / "r.yaml"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        resolve([Some], {}, read_recipe(path))
    assert str(caught.value).startswith(f"recipe {path}")
    assert "\n" not in str(caught.value)


def test_numbers_in_quotes_and_plain_ones_are_read(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("seed: '010'\ndt: 1e-3\nsizes: &s [1, 2]\nplace: 1:30x\n")
    found = resolve([Some], {}, read_recipe(path))[Some]
    assert (found.seed, found.dt_ms, found.sizes, str(found.place)) == (10, 1e-3, (1, 2), "1:30x")


def test_a_recipe_whose_aliases_grow_without_bound_is_refused_at_once(tmp_path):
    path = tmp_path / "r.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 30)]
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="with its aliases it holds more than"):
        read_recipe(path)
