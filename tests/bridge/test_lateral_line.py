"""The simulator-free parts of the lateral line: truths that need no reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from bridge.lateral_line import field, homeostasis, map_quality, poisson, streams, tuning, wiring
from bridge.lateral_line.notes import notes
from bridge.lateral_line.params import PRESETS, NetworkParams, from_json, preset


def test_the_peak_of_the_flow_is_the_textbook_one():
    # At dx = 0 the flow along the body is U R^3 / (2 Y^3).
    v = field.flow_velocity(0.0, 0.0, 0.0, 0.8, speed_cm_s=5.0, radius_cm=0.5)
    assert v == pytest.approx(5.0 * 0.5**3 / (2 * 0.8**3))


def test_the_physical_sign_pushes_fluid_ahead():
    ahead = field.flow_velocity(2.0, 0.0, 0.0, 0.1, speed_cm_s=5.0, radius_cm=0.5, flow_sign=-1)
    published = field.flow_velocity(2.0, 0.0, 0.0, 0.1, speed_cm_s=5.0, radius_cm=0.5)
    assert ahead > 0
    assert published == -ahead


def test_a_singular_correlation_gets_the_jitter_it_needs():
    factor, jitter = field.noise_factor(np.linspace(0, 4, 100), jitter=1e-19)
    assert jitter > 1e-19
    assert np.isfinite(factor).all()


def test_a_stream_read_in_pieces_is_the_same():
    p = preset("ll_thesis", n_training_trials=6, training_noise_scale_late=0.5,
               training_distance_max_cm=1.2, trial_duration_s=0.13)  # fmt: skip
    whole, x = streams.TrainingDrive(p).read(0, 6)
    pieces = streams.TrainingDrive(p)
    first, x1 = pieces.read(0, 2)
    second, x2 = pieces.read(2, 5)
    late = streams.TrainingDrive(p)
    third, x3 = late.read(5, 6)  # skipping draws what lies before
    assert_array_equal(np.concatenate([x1, x2, x3]), x)
    assert_array_equal(np.stack([*first, *second, *third]), np.stack(whole))
    with pytest.raises(ValueError, match="already"):
        late.read(0, 1)


def test_spikes_do_not_depend_on_how_training_is_cut():
    p = preset("ll_fast", n_training_trials=3)
    drives, _ = streams.TrainingDrive(p).read(0, 3)
    whole = poisson.draw_spikes(p, drives, [0, 1, 2])
    last = poisson.draw_spikes(p, drives[2:], [2])
    for name in ("ll", "mon", "ts"):
        one, other = getattr(whole, name), getattr(last, name)
        late = one.step >= 2 * p.trial_steps
        assert_array_equal(one.cell[late], other.cell)
        assert_array_equal(one.step[late] - 2 * p.trial_steps, other.step)


def test_rates_of_the_drawn_spikes():
    p = preset("ll_thesis")
    drive_hz = np.full((4000, p.n_ll), 80.0)
    drive_hz[2000:] = 20.0
    found = poisson.draw_spikes(p, [drive_hz], [0])
    # Binomial counts: five standard deviations are a false alarm in 2 million.
    early = int((found.ll.step < 2000).sum())
    for n, total, q in (
        (early, 2000 * 100, 0.08), (len(found.ll.step) - early, 2000 * 100, 0.02),
        (len(found.mon.step), 4000 * 3200, 0.022), (len(found.ts.step), 4000 * 300, 0.020),
    ):  # fmt: skip
        assert abs(n - total * q) < 5 * np.sqrt(total * q)
    per_cell = np.bincount(found.mon.cell, minlength=p.n_mon)
    assert per_cell.std() == pytest.approx(np.sqrt(88 * (1 - 0.022)), rel=0.1)


def test_a_table_plays_back_its_events():
    events = poisson.Events(
        cell=np.array([0, 0, 2], dtype=np.int32),
        step=np.array([3, 7, 1], dtype=np.int32),
        n_cells=3,
    )
    steps, cursor = events.table(8)
    never = poisson.NEVER
    assert steps.tolist() == [3, 7, never, never, 1, never, never, never]
    assert cursor.tolist() == [0, 3, 4]


def test_no_drive_no_spikes():
    p = preset("ll_fast", bg_rate_mon_hz=0.0, bg_rate_ts_hz=0.0)
    found = poisson.draw_spikes(p, [np.zeros((50, p.n_ll))], [0])
    assert [len(one.step) for one in (found.ll, found.mon, found.ts)] == [0, 0, 0]


def test_topography_by_chance_has_the_strength_asked_for():
    p = preset("ll_thesis", topography_sampling="bernoulli", ll_to_mon_sigma=1e-6,
               ll_to_mon_topography_strength=0.25)  # fmt: skip
    i, j = wiring.ll_to_mon(p)
    centre = np.rint(j / (p.n_mon - 1) * (p.n_ll - 1))
    at_centre = np.mean(i == centre)
    assert at_centre == pytest.approx(0.25 + 0.75 / 100, abs=0.01)
    rounded, j = wiring.ll_to_mon(dataclasses.replace(p, topography_sampling="rounded"))
    assert np.mean(rounded == centre) == pytest.approx(0.2 + 0.8 / 100, abs=0.01)


def test_the_jitter_of_weights_lies_above():
    w = wiring.draw_wiring(preset("ll_thesis", ll_mon_use_stdp=True, ll_mon_w_jitter_stdp_mV=8.0))
    assert (w.ll_mon_w_mv.min(), w.ll_mon_w_mv.max()) == pytest.approx((10, 18), abs=0.01)
    assert w.ll_mon_w_mv.mean() == pytest.approx(14, abs=0.1)
    assert w.mon_ts_w.std() == pytest.approx(0.005 / np.sqrt(12), rel=0.02)


def test_homeostasis_draws_sums_together():
    w, j = np.array([1.0, 1.0, 4.0, 0.0]), np.array([0, 0, 1, 2])
    for _ in range(300):
        w = homeostasis.scaled(w, j, 3, eta=0.1, wmax=9.0)
    sums = np.bincount(j, weights=w)
    assert sums[0] == pytest.approx(sums[1], rel=1e-6)
    assert sums[2] == 0  # a cell without input is left alone


def test_a_body_map_is_perfect_against_the_body():
    x_cm = np.linspace(-0.5, 4.5, 1000)
    cell = np.clip(np.rint(x_cm / 4 * 299), 0, 299).astype(np.int64)
    found = {
        circle: map_quality.map_quality(
            np.arange(1000), cell, n_cells=300, x_cm=x_cm, dt_s=1e-3, circle_cm=circle
        ).sigma_theta_rad
        for circle in (None, (0.0, 4.0))
    }
    assert found[None] == pytest.approx(0.356, abs=0.002)  # the path is not the body
    assert found[0.0, 4.0] < 0.02


def test_a_silent_layer_is_flagged():
    nothing = np.empty(0, dtype=np.int64)
    found = map_quality.map_quality(
        nothing, nothing, n_cells=10, x_cm=np.linspace(0, 4, 100), dt_s=1e-3
    )
    assert found.silent
    assert (found.sigma_theta_rad, found.valid_fraction) == (np.pi, 0.0)


def test_peaks_of_tuning_curves():
    x = np.arange(200)
    bump = lambda at: np.exp(-((x - at) ** 2) / 50)  # noqa: E731
    assert tuning.count_peaks(bump(60)) == 1
    assert tuning.count_peaks(bump(60) + 0.5 * bump(140)) == 2
    assert tuning.count_peaks(bump(60) + 0.1 * bump(140)) == 1  # below a fifth of the range


def test_parameters_survive_json():
    p = preset("ll_fast", seed=7, eval_x_min_cm=0.0, eval_x_max_cm=4.0)
    assert from_json(p.to_json()) == p
    assert p.eval_window_cm == (0.0, 4.0)
    with pytest.raises(ValueError, match="n_foo"):
        from_json({"n_foo": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance_cm": -1.0}, r"--distance-cm = -1 cm must be > 0"),
        ({"training_distance_min_cm": -0.1}, r"--training-distance-min-cm = -0.1 cm must be >= 0"),
        ({"training_distance_min_cm": 2.0}, r"--training-distance-min-cm 2 is above"),
        ({"mon_to_ts_out_degree": 301}, r"--mon-ts-out-degree 301 is more than the 300 TS"),
        ({"ll_to_mon_in_degree": 101}, r"--ll-mon-in-degree 101 is more than the 100"),
        ({"eval_x_min_cm": 1.0}, r"give both or neither"),
        ({"eval_x_min_cm": 1.0, "eval_x_max_cm": 1.0}, r"--eval-x-max 1 must be above"),
        ({"vreset_mV": -50.0}, r"must lie below --vth-mv"),
        ({"tau_s_ms": 1.0}, r"--dt-s 0.001 .* must be below --tau-s-ms 1"),
        ({"ts_local_inh_peak_mV": float("nan")}, r"finite"),
        ({"held_test_spread": True}, r"--test-using-held-snapshots only"),
        ({"eval_x_min_cm": 10.0, "eval_x_max_cm": 20.0}, r"off the path .* from -0.5 to 4.5 cm"),
        (
            {"eval_x_min_cm": 0.0, "eval_x_max_cm": 4.0, "direction": -1.0, "test_path_cm": 0.2},
            r"off the path .* from 4.3 to 4.5 cm",
        ),
        (
            {"eval_x_min_cm": 1.0, "eval_x_max_cm": 2.0, "test_using_held_snapshots": True},
            r"off the path .* from 0 to 0.767677 cm",
        ),
        ({"mon_ts_w_init": 0.05}, r"--mon-ts-w-init 0.05 plus .* 0.005 is above .* 0.028"),
        ({"ll_mon_w_init_mV": 30.0, "ll_mon_use_stdp": True}, r"--ll-mon-w-init-mv 30 plus"),
    ],
)
def test_bad_parameters(change, message):
    with pytest.raises(ValueError, match=message):
        preset("ll_thesis", **change)


def test_what_is_at_its_limit_is_let_through():
    # Recipe B: 10 + 8 below 20 mV; fixed weights have no ceiling; a window that reaches the path.
    preset("ll_thesis", mon_ts_w_init=0.023, ll_mon_use_stdp=True, ll_mon_w_jitter_stdp_mV=8.0)
    preset("ll_thesis", mon_ts_w_init=0.028, mon_ts_w_jitter=0.0, ll_mon_w_init_mV=30.0)
    preset("ll_thesis", eval_x_min_cm=4.4, eval_x_max_cm=20.0)
    preset("ll_thesis", direction=-1.0, eval_x_min_cm=4.2, eval_x_max_cm=20.0, test_path_cm=0.2)
    held = {"test_using_held_snapshots": True, "eval_x_min_cm": 1.0, "eval_x_max_cm": 2.0}
    preset("ll_thesis", held_test_spread=True, **held)


def test_the_map_in_training_is_of_a_whole_sweep_except_in_the_published_preset():
    assert {name: preset(name).pv_window for name in PRESETS} == {
        "ll_thesis": "cycle", "ll_fast": "cycle", "ll_fast_literal": "checkpoint"
    }  # fmt: skip


@pytest.mark.parametrize("speed", [0.05, 0.1, 5.0])
def test_the_test_is_as_long_as_its_path(speed):
    found = streams.stimulus_of_test(preset("ll_thesis", speed_cm_s=speed))
    travelled = found.x_cm[-1] - found.x_cm[0]
    assert travelled == pytest.approx(5.0, abs=1.01 * max(speed, 0.1) * 0.001)  # but for a step
    assert (found.x_cm[0], found.n_steps) == (-0.5, round(5.0 / max(speed, 0.1) / 0.001))


def test_a_repeated_test_has_other_noise_on_the_same_path():
    p = preset("ll_fast", test_ll_noise_hz=5.0)
    first, same, second, third = (
        streams.stimulus_of_test(p, **given)
        for given in ({}, {"repeat": 0}, {"repeat": 1}, {"repeat": 2})
    )
    assert np.array_equal(first.rate_hz, same.rate_hz)
    for one, other in ((first, second), (second, third)):
        assert np.array_equal(one.x_cm, other.x_cm)
        assert np.array_equal(one.v_cm_s, other.v_cm_s)
        # Ornstein-Uhlenbeck noise of 10 Hz, correlated over 0.1 s and 1 cm: some 40 free numbers.
        assert abs(np.corrcoef(one.noise_hz.ravel(), other.noise_hz.ravel())[0, 1]) < 0.6
        assert other.noise_hz.std() == pytest.approx(10.0, rel=0.35)
        white = [s.rate_hz - field.firing_rate(s.v_cm_s, s.noise_hz) for s in (one, other)]
        inside = (one.rate_hz > 1) & (other.rate_hz > 1)  # not clipped at 0
        assert np.std(white[1][inside]) == pytest.approx(5.0, rel=0.02)
        assert abs(np.corrcoef(white[0][inside], white[1][inside])[0, 1]) < 0.03  # SD 0.004
    drives = [np.full((400, p.n_ll), 50.0)]
    drawn = [poisson.draw_spikes(p, drives, [poisson.TEST_TRIAL], repeat=k) for k in (0, 1, 2)]
    usual = poisson.draw_spikes(p, drives, [poisson.TEST_TRIAL])
    fired = []
    for one in drawn:
        there = np.zeros((p.n_ll, 400), dtype=bool)
        there[one.ll.cell, one.ll.step] = True
        fired.append(there.ravel())
    assert np.array_equal(drawn[0].ll.step, usual.ll.step)
    assert np.array_equal(drawn[0].mon.step, usual.mon.step)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        # 40 000 independent pairs: SD 0.005.
        assert abs(np.corrcoef(fired[a], fired[b])[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("changes", "distances", "said"),
    [
        ({}, (), ()),
        ({"distance_cm": 0.4}, (), ("the test (0.4 cm)",)),
        ({}, (0.8, 0.2), ("--test-distances (0.2 cm)",)),
        ({"training_distance_min_cm": 0.3}, (), ("training (0.3 cm)",)),
        ({"training_distance_min_cm": 0.3, "training_fixed_distance": True}, (), ()),
        ({"sphere_radius_cm": 0.9}, (), ("the test (0.8 cm), training (0.8 cm)",)),
        ({"test_using_held_snapshots": True}, (), ("0 to 0.77 cm of the body (4 cm)",)),
        ({"test_using_held_snapshots": True, "held_test_spread": True}, (), ()),
        ({"speed_cm_s": 0.05}, (), ("moves at 0.1 cm/s", "a test of 50 s")),
    ],
)  # fmt: skip
def test_what_a_reader_should_know_first(changes, distances, said):
    found = notes(preset("ll_thesis", **changes), distances)
    assert len(found) == bool(said)
    for words in said:
        assert words in found[0]


@pytest.mark.parametrize(("every", "usable"), [(1, True), (60, True), (100, False), (10**6, False)])
def test_a_map_of_few_steps_is_not_usable(every, usable):
    step = np.arange(0, 1000, every)
    found = map_quality.map_quality(
        step, step * 79 // 1000, n_cells=80, x_cm=np.linspace(0, 4, 1000), dt_s=1e-3
    )
    assert found.usable == usable
    # A spike counts for 20 ms.
    assert found.valid_in_window == pytest.approx(min(1.0, 20 / every), abs=0.02)


def test_a_narrow_window_is_judged_by_its_own_steps():
    step = np.arange(1000)
    found = map_quality.map_quality(
        step, step * 79 // 1000, n_cells=80, x_cm=np.linspace(-0.5, 4.5, 1000), dt_s=1e-3,
        window_cm=(1.0, 2.0),
    )  # fmt: skip
    assert found.valid_fraction == pytest.approx(0.2, abs=0.01)  # of the whole path, as published
    assert found.valid_in_window == 1.0
    assert found.usable


def test_an_unknown_mode():
    with pytest.raises(ValueError, match="ll_thesis, ll_fast, ll_fast_literal"):
        preset("ll_huge")
    assert isinstance(preset("ll_fast_literal"), NetworkParams)


def test_held_positions_can_cover_the_body():
    p = preset("ll_thesis", test_using_held_snapshots=True)
    few = streams.stimulus_of_test(p)
    spread = streams.stimulus_of_test(dataclasses.replace(p, held_test_spread=True))
    assert few.x_cm.max() < 0.8  # the first 20 of 100 positions
    assert spread.x_cm.max() > 3.8
    assert_allclose(np.diff(np.unique(spread.x_cm)), 5 * 4 / 99)
