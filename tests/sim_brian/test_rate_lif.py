"""The converted network in Brian2: the published spikes, runs side by side, its options."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from plain_lif import plain_lif
from rate_models import NUMPY, SHORT, fields, model_file

from bridge.rate_to_spike import GoNogoTask, RateModel
from bridge.rate_to_spike.lif import convert
from bridge.rate_to_spike.trials import draw_trials, run_rng
from sim_brian.engine.program import EngineOptions, run_model
from sim_brian.engine.toolchain import missing_for
from sim_brian.rate_lif.network import LIF_network_fnc, spikes_of, time_axis
from sim_brian.rate_lif.runs import Batch, run_trials

FULL = ("go_lam25", "go_lam50", "nogo_lam25", "nogo_lam50")
SHORT_RUNS = ("short_unrectified", "short_exc", "short_inh", "short_ds2", "short_initial",
              "short_nonoise")  # fmt: skip


@pytest.fixture(scope="module")
def golden(reference):
    with np.load(reference / "rate_to_spike_lif.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def published_run(data, reference, run, engine):
    def of(key):
        return data[f"{run}_{key}"]

    noise = np.random.default_rng(int(of("noise_seed"))).standard_normal((int(of("nt")), 50))
    noise = noise * data.get(f"{run}_noise_scale", 1.0)
    coins = data.get(f"{run}_coin_seed")
    return LIF_network_fnc(
        reference / "rate_to_spike_model.mat", float(of("lambda")), of("u"),
        json.loads(str(data[f"{run}_stims"])) if f"{run}_stims" in data else {"mode": "none"},
        int(data.get(f"{run}_ds", 1)), run == "short_initial", noise=noise,
        v0=-65 + 95 * np.random.default_rng(int(of("v0_seed"))).random(50),
        coins=None if coins is None else np.random.default_rng(int(coins)),
        rectify=False if run == "short_unrectified" else "auto", engine=engine,
    )  # fmt: skip


def assert_published(data, run, result):
    w, rec, spk, rs, all_fr, out, params = result
    step, cell = np.nonzero(spk.T)
    np.testing.assert_array_equal(step, data[f"{run}_spike_step"])
    np.testing.assert_array_equal(cell, data[f"{run}_spike_neuron"])
    assert len(step) > 100, "a silent network proves nothing"
    # The order of sums is free: rounding of float64 over 20 000 steps.
    np.testing.assert_allclose(out, data[f"{run}_out"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(all_fr, data[f"{run}_all_fr"], rtol=1e-14)
    np.testing.assert_allclose(w[0], data[f"{run}_W_row0"], rtol=1e-14)
    for name, found in (("v", rec), ("ipsc", params["IPSCs"]), ("rs", rs)):
        np.testing.assert_allclose(
            found[:3, ::20], data[f"{run}_{name}_sub"], rtol=0, atol=1e-11, err_msg=name
        )
    for name in ("dt", "T", "nt"):
        assert params[name] == data[f"{run}_{name}"], name
    np.testing.assert_array_equal(params["td"], data[f"{run}_td"])


@pytest.mark.parametrize("run", SHORT_RUNS)
def test_short_runs_are_the_published_ones(golden, reference, run):
    assert_published(golden, run, published_run(golden, reference, run, NUMPY))


@pytest.mark.compiler
@pytest.mark.slow
def test_whole_trials_of_a_compiled_program_are_the_published_ones(golden, reference):
    if missing_for("cpp"):
        pytest.skip(missing_for("cpp"))
    for run in FULL:
        assert_published(
            golden, run, published_run(golden, reference, run, EngineOptions(target="cpp"))
        )


def go(n_columns=15):
    u = np.zeros((1, n_columns))
    u[0, 3:6] = 1.0
    return u


def test_a_network_of_another_hand_fires_the_same_spikes():
    model = RateModel.from_fields(fields())
    rng = np.random.default_rng(4)
    noise, v0 = rng.standard_normal((1400, 20)), -65 + 95 * rng.random(20)
    result = LIF_network_fnc(fields(), 12.0, go(), noise=noise, v0=v0, engine=NUMPY)
    spikes, rates, voltages, out = plain_lif(
        model.signed_w(), model.w_in, model.w_out, model.tau_steps() * 0.005, 12.0, go(), noise, v0
    )
    assert spikes.sum() > 30
    np.testing.assert_array_equal(result[2].T, spikes)
    np.testing.assert_allclose(result[1].T, voltages, rtol=0, atol=1e-11)
    np.testing.assert_allclose(result[3].T, rates, rtol=0, atol=1e-10)
    np.testing.assert_allclose(result[5], out, rtol=0, atol=1e-12)
    assert (time_axis(result[6])[0], len(time_axis(result[6]))) == (5e-5, 1400)


def short_trials(n, seed=5):
    return draw_trials(GoNogoTask(SHORT), n, seed)


def test_runs_side_by_side_are_the_runs_alone():
    network = convert(RateModel.from_fields(fields()))
    trials = short_trials(2)
    given = {"seed": 5, "n_columns": 13, "threshold": 0.7, "network": network}
    batch = Batch(factors=(10.0, 20.0), trials_at_once=3, **given)
    model = batch.model(trials)  # one place stays empty
    raw = run_model(model, NUMPY)
    spikes = spikes_of(raw, model)
    found = batch.measure(trials, raw, model)
    for k, trial in enumerate(trials):
        rng = run_rng(5, trial.number)
        v0 = -65 + 95 * rng.random(20)
        noise = rng.standard_normal((1200, 20))
        for f, factor in enumerate(batch.factors):
            alone = LIF_network_fnc(
                fields(), factor, trial.u, noise=noise, v0=v0, record=("spk",), engine=NUMPY
            )
            step, cell = np.nonzero(alone[2].T)
            mine = spikes.run == 2 * k + f
            np.testing.assert_array_equal(spikes.step[mine], step)
            np.testing.assert_array_equal(spikes.cell[mine], cell)
            window = alone[5][trial.start :]
            assert found["highest"][k, f] == pytest.approx(window.max(), abs=1e-12)
            assert found["lowest"][k, f] == pytest.approx(window.min(), abs=1e-12)
            rate = (step >= 10).sum() / 20 / 0.06
            mean = (
                found["rate_exc_hz"][k, f] * (~network.inh).sum()
                + found["rate_inh_hz"][k, f] * network.inh.sum()
            ) / 20  # fmt: skip
            assert mean == pytest.approx(rate)
    assert len(found["highest"]) == 2


def test_results_do_not_depend_on_what_runs_beside_them(monkeypatch):
    network = convert(RateModel.from_fields(fields()))
    given = {"seed": 5, "jobs": 1, "engine": NUMPY}

    def table(factors, trials):
        blocks = list(run_trials(network, factors, trials, **given))
        return np.concatenate([block["highest"] for block in blocks]), len(blocks)

    together, n_together = table([10, 20], short_trials(4))
    monkeypatch.setattr("sim_brian.rate_lif.runs.CELLS_AT_ONCE", 40)
    apart, n_apart = table([10, 20], short_trials(4))
    assert (n_together, n_apart) == (1, 4)
    np.testing.assert_array_equal(together, apart)
    one, _ = table([20], short_trials(4)[2:3])
    assert one[0, 0] == together[2, 1]


def test_noise_of_its_own_for_every_factor():
    network = convert(RateModel.from_fields(fields()))
    given = {"seed": 5, "jobs": 1, "engine": NUMPY}
    twice = [20.0, 20.0]
    (same,) = run_trials(network, twice, short_trials(1), **given)
    (other,) = run_trials(network, twice, short_trials(1), independent=True, **given)
    assert same["highest"][0, 0] == same["highest"][0, 1]
    assert other["highest"][0, 0] != other["highest"][0, 1]


def run(**given):
    given = {"seed": 3, "engine": NUMPY, **given}
    model = given.pop("model", fields())
    return LIF_network_fnc(model, 15.0, go(8), **given)


def test_options_do_what_they_say():
    plain = run()
    assert np.array_equal(run()[2], plain[2])  # a seed decides everything
    assert not np.array_equal(run(seed=4)[2], plain[2])
    biased = {**fields(), "b_out": 0.25}
    np.testing.assert_allclose(run(model=biased, add_bias=True)[5], plain[5] + 0.25)
    np.testing.assert_array_equal(run(model=biased)[5], plain[5])
    # Three quarters of the uniform start lie above threshold.
    assert 8 <= plain[2][:, 0].sum() <= 20
    assert run(init_v="subthreshold")[2][:, 0].sum() == 0
    for change in (
        {"parameters": {"tau_r_s": 0.0}}, {"parameters": {"t_ref_s": 0.004}},
        {"use_initial_weights": True},
    ):  # fmt: skip
        assert not np.array_equal(run(**change)[2], plain[2]), change


def test_whole_steps_of_refractoriness():
    # Strong input: cells fire as often as they may. 40 frozen steps and one to reach threshold.
    u = np.full((1, 6), 1e6)
    model = {**fields(), "w_in": np.ones((20, 1)), "w": np.zeros((20, 20))}
    for kind, shortest in (("steps", {41}), ("float", {40, 41})):
        spk = LIF_network_fnc(
            model, 20, u, noise=0, v0=np.full(20, -65.0), refractory=kind, engine=NUMPY
        )[2]
        gaps = set(np.diff(np.flatnonzero(spk[0])).tolist())
        assert gaps <= shortest
        assert 41 in gaps


def test_noise_keeps_its_size_per_second_when_asked():
    # Refractory throughout (frozen): the voltage is the sum of the noise.
    model = {**fields(n=60), "w": np.zeros((60, 60))}
    u = np.zeros((1, 5))
    for kind, size in (("step", 0.1), ("sqrt_dt", 0.1 * np.sqrt(2))):
        rec = LIF_network_fnc(
            model,
            20,
            u,
            None,
            2,
            seed=1,
            v0=np.full(60, -65.0),
            noise_scaling=kind,
            parameters={"t_ref_s": 10.0},
            record=("REC",),
            engine=NUMPY,
        )[1]
        steps = np.diff(rec, axis=1)  # 60 x 199 deviates: 1 % is more than two standard errors
        assert steps.std() == pytest.approx(size, rel=0.03)


def test_a_light_run_returns_nothing_large():
    w, rec, spk, rs, all_fr, out, params = run(record=())
    assert (rec, spk, rs, params["IPSCs"]) == (None, None, None, None)
    assert w.shape == (20, 20)
    np.testing.assert_array_equal(out, run()[5])
    np.testing.assert_array_equal(all_fr, run()[4])


def test_the_readout_of_the_filtered_trains_is_the_output():
    _, _, _, rs, _, out, params = run()
    np.testing.assert_allclose(params["w_out"].ravel() @ rs / 15.0, out, rtol=0, atol=1e-12)
    assert params["td"].shape == (20,)
    single = run(model={**fields(), "taus": np.array([10.0])})
    assert single[6]["td"] == 0.05


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"noise": np.zeros((5, 20))}, r"noise has shape \(5, 20\); needed are 700 steps and 20"),
        ({"v0": np.zeros(3)}, r"v0 has shape \(3,\)"),
        ({"downsample": 0}, "whole number >= 1"),
        ({"downsample": 8}, "leaves a single column"),
        ({"rectify": "yes"}, "must be 'auto', True or False"),
        ({"refractory": "some"}, "use float or steps"),
        ({"init_v": "zero"}, "use uniform or subthreshold"),
        ({"noise_scaling": "dt"}, "use step or sqrt_dt"),
        ({"parameters": {"tau_x": 1.0}}, "unknown 'tau_x'"),
        ({"parameters": {"v_th_mv": -70.0}}, "must lie above"),
        ({"record": ("spikes",)}, "use REC, spk, rs, IPSCs"),
        ({"stims": {"mode": "zap"}}, "use none, exc or inh"),
        ({"model": {**fields(), "w": np.ones((2, 2))}}, "w has shape"),
        ({"model": {k: v for k, v in fields().items() if k != "w0"}, "use_initial_weights": True},
         "w0 missing"),
    ],
)  # fmt: skip
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        run(**given)


def test_bad_factor_and_stimulus(tmp_path):
    path = model_file(tmp_path / "m.mat")
    with pytest.raises(ValueError, match="must be > 0"):
        LIF_network_fnc(path, -1, go())
    with pytest.raises(ValueError, match="needed are 1 rows"):
        LIF_network_fnc(path, 20, np.zeros((2, 9)))
    with pytest.raises(ValueError, match="not finite"):
        LIF_network_fnc(path, 20, np.full((1, 9), np.nan))
    with pytest.raises(FileNotFoundError):
        LIF_network_fnc(tmp_path / "none.mat", 20, go())


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_voltage_that_is_lost_is_an_error():
    # A spike adds up to 1.7e308 to a current, the next one makes it infinite; no file holds that.
    model = dataclasses.replace(RateModel.from_fields(fields()), w=np.full((20, 20), 1e305))
    with pytest.raises(ValueError, match="not finite at scaling factor 15"):
        run(model=model)


def test_an_input_that_is_lost_is_an_error():
    model = dataclasses.replace(RateModel.from_fields(fields()), w_in=np.full((20, 1), 1e200))
    with pytest.raises(ValueError, match="input times the input weights is not finite"):
        LIF_network_fnc(model, 15, np.full((1, 4), 1e200))
