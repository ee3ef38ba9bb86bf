"""The input noise of an evaluation: fixed unless another is asked for, and how much it matters."""

from __future__ import annotations

import json

import numpy as np
import pytest

WORDS = ("--dataset", "scikit", "--max-samples", "150", "--n-hidden", "16", "--dt", "2", "--t-ms",
         "60", "--w-in", "2", "0.4", "--w-in-sparsity", "0.5", "--ei-ratio", "0.2", "--burn-in",
         "0", "--observe", "none", "--input-rate", "100")  # fmt: skip


def read(folder, name):
    return json.loads((folder / name).read_text())


def logits(folder):
    return np.array([row["logits"] for row in read(folder, "test_predictions.json")])


@pytest.fixture
def trained(call):
    done = call("train", *WORDS, "--epochs", 2, "--lr", "0.002", name="trained", record=False)
    assert done.code == 0, done.err
    return done.folder


def test_a_seed_gives_other_noise_and_none_gives_that_of_the_training(call, trained, tmp_path):
    def run(name, *words, source=trained):
        found = call("infer", "--from-dir", source, *words, name=name, record=False)
        assert found.code == 0, found.err
        return found.folder

    plain, nine = run("plain"), run("nine", "--seed", 9)
    np.testing.assert_array_equal(logits(plain), logits(trained))
    assert not np.array_equal(logits(nine), logits(plain))
    np.testing.assert_array_equal(logits(run("again", "--seed", 9)), logits(nine))
    assert read(nine, "results.json")["noise_seeds"] == [9]
    # What inherits from an evaluation has its noise.
    np.testing.assert_array_equal(logits(run("child", source=nine)), logits(nine))
    np.testing.assert_array_equal(logits(run("other", source=plain)), logits(plain))


def test_mean_and_deviation_over_noises(call, trained):
    found = call(
        "infer", "--from-dir", trained, "--noise-seeds", 3, "--backend", "both", "--dtype",
        "float64", "--codegen", "numpy", name="three", record=False,
    )  # fmt: skip
    assert found.code == 0, found.err
    results = read(found.folder, "results.json")
    (row,), seeds = results["sweep"], results["noise_seeds"]
    assert len(set(seeds)) == row["n_noises"] == 3
    assert row["acc_by_noise"][0] == row["acc"]
    alone = call("infer", "--from-dir", trained, "--seed", seeds[2], "--dtype", "float64",
                 name="alone", record=False)  # fmt: skip
    assert read(alone.folder, "metrics.json")["best_acc"] == row["acc_by_noise"][2]
    mean = sum(row["acc_by_noise"]) / 3
    assert row["acc_mean"] == pytest.approx(mean)
    assert row["acc_sd"] == pytest.approx(
        (sum((acc - mean) ** 2 for acc in row["acc_by_noise"]) / 2) ** 0.5
    )
    assert len(set(row["acc_by_noise"])) > 1
    assert results["sweep_torch"][0]["acc_by_noise"] == row["acc_by_noise"]
    assert results["agreement"][0]["n"] == 90
    assert f"{mean:.2f} % ± {row['acc_sd']:.2f} (SD of 3 noises)" in found.out


def test_frozen_inputs_have_noises_too(call, trained):
    words = ("--dt-sweep", 2, 1, "--frozen-inputs-mode", "upsample", "--backend", "torch")
    found = call("infer", "--from-dir", trained, *words, "--noise-seeds", 2, name="frozen",
                 record=False)  # fmt: skip
    assert found.code == 0, found.err
    results = read(found.folder, "results.json")
    assert results["noise_seeds"][0] == 42
    assert [row["n_noises"] for row in results["sweep"]] == [2, 2]


def test_an_encoder_that_would_only_change_the_picture_is_refused(call, trained):
    for words in (("infer", "--from-dir", trained), ("train", *WORDS, "--epochs", 1)):
        said = call(*words, "--encoder", "events", name="refused", record=False)
        assert said.code == 2
        assert said.err == (
            f"error: --encoder can't apply to {words[0]}: its samples are encoded step by step\n"
        )
