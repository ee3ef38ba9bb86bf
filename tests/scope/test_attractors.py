"""Attractor analysis: reference values, known truth, files."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from scope.measure.attractors.activity import (
    activity_threshold,
    smooth_cluster_activity,
    smoothed_rates,
    state_intervals,
)
from scope.measure.attractors.recordings import (
    SpikeEvents,
    events_of,
    read_spikes,
    spike_files,
    write_spikes,
)
from studies.clustered import Analyzer

DT = 0.0005


@pytest.fixture(scope="module")
def golden(reference):
    with np.load(reference / "clustered_attractor_spikes.npz", allow_pickle=False) as d:
        n = int(d["n_neurons"])
        spikes = [
            np.unpackbits(d[f"spikes_packed_{k}"], axis=1)[:, :n].astype(bool) for k in (0, 1)
        ]
        truth = [np.unpackbits(d[f"truth_packed_{k}"], axis=1)[:, :6].astype(bool) for k in (0, 1)]
        labels, rates = d["labels"], d["rates_recording0"]
    expected = json.loads((reference / "clustered_attractor_expected.json").read_text())
    return spikes, labels, truth, rates, expected


@pytest.mark.parametrize("k", range(4))
def test_the_analysis_of_the_reference(golden, k):
    spikes, labels, truth, rates, expected = golden
    case = expected["cases"][k]
    used = None if case["populations"] == 8 else 6
    found = Analyzer(spikes, labels, DT, used, threshold_rule=case["variant"])
    assert_allclose(found.get_rates(0)[:, ::50], rates, atol=1e-9)
    for theta, wanted in zip(found.thresholds_hz, case["thresholds_hz"], strict=True):
        assert_allclose(theta, wanted, atol=1e-9)
    assert [list(one) for one in found.get_unique_attractors()] == case["identities"]
    o = found.occurrences
    before = o.recording * 6000
    events = np.stack([
        o.recording, np.rint(o.start_s / DT) - before, np.rint(o.end_s / DT) - before, o.state
    ], axis=1)  # fmt: skip
    assert events.astype(int).tolist() == case["events_recording_start_end_state"]
    assert found.get_occurrences().tolist() == case["occurrences"]
    assert found.get_num_states() == case["n_states"]
    mean, spread = found.get_life_spans()
    assert_allclose(mean, case["mean_lifespan_ms"], atol=5.1e-5)  # rounded to 4 decimals
    assert_allclose(spread, case["std_lifespan_ms"], atol=5.1e-5)
    assert_allclose(found.get_attractor_probs(), case["occupancy"], atol=1e-9)
    assert found.occurrences.transition_counts()[1].tolist() == case["transition_counts"]
    assert_allclose(found.get_transition_matrix(), case["transition_matrix"], atol=1e-9)
    active = np.concatenate([found.get_activity(r)[:6] for r in (0, 1)], axis=1).T
    known = np.concatenate(truth)
    assert_allclose((active == known).mean(), case["frame_accuracy"], atol=1e-9)
    assert_allclose(active[known].mean(), case["hit_rate"], atol=1e-9)


def square(n_steps=4000):
    """Two clusters of 5 cells; the first is on for 400 steps of every 1000, the second after it."""
    rng = np.random.default_rng(0)
    t = np.arange(n_steps) % 1000
    on = np.stack([t < 400, (t >= 400) & (t < 700)], axis=1)
    p = np.where(np.repeat(on, 5, axis=1), 0.05, 0.0005)
    return rng.random(p.shape) < p, np.repeat([1, 2], 5)


@pytest.fixture(scope="module")
def analyzer():
    spikes, labels = square()
    return Analyzer([spikes, spikes[:2000]], labels, DT, kernel_ms=10.0)


def test_states_follow_each_other_as_they_were_made(analyzer):
    names = analyzer.get_unique_attractors()
    assert {(0,), (1,), ()} <= set(names)
    a, b, none = (analyzer.get_attractor_idx(*one) for one in ((0,), (1,), ()))
    matrix = analyzer.get_transition_matrix(normalize="outgoing")
    assert matrix[a, b] > 0.8
    assert matrix[b, none] > 0.8
    assert analyzer.get_sequence_probability(a, b) == analyzer.get_transition_matrix()[a, b]
    assert abs(analyzer.get_mean_lifespan(a) - 200) < 25
    assert abs(analyzer.get_attractor_prob(a) - 0.4) < 0.06
    assert abs(analyzer.get_active_fractions()[0] - 0.4) < 0.06


def test_an_occurrence_never_crosses_recordings(analyzer):
    o = analyzer.occurrences
    edge = 4000 * DT
    assert np.all((o.end_s <= edge + 1e-12) | (o.start_s >= edge - 1e-12))
    assert set(o.recording) == {0, 1}


def test_windows_count_from_either_end_and_say_when_they_are_odd(analyzer):
    late = analyzer.get_attractor_data(0, t_from=-1.0)[0]
    assert np.all(late.starts_s >= 2.0)
    assert analyzer.get_num_states(0.0, 0.1) == 1
    with pytest.warns(UserWarning, match="swapped"):
        assert analyzer.get_num_states(0.1, 0.0) == 1
    with pytest.warns(UserWarning, match="outside"):
        assert analyzer.get_num_states(50.0, 60.0) == analyzer.get_num_states()
    n = len(analyzer.get_unique_attractors(0.5, 2.5))
    assert analyzer.get_transition_matrix(0.5, 2.5).shape == (n, n)
    assert analyzer.get_unique_attractors_count_until_time(1e9) == analyzer.get_num_states()
    assert 0 < analyzer.get_transition_density_until_time(1e9) <= 1


def test_counts_and_events_give_what_dense_spikes_give(analyzer):
    spikes, labels = square()
    events = Analyzer([events_of(spikes), events_of(spikes[:2000])], labels, DT)
    counts = [np.stack([s[:, :5].sum(1), s[:, 5:].sum(1)]) for s in (spikes, spikes[:2000])]
    counted = Analyzer(counts=counts, sizes=[5, 5], dt=DT)
    for other in (events, counted):
        np.testing.assert_array_equal(
            other.get_transition_matrix(), analyzer.get_transition_matrix()
        )


def test_recordings_are_read_in_the_order_of_their_numbers(tmp_path):
    for k in (10, 2, 1):
        write_spikes(tmp_path / f"spikes_{k}.npy", SpikeEvents(
            np.zeros(1, np.int32), np.zeros(1, np.int32), k, 2))  # fmt: skip
    assert [path.stem for path in spike_files(tmp_path)] == ["spikes_1", "spikes_2", "spikes_10"]


def test_nothing_fires_and_nothing_is_active():
    for rule in ("two_means", "update_then_stop", "stop_before_update"):
        found = Analyzer(np.zeros((500, 4), bool), [1, 1, 2, 2], DT, threshold_rule=rule)
        assert found.get_unique_attractors() == [()]
        assert not found.get_activity().any()
        assert np.isinf(activity_threshold(np.zeros((2, 50)), rule)).all()


def test_smoothing_is_in_milliseconds():
    counts = np.zeros((1, 2001), dtype=int)
    counts[0, 1000] = 1
    rate = smoothed_rates(counts, np.array([1]), dt_s=DT, kernel_ms=10.0)[0]
    t_ms = (np.arange(2001) - 1000) * 0.5
    assert_allclose(rate.sum() * DT, 1.0, rtol=1e-9)
    assert_allclose(np.sqrt((rate * t_ms**2).sum() * DT), 10.0, rtol=2e-3)  # cut at 4 sigma
    box = smoothed_rates(counts, np.array([1]), dt_s=DT, kernel="box", kernel_ms=10.0)[0]
    assert (box > 0).sum() == 20


def test_short_gaps_are_filled():
    row = np.array([0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0], dtype=bool)
    filled = smooth_cluster_activity(row, 3)
    assert "".join(map(str, filled.astype(int))) == "011111100010"


def test_short_stretches_are_dropped_not_merged():
    active = np.zeros((1, 100), dtype=bool)
    active[0, 50:55] = True
    found = state_intervals(active, recording=0, min_steps=10)
    assert [(one.begin, one.end, one.state) for one in found] == [(0, 50, ()), (55, 100, ())]


def test_a_saved_analysis_has_every_statistic_but_no_rates(analyzer, tmp_path):
    analyzer.save_analysis(tmp_path / "analysis")
    loaded = Analyzer.load_analysis(tmp_path / "analysis")
    np.testing.assert_array_equal(loaded.get_transition_matrix(), analyzer.get_transition_matrix())
    assert loaded.get_unique_attractors() == analyzer.get_unique_attractors()
    assert loaded.get_life_spans()[0].tolist() == analyzer.get_life_spans()[0].tolist()
    assert loaded.get_attractor_prob(0, 0.0, 1.0) == analyzer.get_attractor_prob(0, 0.0, 1.0)
    with pytest.raises(ValueError, match="loaded without spikes"):
        loaded.get_rates()


@pytest.mark.parametrize(
    "name", ["attractors.npy", "transition_matrix.npy", "analysis_config.json"]
)
def test_an_incomplete_or_damaged_analysis_is_refused(analyzer, tmp_path, name):
    folder = analyzer.save_analysis(tmp_path / "analysis")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{name}(, line \\d+: not JSON| is damaged)"):
        Analyzer.load_analysis(folder)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"incomplete: {name}"):
        Analyzer.load_analysis(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dt": -1}, "dt = -1 must be a number > 0"),
        ({"total_ms": None}, "total_ms = None must be"),
        ({"recording_steps": 5}, "recording_steps = 5 must be a list"),
        ({"thresholds_hz": [["x"]]}, "thresholds_hz"),
        ({"identities": 3}, "description of an analysis"),
    ],
)
def test_a_description_of_wrong_values_is_refused(analyzer, tmp_path, change, words):
    path = analyzer.save_analysis(tmp_path / "analysis") / "analysis_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=words) as caught:
        Analyzer.load_analysis(path.parent)
    assert str(path) in str(caught.value)


def test_labels_that_no_population_can_have_are_refused():
    spikes = np.zeros((50, 4), bool)
    with pytest.raises(ValueError, match="4 neurons go up to 1000000000000"):
        Analyzer(spikes=spikes, clusters=[1, 1, 2, 10**12], dt=DT)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"spikes": np.zeros((0, 4), bool)}, "spikes of 0 steps"),
        ({"n_steps": 0}, "lie outside 0 steps|spikes of 0 steps"),
        ({"step": np.array([0.5])}, "step is of type float64"),
        ({"step": np.array([7])}, "outside 5 steps"),
        ({"n_neurons": np.array([1, 2])}, "size 1"),
    ],
)
def test_files_of_spikes_that_hold_none(tmp_path, arrays, words):
    path = tmp_path / "spikes_0.npz"
    events = {"step": np.array([1]), "neuron": np.array([2]), "n_steps": 5, "n_neurons": 4}
    np.savez(path, **(arrays if "spikes" in arrays else events | arrays))
    with pytest.raises(ValueError, match=words) as caught:
        read_spikes(path)
    assert str(path) in str(caught.value)


def test_a_pickle_is_never_opened(analyzer, tmp_path):
    folder = analyzer.save_analysis(tmp_path / "analysis")
    np.save(folder / "attractors.npy", np.array([{"idx": 0}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"attractors\.npy is damaged"):
        Analyzer.load_analysis(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clusters": [1, 1, 2]}, "do not fit 3 cluster labels"),
        ({"clusters": [0, 1, 2, 2]}, "whole numbers from 1"),
        ({"dt": 0.0}, "dt"),
        ({"threshold_rule": "otsu"}, "use two_means"),
        ({"n_excitatory_clusters": 5}, "1 to 2"),
        ({"spikes": np.zeros((5, 2, 2))}, "must be"),
        ({"spikes": "nowhere"}, "no such file"),
        ({"clusters": None}, "no cluster labels"),
    ],
)
def test_input_that_does_not_fit_is_refused(change, words):
    given = {"spikes": np.zeros((50, 4), bool), "clusters": [1, 1, 2, 2], "dt": DT} | change
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        Analyzer(**given)


def test_two_means_split_two_levels_half_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rates = np.concatenate([np.full(900, 2.0), np.full(100, 52.0)])[np.newaxis]
        assert_allclose(activity_threshold(rates), [27.0])
