"""The training loop: what an update does, what is refused, what a resumed training shares."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from bridge.datasets import catalog as datasets
from bridge.network.spec import CubaSpec, PingSpec, ReadoutSpec, ei_layer
from bridge.network.task import Task
from bridge.network.weights import CUBA_DRAW, DrawRule, WeightDraw, draw_weights
from train_torch.network.health import warning_spans, warnings_now
from train_torch.network.networks import Learning, build_network
from train_torch.training.checkpoint import TrainingState
from train_torch.training.losses import RateRegulariser
from train_torch.training.trainer import Trainer
from train_torch.training.training_plan import Split, TrainingSettings, split_of

DT_MS, T_MS = 1.0, 60.0


@pytest.fixture(scope="module")
def task():
    data = datasets.load("scikit", max_samples=150)
    return Task(dataset=data, dt_ms=DT_MS, t_ms=T_MS, rate_hz=60.0)


def ping_network(*, seed=1, mode="rate", trainable=(), dales_law=True, dampen=100.0, strength=1.0):
    spec = PingSpec(
        n_in=64, layers=(ei_layer(16),), readout=ReadoutSpec(mode=mode), dales_law=dales_law
    )
    draw = WeightDraw(
        w_in=DrawRule(1.5, 0.3, 0.5), w_ei=DrawRule(strength, 0.1 * strength),
        w_ie=DrawRule(0.2 * strength, 0.02 * strength),
    )  # fmt: skip
    learning = Learning(v_grad_dampen=dampen, trainable=frozenset(trainable))
    return build_network(spec, draw_weights(spec, draw, seed=seed), dt_ms=DT_MS, learning=learning)


class Quiet:
    """A watcher that keeps what it saw."""

    def __init__(self):
        self.seen = []

    def measure(self, recording):
        return {"rate_e": recording.rate_hz("e1"), "rate_i": None, "cv": None, "act": 0.5, "f0": 0}

    def epoch_done(self, network, recording, records):
        self.seen.append(len(records))

    def batches(self, n, *, what):
        return lambda items: items


def trainer(network, task, folder, *, epochs=1, fingerprint="{}", split=None, **settings):
    settings = TrainingSettings(
        epochs=epochs, batch_size=32, seed=7, **({"lr": 1e-3} | settings)
    )  # fmt: skip
    return Trainer(
        network, task, split or split_of(task, val_fraction=0), settings, folder=folder,
        reference=task.encode(task.dataset.test_index[:1]), watcher=Quiet(),
        fingerprint=fingerprint,
    )  # fmt: skip


def lines(folder, kind):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def test_training_learns(task, tmp_path):
    outcome = trainer(ping_network(), task, tmp_path, epochs=6, lr=2e-3).run()
    losses = [record["loss"] for record in outcome.records]
    assert losses[-1] < 0.7 * losses[0]
    assert outcome.test.acc == max(record["acc"] for record in outcome.records)
    assert outcome.test.acc > 25  # chance: 10 %
    assert outcome.records[outcome.best_epoch - 1]["new_best"]


def test_records_and_lines_say_what_happened(task, tmp_path):
    made = trainer(ping_network(), task, tmp_path, epochs=2)
    outcome = made.run()
    record = outcome.records[1]
    assert set(record) >= {
        "ep", "acc", "loss", "test_loss", "test_rate_e", "test_rate_i", "lr", "elapsed_s",
        "train_compute_s", "eval_s", "observe_s", "samples", "grad_norm", "grad_ratios",
        "weight_norms", "skipped_steps", "new_best", "rate_e", "rate_i", "cv", "act", "f0",
    }  # fmt: skip
    assert set(record["grad_ratios"]) == {"W_ff.0", "W_ff.1"}
    assert record["samples"] == len(task.dataset.train_index) == 120
    steps = lines(tmp_path, "step")
    assert [row["step"] for row in steps] == list(range(1, 9))  # 120 samples: 32, 32, 32, 24
    assert all(math.isfinite(row["loss"]) and not row["skipped"] for row in steps)
    assert np.mean([row["loss"] for row in steps[4:]]) == pytest.approx(record["loss"])
    assert [row["ep"] for row in lines(tmp_path, "epoch")] == [1, 2]
    assert made._watcher.seen == [0, 1, 2]


def test_a_resumed_training_ends_with_the_same_bits(task, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = ping_network(trainable=["W_ei"])
    expected = trainer(whole, task, tmp_path / "whole", epochs=4).run()
    trainer(ping_network(trainable=["W_ei"]), task, tmp_path / "parts", epochs=2).run()
    # What a killed third epoch leaves behind is not counted twice.
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as log:
        log.write('{"kind": "step", "ep": 3, "step": 9}\n{"kind": "ste')
    other = ping_network(seed=99, trainable=["W_ei"])  # whatever it starts from is replaced
    second = trainer(other, task, tmp_path / "parts", epochs=4)
    assert second.resume()
    assert second.epochs_done == 2
    found = second.run()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    np.testing.assert_array_equal(found.test.logits, expected.test.logits)
    held, kept = (lines(tmp_path / name, "step") for name in ("whole", "parts"))
    assert [(r["step"], r["loss"]) for r in held] == [(r["step"], r["loss"]) for r in kept]
    same = [("acc", "loss", "grad_norm", "weight_norms", "new_best")] * 4
    for keys, one, two in zip(same, expected.records, found.records, strict=True):
        assert {k: one[k] for k in keys} == {k: two[k] for k in keys}


def test_a_checkpoint_of_other_settings_is_refused(task, tmp_path):
    trainer(ping_network(), task, tmp_path, fingerprint='{"lr": 0.1, "seed": 1}').run()
    other = trainer(ping_network(), task, tmp_path, fingerprint='{"lr": 0.2, "seed": 1}')
    with pytest.raises(ValueError, match=r"lr was 0\.1, now 0\.2"):
        other.resume()
    (tmp_path / "checkpoint.pth").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="not a checkpoint"):
        other.resume()
    (tmp_path / "checkpoint.pth").unlink()
    assert not other.resume()


def test_a_checkpoint_is_never_unpickled(tmp_path):
    import pickle

    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    (tmp_path / "checkpoint.pth").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ValueError, match="not a checkpoint"):
        TrainingState.load(tmp_path / "checkpoint.pth", settings="{}")
    torch.save({"version": 1, "settings": Harm()}, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="not a checkpoint"):
        TrainingState.load(tmp_path / "checkpoint.pth", settings="{}")
    assert not (tmp_path / "harmed").exists()


def test_dales_law_holds_for_what_is_stored(task, tmp_path):
    network = ping_network(trainable=["W_ee", "W_ei", "W_ie"])
    start = {n: p.detach().clone() for n, p in network.named_parameters()}
    trainer(network, task, tmp_path, epochs=2, lr=0.05).run()
    for name, parameter in network.named_parameters():
        assert parameter.min() >= 0, name
        moved = not torch.equal(parameter, start[name])
        assert moved == (not name.startswith("W_ii")), name
    assert (network.matrix("W_in") == 0).sum() > (start["W_ff.0"] == 0).sum()  # it really clamps


def test_without_dales_law_weights_change_sign(task, tmp_path):
    spec = CubaSpec(n_in=64, n_exc=16, n_inh=0, dales_law=False)
    network = build_network(spec, draw_weights(spec, CUBA_DRAW, seed=1), dt_ms=DT_MS)
    assert network.matrix("W_in").min() >= 0
    trainer(network, task, tmp_path, epochs=2, lr=0.05).run()
    assert network.matrix("W_in").min() < 0


def test_a_loop_that_starts_at_zero_stays_there(task, tmp_path):
    network = ping_network(trainable=["W_ei", "W_ie"], strength=0.0)
    trainer(network, task, tmp_path, epochs=2, lr=0.05).run()
    assert not network.matrix("W_ei_1").any()
    assert not network.matrix("W_ie_1").any()


def test_the_clip_bounds_the_step(task, tmp_path, monkeypatch):
    """Seen by plain gradient descent: the step is as long as the clip allows."""
    lengths = {}
    for clip in (1e-4, 1e6):
        network = ping_network()
        made = trainer(network, task, tmp_path, grad_clip=clip)
        made._optimiser = torch.optim.SGD(made._learning, lr=1.0)
        before = [p.detach().clone() for p in made._learning]
        from train_torch.training.trainer import _Sums

        chosen = task.dataset.train_index[:32]
        line = made._update(chosen, task.encode(chosen, seed=1, epoch=1), _Sums())
        steps = [(p.detach() - b) for p, b in zip(made._learning, before, strict=True)]
        lengths[clip] = float(torch.stack([s.norm() for s in steps]).norm())
        assert line["grad_norm"] > 1e-3  # the norm before clipping is what is told
    # The projection may shorten a step, nothing lengthens it.
    assert lengths[1e-4] <= 1.0001e-4
    assert lengths[1e6] > 10 * lengths[1e-4]


@pytest.mark.parametrize("what", ["logits", "gradient"])
def test_what_is_not_finite_is_skipped(task, tmp_path, what):
    network = ping_network()
    made = trainer(network, task, tmp_path)
    if what == "logits":
        with torch.no_grad():
            network.matrix("W_out")[0, 0] = math.nan
            network.spec = network.spec
    else:
        network.matrix("W_in").register_hook(lambda grad: grad * math.inf)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    from train_torch.training.trainer import _Sums

    sums = _Sums()
    chosen = task.dataset.train_index[:32]
    line = made._update(chosen, task.encode(chosen, seed=1, epoch=1), sums)
    assert line["skipped"]
    assert sums.skipped == 1
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name], rtol=0, atol=0, equal_nan=True)


def test_a_validation_part_chooses_instead_of_the_test_part(task, tmp_path):
    split = split_of(task, val_fraction=0.25)
    assert split.has_validation
    parts = [set(split.train), set(split.choice), set(split.test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 150
    assert len(split.choice) == 30
    outcome = trainer(ping_network(), task, tmp_path, epochs=3, split=split).run()
    best = max(outcome.records, key=lambda r: (r["val_acc"], -r["ep"]))
    assert outcome.best_epoch == best["ep"]
    assert outcome.best_score == best["val_acc"]
    assert outcome.test.acc == best["acc"]
    with pytest.raises(ValueError, match="val-fraction"):
        split_of(task, val_fraction=0.01)


def test_evaluation_does_not_depend_on_the_batch(task):
    from train_torch.network.evaluate import evaluate

    network = ping_network()
    index = task.dataset.test_index
    one, other = (evaluate(network, task, index, batch_size=n) for n in (7, 64))
    np.testing.assert_array_equal(one.predictions, other.predictions)
    assert one.rates_hz == other.rates_hz
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-5)


def test_a_training_does_not_depend_on_who_watches(task, tmp_path):
    class Nosy(Quiet):
        def epoch_done(self, network, recording, records):
            torch.rand(3)

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain, watched = ping_network(), ping_network()
    trainer(plain, task, tmp_path / "a").run()
    made = trainer(watched, task, tmp_path / "b")
    made._watcher = Nosy()
    made.run()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, watched.state_dict()[name])


def test_regularisers_cost_what_the_formula_says():
    counts = torch.tensor([[4.0, 0.0, 1.0], [2.0, 0.0, 1.0]], requires_grad=True)  # means 3, 0, 1
    each = RateRegulariser(upper_theta=2, upper_strength=0.5, lower_theta=0.5, lower_strength=2)
    assert each.cost([counts]).item() == pytest.approx(0.5 * 1**2 + 2 * 0.5**2)
    assert each.cost([counts, counts]).item() == pytest.approx(2 * (0.5 + 0.5))
    mean = 4 / 3
    pooled = RateRegulariser(upper_theta=1, upper_strength=0.5, mode="population")
    assert pooled.cost([counts]).item() == pytest.approx(0.5 * 3 * (mean - 1) ** 2)
    under = RateRegulariser(lower_theta=2, lower_strength=1, mode="population")
    assert under.cost([counts]).item() == pytest.approx(3 * (2 - mean) ** 2)
    assert RateRegulariser(upper_theta=1).cost([counts]) is None
    each.cost([counts]).backward()
    # d/dz of s (mean - theta)^2 with mean over two trials: s * 2 (mean - theta) / 2.
    torch.testing.assert_close(counts.grad[0], torch.tensor([0.5, -1.0, 0.0]))


def test_the_upper_regulariser_lowers_the_rate(task, tmp_path):
    rates = {}
    for strength in (0.0, 1.0):
        folder = tmp_path / str(strength)
        folder.mkdir()
        regulariser = RateRegulariser(upper_theta=0.2, upper_strength=strength)
        outcome = trainer(
            ping_network(strength=0.0), task, folder, epochs=4, lr=2e-3, regulariser=regulariser
        ).run()
        rates[strength] = outcome.records[-1]["test_rate_e"]
    assert rates[1.0] < 0.6 * rates[0.0]


def record(ep, act=0.5, best=False, loss=1.0, skipped=0):
    return {"ep": ep, "act": act, "new_best": best, "loss": loss, "skipped_steps": skipped}


def test_warnings_name_what_is_wrong():
    dead = [record(1, best=True)] + [record(k, act=0.001) for k in range(2, 8)]
    assert warnings_now(dead[:5]) == []  # 4 epochs without improvement: not yet
    assert warnings_now(dead[:6]) == ["dead"]
    full = [record(1, best=True)] + [record(k, act=0.99) for k in range(2, 8)]
    assert warnings_now(full) == ["saturated"]
    stuck = [record(1, best=True)] + [record(k) for k in range(2, 13)]
    assert warning_spans(stuck) == {"stuck": [(11, 12)]}
    assert warnings_now([record(1, loss=None)]) == ["NaN"]
    assert warning_spans([record(1, skipped=1), record(2), record(3, skipped=2)]) == {
        "NaN": [(1, 1), (3, 3)]
    }
    assert warnings_now([record(1, act=None)]) == []
    assert warnings_now([]) == []


def test_a_split_without_validation_is_the_test_part(task):
    split = split_of(task, val_fraction=0)
    assert isinstance(split, Split)
    assert not split.has_validation
    assert split.choice is split.test
