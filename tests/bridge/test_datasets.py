import gzip
import struct

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from bridge.datasets.catalog import (
    DATASETS,
    dataset_info,
    load,
    mnist_directory,
    part_positions,
    select,
    shd_directory,
)
from bridge.datasets.idx import find_idx, read_idx
from bridge.datasets.shd import read_shd_labels, read_shd_samples

N_TRAIN, N_TEST = 60, 40


def idx_bytes(array):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_mnist(folder, *, gz=False, dotted=False, parts=("train", "t10k")):
    """Write random images under the standard names; return images and labels, joined."""
    rng = np.random.default_rng(0)
    images, labels = [], []
    for part, n in zip(("train", "t10k"), (N_TRAIN, N_TEST), strict=True):
        images.append(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        labels.append(np.tile(np.arange(10, dtype=np.uint8), n // 10))
        rng.shuffle(labels[-1])
        if part not in parts:
            continue
        for kind, array in (("images-idx3", images[-1]), ("labels-idx1", labels[-1])):
            name = f"{part}-{kind}-ubyte" + (".gz" if gz else "")
            name = name.replace("-idx", ".idx") if dotted else name
            data = idx_bytes(array)
            (folder / name).write_bytes(gzip.compress(data) if gz else data)
    return np.concatenate(images), np.concatenate(labels)


@pytest.fixture
def mnist_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PINGBRIDGE_MNIST_DIR", str(tmp_path))
    return tmp_path


def write_shd_file(path, n_samples, *, seed):
    """Write a small file in the published layout; return times, units and labels."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 30, n_samples)
    times = [np.sort(rng.random(n)).astype(np.float16) for n in sizes]
    units = [rng.integers(0, 700, n).astype(np.uint16) for n in sizes]
    labels = np.tile(np.arange(20, dtype=np.uint16), n_samples // 20)
    with h5py.File(path, "w") as file:
        for name, values, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            stored = file.create_dataset(
                f"spikes/{name}", (n_samples,), dtype=h5py.vlen_dtype(np.dtype(kind))
            )
            for k, value in enumerate(values):
                stored[k] = value
        file["labels"] = labels
    return times, units, labels


@pytest.fixture
def shd_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PINGLAB_SHD_DIR", str(tmp_path))
    return tmp_path


# Sizes and the digits of scikit-learn


def test_sizes_of_the_data_sets():
    sizes = {name: (i.n_in, i.n_classes, i.n_hidden) for name, i in DATASETS.items()}
    assert sizes == {
        "scikit": (64, 10, 64), "mnist": (784, 10, 1024), "smnist": (28, 10, 32),
        "shd": (700, 20, 256),
    }  # fmt: skip
    with pytest.raises(ValueError, match="'cifar' is unknown; use one of scikit, mnist"):
        dataset_info("cifar")


def test_scikit_split_is_the_published_one():
    data = load("scikit")
    assert len(data) == 1797
    assert (len(data.train_index), len(data.test_index)) == (1437, 360)
    together = np.concatenate([data.train_index, data.test_index])
    assert_array_equal(np.sort(together), np.arange(1797))
    # Stratified: every class has a fifth of its samples in the test part, to a sample or so.
    whole, test = np.bincount(data.labels), np.bincount(data.labels[data.test_index])
    assert (np.abs(test - 0.2 * whole) <= 1).all()
    assert data.images.min() == 0.0
    assert data.images.max() == 1.0
    assert_array_equal(data.pixels([5, 0]), data.images[[5, 0]])


def test_cap_draws_before_the_split_whatever_the_global_state():
    np.random.seed(0)  # noqa: NPY002 -- shows that the cap does not look at it
    capped = load("scikit", max_samples=200)
    assert (len(capped.train_index), len(capped.test_index)) == (160, 40)
    drawn = np.random.RandomState(42).choice(1797, 200, replace=False)
    whole = load("scikit")
    assert_array_equal(capped.images, whole.images[drawn])
    assert_array_equal(capped.labels, whole.labels[drawn])
    assert_array_equal(load("scikit", max_samples=5000).labels, whole.labels)


@pytest.mark.parametrize(
    ("n", "message"), [(0, "max_samples = 0"), (12, "12 samples of scikit are too few")]
)
def test_caps_that_cannot_be_split(n, message):
    with pytest.raises(ValueError, match=message):
        load("scikit", max_samples=n)


def test_selection_counts_occurrences_of_the_class():
    data = load("scikit")
    for digit, sample in ((0, 0), (7, 3), (9, 100)):
        chosen = select("scikit", digit, sample)
        assert data.labels[chosen.index] == digit
        assert np.count_nonzero(data.labels[: chosen.index] == digit) == sample
        assert_array_equal(chosen.image, data.images[chosen.index])


@pytest.mark.parametrize(
    ("digit", "sample", "message"),
    [
        (10, 0, "digit = 10 is no class of scikit; use 0 to 9"),
        (-1, 0, "digit = -1"),
        (0, 178, "scikit has 178 samples of class 0 to choose from; use 0 to 177"),
        (0, -1, "sample = -1"),
    ],
)
def test_selection_beyond_the_data_is_refused(digit, sample, message):
    with pytest.raises(ValueError, match=message):
        select("scikit", digit, sample)


# MNIST


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_mnist_is_read_from_any_usual_spelling(mnist_folder, gz, dotted):
    images, labels = write_mnist(mnist_folder, gz=gz, dotted=dotted)
    flat, rows = load("mnist"), load("smnist")
    assert_array_equal(flat.images, images.reshape(100, 784) / 255.0)
    assert_array_equal(rows.pixels([99, 3]), images[[99, 3]] / 255.0)
    assert_array_equal(flat.labels, labels)
    assert (len(flat.train_index), len(flat.test_index)) == (80, 20)
    assert_array_equal(flat.test_index, rows.test_index)


@pytest.mark.parametrize("below", ["MNIST/raw", "raw"])
def test_mnist_is_found_where_torchvision_puts_it(mnist_folder, below):
    (mnist_folder / below).mkdir(parents=True)
    images, labels = write_mnist(mnist_folder / below)
    assert_array_equal(load("mnist").images, images.reshape(100, 784) / 255.0)
    assert_array_equal(load("mnist").labels, labels)


def test_mnist_is_read_from_the_file_of_keras(mnist_folder):
    images, labels = write_mnist(mnist_folder)
    expected = load("mnist")
    for path in mnist_folder.iterdir():
        path.unlink()
    arrays = {"x_train": images[:N_TRAIN], "y_train": labels[:N_TRAIN],
              "x_test": images[N_TRAIN:], "y_test": labels[N_TRAIN:]}  # fmt: skip
    path = mnist_folder / "mnist.npz"
    np.savez(path, **arrays)
    assert_array_equal(load("mnist").images, expected.images)
    assert_array_equal(load("mnist").labels, expected.labels)
    assert select("mnist", 4, 2).index == np.flatnonzero(labels[N_TRAIN:] == 4)[2]
    for change, message in (
        ({"y_test": np.full(N_TEST, 10)}, r"mnist\.npz holds label 10"),
        ({"y_test": np.full(N_TEST, -1)}, r"mnist\.npz holds label -1"),
        ({"y_test": labels[:7]}, "holds 40 images but 7 labels"),
        ({"x_test": np.zeros((N_TEST, 784), np.uint8)}, "x_test has shape"),
        ({"x_test": np.zeros((N_TEST, 28, 28))}, "expected uint8 images"),
    ):
        np.savez(path, **arrays | change)
        with pytest.raises(ValueError, match=message) as caught:
            select("mnist", 0, 0)
        assert str(path) in str(caught.value)
    np.savez(path, **{name: arrays[name] for name in ("x_train", "y_train", "x_test")})
    with pytest.raises(ValueError, match=r"mnist\.npz lacks y_test"):
        load("mnist")


def test_mnist_files_that_were_unpacked_and_kept_their_ending(mnist_folder):
    images, _ = write_mnist(mnist_folder)
    for path in list(mnist_folder.iterdir()):
        path.rename(f"{path}.gz")
    assert_array_equal(load("mnist").images, images.reshape(100, 784) / 255.0)
    for path in list(mnist_folder.iterdir()):  # and packed ones that lost it
        path.with_suffix("").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert_array_equal(load("mnist").images, images.reshape(100, 784) / 255.0)


def test_mnist_selection_needs_the_test_part_only(mnist_folder):
    images, labels = write_mnist(mnist_folder, parts=("t10k",))
    expected = N_TRAIN + np.flatnonzero(labels[N_TRAIN:] == 4)[2]
    assert_array_equal(select("mnist", 4, 2).image, images[expected].ravel() / 255.0)
    assert_array_equal(select("smnist", 4, 2).image, images[expected] / 255.0)
    with pytest.raises(ValueError, match="mnist has 4 samples of class 4"):
        select("mnist", 4, 4)
    with pytest.raises(FileNotFoundError, match="no train-images-idx3-ubyte, train-labels"):
        load("mnist")


def test_missing_mnist_names_files_folder_and_variable(mnist_folder):
    with pytest.raises(FileNotFoundError) as caught:
        load("mnist")
    message = str(caught.value)
    for part in (
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte", str(mnist_folder), "PINGBRIDGE_MNIST_DIR",
    ):  # fmt: skip
        assert part in message
    assert "\n" not in message


def test_folders_without_a_variable_are_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PINGBRIDGE_MNIST_DIR", "PINGLAB_SHD_DIR", "PINGBRIDGE_SHD_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert mnist_directory() == tmp_path / ".cache/pingbridge/mnist"
    assert shd_directory() == tmp_path / ".cache/pingbridge/shd"
    monkeypatch.setenv("PINGBRIDGE_SHD_DIR", "~/second")
    assert shd_directory() == tmp_path / "second"
    monkeypatch.setenv("PINGLAB_SHD_DIR", "/first")
    assert str(shd_directory()) == "/first"


def test_mnist_files_that_do_not_belong_together(mnist_folder):
    write_mnist(mnist_folder)
    labels = mnist_folder / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(7, dtype=np.uint8)))
    with pytest.raises(ValueError, match=r"40 images but .*t10k-labels-idx1-ubyte 7 labels"):
        select("mnist", 0, 0)
    labels.write_bytes(idx_bytes(np.full(N_TEST, 12, dtype=np.uint8)))
    with pytest.raises(ValueError, match="holds label 12"):
        select("mnist", 0, 0)
    images = mnist_folder / "t10k-images-idx3-ubyte"
    images.write_bytes(idx_bytes(np.zeros((N_TEST, 20, 20), dtype=np.uint8)))
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte holds images of \(20, 20\)"):
        select("mnist", 0, 0)


# The IDX format


def test_idx_of_one_and_three_dimensions(tmp_path):
    for array in (np.arange(5, dtype=np.uint8), np.arange(24, dtype=np.uint8).reshape(2, 3, 4)):
        path = tmp_path / f"{array.ndim}"
        path.write_bytes(idx_bytes(array))
        assert_array_equal(read_idx(path, n_dims=array.ndim), array)


def test_an_unpacked_file_is_found_first(tmp_path):
    assert find_idx(tmp_path, "train-images-idx3-ubyte") is None
    for name in ("train-images.idx3-ubyte.gz", "train-images-idx3-ubyte.gz"):
        (tmp_path / name).touch()
        assert find_idx(tmp_path, "train-images-idx3-ubyte").name == name
    (tmp_path / "train-images-idx3-ubyte").touch()
    assert find_idx(tmp_path, "train-images-idx3-ubyte").suffix == ""


GOOD = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"begins with 0x\(nothing\)"),
        (b"<html>", "begins with 0x3c68746d, not 0x00000803"),
        (idx_bytes(np.arange(5, dtype=np.uint8)), "3 dimensions: it begins with 0x00000801"),
        (GOOD[:10], r"ends inside its header \(10 bytes\)"),
        (GOOD[:-1], r"holds 39 bytes where its header \(2 x 3 x 4\) announces 40"),
        (GOOD + b"x", "holds 41 bytes"),
    ],
)
def test_damaged_idx_files_are_refused_by_name(tmp_path, data, message):
    for name, stored in (("images", data), ("images.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(stored)
        with pytest.raises(ValueError, match=message) as caught:
            read_idx(tmp_path / name, n_dims=3)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("damage", [lambda d: d[:-12], lambda d: b"plain" + d, lambda d: d[:4]])
def test_damaged_gzip_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(GOOD)))
    with pytest.raises(ValueError, match=r"images\.gz is not a whole gzip file"):
        read_idx(path, n_dims=3)


# SHD


def test_shd_joins_both_files_and_reads_on_demand(shd_folder):
    first = write_shd_file(shd_folder / "shd_train.h5", 100, seed=1)
    second = write_shd_file(shd_folder / "shd_test.h5", 40, seed=2)
    data = load("shd")
    assert (len(data), data.n_in, data.n_classes) == (140, 700, 20)
    assert_array_equal(data.labels, np.concatenate([first[2], second[2]]))
    assert (len(data.train_index), len(data.test_index)) == (112, 28)
    times_s, units = data.events.read([139, 0, 101])
    for found, (part, k) in zip((0, 1, 2), ((second, 39), (first, 0), (second, 1)), strict=True):
        assert_array_equal(times_s[found], part[0][k].astype(np.float64))
        assert_array_equal(units[found], part[1][k])
    assert times_s[0].dtype == np.float64
    with pytest.raises(ValueError, match="shd holds spikes, not images"):
        data.pixels([0])


def test_shd_cap_holds_for_each_file(shd_folder):
    first = write_shd_file(shd_folder / "shd_train.h5", 400, seed=1)
    write_shd_file(shd_folder / "shd_test.h5", 100, seed=2)
    data = load("shd", max_samples=300)
    assert len(data) == 400
    row = np.random.RandomState(42).choice(400, 300, replace=False)
    assert_array_equal(data.labels[:300], first[2][row])
    assert_array_equal(data.events.read([7])[1][0], first[1][row[7]])


def test_shd_selection_counts_in_the_test_file(shd_folder):
    write_shd_file(shd_folder / "shd_train.h5", 20, seed=1)
    times, units, labels = write_shd_file(shd_folder / "shd_test.h5", 60, seed=2)
    chosen = select("shd", 19, 1)
    assert labels[chosen.index] == 19
    assert chosen.index == 39
    assert_array_equal(chosen.times_s, times[39])
    assert_array_equal(chosen.units, units[39])
    with pytest.raises(ValueError, match="digit = 20 is no class of shd; use 0 to 19"):
        select("shd", 20, 0)


def test_missing_shd_names_files_folder_and_variable(shd_folder):
    write_shd_file(shd_folder / "shd_train.h5", 20, seed=1)
    with pytest.raises(FileNotFoundError) as caught:
        load("shd")
    message = str(caught.value)
    for part in ("no shd_test.h5", "shd_train.h5", str(shd_folder), "PINGLAB_SHD_DIR"):
        assert part in message


def test_damaged_shd_files_are_refused_by_name(tmp_path):
    path = tmp_path / "shd_test.h5"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_shd_labels(path)
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(ValueError, match=r"shd_test\.h5 is damaged or not a usable SHD file"):
        read_shd_labels(path)
    write_shd_file(path, 20, seed=0)
    with h5py.File(path, "a") as file:
        file["spikes/units"][3] = np.array([700], dtype=np.uint16)
        file["spikes/times"][3] = np.array([0.5], dtype=np.float16)
        file["spikes/times"][4] = np.zeros(40, dtype=np.float16)
    with pytest.raises(ValueError, match="sample 3 has units outside 0 to 699"):
        read_shd_samples(path, [3])
    with pytest.raises(ValueError, match="sample 4 has 40 times but"):
        read_shd_samples(path, [4])
    with h5py.File(path, "a") as file:
        del file["labels"]
        file["labels"] = np.full(20, 20)
    with pytest.raises(ValueError, match="labels must lie in 0 to 19"):
        read_shd_labels(path)
    with h5py.File(path, "a") as file:
        del file["labels"]
        file["labels"] = np.zeros(3)
    with pytest.raises(ValueError, match="differ in length"):
        read_shd_labels(path)
    with h5py.File(path, "a") as file:
        del file["labels"]
        file["labels"] = np.full(20, 0.5)
    with pytest.raises(ValueError, match="labels must be whole numbers"):
        read_shd_labels(path)
    with h5py.File(path, "a") as file:
        del file["labels"]
        file["labels"] = np.zeros(20)
        file["spikes/times"][3] = np.array([np.inf], dtype=np.float16)
    with pytest.raises(ValueError, match="sample 3 has times that are not finite"):
        read_shd_samples(path, [3])
    with h5py.File(path, "a") as file:
        file["spikes/times"][3] = np.array([900.0], dtype=np.float16)
    with pytest.raises(ValueError, match=r"sample 3 has times up to 900: are these milliseconds"):
        read_shd_samples(path, [3])
    with h5py.File(path, "a") as file:
        del file["spikes/times"]
    with pytest.raises(ValueError, match="it lacks spikes/times"):
        read_shd_labels(path)


# Which samples are "test"


@pytest.mark.parametrize("cap", [None, 600])
def test_a_cap_on_the_test_part_takes_a_part_of_it(cap):
    data = load("scikit", max_samples=cap)
    inside: set = set()
    for n in (7, 40, 100):
        capped = data.with_test_cap(n)
        assert len(capped.test_index) == n
        assert_array_equal(capped.train_index, data.train_index)
        now = set(capped.test_index.tolist())
        assert inside < now <= set(data.test_index.tolist())  # a larger cap holds a smaller one
        inside = now
    assert data.with_test_cap(10**6) is data
    with pytest.raises(ValueError, match="at least 1"):
        data.with_test_cap(0)


def test_the_parts_of_a_split_lie_where_load_takes_them_from(mnist_folder, shd_folder):
    images, labels = write_mnist(mnist_folder)
    write_shd_file(shd_folder / "shd_train.h5", 100, seed=1)
    write_shd_file(shd_folder / "shd_test.h5", 40, seed=2)
    for name, cap, split in (
        ("mnist", None, "stratified"), ("mnist", 70, "stratified"), ("smnist", 50, "official"),
    ):  # fmt: skip
        data = load(name, max_samples=cap, split=split)
        train, test, n_before = part_positions(name, max_samples=cap, split=split)
        assert n_before == N_TRAIN
        for place, index in ((train, data.train_index), (test, data.test_index)):
            assert_array_equal(labels[place], data.labels[index])
            assert_array_equal(
                images[place].reshape(len(place), -1), data.grey[index].reshape(len(index), -1)
            )
    train, test, n_before = part_positions("shd", max_samples=60)
    assert n_before == 100
    assert len(train) + len(test) == 60 + 40
    data = load("shd", max_samples=60)
    assert_array_equal(data.events.row[data.test_index], test - 100 * (test >= 100))
    assert part_positions("scikit")[2] == 0


def test_the_official_split_is_that_of_the_files(mnist_folder, shd_folder):
    write_mnist(mnist_folder)
    data = load("mnist", split="official")
    assert_array_equal(data.train_index, np.arange(N_TRAIN))
    assert_array_equal(data.test_index, np.arange(N_TRAIN, N_TRAIN + N_TEST))
    write_shd_file(shd_folder / "shd_train.h5", 100, seed=1)
    write_shd_file(shd_folder / "shd_test.h5", 40, seed=2)
    data = load("shd", split="official", max_samples=50)
    assert set(data.events.file[data.train_index]) == {0}
    assert set(data.events.file[data.test_index]) == {1}
    assert (len(data.train_index), len(data.test_index)) == (50, 40)
    with pytest.raises(ValueError, match="scikit is one set"):
        load("scikit", split="official")
    with pytest.raises(ValueError, match="leave a part of the official split empty"):
        load("mnist", split="official", max_samples=1)
