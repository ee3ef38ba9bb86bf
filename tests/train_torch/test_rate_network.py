"""The rate network: equal to the published runs, gradients, masks, lesions, its interface."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from rate_models import model_file

from bridge.rate_to_spike import RateModel
from train_torch.rate_rnn import (
    FR_RNN_dale,
    RateRNNFactory,
    create_default_config,
    eval_rnn,
    loss_op,
    make_network,
    restricted_float,
    set_gpu,
    str2bool,
)
from train_torch.rate_rnn.dynamics import ACTIVATIONS, run_rates

# torch warns when anything is told of a scalar that still has a gradient; it is read as data here.


def network(n=12, n_in=2, seed=0, dtype=torch.float64, **given):
    return make_network(
        n_units=n, n_in=n_in, p_rec=0.5, rng=np.random.default_rng(seed), dtype=dtype, **given
    )


def trace(list_of_tensors):
    return torch.stack(list_of_tensors).squeeze().detach().numpy()


@pytest.fixture(scope="module")
def forward(reference):
    with np.load(reference / "rate_to_spike_forward.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture
def trained(reference):
    net = FR_RNN_dale(50, 0.2, 0.2, np.zeros((50, 1)), w_out=np.zeros((1, 50)))
    return net.load_net(reference / "rate_to_spike_model.mat")


def published_run(net, data, prefix, *, taus=(4, 20), activation="sigmoid", dt=1, noise=True):
    u = data[f"{prefix}_u"]
    given = 0
    if noise:
        g = np.random.default_rng(int(data[f"{prefix}_noise_seed"]))
        start = g.standard_normal((50, 1)).astype(np.float32)
        given = (start, g.standard_normal((u.shape[1] - 1, 50, 1)).astype(np.float32))
    return net(
        torch.tensor(u, dtype=torch.float32), taus, {"activation": activation},
        {"T": u.shape[1], "DeltaT": dt}, noise=given,
    )  # fmt: skip


def test_the_start_is_the_published_one(reference):
    with np.load(reference / "rate_to_spike_tasks.npz", allow_pickle=False) as data:
        cases = json.loads(str(data["index_json"]))["inits"]
        assert len(cases) == 3
        for case in cases:
            np.random.seed(case["legacy_seed"])  # noqa: NPY002
            names = ("N", "P_inh", "P_rec", "som_N", "w_dist", "gain", "apply_dale")
            net = FR_RNN_dale(
                **{k: case[k] for k in names}, w_in=np.zeros((20, 1)), w_out=np.zeros((1, 20))
            )
            held = {"w": net.w, "mask": net.mask, "som_mask": net.som_mask}
            for name, tensor in held.items():
                np.testing.assert_array_equal(
                    tensor.detach().numpy(), data[f"{case['case']}_{name}"], err_msg=name
                )
            np.testing.assert_array_equal(net.inh, data[f"{case['case']}_inh"])
            assert (case["NI"], case["NE"]) == (net.NI, net.NE)


@pytest.mark.parametrize("run", ["go", "nogo", "go_nonoise"])
def test_a_trial_is_the_published_one(trained, forward, run):
    # The reference ran the same float32 operations in another order: 1e-5 on values of order 1.
    out = published_run(trained, forward, f"fwd_{run}", noise=run != "go_nonoise")
    np.testing.assert_allclose(trace(out[1]), forward[f"fwd_{run}_x"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(trace(out[2]), forward[f"fwd_{run}_r"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(trace(out[3]), forward[f"fwd_{run}_o"], rtol=0, atol=1e-5)
    target = forward[f"fwd_{run}_target"]
    for name, tolerance in (("l1", 1e-3), ("L2", 1e-4)):
        loss = loss_op(out[3], target, {"loss_fn": name})
        known = forward[f"fwd_{run}_loss_{name.lower()}"]
        assert loss.item() == pytest.approx(float(known), abs=tolerance)


@pytest.mark.parametrize("run", ["go", "nogo"])
def test_gradients_are_the_published_ones(trained, forward, run):
    out = published_run(trained, forward, f"fwd_{run}")
    loss_op(out[3], forward[f"fwd_{run}_target"], {"loss_fn": "l2"}).backward()
    for name in ("w", "w_out", "b_out", "taus_gaus"):
        known = forward[f"fwd_{run}_grad_{name}"]
        found = getattr(trained, name).grad.numpy()
        assert np.abs(found - known).max() < 1e-4 * np.abs(known).max(), name
    if run == "go":
        torch.optim.Adam([trained.w, trained.w_out, trained.b_out], lr=0.01).step()
        for name in ("w", "w_out", "b_out"):
            found = getattr(trained, name).detach().numpy()
            np.testing.assert_allclose(found, forward[f"fwd_go_adam1_{name}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", "clipped_relu", "softplus"])
def test_activations_are_the_published_ones(trained, forward, activation):
    out = published_run(trained, forward, "var", activation=activation)
    np.testing.assert_allclose(trace(out[1]), forward[f"var_{activation}_x"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(trace(out[3]), forward[f"var_{activation}_o"], rtol=1e-5, atol=1e-5)


def test_variants_are_the_published_ones(trained, forward):
    out = published_run(trained, forward, "var", taus=[7], dt=2)
    np.testing.assert_allclose(trace(out[1]), forward["var_singletau7_dt2_x"], rtol=0, atol=1e-5)
    # load_net keeps the raw weights: without Dale they enter with their leftovers.
    trained.apply_dale = False
    out = published_run(trained, forward, "var")
    np.testing.assert_allclose(trace(out[1]), forward["var_nodale_x"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_the_hand_written_gradient_is_that_of_differences(activation):
    g = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).requires_grad_()

    w, drive, x0 = draw(4, 4), draw(5, 3, 4), draw(3, 4)
    leak = torch.rand(4, generator=g, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *given: run_rates(*given, activation), (w, drive, leak, x0)
    )


def test_a_batch_is_its_trials():
    net = network()
    g = np.random.default_rng(1)
    stim = torch.as_tensor(g.standard_normal((3, 2, 20)))
    start, noise = g.standard_normal((3, 12)), g.standard_normal((19, 3, 12))
    given = ([4, 10], {"activation": "sigmoid"}, {"T": 20})
    together = net(stim, *given, noise=(start, noise))
    assert [len(part) for part in together[1:4]] == [20, 20, 19]
    for k in range(3):
        alone = net(stim[k], *given, noise=(start[k][:, None], noise[:, k, :, None]))
        assert alone[1][0].shape == (12, 1)
        assert alone[3][0].shape == (1, 1)
        np.testing.assert_allclose(
            trace(alone[3]), torch.cat(together[3], 1)[k].detach().numpy(), rtol=1e-12
        )


def test_gradients_reach_everything_that_learns():
    net = network()
    stim = torch.ones(1, 2, 15, dtype=torch.float64)
    for taus, moves in (([4, 10], True), ([7], False)):
        net.zero_grad(set_to_none=True)
        out = net(stim, taus, {"activation": "sigmoid"}, {"T": 15}, noise=0)
        loss_op(out[3], np.ones(14), {"loss_fn": "l2"}).backward()
        for name in ("w", "w_out", "b_out"):
            assert getattr(net, name).grad.abs().sum() > 0, name
        assert (net.taus_gaus.grad is not None) == moves


def test_absent_connections_stay_absent():
    net = network()
    absent = net.w.detach() == 0
    assert absent.any()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(5):
        optimiser.zero_grad()
        out = net(torch.ones(2, 10).double(), [4, 10], {"activation": "sigmoid"}, {"T": 10})
        loss_op(out[3], np.ones(9), {"loss_fn": "l1"}).backward()
        optimiser.step()
    assert not net.w.detach()[absent].any()


def test_som_units_receive_no_inhibition():
    net = network(n=40, som_n=3, p_inh=0.4)
    inh = np.flatnonzero(net.inh.ravel())
    assert net.som_inh.tolist() == inh[:3].tolist()
    w = net.effective_w().detach().numpy()
    assert not w[np.ix_(net.som_inh, inh)].any()
    assert (w[np.ix_(inh[3:], inh)] < 0).any()
    assert np.all(w[:, inh] <= 0)


def test_the_returned_weights_are_a_copy():
    net = network()
    stim = torch.zeros(2, 10).double()
    w = net(stim, [5], {"activation": "sigmoid"}, {"T": 10})[4]
    before = w.clone()
    with torch.no_grad():
        net.w += 1.0
    assert torch.equal(w, before)


def test_noise_is_that_of_the_published_size():
    net = network(n=400)
    with torch.no_grad():
        net.w.zero_()
    out = net(
        torch.zeros(2, 60).double(), [1], {"activation": "sigmoid"}, {"T": 60},
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    x = trace(out[1])
    # With tau = dt nothing is left of the step before: x is the noise. 24 000 and 400 deviates:
    # five standard errors.
    assert x[1:].std() == pytest.approx(0.1, rel=5 / np.sqrt(2 * 24_000))
    assert x[0].std() == pytest.approx(0.01, rel=5 / np.sqrt(2 * 400))


def test_lesions():
    net = network(n=30)
    there = int((net.w > 0).sum())
    net.lesion_w(0.5, seed=1)
    assert int((net.w > 0).sum()) == there - there // 2
    net = network(n=30)
    kept = net.w.detach().clone()
    net.lesion_w_by_type(1.0, 0.25, seed=1)
    torch.testing.assert_close(net.w.detach(), kept * 0.25)
    for p, scale in ((1.2, 0.0), (0.5, -1.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            net.lesion_w(p, scale)


def test_a_minimal_file_loads(tmp_path):
    net = network(n=7, n_in=3)
    path = model_file(tmp_path / "m.mat", n=20, n_in=1)
    assert net.load_net(path) is net
    assert (net.N, net.som_N, net.b_out.item()) == (20, 0, 0.0)
    model = RateModel.load(path)
    np.testing.assert_allclose(
        net.effective_w().detach().numpy(), model.signed_w(), rtol=1e-12, atol=1e-15
    )
    o, r, x = eval_rnn(net, {"T": 9, "taus": [4, 10]}, np.ones((1, 9)))
    assert (len(o), len(r), len(x)) == (8, 9, 9)
    assert x[0].shape == (20, 1)
    assert net.training


def test_display(capsys):
    network(n=20).display()
    told = capsys.readouterr().out
    assert "units: 20" in told
    assert "negative weights" in told


def test_everything_is_in_the_state_dict():
    one, other = network(seed=1), network(seed=2)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.effective_w(), other.effective_w())
    assert torch.equal(one.w_in, other.w_in)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: n(torch.zeros(3, 9), [5], {"activation": "sigmoid"}, {"T": 9}), "2 rows"),
        (lambda n: n(torch.zeros(2, 8), [5], {"activation": "sigmoid"}, {"T": 9}), "T = 9"),
        (lambda n: n(torch.zeros(2, 9), [5], {"activation": "tanh"}, {"T": 9}), "use one of sigm"),
        (lambda n: n(torch.zeros(2, 9), [9, 5], {"activation": "sigmoid"}, {"T": 9}), "ascending"),
        (lambda n: loss_op([torch.zeros(1, 1)], [0.0], {"loss_fn": "l3"}), "use l1 or l2"),
        (lambda n: loss_op([torch.zeros(1, 1)], [0.0, 1.0], {"loss_fn": "l1"}), "target"),
        (lambda n: FR_RNN_dale(9, 0.2, 0.2, np.zeros((8, 1)), w_out=np.zeros((1, 9))), "w_in"),
        (lambda n: network(w_dist="flat"), "use gaus or gamma"),
        (lambda n: create_default_config(N=0), "N = 0"),
        (lambda n: create_default_config(P_rec=1.5), "P_rec"),
        (lambda n: create_default_config(som_N=300), "som_N"),
        (lambda n: create_default_config(gain=0), "gain"),
        (lambda n: RateRNNFactory.create("lstm", create_default_config()), "available: dale"),
        (lambda n: set_gpu("0", 2.0), "between 0 and 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(network())


def test_the_factory_and_small_helpers():
    net = RateRNNFactory.create("dale", create_default_config(N=15), n_in=2, seed=1)
    out = net.forward(torch.zeros(2, 6), [4, 10], {"activation": "sigmoid"}, {"T": 6})
    assert len(out) == 11
    assert net.net.w.shape == (15, 15)
    assert [str2bool(one) for one in (True, "no", " T ", "0")] == [True, False, True, False]
    assert restricted_float("0.3") == 0.3
    import argparse

    for wrong in ("1.5", "x"):
        with pytest.raises(argparse.ArgumentTypeError):
            restricted_float(wrong)
    with pytest.raises(argparse.ArgumentTypeError):
        str2bool("maybe")


def test_losses_of_a_batch_are_the_mean_of_its_trials():
    o = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    loss = loss_op(o, torch.zeros(2, 2), {"loss_fn": "l2"})
    assert loss.item() == 2.5
    loss.backward()
    assert torch.isfinite(o.grad).all()  # the root of an output without error
    assert loss_op(o, torch.zeros(2, 2), {"loss_fn": "L1"}).item() == 3.5
