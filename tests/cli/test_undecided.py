"""A tie and a silent network are said beside every accuracy, by both backends alike."""

from __future__ import annotations

import json

import numpy as np
import pytest

WORDS = ("--dataset", "scikit", "--max-samples", "150", "--n-hidden", "16", "--dt", "2", "--t-ms",
         "60", "--w-in", "2", "0.4", "--w-in-sparsity", "0.5", "--ei-ratio", "0.2", "--burn-in",
         "0", "--observe", "none", "--readout", "spike-count")  # fmt: skip


def read(folder, name):
    return json.loads((folder / name).read_text())


@pytest.fixture
def trained(call):
    """Return a training whose readout weights are multiples of a quarter, so that sums tie."""
    from bridge.formats.weight_files import load_weight_matrices
    from train_torch.training.state_file import write_pth

    done = call("train", *WORDS, "--input-rate", "60", "--epochs", 1, "--readout-w-out-scale", "2",
                name="trained", record=False)  # fmt: skip
    assert done.code == 0, done.err
    import torch

    path = done.folder / "weights.pth"
    state = torch.load(path, weights_only=True)
    state["W_ff.1"] = torch.clamp(torch.round(4 * state["W_ff.1"]) / 4, 0.0, 0.5)
    write_pth(path, state)
    assert np.unique(load_weight_matrices(path)["W_out"]).size <= 3
    return done.folder


def test_ties_are_counted_by_both_backends(call, trained):
    found = call("infer", "--from-dir", trained, "--backend", "both", "--dtype", "float64",
                 "--codegen", "numpy", name="both", record=False)  # fmt: skip
    assert found.code == 0, found.err
    results = read(found.folder, "results.json")
    (brian,), (torch_row,) = results["sweep"], results["sweep_torch"]
    rows = read(found.folder, "test_predictions.json")
    logits = np.array([row["logits"] for row in rows])
    tied = (logits == logits.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert 0 < tied.sum() < len(rows)
    right = np.array([row["pred"] == row["true"] for row in rows])
    for row in (brian, torch_row, read(found.folder, "metrics.json")):
        assert row["n_undecided"] == tied.sum()
        assert row["acc_decided"] == pytest.approx(100 * np.mean(right & ~tied))
        assert row["acc"] == pytest.approx(100 * np.mean(right))
        assert row["acc_low"] < row["acc"] < row["acc_high"]
        assert row["n_silent"] == sum(one["silent"] for one in rows)
    assert [row["undecided"] for row in rows] == tied.tolist()
    assert found.out.count(f"{tied.sum()} of 30 undecided") == 2  # a line for each backend


@pytest.mark.parametrize("backend", ["torch", "brian"])
def test_a_dead_network_has_answered_nothing(call, trained, backend):
    more = ("--codegen", "numpy") if backend == "brian" else ()
    found = call("infer", "--from-dir", trained, "--input-rate", "0.001", "--backend", backend,
                 *more, name=backend, record=False)  # fmt: skip
    assert found.code == 0, found.err
    metrics = read(found.folder, "metrics.json")
    assert (metrics["n_undecided"], metrics["n_silent"], metrics["acc_decided"]) == (30, 30, 0.0)
    assert "30 of 30 undecided, 30 of 30 silent" in found.out


def test_a_training_says_so_in_every_epoch(call):
    done = call("train", *WORDS, "--input-rate", "0.001", "--epochs", 1, "--val-fraction", "0.25",
                name="dead", record=False)  # fmt: skip
    assert done.code == 0, done.err
    (epoch,) = read(done.folder, "metrics.json")["epochs"]
    assert (epoch["n_undecided"], epoch["n_silent"], epoch["n_total"]) == (30, 30, 30)
    assert (epoch["val_n_undecided"], epoch["val_n_total"]) == (30, 30)
    row = next(line for line in done.out.splitlines() if line.startswith("epoch 1/1"))
    assert row.count("30 of 30 undecided, 30 of 30 silent") == 2
    assert read(done.folder, "metrics.json")["n_undecided"] == 30
