"""Decisions, confidence, the output from spikes, and small helpers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rate_models import fields

from bridge.rate_to_spike.lif import LifParameters, check_factors, convert, read_stims
from bridge.rate_to_spike.rate_forward import activate, rate_outputs
from bridge.rate_to_spike.readout import BLOCK, Readout
from bridge.rate_to_spike.scoring import Share, is_right, plateau
from studies.rate_to_spike import (
    RateModel,
    create_connectivity_masks,
    format_spike_data,
    generate_lif_params,
    parse_range,
    validate_scaling_factor,
    validate_stimulus,
)


@pytest.mark.parametrize(
    ("high", "low", "expected", "published", "strict"),
    [
        (0.8, 0.0, 1, True, True), (0.8, -0.8, 1, True, False), (0.6, 0.0, 1, False, False),
        (0.0, -0.8, -1, True, True), (0.8, -0.8, -1, True, False), (0.0, -0.6, -1, False, False),
        (0.2, -5.0, 0, True, True), (0.4, 0.0, 0, False, False),
    ],
)  # fmt: skip
def test_rules(high, low, expected, published, strict):
    assert bool(is_right(high, low, expected, 0.7, strict=False)) is published
    assert bool(is_right(high, low, expected, 0.7, strict=True)) is strict


def test_an_interval_of_wilson():
    share = Share(95, 100)
    low, high = share.interval
    # (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.959964
    assert low == pytest.approx(0.88825, abs=1e-4)
    assert high == pytest.approx(0.97846, abs=1e-4)
    assert Share(0, 0).interval == (0.0, 1.0)


def test_a_plateau_holds_what_is_as_good():
    found = plateau([10, 20, 30, 40], np.array([0.5, 0.95, 0.98, 0.9]), 100)
    assert found == [30]
    assert plateau([10, 20, 30], np.array([0.9, 1.0, 1.0]), 100) == [20, 30]


@settings(max_examples=25, deadline=None)
@given(
    n_steps=st.integers(1, 4 * BLOCK), rise=st.sampled_from([0.0, 0.002]),
    n_spikes=st.integers(0, 60), seed=st.integers(0, 2**16), single_tau=st.booleans(),
)  # fmt: skip
def test_the_output_from_spikes_is_that_of_the_recursion(n_steps, rise, n_spikes, seed, single_tau):
    model = RateModel.from_fields(fields(n=7, seed=seed, taus=(4.0, 10.0)))
    if single_tau:  # 0.4 steps are 2 ms: decay and rise alike; no rate network is that fast
        model = dataclasses.replace(model, taus=np.array([0.4]))
    network = convert(model, parameters=LifParameters(tau_r_s=rise))
    rng = np.random.default_rng(seed)
    factors = np.array([20.0, 35.0, 50.0])
    pairs = np.unique(
        np.stack([rng.integers(3, size=n_spikes), rng.integers(7, size=n_spikes),
                  rng.integers(n_steps, size=n_spikes)]), axis=1,
    )  # fmt: skip
    readout = Readout(network)
    out = readout.outputs(*pairs, factors, n_steps)
    assert out.shape == (3, n_steps)
    for run, factor in enumerate(factors):
        mine = pairs[0] == run
        rs = readout.filtered(pairs[1][mine], pairs[2][mine], n_steps)
        np.testing.assert_allclose(out[run], network.w_out @ rs / factor, rtol=0, atol=1e-9)


def test_a_filtered_train_has_the_rate_of_its_spikes():
    model = RateModel.from_fields(fields(n=3, taus=(10.0,)))
    network = convert(model)
    n_steps = 40_000  # 2 s, 40 time constants
    step = np.arange(0, n_steps, 400)  # 50 Hz
    rs = Readout(network).filtered(np.zeros(len(step), dtype=int), step, n_steps)
    # Unit area: the mean is the rate, once the filter has filled (50 ms) and but for the Euler
    # rise (dt / tau_r = 1/40).
    assert rs[0, 20_000:].mean() == pytest.approx(50.0, rel=0.03)
    assert not rs[1:].any()


@pytest.mark.parametrize(
    ("text", "numbers"), [("20:75:5", list(range(20, 76, 5))), ("3:5", [3, 4, 5]), ("4:4", [4])]
)
def test_a_range_includes_its_end(text, numbers):
    assert parse_range(text) == numbers


@pytest.mark.parametrize("text", ["", "3", "5:3", "1:2:0", "a:b", "1:2:3:4", "1:2:-1"])
def test_a_range_of_nothing(text):
    with pytest.raises(ValueError, match="first:last"):
        parse_range(text)


@pytest.mark.parametrize(
    ("factors", "message"),
    [([], "at least one"), ([20, 0], "must be > 0"), ([-5.0], "must be > 0"), (["a"], "no number"),
     ([np.inf], "must be > 0"), ([True], "no number")],
)  # fmt: skip
def test_bad_factors(factors, message):
    with pytest.raises(ValueError, match=message):
        check_factors(factors)


def test_factors_keep_their_kind():
    assert check_factors(range(20, 31, 5)) == [20, 25, 30]
    assert all(isinstance(one, int) for one in check_factors(np.array([20, 25])))
    assert check_factors((2.5,)) == [2.5]


@pytest.mark.parametrize(
    ("stims", "message"),
    [
        ({"mode": "kick", "units": [0], "dur": [0, 5]}, "use none, exc or inh"),
        ({"mode": "exc", "dur": [0, 5]}, "needs units"),
        ({"mode": "exc", "units": [9], "dur": [0, 5]}, "between 0 and 4"),
        ({"mode": "inh", "units": [0], "dur": [5, 0]}, "must ascend"),
    ],
)
def test_bad_stimulation(stims, message):
    with pytest.raises(ValueError, match=message):
        read_stims(stims, 5, 20, np.random.default_rng(0))


def test_stimulation_without_a_window_is_none():
    assert read_stims({"mode": "exc", "units": [1]}, 5, 20, None) is None
    found = read_stims({"mode": "INH", "units": [1], "dur": [2, 99]}, 5, 6, np.full(4, 0.4))
    assert found.coins.tolist() == [0, 0, 1, 1, 1, 1]
    assert found.kick_mv.tolist() == [0, -0.5, 0, 0, 0]


def test_the_rate_network_of_a_file_is_the_published_one(reference):
    with np.load(reference / "rate_to_spike_forward.npz", allow_pickle=False) as data:
        model = RateModel.load(reference / "rate_to_spike_model.mat")
        out = rate_outputs(model, data["fwd_go_nonoise_u"][np.newaxis])
        # Theirs ran in float32.
        np.testing.assert_allclose(out[0], data["fwd_go_nonoise_o"], rtol=0, atol=1e-5)


def test_activations():
    x = np.array([-1.0, 0.0, 3.0, 30.0])
    np.testing.assert_allclose(activate(x, "clipped_relu"), [0, 0, 3, 20])
    np.testing.assert_allclose(activate(x, "softplus"), np.minimum(np.log1p(np.exp(x)), 20))
    with pytest.raises(ValueError, match="use sigmoid"):
        activate(x, "tanh")


def test_masks_are_of_use_in_a_product():
    inh, exc, m, som = create_connectivity_masks(30, 0.3, som_N=2, seed=1)
    assert inh.sum() >= 2
    assert np.array_equal(exc, ~inh)
    w = np.ones((30, 30)) @ m * som
    first = np.flatnonzero(inh)[:2]
    assert not w[np.ix_(first, np.flatnonzero(inh))].any()
    assert np.all(w[:, exc] == 1)


def test_helpers():
    assert generate_lif_params(downsample=2)["dt"] == 1e-4
    assert validate_stimulus(np.zeros((2, 5)), " XOR")
    with pytest.raises(ValueError, match="2 rows"):
        validate_stimulus(np.zeros((1, 5)), "xor")
    assert validate_scaling_factor(np.float32(30))
    with pytest.warns(UserWarning, match="outside 1 to 1000"):
        validate_scaling_factor(0.5)
    with pytest.raises(ValueError, match="must be > 0"):
        validate_scaling_factor(-1)
    spk = np.zeros((3, 100))
    spk[2, [10, 30]] = spk[0, 20] = 1
    found = format_spike_data(spk, 0.001)
    assert found["spike_neurons"].tolist() == [0, 2, 2]
    np.testing.assert_allclose(found["spike_times"], [0.02, 0.01, 0.03])
    np.testing.assert_allclose(found["firing_rates"], [10, 0, 20])
    assert found["active_neurons"].tolist() == [0, 2]
