"""``--backend``: the same command in Brian2, in torch, and in both."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import SMALL, same

from bridge.formats.weight_files import save_weights
from bridge.network.spec import CubaSpec, PingSpec, ei_layer
from bridge.network.weights import CUBA_DRAW, DrawRule, WeightDraw, draw_weights

NET = SMALL[:-2]
BRIAN = ("--codegen", "numpy")
MODELS = {
    "ping": (),
    "cuba-ping": ("--model", "cuba-ping", "--w-in", "0", "3", "--w-in-sparsity", "0.5"),
    "cuba-noping": ("--model", "cuba-noping", "--no-dales-law", "--w-in", "0", "3",
                    "--w-in-sparsity", "0.5"),
}  # fmt: skip


def of_model(model):
    return NET if model == "ping" else (*NET[:-3], *MODELS[model])


@pytest.mark.parametrize("model", MODELS)
def test_torch_and_brian_print_and_record_the_same(call, model):
    words = of_model(model)
    runs = [
        call("sim", *words, "--trials", "2", *flags, name=name)
        for name, flags in (("brian", BRIAN), ("torch", ("--backend", "torch")))
    ]
    assert [r.code for r in runs] == [0, 0], runs[1].err
    one, other = (r.recording for r in runs)
    assert len(one.spikes["e1"]) > 50
    for population in one.n_cells:
        np.testing.assert_array_equal(one.spikes[population], other.spikes[population])
    np.testing.assert_allclose(other.logits, one.logits, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(other.output, one.output, rtol=1e-12, atol=1e-14)
    lines = [r.out.splitlines()[:4] for r in runs]
    assert lines[0] == lines[1]
    assert other.backend.startswith("torch:cpu:float64")
    execution = runs[1].config["execution"]
    assert execution["backend"] == other.backend
    assert execution["dtype"] == "float64"
    assert execution["run_s"] > 0
    assert "on torch cpu:float64" in runs[1].out


def test_both_keeps_the_run_of_brian_and_the_comparison(call):
    alone = call("sim", *SMALL, name="alone")
    both = call("sim", *SMALL, "--backend", "both")
    assert both.code == 0, both.err
    assert same(alone.recording, both.recording)
    assert both.recording.backend == "brian:numpy"
    found = json.loads((both.folder / "crosscheck.json").read_text())
    assert found["identical"]
    assert found["checks"][0]["names"][0] == "brian:numpy"
    assert "dt 0.5 ms, brian:numpy and torch:cpu:float64" in both.out
    assert both.config["execution"]["compared_with"]["backend"].startswith("torch:cpu:float64")


def test_float_type_loops_and_traces(call):
    runs = {
        name: call("sim", *NET, "--backend", "torch", *flags, name=name)
        for name, flags in (
            ("auto", ()), ("eager", ("--train-kernel", "eager")),
            ("float32", ("--dtype", "float32")),
            ("traces", ("--record-traces",)),
        )
    }  # fmt: skip
    assert {r.code for r in runs.values()} == {0}
    assert same(runs["auto"].recording, runs["eager"].recording)
    assert "eager" not in runs["eager"].recording.backend
    assert runs["float32"].recording.backend.startswith("torch:cpu:float32")
    assert not np.array_equal(runs["float32"].recording.logits, runs["auto"].recording.logits)
    assert set(runs["traces"].recording.traces) >= {"v_e_1", "ge_e_1", "gi_e_1", "v_i_1"}
    brian = call("sim", *SMALL, "--record-traces", name="brian").recording
    for name, trace in brian.traces.items():
        np.testing.assert_allclose(runs["traces"].recording.traces[name], trace, atol=1e-10)


def test_float32_in_brian2(call):
    double, single = (
        call("sim", *SMALL, "--dtype", dtype, "--record-traces", name=dtype)
        for dtype in ("float64", "float32")
    )
    assert [o.config["execution"]["dtype"] for o in (double, single)] == ["float64", "float32"]
    one, other = (o.recording.traces["v_e_1"][:, :40] for o in (double, single))
    assert 0 < np.abs(one - other).max() < 1e-3
    # Where torch runs too, it is torch's: Brian2 stays the reference.
    both = call("sim", *SMALL, "--backend", "both", "--dtype", "float32", name="both")
    assert both.config["execution"]["dtype"] == "float64"
    assert both.config["execution"]["compared_with"]["dtype"] == "float32"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--backend", "torch", "--codegen", "cpp"), "--codegen is for Brian2; it can't apply"),
        (("--backend", "torch", "--fast-math"), "--fast-math is for Brian2; it can't apply"),
        (("--deterministic",), "--deterministic is for torch; it can't apply to --backend brian"),
        (("--backend", "brian", "--train-kernel", "eager"),
         "--train-kernel is for torch; it can't apply"),
        (("--backend", "torch", "--device", "mps"), "mps has no float64; use --dtype float32"),
        (("--backend", "both", "--device", "mps"), "mps has no float64; use --dtype float32"),
        (("--backend", "torch", "--modal"), "not available in this version"),
        *((("--backend", "torch", "--train-kernel", kernel, "--record-traces", "--save-recording",
            "x.npz"), f"--train-kernel {kernel} can't be used: it keeps neither traces")
          for kernel in ("cpp", "function")),
    ],
)  # fmt: skip
def test_what_cannot_apply_is_refused(call, flags, message):
    outcome = call("sim", "--n-hidden", "16", "--t-ms", "150", *flags, record=False)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_device_that_is_not_there(call, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = call("sim", "--n-hidden", "16", "--backend", "torch", "--device", "cuda")
    assert outcome.code == 2
    assert "--device cuda: torch finds none here" in outcome.err
    assert not outcome.folder.exists()


def test_execution_is_not_inherited(call):
    first = call("sim", *NET, "--backend", "torch", "--dtype", "float32", name="first")
    again = call("sim", "--from-dir", first.folder, *BRIAN, name="again")
    assert again.code == 0, again.err
    assert again.recording.backend == "brian:numpy"
    assert "dtype" not in again.config


# ---- trained runs -------------------------------------------------------------------------------


def draw(model):
    """Return spec and weights of a network for the digits of scikit."""
    if model == "ping":
        spec = PingSpec(n_in=64, layers=(ei_layer(24), ei_layer(16)))
        rules = WeightDraw(
            w_in=DrawRule(3.0, 0.6, 0.5), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2)
        )
        return spec, draw_weights(spec, rules, seed=4)
    if model == "cuba-ping":
        spec = CubaSpec(n_in=64, n_exc=24, n_inh=6)
    else:
        spec = CubaSpec(n_in=64, n_exc=24, n_inh=0, dales_law=False)
    weights = draw_weights(spec, CUBA_DRAW, seed=4)
    return spec, weights.replace(W_in=3.0 * weights["W_in"], b_out=np.linspace(-0.1, 0.1, 10))


def trained(folder, model, *, state_dict):
    """Write what a training leaves behind: its options and its weights."""
    spec, weights = draw(model)
    folder.mkdir()
    config = {
        "mode": "train", "model": model, "dataset": "scikit", "dt": 0.5, "t_ms": 150.0,
        "n_hidden": list(spec.hidden_sizes), "input_rate": 150.0, "seed": 8,
        "dales_law": spec.dales_law, "lr": 1e-3, "epochs": 2, "dtype": "float32",
        "surrogate_slope": 1.0,
    }  # fmt: skip
    if model == "ping":
        config |= {"tau_gaba": 6.0, "readout": "mem-mean", "readout_tau_out": 4.0,
                   "synapse_order": "kick-decay", "trainable_w_ei": True}  # fmt: skip
    else:
        config |= {"tau_mem": 15.0, "readout": "mem-mean", "readout_tau_out": 12.0,
                   "tbptt_window": 5}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    if state_dict:
        import torch

        from train_torch.network.networks import build_network

        network = build_network(spec, weights, dt_ms=0.5)
        torch.save(network.state_dict(), folder / "weights.pth")
        weights = network.weights()  # float32 now
    else:
        save_weights(weights, folder / "weights.h5")
    return spec, weights


@pytest.mark.filterwarnings("ignore:.*not known here")
@pytest.mark.parametrize("state_dict", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_a_trained_run_on_either_backend(call, tmp_path, model, state_dict):
    folder = tmp_path / "trained"
    spec, weights = trained(folder, model, state_dict=state_dict)
    base = ("sim", "--from-dir", folder, "--digit", "3")
    runs = [
        call(*base, *flags, name=name)
        for name, flags in (("brian", BRIAN), ("torch", ("--backend", "torch")))
    ]
    assert [r.code for r in runs] == [0, 0], runs[0].err + runs[1].err
    one, other = (r.recording for r in runs)
    assert one.n_cells == spec.populations
    assert len(one.spikes["e1"]) > 20
    for population in one.n_cells:
        np.testing.assert_array_equal(one.spikes[population], other.spikes[population])
    np.testing.assert_allclose(other.logits, one.logits, rtol=1e-12, atol=1e-14)
    # The same network by hand, with everything that was inherited.
    import dataclasses

    from bridge.datasets import catalog as datasets
    from bridge.network.encoders import dataset_rate
    from bridge.network.spec import ReadoutSpec, SynapseSpec
    from train_torch.network.simulate import simulate

    if model == "ping":
        meant = dataclasses.replace(
            spec, synapses=SynapseSpec(tau_gaba_ms=6.0, order="kick-decay"),
            readout=ReadoutSpec(mode="mem-mean", tau_out_ms=4.0),
        )  # fmt: skip
    else:
        meant = dataclasses.replace(spec, tau_mem_ms=15.0, tau_out_ms=12.0)
    stimulus = dataset_rate(
        datasets.select("scikit", 3, 0).image[None], rate_hz=150.0, dt_ms=0.5, n_steps=300,
        seeds=[8],
    )  # fmt: skip
    by_hand, _ = simulate(meant, weights, stimulus, seed=8)
    for population in one.n_cells:
        np.testing.assert_array_equal(one.spikes[population], by_hand.spikes[population])
    np.testing.assert_allclose(one.logits, by_hand.logits, rtol=1e-12, atol=1e-14)


def test_the_picture_of_a_trained_run_names_its_prediction(call, tmp_path, monkeypatch):
    from matplotlib.text import Text

    from scope.oscilloscope import pictures

    folder = tmp_path / "trained"
    trained(folder, "ping", state_dict=True)
    figures = []
    plain = pictures.draw_oscilloscope

    def spy(*args, **given):
        figures.append(plain(*args, **given))
        return figures[-1]

    monkeypatch.setattr(pictures, "draw_oscilloscope", spy)
    outcome = call("image", "--from-dir", folder, "--digit", "3", "--backend", "both", *BRIAN)
    assert outcome.code == 0, outcome.err
    metrics = json.loads((outcome.folder / "metrics.json").read_text())
    assert metrics["prediction"] == int(np.argmax(outcome.recording.logits[0]))
    assert json.loads((outcome.folder / "crosscheck.json").read_text())["identical"]
    assert (outcome.folder / "snapshot.png").is_file()
    mark = "✓" if metrics["prediction"] == 3 else "✗"
    title = f"digit=3 pred={metrics['prediction']} {mark}  (training sample)"
    assert title in [text.get_text() for text in figures[0].findobj(Text)]


def test_weights_named_by_hand_win(call, tmp_path):
    folder = tmp_path / "trained"
    _, weights = trained(folder, "ping", state_dict=True)
    save_weights(weights.scaled("W_in", 1.5), tmp_path / "other.h5")
    base = ("sim", "--from-dir", folder, "--digit", "3", "--backend", "torch")
    plain = call(*base, name="plain")
    named = call(*base, "--load-weights", tmp_path / "other.h5", name="named")
    again = call(*base, "--load-weights", folder / "weights.pth", name="again")
    assert [r.code for r in (plain, named, again)] == [0, 0, 0], named.err
    assert not same(plain.recording, named.recording)
    assert same(plain.recording, again.recording)
