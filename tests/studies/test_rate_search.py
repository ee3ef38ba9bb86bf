"""The scaling-factor search and the evaluations, on small drawn networks."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.io
from killed import kill_when_held
from rate_models import NUMPY, SHORT, fields, model_file
from user_tasks import PulseTask

from bridge.rate_to_spike.trials import draw_trials, task_of
from studies.rate_to_spike import (
    GoNogoSpikingTask,
    LIFConverter,
    LIFEvaluator,
    LIFNetworkAdapter,
    RateModel,
    SpikingEvaluatorFactory,
    SpikingTaskFactory,
    TaskFactory,
    create_default_spiking_config,
    evaluate_single_trial,
    evaluate_task,
    lambda_grid_search,
    load_model_and_scaling_factor,
    save_rate_model,
    update_rate_model,
)
from studies.rate_to_spike import search as module
from studies.rate_to_spike.measuring import SearchOptions
from studies.rate_to_spike.search import search_model

FAST = {"engine": NUMPY, "seed": 3}


def held(path):
    return scipy.io.loadmat(path)


def test_a_search_prints_what_the_original_prints_and_writes_its_fields(tmp_path, capsys):
    path = model_file(tmp_path / "rate_model_go_nogo.mat")
    before = held(path)
    with pytest.warns(UserWarning, match="edge of the grid"):
        best = lambda_grid_search(path, "go-nogo", 4, range(10, 21, 10), **FAST)
    after = held(path)
    accuracy = after["all_perfs_strict"].ravel()
    assert best == [10, 20][int(np.argmax(accuracy))]
    assert isinstance(best, int)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Analyzing rate_model_go_nogo.mat",
        "Processing go-nogo task",
        "Testing scaling factor: 10",
        f"Performance for scaling factor 10: {accuracy[0]:.3f}",
        "Testing scaling factor: 20",
        f"Performance for scaling factor 20: {accuracy[1]:.3f}",
        f"Best performance: {accuracy.max():.3f} with scaling factor: {best}",
        "Saved results for rate_model_go_nogo.mat",
    ]
    assert after["opt_scaling_factor"].shape == (1, 1)
    assert after["scaling_factors"].tolist() == [[10, 20]]
    assert after["all_perfs"].shape == (1, 2)
    for name, value in before.items():
        if not name.startswith("__"):
            np.testing.assert_array_equal(after[name], value, err_msg=name)


@pytest.mark.filterwarnings("ignore:.*edge of the grid")
def test_a_search_depends_on_its_seed_alone(tmp_path, monkeypatch):
    path = model_file(tmp_path / "m.mat")
    given = {"scaling_factors": [10, 15], "n_trials": 2, "verbose": False, **FAST}

    def found():
        return [held(path)[name].tolist() for name in ("all_perfs", "all_perfs_strict")]

    lambda_grid_search(model_path=path, **given)
    first = found()
    monkeypatch.setattr("sim_brian.rate_lif.runs.CELLS_AT_ONCE", 40)
    lambda_grid_search(model_path=path, method="process", n_workers=2, **given)
    assert found() == first
    more = [10, 15, 30]
    lambda_grid_search(model_path=path, **{**given, "scaling_factors": more})
    assert found()[0][0][:2] == first[0][0]


@pytest.mark.filterwarnings("ignore:.*edge of the grid")
def test_a_folder_of_models(tmp_path):
    for name in ("b.mat", "a.mat"):
        model_file(tmp_path / name, seed=ord(name[0]))
    given = {"n_trials": 2, "scaling_factors": [12.5], "task_name": "go_nogo", "verbose": False}
    found = lambda_grid_search(model_dir=tmp_path, **given, **FAST)
    assert found == {"a.mat": 12.5, "b.mat": 12.5}
    assert list(found) == ["a.mat", "b.mat"]
    for name in found:
        assert held(tmp_path / name)["opt_scaling_factor"].item() == 12.5
    stamp = (tmp_path / "a.mat").read_bytes()
    update_rate_model(tmp_path / "b.mat", {"opt_scaling_factor": np.nan})
    again = lambda_grid_search(tmp_path, skip_done=True, **given, **FAST)
    assert again == found
    assert (tmp_path / "a.mat").read_bytes() == stamp
    assert held(tmp_path / "b.mat")["opt_scaling_factor"].item() == 12.5


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"model_path": "none.mat"}, FileNotFoundError, "no such model file"),
        ({"model_dir": "empty"}, FileNotFoundError, r"holds no \.mat file"),
        ({"model_dir": "nowhere"}, FileNotFoundError, "no such folder"),
        ({}, ValueError, "one of the two"),
        ({"model_path": "m.mat", "model_dir": "."}, ValueError, "one of the two"),
        ({"model_path": "m.mat", "scaling_factors": []}, ValueError, "at least one"),
        ({"model_path": "m.mat", "scaling_factors": [0]}, ValueError, "must be > 0"),
        ({"model_path": "m.mat", "n_trials": 0}, ValueError, "at least 1"),
        ({"model_path": "m.mat", "task_name": "chess"}, ValueError, "unknown task 'chess'"),
        ({"model_path": "m.mat", "task_name": "xor"}, ValueError, "1 input channels, the task"),
        ({"model_path": "m.mat", "method": "magic"}, ValueError, "use batched or process"),
        ({"model_path": "m.mat", "score": "kind"}, ValueError, "use strict or published"),
        ({"model_path": "m.mat", "task_settings": {"T": 6}}, ValueError, "not before T = 6"),
        ({"model_path": "m.mat", "task_settings": {"eval_end": 9999}}, ValueError, "eval_end"),
        ({"model_path": "lacking.mat"}, ValueError, "w_out missing"),
    ],
)
def test_bad_searches_are_refused_before_anything_runs(tmp_path, monkeypatch, given, error,
                                                       message):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    path = model_file(tmp_path / "m.mat")
    save_rate_model(tmp_path / "lacking.mat", {k: v for k, v in fields().items() if k != "w_out"})
    before = path.read_bytes()
    monkeypatch.setattr(module, "search_model", None)
    with pytest.raises(error, match=message):
        lambda_grid_search(**given)
    assert path.read_bytes() == before


def test_settings_are_merged_over_those_of_the_file(tmp_path):
    model = RateModel.load(model_file(tmp_path / "m.mat"))
    task = task_of(model, "go-nogo", {"stim_dur": 6, "T": None})
    assert (task.settings["T"], task.settings["stim_on"], task.settings["stim_dur"]) == (12, 2, 6)
    other = RateModel.from_fields(fields())  # says nothing
    assert task_of(other, "go-nogo").settings["T"] == 200
    assert task_of(other, None, path="models/go-nogo/x.mat").name == "go_nogo"
    with pytest.raises(ValueError, match="the task is not known"):
        task_of(other, None, path="x.mat")
    legacy = task_of(model, "go-nogo", legacy_windows=True)
    assert (legacy.settings["T"], legacy.settings["eval_end"]) == (200, 10_000)


def test_balanced_trials_take_turns():
    task = TaskFactory.create_task("go-nogo", SHORT)
    assert [t.type for t in draw_trials(task, 4, 0, balanced=True)] == ["go", "nogo"] * 2
    drawn = draw_trials(task, 60, 0)
    assert {t.type for t in drawn} == {"go", "nogo"}
    assert [t.type for t in draw_trials(task, 30, 0)] == [t.type for t in drawn[:30]]
    assert drawn[0].u.shape == (1, 13)
    assert draw_trials(task, 1, 0, extra_column=False)[0].u.shape == (1, 12)


def rigged(monkeypatch, accuracy):
    """Let trials be right with these probabilities by factor, without a simulation."""
    calls = []

    def run_trials(network, factors, trials, **given):
        calls.append((list(factors), [t.number for t in trials]))
        rng = np.random.default_rng(len(calls))
        p = np.array([accuracy[f] for f in factors])
        right = rng.random((len(trials), len(factors))) < p
        expected = np.array([t.expected for t in trials])[:, None]
        high = np.where(expected == 1, np.where(right, 1.0, 0.0), np.where(right, 0.0, 1.0))
        zero = np.zeros_like(high)
        yield {"highest": high, "lowest": zero, "mean": zero, "latency": zero,
               "rate_exc_hz": zero, "rate_inh_hz": zero}  # fmt: skip

    import sim_brian.rate_lif.runs

    monkeypatch.setattr(sim_brian.rate_lif.runs, "run_trials", run_trials)
    return calls


def test_an_adaptive_search_spends_trials_where_they_matter(monkeypatch):
    accuracy = {10: 0.1, 20: 0.5, 30: 0.95, 40: 0.97, 50: 0.4, 60: 0.05}
    calls = rigged(monkeypatch, accuracy)
    model = RateModel.from_fields(fields())
    task = TaskFactory.create_task("go-nogo", SHORT)
    options = SearchOptions(n_trials=160, adaptive=True)
    result = search_model(model, task, list(accuracy), options)
    assert [len(numbers) for _, numbers in calls] == [20, 20, 40, 80]
    assert calls[0][0] == list(accuracy)
    assert set(calls[-1][0]) <= {30, 40}
    assert result.best in (30, 40)
    ran = result.fields()["n_trials_per_factor"]
    assert ran[[2, 3]].max() == 160
    assert ran[0] == 20
    assert ran.sum() < 0.6 * 6 * 160


def test_the_first_maximum_wins_and_the_plateau_is_told(monkeypatch):
    rigged(monkeypatch, {10: 0.0, 20: 1.0, 30: 1.0, 40: 0.5})
    model = RateModel.from_fields({**fields(), "eval_perf_mean": 0.5})
    task = TaskFactory.create_task("go-nogo", SHORT)
    result = search_model(model, task, [10, 20, 30, 40], SearchOptions(n_trials=30))
    assert (result.best, result.plateau) == (20, [20, 30])
    assert any("0.50 of its trials" in line for line in result.warnings)
    assert not any("edge" in line for line in result.warnings)
    assert [row["scaling_factor"] for row in result.rows()] == [10, 20, 30, 40]


def test_a_noisy_output_is_no_answer(monkeypatch):
    def noisy(network, factors, trials, **given):
        shape = (len(trials), len(factors))
        large, zero = np.full(shape, 5.0), np.zeros(shape)
        yield {"highest": large, "lowest": -large, "mean": zero, "latency": zero,
               "rate_exc_hz": zero, "rate_inh_hz": zero}  # fmt: skip

    import sim_brian.rate_lif.runs

    monkeypatch.setattr(sim_brian.rate_lif.runs, "run_trials", noisy)
    model = RateModel.from_fields(fields(n_in=2))
    task = TaskFactory.create_task("xor")
    result = search_model(model, task, [10], SearchOptions(n_trials=10))
    assert result.measured.share(0, "published").value == 1.0
    assert result.measured.share(0, "strict").value == 0.0
    assert any("large and noisy" in line for line in result.warnings)


def test_a_search_that_is_killed_leaves_the_model_readable(tmp_path):
    path = model_file(tmp_path / "m.mat")
    before = path.read_bytes()
    code = f"""
import time
import sim_brian.rate_lif.runs as runs
from studies.rate_to_spike import lambda_grid_search
from sim_brian.engine.program import EngineOptions
runs.CELLS_AT_ONCE = 20
measure = runs.Batch.measure
def second(self, *given):
    print("held here", flush=True)
    time.sleep(1e9)
def first(self, *given):
    runs.Batch.measure = second
    return measure(self, *given)
runs.Batch.measure = first
lambda_grid_search({str(path)!r}, "go-nogo", 500, [10, 15], engine=EngineOptions(target="numpy"))
"""
    kill_when_held([sys.executable, "-c", code])
    assert path.read_bytes() == before
    assert RateModel.load(path).number("opt_scaling_factor") is None


class Flip(PulseTask):
    """A task of a user: answer with the opposite sign."""

    name = "flip"
    defaults = SHORT

    def response_window(self):
        return self._end, self.n_steps

    def expected_response(self, label):
        return -1 if label == "up" else 1


@pytest.mark.filterwarnings("ignore:.*edge of the grid")
def test_a_task_of_a_users_own_is_searched_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr(TaskFactory, "_registry", {**TaskFactory._registry})
    TaskFactory.register_task("flip", Flip)
    path = tmp_path / "m.mat"
    save_rate_model(path, {**fields(), "task": "flip"})
    lambda_grid_search(path, None, 2, [15], verbose=False, **FAST)
    with pytest.warns(UserWarning, match="not fresh trials"):
        found = evaluate_task("flip", path, n_trials=2, **FAST)
    assert {"up_trials", "down_trials"} & set(found)
    assert evaluate_single_trial("flip", path, 15, rng=1, engine=NUMPY) in (0, 1)


@pytest.mark.parametrize(("threshold", "right"), [(-1e9, 1), (1e9, 0)])
def test_single_trials_and_whole_evaluations_obey_the_rules(tmp_path, threshold, right):
    path = model_file(tmp_path / "m.mat")
    update_rate_model(path, {"opt_scaling_factor": 15.0})
    # Go: above the threshold; NoGo: below one minus it. With these, both are met by any output, or
    # by none.
    settings = {"eval_amp_thresh": threshold}
    labels = set()
    for k in (1, 2):  # one of each type
        evaluator = SpikingEvaluatorFactory.create_evaluator("go-nogo", {**SHORT, **settings})
        labels.add(evaluator.generate_stimulus(seed=np.random.default_rng(k))[1])
        one = evaluate_single_trial("go-nogo", path, 15, settings, rng=k, engine=NUMPY)
        assert one == right
    assert labels == {0, 1}
    assert (evaluator.eval_end, evaluator.eval_amp_thresh) == (600, threshold)
    found = evaluate_task("go-nogo", path, n_trials=3, task_settings=settings, **FAST)
    assert (found["Correct trials"], found["Incorrect trials"]) == (3 * right, 3 - 3 * right)
    assert found["overall_accuracy"] == right
    assert found["scaling_factor"] == 15.0
    assert found["comparison"]["rate_accuracy"]["of"] == 3


def test_the_factor_comes_from_the_file_or_is_asked_for(tmp_path):
    path = model_file(tmp_path / "m.mat")
    with pytest.raises(ValueError, match="lambda_grid_search"):
        load_model_and_scaling_factor(path)
    assert load_model_and_scaling_factor(path, 30) == (path, 30.0)
    with pytest.raises(ValueError, match="no scaling factor"):
        evaluate_task("go-nogo", path)
    update_rate_model(path, {"opt_scaling_factor": np.nan})
    with pytest.raises(ValueError, match="no scaling factor"):
        load_model_and_scaling_factor(path)


def test_samples_and_plots(tmp_path):
    path = model_file(tmp_path / "m.mat")
    evaluate_task("go-nogo", path, 15.0, n_trials=1, all_trial_types=True, save_plots=True, **FAST)
    with np.load(tmp_path / "sample_trials.npz", allow_pickle=False) as archive:
        assert archive["types"].tolist() == ["go", "nogo"]
        assert archive["go_output"].shape == (1200,)
        assert archive["go_target"].shape == (11,)
        assert archive["go_stimulus"].sum() == 4
    drawn = sorted(p.name for p in (tmp_path / "plots").iterdir())
    assert drawn == ["go_spike_raster.png", "network_output.png", "nogo_spike_raster.png"]


class Oracle:
    """A spiking network that knows the answer."""

    def __init__(self, answer):
        self.answer = answer

    def simulate(self, stimulus, stims):
        out = np.zeros(100 * (stimulus.shape[1] - 1))
        out[-500:] = self.answer(stimulus)
        return np.zeros((2, len(out))), None, out, {"dt": 5e-5}


@pytest.mark.parametrize(
    ("name", "answer", "keys"),
    [
        ("go-nogo", lambda u: u.any(), {"go_accuracy", "nogo_accuracy", "go_trials"}),
        ("xor", lambda u: np.sign(u[0].sum() * u[1].sum()), {"+-_accuracy", "+-_count"}),
        ("mante", lambda u: np.sign(u[1 if u[0].sum() > 0 else 2].sum()),
         {"color_accuracy", "motion_trials"}),
    ],
)  # fmt: skip
def test_the_older_interface_decides_by_the_same_rules(name, answer, keys, tmp_path):
    task = SpikingTaskFactory.create_task(name)
    found = task.evaluate_performance(Oracle(answer), 12, seed=1)
    assert found["overall_accuracy"] == 1.0
    assert keys <= set(found)
    silent = task.evaluate_performance(Oracle(lambda u: 0.0), 12, seed=1)
    assert silent["overall_accuracy"] < 1.0
    stimulus, label = task.generate_stimulus(task.get_sample_trial_types()[0])
    result = task.evaluate_trial(Oracle(answer), stimulus, label)
    assert result["predicted"] == label
    assert result["correct"]
    assert task.create_visualization(result, tmp_path).is_file()


def test_an_adapter_runs_a_model_of_any_size(tmp_path):
    adapter = LIFNetworkAdapter(model_file(tmp_path / "m.mat"), 15, seed=1, engine=NUMPY)
    assert adapter.N == 20
    task = GoNogoSpikingTask(SHORT)
    result = task.evaluate_trial(adapter, *task.generate_stimulus("go"))
    assert result["spikes"].shape == (20, 1200)
    assert result["label"] == "go"
    rates = adapter.compute_firing_rates(result["spikes"])
    np.testing.assert_allclose(rates, result["spikes"].sum(axis=1) / 0.06)


def test_configured_networks(tmp_path):
    path = model_file(tmp_path / "m.mat")
    update_rate_model(path, {"opt_scaling_factor": 15.0})
    network = LIFConverter().convert(path)
    network._engine = NUMPY
    assert (network.config.N, network.config.scaling_factor) == (20, 15.0)
    spikes, _, _, params = network.simulate(np.zeros((1, 6)))
    assert network.compute_firing_rates(spikes).shape == (20,)
    found = LIFEvaluator().analyze_spike_dynamics(spikes, params["dt"], network.model.inh)
    assert found["mean_rate_hz"] >= 0
    for wrong, message in (
        ({"N": 0}, "N = 0"), ({"vpeak": -70}, "vpeak"), ({"tr": -1}, "tr"),
        ({"downsample": 0}, "downsample"), ({"dt": 1e-4}, "use downsample"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            create_default_spiking_config(**wrong)


def test_regularity_of_spikes():
    spikes = np.zeros((2, 4010))
    spikes[0, 10::400] = 1  # 50 Hz of a clock
    found = LIFEvaluator().analyze_spike_dynamics(spikes, 5e-5, [0, 1])
    assert found["cv_isi"] == pytest.approx(0.0, abs=1e-12)
    assert found["rate_exc_hz"] == pytest.approx(50.0)
    assert found["rate_inh_hz"] == 0.0
