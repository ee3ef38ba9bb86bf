"""Bad input: one line that says what was wrong, exit code 2, nothing written."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest


def refused(outcome, *parts):
    assert outcome.code == 2, outcome.out + outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1, outcome.err
    for part in parts:
        assert part in outcome.err
    assert not outcome.folder.exists()
    assert not outcome.folder.with_suffix(".npz").exists()


@pytest.mark.parametrize("command", ["sim", "image"])
@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--dt", "0.3"), ("does not divide the trial of 200 ms", "199.8")),
        (("--dt", "0"), ("--dt = 0 ms must be > 0",)),
        (("--n-hidden", "100000000"), ("weights; at most 1e+09",)),
        (("--n-hidden", "1000", "--trials", "99999"), ("cells; at most 5e+07",)),
        (("--model", "cuba-ping", "--dt", "40", "--t-ms", "400"), ("unstable",)),
        (("--w-ei", "-1", "0.1"), ("--w-ei -1", ">= 0")),
        (("--tau-gaba", "-9"), ("--tau-gaba", "must be > 0")),
        (("--tau-syn", "nan"), ("--tau-syn", "finite")),
        (("--t-ms", "ten"), ("--t-ms", "must be a number")),
        (("--modle", "ping"), ("did you mean --model",)),
        (("--model", "pin"), ("one of ping, cuba-ping, cuba-noping",)),
        (("--w-in", "1", "2", "3"), ("--w-in", "1 to 2 values")),
        (("--w-in", "1", "-0.1"), ("std",)),
        (("--w-in-sparsity", "1"), ("--w-in-sparsity = 1 must be >= 0 and < 1",)),
        (("--n-hidden", "0"), ("--n-hidden", ">= 1")),
        (("--digit", "10"), ("digit = 10 is no class of scikit", "0 to 9")),
        (("--digit", "3", "--sample", "1000"), ("scikit has 183 samples of class 3",)),
        (("--input-rate", "5000"), ("5000 Hz",)),
        (("--seed", "-1"), ("--seed",)),
        (("--dataset", "mnist"), ("PINGBRIDGE_MNIST_DIR",)),
        (("--dataset", "shd"), ("shd_test.h5", "SHD_DIR")),
        (("--dataset", "imagenet"), ("one of scikit, mnist, smnist, shd",)),
        (("--dataset", "smnist", "--t-ms", "100"), ("PINGBRIDGE_MNIST_DIR",)),
        (("--from-dir", "nowhere"), ("nowhere",)),
        (("--config", "nowhere.yaml"), ("nowhere.yaml", "no such file")),
        (("--weights-file", "nowhere.npz"), ("nowhere.npz",)),
        (("--input-file", "nowhere.npz"), ("nowhere.npz",)),
        (("--save-recording", "out.txt"), ("out.txt", ".npz, .h5")),
        (("--save-recording", "no/folder/out.npz"), ("there is no folder",)),
        (("--save-recording", "/proc/out.npz"), ("/proc/out.npz", "can't be written")),
    ],
)
def test_bad_flags(call, monkeypatch, tmp_path, command, flags, parts):
    for variable in ("PINGBRIDGE_MNIST_DIR", "PINGLAB_SHD_DIR", "PINGBRIDGE_SHD_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "no-data"))
    refused(call(command, *flags, record="--save-recording" not in flags), *parts)


def test_from_dir_without_config(call, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(call("image", "--from-dir", tmp_path / "empty"), "config.json", "empty")


def test_from_dir_with_broken_config(call, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"mode": "train", ')
    refused(call("sim", "--from-dir", tmp_path / "broken"), "config.json")


def test_trained_run_without_weights(call, tmp_path):
    (tmp_path / "trained").mkdir()
    config = {"mode": "train", "model": "ping", "dales_law": True, "dataset": "scikit"}
    (tmp_path / "trained" / "config.json").write_text(json.dumps(config))
    refused(call("image", "--from-dir", tmp_path / "trained"), "weights.pth", "--load-weights")


def test_unwritable_out_dir(call, tmp_path):
    (tmp_path / "file").write_text("mine")
    outcome = call("sim", "--n-hidden", "8", "--out-dir", tmp_path / "file" / "run", record=False)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def weights_npz(path, **changes):
    rng = np.random.default_rng(1)
    matrices = {
        "W_in": rng.random((16, 8)), "W_out": rng.random((8, 10)), "W_ei_1": rng.random((8, 2)),
        "W_ie_1": rng.random((2, 8)),
    }  # fmt: skip
    np.savez(path, **(matrices | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"W_in": np.full((16, 8), np.nan)}, ("W_in", "not a finite number")),
        ({"W_out": np.zeros((9, 10))}, ("W_out", "(9, 10)")),
        ({"W_ei_1": np.zeros((8, 3))}, ("W_",)),
        ({"W_in": np.zeros((16, 8, 1))}, ("W_in", "shape")),
        ({"W_nonsense": np.zeros((2, 2))}, ("W_nonsense",)),
    ],
)
def test_bad_weights(call, tmp_path, changes, parts):
    path = weights_npz(tmp_path / "weights_in.npz", **changes)
    refused(call("sim", "--weights-file", path), *parts)


def test_weights_that_contradict_flags(call, tmp_path):
    path = weights_npz(tmp_path / "weights_in.npz")
    refused(call("sim", "--weights-file", path, "--n-hidden", "9"), "--n-hidden 9 contradicts")
    refused(call("sim", "--weights-file", path, "--n-inh", "3"), "--n-inh 3 contradicts")
    refused(call("sim", "--weights-file", path, "--w-in", "1"), "--w-in shapes weights that are")
    refused(call("sim", "--weights-file", path, "--digit", "1"), "64 channels", "16 rows")
    refused(call("sim", "--weights-file", path, "--load-weights", path), "contradict each other")
    refused(call("sim", "--weights-file", path, "--model", "cuba-noping", "--no-dales-law"), "W_")


def test_truncated_weights(call, tmp_path):
    path = weights_npz(tmp_path / "weights_in.npz")
    path.write_bytes(path.read_bytes()[:-200])
    refused(call("sim", "--weights-file", path), str(path))


class Payload:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


def malicious_pth(path, target):
    """Write what torch.load would read, with a pickle that opens a file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Payload(target), protocol=2))
        archive.writestr("archive/version", "3\n")
    return path


def test_malicious_weights_are_not_executed(call, tmp_path):
    pytest.importorskip("torch")
    target = tmp_path / "pwned"
    for name in ("weights.pth", "bare.pth"):
        path = tmp_path / name
        if name == "bare.pth":
            path.write_bytes(pickle.dumps(Payload(target), protocol=2))
        else:
            malicious_pth(path, target)
        refused(call("image", "--load-weights", path), str(path))
        assert not target.exists()
    objects = io.BytesIO()
    np.savez(objects, W_in=np.array([Payload(target)], dtype=object), W_out=np.zeros((8, 10)))
    (tmp_path / "objects.npz").write_bytes(objects.getvalue())
    refused(call("sim", "--weights-file", tmp_path / "objects.npz"), "objects.npz")
    assert not target.exists()


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"in_spk": np.array([[0, 0, 99]])}, ("99", "0 to 15")),
        ({"in_spk": np.array([[0, 0]])}, ("in.npz", "(1, 2)")),
        ({"in_spk": np.array([[0.5, 0, 0]])}, ("in.npz", "integer")),
        ({"dt": -0.1}, ("dt",)),
        ({"T_steps": 10**15}, ("too large",)),
        ({"N_IN": 10**12}, ("too large",)),
        ({"T_steps": 0}, ("T_steps",)),
    ],
)
def test_bad_input_files(call, tmp_path, changes, parts):
    good = {"in_spk": np.array([[1, 0, 3]]), "dt": 0.5, "T_steps": 400, "B": 1, "N_IN": 16}
    np.savez(tmp_path / "in.npz", **(good | changes))
    weights = weights_npz(tmp_path / "weights_in.npz")
    refused(call("sim", "--weights-file", weights, "--input-file", tmp_path / "in.npz"), *parts)


def test_input_file_that_contradicts_flags(call, tmp_path):
    good = {"in_spk": np.array([[1, 0, 3]]), "dt": 0.5, "T_steps": 400, "B": 1, "N_IN": 16}
    np.savez(tmp_path / "in.npz", **good)
    path = tmp_path / "in.npz"
    refused(call("sim", "--input-file", path, "--dt", "0.25"), "--dt 0.25 contradicts the input")
    refused(call("sim", "--input-file", path, "--t-ms", "100"), "--t-ms 100 contradicts")
    refused(call("sim", "--input-file", path, "--digit", "2"), "--input-file")
    refused(call("sim", "--input-file", path, "--input", "dataset"), "contradict each other")
    refused(call("sim", "--input-file", path, "--trials", "2"), "its own trials")


def test_files_of_the_run_are_not_overwritten(call, tmp_path):
    path = weights_npz(tmp_path / "weights_in.npz")
    before = path.read_bytes()
    outcome = call("sim", "--weights-file", path, "--save-recording", path)
    assert outcome.code == 2
    assert "would overwrite a file of this run" in outcome.err
    assert path.read_bytes() == before
    refused(call("sim", "--n-hidden", "8", "--record-traces", record=False), "--save-recording")


def test_negative_weights_under_dales_law_are_announced(call, tmp_path):
    path = weights_npz(tmp_path / "weights_in.npz", W_in=np.full((16, 8), -0.3))
    outcome = call("sim", "--weights-file", path, "--codegen", "numpy")
    assert outcome.code == 0
    assert "warning: W_in: 100 % of the entries are negative and used as 0" in outcome.out


def test_a_recipe_cannot_name_another(call, tmp_path):
    (tmp_path / "recipe.yaml").write_text("config: other.yaml\n")
    refused(call("sim", "--config", tmp_path / "recipe.yaml"), "can't name another one")


def test_wipe_dir_spares_the_input_file(call, tmp_path):
    first = call("sim", "--n-hidden", "8", "--codegen", "numpy")
    (first.folder.parent / "run.npz").rename(first.folder / "in.npz")
    outcome = call("sim", "--n-hidden", "8", "--input-file", first.folder / "in.npz", "--wipe-dir",
                   record=False)  # fmt: skip
    assert outcome.code == 2
    assert (first.folder / "in.npz").exists()


def test_wipe_dir_refuses_a_foreign_folder(call, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    outcome = call("sim", "--n-hidden", "8", "--wipe-dir")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert (tmp_path / "run" / "thesis.tex").read_text() == "years of work"
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]
