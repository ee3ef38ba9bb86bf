"""The lateral-line network: the same bits on every target, cut or whole; freezing; homeostasis."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from lateral import small
from legible import check_legible
from numpy.testing import assert_allclose, assert_array_equal

from bridge.lateral_line import homeostasis
from bridge.lateral_line.params import preset
from bridge.lateral_line.poisson import draw_spikes
from bridge.lateral_line.record import TrainingRecord, tracked_synapses
from bridge.lateral_line.streams import TrainingDrive
from bridge.lateral_line.training_state import TrainingState, read_state, write_state
from bridge.lateral_line.wiring import draw_wiring
from scope.figures.lateral_line.activity import draw_drive_winner
from scope.figures.lateral_line.figures import FIGURES
from scope.style import house_style
from sim_brian.engine import program as engine
from sim_brian.engine import toolchain
from sim_brian.engine.program import EngineOptions
from sim_brian.lateral_line import checkpoints
from sim_brian.lateral_line.model import LateralLineModel, Tables, initial_state
from sim_brian.lateral_line.train import (
    Session,
    run_control,
    run_matched_control,
    run_network,
)

NUMPY = EngineOptions(target="numpy")


@pytest.fixture(scope="module")
def whole():
    """Return the small network, trained and tested without a break, and its saved states."""
    states: list[TrainingState] = []
    result, _ = run_network(small(), engine=NUMPY, save=states.append)
    return result, states


def same_result(one, other):
    assert_array_equal(one.mon_ts_w, other.mon_ts_w)
    assert_array_equal(one.ll_mon_w_mv, other.ll_mon_w_mv)
    for name in ("ll", "mon", "ts"):
        assert_array_equal(one.test.spikes[name], other.test.spikes[name])
    for key, series in one.record.to_arrays().items():
        assert_array_equal(series, other.record.to_arrays()[key], err_msg=key)


def test_the_small_network_does_something(whole):
    result, states = whole
    assert [s.n_done for s in states] == [2, 4]
    assert result.mean_rates_hz()["ts"] > 1
    numbers = result.weight_numbers()
    assert numbers["w_frac_moved"] > 0.5
    assert numbers["ll_mon_w_mean_abs_delta_mv"] > 0.1
    assert len(result.record.t_s) == 5
    assert len(result.record.pv_t_s) == 2


@pytest.mark.parametrize(
    "name", ["brian2_spatial_two_stage", "brian2_test_phase_only", "brian2_learning_curves"]
)
def test_the_figures_with_many_texts_can_be_read(whole, name):
    with house_style():
        check_legible(FIGURES[name](whole[0]))


def test_a_position_without_drive_has_no_winner(whole):
    result, _ = whole
    cell, step = result.test.spikes["mon"]
    early = step < len(result.test.stimulus.t_s) // 2
    spikes = result.test.spikes | {"mon": (cell[early], step[early])}
    test = dataclasses.replace(result.test, spikes=spikes)
    figure = draw_drive_winner(dataclasses.replace(result, test=test))
    winner = figure.axes[0].lines[0].get_ydata()
    assert np.isfinite(winner[:10]).any()
    assert np.isnan(winner[-10:]).all()


@pytest.mark.compiler
def test_the_compiled_program_computes_the_same_bits(whole):
    if toolchain.missing_for("cpp"):
        pytest.skip(toolchain.missing_for("cpp"))
    result, _ = run_network(small(), engine=EngineOptions(target="cpp"))
    assert result.target == "cpp"
    same_result(result, whole[0])


@pytest.mark.slow
@pytest.mark.compiler
def test_cython_computes_the_same_bits(not_optimised):
    if toolchain.missing_for("cython"):
        pytest.skip(toolchain.missing_for("cython"))
    # Without homeostasis and feedback: each kind of loop is compiled by itself.
    plain = small(
        ll_mon_homeo_eta=0.0, mon_ts_homeo_eta=0.0, use_ts_feedback_inh=False, n_training_trials=2
    )
    results = [
        run_network(plain, engine=EngineOptions(target=target))[0] for target in ("numpy", "cython")
    ]
    assert results[1].target == "cython"
    same_result(results[1], results[0])


# brian2cuda leaves files to the garbage collector and uses regular expressions carelessly.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::SyntaxWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_cuda_code_can_be_generated(tmp_path):
    pytest.importorskip("brian2cuda")
    from sim_brian.engine.standalone import generate

    p = small()
    w = draw_wiring(p)
    spikes = draw_spikes(p, TrainingDrive(p).read(0, 1)[0], [0])
    model = LateralLineModel(
        params=p, wiring=w, tables=Tables(ll=1024, mon=1024, ts=1024), state=initial_state(p, w),
        spikes=spikes, n_steps=p.trial_steps, plastic=True, homeostasis_inside=False,
    )  # fmt: skip
    with engine._device("cuda", fast_math=False):
        generate(model, "cuda", tmp_path)
    text = "".join(path.read_text() for path in tmp_path.rglob("*.cu"))
    made = set(re.findall(r"\w+_codeobject", text))
    made = {name.removeprefix("_run_") for name in made}
    assert {"mon_step_codeobject", "mon_ts_pre_codeobject", "ll_mon_post_codeobject",
            "checkpoints_mon_ts_codeobject", "mon_background_resetter_codeobject",
            }  <= made  # fmt: skip
    # Sums over synapses in a kernel without atomic additions would be wrong.
    assert not any("_sum" in name for name in made)


def test_cpp_code_is_the_same_whatever_order_brian2_takes(tmp_path):
    """The clocks of a network come from a set; the loop must not ask for the time at each object.

    Both are mended in the generated text: a Brian2 that writes another one shows here.
    """
    from sim_brian.engine.standalone import generate, order_clocks

    p = small(n_training_trials=1)
    w = draw_wiring(p)
    spikes = draw_spikes(p, TrainingDrive(p).read(0, 1)[0], [0])
    model = LateralLineModel(
        params=p, wiring=w, tables=Tables(ll=1024, mon=1024, ts=1024), state=initial_state(p, w),
        spikes=spikes, n_steps=p.trial_steps, plastic=True,
    )  # fmt: skip
    with engine._device("cpp", fast_math=False):
        generate(model, "cpp", tmp_path)
    main = (tmp_path / "main.cpp").read_text()
    resets = re.findall(r"_array_(\w+)_timestep\[0\] = 0;", main)
    assert resets == sorted(resets) == ["checkpoints", "steps", "trials"]
    lines = re.findall(r"(?m)^ *_array_\w+_t(?:imestep)?\[0\] = .*\n", main)
    other = tmp_path / "other.cpp"
    other.write_text(main.replace("".join(lines), "".join([*lines[2:], *lines[:2]])))
    assert other.read_text() != main
    order_clocks(other)
    assert other.read_text() == main
    texts = [path.read_text() for path in tmp_path.rglob("*.cpp")]
    loops = [text for text in texts if "while(clock && clock->running())" in text]
    assert loops
    for text in loops:  # as generated, and merged with other files
        loop = text[text.index("while(clock && clock->running())") : text.index("t = t_end;")]
        assert loop.count("std::clock()") == 2
        assert "if (report_func && i == 0 && (n_looked++ & 15) == 0)" in loop
        assert loop.rindex("std::clock()") > loop.rindex("next_clocks()") + 20


def test_a_resumed_training_goes_on_with_the_same_bits(whole, tmp_path):
    result, states = whole
    first = states[0]
    path = tmp_path / "state.npz"
    write_state(path, first)
    saved = read_state(path)
    assert saved.params == small()
    assert saved.n_done == 2
    resumed, _ = run_network(small(), engine=NUMPY, start=saved)
    same_result(resumed, result)


def test_training_can_be_prolonged():
    ended = {}
    for n_trials, start in ((1, None), (3, 1), (3, None)):
        p = small(n_training_trials=n_trials, checkpoint_trials=2)
        with Session(p, NUMPY) as session:
            # A training that ended off a checkpoint: its successor gets back into step.
            begin = session.begin() if start is None else ended[start, None]
            states = [begin]
            session.train(begin, save=states.append)
        ended[n_trials, start] = states[-1]
    one, other = ended[3, 1], ended[3, None]
    for name, array in one.state.items():
        assert_array_equal(array, other.state[name])
    assert one.record.t_s[-2:] == other.record.t_s[-2:]
    assert one.record.w_mean[-2:] == other.record.w_mean[-2:]


def test_training_does_not_depend_on_how_often_it_is_saved(whole):
    other, _ = run_network(small(checkpoint_save_every_n_checkpoints=5), engine=NUMPY)
    same_result(other, whole[0])


def test_repeated_tests_leave_the_first_one_as_it_is(whole):
    result, _ = whole
    states = []
    again, _ = run_network(small(), engine=NUMPY, n_repeats=3, save=states.append)
    same_result(again, result)
    assert len(again.repeats) == 3
    assert_array_equal(again.repeats[0].spikes["ts"], result.test.spikes["ts"])
    assert again.repeats[0].numbers == result.test.to_json()
    for a, b in ((0, 1), (0, 2), (1, 2)):
        one, other = (again.repeats[k].spikes["ll"] for k in (a, b))
        assert not np.array_equal(one, other)
    row = again.to_json()
    assert [one["repeat"] for one in row["repeats"]] == [0, 1, 2]
    assert all(one["decoder_error_ll_cm"] > 0 for one in row["repeats"])
    rates = [one["rate_test_ts_hz"] for one in row["repeats"]]
    assert again.mean_test_rate_hz("ts") == pytest.approx(np.mean(rates))
    assert rates[0] == pytest.approx(row["n_spikes_test_ts"] / (20 * 0.2))  # cells, seconds
    assert "repeats" not in result.to_json()


def test_a_matched_control_fires_as_asked_and_learns_nothing():
    p = small(n_training_trials=2)
    plain = run_control(p, n_trials=2, n_repeats=2, engine=NUMPY)
    target = 0.6 * plain.mean_test_rate_hz("ts")
    found, match = run_matched_control(
        p, target_hz=target, n_trials=2, n_repeats=2, engine=NUMPY
    )  # fmt: skip
    assert match.reached
    assert match.scale < 1
    assert found.mean_test_rate_hz("ts") == match.rate_hz == pytest.approx(target, rel=0.05)
    assert_array_equal(found.mon_ts_w, match.scale * plain.mon_ts_w)
    assert_array_equal(found.ll_mon_w_mv, plain.ll_mon_w_mv)
    assert found.to_json()["w_mean_abs_delta"] == 0
    assert_array_equal(found.test.spikes["mon"], plain.test.spikes["mon"])  # nothing goes back


@pytest.fixture(scope="module")
def many_cells():
    """Return a network with more MON cells than are shown, of which half are silent."""
    p = small(n_mon=800, n_training_trials=2, ll_to_mon_topography_strength=1.0)
    return run_network(p, engine=NUMPY, plastic=False)[0]


def test_the_end_of_training_counts_all_cells(many_cells):
    result = many_cells
    p, tail = result.params, result.tail
    assert (tail.begin_step, tail.n_steps) == (0, 200)
    rates = np.mean(result.record.trial_rates_hz, axis=0)
    for k, (name, n) in enumerate((("ll", 20), ("mon", 800), ("ts", 20))):
        assert tail.counts[name].sum() / (n * 0.2) == pytest.approx(rates[k])
    cells = np.unique(tail.spikes["mon"][0])
    assert np.all(cells % 2 == 0)
    assert cells.max() >= 600  # evenly over the body, not its first half
    assert p.n_mon == 800


def test_the_rates_in_the_figures_are_those_of_all_cells(many_cells):
    result = many_cells
    with house_style():
        axes = FIGURES["brian2_spatial_two_stage"](result).axes
        transition = FIGURES["brian2_ts_pop_rate_train_test_transition"](result).axes[0]
    drawn = next(ax for ax in axes if ax.get_title(loc="left").startswith("Rates, all cells"))
    steps = {"mon": 0, "ts": 1}
    for name, line in steps.items():
        rate = np.asarray(drawn.lines[line].get_ydata())
        n_cells = {"mon": 800, "ts": 20}[name]
        spikes = result.tail.counts[name].sum() + len(result.test.spikes[name][0])
        # Smoothing moves spikes within 20 ms; some leave at the very ends.
        assert rate.sum() * 1e-3 * n_cells == pytest.approx(spikes, rel=0.02)
    assert_array_equal(transition.lines[0].get_ydata(), drawn.lines[1].get_ydata())
    titles = [ax.get_title(loc="left") for ax in axes]
    assert "MON, every 2nd of 800 cells" in titles


def test_a_resumed_training_counts_the_same_spikes(whole, tmp_path):
    result, states = whole
    write_state(tmp_path / "state.npz", states[0])
    resumed, _ = run_network(small(), engine=NUMPY, start=read_state(tmp_path / "state.npz"))
    for name in ("ll", "mon", "ts"):
        assert_array_equal(resumed.tail.counts[name], result.tail.counts[name])
        assert_array_equal(resumed.tail.spikes[name], result.tail.spikes[name])


@pytest.mark.parametrize(("window", "low", "high"), [("cycle", 0.0, 0.1), ("checkpoint", 1.0, 4.0)])
def test_a_part_of_a_sweep_is_no_map_of_its_own(window, low, high):
    # TS names every place on the body rightly; 0.4 s of a sweep of 1 s have been shown.
    p = small(pv_window=window)
    x_cm = TrainingDrive(p).read(0, 4)[1]
    cell = np.rint(x_cm / p.ll_body_length_cm * (p.n_ts - 1)).astype(np.int64)
    record = TrainingRecord()
    w = np.full(960, 0.02)
    record.add_weights(0.0, w, w, tracked_synapses(p, len(w)))
    record.add_weights(0.1, w, w, tracked_synapses(p, len(w)))
    with Session(p, NUMPY) as session:
        now = dataclasses.replace(session.begin(), record=record, mon_ts_w_before=w)
    checkpoints._checkpoint(p, record, now, 4, w, (cell, np.arange(400)), (0, x_cm))
    assert low < record.pv_sigma_theta[-1] < high


def test_the_test_changes_no_weight(whole):
    result, states = whole
    settled = {
        name: homeostasis.after_trial(
            small(), result.wiring, name, states[-1].state[f"{name}.w"], 4
        )
        for name in ("ll_mon", "mon_ts")
    }
    assert_array_equal(result.mon_ts_w, settled["mon_ts"])
    assert_array_equal(result.ll_mon_w_mv, settled["ll_mon"])


def test_weights_move_in_the_test_where_that_is_asked_for(whole):
    _, states = whole
    keeps = small(keep_mon_ts_stdp_during_test=True)
    with Session(keeps, NUMPY, train=False) as session:
        _, after = session.test(states[-1].state, None)
    assert np.any(after["mon_ts.w"] != states[-1].state["mon_ts.w"])
    assert_array_equal(after["ll_mon.w"], states[-1].state["ll_mon.w"])


def test_without_plasticity_no_bit_of_a_weight_changes():
    result, _ = run_network(small(n_training_trials=2), engine=NUMPY, plastic=False)
    assert result.mean_rates_hz()["ts"] > 1
    assert_array_equal(result.mon_ts_w, result.wiring.mon_ts_w)
    assert_array_equal(result.ll_mon_w_mv, result.wiring.ll_mon_w_mv)
    assert result.record.stabilisation_s is None  # it never moved: nothing has settled


def test_saved_weights_give_the_test_again(whole):
    result, _ = whole
    again, others = run_network(
        small(), engine=NUMPY, weights=(result.ll_mon_w_mv, result.mon_ts_w),
        distances_cm=(0.8, 1.6),
    )  # fmt: skip
    assert_array_equal(again.test.spikes["ll"], result.test.spikes["ll"])
    assert_array_equal(again.mon_ts_w, result.mon_ts_w)
    assert min(again.seconds.values()) >= 0  # making the program is no training
    # Only the state of the cells at the start differs.
    counts = [len(one.test.spikes["mon"][0]) for one in (again, result)]
    assert counts[0] == pytest.approx(counts[1], rel=0.1)
    assert_array_equal(others[0.8].spikes["ts"], again.test.spikes["ts"])
    far, near = others[1.6].stimulus, others[0.8].stimulus
    assert np.abs(far.v_cm_s).max() < 0.2 * np.abs(near.v_cm_s).max()  # as the cube of distance
    assert np.any(others[1.6].spikes["ll"][1][:20] != others[0.8].spikes["ll"][1][:20])


@pytest.mark.parametrize(("target_sum", "eta"), [("current", 0.3), ("initial", 0.3),
                                                 ("current", 20.0)])  # fmt: skip
def test_homeostasis_inside_the_run_is_that_of_the_formula(target_sum, eta):
    # No spikes, no learning: weights move by homeostasis alone, after trials 2 and 4, 3.
    p = small(
        n_training_trials=5, checkpoint_save_every_n_checkpoints=5, bg_rate_mon_hz=0.0,
        bg_rate_ts_hz=0.0, ll_rate_gain=0.0, mon_ts_homeo_target=target_sum,
        ll_mon_homeo_eta=eta, mon_ts_homeo_eta=eta,
    )  # fmt: skip
    with Session(p, NUMPY) as session:
        now = session.begin()
        found = session.train(now).state
        # Start weights of which the sums differ: those drawn.
        ll, ts = now.state["ll_mon.w"], now.state["mon_ts.w"]
        for k in range(1, 6):
            ll = homeostasis.after_trial(p, session.wiring, "ll_mon", ll, k)
            ts = homeostasis.after_trial(p, session.wiring, "mon_ts", ts, k)
    assert np.abs(ll - now.state["ll_mon.w"]).max() > 0.01
    assert_allclose(found["ll_mon.w"], ll, rtol=1e-13)  # sums in another order: rounding
    assert_allclose(found["mon_ts.w"], ts, rtol=1e-13)


def test_homeostasis_between_runs_gives_the_same_training(whole):
    _, states = whole
    with Session(small(), NUMPY, homeostasis_inside=False) as session:
        ended = session.train(session.begin())
    for name, w in session._settled(states[-1]).state.items():
        if name.endswith(".w"):
            assert_allclose(ended.state[name], w, rtol=1e-9)  # sums in another order: rounding
    assert len(ended.record.t_s) == len(states[-1].record.t_s)


def test_a_seed_gives_the_same_in_any_company(whole):
    _, states = whole
    for seed in (124, 123):  # 123 as a later seed of the same process
        with Session(small(seed=seed, n_training_trials=2), NUMPY) as session:
            found = session.train(session.begin()).state
        same = np.array_equal(found["mon.v"], states[0].state["mon.v"])
        assert same == (seed == 123)


@pytest.mark.slow
@pytest.mark.compiler
def test_short_thesis_runs_are_statistically_those_published(reference):
    if toolchain.missing_for("cpp"):
        pytest.skip(toolchain.missing_for("cpp"))
    runs = json.loads((reference / "lateral_line_network_runs.json").read_text())["runs"]
    names = [run["name"] for run in runs]
    for seed in (123, 124, 125):
        assert f"thesis8_{seed}" in names
        p = preset("ll_thesis", n_training_trials=8, seed=seed)
        result, _ = run_network(p, engine=EngineOptions(target="cpp"))
        rates, w = result.mean_rates_hz(), result.weight_numbers()
        # The bands in which the published runs lie, stated with their numbers.
        assert 49.5 < rates["ll"] < 51.5
        assert 16.5 < rates["mon"] < 19.5
        assert 0.3 < rates["ts"] < 2.5
        assert 0.018 < w["w_mean"] < 0.023
        assert 0.0055 < w["w_std"] < 0.0085
        assert (w["w_mean_before"], w["w_std_before"]) == pytest.approx((0.0225, 0.00144), rel=0.01)
