"""Kernels do what the eager steps do: same spikes, same logits, same gradients."""

from __future__ import annotations

import dataclasses
import logging
import re
import shutil

import networks
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.network.spec import LayerSpec, PingSpec, ReadoutSpec, ei_layer
from bridge.network.weights import DrawRule, WeightDraw, draw_weights
from train_torch.kernels import choice, library
from train_torch.kernels.layer import Keeping
from train_torch.kernels.library import why_missing
from train_torch.kernels.native import CppKernel
from train_torch.network.networks import Learning, build_network
from train_torch.training.losses import cross_entropy

ALL = frozenset({"W_ee", "W_ei", "W_ie"})
every_kernel = pytest.mark.parametrize("kernel", ["cpp", "function"])


@pytest.mark.compiler
def test_where_there_is_a_compiler_there_are_compiled_loops():
    assert why_missing() is None  # or else every test of them would be skipped


def passes(
    spec, weights, stimulus, *, dtype, kernel, learning=None, keeping=None, training=True,
    threshold=1.0,
):  # fmt: skip
    """Return the forward pass, and the gradient of a loss that reaches logits and counts."""
    learning = learning or Learning(trainable=ALL, v_grad_dampen=100.0)
    network = build_network(spec, weights, dt_ms=stimulus.dt_ms, dtype=dtype, learning=learning)
    network.keeping = keeping or Keeping()
    run = network.train(training)(stimulus, keep_spikes=True, kernel=kernel)
    labels = torch.arange(stimulus.n_trials) % spec.n_classes
    layers = [c for n, c in run.counts.items() if n[0] == "e"]
    cost = sum(c.mean(0).sub(threshold).relu().square().sum() for c in layers)
    (cross_entropy(run.logits, labels) + 1e-2 * cost).backward()
    return run, {n: p.grad.double() for n, p in network.named_parameters() if p.requires_grad}


def assert_alike(
    spec, weights, stimulus, *, kernel, dtype, tolerance, grad_tolerance=None, least=30,
    keeping=None, **more,
):  # fmt: skip
    eager, expected = passes(spec, weights, stimulus, dtype=dtype, kernel="eager", **more)
    fast, found = passes(
        spec, weights, stimulus, dtype=dtype, kernel=kernel, keeping=keeping, **more
    )
    assert (eager.kernel, fast.kernel) == ("eager", kernel)
    for name, spikes in eager.spikes.items():
        assert torch.equal(spikes, fast.spikes[name]), name
        assert torch.equal(eager.counts[name], fast.counts[name]), name
        assert spikes.sum() >= least, f"{name} is silent: proves nothing"
    torch.testing.assert_close(eager.logits, fast.logits, rtol=tolerance, atol=tolerance)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        error = float((gradient - found[name]).norm() / gradient.norm().clamp(min=1e-12))
        assert error < (grad_tolerance or 100 * tolerance), f"{name}: {error:.1e}"
        assert least == 0 or gradient.norm() > 0, name


@every_kernel
@pytest.mark.parametrize("order", ["decay-add", "kick-decay"])
@pytest.mark.parametrize("mode", ["rate", "li", "spike-count", "mem-mean"])
def test_float64_agrees_to_rounding(mode, order, kernel):
    # 37 and 21 cells: rows that no vector width divides; 11 trials: a last block that is not full.
    spec, weights = networks.small_ping(sizes=(37, 21), order=order)
    spec = dataclasses.replace(spec, readout=ReadoutSpec(mode=mode))
    weights = weights.scaled("W_out", 1.0 if mode == "rate" else 60.0)
    weights = weights.replace(W_ee_1=np.full((37, 37), 2e-4), W_ee_2=np.full((21, 21), 1e-4))
    stimulus = networks.raster(n_trials=11, n_steps=120, n_in=40, p=0.08, seed=1, dt_ms=0.5)
    assert_alike(spec, weights, stimulus, kernel=kernel, dtype=torch.float64, tolerance=1e-13)


@every_kernel
def test_float32_agrees_while_no_spike_flips(kernel):
    spec, weights = networks.small_ping(sizes=(37,))
    stimulus = networks.raster(n_trials=5, n_steps=160, n_in=40, p=0.05, seed=2, dt_ms=0.5)
    assert_alike(spec, weights, stimulus, kernel=kernel, dtype=torch.float32, tolerance=1e-6)


@every_kernel
def test_i_to_i_weights_and_repeated_input_spikes(kernel):
    spec, weights = networks.small_ping(sizes=(40,))
    weights = weights.replace(W_ii_1=np.full((10, 10), 2e-3))
    rng = np.random.default_rng(0)
    from bridge.network.stimulus import Stimulus

    counts = rng.poisson(0.06, (3, 200, 40))
    stimulus = Stimulus.from_raster(counts, dt_ms=0.5, bias_us=2e-4)
    assert counts.max() > 1
    assert_alike(
        spec, weights, stimulus, kernel=kernel, dtype=torch.float64, tolerance=1e-13,
        learning=Learning(trainable=ALL | {"W_ii"}, v_grad_dampen=50.0),
    )  # fmt: skip


@every_kernel
def test_an_external_conductance_drives_without_input_spikes(kernel):
    from bridge.network.stimulus import Stimulus

    spec, weights = networks.small_ping(sizes=(24,), n_in=2)
    g_ext_us = np.random.default_rng(4).uniform(0, 0.02, (3, 300, 24))
    stimulus = Stimulus(dt_ms=0.25, n_steps=300, n_trials=3, n_in=2, g_ext_us=g_ext_us)
    runs = {}
    for which in ("eager", kernel):
        network = build_network(spec, weights, dt_ms=0.25, dtype=torch.float64)
        runs[which] = network(stimulus, keep_spikes=True, kernel=which)
    assert runs["eager"].spikes["e1"].sum() > 30
    assert torch.equal(runs["eager"].spikes["e1"], runs[kernel].spikes["e1"])


@every_kernel
def test_a_layer_without_i_cells_and_initial_voltages(kernel):
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
    for which in ("eager", kernel):
        network = build_network(spec, weights, dt_ms=0.5, dtype=torch.float64)
        found[which] = network(stimulus, keep_spikes=True, v_start_mv=starts, kernel=which)
    for name in spec.populations:
        assert found["eager"].spikes[name].sum() > 10
        assert torch.equal(found["eager"].spikes[name], found[kernel].spikes[name])


@pytest.mark.compiler
@pytest.mark.parametrize("n_trials", [3, 150])
def test_the_number_of_threads_changes_nothing(n_trials):
    # 150 trials are more blocks than there are groups whose gradients are summed.
    spec, weights = networks.small_ping(sizes=(37, 21))
    spec = dataclasses.replace(spec, readout=ReadoutSpec(mode="li"))
    stimulus = networks.raster(n_trials=n_trials, n_steps=60, n_in=40, p=0.05, seed=1, dt_ms=0.5)
    network = build_network(spec, weights, dt_ms=0.5, learning=Learning(trainable=ALL))
    before = torch.get_num_threads()
    found = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            network.zero_grad()
            logits = network(stimulus, kernel="cpp").logits
            logits.backward(torch.linspace(-1, 1, logits.numel()).reshape(logits.shape))
            gradients = [p.grad.clone() for p in network.parameters() if p.requires_grad]
            found.append([logits.detach(), *gradients])
    finally:
        torch.set_num_threads(before)
    assert len(found[0]) > 8
    for one, other in zip(*found, strict=True):
        assert one.norm() > 0
        assert torch.equal(one, other)


@every_kernel
def test_a_lost_voltage_is_told_by_both(kernel):
    spec, weights = networks.small_ping(sizes=(20,))
    spec = dataclasses.replace(spec, dales_law=False)
    weights = weights.replace(W_in=np.full((40, 20), -20.0))  # drives the conductance below zero
    stimulus = networks.raster(n_trials=2, n_steps=100, n_in=40, p=0.2, seed=1, dt_ms=0.5)
    lost = {}
    for which in ("eager", kernel):
        network = build_network(spec, weights, dt_ms=0.5, dtype=torch.float64)
        lost[which] = network(stimulus, kernel=which).lost_step
    assert lost["eager"] is not None
    assert lost[kernel] == lost["eager"]


def test_compiled_loops_say_what_they_cannot_do():
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5)
    stimulus = networks.raster(n_trials=1, n_steps=10, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    with pytest.raises(ValueError, match="neither traces"):
        network(stimulus, keep_traces=True, kernel="cpp")
    halves = torch.full((10, 1, 40), 0.5)
    with pytest.raises(ValueError, match="whole numbers"):
        network(halves, kernel="cpp")


def test_a_machine_without_compiler_trains_in_torch_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(library, "library", library.library.__wrapped__)
    choice._say_once.cache_clear()
    monkeypatch.setattr(logging.getLogger("pingbridge"), "propagate", True)
    assert "no-such-compiler" in why_missing()
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5)
    stimulus = networks.raster(n_trials=1, n_steps=40, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    for _ in range(2):
        run = network(stimulus)
        assert run.kernel == "function"
    assert run.counts["e1"].sum() > 0
    lines = [r.message for r in caplog.records if "no-such-compiler" in r.message]
    assert len(lines) == 1
    with pytest.raises(ValueError, match="no-such-compiler"):
        network(stimulus, kernel="cpp")
    choice._say_once.cache_clear()


@pytest.mark.compiler
def test_the_first_compilation_is_announced_and_the_next_process_needs_none(
    tmp_path, monkeypatch, caplog
):
    quick = tmp_path / "quick"  # the last -O counts: seconds instead of a minute
    quick.write_text('#!/bin/sh\nexec g++ "$@" -O0\n')
    quick.chmod(0o755)
    monkeypatch.setenv("CXX", str(quick))
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(logging.getLogger("pingbridge"), "propagate", True)
    with caplog.at_level(logging.INFO, "pingbridge"):
        made = library.library.__wrapped__()
        assert re.fullmatch(
            r"compiling the training loops, once \(about \d+ s\)", caplog.messages[0]
        )
        caplog.clear()
        again = library.library.__wrapped__()
    assert not caplog.records
    assert made._name == again._name
    assert made._name.startswith(str(tmp_path / "cache"))


@pytest.mark.parametrize("lost", ["layer.cpp", "simd.h"])
def test_an_incomplete_installation_is_not_blamed_on_the_compiler(lost, tmp_path, monkeypatch):
    for path in (*library.SOURCES.glob("*.cpp"), *library.SOURCES.glob("*.h")):
        if path.name != lost:
            shutil.copy(path, tmp_path)
    monkeypatch.setattr(library, "SOURCES", tmp_path)
    monkeypatch.setenv("CXX", "true")  # a compiler that has nothing to complain of
    monkeypatch.setattr(library, "library", library.library.__wrapped__)
    said = why_missing()
    assert said.startswith(f"{tmp_path / lost} is missing: this installation of pingbridge")
    assert "true" not in said.removeprefix(str(tmp_path))


@every_kernel
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n_inh", [12, 0])
def test_current_based_cells_with_and_without_truncation(kernel, training, n_inh):
    spec, weights = networks.small_cuba()
    spec = dataclasses.replace(spec, n_inh=n_inh)
    weights = {name: weights[name] for name in spec.matrix_shapes}
    stimulus = networks.raster(n_trials=11, n_steps=120, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    learning = Learning(tbptt_window=7)
    assert_alike(
        spec, weights, stimulus, kernel=kernel, dtype=torch.float64, tolerance=1e-13,
        grad_tolerance=1e-9, learning=learning, training=training,
    )  # fmt: skip


@every_kernel
@pytest.mark.parametrize(
    ("dtype", "kept_as", "tolerance"),
    [(torch.float64, None, 1e-11), (torch.float64, torch.float32, 1e-7),
     (torch.float32, torch.bfloat16, 2e-3)],
)  # fmt: skip
@pytest.mark.parametrize("every", [0, 50])
def test_what_is_kept_changes_no_spike(kernel, dtype, kept_as, tolerance, every):
    spec, weights = networks.small_ping(sizes=(37, 21))
    stimulus = networks.raster(n_trials=11, n_steps=120, n_in=40, p=0.08, seed=1, dt_ms=0.5)
    assert_alike(
        spec, weights, stimulus, kernel=kernel, dtype=dtype,
        tolerance=1e-13 if dtype == torch.float64 else 1e-5, grad_tolerance=tolerance,
        keeping=Keeping(dtype=kept_as, checkpoint_steps=every),
    )  # fmt: skip


@pytest.mark.compiler
def test_checkpoints_and_fewer_digits_take_less_memory(monkeypatch):
    # Memory that an earlier run has given back may be larger than needed.
    monkeypatch.setattr(CppKernel, "_memory", type(CppKernel._memory)())
    spec, weights = networks.small_ping(sizes=(64,))
    stimulus = networks.raster(n_trials=8, n_steps=400, n_in=40, p=0.05, seed=1, dt_ms=0.5)
    sizes = {}
    for name, keeping in {
        "all": Keeping(), "half": Keeping(dtype=torch.bfloat16),
        "some": Keeping(checkpoint_steps=40),
    }.items():  # fmt: skip
        network = build_network(spec, weights, dt_ms=0.5)
        network.keeping = keeping
        run = network(stimulus, kernel="cpp")
        kept = run.counts["e1"].grad_fn.trajectory.parts
        sizes[name] = sum(x.numel() for x in kept.values())
    # E: v, ge, gi and flags; I: v, ge and flags.
    assert sizes["all"] == 8 * 400 * (64 * 13 + 16 * 9)
    assert sizes["half"] == 8 * 400 * (64 * 7 + 16 * 5)
    assert sizes["some"] == 8 * 10 * (64 + 16) * 17


@every_kernel
def test_a_trajectory_serves_one_way_back(kernel):
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5)
    stimulus = networks.raster(n_trials=1, n_steps=40, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    cost = network(stimulus, kernel=kernel).logits.sum()
    cost.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="run forward again"):
        cost.backward()


@every_kernel
def test_a_float_type_that_is_no_smaller_one_is_refused(kernel):
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5)
    network.keeping = Keeping(dtype=torch.float64)
    stimulus = networks.raster(n_trials=1, n_steps=40, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    with pytest.raises(ValueError, match="float32 or bfloat16, not float64"):
        network(stimulus, kernel=kernel).logits.sum().backward()


@every_kernel
@settings(
    max_examples=10, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_random_small_networks(kernel, data):
    sizes = data.draw(st.lists(st.integers(1, 19), min_size=1, max_size=3), label="E cells")
    inhibition = data.draw(st.lists(st.integers(0, 6), min_size=len(sizes), max_size=len(sizes)))
    mode = data.draw(st.sampled_from(["rate", "li", "spike-count", "mem-mean"]))
    trainable = frozenset(data.draw(st.sets(st.sampled_from(["W_ee", "W_ei", "W_ie", "W_ii"]))))
    seed = data.draw(st.integers(0, 2**20))
    spec = PingSpec(
        n_in=7, n_classes=3, readout=ReadoutSpec(mode=mode),
        layers=tuple(LayerSpec(n_exc=e, n_inh=i) for e, i in zip(sizes, inhibition, strict=True)),
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    weights = {n: rng.uniform(0, 0.03, s) for n, s in spec.matrix_shapes.items()}
    for name in weights:
        if name == "W_in" or name.startswith("W_ff"):
            weights[name] = weights[name] * 3
        if name == "W_out":
            weights[name] = rng.normal(0, 3, weights[name].shape)
    stimulus = networks.raster(
        n_trials=data.draw(st.integers(1, 20)), n_steps=data.draw(st.integers(1, 90)), n_in=7,
        p=0.2, seed=seed, dt_ms=data.draw(st.sampled_from([0.1, 0.5, 1.0])),
    )  # fmt: skip
    every = data.draw(st.sampled_from([0, 1, 13, 200]), label="checkpoint_steps")
    assert_alike(
        spec, weights, stimulus, kernel=kernel, dtype=torch.float64, tolerance=1e-12, least=0,
        grad_tolerance=1e-9, keeping=Keeping(checkpoint_steps=every),
        learning=Learning(
            trainable=trainable, v_grad_dampen=data.draw(st.sampled_from([1.0, 80.0]))
        ),
        threshold=data.draw(st.sampled_from([0.0, 2.0])),
    )  # fmt: skip
