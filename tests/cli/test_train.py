"""`train` and `infer`, run for real on a few digits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from killed import kill_after

from bridge.formats.weight_files import load_weight_matrices

QUICK = ("--max-samples", "150", "--n-hidden", "16", "--dt", "2", "--t-ms", "60", "--input-rate",
         "100", "--w-in", "2", "0.4", "--w-in-sparsity", "0.5", "--ei-ratio", "0.2", "--lr",
         "0.002", "--batch-size", "40", "--burn-in", "0", "--observe", "none")  # fmt: skip


@pytest.fixture
def learn(call):
    """Train: ``learn("--epochs", 1, name="a")``."""

    def run(*words, name="run", quick=QUICK):
        return call("train", *quick, *words, name=name, record=False)

    return run


def test_a_training_leaves_everything(call):
    done = call("train", *QUICK[:-2], "--epochs", 2, record=False)  # with its pictures
    assert done.code == 0, done.err
    assert {p.name for p in done.folder.iterdir()} == {
        "config.json", "run.sh", "output.log", "checkpoint.pth", "weights.pth", "weights.h5",
        "metrics.json", "metrics.jsonl", "test_predictions.json", "init_d0s0.png", "end_d0s0.png",
    }  # fmt: skip
    metrics = json.loads((done.folder / "metrics.json").read_text())
    assert [r["ep"] for r in metrics["epochs"]] == [1, 2]
    assert set(metrics["init"]) == set(metrics["end"]) == {"rate_e", "rate_i", "cv", "act", "f0"}
    assert metrics["best_acc"] == max(r["acc"] for r in metrics["epochs"])
    assert metrics["best_chosen_on"] == "test"
    assert metrics["perf"]["samples_per_sec_warm"] > 0
    assert metrics["perf"]["peak_memory_bytes"] > 1e7
    rows = json.loads((done.folder / "test_predictions.json").read_text())
    assert len(rows) == done.config["derived"]["n_test"] == 30
    assert 100 * np.mean([r["correct"] for r in rows]) == pytest.approx(metrics["best_acc"])
    assert all(r["pred"] == int(np.argmax(r["logits"])) for r in rows)
    assert "epoch 1/2" in done.out
    assert "optimistic" in done.out
    assert done.config["lr"] == 0.002
    assert done.config["derived"]["n_trainable"] == 64 * 16 + 16 * 10


def test_both_weight_files_hold_the_best_state(learn):
    done = learn("--epochs", 2)
    state = torch.load(done.folder / "weights.pth", weights_only=True)
    assert set(state) == {"W_ff.0", "W_ff.1", "W_ee.1", "W_ei.1", "W_ie.1", "W_ii.1"}
    one = load_weight_matrices(done.folder / "weights.pth")
    other = load_weight_matrices(done.folder / "weights.h5")
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_kernels_and_what_they_keep(learn):
    words = {
        "plain": (),
        "checkpoints": ("--checkpoint-steps", 7),
        "far apart": ("--checkpoint-steps", 10**12),
        "fewer digits": ("--trajectory-dtype", "bfloat16"),
        "function": ("--train-kernel", "function"),
    }
    done = {name: learn("--epochs", 1, *more, name=name) for name, more in words.items()}
    assert {d.code for d in done.values()} == {0}
    w_in = {n: load_weight_matrices(d.folder / "weights.pth")["W_in"] for n, d in done.items()}
    for name in ("checkpoints", "far apart"):  # the same arithmetic, the same bits
        np.testing.assert_array_equal(w_in[name], w_in["plain"])
    assert not np.array_equal(w_in["fewer digits"], w_in["plain"])
    for name in ("fewer digits", "function"):
        np.testing.assert_allclose(w_in[name], w_in["plain"], atol=0.02)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--train-kernel", "eager", "--checkpoint-steps", "5"), "can't apply to --train-kernel"),
        (("--train-kernel", "eager", "--trajectory-dtype", "bfloat16"), "can't apply to"),
        (("--trajectory-dtype", "float64"), "float32 or bfloat16, not float64"),
        (("--checkpoint-steps", "-1"), "--checkpoint-steps"),
        (("--train-kernel", "fast"), "eager"),
    ],
)
def test_kernels_refuse_what_cannot_apply(learn, words, message):
    done = learn("--epochs", 1, *words)
    assert done.code == 2
    assert message in done.err
    assert not done.folder.exists()


def test_no_epochs_probe_the_untrained_network(call):
    done = call("train", *QUICK[:-2], "--epochs", 0, record=False)
    assert done.code == 0, done.err
    metrics = json.loads((done.folder / "metrics.json").read_text())
    assert metrics["epochs"] == []
    assert metrics["end"] is None
    assert (metrics["best_acc"], metrics["best_epoch"], metrics["total_elapsed_s"]) == (0, 0, 0)
    assert metrics["init"]["rate_e"] is not None
    assert (done.folder / "init_d0s0.png").exists()
    assert not list(done.folder.glob("weights*"))


@pytest.mark.parametrize(
    "model", [("cuba-ping",), ("cuba-noping", "--no-dales-law")], ids=lambda m: m[0]
)
def test_current_based_networks_learn_too(learn, call, model):
    words = ("--max-samples", "150", "--n-hidden", "16", "--dt", "2", "--t-ms", "60", "--burn-in",
             "0", "--input-rate", "100", "--w-in-sparsity", "0.5", "--lr", "0.01",
             "--observe", "none")  # fmt: skip
    done = learn("--model", *model, "--epochs", 3, quick=words)
    assert done.code == 0, done.err
    losses = [r["loss"] for r in json.loads((done.folder / "metrics.json").read_text())["epochs"]]
    assert losses[-1] < losses[0]
    found = call("infer", "--from-dir", done.folder, "--backend", "both", "--dtype", "float64",
                 "--codegen", "numpy", name="inf", record=False)  # fmt: skip
    assert found.code == 0, found.err
    assert "30 of 30 predictions equal" in found.out


def test_inference_repeats_the_accuracy_of_training_on_both_backends(learn, call):
    done = learn("--epochs", 2, "--readout", "mem-mean", "--readout-w-out-scale", "300",
                 "--tau-gaba", "6", "--readout-tau-out", "4", "--trainable-w-ei")  # fmt: skip
    best = json.loads((done.folder / "metrics.json").read_text())["best_acc"]
    found = call("infer", "--from-dir", done.folder, "--backend", "both", "--dtype", "float64",
                 "--codegen", "numpy", name="inf", record=False)  # fmt: skip
    assert found.code == 0, found.err
    results = json.loads((found.folder / "results.json").read_text())
    assert results["agreement"][0]["n_equal_predictions"] == 30
    # The readout sums the same spikes on both sides.
    assert results["agreement"][0]["max_logit_difference"] < 1e-9
    assert results["sweep"][0]["rates_hz"] == pytest.approx(results["sweep_torch"][0]["rates_hz"])
    alone = call("infer", "--from-dir", done.folder, name="alone", record=False)
    assert json.loads((alone.folder / "metrics.json").read_text())["best_acc"] == best
    assert (alone.folder / "test_predictions.json").read_text() == (
        done.folder / "test_predictions.json"
    ).read_text()
    for key in ("readout", "tau_gaba", "readout_tau_out", "trainable_w_ei"):
        assert alone.config[key] == done.config[key]


def test_a_dt_sweep_marks_the_training_dt(learn, call):
    done = learn("--epochs", 1)
    found = call("infer", "--from-dir", done.folder, "--dt-sweep", 4, 1, 2, "--codegen", "numpy",
                 "--observe", "video", name="sweep", record=False)  # fmt: skip
    assert found.code == 0, found.err
    results = json.loads((found.folder / "results.json").read_text())
    assert [row["dt"] for row in results["sweep"]] == [1, 2, 4]
    assert results["train_dt"] == 2
    assert results["backend"] == "brian"
    assert "trained here" in found.out
    assert (found.folder / "dt_sweep.png").stat().st_size > 5000
    from scope.film.video import read_video

    assert len(read_video(found.folder / "dt_sweep.mp4")) == 3


def test_frozen_inputs_are_the_same_spikes_at_every_dt(learn, call):
    done = learn("--epochs", 1)
    frozen = ("--frozen-inputs-mode", "upsample", "--backend", "torch")
    found = call("infer", "--from-dir", done.folder, "--dt-sweep", 2, 1, *frozen, name="a",
                 record=False)  # fmt: skip
    assert found.code == 0, found.err
    wrong = call("infer", "--from-dir", done.folder, "--dt-sweep", 2, 4, *frozen, name="b",
                 record=False)  # fmt: skip
    assert wrong.code == 2
    assert "dt = 4 ms" in wrong.err
    assert not (wrong.folder / "config.json").exists()


def test_pictures_and_videos_of_the_epochs(learn):
    done = learn("--epochs", 2, "--observe", "images")
    assert {p.name for p in done.folder.glob("*.png")} == {f"observe_{k}.png" for k in range(3)}
    film = learn("--epochs", 2, "--observe", "video", "--frame-rate", 5, name="film")
    assert film.code == 0, film.err
    from scope.film.video import read_video

    frames = read_video(film.folder / "observe.mp4")
    assert len(frames) == 3
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 0.5
    assert not list(film.folder.glob("*.png"))


def weights_of(folder):
    return torch.load(folder / "weights.pth", weights_only=True)


def test_a_killed_training_resumes_to_the_same_bits(learn, tmp_path):
    whole = learn("--epochs", 5, name="whole")
    words = ["train", *QUICK, "--epochs", "5", "--out-dir", str(tmp_path / "killed")]
    # In the middle of the third epoch: the log is ahead of the state.
    update = "train_torch.training.trainer:Trainer._update"
    kill_after(update, 8, words, env={"OMP_NUM_THREADS": "1"})
    log = tmp_path / "killed" / "metrics.jsonl"
    done = learn("--epochs", 5, "--resume", name="killed")
    assert done.code == 0, done.err
    resumed = [line for line in done.out.splitlines() if "resumed after epoch" in line]
    assert int(resumed[0].split()[-1]) == 2
    expected = weights_of(whole.folder)
    for name, tensor in weights_of(done.folder).items():
        assert torch.equal(tensor, expected[name]), name
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["step"] for r in rows if r["kind"] == "step"] == list(range(1, 16))


def test_resume_takes_the_settings_of_the_folder_and_refuses_others(learn, call, tmp_path):
    learn("--epochs", 1, "--trainable-w-ei")
    folder = tmp_path / "run"
    more = call("train", "--resume", "--epochs", 2, "--out-dir", folder, record=False)
    assert more.code == 0, more.err
    assert "resumed after epoch 1" in more.out
    assert more.config["trainable_w_ei"] is True
    assert more.config["lr"] == 0.002
    other = call("train", "--resume", "--epochs", 3, "--lr", 0.5, "--out-dir", folder, record=False)
    assert other.code == 2
    assert "lr was 0.002, now 0.5" in other.err
    fewer = call("train", "--resume", "--epochs", 1, "--out-dir", folder, record=False)
    assert fewer.code == 2
    assert "has done 2 already" in fewer.err
    nowhere = call("train", "--resume", "--out-dir", tmp_path / "none", record=False)
    assert nowhere.code == 2
    assert "holds no training" in nowhere.err


def test_a_validation_part_is_told(learn):
    done = learn("--epochs", 1, "--val-fraction", 0.25)
    assert done.code == 0, done.err
    metrics = json.loads((done.folder / "metrics.json").read_text())
    assert metrics["best_chosen_on"] == "validation"
    assert "val_acc" in metrics["epochs"][0]
    assert "optimistic" not in done.out


def test_a_second_training_leaves_the_first_alone(learn):
    """The same command again, or another one: a training is nobody's to replace."""
    first = learn("--epochs", 1)
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    for words in (("--epochs", 1), ("--epochs", 0), ("--epochs", 1, "--lr", 0.1)):
        again = learn(*words)
        assert again.code == 2
        assert "holds the results of a train run" in again.err
        assert "--resume, choose another --out-dir, or clear it with --wipe-dir" in again.err
        now = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
        assert now == before
    wiped = learn("--epochs", 0, "--wipe-dir")
    assert wiped.code == 0
    assert not (wiped.folder / "weights.pth").exists()


def test_a_training_goes_on_from_loaded_weights(learn, call, tmp_path):
    first = learn("--epochs", 1)
    second = call("train", "--from-dir", first.folder, "--epochs", 1, name="second", record=False)
    assert second.code == 0, second.err
    assert second.config["lr"] == 0.002
    acc = [
        json.loads((run.folder / "metrics.json").read_text())["epochs"][0]["loss"]
        for run in (first, second)
    ]
    assert acc[1] < acc[0]


WRONG = [
    (("--backend", "brian"), "gradients are torch's"),
    (("--codegen", "cpp"), "--codegen is for Brian2"),
    (("--input", "synthetic-spikes"), "its input is a dataset"),
    (("--trials", "3"), "each sample of the dataset is a trial"),
    (("--save-recording", "x.npz"), "use sim or image"),
    (("--stim-overdrive", "3"), "no stimulus window"),
    (("--fr-reg-upper-theta", "3"), "does nothing without --fr-reg-upper-strength"),
    (("--fr-reg-mode", "population"), "does nothing without"),
    (("--frame-rate", "3"), "--observe video only"),
    (("--lr", "0"), "lr"),
    (("--val-fraction", "1"), "val"),
    (("--batch-size", "0"), "batch"),
    (("--tbptt-window", "5"), "cuba"),
    (("--model", "cuba-ping", "--trainable-w-ei"), "applies to the conductance-based"),
    (("--model", "cuba-ping", "--v-grad-dampen", "3"), "applies to the conductance-based"),
    (("--input-rate", "9000"), "rate"),
    (("--dt", "0.7"), "does not divide"),
    (("--resume", "--wipe-dir"), "contradict"),
    (("--max-samples", "5"), "too few"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda x: x[0] if len(x) < 5 else "")
def test_train_refuses_what_cannot_apply(call, words, message):
    given = ("--max-samples", "150", *words) if "--max-samples" not in words else words
    done = call("train", "--epochs", 1, *given, record=False)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (done.folder / "config.json").exists()


def test_infer_needs_weights(call):
    done = call("infer", record=False)
    assert done.code == 2
    assert "infer needs trained weights" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--frozen-inputs-mode", "upsample"), "--dt-sweep only"),
        (("--observe", "video"), "without --dt-sweep use image"),
        (("--dt-sweep", "1", "--observe", "image"), "with --dt-sweep use video"),
        (("--dt-sweep", "1", "--dt", "2"), "contradict"),
        (("--dt-sweep", "0.7"), "does not divide"),
        (("--dt-sweep", "1", "--train-kernel", "eager"), "is for torch"),
        (("--codegen", "cpp"), "is for Brian2"),
    ],
)
def test_infer_refuses_what_cannot_apply(learn, call, words, message):
    done = learn("--epochs", 1)
    found = call("infer", "--from-dir", done.folder, *words, name="inf", record=False)
    assert found.code == 2
    assert message in found.err
    assert not found.folder.exists()
