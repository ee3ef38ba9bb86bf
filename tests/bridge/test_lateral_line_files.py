"""Files of the lateral line: weights in any order, states of training, plans read back; limits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from lateral import small
from numpy.testing import assert_array_equal

from bridge.files.npz import read_npz, write_npz
from bridge.lateral_line.earlier import read_earlier
from bridge.lateral_line.options import PARAM_GROUPS
from bridge.lateral_line.params import NetworkParams, preset
from bridge.lateral_line.plan import make_plan
from bridge.lateral_line.record import Tail, TrainingRecord, tracked_synapses
from bridge.lateral_line.run_options import LATERAL_LINE_GROUPS
from bridge.lateral_line.training_state import (
    TrainingState,
    check_goes_on,
    read_state,
    state_sizes,
    write_state,
)
from bridge.lateral_line.weight_file import read_weights
from bridge.lateral_line.wiring import draw_wiring, ll_to_mon, n_synapses
from bridge.runs.options import parameters
from bridge.runs.resolve import resolve


@pytest.fixture
def six_arrays():
    """Return a network and a weight file of the published program for it, MON cell by MON cell."""
    p = small()
    wiring = draw_wiring(p)
    i, j = ll_to_mon(p)  # the order in which both programs draw
    rng = np.random.default_rng(1)
    arrays = {
        "mon_ts_w": rng.random(len(wiring.mon_ts_i)), "mon_ts_i": wiring.mon_ts_i,
        "mon_ts_j": wiring.mon_ts_j, "ll_mon_i": i.astype(np.int64),
        "ll_mon_j": j.astype(np.int64), "ll_mon_w_mV": rng.random(len(i)),
    }  # fmt: skip
    return wiring, arrays


def test_weights_of_the_published_program_in_its_own_order(six_arrays, tmp_path):
    wiring, arrays = six_arrays
    assert np.any(arrays["ll_mon_i"] != wiring.ll_mon_i)  # it is another order
    write_npz(tmp_path / "w.npz", arrays)
    found = read_weights(tmp_path / "w.npz", wiring)
    assert_array_equal(found.mon_ts_w, arrays["mon_ts_w"])
    assert found.ll_mon_w_init_mv is None

    def triples(i, j, w):
        return sorted(zip(i.tolist(), j.tolist(), w.tolist(), strict=True))

    assert triples(wiring.ll_mon_i, wiring.ll_mon_j, found.ll_mon_w_mv) == triples(
        arrays["ll_mon_i"], arrays["ll_mon_j"], arrays["ll_mon_w_mV"]
    )


def test_weights_in_the_order_of_the_network_stay_where_they_are(six_arrays, tmp_path):
    wiring, arrays = six_arrays
    w = np.arange(len(wiring.ll_mon_i), dtype=np.float64)
    arrays |= {"ll_mon_i": wiring.ll_mon_i, "ll_mon_j": wiring.ll_mon_j, "ll_mon_w_mV": w,
               "ll_mon_w_init_mV": -w}  # fmt: skip
    write_npz(tmp_path / "w.npz", arrays)
    found = read_weights(tmp_path / "w.npz", wiring)
    assert_array_equal(found.ll_mon_w_mv, w)
    assert_array_equal(found.ll_mon_w_init_mv, -w)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ll_mon_i", lambda a: np.roll(a, 1), "holds another network"),
        ("ll_mon_j", lambda a: a[:-1], "holds another network"),
        ("mon_ts_j", lambda a: a.astype(np.float64), "holds another network"),
        ("mon_ts_w", lambda a: a[:-1], "must hold 960 finite weights"),
        ("ll_mon_w_mV", lambda a: np.where(a == a[7], np.nan, a), "must hold 600 finite weights"),
        ("mon_ts_i", None, "mon_ts_i is missing"),
    ],
)
def test_weights_of_another_network(six_arrays, tmp_path, name, change, message):
    wiring, arrays = six_arrays
    array = arrays.pop(name)
    if change is not None:
        arrays[name] = change(array)
    write_npz(tmp_path / "w.npz", arrays)
    with pytest.raises(ValueError, match=rf"w\.npz.*{message}"):
        read_weights(tmp_path / "w.npz", wiring)


@pytest.fixture
def state():
    """Return a state of training after two trials."""
    p = small()
    rng = np.random.default_rng(2)
    arrays = {name: rng.random(n) for name, n in state_sizes(p, n_synapses(p)).items()}
    w = arrays["mon_ts.w"]
    record = TrainingRecord(trial_rates_hz=[[40.0, 6.0, 30.0], [41.0, 7.0, 31.0]])
    record.add_weights(0.0, w, w, tracked_synapses(p, len(w)))
    spikes = (np.array([3, 0]), np.array([120, 199]))
    return TrainingState(
        params=p, n_done=2, state=arrays, record=record, spikes_ts=spikes,
        tail=Tail(
            begin_step=0, n_steps=200, spikes=dict.fromkeys(("ll", "mon", "ts"), spikes),
            counts={name: np.arange(200, dtype=np.int32) + k
                    for k, name in enumerate(("ll", "mon", "ts"))},
        ),
        mon_ts_w_before=w, ll_mon_w_before_mv=arrays["ll_mon.w"],
    )  # fmt: skip


def test_a_state_comes_back_as_it_was(state, tmp_path):
    write_state(tmp_path / "s.npz", state)
    found = read_state(tmp_path / "s.npz")
    assert (found.params, found.n_done) == (state.params, 2)
    for name, array in state.state.items():
        assert_array_equal(found.state[name], array)
    assert_array_equal(found.spikes_ts, state.spikes_ts)
    assert_array_equal(found.tail.spikes["mon"], state.tail.spikes["mon"])
    for k, name in enumerate(("ll", "mon", "ts")):
        assert_array_equal(found.tail.counts[name], np.arange(200) + k)
    assert found.record.trial_rates_hz == state.record.trial_rates_hz


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mon_ts_w", lambda a: a[:-1], "mon_ts.w must hold 960 numbers"),
        ("state:mon.v", lambda a: np.where(a == a[5], np.nan, a), "mon.v holds numbers that are"),
        ("ll_mon_w_before_mV", lambda a: a * np.inf, "ll_mon_w_before_mV holds numbers that are"),
        ("state:ts.ge", lambda a: a.astype("U8"), "ts.ge must hold 20 numbers"),
        ("state:ts_inh.v", None, "other variables: ts_inh.v"),
        ("pending_ts", lambda a: a[0], "pending_ts must hold the cell and the step"),
        ("pending_ts", lambda a: a + 400, "pending_ts holds cells or steps that do not exist"),
        ("tail:mon", lambda a: a + 60, "tail:mon holds cells or steps that do not exist"),
        ("counts:ts", lambda a: a[1:], "counts:ts must hold 200 numbers of spikes"),
        ("counts:ll", lambda a: a - 1, "counts:ll must hold 200 numbers of spikes"),
        ("counts:mon", None, "'counts:mon' is missing"),
        ("trial_rates_hz", lambda a: a[:1], "trial_rates_hz must hold 2 x 3 numbers"),
        ("trial_idx", lambda a: np.int64(0), "trial_rates_hz must hold 1 x 3 numbers"),
        ("tracked_weight_series", lambda a: a[:, 1:], "tracked_weight_series must hold 1 x 24"),
        ("w_std_series", lambda a: a[:0], "series differ in length"),
        ("checkpoint_t_s", lambda a: a * np.nan, "checkpoint_t_s holds numbers that are not"),
        ("description", lambda a: a[:10], "not a state of lateral-line training"),
        ("description", lambda a: np.frombuffer(b"[" * 99_999, np.uint8), "not a state of"),
        ("w_mean_series", None, "'w_mean_series' is missing"),
    ],
)
def test_a_state_with_wrong_arrays_names_its_file(state, tmp_path, name, change, message):
    path = tmp_path / "s.npz"
    write_state(path, state)
    arrays = read_npz(path)
    array = arrays.pop(name)
    if change is not None:
        arrays[name] = change(array)
    write_npz(path, arrays)
    with pytest.raises(ValueError, match=message) as raised:
        read_state(path)
    assert str(raised.value).startswith(f"{path} is not a state of lateral-line training")
    assert "\n" not in str(raised.value)


def test_a_control_of_an_earlier_version_goes_on(state, tmp_path):
    # Its parameters still held the increments, beside the word that nothing is plastic.
    path = tmp_path / "s.npz"
    write_state(path, state)
    arrays = read_npz(path)
    described = json.loads(arrays["description"].tobytes()) | {"plastic": False}
    assert described["params"]["mon_ts_apre"] > 0
    arrays["description"] = np.frombuffer(json.dumps(described).encode(), dtype=np.uint8)
    write_npz(path, arrays)
    check_goes_on(path, read_state(path), small().without_plasticity())
    with pytest.raises(ValueError, match="differ in --disable-all-stdp"):
        check_goes_on(path, read_state(path), small())


def test_the_spikes_of_an_earlier_version_are_not_shown(state, tmp_path):
    # It kept the first 400 cells of a layer and no counts: neither raster nor rate of the layer.
    path = tmp_path / "s.npz"
    write_state(path, state)
    arrays = {k: v for k, v in read_npz(path).items() if not k.startswith("counts:")}
    described = json.loads(arrays["description"].tobytes()) | {"version": 1}
    arrays["description"] = np.frombuffer(json.dumps(described).encode(), dtype=np.uint8)
    write_npz(path, arrays)
    found = read_state(path)
    assert (found.tail.begin_step, found.tail.n_steps) == (200, 0)
    assert all(not len(cell) for cell, _ in found.tail.spikes.values())
    assert_array_equal(found.state["mon_ts.w"], state.state["mon_ts.w"])


def test_without_plasticity_nothing_can_move():
    p = small()
    still = p.without_plasticity()
    assert p.plastic
    assert not still.plastic
    assert (still.mon_ts_apre, still.mon_ts_apost, still.ll_mon_apre, still.ll_mon_apost) == (
        0,
    ) * 4
    assert (still.mon_ts_homeo_eta, still.ll_mon_homeo_eta) == (0, 0)
    # LL to MON that is not plastic has increments without effect.
    assert not dataclasses.replace(still, ll_mon_apre=0.01, ll_mon_use_stdp=False).plastic
    assert dataclasses.replace(still, ll_mon_apre=0.01).plastic


def plan_of(earlier=None, **given):
    return make_plan(resolve(LATERAL_LINE_GROUPS, given), earlier)


@pytest.mark.parametrize("flag", ["with_control", "control_matched"])
def test_controls_belong_to_training(flag):
    words = f"--{flag.replace('_', '-')}"
    with pytest.raises(ValueError, match=f"{words} is for training"):
        plan_of(evaluate=Path("x"), **{flag: True})
    with pytest.raises(ValueError, match=f"leave {words} out"):
        plan_of(disable_all_stdp=True, **{flag: True})


def test_the_configuration_is_that_of_the_run():
    plan = plan_of(mode="ll_fast", n_mon=500, seed_start=7, disable_all_stdp=True)
    config, params = plan.to_config(), plan.to_json()["network_params"]
    assert (config["n_mon"], config["n_ts"], config["ts_feedback_p"]) == (500, 80, 0.3)
    assert (config["preset"], config["seed_start"], config["mon_ts_apre"]) == ("ll_fast", 7, 0)
    shared = [(p.key, p.name) for group in PARAM_GROUPS for p in parameters(group)]
    assert {name for _, name in shared} | {"seed"} == set(params)
    for key, name in shared:
        assert config.get(key) == params[name], key


def test_a_plan_is_read_back_from_its_folder(tmp_path):
    plan = plan_of(mode="ll_fast", runs_dir=tmp_path, run_name="a", with_control=True,
                   save_tag="t", multi_seed=3, test_distances=[0.4, 0.8])  # fmt: skip
    plan.folder.mkdir()
    (plan.folder / "params.json").write_text(json.dumps(plan.to_json()))
    (plan.folder / "config.json").write_text(
        json.dumps({"mode": "lateral-line", **plan.to_config()})
    )
    found = read_earlier(plan.folder)
    assert (found.options, found.params) == (plan.options, plan.params)
    resumed = plan_of(found, resume_from=plan.folder)
    assert resumed.options == dataclasses.replace(plan.options, resume_from=plan.folder)
    elsewhere = plan_of(found, resume_from=plan.folder, run_name="b", with_control=False)
    assert elsewhere.folder == tmp_path / "b"
    assert not elsewhere.options.with_control
    tested = plan_of(found, evaluate=plan.folder, run_name="c")
    assert (tested.options.with_control, tested.options.save_tag) == (False, "latest")
    assert (tested.params, tested.seeds) == (plan.params, [123, 124, 125])


def test_a_folder_of_an_earlier_version_is_read_by_its_parameters(tmp_path):
    # Its config.json held the defaults, and its control the increments that were not applied.
    plan = plan_of(mode="ll_fast", run_name="a", runs_dir=tmp_path, n_ll=50)
    (tmp_path / "params.json").write_text(json.dumps(plan.to_json() | {"multi_seed": 2}))
    (tmp_path / "config.json").write_text(json.dumps({
        "mode": "lateral-line", "preset": "ll_thesis", "n_mon": 3200, "multi_seed": 1,
        "disable_all_stdp": True, "save_tag": "t",
    }))  # fmt: skip
    found = read_earlier(tmp_path)
    assert (found.options.preset, found.options.multi_seed, found.options.save_tag) == (
        "ll_fast", 2, "t"
    )  # fmt: skip
    assert found.params == plan.params.without_plasticity()
    (tmp_path / "config.json").unlink()  # as the published program leaves it
    assert read_earlier(tmp_path).params == plan.params


@pytest.mark.parametrize("name", ["../x", "/abs/x", "", "  ", "..", "a/../../b"])
def test_a_run_name_stays_in_the_folder_of_runs(name):
    with pytest.raises(ValueError, match=r"--run-name .* --runs-dir"):
        plan_of(run_name=name)


def test_a_run_name_with_slashes_is_made_one_name(caplog):
    assert plan_of(run_name="a/b\\c").run_name == "a_b_c"  # as in the published program
    assert "the folder is called a_b_c" in caplog.text


NUMBERS = [p for group in PARAM_GROUPS for p in parameters(group)
           if p.kind in (int, float) and p.choices is None]  # fmt: skip


@pytest.mark.parametrize("parameter", NUMBERS, ids=lambda p: p.flag)
def test_every_number_has_an_end(parameter):
    huge = 2**63 - 1 if parameter.kind is int else 1e308
    with pytest.raises(ValueError, match=f"--{parameter.flag} = .*<= "):
        preset("ll_thesis", **{parameter.name: huge})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_training_trials": 10_000_000, "trial_duration_s": 3600.0}, r"2147483647 steps"),
        ({"n_training_trials": 10_000_000, "trial_duration_s": 0.1, "checkpoint_trials": 1,
          "training_position_hold_s": 1e-4}, r"1e\+09 training positions"),
        ({"speed_cm_s": 1e-6, "test_using_held_snapshots": True},
         r"5e\+11 rates of the afferents in the test"),
        ({"speed_cm_s": 1e-6}, None),  # the sphere of a sweep moves at 0.1 cm/s
        ({"speed_cm_s": 1e-6, "test_path_cm": 1000.0}, r"1e\+09 rates of the afferents in the"),
        ({"bg_rate_mon_hz": 1001.0}, r"--bg-rate-mon-hz 1001 is more than a spike per step"),
        ({"n_mon": 1_000_000, "mon_to_ts_out_degree": 300}, r"synapses"),
        ({"n_mon": 200_000, "n_ll": 5000, "ll_to_mon_topography_strength": 0.0}, r"synapses"),
        ({"checkpoint_save_every_n_checkpoints": 1000, "checkpoint_trials": 1}, None),
        ({"checkpoint_save_every_n_checkpoints": 10_000, "n_training_trials": 10_000,
          "checkpoint_trials": 1}, r"weights that are recorded"),
        ({"trial_duration_s": 3600.0, "n_training_trials": 50}, r"rates of the afferents from one"),
        ({"trial_duration_s": 30.0, "n_training_trials": 50, "bg_rate_mon_hz": 900.0},
         r"background spikes"),
    ],
)  # fmt: skip
def test_what_no_memory_holds(changes, message):
    if message is None:
        assert isinstance(preset("ll_thesis", **changes), NetworkParams)
        return
    with pytest.raises(ValueError, match=message):
        preset("ll_thesis", **changes)
