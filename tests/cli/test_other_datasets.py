"""MNIST, sMNIST and SHD from files in their own formats, through the command line."""

from __future__ import annotations

import struct

import h5py
import numpy as np
import pytest


def write_idx(path, array):
    magic = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(magic + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """Return two images a class: class k has a bar of height 2 k + 2."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    labels = np.tile(np.arange(10), 2)
    images = np.zeros((20, 28, 28))
    for image, label in zip(images, labels, strict=True):
        image[: 2 * label + 2, 10:18] = 255
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    monkeypatch.setenv("PINGBRIDGE_MNIST_DIR", str(folder))
    return images


@pytest.fixture
def shd(tmp_path, monkeypatch):
    """Return a recording of class 13 with events up to 120 ms."""
    folder = tmp_path / "shd"
    folder.mkdir()
    times_s = np.array([0.001, 0.0012, 0.05, 0.12])
    units = np.array([3, 3, 699, 0])
    for name in ("shd_train.h5", "shd_test.h5"):
        with h5py.File(folder / name, "w") as file:
            kind = h5py.vlen_dtype(np.dtype("float32"))
            file.create_dataset("spikes/times", (1,), dtype=kind)[0] = times_s
            kind = h5py.vlen_dtype(np.dtype("int32"))
            file.create_dataset("spikes/units", (1,), dtype=kind)[0] = units
            file["labels"] = np.array([13])
    monkeypatch.setenv("PINGBRIDGE_SHD_DIR", str(folder))
    monkeypatch.delenv("PINGLAB_SHD_DIR", raising=False)


FAST = ("--dt", "0.5", "--codegen", "numpy", "--n-hidden", "16")


def inputs(outcome):
    with np.load(outcome.folder.parent / "run.npz", allow_pickle=False) as data:
        return data["in_spk"], int(data["N_IN"])


def test_mnist(call, mnist):
    outcome = call("sim", "--dataset", "mnist", "--digit", "4", *FAST, "--t-ms", "100")
    assert outcome.code == 0, outcome.err
    rows, n_in = inputs(outcome)
    assert n_in == 784
    lit = set(np.flatnonzero(mnist[4]))
    assert len(rows) > 10
    assert set(rows[:, 2]) <= lit


def test_smnist_shows_row_after_row(call, mnist):
    outcome = call("image", "--dataset", "smnist", "--digit", "4", "--input-rate", "200", *FAST)
    assert outcome.code == 0, outcome.err
    assert outcome.config["t_ms"] == 280.0
    rows, n_in = inputs(outcome)
    assert n_in == 28
    assert rows[:, 0].max() < 10 * 20  # ten rows of 10 ms are lit
    assert set(rows[:, 2]) <= set(range(10, 18))
    odd = call("sim", "--dataset", "smnist", "--dt", "0.3", name="odd")
    assert odd.code == 2
    assert "does not divide the rows of smnist" in odd.err
    refused = call("sim", "--dataset", "smnist", *FAST, "--t-ms", "100", name="refused")
    assert refused.code == 2
    assert "280 ms" in refused.err


@pytest.mark.usefixtures("shd")
def test_shd(call):
    outcome = call("sim", "--dataset", "shd", "--digit", "13", *FAST, "--t-ms", "100")
    assert outcome.code == 0, outcome.err
    rows, n_in = inputs(outcome)
    assert n_in == 700
    # 1.0 and 1.2 ms lie in one step and are two spikes; 120 ms is too late.
    np.testing.assert_array_equal(rows, [[2, 0, 3], [2, 0, 3], [100, 0, 699]])
    assert outcome.recording.logits.shape == (1, 20)
    once = call("sim", "--dataset", "shd", "--digit", "13", *FAST, "--t-ms", "100",
                "--event-stream", "published", name="once")  # fmt: skip
    with np.load(once.folder.parent / "once.npz", allow_pickle=False) as data:
        np.testing.assert_array_equal(data["in_spk"], [[2, 0, 3], [100, 0, 699]])
    for flags in (("--trials", "2"), ("--input-rate", "50"), ("--stim-overdrive", "2")):
        refused = call("sim", "--dataset", "shd", "--digit", "13", *flags, name="refused")
        assert refused.code == 2
        assert flags[0] in refused.err


@pytest.mark.usefixtures("mnist")
def test_a_class_without_samples_says_how_many_there_are(call):
    outcome = call("sim", "--dataset", "mnist", "--digit", "4", "--sample", "2")
    assert outcome.code == 2
    assert "mnist has 2 samples of class 4" in outcome.err


N_EVENTS, LAST_S = 300, 0.9


def write_words(folder, *, factor=1.0):
    """Write 20 classes of three words each: 300 events of 0.9 s, in seconds times a factor."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for name in ("shd_train.h5", "shd_test.h5"):
        with h5py.File(folder / name, "w") as file:
            times = file.create_dataset("spikes/times", (60,), dtype=h5py.vlen_dtype("float32"))
            units = file.create_dataset("spikes/units", (60,), dtype=h5py.vlen_dtype("int32"))
            for k in range(60):
                times[k] = (np.arange(N_EVENTS) + 0.5) / N_EVENTS * LAST_S * factor
                units[k] = rng.integers(0, 700, N_EVENTS)
            file["labels"] = np.arange(60) % 20


@pytest.fixture
def words(tmp_path, monkeypatch):
    folder = tmp_path / "words"
    write_words(folder)
    monkeypatch.setenv("PINGBRIDGE_SHD_DIR", str(folder))
    monkeypatch.delenv("PINGLAB_SHD_DIR", raising=False)
    return folder


def test_a_word_is_heard_to_its_end_or_the_share_is_said(call, words):
    whole = call("sim", "--dataset", "shd", "--digit", "3", "--dt", "1", *FAST[2:], name="run")
    assert whole.code == 0, whole.err
    assert whole.config["t_ms"] == 1000.0
    assert len(inputs(whole)[0]) == N_EVENTS
    assert "lie after" not in whole.out
    short = call("sim", "--dataset", "shd", "--digit", "3", "--dt", "1", *FAST[2:], "--t-ms", "200",
                 name="short")  # fmt: skip
    # Events lie 3 ms apart: 67 of them before 200 ms.
    assert "shd: 233 of 300 events (78 %) lie after the end of the trial of 200 ms" in short.out
    with np.load(short.folder.parent / "short.npz", allow_pickle=False) as data:
        assert len(data["in_spk"]) == 67
    inherited = call("sim", "--from-dir", short.folder, "--codegen", "numpy", name="again")
    assert inherited.config["t_ms"] == 200.0


def test_times_in_milliseconds_are_recognised(call, words):
    write_words(words, factor=1000.0)
    said = call("sim", "--dataset", "shd", "--digit", "3", "--dt", "1", *FAST[2:], record=False)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "are these milliseconds? They must be seconds" in said.err


@pytest.mark.usefixtures("words")
def test_training_and_test_files_as_published_and_late_events(call):
    net = ("--dataset", "shd", "--dt", "5", "--n-hidden", "8", "--w-in", "1.2", "0.12",
           "--burn-in", "0")  # fmt: skip
    done = call("train", *net, "--split", "official", "--t-ms", "450", "--epochs", "1", "--observe",
                "none", name="trained", record=False)  # fmt: skip
    assert done.code == 0, done.err
    assert (done.config["derived"]["n_train"], done.config["derived"]["n_test"]) == (60, 60)
    assert "120 samples of shd looked at: 18000 of 36000 events (50 %) lie after" in done.out
    found = call("infer", "--from-dir", done.folder, "--max-samples", "7", name="inf", record=False)
    assert found.code == 0, found.err
    assert found.config["split"] == "official"
    assert found.config["derived"]["n_test"] == 7
    for flags, part in (
        (("--seed", "3"), "recorded events without noise"),
        (("--noise-seeds", "2"), "recorded events without noise"),
        (("--dt-sweep", "5", "10", "--frozen-inputs-mode", "downsample"), "which bins them"),
    ):
        said = call("infer", "--from-dir", done.folder, *flags, name="refused", record=False)
        assert said.code == 2, flags
        assert part in said.err
