"""Inheritance and recipes: typed > --config > --from-dir > default."""

from __future__ import annotations

import json

import pytest
from command_line import SMALL, same

from bridge.formats.weight_files import save_weights


def test_the_same_network_again(call):
    first = call(
        "sim", *SMALL, "--tau-gaba", "6", "--synapse-order", "kick-decay", "--seed", "3",
        "--readout", "mem-mean", "--readout-tau-out", "8", "--w-ei", "1.5", "0.1", name="first",
    )  # fmt: skip
    again = call("sim", "--from-dir", first.folder, "--codegen", "numpy", name="again")
    assert again.code == 0, again.err
    assert same(first.recording, again.recording)
    assert "inherited from" in again.out
    other = call("sim", "--from-dir", first.folder, "--codegen", "numpy", "--tau-gaba=12",
                 name="other")  # fmt: skip
    assert other.config["tau_gaba"] == 12.0
    assert not same(first.recording, other.recording)


def test_precedence(call, tmp_path):
    first = call("sim", *SMALL, "--tau-gaba", "6", "--tau-syn", "3", "--seed", "3", name="first")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("tau-gaba: 7\ntau_syn: 4\nreadout: mem-mean\nw_in: [3, 1e-1]\n")
    both = call(
        "sim", "--from-dir", first.folder, "--config", recipe, "--tau-syn", "5",
        "--codegen", "numpy", name="both",
    )  # fmt: skip
    assert both.code == 0, both.err
    config = both.config
    assert (config["seed"], config["tau_gaba"], config["tau_syn"]) == (3, 7.0, 5.0)
    assert config["readout"] == "mem-mean"
    assert config["w_in"] == [3.0, 0.1]


def test_a_recipe_says_what_the_flags_say(call, tmp_path):
    typed = call("sim", *SMALL, name="typed")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "command: sim\nn-hidden: 32\ndt: 0.5\nt-ms: 240\ninput-rate: 2e2\nw-in: [2, 0.4]\n"
        "codegen: numpy\n"
    )
    told = call("sim", "--config", recipe, name="told")
    assert told.code == 0, told.err
    assert same(typed.recording, told.recording)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("tau-gabba: 3\n", "did you mean tau_gaba"),
        ("tau-gaba: -3\n", "must be > 0"),
        ("command: train\n", "is for the command 'train'"),
        ("dt: [0.1\n", "line"),
        ("- dt\n", "mapping"),
        ("tbptt-window: 5\n", "--tbptt-window applies to --model cuba"),
    ],
)
def test_a_bad_recipe_is_refused(call, tmp_path, text, part):
    (tmp_path / "recipe.yaml").write_text(text)
    outcome = call("sim", "--config", tmp_path / "recipe.yaml")
    assert outcome.code == 2
    assert part in outcome.err
    assert outcome.err.count("\n") == 1
    assert not outcome.folder.exists()


@pytest.fixture
def trained(tmp_path, weight_files):
    """Return a folder like that of a training run, and its weights."""
    weights, _ = weight_files
    folder = tmp_path / "trained"
    folder.mkdir()
    save_weights(weights, folder / "weights.h5")
    config = {
        "mode": "train", "model": "ping", "dt": 0.5, "t_ms": 160.0, "hidden_sizes": [32],
        "ei_strength": 1.0, "ei_ratio": 2.0, "sparsity": 0.0, "w_in": [1.2, 0.12],
        "w_in_sparsity": 0.9, "input_rate": 150.0, "dales_law": True, "seed": 5,
        "tau_gaba_ms": 6.0, "readout_mode": "mem-mean", "tau_out": 4.0, "surrogate_slope": 1.0,
        "trainable_w_ei": True, "lr": 1e-4, "epochs": 3,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder, weights


def test_a_trained_run_hands_on_everything(call, trained):
    folder, _ = trained
    outcome = call("sim", "--from-dir", folder, "--codegen", "numpy")
    assert outcome.code == 0, outcome.err
    config = outcome.config
    assert config["n_hidden"] == [32]
    assert (config["dt"], config["t_ms"], config["input_rate"]) == (0.5, 160.0, 150.0)
    assert (config["tau_gaba"], config["readout"], config["readout_tau_out"]) == (
        6.0, "mem-mean", 4.0
    )  # fmt: skip
    assert config["trainable_w_ei"] is True
    assert config["derived"]["weights_from"].endswith("weights.h5")


def test_weights_are_handed_on_from_run_to_run(call, trained):
    folder, _ = trained
    runs = [call("sim", "--from-dir", folder, "--codegen", "numpy", name="first")]
    for name in ("second", "third"):
        runs.append(call("sim", "--from-dir", runs[-1].folder, "--codegen", "numpy", name=name))
        assert runs[-1].code == 0, runs[-1].err
        assert same(runs[0].recording, runs[-1].recording)
    changed = call("sim", "--from-dir", folder, "--ei-strength", "3", "--codegen", "numpy",
                   name="changed")  # fmt: skip
    again = call("sim", "--from-dir", changed.folder, "--codegen", "numpy", name="again")
    assert not same(runs[0].recording, changed.recording)
    assert same(changed.recording, again.recording)


def test_a_flag_that_repeats_what_is_inherited_overrules_nothing(call):
    first = call(
        "sim", "--digit", "3", "--n-hidden", "12", "--bias", "0.001", "--n-inh", "5", "--readout",
        "mem-mean", "--readout-tau-out", "7", "--codegen", "numpy", name="first",
    )  # fmt: skip
    for flags in (("--model", "ping"), ("--n-hidden", "12"), ("--input", "dataset")):
        again = call("sim", "--from-dir", first.folder, *flags, "--codegen", "numpy", name="again")
        assert again.code == 0, again.err
        assert same(first.recording, again.recording), flags
    other = call("sim", "--from-dir", first.folder, "--n-hidden", "16", name="other")
    assert other.config["n_inh"] == [4]
    assert "overruled, back to default: ei_layers, n_inh" in other.out
    inherited = next(line for line in other.out.splitlines() if line.startswith("inherited"))
    assert "n_inh" not in inherited
    assert "readout" in inherited


def test_a_typed_flag_overrules_the_recipe(call, tmp_path):
    (tmp_path / "recipe.yaml").write_text("ei-strength: 1\ninput: dataset\n")
    outcome = call("sim", *SMALL, "--config", tmp_path / "recipe.yaml", "--w-ei", "2", "0.1",
                   "--w-ie", "3", "0.1", "--input", "synthetic-spikes")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.config["w_ei"] == [2.0, 0.1]
    assert outcome.config["input"] == "synthetic-spikes"


def test_out_dir_of_an_inheriting_run(call, trained, tmp_path, monkeypatch):
    folder, _ = trained
    from cli import main

    assert main(["sim", "--from-dir", str(folder), "--codegen", "numpy"]) == 0
    first = (folder / "sim" / "config.json").read_bytes()
    # Other settings: a folder of its own beside it.
    assert main(["sim", "--from-dir", str(folder), "--codegen", "numpy", "--t-ms", "90"]) == 0
    assert (folder / "sim" / "config.json").read_bytes() == first
    (other,) = folder.glob("sim-*")
    assert json.loads((other / "config.json").read_text())["t_ms"] == 90


def test_every_bare_run_has_a_folder_of_its_own(tmp_path, monkeypatch):
    from cli import main

    monkeypatch.chdir(tmp_path)
    artifacts = tmp_path / "artifacts"
    seen = set()
    for _ in (1, 2):
        assert main(["sim", *SMALL]) == 0
        (new,) = set(artifacts.glob("sim-*")) - seen
        seen.add(new)
        assert (artifacts / "latest").is_symlink()
        assert (artifacts / "latest").resolve() == new


def test_explicit_weights_win_over_inherited_ones(call, trained, weight_files, tmp_path):
    folder, weights = trained
    other = weights.scaled("W_in", 2.0)
    save_weights(other, tmp_path / "other.h5")
    base = ("sim", "--from-dir", folder, "--codegen", "numpy")
    inherited = call(*base, name="inherited")
    explicit = call(*base, "--load-weights", tmp_path / "other.h5", name="explicit")
    assert explicit.code == 0, explicit.err
    assert not same(inherited.recording, explicit.recording)


def test_loaded_weights_keep_their_loop_beside_inherited_settings(call, trained, tmp_path):
    """A config.json alone and its weights by name are the network, whatever drew it once."""
    folder, _ = trained
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_bytes((folder / "config.json").read_bytes())
    whole = call("sim", "--from-dir", folder, "--codegen", "numpy", name="whole")
    parts = call(
        "sim", "--from-dir", alone, "--load-weights", folder / "weights.h5", "--codegen", "numpy",
        name="parts",
    )  # fmt: skip
    assert parts.code == 0, parts.err
    assert "drawn anew" not in parts.out
    assert same(whole.recording, parts.recording)


def test_a_run_on_a_dataset_stays_on_it(call, tmp_path):
    config = {"mode": "train", "model": "ping", "dataset": "scikit", "hidden_sizes": [16],
              "dales_law": True, "dt": 0.5, "t_ms": 100}  # fmt: skip
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    from bridge.network.spec import PingSpec, ei_layer
    from bridge.network.weights import DrawRule, WeightDraw, draw_weights

    spec = PingSpec(n_in=64, layers=(ei_layer(16),))
    rule = DrawRule(1.0, 0.1)
    save_weights(
        draw_weights(spec, WeightDraw(w_in=rule, w_ei=rule, w_ie=rule), seed=1),
        folder / "weights.h5",
    )
    outcome = call("image", "--from-dir", folder, "--digit", "4", "--codegen", "numpy")
    assert outcome.code == 0, outcome.err
    assert outcome.config["input"] == "dataset"
    assert json.loads((outcome.folder / "metrics.json").read_text())["prediction"] in range(10)


@pytest.mark.parametrize("model", ["standard-snn", "snntorch", "cuba"])
def test_legacy_models_are_recognised_and_refused(call, tmp_path, model):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"mode": "train", "model": model}))
    outcome = call("sim", "--from-dir", folder)
    assert outcome.code == 2
    assert "can't" in outcome.err or "cannot" in outcome.err


@pytest.mark.usefixtures("weight_files")
def test_a_file_run_hands_on_its_files(call, tmp_path, monkeypatch):
    first = call("sim", *SMALL[2:8], "--weights-file", "weights.npz", "--codegen", "numpy",
                 name="first")  # fmt: skip
    assert first.code == 0, first.err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = call("sim", "--from-dir", first.folder, "--codegen", "numpy", name="again")
    assert again.code == 0, again.err
    assert same(first.recording, again.recording)


def test_a_run_that_says_no_event_stream_is_replayed_with_the_published_one(call):
    words = (*SMALL, "--encoder", "events")
    old = call("sim", *words, "--event-stream", "published", name="old")
    assert old.code == 0, old.err
    config = old.config
    del config["event_stream"]
    (old.folder / "config.json").write_text(json.dumps(config))
    again = call("sim", "--from-dir", old.folder, "--codegen", "numpy", name="again")
    assert same(old.recording, again.recording)
    assert "does not say --event-stream" in again.err
    new = call("sim", *words, name="new")
    assert not same(old.recording, new.recording)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "add --encoder events"),
        (("--dataset", "scikit"), "add --encoder events"),
        (("--input", "synthetic-conductance"), "--event-stream applies to synthetic-spikes"),
    ],
)
def test_an_event_stream_without_events_is_refused(call, words, part):
    base = ("--n-hidden", "16", "--dt", "0.5", "--codegen", "numpy")
    said = call("sim", *base, *words, "--event-stream", "published")
    assert said.code == 2
    assert part in said.err
    assert said.err.count("\n") == 1
