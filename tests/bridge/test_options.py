"""Option groups: what is legal, what is said about the rest, and what is derived from them."""

import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.runs.options import (
    Options,
    add_options,
    from_json,
    option,
    parameters,
    parent_parser,
    split_given,
    table,
    to_json,
)
from bridge.runs.parser import Parser


@dataclass(frozen=True, kw_only=True)
class SynapseOptions(Options):
    """Synapses of the network.

    Not part of the title.
    """

    tau_gaba_ms: float = option(9.0, "GABA decay", unit="ms", flag="tau-gaba", above=0)
    p_connect: float = option(0.2, "share of pairs", at_least=0, at_most=1)
    sparsity: float = option(0.5, "100 % means none", at_least=0, below=1)
    dales_law: bool = option(True, "keep every weight on its side of zero")


@dataclass(frozen=True, kw_only=True)
class NetOptions(Options):
    """Network."""

    n_hidden: tuple[int, ...] | None = option(
        None, "cells of each layer", at_least=1, shown_default="by dataset"
    )
    w_in: tuple[float, ...] = option(
        (0.3, 0.06), "mean and std", nargs=(1, 2), metavar="MEAN [STD]"
    )
    w_ei: tuple[float, ...] | None = option(None, "mean and std", nargs=2, metavar=("MEAN", "STD"))
    layers: tuple[int, ...] = option((), "layers with loops")
    seed: int = option(42, "seed", at_least=0, at_most=2**31 - 1)
    limit: int | None = option(3, "cap; none in JSON means no cap")
    observe: Literal["off", "video", "images"] = option("off", "what | to keep")
    width: Literal[28, 56] = option(28, "image width", unit="px")
    note: str = option("", "free text")
    out_dir: Path | None = option(None, "output folder")
    data: Path = option(Path("data"), "folder of the data sets")


GROUPS = (SynapseOptions, NetOptions)


def error_of(call, *arguments, **named) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("group", "values", "message"),
    [
        (SynapseOptions, {"tau_gaba_ms": -1}, "--tau-gaba = -1 ms must be > 0"),
        (SynapseOptions, {"tau_gaba_ms": 0.0}, "--tau-gaba = 0 ms must be > 0"),
        (SynapseOptions, {"p_connect": -0.5}, "--p-connect = -0.5 must be >= 0 and <= 1"),
        (SynapseOptions, {"p_connect": 1.5}, "--p-connect = 1.5 must be >= 0 and <= 1"),
        (SynapseOptions, {"sparsity": 1}, "--sparsity = 1 must be >= 0 and < 1"),
        (SynapseOptions, {"tau_gaba_ms": math.nan}, "--tau-gaba = nan ms must be finite"),
        (SynapseOptions, {"tau_gaba_ms": math.inf}, "--tau-gaba = inf ms must be finite"),
        (SynapseOptions, {"p_connect": -math.inf}, "--p-connect = -inf must be finite"),
        (SynapseOptions, {"tau_gaba_ms": "9"}, "--tau-gaba = '9' must be a number > 0"),
        (SynapseOptions, {"tau_gaba_ms": True}, "--tau-gaba = on must be a number > 0"),
        (
            SynapseOptions,
            {"tau_gaba_ms": None},
            "--tau-gaba = nothing must be a number > 0, not left empty",
        ),
        (SynapseOptions, {"dales_law": 1}, "--dales-law = 1 must be on or off"),
        (NetOptions, {"n_hidden": (64, 0)}, "--n-hidden = 64 0 must all be >= 1"),
        (NetOptions, {"n_hidden": ()}, "--n-hidden = an empty list must have 1 or more values"),
        (NetOptions, {"n_hidden": 64}, "--n-hidden = 64 must be a list or tuple of values"),
        (NetOptions, {"n_hidden": (1.5,)}, "must be a list, each a whole number >= 1"),
        (NetOptions, {"w_in": (1.0, 2.0, 3.0)}, "--w-in = 1 2 3 must have 1 to 2 values"),
        (NetOptions, {"w_ei": (1.0,)}, "--w-ei = 1 must have 2 values"),
        (
            NetOptions,
            {"seed": 2**31},
            "--seed = 2147483648 must be >= 0 and <= 2147483647",
        ),
        (NetOptions, {"seed": True}, "--seed = on must be a whole number"),
        (NetOptions, {"seed": 1.0}, "--seed = 1 must be a whole number >= 0 and <= 2147483647; wr"),
        (
            NetOptions,
            {"observe": "vidoe"},
            "--observe = 'vidoe' must be one of off, video, images; did you mean video?",
        ),
        (NetOptions, {"width": 30}, "--width = 30 px must be one of 28, 56"),
        (NetOptions, {"data": ""}, "--data = '' must be a path, not empty text"),
        (NetOptions, {"note": 3}, "--note = 3 must be text"),
    ],
)
def test_every_illegal_value_is_named_with_what_is_legal(group, values, message):
    assert message in error_of(group, **values)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        (SynapseOptions, "p_connect", 0.0),
        (SynapseOptions, "p_connect", 1.0),
        (SynapseOptions, "sparsity", 0.0),
        (SynapseOptions, "tau_gaba_ms", 5e-324),
        (NetOptions, "n_hidden", (1,)),
        (NetOptions, "seed", 0),
        (NetOptions, "seed", 2**31 - 1),
    ],
)
def test_the_edge_of_a_closed_bound_is_legal(group, name, value):
    assert getattr(group(**{name: value}), name) == value


def test_values_are_normalised_to_the_type_of_the_field():
    options = NetOptions(w_in=[1, 2], data="x/y")
    assert options.w_in == (1.0, 2.0)
    assert [type(w) for w in options.w_in] == [float, float]
    assert options.data == Path("x/y")
    assert type(SynapseOptions(tau_gaba_ms=9).tau_gaba_ms) is float
    assert type(SynapseOptions(tau_gaba_ms=np.float32(9)).tau_gaba_ms) is float
    assert type(NetOptions(seed=np.int64(9)).seed) is int
    assert SynapseOptions(tau_gaba_ms=9) == SynapseOptions(tau_gaba_ms=9.0)
    with pytest.raises(FrozenInstanceError):
        options.seed = 1


def test_a_tilde_in_a_path_is_the_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert from_json(NetOptions, {"out_dir": "~/runs"}).out_dir == Path("/home/somebody/runs")


@pytest.mark.parametrize(
    ("group", "raw", "name", "value"),
    [
        (SynapseOptions, {"tau_gaba": "1e-3"}, "tau_gaba_ms", 1e-3),  # YAML 1.1 needs a point
        (SynapseOptions, {"tau-gaba": 4}, "tau_gaba_ms", 4.0),
        (SynapseOptions, {"dales_law": False}, "dales_law", False),
        (SynapseOptions, {"dales-law": "off"}, "dales_law", False),
        (NetOptions, {"n_hidden": 64}, "n_hidden", (64,)),
        (NetOptions, {"n_hidden": "64"}, "n_hidden", (64,)),
        (NetOptions, {"n_hidden": [64, "32"]}, "n_hidden", (64, 32)),
        (NetOptions, {"w_in": "1e-3"}, "w_in", (1e-3,)),
        (NetOptions, {"layers": []}, "layers", ()),
        (NetOptions, {"observe": False}, "observe", "off"),  # the word off, read by YAML
        (NetOptions, {"limit": None}, "limit", None),
    ],
)
def test_values_of_yaml_and_json_pass_through_the_type_of_the_field(group, raw, name, value):
    read = getattr(from_json(group, raw), name)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"n_hidden": True}, "--n-hidden = on must be a list, each a whole number >= 1"),
        ({"n_hidden": "64 32"}, "--n-hidden = 64 32 must be a list, each a whole number >= 1"),
        ({"seed": "1e3"}, "--seed = '1e3' must be a whole number >= 0 and <= 2147483647; write 10"),
        ({"seed": False}, "--seed = off must be a whole number"),
        ({"note": 12}, "--note = 12 must be text; write it in quotes"),
        ({"note": True}, "--note = on must be text; write it in quotes"),
        ({"observe": True}, "--observe = on must be one of off, video, images"),
        ({"w_in": ["a"]}, "--w-in = a must be a list, each a number"),
        ({"w_in": "nan"}, "must be finite"),
        ({"w_in": 10**400}, "must be finite"),
        ({"n_hiden": 3}, "unknown key 'n_hiden'; did you mean n_hidden?"),
        ({"zzz": 3}, "unknown key 'zzz'; see --help"),
    ],
)
def test_what_yaml_and_json_cannot_mean_is_an_error(raw, message):
    assert message in error_of(from_json, NetOptions, raw)


def test_the_name_of_the_field_is_answered_with_the_key():
    message = error_of(from_json, SynapseOptions, {"tau_gaba_ms": 3})
    assert message == "unknown key 'tau_gaba_ms'; did you mean tau_gaba?"


finite = st.floats(allow_nan=False, allow_infinity=False)
SYNAPSES = st.builds(
    SynapseOptions,
    tau_gaba_ms=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    p_connect=st.floats(0, 1),
    sparsity=st.floats(0, 1, exclude_max=True),
    dales_law=st.booleans(),
)
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).map(Path)
NETS = st.builds(
    NetOptions,
    n_hidden=st.none() | st.lists(st.integers(1), min_size=1).map(tuple),
    w_in=st.lists(finite, min_size=1, max_size=2).map(tuple),
    w_ei=st.none() | st.tuples(finite, finite),
    layers=st.lists(st.integers()).map(tuple),
    seed=st.integers(0, 2**31 - 1),
    limit=st.none() | st.integers(),
    observe=st.sampled_from(["off", "video", "images"]),
    width=st.sampled_from([28, 56]),
    note=st.text(),
    out_dir=st.none() | PATHS,
    data=PATHS,
)


@settings(max_examples=60, deadline=None)
@given(options=SYNAPSES | NETS)
def test_options_survive_json(options):
    import json

    text = json.dumps(to_json(options), allow_nan=False)
    assert from_json(type(options), json.loads(text)) == options


def test_json_has_published_keys_and_plain_values():
    assert to_json(SynapseOptions()) == {
        "tau_gaba": 9.0,
        "p_connect": 0.2,
        "sparsity": 0.5,
        "dales_law": True,
    }
    written = to_json(NetOptions(limit=None, data=Path("d")))
    assert written["w_in"] == [0.3, 0.06]
    assert written["data"] == "d"
    assert written["limit"] is None  # the default is 3: leaving it out would bring that back
    assert "out_dir" not in written


def parser_with(*groups) -> Parser:
    parser = Parser(prog="cli")
    commands = parser.add_subparsers()
    commands.add_parser("sim", parents=[parent_parser(*groups)])
    return parser


def typed(*words: str) -> dict:
    return vars(parser_with(*GROUPS).parse_args(["sim", *words]))


def test_the_namespace_holds_what_was_typed_and_nothing_else():
    assert typed() == {}
    assert typed("--tau-gaba", "4", "--n-hidden", "64", "32", "--no-dales-law") == {
        "tau_gaba": 4.0,
        "n_hidden": [64, 32],
        "dales_law": False,
    }
    assert typed("--w-ei", "-1e-3", "-.5E+2") == {"w_ei": [-1e-3, -50.0]}
    assert typed("--width", "56", "--data", "x") == {"width": 56, "data": Path("x")}


def test_without_suppress_the_namespace_holds_the_defaults():
    parser = Parser()
    add_options(parser, SynapseOptions, suppress=False)
    assert vars(parser.parse_args(["--sparsity", "0"])) == {
        "tau_gaba": 9.0,
        "p_connect": 0.2,
        "sparsity": 0.0,
        "dales_law": True,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tau-gaba", "x"], "argument --tau-gaba: 'x' must be a number > 0 ("),
        (["--seed", "1.5"], "argument --seed: '1.5' must be a whole number >= 0 and <= "),
        (["--n-hidden", "a"], "argument --n-hidden: 'a' must be a list, each a whole number >= 1"),
        (["--observe", "image"], "must be one of off, video, images; did you mean images?"),
        (["--tau-gabba", "4"], "unrecognized argument '--tau-gabba'; did you mean --tau-gaba?"),
        (["--tau", "4"], "unrecognized argument '--tau'"),  # no abbreviations
        (["--w-ei", "1"], "argument --w-ei: expected 2 arguments"),
        (["--dales-law=no"], "ignored explicit argument 'no'"),
    ],
)
def test_mistyped_flags_are_one_line_and_exit_code_2(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        typed(*words)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


def test_help_is_grouped_and_ends_with_unit_and_default(capsys):
    with pytest.raises(SystemExit) as caught:
        typed("--help")
    assert caught.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Synapses of the network: --tau-gaba FLOAT GABA decay (ms; default: 9)" in said
    assert "Not part of the title" not in said
    assert "100 % means none (default: 0.5)" in said
    assert "--dales-law, --no-dales-law keep every weight on its side of zero (default: on)" in said
    assert "--n-hidden INT [INT ...] cells of each layer (default: by dataset)" in said
    assert "--w-in MEAN [STD ...] mean and std (default: 0.3 0.06)" in said
    assert "--w-ei MEAN STD mean and std (default: unset)" in said
    assert "--observe {off,video,images} what | to keep (default: off)" in said
    assert "--width {28,56} image width (px; default: 28)" in said


def test_the_table_has_a_row_for_each_option():
    lines = table(*GROUPS).splitlines()
    assert len(lines) == 2 + sum(len(parameters(group)) for group in GROUPS)
    assert lines[0] == "| flag | default | unit | help |"
    assert "| `--tau-gaba` | 9 | ms | GABA decay |" in lines
    assert "| `--n-hidden` | by dataset |  | cells of each layer |" in lines
    assert (
        "| `--dales-law`, `--no-dales-law` | on |  | keep every weight on its side of zero |"
        in (lines)
    )
    assert "| `--observe` | off |  | what \\| to keep (`off`, `video`, `images`) |" in lines


def test_given_values_are_sorted_by_group():
    given_values = {"tau-gaba": 4, "seed": 1, "n_hidden": [3]}
    assert split_given(given_values, GROUPS) == {
        SynapseOptions: {"tau_gaba": 4},
        NetOptions: {"seed": 1, "n_hidden": [3]},
    }
    assert "did you mean seed?" in error_of(split_given, {"sede": 1}, GROUPS)
    twice = {"tau-gaba": 4, "tau_gaba": 5}
    assert "tau_gaba is given twice" in error_of(split_given, twice, GROUPS)


def test_mistakes_in_a_group_are_found_when_it_is_first_used():
    @dataclass(frozen=True, kw_only=True)
    class Undeclared(Options):
        """X."""

        size: int = 3

    @dataclass(frozen=True, kw_only=True)
    class Unsupported(Options):
        """X."""

        size: dict = option(None, "x")

    @dataclass(frozen=True, kw_only=True)
    class Reserved(Options):
        """X."""

        mode: str = option("a", "x")

    class Bare(NetOptions):
        """X."""

        more: int = option(1, "x")

    assert "Undeclared.size must be declared with option" in error_of(Undeclared)
    assert "is no type an option can have" in error_of(Unsupported)
    assert "the key 'mode' is taken" in error_of(Reserved)
    assert "Bare needs @dataclass" in error_of(Bare)
    assert "both declare --tau-gaba" in error_of(table, SynapseOptions, SynapseOptions)


def test_a_key_can_differ_from_the_flag():
    @dataclass(frozen=True, kw_only=True)
    class Renamed(Options):
        """X."""

        rate_hz: float = option(1.0, "rate", flag="rate", key="spike_rate")

    assert to_json(Renamed()) == {"spike_rate": 1.0}
    assert from_json(Renamed, {"rate": 2}) == from_json(Renamed, {"spike_rate": 2})
    assert vars(parser_with(Renamed).parse_args(["sim", "--rate", "3"])) == {"spike_rate": 3.0}


def test_importing_the_package_brings_in_no_heavy_library():
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys, bridge.runs; "
        "print({'numpy', 'yaml', 'torch', 'brian2', 'h5py', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
