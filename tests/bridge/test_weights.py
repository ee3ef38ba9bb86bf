"""Weights: what the container refuses, what a backend gets, and how they are drawn."""

from __future__ import annotations

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bridge.network.spec import CubaSpec, LayerSpec, PingSpec, SynapseSpec, ei_layer
from bridge.network.weights import (
    CUBA_DRAW,
    DrawRule,
    WeightDraw,
    Weights,
    draw_weights,
    effective,
    ei_draw,
    on_exact_grid,
)

PING = PingSpec(n_in=6, layers=(ei_layer(8, 2), ei_layer(4, 3)), n_classes=5)
SIGNED_PING = PingSpec(n_in=300, layers=(ei_layer(200, 50),), dales_law=False)
CUBA = CubaSpec(n_in=6, n_exc=8, n_inh=2, n_classes=5)
ZERO = DrawRule(0.0, 0.0)


def numbered(spec):
    """Return distinct entries of both signs for every matrix of a network."""
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape) for name, shape in spec.matrix_shapes.items()}


def ping_draw(**rules):
    w_ei, w_ie = ei_draw(1.0, 2.0)
    return WeightDraw(**({"w_in": DrawRule(0.3, 0.06, 0.5), "w_ei": w_ei, "w_ie": w_ie} | rules))


# ---- container -------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [PING, CUBA])
def test_container_keeps_every_entry_and_the_order_of_the_spec(spec):
    given_matrices = numbered(spec)
    weights = Weights.for_spec(spec, dict(reversed(given_matrices.items())))
    assert list(weights) == list(spec.matrix_shapes)
    assert len(weights) == len(given_matrices)
    for name, matrix in given_matrices.items():
        np.testing.assert_array_equal(weights[name], matrix)


def test_unit_follows_the_model():
    assert Weights.for_spec(PING, numbered(PING)).unit == "uS"
    assert Weights.for_spec(CUBA, numbered(CUBA)).unit == "1"


def test_absent_optional_matrices_are_zero():
    needed = {n: m for n, m in numbered(PING).items() if n not in PING.optional_matrices}
    weights = Weights.for_spec(PING, needed)
    assert weights["W_ei_1"].shape == (8, 2)
    assert not weights["W_ei_1"].any()
    assert weights["W_in"].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_ie_3": np.zeros((2, 8))}, r"no matrix 'W_ie_3' \(nearest: W_ie_"),
        ({"w_in": np.zeros((6, 8))}, r"'w_in' \(nearest: W_in\)"),
        ({"W_in": np.zeros((8, 6))}, r"\(8, 6\); this network needs \(6, 8\).*transposed"),
        ({"W_ei_1": np.zeros((8, 3))}, r"W_ei_1 has shape \(8, 3\); this network needs \(8, 2\)"),
        ({"W_out": np.full((4, 5), "x")}, "W_out has entries of type <U1"),
        ({"W_out": np.zeros((4, 5), complex)}, "W_out has entries of type complex128"),
    ],
)
def test_container_refuses_what_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        Weights.for_spec(PING, numbered(PING) | change)


def test_missing_matrices_are_named():
    with pytest.raises(ValueError, match="lack W_ff_1to2, W_out"):
        Weights.for_spec(PING, {"W_in": np.zeros((6, 8))})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_entry_is_named_by_its_first_index(bad):
    matrices = numbered(PING)
    matrices["W_ie_2"][1, 3] = matrices["W_ie_2"][2, 0] = bad
    with pytest.raises(ValueError, match=r"W_ie_2\[1, 3\] = (nan|inf|-inf)"):
        Weights.for_spec(PING, matrices)


def test_entries_cannot_change_from_inside_or_outside():
    matrices = numbered(PING)
    weights = Weights.for_spec(PING, matrices)
    before = weights["W_in"][0, 0]
    matrices["W_in"][0, 0] += 1
    assert weights["W_in"][0, 0] == before
    with pytest.raises(ValueError, match="read-only"):
        weights["W_in"][0, 0] = 1
    with pytest.raises(TypeError):
        weights.matrices["W_in"] = matrices["W_in"]


def test_copies_and_pickles_are_equal_and_read_only():
    weights = Weights.for_spec(PING, numbered(PING))
    for other in (copy.deepcopy(weights), pickle.loads(pickle.dumps(weights))):
        assert other == weights
        assert not other["W_in"].flags.writeable


def test_equality_goes_by_every_entry_and_the_unit():
    weights = Weights.for_spec(PING, numbered(PING))
    assert weights.equals(Weights.for_spec(PING, numbered(PING)))
    moved = weights["W_out"].copy()
    moved[-1, -1] = np.nextafter(moved[-1, -1], 9)
    assert weights != weights.replace(W_out=moved)
    assert weights != Weights(weights, unit="1")
    assert weights != Weights({n: m for n, m in weights.items() if n != "W_ii_2"})


def test_replace_and_scaled_change_one_matrix_only():
    weights = Weights.for_spec(PING, numbered(PING))
    scaled = weights.scaled("W_out", 100.0)
    np.testing.assert_array_equal(scaled["W_out"], weights["W_out"] * 100.0)
    assert scaled.replace(W_out=weights["W_out"]) == weights
    with pytest.raises(ValueError, match=r"W_in has shape \(2, 2\); it must stay \(6, 8\)"):
        weights.replace(W_in=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"no matrix 'W_ut'.*nearest: W_out"):
        weights.scaled("W_ut", 2.0)
    with pytest.raises(ValueError, match="factor of W_out = nan"):
        weights.scaled("W_out", math.nan)


# ---- what a backend gets ---------------------------------------------------------------------


def test_dale_clamps_every_matrix_of_a_conductance_network():
    used = Weights.for_spec(PING, numbered(PING)).used(PING)
    for name, matrix in numbered(PING).items():
        np.testing.assert_array_equal(used[name], np.maximum(matrix, 0))


def test_dale_clamps_only_the_input_of_a_current_network():
    weights = Weights.for_spec(CUBA, numbered(CUBA))
    used = weights.used(CUBA)
    np.testing.assert_array_equal(used["W_in"], np.maximum(weights["W_in"], 0))
    assert used.replace(W_in=weights["W_in"]) == weights


def test_without_dale_nothing_is_clamped():
    spec = PingSpec(n_in=6, layers=PING.layers, n_classes=5, dales_law=False)
    weights = Weights.for_spec(spec, numbered(spec))
    assert weights.used(spec) == weights


@pytest.mark.parametrize("dt_ms", [0.1, 0.25, 1.0])
def test_kick_decay_premultiplies_recurrent_matrices(dt_ms):
    synapses = SynapseSpec(tau_ampa_ms=2.0, tau_gaba_ms=9.0, order="kick-decay")
    spec = PingSpec(n_in=6, layers=PING.layers, n_classes=5, synapses=synapses)
    plain = effective(numbered(PING), PING, dt_ms)
    kicked = effective(numbered(spec), spec, dt_ms)
    for name in plain:
        tau = {"W_ee": 2.0, "W_ei": 2.0, "W_ie": 9.0, "W_ii": 9.0}.get(name[:4], math.inf)
        expected = plain[name] * math.exp(-dt_ms / tau)
        np.testing.assert_allclose(kicked[name], expected, rtol=0, atol=2**-44)  # one grid step
        if tau == math.inf:
            np.testing.assert_array_equal(kicked[name], plain[name])


def test_kick_decay_kernel_is_decay_add_with_effective_weights():
    synapses = SynapseSpec(order="kick-decay")
    spec = PingSpec(n_in=1, layers=(LayerSpec(n_exc=1, n_inh=1),), synapses=synapses)
    w_ie, decay, spikes = 0.7, math.exp(-0.25 / 9.0), [1, 0, 0, 1, 1, 0]
    weights = {"W_in": [[1.0]], "W_out": np.ones((1, 10)), "W_ie_1": [[w_ie]]}
    w_eff = effective(weights, spec, 0.25)["W_ie_1"][0, 0]
    published = ours = 0.0
    for spike in spikes:
        published = (published + spike * w_ie) * decay
        ours = ours * decay + spike * w_eff
    assert abs(ours - published) < 6 * 2**-44  # one grid step a spike, and rounding


def test_effective_checks_weights_and_step():
    with pytest.raises(ValueError, match="W_in has shape"):
        effective(numbered(PING) | {"W_in": np.zeros((1, 1))}, PING, 0.1)
    with pytest.raises(ValueError, match="dt = 0"):
        effective(numbered(PING), PING, 0.0)


GRID = arrays(np.float64, st.integers(1, 9), elements=st.floats(-50, 50))


@given(GRID)
def test_grid_moves_entries_by_half_a_step_and_then_rests(w):
    on_grid = on_exact_grid(w)
    assert np.abs(on_grid - w).max() <= 2.0**-45
    np.testing.assert_array_equal(on_exact_grid(on_grid), on_grid)


@given(GRID, st.randoms(use_true_random=False))
def test_sums_on_the_grid_do_not_depend_on_order(w, rng):
    terms = on_exact_grid(w).tolist()  # magnitudes add up to less than 9 * 50 < 2**9
    shuffled = rng.sample(terms, len(terms))
    forward, back = 0.0, 0.0
    for a, b in zip(terms, shuffled, strict=True):
        forward, back = forward + a, back + b
    assert forward == back == math.fsum(terms)


def test_sums_off_the_grid_do_depend_on_order():
    terms = np.random.default_rng(0).normal(size=6).tolist()
    sums = {sum(p) for p in itertools.permutations(terms)}
    assert len(sums) > 1  # else the grid, and the test above, would be pointless
    assert len({sum(p) for p in itertools.permutations(on_exact_grid(terms).tolist())}) == 1


@given(
    arrays(np.float32, 20, elements=st.floats(2.0**-20, 8.0, width=32)),
    arrays(np.int8, 20, elements=st.sampled_from([-1, 1])),
)
def test_float32_weights_are_on_the_grid_already(w, sign):
    w = w * sign
    np.testing.assert_array_equal(on_exact_grid(w), w.astype(np.float64))


def test_grid_leaves_huge_entries_and_signed_zero_alone():
    np.testing.assert_array_equal(on_exact_grid([512.1, -1e300]), [512.1, -1e300])
    assert math.copysign(1.0, on_exact_grid([-1e-30])[0]) == 1.0


# ---- draws -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ((1.0, -0.1), "std = -0.1 must be >= 0"),
        ((1.0, 0.1, 1.0), r"sparsity = 1 must lie in \[0, 1\)"),
        ((1.0, 0.1, -0.1), "sparsity = -0.1"),
        ((math.nan, 0.1), "mean = nan"),
        ((1.0, math.inf), "std = inf"),
    ],
)
def test_impossible_draw_rules_are_refused(rule, message):
    with pytest.raises(ValueError, match=message):
        DrawRule(*rule)


def test_strength_and_ratio_give_means_and_a_tenth_of_them():
    w_ei, w_ie = ei_draw(1.5, 2.0, sparsity=0.2)
    assert (w_ei.mean, w_ie.mean) == (1.5, 3.0)
    assert w_ei.std == pytest.approx(0.15, rel=1e-12)
    assert w_ie.std == pytest.approx(0.3, rel=1e-12)
    assert w_ei.sparsity == w_ie.sparsity == 0.2
    with pytest.raises(ValueError, match="ei_strength = -1"):
        ei_draw(-1.0, 2.0)


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**63])
def test_illegal_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed = "):
        draw_weights(PING, ping_draw(), seed=seed)


def test_unknown_source_is_refused():
    with pytest.raises(ValueError, match="source = 'cupy'"):
        draw_weights(PING, ping_draw(), seed=1, source="cupy")


def test_sparse_loop_of_a_current_network_is_refused():
    draw = WeightDraw(w_in=DrawRule(0, 0.5), w_ei=DrawRule(1, 0.1, 0.2), w_ie=DrawRule(1, 0.1))
    with pytest.raises(ValueError, match=r"w_ei sparsity = 0\.2"):
        draw_weights(CUBA, draw, seed=1)


@pytest.mark.parametrize("source", ["numpy", "torch"])
@pytest.mark.parametrize("spec", [PING, CUBA])
def test_same_seed_same_weights_other_seed_other_weights(spec, source):
    if source == "torch":
        pytest.importorskip("torch")
    draw = ping_draw() if spec is PING else CUBA_DRAW
    weights = draw_weights(spec, draw, seed=7, source=source)
    assert weights == draw_weights(spec, draw, seed=7, source=source)
    other = draw_weights(spec, draw, seed=8, source=source)
    for name in ("W_in", "W_out", "W_ei_1", "W_ie_1"):
        assert not np.array_equal(weights[name], other[name])


def test_seed_keeps_its_meaning():
    # Pins the streams: a changed order of names or draws would change every recorded run.
    w = draw_weights(PING, ping_draw(), seed=42)["W_in"]
    rng = np.random.default_rng(np.random.SeedSequence(42, spawn_key=(0, 0)))
    values, kept = rng.standard_normal((6, 8)), rng.random((6, 8)) > 0.5
    expected = np.maximum(0.3 + 0.06 * values, 0) * kept / (0.5 * 6)
    np.testing.assert_allclose(w, expected, rtol=1e-14)  # rounding of one division


def test_matrices_have_streams_of_their_own():
    base = draw_weights(PING, ping_draw(), seed=3)
    ee_on = draw_weights(PING, ping_draw(w_ee=DrawRule(1.0, 0.5)), seed=3)
    assert ee_on["W_ee_1"].any()
    assert ee_on.replace(W_ee_1=base["W_ee_1"], W_ee_2=base["W_ee_2"]) == base
    open_loop = PingSpec(n_in=6, layers=(LayerSpec(n_exc=8), LayerSpec(n_exc=4)), n_classes=5)
    without = draw_weights(open_loop, ping_draw(), seed=3)
    assert all(np.array_equal(without[name], base[name]) for name in without)
    flat = [base[n].ravel()[:4].tolist() for n in ("W_ei_1", "W_ei_2")]
    assert flat[0] != flat[1]


def test_sparsity_keeps_the_values_of_what_stays():
    dense = draw_weights(PING, ping_draw(w_ei=DrawRule(1.0, 0.1)), seed=3)["W_ei_1"]
    half = draw_weights(PING, ping_draw(w_ei=DrawRule(1.0, 0.1, 0.5)), seed=3)["W_ei_1"]
    kept = half > 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_allclose(half[kept] * 0.5, dense[kept], rtol=1e-14)


def test_mean_is_the_total_conductance_of_a_cell_whatever_the_sparsity():
    spec = PingSpec(n_in=400, layers=(ei_layer(250, 60),))
    for sparsity in (0.0, 0.8):
        draw = ping_draw(w_in=DrawRule(1.5, 0.3, sparsity))
        totals = draw_weights(spec, draw, seed=11)["W_in"].sum(axis=0)
        # 1e5 entries: sd of an entry / mean is sqrt((1 + 0.04) / (1 - q) - 1), over sqrt(1e5).
        sd = 1.5 * math.sqrt(1.04 / (1 - sparsity) - 1) / math.sqrt(1e5)
        assert abs(totals.mean() - 1.5) < 4.5 * sd  # false alarm 7e-6 for a new seed


def test_absent_share_is_the_sparsity():
    spec = PingSpec(n_in=400, layers=(ei_layer(250, 60),))
    w = draw_weights(spec, ping_draw(w_in=DrawRule(1.5, 0.3, 0.95)), seed=11)["W_in"]
    absent = 1 - np.count_nonzero(w) / w.size
    assert abs(absent - 0.95) < 4.5 * math.sqrt(0.95 * 0.05 / w.size)  # false alarm 7e-6


@pytest.mark.parametrize("source", ["numpy", "torch"])
def test_dale_decides_the_sign_of_feed_forward_draws(source):
    if source == "torch":
        pytest.importorskip("torch")
    draw = ping_draw(
        w_in=DrawRule(0.0, 1.0), w_ff=DrawRule(0.0, 1.0), w_ei=DrawRule(0.0, 1.0), w_ie=ZERO
    )
    with_dale = PingSpec(n_in=300, layers=SIGNED_PING.layers)
    clamped = draw_weights(with_dale, draw, seed=5, source=source)
    signed = draw_weights(SIGNED_PING, draw, seed=5, source=source)
    for name in ("W_in", "W_out"):
        assert signed[name].min() < 0
        np.testing.assert_array_equal(clamped[name], np.maximum(signed[name], 0))
    assert signed["W_ei_1"].min() == 0  # recurrent conductances are never negative
    assert signed["W_ei_1"].any()


@pytest.mark.parametrize("source", ["numpy", "torch"])
def test_current_network_draw_is_not_normalised(source):
    if source == "torch":
        pytest.importorskip("torch")
    spec = CubaSpec(n_in=300, n_exc=400, n_inh=100)
    w = draw_weights(spec, CUBA_DRAW, seed=5, source=source)
    assert w["W_in"].min() >= 0
    assert w["W_out"].min() < 0 < w["W_out"].max()
    assert not w["b_out"].any()
    half_normal = 0.5 * math.sqrt(2 / math.pi)
    # 4.5 standard errors each: false alarm 7e-6 for a new seed.
    assert abs(w["W_in"].mean() - half_normal) < 4.5 * 0.5 * math.sqrt(1 - 2 / math.pi) / 346
    assert abs(w["W_ei_1"].mean() - 1.0) < 4.5 * 0.1 / 200
    assert abs(w["W_out"].std() - 0.05) < 4.5 * 0.05 / math.sqrt(2 * 4000)


def test_network_without_inhibition_draws_the_same_input():
    noping = CubaSpec(n_in=6, n_exc=8, n_inh=0, n_classes=5)
    without = draw_weights(noping, CUBA_DRAW, seed=2)
    assert set(without) == {"W_in", "W_out", "b_out"}
    both = draw_weights(CUBA, CUBA_DRAW, seed=2)
    np.testing.assert_array_equal(without["W_in"], both["W_in"])
    np.testing.assert_array_equal(without["W_out"], both["W_out"])
