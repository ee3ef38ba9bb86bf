"""Couplings, connectivity, perturbations and spikes of clustered networks."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix
from scipy.stats import poisson

from bridge.clustered.connectivity import in_degree
from bridge.clustered.coupling import perturb_couplings
from bridge.clustered.external import count_table
from bridge.clustered.waveforms import waveform
from sim_brian.clustered.lif_model import step_factors
from sim_brian.engine.program import EngineOptions
from studies.clustered import (
    CirculantPerturbation,
    ExternalDrive,
    LIFNet,
    StageSNNSimulation,
    StimulusGenerator,
    VectorialPerturbation,
    arousal_gain,
    generate_clustered_weight_matrix,
    repeat_seeds,
    setup_matrices,
)

NUMPY = EngineOptions(target="numpy")


def matrices(inputs):
    inputs = dict(inputs)
    arousal = inputs.pop("arousal")
    gain = arousal_gain(arousal["level"], x_0=arousal["x_0"], k=arousal["k"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes that do not divide: tested below
        return gain, setup_matrices(ee_factor=1.0 - arousal["L"] * gain, **inputs)


def read(reference, name):
    return json.loads((reference / f"clustered_{name}.json").read_text())


def test_couplings_of_the_reference(reference):
    cases = read(reference, "matrices")["cases"]
    assert len(cases) == 6
    for case in cases:
        gain, (plan, j, p) = matrices(case["inputs"])
        assert_allclose(gain, case["gain"], rtol=1e-12)
        assert plan.sizes.tolist() == case["sizes"]
        assert plan.boundaries.tolist() == case["boundaries"]
        assert_allclose(j, case["j_matrix_post_pre"], rtol=1e-12)
        assert_allclose(p, case["p_matrix_post_pre"], rtol=1e-12)
        assert in_degree(p, plan.sizes).tolist() == case["in_degree_post_pre"]


def test_arousal_gain(reference):
    for row in read(reference, "components")["arousal_gain"]:
        gain = arousal_gain(row["level"], x_0=row["x_0"], k=row["k"])
        assert_allclose(gain, row["gain"], rtol=1e-12)
    assert arousal_gain(0.5, x_0=0.2, k=1.25) == pytest.approx(0.2, rel=1e-13)
    assert arousal_gain(1.0, x_0=0.2, k=1.25) == 1.0
    levels = [arousal_gain(x, x_0=0.3, k=2.0) for x in np.linspace(0, 1, 21)]
    assert np.all(np.diff(levels) > 0)


def test_perturbation_vectors(reference):
    for case in read(reference, "components")["vectorial"]:
        made = VectorialPerturbation(
            *case["vectors"], length=case["length"], involved_clusters=case["involved_clusters"]
        )
        mask = case["time_mask"]
        coefficients = case["params"] if mask is None else [np.outer(case["params"], mask)]
        assert_allclose(made.get_perturbation(*coefficients), case["result"], rtol=1e-12)


def test_values_belong_to_the_indices_they_are_paired_with():
    made = VectorialPerturbation([1.0, 2.0], length=4, involved_clusters=[[3, 0]])
    assert made.get_perturbation(1.0).tolist() == [2.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("vectors", "involved", "words"),
    [
        ([[1, 1]], [[0, 1, 2]], "2 values for 3 populations"),
        ([[1, 1]], [[0, 6]], "populations are 0 to 5"),
        ([[1, 1]], [[2, 2]], "twice"),
        ([[1, 1, 1]], None, "3 values for 6 populations"),
    ],
)
def test_vectors_that_do_not_fit(vectors, involved, words):
    with pytest.raises(ValueError, match=words):
        VectorialPerturbation(*vectors, length=6, involved_clusters=involved)


def test_circulant_perturbation():
    matrix = CirculantPerturbation(6, 3, 3).get_perturbation(0.5, -0.25)
    assert [matrix[i, (i + 1) % 3] for i in range(3)] == [1.5] * 3
    assert [matrix[i, 3 + (i - 1) % 3] for i in range(3)] == [0.75] * 3
    assert (matrix == 1).sum() == 30


def test_perturbed_couplings(reference):
    case = read(reference, "components")["coupling"]
    _, (plan, j, _) = matrices(case["inputs"])
    base = np.array(case["delta_j_baseline"])
    plus = np.array(case["delta_j_potentiated"])
    q = plan.n_clusters
    for given, name in (
        ({}, "j_matrix"), ({"j_baseline": base}, "j_after_baseline"),
        ({"j_potentiated": plus}, "j_after_potentiated"),
        ({"j_baseline": base, "j_potentiated": plus}, "j_after_both"),
    ):  # fmt: skip
        assert_allclose(perturb_couplings(j, given, q), case[name], rtol=1e-12)


def test_seeds_of_repeats(reference):
    for seed, expected in read(reference, "components")["repeat_seeds"].items():
        assert repeat_seeds(int(seed), len(expected)) == expected


def test_stimulus_waveforms(reference):
    with np.load(reference / "clustered_stimulus.npz", allow_pickle=False) as d:
        for shape, number in (("box", 1), ("linear", 2), ("diff2exp", 3)):
            for word in (shape, number):
                made = waveform(
                    word, onsets_s=d["onsets"], duration_s=float(d["duration"]),
                    amplitude=float(d["amplitude"]), n_steps=int(d["n_steps"]),
                    dt_s=float(d["dt"]), tau_rise_s=float(d["tau_rise"]),
                    tau_decay_s=float(d["tau_decay"]),
                )  # fmt: skip
                assert_allclose(made, d[shape], atol=1e-12)


def test_the_stimulus_takes_whole_clusters_and_whole_neurons():
    rng = np.random.default_rng(0)
    edges = [0, 10, 20, 30, 40, 50]
    made = StimulusGenerator(edges, 4, clusters_prob=0.7, neuron_prob=0.3, rng=rng)
    assert len(made.clusters) == 2
    assert len(made.neurons) == 6
    assert made.stimulated.sum() == 6
    assert set(made.neurons // 10) <= set(made.clusters)


def test_connectivity_of_the_default_network(reference):
    expected = read(reference, "connectivity_stats")
    stager = StageSNNSimulation("configs/default_snn_params.yaml")
    plan, weights = stager.network.layout, stager.weights()
    assert weights.diagonal().any() == 0
    # Entries are certain but for self-hits, 288 +- 17 in the E clusters: five sigma of all.
    assert abs(weights.nnz - expected["whole_matrix"]["nnz"]) < 150
    degree = in_degree(stager.network.p, plan.sizes)
    dense = weights.toarray()
    edges = plan.boundaries
    spread, self_hits = [], 0
    for a in range(plan.n_populations):
        for b in range(plan.n_populations):
            block = dense[edges[a] : edges[a + 1], edges[b] : edges[b + 1]]
            row = (block != 0).sum(axis=1)
            n, m = block.shape
            if a != b:
                assert np.all(row == degree[a, b])
                assert np.all(block[block != 0] == stager.network.j[a, b])
            elif a < 18:
                self_hits += n * degree[a, b] - row.sum()
            if a != b and a < 18 and b < 18:
                share = degree[a, b] / m
                spread.append((block != 0).sum(axis=0).var(ddof=1) / (n * share * (1 - share)))
    # 306 blocks of 80 columns: relative error sqrt(2 / 79 / 306) = 0.009; self-hits sd 15
    assert abs(np.mean(spread) - 1.0) < 0.05
    assert abs(self_hits - 288) < 60
    for block in expected["blocks"]:
        a, b = block["receiving"], block["sending"]
        assert degree[a, b] == block["k"]
        assert_allclose(stager.network.j[a, b], block["weight"], rtol=1e-12)


def test_the_same_generator_gives_the_same_matrix():
    given = ([0, 4, 10], [[0.5, 0.5], [0.25, 1.0]], [[1.0, -1.0], [2.0, 0.5]])
    one = generate_clustered_weight_matrix(*given, np.random.default_rng(5))
    other = generate_clustered_weight_matrix(*given, np.random.default_rng(5))
    assert (one != other).nnz == 0
    with pytest.raises(ValueError, match=r"probability 1\.5 must lie between 0 and 1"):
        generate_clustered_weight_matrix(
            [0, 4, 10], [[0.5, 1.5], [0, 0]], given[2], np.random.default_rng(5)
        )


def golden_net(d, mechanism, **changes):
    n, dt = int(d["n_neurons"]), float(d["dt"])
    weights = csr_matrix((d["w_data"], d["w_indices"], d["w_indptr"]), shape=(n, n))
    given = {
        "tau_membrane": d["tau_membrane"], "tau_synaptic": d["tau_synaptic"],
        "tau_refractory": d["refractory_steps"] * dt, "threshold": d["threshold"],
        "reset_voltage": d["reset"], "delta_t": dt, "mechanism": mechanism,
    } | changes  # fmt: skip
    return LIFNet(weights, d["j_ext"], **given)


def golden_input(d):
    given = {"external_counts": d["ext_counts"]}
    if "stim_on" in d:
        wave = np.zeros(len(d["ext_counts"]))
        wave[int(d["stim_on"]) : int(d["stim_off"])] = d["stim_amplitude"]
        chosen = np.zeros(int(d["n_neurons"]), dtype=bool)
        chosen[d["stim_neurons"]] = True
        given |= {"stimulus": wave, "stimulated": chosen}
    return given


@pytest.mark.parametrize("target", ["numpy", "cpp"])
@pytest.mark.parametrize("name", ["small", "hetero"])
def test_spikes_of_the_reference(reference, name, target):
    with np.load(reference / f"clustered_snn_{name}.npz", allow_pickle=False) as d:
        for mechanism in ("analytic", "euler"):
            net = golden_net(d, mechanism)
            run = net.run(
                **golden_input(d), record=("v", "current"), recorded=d["recorded"],
                engine=EngineOptions(target=target),
            )  # fmt: skip
            np.testing.assert_array_equal(run.step, d[f"{mechanism}_step"])
            np.testing.assert_array_equal(run.neuron, d[f"{mechanism}_neuron"])
            # The smallest distance to threshold in the files is above 1e-6.
            assert_allclose(run.v_final, d[f"{mechanism}_v_final"], atol=1e-10)
            assert_allclose(run.current_final, d[f"{mechanism}_i_final"], atol=1e-10)
            assert_allclose(run.v, d[f"{mechanism}_v_trace"], atol=1e-10)
            assert_allclose(run.current, d[f"{mechanism}_i_trace"], atol=1e-10)


def test_a_stimulus_may_be_given_neuron_by_neuron(reference):
    with np.load(reference / "clustered_snn_hetero.npz", allow_pickle=False) as d:
        given = golden_input(d)
        given["stimulus"] = np.outer(given["stimulus"], given.pop("stimulated"))
        run = golden_net(d, "analytic").run(**given, engine=NUMPY)
        np.testing.assert_array_equal(run.neuron, d["analytic_neuron"])


def test_a_run_starts_afresh_or_goes_on(reference):
    with np.load(reference / "clustered_snn_small.npz", allow_pickle=False) as d:
        net, counts = golden_net(d, "analytic"), d["ext_counts"]
        first = net.run(external_counts=counts[:400], engine=NUMPY)
        second = net.run(external_counts=counts[400:], restart=False, engine=NUMPY)
        np.testing.assert_array_equal(
            np.concatenate([first.step, second.step + 400]), d["analytic_step"]
        )
        again = net.run(external_counts=counts[:400], engine=NUMPY)
        np.testing.assert_array_equal(again.step, first.step)


def single(**changes):
    given = {"j_ext": 1.0, "tau_membrane": 0.02, "tau_synaptic": 0.005, "tau_refractory": 0.0024,
             "threshold": 1.0, "delta_t": 1e-3} | changes  # fmt: skip
    return LIFNet(np.zeros((1, 1)), given.pop("j_ext"), **given)


def test_the_interval_is_the_textbook_one_in_steps():
    net = single()
    assert net.refractory_steps.tolist() == [2]  # 2.4 steps are 2
    run = net.run(400, stimulus=np.full(400, 75.0), engine=NUMPY)
    # v = 1.5 (1 - exp(-t / tau)) crosses 1 after tau ln 3 = 21.97 ms: 22 steps, and 2 held ones.
    assert np.unique(np.diff(run.step)).tolist() == [24]


@pytest.mark.parametrize("tau_s", [0.005, 0.02, 0.02 * (1 + 1e-9), 0.0199])
def test_one_external_spike_is_the_double_exponential(tau_s):
    net = single(tau_synaptic=tau_s, threshold=1e9)
    counts = np.zeros((60, 1), dtype=int)
    counts[0] = 1
    run = net.run(external_counts=counts, record=("v",), engine=NUMPY)
    t, tau_m = np.arange(60) * 1e-3, 0.02
    if abs(tau_s / tau_m - 1) < 1e-6:
        expected = t / tau_m * np.exp(-t / tau_m)
    else:
        expected = tau_m / (tau_s - tau_m) * (np.exp(-t / tau_s) - np.exp(-t / tau_m))
    assert_allclose(run.v[:, 0], expected, atol=1e-8)


def test_factors_of_a_step_have_a_smooth_limit():
    tau = np.array([0.02])
    for mechanism in ("analytic", "euler"):
        near = step_factors(tau, tau * (1 + 1e-10), 5e-4, mechanism).gain
        assert_allclose(near, step_factors(tau, tau, 5e-4, mechanism).gain, rtol=1e-9)
    with pytest.raises(ValueError, match="longer than a time constant"):
        step_factors(tau, np.array([1e-4]), 5e-4, "euler")


def test_counts_are_poisson_with_and_without_noise():
    base, spread = np.array([1.2, 1.2, 0.4]), np.array([0.0, 0.8, 0.0])
    table = count_table(base, spread, noise="per_step")
    assert len(table) % 8 == 0
    k = np.arange(len(table))
    assert_allclose(table[:, 0], poisson.cdf(k, 1.2), atol=1e-12)
    assert_allclose(table[:, 2], poisson.cdf(k, 0.4), atol=1e-12)
    mean = np.sum(1 - table, axis=0)
    assert_allclose(mean, base + spread / 2, atol=1e-9)
    # variance of a mixture: mean + spread^2 / 84
    square = np.sum((2 * k[:, np.newaxis] + 1) * (1 - table), axis=0)
    assert_allclose(square - mean**2, mean + spread**2 / 84, atol=1e-8)
    with pytest.raises(ValueError, match="smaller delta_t"):
        count_table(np.array([1e4]), np.array([0.0]), noise="mean")


def drive(n, **changes):
    given = {"nu_hz": np.full((2, n), 400.0), "c_ext": np.stack([np.ones(n), np.zeros(n)]),
             "j_ext": np.stack([np.ones(n), np.zeros(n)])}  # fmt: skip
    return ExternalDrive(**(given | changes))


def test_the_drive_that_arrives_has_the_rate_asked_for():
    n, steps = 200, 400
    net = LIFNet(csr_matrix((n, n)), 1.0, 0.02, 0.005, 0.0, 1e12, delta_t=1e-3)
    pulse = np.zeros((2, steps))
    pulse[1, 100:300] = 300.0
    run = net.run(
        steps, drive=drive(n, rate_hz=pulse, group=(np.arange(n) >= 100).astype(np.int64)),
        record=("current",), seed=4, engine=NUMPY,
    )  # fmt: skip
    decay = np.exp(-1e-3 / 0.005)
    before = np.vstack([np.zeros((1, n)), run.current[:-1]]) * decay
    counts = (run.current - before) * 0.005
    assert_allclose(counts, counts.round(), atol=1e-6)
    # 0.4 spikes per step: over 20000 cells and steps, sd 0.0045; five sigma
    assert abs(counts[100:300, :100].mean() - 0.4) < 0.023
    assert abs(counts[100:300, 100:].mean() - 0.7) < 0.03
    assert abs(counts[300:, 100:].mean() - 0.4) < 0.032


def test_a_perturbation_must_not_take_a_rate_below_zero_for_a_while():
    n = 10
    net = LIFNet(csr_matrix((n, n)), 1.0, 0.02, 0.005, 0.0, 1e12, delta_t=1e-3)
    wave = np.zeros((1, 50))
    wave[0, 10:20] = -500.0
    with pytest.raises(ValueError, match="below 0 Hz"):
        net.run(50, drive=drive(n, rate_hz=wave, group=np.zeros(n, dtype=np.int64)), engine=NUMPY)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": [1.0, 2.0]}, "say n_excitatory"),
        ({"tau_membrane": [0.1, 0.2, 0.3]}, "tau_membrane has the shape"),
        ({"tau_synaptic": 0.0}, "tau_synaptic must be > 0"),
        ({"reset_voltage": 1.0}, "below threshold"),
        ({"delta_t": 0.0}, "delta_t"),
        ({"mechanism": "rk4"}, "use analytic or euler"),
    ],
)
def test_impossible_networks_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        single(**change)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"external_counts": np.zeros((5, 2), dtype=int)}, "external_counts"),
        ({"n_steps": 5, "stimulus": np.zeros(4)}, "stimulus has 4 steps"),
        ({"n_steps": 0}, "n_steps"),
        ({"n_steps": 5, "record": ("w",)}, "traces are v and current"),
        ({"n_steps": 5, "seed": -1}, "seed"),
    ],
)
def test_input_that_does_not_fit_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        single().run(**given, engine=NUMPY)
