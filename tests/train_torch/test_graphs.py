"""Recorded steps: fixed memory, fallbacks. CUDA itself is replaced by work that is run again."""

from __future__ import annotations

import dataclasses
import logging

import networks
import pytest
import torch
from torch.utils._pytree import tree_leaves

from train_torch.kernels.graphs import GraphKernel
from train_torch.kernels.layer import Keeping
from train_torch.network import base
from train_torch.network.networks import Learning, build_network

ALL = frozenset({"W_ee", "W_ei", "W_ie"})


class Repeater:
    """Stands in for CUDA graphs: repeats the work into the memory of its first results."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, work):
        self.recorded += 1
        results = work()

        def replay():
            self.replayed += 1
            for held, new in zip(leaves(results), leaves(work()), strict=True):
                held.copy_(new)

        return results, replay


def leaves(results):
    """Return every tensor in what work returns, dataclasses and trajectories included."""
    found = []
    for leaf in tree_leaves(results):
        if isinstance(leaf, torch.Tensor):
            found.append(leaf)
        elif dataclasses.is_dataclass(leaf):
            for field in dataclasses.fields(leaf):
                found += leaves(getattr(leaf, field.name))
    return found


@pytest.fixture
def graphs(monkeypatch):
    """Let networks on the CPU use the kernel of a GPU."""
    repeater = Repeater()
    kernel = GraphKernel(recorder=repeater)
    choose = base.choose_kernel

    def chosen(name, device, *, only_eager):
        return kernel if name == "function" else choose(name, device, only_eager=only_eager)

    monkeypatch.setattr(base, "choose_kernel", chosen)
    return kernel, repeater


def step(network, seed, kernel, *, n_steps=60, p=0.1):
    stimulus = networks.raster(n_trials=3, n_steps=n_steps, n_in=40, p=p, seed=seed, dt_ms=0.5)
    network.zero_grad()
    run = network(stimulus, kernel=kernel, keep_spikes=True)
    (run.logits.square().sum() + run.counts["e1"].square().sum()).backward()
    gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    return [run.logits.detach(), *run.counts.values(), *run.spikes.values(), *gradients]


@pytest.mark.parametrize("every", [0, 17])
@pytest.mark.parametrize("sizes", [(20,), (20, 12)])
def test_other_input_and_weights_in_the_same_memory(graphs, sizes, every):
    _, repeater = graphs
    spec, weights = networks.small_ping(sizes=sizes)
    network = build_network(
        spec, weights, dt_ms=0.5, dtype=torch.float64, learning=Learning(trainable=ALL)
    )
    network.keeping = Keeping(checkpoint_steps=every)
    results = []
    for seed in (1, 2, 3):
        eager, found = step(network, seed, "eager"), step(network, seed, "function")
        for one, other in zip(eager, found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
        results.append(found)
        with torch.no_grad():
            network.matrix("W_in").mul_(1.1)
    assert repeater.recorded == 2 * len(sizes)  # there and back, each layer, once
    # What was handed out is not overwritten by later runs.
    again = step(build_network(
        spec, weights, dt_ms=0.5, dtype=torch.float64, learning=Learning(trainable=ALL)
    ), 1, "eager")  # fmt: skip
    for one, other in zip(again, results[0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


def test_current_based_cells_and_evaluation(graphs):
    _, repeater = graphs
    spec, weights = networks.small_cuba()
    network = build_network(spec, weights, dt_ms=0.5, dtype=torch.float64).train()
    for one, other in zip(step(network, 1, "eager"), step(network, 1, "function"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
    stimulus = networks.raster(n_trials=3, n_steps=60, n_in=40, p=0.1, seed=4, dt_ms=0.5)
    with torch.no_grad():
        runs = [network.eval()(stimulus, kernel=k) for k in ("eager", "function", "function")]
    assert torch.equal(runs[0].counts["e1"], runs[2].counts["e1"])
    assert repeater.recorded == 3


def test_a_trajectory_that_waits_is_not_overwritten(graphs):
    _, repeater = graphs
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5, dtype=torch.float64)
    inputs = [
        networks.raster(n_trials=3, n_steps=60, n_in=40, p=0.1, seed=s, dt_ms=0.5) for s in (1, 2)
    ]
    found = {}
    for kernel in ("eager", "function"):
        network.zero_grad()
        waiting = [network(x, kernel=kernel).counts["e1"].square().sum() for x in inputs]
        for cost in waiting:
            cost.backward()
        found[kernel] = network.matrix("W_in").grad.clone()
    torch.testing.assert_close(found["eager"], found["function"], rtol=1e-11, atol=1e-13)
    assert repeater.recorded == 2
    del waiting, cost
    replayed = repeater.replayed
    network(inputs[0], kernel="function")
    assert repeater.replayed == replayed + 1  # its memory is free again


@pytest.mark.parametrize("when", ["forward", "backward", "spikes"])
def test_what_cannot_be_recorded_runs_step_by_step(graphs, when, monkeypatch, caplog):
    kernel, repeater = graphs
    monkeypatch.setattr(logging.getLogger("pingbridge"), "propagate", True)

    def broken(work):
        if when == "spikes":
            run, kept = work()
            return (dataclasses.replace(run, counts_exc=run.counts_exc + 1), kept), lambda: None
        if when == "forward" or repeater.recorded == 1:
            raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
        return repeater(work)

    kernel._recorder = broken
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5, dtype=torch.float64)
    for seed in (1, 2):
        pairs = zip(step(network, seed, "eager"), step(network, seed, "function"), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
    lines = [r.message for r in caplog.records if "no CUDA graphs" in r.message]
    assert len(lines) == 1
    assert "second line" not in lines[0]


def test_only_so_many_graphs_are_held(graphs):
    kernel, repeater = graphs
    kernel._at_most = 2
    spec, weights = networks.small_ping(sizes=(20,))
    network = build_network(spec, weights, dt_ms=0.5)
    for n_steps in (30, 40, 50, 50, 30):
        step(network, 1, "function", n_steps=n_steps)
    assert len(kernel._sessions) == 2
    assert repeater.recorded == 2 * 4  # that of 30 steps was recorded anew
