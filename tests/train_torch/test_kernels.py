"""The compiled loops do what the eager steps do: same spikes, same logits, same gradients."""

from __future__ import annotations

import dataclasses

import networks
import numpy as np
import pytest
import torch

from bridge.network.spec import LayerSpec, PingSpec, ReadoutSpec, ei_layer
from bridge.network.weights import DrawRule, WeightDraw, draw_weights
from train_torch.library import why_missing
from train_torch.losses import cross_entropy
from train_torch.networks import Learning, build_network

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(why_missing() is not None, reason="no C++ compiler"),
]

ALL = frozenset({"W_ee", "W_ei", "W_ie"})


def passes(spec, weights, stimulus, *, dtype, kernel, learning=None):
    """Return the forward pass, and the gradient of a loss that reaches logits and counts."""
    learning = learning or Learning(trainable=ALL, v_grad_dampen=100.0)
    network = build_network(spec, weights, dt_ms=stimulus.dt_ms, dtype=dtype, learning=learning)
    run = network(stimulus, keep_spikes=True, kernel=kernel)
    labels = torch.arange(stimulus.n_trials) % spec.n_classes
    cost = sum(c.mean(0).sub(1).relu().square().sum() for n, c in run.counts.items() if n[0] == "e")
    (cross_entropy(run.logits, labels) + 1e-2 * cost).backward()
    return run, {n: p.grad.double() for n, p in network.named_parameters() if p.requires_grad}


def assert_alike(spec, weights, stimulus, *, dtype, tolerance, **more):
    eager, expected = passes(spec, weights, stimulus, dtype=dtype, kernel="eager", **more)
    fast, found = passes(spec, weights, stimulus, dtype=dtype, kernel="cpp", **more)
    for name, spikes in eager.spikes.items():
        assert torch.equal(spikes, fast.spikes[name]), name
        assert torch.equal(eager.counts[name], fast.counts[name]), name
        assert spikes.sum() > 30, f"{name} is silent: proves nothing"
    torch.testing.assert_close(eager.logits, fast.logits, rtol=tolerance, atol=tolerance)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        error = float((gradient - found[name]).norm() / gradient.norm())
        assert error < 100 * tolerance, f"{name}: {error:.1e}"


@pytest.mark.parametrize("order", ["decay-add", "kick-decay"])
@pytest.mark.parametrize("mode", ["rate", "li", "spike-count", "mem-mean"])
def test_float64_agrees_to_rounding(mode, order):
    # 37 and 21 cells: rows that no vector width divides; 11 trials: a last block that is not full.
    spec, weights = networks.small_ping(sizes=(37, 21), order=order)
    spec = dataclasses.replace(spec, readout=ReadoutSpec(mode=mode))
    weights = weights.scaled("W_out", 1.0 if mode == "rate" else 60.0)
    weights = weights.replace(W_ee_1=np.full((37, 37), 2e-4), W_ee_2=np.full((21, 21), 1e-4))
    stimulus = networks.raster(n_trials=11, n_steps=240, n_in=40, p=0.05, seed=1, dt_ms=0.5)
    assert_alike(spec, weights, stimulus, dtype=torch.float64, tolerance=1e-13)


def test_float32_agrees_while_no_spike_flips():
    spec, weights = networks.small_ping(sizes=(37,))
    stimulus = networks.raster(n_trials=5, n_steps=160, n_in=40, p=0.05, seed=2, dt_ms=0.5)
    assert_alike(spec, weights, stimulus, dtype=torch.float32, tolerance=1e-6)


def test_i_to_i_weights_and_repeated_input_spikes():
    spec, weights = networks.small_ping(sizes=(40,))
    weights = weights.replace(W_ii_1=np.full((10, 10), 2e-3))
    rng = np.random.default_rng(0)
    from bridge.network.stimulus import Stimulus

    counts = rng.poisson(0.06, (3, 200, 40))
    stimulus = Stimulus.from_raster(counts, dt_ms=0.5, bias_us=2e-4)
    assert counts.max() > 1
    assert_alike(
        spec, weights, stimulus, dtype=torch.float64, tolerance=1e-13,
        learning=Learning(trainable=ALL | {"W_ii"}, v_grad_dampen=50.0),
    )  # fmt: skip


def test_an_external_conductance_drives_without_input_spikes():
    from bridge.network.stimulus import Stimulus

    spec, weights = networks.small_ping(sizes=(24,), n_in=2)
    g_ext_us = np.random.default_rng(4).uniform(0, 0.02, (3, 300, 24))
    stimulus = Stimulus(dt_ms=0.25, n_steps=300, n_trials=3, n_in=2, g_ext_us=g_ext_us)
    runs = {}
    for kernel in ("eager", "cpp"):
        network = build_network(spec, weights, dt_ms=0.25, dtype=torch.float64)
        runs[kernel] = network(stimulus, keep_spikes=True, kernel=kernel)
    assert runs["eager"].spikes["e1"].sum() > 30
    assert torch.equal(runs["eager"].spikes["e1"], runs["cpp"].spikes["e1"])


def test_a_layer_without_i_cells_and_initial_voltages():
    spec = PingSpec(n_in=30, layers=(ei_layer(20), LayerSpec(n_exc=17)))
    draw = WeightDraw(
        w_in=DrawRule(3.0, 0.6), w_ei=DrawRule(0.5, 0.05), w_ie=DrawRule(0.5, 0.05),
        w_ff=DrawRule(3.0, 0.5),
    )  # fmt: skip
    weights = draw_weights(spec, draw, seed=5)
    stimulus = networks.raster(n_trials=4, n_steps=200, n_in=30, p=0.05, seed=3, dt_ms=0.5)
    starts = {
        n: torch.from_numpy(np.random.default_rng(1).uniform(-65, -50, (4, size)))
        for n, size in spec.populations.items()
    }
    found = {}
    for kernel in ("eager", "cpp"):
        network = build_network(spec, weights, dt_ms=0.5, dtype=torch.float64)
        found[kernel] = network(stimulus, keep_spikes=True, v_start_mv=starts, kernel=kernel)
    for name in spec.populations:
        assert found["eager"].spikes[name].sum() > 10
        assert torch.equal(found["eager"].spikes[name], found["cpp"].spikes[name])


def test_the_number_of_threads_changes_nothing():
    spec, weights = networks.small_ping(sizes=(37, 21))
    stimulus = networks.raster(n_trials=19, n_steps=120, n_in=40, p=0.05, seed=1, dt_ms=0.5)
    before = torch.get_num_threads()
    found = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            found.append(passes(spec, weights, stimulus, dtype=torch.float32, kernel="cpp"))
    finally:
        torch.set_num_threads(before)
    (one, grads), (other, other_grads) = found
    assert torch.equal(one.spikes["e2"], other.spikes["e2"])
    # The last product of layers is torch's own; everything else is bit for bit the same.
    for name, gradient in grads.items():
        torch.testing.assert_close(gradient, other_grads[name], rtol=1e-5, atol=1e-9)


def test_a_lost_voltage_is_told_by_both():
    spec, weights = networks.small_ping(sizes=(20,))
    spec = dataclasses.replace(spec, dales_law=False)
    weights = weights.replace(W_in=np.full((40, 20), -20.0))  # drives the conductance below zero
    stimulus = networks.raster(n_trials=2, n_steps=100, n_in=40, p=0.2, seed=1, dt_ms=0.5)
    lost = {}
    for kernel in ("eager", "cpp"):
        network = build_network(spec, weights, dt_ms=0.5, dtype=torch.float64)
        lost[kernel] = network(stimulus, kernel=kernel).lost_step
    assert lost["eager"] is not None
    assert lost["cpp"] == lost["eager"]


def test_compiled_loops_say_what_they_cannot_do():
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5)
    stimulus = networks.raster(n_trials=1, n_steps=10, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    with pytest.raises(ValueError, match="neither traces"):
        network(stimulus, keep_traces=True, kernel="cpp")
    halves = torch.full((10, 1, 40), 0.5)
    with pytest.raises(ValueError, match="whole numbers"):
        network(halves, kernel="cpp")


def test_without_a_compiler_the_eager_steps_do_the_work(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(compiled, "_library", compiled._library.__wrapped__)
    assert "no-such-compiler" in why_missing()
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5)
    stimulus = networks.raster(n_trials=1, n_steps=40, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    assert network(stimulus).counts["e1"].sum() > 0
    with pytest.raises(ValueError, match="no-such-compiler"):
        network(stimulus, kernel="cpp")
