"""The mean field: reference values, limits, and the algebra behind the numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment
from scipy.special import erfcx

from bridge.mean_field import (
    Cell,
    LIFMeanField,
    classify_active_clusters,
    classify_fixed_point,
    critical_value,
    find_fixed_points,
    least_squares_potential,
    merge_solutions,
    path_potential,
    random_starts,
    reduced_landscape,
    siegert_rate,
    siegert_slopes,
    solve_runs,
    trace_branch,
)
from bridge.mean_field.landscape import Landscape

INPUTS = (
    "c_matrix", "j_matrix", "j_ext", "c_ext", "nu_ext", "tau_membrane", "tau_synaptic",
    "threshold", "reset_voltage", "tau_refractory",
)  # fmt: skip


def documented(**changes):
    """The two-population example of the documentation."""
    given = {
        "n_clusters": 2, "c_matrix": np.ones((2, 2), dtype=int), "j_matrix": np.full((2, 2), 0.1),
        "j_ext": np.array([2.3, 2.3]), "c_ext": np.array([320, 320]),
        "nu_ext": np.array([7.0, 7.0]),
        "tau_membrane": [0.02, 0.02], "tau_synaptic": [0.005, 0.005], "threshold": [1.5, 0.75],
        "reset_voltage": 0.0, "tau_refractory": 0.005,
    }  # fmt: skip
    return LIFMeanField(**(given | changes))


@pytest.fixture(scope="module")
def cases(reference):
    found = json.loads((reference / "clustered_mf_cases.json").read_text())["cases"]
    return {case["name"]: case for case in found}


def model_of(case):
    inputs = {name: np.array(case["inputs"][name]) for name in INPUTS}
    return LIFMeanField((len(inputs["j_ext"]) - 2) // 2, **inputs)


def test_the_response_and_its_slopes_are_those_of_the_reference(reference):
    with np.load(reference / "clustered_transfer.npz", allow_pickle=False) as d:
        cell = Cell(d["tau_m"], d["tau_s"], d["theta"], d["v_reset"], d["tau_ref"])
        rate, by_mu, by_sigma = siegert_slopes(d["mu"], d["sigma"], cell)
        seen = d["rate"] > 1e-100
        assert seen.sum() > 400
        # 30-digit values; 1e-12 leaves room for another machine's erfcx and exp.
        assert_allclose(rate[seen], d["rate"][seen], rtol=1e-12)
        assert_allclose(by_mu[seen], d["drate_dmu"][seen], rtol=1e-9)
        # One row is all but deterministic (sigma / mu = 1e-6): its slope is a small difference.
        assert_allclose(by_sigma[seen], d["drate_dsigma"][seen], rtol=1e-9)


@pytest.mark.parametrize("mu", [-3.0, 0.2, 1.4, 3.0, 30.0])
@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_the_response_is_the_integral(mu, sigma):
    cell = Cell(*map(np.asarray, (0.02, 0.005, 1.5, 0.0, 0.002)))
    shift = 1.0326265761156084 * 0.5
    alpha, beta = (1.5 - mu) / sigma + shift, -mu / sigma + shift
    if alpha > 20:
        assert siegert_rate(mu, sigma, cell) < 1e-100
        return
    integral, _ = quad(lambda z: np.sqrt(np.pi) * erfcx(-z), beta, alpha, epsrel=1e-12, limit=400)
    assert_allclose(siegert_rate(mu, sigma, cell), 1 / (0.002 + 0.02 * integral), rtol=1e-9)


def test_the_response_survives_every_regime_without_a_warning():
    cell = Cell(*map(np.asarray, (0.02, 0.005, 1.5, 0.0, 0.002)))
    mu = np.array([-1e9, -1e3, 1e3, 1e9, 0.0, 1.5, 0.0])
    sigma = np.array([1e-6, 1.0, 1e-6, 1.0, 1e9, 1e-6, 1e-6])
    rate, by_mu, by_sigma = siegert_slopes(mu, sigma, cell)
    for values in (rate, by_mu, by_sigma):
        assert np.all(np.isfinite(values))
    assert rate[0] == rate[1] == rate[6] == 0.0
    assert_allclose(rate[3], 500.0, rtol=1e-6)  # 1 / tau_ref


def test_the_noiseless_limit_is_the_textbook_interval():
    cell = Cell(*map(np.asarray, (0.02, 0.0, 1.5, 0.0, 0.002)))
    expected = 1.0 / (0.002 + 0.02 * np.log(3.0 / (3.0 - 1.5)))
    assert_allclose(siegert_rate(3.0, 1e-5, cell), expected, rtol=1e-8)


def test_slopes_are_differences_of_rates():
    cell = Cell(*map(np.asarray, (0.02, 0.005, 1.5, 0.0, 0.005)))
    mu, sigma, h = np.linspace(-1, 4, 21), 0.7, 1e-5
    _, by_mu, by_sigma = siegert_slopes(mu, sigma, cell)
    for slope, (a, b) in (
        (by_mu, (siegert_rate(mu + h, sigma, cell), siegert_rate(mu - h, sigma, cell))),
        (by_sigma, (siegert_rate(mu, sigma + h, cell), siegert_rate(mu, sigma - h, cell))),
    ):
        assert_allclose(slope, (a - b) / (2 * h), rtol=1e-6, atol=1e-7)


def test_the_documented_example():
    model = documented()
    sol = model.solve_rates()
    assert sol.success
    assert_allclose(sol.x, [188.2719, 193.9814], atol=5e-5)
    kind, values = model.determine_stability(sol.x)
    assert kind == "stable node"
    assert_allclose(values.real, [-0.99965466, -1.0], atol=5e-9)


def test_fixed_points_of_the_reference(cases):
    rng = np.random.default_rng(1)
    n = 0
    for case in cases.values():
        model = model_of(case)
        for point in case["fixed_points"]:
            nu = np.array(point["nu"])
            assert np.max(np.abs(model.response(nu) - nu)) < 1e-9
            mu, sigma = model.equations(nu)
            assert_allclose(mu, point["mu"], atol=1e-10)
            assert_allclose(sigma, point["sigma"], atol=1e-10)
            found = model.solve_rates(nu * (1 + 1e-3 * rng.standard_normal(len(nu))))
            assert found.success
            assert_allclose(found.x, nu, atol=1e-8)
            kind, values = model.determine_stability(nu)
            assert kind == point["type"], case["name"]
            expected = np.array([complex(*pair) for pair in point["eigenvalues"]])
            far = np.abs(expected[:, np.newaxis] - values)
            assert far[linear_sum_assignment(far)].max() < 1e-7
            if point["jacobian"] is not None:
                # of -nu + phi(nu), as its eigenvalues
                assert_allclose(np.array(point["jacobian"]), model.jacobian(nu), atol=1e-7)
            n += 1
    assert n >= 30


def test_many_starts_find_all_fixed_points_and_no_others(cases):
    names = [name for name in cases if name.startswith("two_cluster")]
    assert len(names) == 6
    for name in names:
        model = model_of(cases[name])
        starts = random_starts(60, model.n_populations, np.random.default_rng(3))
        found = find_fixed_points(model, starts)
        expected = np.array([point["nu"] for point in cases[name]["fixed_points"]])
        assert len(found) == len(expected), name
        for nu in expected:
            assert min(np.max(np.abs(one.nu - nu)) for one in found) < 1e-7


def test_every_start_of_a_run_is_accounted_for(cases):
    model = model_of(cases["two_cluster_default"])
    found = solve_runs(model, random_starts(40, 6, np.random.default_rng(0)))
    assert found["success"].all()
    assert found["multiplicity"].sum() == 40
    assert sorted(found["unique_type"]) == ["spiral saddle", "stable focus", "stable focus"]
    assert found["residual"].max() < 1e-9


def test_starts_in_blocks_come_to_the_same(cases, monkeypatch):
    model = model_of(cases["two_cluster_default"])
    starts = random_starts(40, 6, np.random.default_rng(1))
    whole = solve_runs(model, starts)
    monkeypatch.setattr("bridge.mean_field.newton._DERIVATIVES_AT_ONCE", 1)
    blocks = solve_runs(model, starts)
    # Products of matrices of other shapes round otherwise.
    assert_allclose(blocks["fixed_point"], whole["fixed_point"], rtol=1e-10)
    for name in ("success", "type", "unique_type", "multiplicity"):
        assert np.array_equal(blocks[name], whole[name]), name


def test_a_start_that_leads_nowhere_is_no_solution():
    model = documented()
    found = solve_runs(model, np.array([[np.nan, 1.0], [1.0, 1.0]]))
    assert found["success"].tolist() == [False, True]
    assert np.isnan(found["fixed_point"][0]).all()
    assert found["type"].tolist() == ["not converged", "stable node"]
    assert len(found["unique_fixed_points"]) == 1


def test_pairs_are_expanded_by_type_and_vectors_taken_as_they_are():
    ones = np.ones((6, 6))
    model = LIFMeanField(2, ones, ones, 1.0, 1.0, [5.0, 7.0], 0.02, 0.005, [1.5, 0.75], 0.0)
    assert model.threshold.tolist() == [1.5] * 3 + [0.75] * 3
    assert model.nu_ext.tolist() == [5.0] * 3 + [7.0] * 3
    assert documented().threshold.tolist() == [1.5, 0.75]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": [1.0, 2.0, 3.0]}, "threshold"),
        ({"tau_membrane": 0.0}, "tau_membrane"),
        ({"j_matrix": np.ones((2, 3))}, "square"),
        ({"c_matrix": np.ones((3, 3))}, "must be equal"),
        ({"c_matrix": -np.ones((2, 2))}, "counts synapses"),
        ({"reset_voltage": 2.0}, "below its threshold"),
        ({"nu_ext": [np.nan, 1.0]}, "nu_ext must be finite"),
    ],
)
def test_impossible_models_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        documented(**change)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([-1, -2], "stable node"), ([-1 + 1j, -1 - 1j], "stable focus"), ([1, 2], "unstable node"),
        ([1 + 1j, 1 - 1j], "unstable focus"), ([1, -1], "saddle"),
        ([1, -1 + 1j, -1 - 1j], "spiral saddle"), ([0, -1], "marginal"), ([0, -1, 1], "saddle"),
        ([np.nan, 1], "undefined"), ([-1 + 1e-7j, -1 - 1e-7j], "stable node"),
    ],
)  # fmt: skip
def test_types_of_fixed_points(values, kind):
    assert classify_fixed_point(np.array(values, dtype=complex)) == kind


def test_merging_counts_duplicates():
    rows = np.array([[1.0, 2.0], [1.0 + 1e-9, 2.0], [3.0, 1.0], [1.0, 2.0]])
    unique, counts, which = merge_solutions(rows)
    assert unique.tolist() == [[1.0, 2.0], [3.0, 1.0]]
    assert counts.tolist() == [3, 1]
    assert which.tolist() == [0, 0, 1, 0]


def test_active_clusters_are_told_from_inactive_ones():
    found = classify_active_clusters([[50.0, 2.0], [2.0, 52.0], [20.0, 20.5]])
    assert found == {"active": 51.0, "inactive": 2.0, "uniform": 20.25}


# --- landscapes ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden(reference):
    with np.load(reference / "clustered_landscape.npz", allow_pickle=False) as d:
        return {name: d[name] for name in d.files}


@pytest.fixture(scope="module")
def landscape(golden):
    model = LIFMeanField(2, **{name: golden[name] for name in INPUTS})
    return model, reduced_landscape(model, [0, 1], [golden["nu0"], golden["nu1"]])


def test_the_landscape_of_the_reference(golden, landscape):
    _, found = landscape
    outs = found.nu_outs.reshape(30, 30, 6)
    assert found.converged.all()
    assert_allclose(outs[..., :2], golden["phi_eff"], atol=1e-8)
    assert_allclose(outs[..., 2:], golden["ambient"], atol=1e-8)
    assert_allclose(found.force, golden["force"], atol=1e-8)
    along = path_potential(found)
    assert_allclose(along.path, golden["path"])
    assert_allclose(along.potential, golden["potential"], atol=1e-8)
    assert_allclose(along.displacement, golden["displacement"], atol=1e-8)
    smooth = path_potential(found, rule="trapezoid")
    assert_allclose(smooth.potential, golden["potential_trapezoid"], atol=1e-8)


def test_focus_populations_in_any_order_on_any_grid(landscape):
    model, found = landscape
    other = reduced_landscape(model, [1, 0], [np.arange(0, 20, 2.0), np.arange(0, 30, 2.0)])
    assert other.force.shape == (10, 15, 2)
    assert_allclose(other.force[..., ::-1], found.force[:15, :10].transpose(1, 0, 2), atol=1e-8)


def test_the_force_vanishes_at_the_fixed_points(golden, landscape):
    model, _ = landscape
    for nu in find_fixed_points(model, random_starts(40, 6, np.random.default_rng(2))):
        rates = model.effective_response_function([1, 3], nu.nu)
        assert_allclose(rates, nu.nu, atol=1e-8)


def test_a_force_with_a_potential_is_given_it_back():
    x, y = np.arange(0, 9.0), np.arange(0, 6.0)
    gx, gy = np.meshgrid(x, y, indexing="ij")
    surface = (gx - 3) ** 2 + 0.5 * gx * gy + 2 * (gy - 2) ** 2
    force = -np.stack([2 * (gx - 3) + 0.5 * gy, 0.5 * gx + 4 * (gy - 2)], axis=-1)
    found = Landscape((0, 1), (x, y), np.zeros((54, 2)), np.zeros((54, 2)), force,
                      np.ones((9, 6), dtype=bool))  # fmt: skip
    potential, remainder = least_squares_potential(found)
    # The trapezoid rule is exact for a quadratic surface.
    assert_allclose(potential, surface - surface.min(), atol=1e-9)
    assert remainder < 1e-12
    turning = np.stack([-(gy - 2.5), gx - 4], axis=-1)
    swirl = Landscape((0, 1), (x, y), found.mesh, found.nu_outs, turning, found.converged)
    assert least_squares_potential(swirl)[1] > 0.5


@pytest.mark.parametrize(
    ("focus", "axes", "words"),
    [
        ([0, 0], [[0, 1], [0, 1]], "each once"),
        ([0, 9], [[0, 1], [0, 1]], "populations are 0 to 5"),
        ([0, 1], [[0, 1]], "as many axes"),
        ([0, 1], [[1, 0], [0, 1]], "ascending"),
    ],
)
def test_impossible_landscapes_are_refused(landscape, focus, axes, words):
    with pytest.raises(ValueError, match=words):
        reduced_landscape(landscape[0], focus, axes)


# --- continuation -------------------------------------------------------------------------


def fold(value):
    """A population that excites itself: two folds over its external rate."""
    return LIFMeanField(1, [[100.0]], [[0.012]], 0.02, 400.0, value, 0.02, 0.005, 1.0, 0.0, 0.005)


def test_a_branch_is_followed_through_its_folds():
    low = fold(4.5).solve_rates([0.0])
    branch = trace_branch(fold, 4.5, low.x, limits=(3.5, 6.0), step=0.1)
    assert branch.values[-1] == 6.0
    turns = np.flatnonzero(np.diff(np.sign(np.diff(branch.values))) != 0)
    assert len(turns) == 2, "there are two folds"
    middle = branch.fixed_points[(turns[0] + turns[1]) // 2 + 1]
    assert not middle.stable
    assert branch.fixed_points[0].stable
    assert branch.fixed_points[-1].stable
    for value, point in zip(branch.values, branch.fixed_points, strict=True):
        assert np.max(np.abs(fold(value).response(point.nu) - point.nu)) < 1e-8


def test_a_change_of_stability_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="does not change"):
        critical_value(fold, (3.5, 3.6), [0.0])
