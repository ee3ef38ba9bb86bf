"""The published draws: torch's stream, in its order, without touching torch's global state.

That the order is right was proven by replaying three published experiments to every digit; their
rates stand in the specification. Here the streams are pinned, and one replay is run.
"""

from __future__ import annotations

import builtins
import subprocess
import sys

import numpy as np
import pytest

from bridge.network.published import bernoulli_input, draw_published
from bridge.network.spec import CubaSpec, LayerSpec, PingSpec, ei_layer
from bridge.network.weights import DrawRule, WeightDraw, draw_weights

torch = pytest.importorskip("torch")

ONE = PingSpec(n_in=20, layers=(ei_layer(24, 6),), n_classes=10)
TWO = PingSpec(n_in=20, layers=(ei_layer(24, 6), ei_layer(16, 4)), n_classes=10)
DRAW = WeightDraw(
    w_in=DrawRule(1.5, 0.3, 0.9),
    w_ei=DrawRule(0.5, 0.05, 0.2),
    w_ie=DrawRule(1.0, 0.1),
)


def by_hand(seed, *matrices):
    """Draw with torch's global stream: (name, shape, mean, std, sparsity) in that order."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    drawn = {}
    for name, shape, mean, std, sparsity in matrices:
        w = (mean + std * torch.randn(*shape)).clamp(min=0)
        if sparsity:
            w = w * (torch.rand(*shape) > sparsity) / (1 - sparsity)
        drawn[name] = (w / shape[0]).double().numpy()
    torch.random.set_rng_state(state)
    return drawn


def test_one_layer_follows_the_global_stream():
    expected = by_hand(
        42,
        ("W_in", (20, 24), 1.5, 0.3, 0.9),
        ("W_out", (24, 10), 5.1, 3.8, 0.0),
        ("W_ee_1", (24, 24), 0.0, 0.0, 0.0),
        ("W_ei_1", (24, 6), 0.5, 0.05, 0.2),
        ("W_ie_1", (6, 24), 1.0, 0.1, 0.0),
    )
    drawn = draw_published(ONE, DRAW, seed=42)
    assert list(drawn) == list(expected)
    for name, matrix in expected.items():
        np.testing.assert_array_equal(drawn[name], matrix)


def test_layers_follow_one_another():
    expected = by_hand(
        9,
        ("W_in", (20, 24), 1.5, 0.3, 0.9),
        ("W_ff_1to2", (24, 16), 5.1, 3.8, 0.0),
        ("W_out", (16, 10), 5.1, 3.8, 0.0),
        ("W_ee_1", (24, 24), 0.0, 0.0, 0.0),
        ("W_ei_1", (24, 6), 0.5, 0.05, 0.2),
        ("W_ie_1", (6, 24), 1.0, 0.1, 0.0),
        ("W_ee_2", (16, 16), 0.0, 0.0, 0.0),
        ("W_ei_2", (16, 4), 0.5, 0.05, 0.2),
        ("W_ie_2", (4, 16), 1.0, 0.1, 0.0),
    )
    weights = draw_weights(TWO, DRAW, seed=9, source="torch")
    for name, matrix in expected.items():
        np.testing.assert_array_equal(weights[name], matrix)
    assert not weights["W_ii_1"].any()


def test_inhibition_of_inhibition_comes_last_in_its_layer():
    draw = WeightDraw(w_in=DRAW.w_in, w_ei=DRAW.w_ei, w_ie=DRAW.w_ie, w_ii=DrawRule(1.0, 0.2))
    with_ii, without = (draw_published(ONE, d, seed=4) for d in (draw, DRAW))
    assert with_ii["W_ii_1"].any()
    for name, matrix in without.items():
        np.testing.assert_array_equal(with_ii[name], matrix)


def test_layer_without_loop_draws_no_loop():
    spec = PingSpec(n_in=20, layers=(LayerSpec(n_exc=24),), n_classes=10)
    assert list(draw_published(spec, DRAW, seed=1)) == ["W_in", "W_out"]


@pytest.mark.parametrize("sparsity", [0.0, 0.95])
def test_current_network_follows_the_global_stream(sparsity):
    spec = CubaSpec(n_in=30, n_exc=20, n_inh=5)
    draw = WeightDraw(
        w_in=DrawRule(0.0, 0.5, sparsity), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(1.0, 0.1)
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(42)
    w_in = torch.randn(30, 20) * 0.5
    if sparsity:
        w_in = w_in * (torch.rand(30, 20) > sparsity)
    w_out = torch.randn(20, 10) * 0.05
    w_ei = (torch.randn(20, 5) * 0.1 + 1.0).clamp(min=0)
    w_ie = (torch.randn(5, 20) * 0.1 + 1.0).clamp(min=0)
    torch.random.set_rng_state(state)
    weights = draw_weights(spec, draw, seed=42, source="torch")
    expected = {"W_in": w_in.abs(), "W_out": w_out, "W_ei_1": w_ei, "W_ie_1": w_ie}
    for name, matrix in expected.items():
        np.testing.assert_array_equal(weights[name], matrix.double().numpy())


def test_draws_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    draw_published(ONE, DRAW, seed=42)
    bernoulli_input((5, 3), 0.5, seed=42)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("p", [0.0025, 0.08, 0.1])
def test_input_follows_the_global_stream(p):
    state = torch.random.get_rng_state()
    torch.manual_seed(43)
    expected = (torch.rand(50, 4, 17) < p).numpy()
    torch.random.set_rng_state(state)
    spikes = bernoulli_input((50, 4, 17), p, seed=43)
    assert spikes.dtype == np.bool_
    np.testing.assert_array_equal(spikes, expected)


def test_input_rate_may_change_with_time():
    p = np.array([0.0, 1.0, 0.3])[:, None]
    spikes = bernoulli_input((3, 4000), p, seed=1)
    assert not spikes[0].any()
    assert spikes[1].all()
    # 4.5 standard errors: false alarm 7e-6 for a new seed.
    assert abs(spikes[2].mean() - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / 4000)


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_impossible_probabilities_are_refused(p):
    with pytest.raises(ValueError, match="spike probabilities"):
        bernoulli_input((3, 4), p, seed=1)


def test_published_rates_of_the_current_network():
    # Published: E 2.1337890625 Hz, I 70.01953125 Hz (784-1024(+256), dt 1 ms, 200 ms).
    spec = CubaSpec(n_in=784, n_exc=1024, n_inh=256)
    draw = WeightDraw(
        w_in=DrawRule(0.0, 0.5, 0.95), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(1.0, 0.1)
    )
    w = draw_weights(spec, draw, seed=42, source="torch")
    x = bernoulli_input((200, 1, 784), 0.08, seed=43)[:, 0]
    v_e, s_e, v_i, s_i = np.zeros(1024), np.zeros(1024), np.zeros(256), np.zeros(256)
    n_e = n_i = 0
    for step in range(200):
        v_i = np.maximum(v_i - v_i / 20 + s_e @ w["W_ei_1"] / 20, 0)
        v_e = np.maximum(v_e - v_e / 20 + (x[step] @ w["W_in"] - s_i @ w["W_ie_1"]) / 20, 0)
        s_i, s_e = (v_i >= 1).astype(float), (v_e >= 1).astype(float)
        v_i[v_i >= 1] = v_e[v_e >= 1] = 0
        n_e, n_i = n_e + int(s_e.sum()), n_i + int(s_i.sum())
    assert n_e / (1024 * 0.2) == 2.1337890625
    assert n_i / (256 * 0.2) == 70.01953125


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_torch(name, *args, **kwargs):
        if name == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(ImportError, match="pip install torch"):
        draw_published(ONE, DRAW, seed=1)


def test_importing_the_vocabulary_loads_no_backend():
    modules = (
        "bridge.network.weights, bridge.network.published, bridge.formats.weight_files, "
        "bridge.formats.recordings, bridge.formats.pth"
    )
    code = (
        f"import sys, {modules}\n"
        "print([m for m in ('torch', 'brian2', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
