"""What a GPU needs of torch: a time loop that the host never waits in; the same numbers as here."""

from __future__ import annotations

import collections
import os

import numpy as np
import pytest
import torch
from networks import raster, small_cuba, small_ping
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from train_torch.kernels.layer import EventTable, Keeping, LayerSettings, layer
from train_torch.kernels.plain import PlainKernel
from train_torch.network import device as devices
from train_torch.network.device import choose_device
from train_torch.network.networks import Learning, build_network
from train_torch.network.simulate import simulate

NETWORKS = {"ping": small_ping, "two layers": lambda: small_ping(sizes=(48, 24)),
            "cuba": small_cuba}  # fmt: skip
WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "item", "masked_select")
"""Operations whose result the host needs before it can go on."""


class Watch(TorchDispatchMode):
    """Counts operations, those that the host waits for, and those that cross devices."""

    def __init__(self) -> None:
        super().__init__()
        self.n, self.waits, self.crossings = 0, collections.Counter(), collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.n += 1
        self.waits[name] += name in WAITS
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs or {}, out)) if isinstance(x, torch.Tensor)]
        places = {x.device.type for x in tensors if x.device.type != "cpu" or x.dim() > 0}
        # A number of the host may be an argument of a kernel: a tensor without axes on the CPU.
        self.crossings[name] += len(places) > 1
        return out


def meta_pass(name, n_steps, monkeypatch, kernel="eager"):
    """Run a training pass on a device without memory, up to the question whether v was lost."""
    spec, weights = NETWORKS[name]()
    stimulus = raster(n_trials=2, n_steps=n_steps, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    network = build_network(spec, weights, dt_ms=0.5, device="meta").train()
    matrices = {n: network.matrix(n) for n in spec.matrix_shapes}

    def refuse(*args, **kwargs):
        raise AssertionError("makes the host wait for the device")

    with monkeypatch.context() as patch, Watch() as watch:
        # Both copy a number to the device and wait for it, unseen by the dispatcher.
        patch.setattr(torch.Tensor, "new_tensor", refuse)
        plain = torch.tensor
        patch.setattr(
            torch, "tensor", lambda *a, **k: refuse() if k.get("device") else plain(*a, **k)
        )
        with pytest.raises(RuntimeError, match="item"):  # after the last step, once
            network(stimulus, matrices=matrices, kernel=kernel)
    return watch


@pytest.mark.parametrize("kernel", ["eager", "function"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_host_does_not_wait_within_the_time_loop(name, kernel, monkeypatch):
    short, long = (meta_pass(name, n, monkeypatch, kernel) for n in (4, 9))
    assert long.n - short.n > 5 * 10  # the loop was run, to its last step
    assert (long.n - short.n) % 5 == 0
    for watch in (short, long):
        assert sum(watch.waits.values()) == 1  # the last question
        assert dict(watch.crossings) == dict(short.crossings)
        assert sum(watch.crossings.values()) <= 2  # the input goes over, once


@pytest.mark.parametrize("every", [0, 3])
def test_nor_on_the_way_back(every):
    spec, weights = small_ping()
    network = build_network(spec, weights, dt_ms=0.5, device="meta")
    n_exc, n_inh = spec.layers[0].n_exc, spec.layers[0].n_inh
    settings = LayerSettings(
        exc=network._cells("e"), inh=network._cells("i"), n_steps=7,
        v_start_exc=torch.zeros((2, n_exc), device="meta"),
        v_start_inh=torch.zeros((2, n_inh), device="meta"),
        events=EventTable.of(
            torch.zeros((5, 3), dtype=torch.int64), n_steps=7, n_trials=2,
            device=torch.device("meta"),
        ),
        keeping=Keeping(checkpoint_steps=every),
    )  # fmt: skip
    names = {"w_in": "W_in", "w_ei": "W_ei_1", "w_ie": "W_ie_1", "w_out": "W_out"}
    w = {ours: network.matrix(name).detach().requires_grad_() for ours, name in names.items()}
    with Watch() as watch:
        run = layer(PlainKernel(), settings, **w)
        (run.counts_exc.sum() + run.out.sum()).backward()
    assert watch.n > 7 * 100
    assert all(matrix.grad is not None for matrix in w.values())
    assert sum(watch.waits.values()) == 0
    assert sum(watch.crossings.values()) == 0


def test_the_watch_sees_a_wait(monkeypatch):
    """The test above can fail."""
    from train_torch.kernels import cells

    plain = cells.conductance_step

    def waiting(state, *args, **kwargs):
        new = plain(state, *args, **kwargs)
        bool(new.sane)
        return new

    monkeypatch.setattr("train_torch.network.ping.conductance_step", waiting)
    short, long = (meta_pass("ping", n, monkeypatch) for n in (4, 9))
    assert long.n - short.n < 10  # it stopped in the first step


def test_silent_matrices_are_asked_once():
    spec, weights = small_ping()
    network = build_network(spec, weights, dt_ms=0.5)
    stimulus = raster(n_trials=2, n_steps=4, n_in=40, p=0.1, seed=1, dt_ms=0.5)
    network(stimulus, kernel="eager")
    with Watch() as watch:
        network(stimulus, kernel="eager")
    assert sum(watch.waits.values()) == 1
    assert "W_ee_1" not in network.used()
    with torch.no_grad():
        network.matrix("W_ee_1").fill_(0.1)
    assert "W_ee_1" in network.used()  # a change is noticed


def test_deterministic(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert choose_device("cpu").type == "cpu"
    assert not torch.are_deterministic_algorithms_enabled()
    try:
        choose_device("cpu", deterministic=True)
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        for name in NETWORKS:  # nothing that a training step needs is refused
            spec, weights = NETWORKS[name]()
            network = build_network(spec, weights, dt_ms=0.5, learning=Learning()).train()
            stimulus = raster(n_trials=2, n_steps=20, n_in=40, p=0.1, seed=1, dt_ms=0.5)
            network(stimulus, kernel="eager").logits.sum().backward()
            assert network.matrix("W_in").grad is not None
    finally:
        torch.use_deterministic_algorithms(False)


def test_what_torch_finds(monkeypatch):
    names = [name for name, _, _ in devices.examine()]
    assert names == ["torch", "cuda"]
    if torch.version.cuda is None:
        assert "made for the CPU alone" in devices.examine()[1][2]
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "finds no GPU or driver" in devices.examine()[1][2]


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_gives_the_same_spikes_and_gradients(name):
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    spec, weights = NETWORKS[name]()
    stimulus = raster(n_trials=3, n_steps=400, n_in=40, p=0.05, seed=5, dt_ms=0.5)
    runs = [simulate(spec, weights, stimulus, device=device)[0] for device in ("cpu", "cuda")]
    for population in spec.populations:
        np.testing.assert_array_equal(runs[0].spikes[population], runs[1].spikes[population])
    gradients = []
    for device, kernel in (("cpu", "eager"), ("cuda", "eager"), ("cuda", "function")):
        network = build_network(
            spec, weights, dt_ms=0.5, dtype=torch.float64, device=device
        ).train()
        network(stimulus, kernel=kernel).logits.sum().backward()
        gradients.append(network.matrix("W_in").grad.cpu())
    for found in gradients[1:]:
        torch.testing.assert_close(gradients[0], found, rtol=1e-9, atol=1e-12)
