"""Training rate networks: it learns, stops by its rule, resumes to the same bits, is stored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.io
import torch

from bridge.rate_to_spike import RateModel, TaskFactory
from bridge.rate_to_spike.rate_forward import rate_outputs
from train_torch.rate_rnn import make_network, model_fields, save_mat, train_rate_rnn
from train_torch.rate_rnn import training as module

SMALL = {"T": 40, "stim_on": 5, "stim_dur": 5}


def start(n=30, seed=0, **given):
    return make_network(n_units=n, n_in=1, rng=np.random.default_rng(seed), **given)


def task():
    return TaskFactory.create_task("go-nogo", SMALL)


def test_it_learns(tmp_path):
    net = start(n=60)
    result = train_rate_rnn(
        net, task(), [4, 10], {"loss_threshold": 1.5, "eval_freq": 50}, 1000, seed=1,
        batch_size=8, min_updates=0, train_bias=False,
    )  # fmt: skip
    assert result.history[0]["performance"] < 0.9
    assert result.success
    assert result.performance > 0.95
    assert len(result.losses) == result.history[-1]["update"] < 1000
    assert (result.history[-1]["update"] - 2) % 50 == 0
    assert net.b_out.item() == 0.0
    assert not np.array_equal(net.taus_gaus.detach().numpy(), result.initial["taus_gaus0"])
    path = tmp_path / "m.mat"
    fields = model_fields(net, task(), [4, 10], "sigmoid", result, n_trials=1000)
    save_mat(path, fields)
    raw = scipy.io.loadmat(path)
    assert raw["losses"].shape == (1, 1000)
    assert raw["w"].min() == 0
    assert (net.w.detach().numpy() < 0).any()  # the raw parameter has leftovers
    assert not np.array_equal(raw["w"], raw["w0"])
    model = RateModel.load(path)
    assert model.text("task") == "go_nogo"
    assert model.number("stim_on") == 5
    # What was stored solves the task as it did in the last evaluation (over 0.95 of 100 trials; of
    # 200 others less than 0.85 would be five standard errors below).
    right = []
    for kind, label in (("go", 1), ("nogo", 0)):
        u, _ = task().generate_stimulus(kind)
        out = rate_outputs(model, np.repeat(u[None], 100, 0), np.random.default_rng(2))
        right += [task().is_correct(o, label) for o in out]
    assert np.mean(right) > 0.85


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path, batch_size):
    params = {"eval_freq": 4, "eval_tr": 5}
    whole = start()
    all_at_once = train_rate_rnn(whole, task(), [4, 20], params, 14, 3, batch_size=batch_size)
    path = tmp_path / "checkpoint.pth"
    first = start()
    train_rate_rnn(
        first, task(), [4, 20], params, 9, 3, batch_size=batch_size, checkpoint_path=path
    )
    second = start(seed=9)  # everything comes from the checkpoint
    resumed = train_rate_rnn(
        second, task(), [4, 20], params, 14, 3, batch_size=batch_size, checkpoint_path=path,
        resume=True,
    )  # fmt: skip
    for name, value in whole.named_parameters():
        assert torch.equal(value, dict(second.named_parameters())[name]), name
    assert resumed.losses == all_at_once.losses
    np.testing.assert_array_equal(resumed.initial["w0"], all_at_once.initial["w0"])
    np.testing.assert_array_equal(resumed.initial["x0"], all_at_once.initial["x0"])
    np.testing.assert_array_equal(resumed.last["o"], all_at_once.last["o"])


def judged(performance, evaluated):
    """Return an evaluation that finds this performance in every network."""

    def evaluate(self):
        evaluated.append(self.update)
        self.result.eval_os = np.zeros((1, 1))
        return {"update": self.update, "performance": performance, "loss": 0.0}

    return evaluate


def test_go_nogo_goes_on_until_it_is_stable(monkeypatch):
    monkeypatch.setattr(module, "GO_NOGO_MIN_UPDATES", 11)
    evaluated = []
    monkeypatch.setattr(module._Trainer, "evaluate", judged(1.0, evaluated))
    params = {"eval_freq": 5}
    result = train_rate_rnn(start(), task(), [10], params, 40, 0)
    assert evaluated == [2, 7, 12]
    assert result.success
    evaluated.clear()
    train_rate_rnn(start(), task(), [10], params, 40, 0, min_updates=0)
    assert evaluated == [2]


def test_a_finished_training_goes_on_when_more_is_asked(monkeypatch, tmp_path):
    evaluated = []
    monkeypatch.setattr(module._Trainer, "evaluate", judged(1.0, evaluated))
    params = {"eval_freq": 5}
    given = {"checkpoint_path": tmp_path / "c.pth", "resume": True}
    train_rate_rnn(start(), task(), [10], params, 40, 0, min_updates=5, **given)
    assert evaluated == [2, 7]
    evaluated.clear()
    again = train_rate_rnn(start(), task(), [10], params, 40, 0, min_updates=5, **given)
    assert (len(again.losses), again.success) == (7, True)
    evaluated.clear()
    more = train_rate_rnn(start(), task(), [10], params, 40, 0, min_updates=11, **given)
    assert evaluated == [12]
    assert (len(more.losses), more.success) == (12, True)
    assert more.losses[:7] == again.losses
    few = train_rate_rnn(start(), task(), [10], params, 12, 0, min_updates=20, **given)
    assert not few.success  # what was enough before is not now


def test_the_rule_is_strict(monkeypatch):
    monkeypatch.setattr(module._Trainer, "evaluate", judged(0.95, []))
    assert not train_rate_rnn(start(), task(), [10], None, 5, 0, min_updates=0).success


def test_a_loss_that_is_lost_names_its_update():
    net = start()
    with torch.no_grad():
        net.w_out.fill_(float("inf"))
    with pytest.raises(RuntimeError, match="not finite at update 1"):
        train_rate_rnn(net, task(), [10], None, 3, 0)


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [
        ({"loss_fn": "l3"}, {}, "use l1 or l2"),
        ({"activation": "tanh"}, {}, "unknown activation"),
        ({"learning_rate": 0}, {}, "learning_rate"),
        ({"eval_freq": 0}, {}, "eval_freq"),
        ({}, {"batch_size": 0}, "batch_size"),
        ({}, {"n_trials": 0}, "n_trials"),
    ],
)
def test_bad_settings(params, given, message):
    with pytest.raises(ValueError, match=message):
        train_rate_rnn(start(), task(), [10], params, **given)


def test_what_is_no_checkpoint_of_this_training(tmp_path):
    path = tmp_path / "checkpoint.pth"
    params = {"eval_freq": 2, "eval_tr": 2}
    given = {"checkpoint_path": path, "resume": True}
    train_rate_rnn(start(), task(), [10], params, 3, 0, fingerprint='{"gain": 1}', **given)
    with pytest.raises(ValueError, match="gain was 1, now 2"):
        train_rate_rnn(start(), task(), [10], params, 5, 0, fingerprint='{"gain": 2}', **given)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="is not a checkpoint of a rate training"):
        train_rate_rnn(start(), task(), [10], params, 5, 0, fingerprint='{"gain": 1}', **given)


@dataclasses.dataclass
class _Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_checkpoint_is_never_executed(tmp_path, capsys):
    path = tmp_path / "checkpoint.pth"
    torch.save({"version": 1, "settings": "{}", "history": _Evil()}, path)
    with pytest.raises(ValueError, match="is not a checkpoint"):
        train_rate_rnn(start(), task(), [10], None, 5, 0, checkpoint_path=path, resume=True)
    assert "executed" not in capsys.readouterr().out
