"""The tasks: equal to the published trials, their windows, their mistakes, one of a user's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_tasks import PulseTask

from bridge.rate_to_spike import GoNogoTask, ManteTask, TaskFactory, XORTask
from bridge.rate_to_spike.names import guess_task
from bridge.rate_to_spike.tasks import draws_from


@pytest.fixture(scope="module")
def published(reference):
    with np.load(reference / "rate_to_spike_tasks.npz", allow_pickle=False) as archive:
        data = {name: archive[name] for name in archive.files}
    return data, json.loads(str(data["index_json"]))["tasks"]


def test_trials_are_the_published_ones(published):
    data, cases = published
    assert len(cases) >= 13
    for case in cases:
        task = TaskFactory.create_task(case["task"], case["settings"])
        np.random.seed(case["legacy_seed"])  # noqa: NPY002  # the data was made like this
        stimulus, target, label = task.simulate_trial(case["trial_type"])
        np.testing.assert_array_equal(stimulus, data[f"{case['case']}_u"])
        np.testing.assert_array_equal(target, data[f"{case['case']}_target"])
        assert label == case["label"]


@pytest.mark.parametrize("name", ["go-nogo", " Go_NoGo ", "GO-NOGO"])
def test_names_are_the_same_however_they_are_written(name):
    assert isinstance(TaskFactory.create_task(name), GoNogoTask)


@pytest.mark.parametrize(
    ("path", "task"),
    [("models/go-nogo/x.mat", "go_nogo"), ("models/go-nogo/xor.mat", "xor"), ("a/b.mat", None)],
)
def test_a_path_tells_the_task(path, task):
    assert guess_task(path) == task


@given(
    on=st.integers(0, 60), dur=st.integers(1, 40), delay=st.integers(0, 30),
    after=st.integers(12, 150), seed=st.integers(0, 2**16),
)  # fmt: skip
def test_windows_of_xor(on, dur, delay, after, seed):
    end = on + 2 * dur + delay
    task = XORTask({"T": end + after, "stim_on": on, "stim_dur": dur, "delay": delay})
    u, target, label = task.simulate_trial(seed=seed)
    assert u.shape == (2, end + after)
    assert target.shape == (end + after - 1,)
    assert np.flatnonzero(u[0]).tolist() == list(range(on, on + dur))
    assert np.flatnonzero(u[1]).tolist() == list(range(end - dur, end))
    assert label == ("same" if u[0, on] == u[1, end - 1] else "diff")
    answer = np.flatnonzero(target)
    assert answer.tolist() == list(range(end + 10, min(end + 110, end + after - 1)))
    assert task.is_correct(target, label)
    assert not task.is_correct(-target, label)
    assert not task.is_correct(0 * target, label)


def test_the_noisy_code_is_readable_from_its_own_input():
    task = ManteTask({"T": 500, "stim_on": 50, "stim_dur": 200, "encoding": "noisy"})
    cued = {"color": 0, "motion": 1}
    for name, row in cued.items():
        for seed in range(20):
            u, label = task.generate_stimulus(name, seed)
            assert np.all(u[2 + row] == 1)
            assert not u[3 - row].any()
            assert not u[:2, :50].any()
            assert not u[:2, 250:].any()
            # A mean of 200 deviates of variance 1 around +-0.5 has the wrong sign once in 1e12.
            assert np.sign(u[row, 50:250].mean()) == label
            assert task.type_of(u, label) == name
            assert task.coherence(u) == u[row, 50:250].mean()
    assert np.all(task.extended(u)[3, -1] == u[3, -1])


def test_a_generator_leaves_the_global_one_alone():
    task = GoNogoTask({"T": 60, "stim_on": 5, "stim_dur": 5})
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[2]  # noqa: NPY002
    first = [task.simulate_trial(seed=7)[2] for _ in range(3)]
    assert len(set(first)) == 1
    rng = np.random.default_rng(3)
    labels = [task.simulate_trial(seed=rng)[2] for _ in range(40)]
    assert set(labels) == {0, 1}
    assert np.random.get_state()[2] == before  # noqa: NPY002
    assert draws_from(True).random() == draws_from(True).random()


def test_decisions_of_go_and_nogo():
    task = GoNogoTask({"T": 20, "stim_on": 2, "stim_dur": 2})
    o = np.zeros(19)
    assert task.is_correct(o, 0)
    assert not task.is_correct(o, 1)
    o[2] = 1.0  # before the window
    assert not task.is_correct(o, 1)
    o[10] = 0.5
    assert not task.is_correct(o, 0)
    assert not task.is_correct(o, 1)
    assert not task.is_correct(-o, 0)  # two-sided
    o[10] = 0.8
    assert task.is_correct(o, 1)
    for key in ("eval_amp_thresh", "eval_amp_threh"):
        low = GoNogoTask({"T": 20, "stim_on": 2, "stim_dur": 2, key: 0.9})
        assert not low.is_correct(o, 1)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("go_nogo", {"T": 50, "stim_on": 40, "stim_dur": 10}, "end at step 50"),
        ("go_nogo", {"stim_on": 1.5}, "whole number"),
        ("go_nogo", {"T": float("nan")}, "T = nan must be a whole number"),
        ("go_nogo", {"T": float("inf")}, "between 0 and 1000000"),
        ("go_nogo", {"T": 10**300}, "between 0 and 1000000"),
        ("xor", {"T": 160}, "not before T = 160"),
        ("mante", {"encoding": "loud"}, "use one of cue, noisy"),
        ("memory", {}, "available: go_nogo, mante, xor"),
        ("no.such.module:Task", {}, "can't be imported"),
        ("json:JSONDecoder", {}, "no subclass of AbstractTask"),
    ],
)
def test_bad_settings(name, settings, message):
    with pytest.raises(ValueError, match=message):
        TaskFactory.create_task(name, settings)


def test_missing_settings_and_unknown_types():
    with pytest.raises(ValueError, match="settings lack stim_dur, delay"):
        XORTask({"T": 300, "stim_on": 50})
    with pytest.raises(ValueError, match="use one of go, nogo"):
        TaskFactory.create_task("go-nogo").generate_stimulus("maybe")
    with pytest.raises(ValueError, match="no subclass"):
        TaskFactory.register_task("mine", dict)


class Hold(PulseTask):
    """A task of a user: hold the sign of a pulse."""

    name = "hold"


def test_a_task_without_rules_says_what_it_lacks():
    task = Hold({"T": 20, "stim_on": 2, "stim_dur": 2})
    with pytest.raises(NotImplementedError, match="response_window"):
        task.is_correct(np.zeros(19), "up")
