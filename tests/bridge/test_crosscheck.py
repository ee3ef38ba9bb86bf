"""Two recordings held against each other: pairs of spikes, where they part, and why."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from networks import raster, small_cuba, small_ping
from scipy.optimize import linear_sum_assignment

from bridge import divergence
from bridge.coincidence import coincidence, match_spikes, steps_in
from bridge.crosscheck import TIE, compare
from bridge.divergence import explain
from bridge.network.spec import LayerSpec, PingSpec
from bridge.network.stimulus import Stimulus
from bridge.network.weights import Weights
from bridge.recording import Recording
from train_torch.network.simulate import simulate

CELLS = {"e1": 6, "i1": 2, "e2": 4}
SPEC = PingSpec(n_in=3, layers=(LayerSpec(n_exc=6, n_inh=2), LayerSpec(n_exc=4)))


def recorded(*, n_trials=2, backend="a", logits=None, **spikes):
    full = {name: np.array(spikes.get(name, []), dtype=np.int32) for name in CELLS}
    return Recording(
        dt_ms=0.5, n_steps=100, n_trials=n_trials, n_cells=CELLS, spikes=full, backend=backend,
        logits=None if logits is None else np.array(logits, dtype=float),
    )  # fmt: skip


def rows(*triples):
    return np.array(triples, dtype=np.int32).reshape(-1, 3)


# ---- coincidence --------------------------------------------------------------------------------


def test_spikes_are_paired_within_their_cell_and_trial_only():
    one = rows((10, 0, 0), (10, 0, 1), (10, 1, 0))
    other = rows((11, 0, 0), (13, 0, 1), (10, 1, 1))
    hit_one, hit_other = match_spikes(one, other, window_steps=2)
    assert hit_one.tolist() == [True, False, False]
    assert hit_other.tolist() == [True, False, False]
    assert not match_spikes(one, other)[0].any()


def test_no_spike_has_two_partners():
    one, other = rows((10, 0, 0), (11, 0, 0)), rows((11, 0, 0))
    assert match_spikes(one, other, window_steps=5)[0].sum() == 1
    assert coincidence(one, other, window_steps=5) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_pairing_has_more_pairs(seed):
    rng = np.random.default_rng(seed)
    trains = [
        np.unique(
            np.stack(
                [rng.integers(0, 30, 25), rng.integers(0, 2, 25), rng.integers(0, 3, 25)], axis=1
            ),
            axis=0,
        )
        for _ in range(2)
    ]
    one, other = (t.astype(np.int32) for t in trains)
    apart = np.abs(one[:, None, 0] - other[None, :, 0])
    legal = (apart <= 2) & (one[:, None, 1:] == other[None, :, 1:]).all(axis=2)
    i, j = linear_sum_assignment(~legal)
    best = legal[i, j].sum()
    hit_one, hit_other = match_spikes(one, other, window_steps=2)
    assert hit_one.sum() == hit_other.sum() == best
    assert coincidence(one, other, window_steps=2) == coincidence(other, one, window_steps=2)


def test_limits_of_coincidence():
    train = rows((1, 0, 0), (5, 0, 2))
    assert coincidence(train, train) == 1.0
    assert coincidence(rows(), rows()) == 1.0
    assert coincidence(train, rows()) == 0.0
    assert coincidence(train, train + rows((1, 0, 0))) == 0.0


def test_a_window_in_steps():
    assert [steps_in(1.0, dt) for dt in (0.05, 0.1, 0.25, 0.3, 1.0, 2.0)] == [20, 10, 4, 3, 1, 0]
    assert steps_in(0.3, 0.1) == 3  # 0.3 / 0.1 is 2.9999999999999996
    with pytest.raises(ValueError, match="window = -1 ms"):
        steps_in(-1.0, 0.1)


# ---- compare ------------------------------------------------------------------------------------


def test_equal_recordings():
    one = recorded(e1=rows((3, 0, 1), (9, 1, 2)), logits=[[1, 2], [3, 0]])
    check = compare(SPEC, one, one, window_ms=1.0)
    assert check.identical
    assert check.passed
    assert check.first == ()
    assert check.first_steps == (None, None)
    assert check.first_ms is None
    assert (check.logits_difference, check.n_equal_predictions) == (0.0, 2)
    # two spikes of 6 cells in 2 trials of 50 ms
    assert check.populations["e1"].rate_hz == (pytest.approx(2 / (12 * 0.05)),) * 2
    assert "e1 identical, 2 spikes" in check.lines()[0]


def test_each_trial_parts_at_its_first_difference():
    common = [(3, 0, 1), (4, 1, 1)]
    one = recorded(e1=rows(*common, (20, 0, 2), (50, 0, 3)), i1=rows((30, 1, 0)), logits=[[1], [2]])
    other = recorded(e1=rows(*common, (21, 0, 2), (40, 1, 5)), backend="b", logits=[[1], [2.5]])
    check = compare(SPEC, one, other, window_ms=1.0)
    assert not check.identical
    assert not check.passed
    assert check.first_steps == (20, 30)
    assert [(d.trial, d.step, d.population, d.cell, d.fired) for d in check.first] == [
        (0, 20, "e1", 2, 0), (1, 30, "i1", 0, 0)
    ]  # fmt: skip
    assert check.first[0].t_ms == check.first_ms == 10.0
    e1 = check.populations["e1"]
    assert (e1.n_spikes, e1.n_alone) == ((4, 4), (2, 2))
    assert e1.coincidence == pytest.approx(0.5)
    assert e1.coincidence_in_window == pytest.approx(6 / 8)  # steps 20 and 21 are 0.5 ms apart
    assert check.logits_difference == 0.5
    text = "\n".join(check.lines())
    assert "first difference of trial 0 at 10 ms (step 20): cell 2 of e1 fires in a only" in text


def test_a_layer_above_follows_within_the_step():
    one = recorded(e1=rows((20, 0, 2)), i1=rows((20, 0, 1)), e2=rows((20, 0, 3)))
    check = compare(SPEC, one, recorded(backend="b"), window_ms=0.0)
    assert [d.population for d in check.first] == ["e1", "i1"]
    above = compare(SPEC, recorded(e2=rows((20, 0, 3))), recorded(), window_ms=0.0)
    assert [d.population for d in above.first] == ["e2"]


def test_recordings_that_cannot_be_compared():
    with pytest.raises(ValueError, match="can't be compared"):
        compare(SPEC, recorded(), recorded(n_trials=3), window_ms=1.0)
    with pytest.raises(ValueError, match="can't be compared"):
        compare(small_ping()[0], recorded(), recorded(), window_ms=1.0)


def test_the_report_is_plain_json():
    check = compare(SPEC, recorded(e1=rows((3, 0, 1))), recorded(backend="b"), window_ms=1.0)
    found = json.loads(json.dumps(check.to_json()))
    assert found["names"] == ["a", "b"]
    assert (found["identical"], found["passed"], found["verdict"]) == (False, False, "DIFFERENT")
    assert found["first"][0] | {"fired": "a", "tie": False, "step": 3} == found["first"][0]


# ---- why ----------------------------------------------------------------------------------------


def runner(spec, weights, dtype="float64", seed=7):
    def run(stimulus, traces):
        return simulate(
            spec, weights, stimulus, seed=seed, record_traces=traces, dtype=dtype, kernel="eager"
        )[0]

    return run


def held_against(spec, weights, stimulus, one, other):
    recordings = one(stimulus, False), other(stimulus, False)
    check = compare(spec, *recordings, window_ms=1.0)
    return check, explain(check, spec, weights, stimulus, recordings, (one, other))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("model", ["ping", "ping uniform", "cuba"])
def test_voltages_before_reset_are_those_of_the_run(model, dtype):
    spec, weights = small_cuba() if model == "cuba" else small_ping(sizes=(12, 8))
    if model == "ping uniform":
        spec = dataclasses.replace(spec, start="uniform")
    stimulus = raster(n_trials=2, n_steps=60, n_in=40, p=0.08, seed=2, dt_ms=0.5)
    run = runner(spec, weights, dtype)(stimulus, True)
    volts = divergence._Voltages(spec, weights, stimulus)
    threshold, floor = (1.0, 0.0) if model == "cuba" else (-50.0, -200.0)
    close = 1e-12 if dtype == "float64" else 2e-5  # a few roundings of 65 mV
    checked = 0
    for name in spec.populations:
        trace = run.traces[f"v_{name[0]}_{name[1:]}"]
        fired = run.raster(name)
        # A cell that is held, or at the floor, does not show its voltage.
        held = (trace == -65.0) | (trace == floor)
        for trial, step, cell in np.argwhere(~fired & ~held)[::7].tolist():
            found = volts.above_threshold(run, trial, step, name, cell)
            assert found == pytest.approx(trace[trial, step, cell] - threshold, abs=close)
            checked += 1
        for trial, step, cell in np.argwhere(fired).tolist():
            assert volts.above_threshold(run, trial, step, name, cell) > -close
    assert checked > 100


def one_cell(v_th_mv):
    cell = dataclasses.replace(PingSpec(n_in=1, layers=(LayerSpec(n_exc=1),)).exc_cell,
                               v_th_mv=v_th_mv)  # fmt: skip
    spec = PingSpec(n_in=1, layers=(LayerSpec(n_exc=1),), n_classes=2, exc_cell=cell)
    return spec, Weights.for_spec(spec, {"W_in": [[0.004]], "W_out": [[1.0, 0.0]]})


def test_a_tie_is_named():
    events = np.array([[k, 0, 0] for k in range(0, 100, 5)])
    stimulus = Stimulus(dt_ms=0.25, n_steps=120, n_trials=1, n_in=1, events=events)
    spec, weights = one_cell(-50.0)
    v_mv = runner(spec, weights)(stimulus, True).traces["v_e_1"][0, :, 0]
    reached_mv = float(v_mv[:40].max())  # a voltage that the cell reaches exactly
    assert reached_mv < -50.0
    spec, weights = one_cell(reached_mv)
    later, _ = one_cell(float(np.nextafter(reached_mv, 0.0)))
    check, explained = held_against(
        spec, weights, stimulus, runner(spec, weights), runner(later, weights)
    )
    assert not check.passed
    first = explained.first[0]
    assert first.fired == 0
    assert max(map(abs, first.above_threshold)) < 1e-13
    assert explained.passed
    assert explained.verdict == "rounding at threshold"
    assert "rounding decides" in "\n".join(explained.lines())


def test_another_network_is_no_tie():
    spec, weights = small_ping()
    other = weights.scaled("W_in", 1.02)
    stimulus = raster(n_trials=3, n_steps=240, n_in=40, p=0.05, seed=5, dt_ms=0.25)
    _, explained = held_against(spec, weights, stimulus, runner(spec, weights), runner(spec, other))
    assert len({d.trial for d in explained.first}) == 3
    for d in explained.first:
        above = d.above_threshold
        assert above[d.fired] >= 0 > above[1 - d.fired]
        assert max(map(abs, above)) > 1e-3
    assert not explained.passed
    assert "not explained by rounding" in "\n".join(explained.lines())


@pytest.mark.parametrize("start", ["rest", "uniform"])
def test_trials_repeated_one_by_one_say_the_same(monkeypatch, start):
    spec, weights = small_ping()
    spec = dataclasses.replace(spec, start=start)
    stimulus = raster(n_trials=3, n_steps=240, n_in=40, p=0.05, seed=5, dt_ms=0.25)
    stimulus = dataclasses.replace(
        stimulus, g_ext_us=np.random.default_rng(1).random((3, 240, 48)) * 2e-3
    )
    runs = runner(spec, weights), runner(spec, weights.scaled("W_ie_1", 1.1))
    _, together = held_against(spec, weights, stimulus, *runs)
    monkeypatch.setattr(divergence, "TRACE_BYTES", 0)
    _, alone = held_against(spec, weights, stimulus, *runs)
    assert together.first
    for a, b in zip(together.first, alone.first, strict=True):
        assert dataclasses.replace(a, above_threshold=None) == dataclasses.replace(
            b, above_threshold=None
        )
        np.testing.assert_allclose(a.above_threshold, b.above_threshold, atol=1e-12)


def test_a_repetition_with_another_history_explains_nothing():
    spec, weights = small_ping()
    stimulus = raster(n_trials=1, n_steps=240, n_in=40, p=0.05, seed=5, dt_ms=0.25)
    good, other = runner(spec, weights), runner(spec, weights.scaled("W_ie_1", 1.02))
    recordings = good(stimulus, False), other(stimulus, False)
    check = compare(spec, *recordings, window_ms=1.0)
    far = runner(spec, weights.scaled("W_in", 1.5))
    for runners in ((far, other), (good, far)):
        explained = explain(check, spec, weights, stimulus, recordings, runners)
        assert [d.above_threshold for d in explained.first] == [None] * len(check.first)
        assert not explained.passed
    # A difference that does not come again is no tie either, unless both are close to threshold.
    again = explain(check, spec, weights, stimulus, recordings, (good, good))
    first = again.first[0]
    assert first.above_threshold[0] == first.above_threshold[1]
    assert not again.passed


def test_float32_has_its_own_limit():
    one, other = recorded(), recorded(backend="torch:cpu:float32")
    assert compare(SPEC, one, one, window_ms=1.0).tie_limit == TIE["float64"] == 1e-10
    assert compare(SPEC, one, other, window_ms=1.0).tie_limit == TIE["float32"]


def test_traces_are_compared_where_both_have_them():
    spec, weights = small_ping()
    stimulus = raster(n_trials=1, n_steps=100, n_in=40, p=0.05, seed=5, dt_ms=0.25)
    one = runner(spec, weights)(stimulus, True)
    moved = {n: t + 0.25 * (n == "v_i_1") for n, t in one.traces.items()}
    other = dataclasses.replace(one, traces=moved)
    found = compare(spec, one, other, window_ms=1.0).v_difference
    assert found == {"v_e_1": 0.0, "v_i_1": 0.25}
    assert compare(spec, one, runner(spec, weights)(stimulus, False), window_ms=1.0).v_difference \
        == {}  # fmt: skip
