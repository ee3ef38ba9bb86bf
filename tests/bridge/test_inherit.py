"""What an earlier run hands on, in the shapes that versions of the seed system have written."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.runs.inherit import NEVER_INHERIT, read_run, require_weights
from bridge.runs.options import Options, option
from bridge.runs.resolve import resolve


@dataclass(frozen=True, kw_only=True)
class NetOptions(Options):
    """Network."""

    model: str = option("ping", "model", choices=("ping", "cuba-ping", "cuba-noping"))
    n_hidden: tuple[int, ...] | None = option(None, "cells", at_least=1)
    ei_sparsity: float = option(0.0, "absent pairs")
    ei_strength: float | None = option(None, "coupling")
    tau_gaba_ms: float = option(9.0, "GABA decay", flag="tau-gaba", above=0)
    dt_ms: float = option(0.25, "step", flag="dt", above=0)
    input_rate_hz: float = option(25.0, "rate", flag="input-rate")
    w_in: tuple[float, ...] = option((0.3, 0.06), "weights", nargs=(1, 2))
    readout: str = option("rate", "readout", choices=("rate", "mem-mean"))
    synapse_order: str = option("decay-add", "order", choices=("decay-add", "kick-decay"))
    dales_law: bool = option(True, "sign")
    seed: int = option(42, "seed")


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Run."""

    out_dir: Path | None = option(None, "folder")
    wipe_dir: bool = option(False, "wipe")
    backend: str = option("brian", "backend")
    device: str | None = option(None, "device")
    load_weights: Path | None = option(None, "weights")


GROUPS = (NetOptions, RunOptions)

# As a training run of the seed system leaves it: provenance spread over the top level.
SEED_CONFIG = {
    "mode": "train",
    "git_sha": "abc1234 (dirty)",
    "device": "cuda",
    "run_id": "r-20260401-120000",
    "started_at": "2026-04-01T12:00:00",
    "torch_version": "2.11.0",
    "python_env_hash": "uv.lock:0123456789ab",
    "model": "ping",
    "n_hidden": 1024,
    "hidden_sizes": [512, 1024],
    "n_inh": 256,
    "n_in": 784,
    "w_in": [1.2, 0.12],
    "ei_strength": 1.0,
    "sparsity": 0.2,
    "tau_gaba_ms": 18.0,
    "dt": 0.1,
    "input_rate": 25.0,
    "readout_mode": "mem-mean",
    "max_samples": None,
    "dales_law": True,
    "ei_layers": None,
    "n_params": 2390000,
    "n_trainable": 813056,
    "burn_in_ms": 20.0,
    "seed": 7,
    "synapse_order": "kick-decay",
    "out_dir": "/somewhere/else",
}


@pytest.fixture
def run_with(tmp_path):
    def write(config: dict, *files: str, drop: tuple[str, ...] = ()) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        kept = {key: value for key, value in config.items() if key not in drop}
        (folder / "config.json").write_text(json.dumps(kept))
        for name in files:
            (folder / name).touch()
        return folder

    return write


def test_a_run_of_the_seed_system_is_understood(run_with):
    run = read_run(run_with(SEED_CONFIG, "weights.pth"), GROUPS)
    assert run.mode == "train"
    assert run.notes == []
    assert run.warnings == []
    assert run.provenance["git_sha"] == "abc1234 (dirty)"
    assert run.provenance["python_env_hash"] == "uv.lock:0123456789ab"
    resolved = resolve(GROUPS, {}, inherited=run)
    assert resolved[NetOptions] == NetOptions(
        n_hidden=(512, 1024),
        ei_sparsity=0.2,
        ei_strength=1.0,
        tau_gaba_ms=18,
        dt_ms=0.1,
        input_rate_hz=25,
        w_in=(1.2, 0.12),
        readout="mem-mean",
        synapse_order="kick-decay",
        seed=7,
    )
    assert resolved[RunOptions] == RunOptions()  # neither its folder nor its device
    assert resolved.unused == ()


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        ({"hidden_sizes": [8, 9], "n_hidden": 9}, "n_hidden", (8, 9)),
        ({"n_hidden": 9}, "n_hidden", (9,)),
        ({"n_hidden": [9, 8]}, "n_hidden", (9, 8)),
        ({"hidden_sizes": None, "n_hidden": 9}, "n_hidden", (9,)),
        ({"max_rate_hz": 50}, "input_rate_hz", 50.0),
        ({"max_rate_hz": 50, "input_rate": 5}, "input_rate_hz", 5.0),
        ({"dt_ms": 0.5}, "dt_ms", 0.5),
        ({"w_in": 0.7}, "w_in", (0.7,)),
        ({"seed": None}, "seed", 42),
        ({"model": "cobanet"}, "model", "ping"),
        ({"model": "cuba_noping"}, "model", "cuba-noping"),
    ],
)
def test_other_names_and_shapes(config, key, value, run_with):
    run = read_run(run_with(config), GROUPS)
    assert getattr(resolve(GROUPS, {}, inherited=run)[NetOptions], key) == value


def test_an_alias_that_is_a_key_of_its_own_is_left_alone(run_with):
    @dataclass(frozen=True, kw_only=True)
    class Clusters(Options):
        """Another system."""

        sparsity: float = option(0.1, "absent pairs")

    run = read_run(run_with({"sparsity": 0.3}), [Clusters])
    assert run.values == {"sparsity": 0.3}


def test_a_renamed_model_is_noted_in_one_line(run_with):
    folder = run_with({"model": "coba", "ei_strength": 0.0, "dales_law": True}, drop=())
    run = read_run(folder, GROUPS)
    assert run.notes == [f"{folder}: model 'coba' is an earlier name of 'ping'"]
    assert not any("--ei-strength" in line for line in run.warnings)


def test_coba_without_a_strength_is_questioned(run_with):
    run = read_run(run_with({"model": "coba"}), GROUPS)
    assert any("pass --ei-strength 0 if its E-I loop was open" in line for line in run.warnings)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("standard-snn", "'standard-snn' belongs"),
        ("cuba", "'cuba' belongs"),
        ("snntorch-library", "'snntorch-library' belongs"),
        ("snntorch", "'standard-snn' (written as 'snntorch') belongs"),
        ("snntorch-canonical", "'standard-snn' (written as 'snntorch-canonical') belongs"),
    ],
)
def test_the_old_current_based_family_is_refused(model, named, run_with):
    with pytest.raises(ValueError, match="cannot be run here") as caught:
        read_run(run_with({"model": model}), GROUPS)
    said = str(caught.value)
    assert named in said
    assert "ping, cuba-ping, cuba-noping" in said


def test_a_missing_dales_law_is_warned_of(run_with):
    run = read_run(run_with(SEED_CONFIG, drop=("dales_law",)), GROUPS)
    assert len(run.warnings) == 1
    assert "does not say dales_law; pass --dales-law or --no-dales-law" in run.warnings[0]


def test_a_missing_synapse_order_is_warned_of_in_foreign_runs_only(run_with, tmp_path):
    run = read_run(run_with(SEED_CONFIG, drop=("synapse_order",)), GROUPS)
    assert [line for line in run.warnings if "--synapse-order" in line] == run.warnings != []
    ours = {"provenance": {"tool": "pingbridge"}, "dales_law": True}
    (tmp_path / "run" / "config.json").write_text(json.dumps(ours))
    assert read_run(tmp_path / "run", GROUPS).warnings == []


def test_unknown_keys_are_one_warning(run_with):
    run = read_run(run_with({**SEED_CONFIG, "zeta": 1, "alpha": 2, "nothing": None}), GROUPS)
    assert len(run.warnings) == 1
    assert run.warnings[0].endswith("not known here, not inherited: alpha, zeta")
    assert "zeta" not in run.values


def test_nested_provenance_wins_over_what_is_spread(run_with):
    config = {**SEED_CONFIG, "provenance": {"git_sha": "1111111", "tool": "pingbridge"}}
    run = read_run(run_with(config), GROUPS)
    assert run.provenance == {"git_sha": "1111111", "tool": "pingbridge"}
    assert run.warnings == []


def test_where_output_goes_and_how_it_executes_is_not_inherited(run_with):
    config = {**dict.fromkeys(NEVER_INHERIT, "x"), "seed": 3, "dales_law": True}
    folder = run_with(config)
    assert read_run(folder, GROUPS).values == {"seed": 3, "dales_law": True}
    assert read_run(folder).values == {"seed": 3, "dales_law": True}
    assert {"out_dir", "wipe_dir", "backend", "device", "load_weights"} <= NEVER_INHERIT
    kept = read_run(folder, GROUPS, never_inherit={"seed"}).values
    assert "seed" not in kept
    assert kept["backend"] == "x"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], None),
        (["weights.h5"], "weights.h5"),
        (["weights.pth"], "weights.pth"),
        (["weights.h5", "weights.pth"], "weights.pth"),
    ],
)
def test_weights_are_found(files, expected, run_with):
    folder = run_with(SEED_CONFIG, *files)
    run = read_run(folder, GROUPS)
    if expected is None:
        assert run.weights_path is None
        with pytest.raises(FileNotFoundError, match="--load-weights") as caught:
            require_weights(run)
        assert str(folder) in str(caught.value)
    else:
        assert require_weights(run) == folder / expected


def test_a_run_that_has_not_ended_is_warned_of(run_with):
    run = read_run(run_with(SEED_CONFIG, ".running"), GROUPS)
    assert len(run.warnings) == 1
    assert "has not ended" in run.warnings[0]


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no config\.json in it"):
        read_run(tmp_path)
    weights = tmp_path / "weights.pth"
    weights.touch()
    with pytest.raises(FileNotFoundError, match="a file; name its folder"):
        read_run(weights)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"seed": 1,\n oops}', r"config.json, line 2: not JSON"),
        (b"[1]", "must hold a JSON object, not a list"),
        (b"\xff", "not UTF-8"),
        (b"", "line 1: not JSON"),
    ],
)
def test_malformed_json_is_one_line(content, message, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


OLD = {"mode": "train", "model": "ping", "dales_law": True, "run_id": "r-20260401-101010"}


@pytest.mark.parametrize(
    ("extra", "order"),
    [
        ({}, "kick-decay"),
        ({"synapse_order": "decay-add"}, "decay-add"),
        ({"weight_decay": 0.0}, "decay-add"),  # written after the order changed
        ({"state_clamp": 1.0}, "decay-add"),
    ],
)
def test_an_old_run_keeps_the_synapse_order_of_its_time(run_with, extra, order):
    run = read_run(run_with(OLD | extra, "weights.pth"), GROUPS)
    assert run.values["synapse_order"] == order
    told = [line for line in run.warnings if "synapse order" in line]
    assert len(told) == ("synapse_order" not in extra)
    assert all(f"; {order} is used" in line for line in told)
    typed = resolve(GROUPS, {"synapse_order": "decay-add"}, inherited=run)
    assert typed[NetOptions].synapse_order == "decay-add"


def test_what_a_current_based_network_has_not_is_not_told(run_with):
    run = read_run(run_with(OLD | {"model": "cuba-ping"}, "weights.pth"), GROUPS)
    assert not [line for line in run.warnings if "synapse order" in line]


def test_our_own_runs_are_taken_at_their_word(run_with):
    ours = {"mode": "sim", "model": "ping", "dales_law": True}
    block = {"tool": "pingbridge", "run_id": "r-20260401-101010"}
    assert read_run(run_with({"provenance": block, **ours}), GROUPS).warnings == []


@pytest.mark.parametrize("readout", ["mem-mean", "spike-count", "rate", "li"])
def test_the_output_time_constant_of_an_old_run_is_that_of_its_time(run_with, readout):
    from bridge.runs.groups import NetworkOptions

    run = read_run(run_with(OLD | {"readout_mode": readout}, "weights.pth"), (NetworkOptions,))
    integrates = readout in ("mem-mean", "spike-count")
    assert run.values.get("readout_tau_out") == (2.0 if integrates else None)
    assert any("output time constant; 2 ms is used" in line for line in run.warnings) == integrates
