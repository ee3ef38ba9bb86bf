"""The torch networks: gradients against finite differences, and what must not change a spike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from networks import raster, small_cuba, small_ping

from bridge.network.readout import read_out
from bridge.network.spec import CubaSpec, LayerSpec, PingSpec, ReadoutSpec
from bridge.network.stimulus import Stimulus
from bridge.network.weights import Weights, effective
from train_torch.network.inputs import InputBatch
from train_torch.network.networks import RECURRENT, Learning, build_network
from train_torch.network.simulate import record, rows, simulate

READOUTS = ("rate", "li", "spike-count", "mem-mean")
LOOP = frozenset({"W_ee", "W_ei", "W_ie"})


def with_ee(weights):
    """Return the weights with connections among the E cells, which are drawn as zeros."""
    rng = np.random.default_rng(8)
    names = [n for n in weights if n.startswith("W_ee")]
    return weights.replace(**{n: rng.random(weights[n].shape) * 2e-3 for n in names})


def ping(sizes=(8,), *, readout="rate", order="decay-add", n_in=6):
    spec, weights = small_ping(sizes=sizes, n_in=n_in, order=order)
    return dataclasses.replace(spec, readout=ReadoutSpec(mode=readout)), with_ee(weights)


def drive(*, n_steps=60, n_trials=2, n_in=6, p=0.15, dt_ms=0.5):
    return raster(n_trials=n_trials, n_steps=n_steps, n_in=n_in, p=p, seed=4, dt_ms=dt_ms)


def f64(spec, weights, dt_ms=0.5, **learning):
    return build_network(
        spec, weights, dt_ms=dt_ms, dtype=torch.float64, learning=Learning(**learning)
    )


# ---- gradients ----------------------------------------------------------------------------------


def check_by_finite_differences(network, x):
    """Hold the gradient along random directions against central differences, tensor by tensor."""
    learned = {n: p for n, p in network.named_parameters() if p.requires_grad}
    probe = torch.Generator().manual_seed(1)

    def loss():
        run = network(x)
        mixed = torch.randn(run.logits.shape, generator=probe.manual_seed(2), dtype=torch.float64)
        rates = sum(c.pow(2).mean() for name, c in run.counts.items() if name.startswith("e"))
        return (run.logits * mixed).sum() + rates

    value = loss()
    value.backward()
    for name, parameter in learned.items():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        along = torch.rand(parameter.shape, generator=probe, dtype=torch.float64)
        # Relative steps: weights differ by orders of magnitude, and none may cross zero.
        along = along * parameter.detach().abs()
        h = 1e-5
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * h * along)
                values.append(loss().item())
                parameter.sub_(sign * h * along)
        expected = (values[0] - values[1]) / (2 * h)
        found = (parameter.grad * along).sum().item()
        # Central differences of a value near 1e2 with h = 1e-5: rounding 1e-9, curvature 1e-10.
        assert found == pytest.approx(expected, rel=2e-5, abs=1e-7), name
    return learned


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("sizes", [(8,), (8, 6)])
def test_gradients_of_the_smooth_conductance_based_network(sizes, readout):
    spec, weights = ping(sizes, readout=readout)
    network = f64(spec, weights, v_grad_dampen=1.0, smooth=True, surrogate_slope=0.3,
                  trainable=LOOP)  # fmt: skip
    # Smooth "spikes" never stop: without resets and refractory steps everything is differentiable,
    # with them the network is only piecewise so; a short trial below threshold has none.
    x = drive(n_steps=14, p=0.05)
    with torch.no_grad():
        assert max(t.max() for n, t in network(x, keep_traces=True).traces.items()
                   if n.startswith("v")) < -50.0, "a cell reached threshold"  # fmt: skip
    learned = check_by_finite_differences(network, x)
    assert {n.split(".")[0] for n in learned} == {"W_ff", "W_ee", "W_ei", "W_ie"}


@pytest.mark.parametrize("order", ["decay-add", "kick-decay"])
def test_gradients_across_resets(order):
    # Spikes that fall in the same steps on both sides of a difference are no obstacle: the
    # smooth stand-in depends on the voltage before the reset, which itself stops the gradient.
    spec, weights = ping((8,), readout="mem-mean", order=order)
    network = f64(spec, weights, v_grad_dampen=1.0, smooth=True, surrogate_slope=0.3,
                  trainable=LOOP)  # fmt: skip
    x = drive(n_steps=40, p=0.15)
    with torch.no_grad():
        assert (network(x, keep_traces=True).traces["v_e_1"] == -65.0).any(), "no cell was reset"
    check_by_finite_differences(network, x)


@pytest.mark.parametrize("with_pool", [True, False])
def test_gradients_of_the_smooth_current_based_network(with_pool):
    spec, weights = small_cuba(n_exc=8, n_in=6)
    if not with_pool:
        spec = CubaSpec(n_in=6, n_exc=8, n_inh=0, dales_law=False)
        weights = {n: weights[n] for n in spec.matrix_shapes}
    network = f64(spec, weights, smooth=True).eval()
    learned = check_by_finite_differences(network, drive(n_steps=40))
    assert set(learned) == {"W_ff.0", "W_ff.1", "b_ff.0"}


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("model", ["ping", "ping two layers", "cuba"])
def test_everything_that_learns_has_a_gradient(model, smooth):
    if model == "cuba":
        spec, weights = small_cuba()
    else:
        spec, weights = ping((48, 24) if "two" in model else (48,), n_in=40)
    network = build_network(
        spec, weights, dt_ms=0.5, learning=Learning(trainable=LOOP, smooth=smooth)
    )
    run = network(drive(n_steps=200, n_in=40, p=0.08))
    run.logits.logsumexp(dim=1).sum().backward()
    for name, parameter in network.named_parameters():
        fixed = name.startswith("W_ii") or (model == "cuba" and name[:4] not in ("W_ff", "b_ff"))
        assert parameter.requires_grad != fixed, name
        if not fixed:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name


def test_frozen_matrices_have_none():
    spec, weights = ping()
    network = build_network(spec, weights, dt_ms=0.5)
    network(drive()).logits.sum().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == (name[:4] in RECURRENT), name


@pytest.mark.parametrize("gamma", [80.0, 1000.0])
def test_dampening_changes_the_gradient_and_not_a_bit_of_the_forward_pass(gamma):
    spec, weights = ping((48,), n_in=40, readout="mem-mean")
    runs, gradients = [], []
    for dampen in (1.0, gamma):
        network = build_network(
            spec, weights, dt_ms=0.5, learning=Learning(v_grad_dampen=dampen, trainable=LOOP)
        )
        run = network(drive(n_steps=200, n_in=40, p=0.08), keep_spikes=True, keep_traces=True)
        run.logits.sum().backward()
        runs.append(run)
        gradients.append(network.matrix("W_in").grad.norm())
    assert torch.equal(runs[0].logits, runs[1].logits)
    assert runs[0].spikes["e1"].any()
    for kind in ("spikes", "traces"):
        for name, one in getattr(runs[0], kind).items():
            assert torch.equal(one, getattr(runs[1], kind)[name]), name
    assert gradients[1] < gradients[0] / 2


def test_truncation_cuts_the_gradient_in_training_mode_only():
    spec, weights = small_cuba()
    x = drive(n_steps=60, n_in=40, p=0.1)
    found = {}
    for window, training in ((5, True), (5, False), (1000, True)):
        network = build_network(spec, weights, dt_ms=0.5, learning=Learning(tbptt_window=window))
        run = network.train(training)(x)
        run.logits.sum().backward()
        found[window, training] = (
            run.logits.detach(), network.matrix("W_in").grad, network.matrix("W_out").grad
        )  # fmt: skip
    assert torch.equal(found[5, True][0], found[5, False][0])
    assert torch.equal(found[1000, True][1], found[5, False][1])
    assert not torch.allclose(found[5, True][1], found[5, False][1], rtol=1e-2)
    # The readout's integrator is cut too, its sum is not.
    assert not torch.allclose(found[5, True][2], found[5, False][2], rtol=1e-2)
    assert found[5, True][2].any()


# ---- readouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("readout", [*READOUTS, "cuba"])
def test_readouts_are_those_of_the_bridge(readout):
    if readout == "cuba":
        spec, weights = small_cuba()
        weights = weights.replace(b_out=np.linspace(-1, 1, 10))
    else:
        spec, weights = ping((48,), n_in=40, readout=readout)
        weights = weights.scaled("W_out", 5.0)
    x = drive(n_steps=240, n_in=40, p=0.08, n_trials=3)
    network = f64(spec, weights)
    with torch.no_grad():
        run = network(x, keep_spikes=True, keep_output=True)
    logits, output = read_out(
        spec, weights, rows(run.spikes["e1"]), n_steps=240, n_trials=3, dt_ms=0.5
    )
    assert np.ptp(logits) > 0
    np.testing.assert_allclose(run.logits.numpy(), logits, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(run.output.numpy().transpose(1, 0, 2), output, rtol=1e-12,
                               atol=1e-12)  # fmt: skip


# ---- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["decay-add", "kick-decay"])
@pytest.mark.parametrize("dales_law", [True, False])
def test_used_weights_are_those_of_the_bridge(order, dales_law):
    spec, weights = ping((8, 6), order=order)
    spec = dataclasses.replace(spec, dales_law=dales_law)
    signed = weights.replace(W_in=weights["W_in"] - 0.05, W_ie_1=weights["W_ie_1"] - 0.05)
    network = f64(spec, signed, trainable=LOOP)
    expected = effective(signed, spec, 0.5)
    found = network.used()
    for name in found:
        # The grid of the bridge moves a weight by at most 2**-45.
        np.testing.assert_allclose(found[name].detach().numpy(), expected[name], rtol=0, atol=3e-14)
    assert bool((found["W_in"] < 0).any()) is not dales_law
    assert set(spec.matrix_shapes) - set(found) == {"W_ii_1", "W_ii_2"}


def test_the_clamp_passes_the_gradient_at_zero_and_stops_it_below():
    spec, weights = ping(n_in=2)
    w_in = np.array(weights["W_in"])
    w_in[:, 0], w_in[:, 1] = 0.0, -0.1
    network = f64(spec, weights.replace(W_in=w_in))
    network(drive(n_in=2)).counts["e1"].sum().backward()
    gradient = network.matrix("W_in").grad
    assert gradient[:, 0].any()
    assert not gradient[:, 1].any()


@pytest.mark.parametrize("model", ["ping", "cuba"])
def test_projection_keeps_what_learns_on_its_side(model):
    spec, weights = small_cuba() if model == "cuba" else ping()
    network = f64(spec, weights, trainable=frozenset({"W_ei"}))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.sub_(1.0)
    network.project()
    clamped = {"W_in"} if model == "cuba" else {"W_in", "W_out", "W_ei_1"}
    for name in spec.matrix_shapes:
        assert bool((network.matrix(name) >= 0).all()) is (name in clamped), name
    free = f64(dataclasses.replace(spec, dales_law=False), weights)
    with torch.no_grad():
        free.matrix("W_in").sub_(1.0)
    free.project()
    assert (free.matrix("W_in") < 0).any()


def test_weights_go_through_the_module_and_back():
    for spec, weights in (ping((8, 6)), small_cuba()):
        assert f64(spec, weights).weights() == weights
        assert weights == Weights.for_spec(spec, weights)
    names = set(f64(*ping((8, 6))).state_dict())
    assert {"W_ff.0", "W_ff.1", "W_ff.2", "W_ei.1", "W_ie.2", "W_ee.1"} <= names
    assert set(f64(*small_cuba()).state_dict()) == {"W_ff.0", "W_ff.1", "b_ff.0", "W_ei.1",
                                                    "W_ie.1"}  # fmt: skip


# ---- input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["ping", "cuba"])
def test_raster_and_events_are_the_same_input(model):
    spec, weights = small_cuba() if model == "cuba" else ping((48,), n_in=40)
    counts = np.random.default_rng(3).poisson(0.1, (2, 120, 40))
    x = Stimulus.from_raster(counts, dt_ms=0.5)
    network = f64(spec, weights)
    dense = torch.tensor(counts.transpose(1, 0, 2), dtype=torch.float64)
    with torch.no_grad():
        runs = [network(given, keep_spikes=True) for given in (x, dense, InputBatch.of(x))]
    assert runs[0].spikes["e1"].any()
    for run in runs[1:]:
        assert torch.equal(run.spikes["e1"], runs[0].spikes["e1"])
        assert torch.equal(run.logits, runs[0].logits)
    events = InputBatch.of(dense).as_events()
    assert torch.equal(InputBatch.of(x).as_events(), events)
    assert torch.equal(InputBatch.of(x).dense(dtype=torch.float64, device=torch.device("cpu")),
                       dense.to(torch.uint8))  # fmt: skip


def test_conductance_and_bias_drive_the_first_layer_in_their_own_step():
    spec, weights = ping((8,))
    g = np.zeros((1, 30, 8))
    g[0, 10:, 3] = 0.004
    x = Stimulus(dt_ms=0.5, n_steps=30, n_trials=1, n_in=6, g_ext_us=g, bias_us=0.001)
    with torch.no_grad():
        ge = f64(spec, weights)(x, keep_traces=True).traces["ge_e_1"][:, 0]
    assert (ge[0] == 0.001).all()
    other = ge[:, [0, 1, 2, 4, 5, 6, 7]]
    assert (other == other[:, :1]).all()
    decay = np.exp(-0.5 / 2.0)
    assert ge[10, 3] == pytest.approx(other[9, 0].item() * decay + 0.005, rel=1e-14)


def test_a_hook_may_replace_spikes():
    spec, weights = ping((48,), n_in=40)
    seen = []

    def silence(step, population, spikes):
        seen.append((step, population))
        return torch.zeros_like(spikes) if population == "e1" else spikes

    with torch.no_grad():
        x = drive(n_steps=100, n_in=40, p=0.1)
        run = f64(spec, weights)(x, keep_spikes=True, hook=silence)
        free = f64(spec, weights)(x, keep_spikes=True)
    assert free.spikes["i1"].any()
    assert not run.spikes["i1"].any()
    assert not run.logits.any()
    assert seen[:3] == [(0, "e1"), (0, "i1"), (1, "e1")]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5, 1, 7), "has 7 channels, but the network .* expects 6"),
        (torch.zeros(5, 6), r"shape \(5, 6\); expected \(step, trial, channel\)"),
        (Stimulus(dt_ms=0.5, n_steps=5, n_trials=1, n_in=6, g_ext_us=np.zeros((1, 5, 3))),
         "drives 3 cells, but the first E layer has 8"),
    ],
)  # fmt: skip
def test_input_that_does_not_fit_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        f64(*ping())(x)


def test_what_current_based_cells_refuse():
    spec, weights = small_cuba()
    network = f64(spec, weights)
    with pytest.raises(ValueError, match="no bias, no g_ext"):
        network(Stimulus(dt_ms=0.5, n_steps=5, n_trials=1, n_in=40, bias_us=0.1))
    with pytest.raises(ValueError, match="initial voltages can't apply"):
        network(drive(n_in=40), v_start_mv={"e1": torch.zeros(2, 48)})
    with pytest.raises(ValueError, match="kernel 'fast' is unknown; use one of auto, eager"):
        network(drive(n_in=40), kernel="fast")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"v_grad_dampen": 0.0}, "v_grad_dampen"), ({"tbptt_window": 0}, "tbptt_window"),
        ({"trainable": frozenset({"W_xy"})}, "W_xy is no recurrent matrix"),
        ({"surrogate_slope": -1.0}, "surrogate_slope"),
    ],
)  # fmt: skip
def test_learning_that_makes_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Learning(**settings)


def test_a_lost_voltage_names_its_step():
    spec = PingSpec(n_in=1, layers=(LayerSpec(n_exc=2),), n_classes=2, dales_law=False)
    weights = Weights.for_spec(spec, {"W_in": [[-1e7, 0.0]], "W_out": np.ones((2, 2))})
    x = Stimulus(dt_ms=0.25, n_steps=30, n_trials=1, n_in=1, events=np.array([[12, 0, 0]]))
    with pytest.raises(RuntimeError, match="step 13 of 30"):
        simulate(spec, weights, x)
    network = f64(spec, weights, dt_ms=0.25).train()
    with pytest.raises(RuntimeError, match="step 13 of 30"):
        record(network, x)
    assert network.training  # as it was, although the look at it failed
    assert torch.is_grad_enabled()
