"""Data sets of the digit tasks: where their files are, how they are split, single samples."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.datasets.idx import MOST_BYTES, find_idx, idx_shape, read_idx
from bridge.datasets.shd import ShdEvents, read_shd_labels
from bridge.files.npz import read_npz

SPLIT_SEED = 42
"""Seed of the cap and of the split, whatever the seed of the run (Source: pinglab)."""
TEST_FRACTION = 0.2
SPLITS = ("stratified", "official")
"""All files joined and split 80 to 20 by class (Source: pinglab), or the two files as published."""
MNIST_DIR_VARIABLE = "PINGBRIDGE_MNIST_DIR"
SHD_DIR_VARIABLES = ("PINGLAB_SHD_DIR", "PINGBRIDGE_SHD_DIR")
SHD_FILES = ("shd_train.h5", "shd_test.h5")
_MNIST_SIDE = 28
_KERAS = "mnist.npz"


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is known of a data set before it is read.

    Attributes
    ----------
    n_in, n_classes
        Input channels and classes.
    n_hidden
        E cells of the hidden layer unless the user says otherwise.
    """

    n_in: int
    n_classes: int
    n_hidden: int


DATASETS: Mapping[str, DatasetInfo] = MappingProxyType(
    {
        "scikit": DatasetInfo(n_in=64, n_classes=10, n_hidden=64),
        "mnist": DatasetInfo(n_in=784, n_classes=10, n_hidden=1024),
        "smnist": DatasetInfo(n_in=28, n_classes=10, n_hidden=32),
        "shd": DatasetInfo(n_in=700, n_classes=20, n_hidden=256),
    }
)
"""Every data set by name (Source: pinglab; 20 classes of SHD: Cramer et al. 2020)."""


def dataset_info(name: str) -> DatasetInfo:
    """Return sizes and defaults of a data set.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset {name!r} is unknown; use one of {', '.join(DATASETS)}")
    return DATASETS[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set with its split into training and test samples.

    Attributes
    ----------
    name, n_in, n_classes
    labels : int64, shape (n_samples,)
    train_index, test_index : int64
        Positions of the two parts, disjoint; together complete unless the test part is capped.
    grey : uint8, shape (n_samples, n_in), for smnist (n_samples, row, column), or None
        Images as stored; :meth:`pixels` scales them.
    white : float
        Grey value that stands for 1.
    events : ShdEvents or None
        Samples of a data set that is spikes already, read when asked for.
    """

    name: str
    n_in: int
    n_classes: int
    labels: NDArray[np.int64]
    train_index: NDArray[np.int64]
    test_index: NDArray[np.int64]
    grey: NDArray[np.uint8] | None = None
    white: float = 255.0
    events: ShdEvents | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    @property
    def images(self) -> NDArray[np.float64]:
        """All images, 0 to 1; eight times the memory of `grey`, so prefer :meth:`pixels`."""
        return self.pixels(slice(None))

    def pixels(self, index: ArrayLike | slice) -> NDArray[np.float64]:
        """Return some images, 0 to 1, shape (n, n_in), for smnist (n, row, column).

        Raises
        ------
        ValueError
            If the data set has no images.
        """
        if self.grey is None:
            raise ValueError(f"{self.name} holds spikes, not images; read its events instead")
        chosen = index if isinstance(index, slice) else np.asarray(index, dtype=np.int64)
        return self.grey[chosen] / self.white

    def with_test_cap(self, n_samples: int | None) -> Dataset:
        """Return the data set with at most so many test samples: a subset of its test part.

        A larger cap holds all samples of a smaller one.

        Raises
        ------
        ValueError
            If the cap is less than 1.
        """
        if n_samples is None or n_samples >= len(self.test_index):
            return self
        if n_samples < 1:
            raise ValueError(f"a cap of {n_samples} test samples must be at least 1")
        order = np.random.RandomState(SPLIT_SEED).permutation(len(self.test_index))
        return dataclasses.replace(self, test_index=self.test_index[np.sort(order[:n_samples])])


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One sample of a data set.

    Attributes
    ----------
    dataset : str
    digit : int
        Its class.
    index : int
        Its position in the part it was taken from.
    image : float64, shape (n_in,), for smnist (row, column), or None
    times_s, units : float64 (s) and int64, shape (n_events,), or None
        Events, for shd.
    """

    dataset: str
    digit: int
    index: int
    image: NDArray[np.float64] | None = None
    times_s: NDArray[np.float64] | None = None
    units: NDArray[np.int64] | None = None


def load(name: str, *, max_samples: int | None = None, split: str = "stratified") -> Dataset:
    """Return a data set, capped if asked, with its split into training and test samples.

    Parameters
    ----------
    name : {"scikit", "mnist", "smnist", "shd"}
    max_samples : int, optional
        Keep at most this many, drawn without replacement; for shd, from each of its two files.
    split : {"stratified", "official"}
        80 to 20 of what is kept, by class; or the training and the test file as published.

    Raises
    ------
    ValueError
        For an unknown name, a file that is damaged, a cap too small to split, or an official split
        of a data set that has none.
    FileNotFoundError
        If files are missing; the message names them and the variable to set.

    Source: pinglab, data sets; split of scikit-learn with random_state 42.
    """
    info = dataset_info(name)
    grey, events = None, None
    if name == "shd":
        paths = _shd_paths()
        by_file = [read_shd_labels(path) for path in paths]
    else:
        grey, by_file = _load_images(name)
    kept = _kept(name, by_file, max_samples)
    labels = np.concatenate(by_file)[kept]
    if name == "shd":
        file = (kept >= len(by_file[0])).astype(np.int64)
        events = ShdEvents(paths=paths, file=file, row=kept - file * len(by_file[0]))
    else:
        assert grey is not None
        grey = grey[kept] if name == "smnist" else grey[kept].reshape(len(kept), -1)
    train_index, test_index = _split(name, labels, kept, len(by_file[0]), split)
    return Dataset(
        name=name, n_in=info.n_in, n_classes=info.n_classes, labels=labels, grey=grey,
        white=16.0 if name == "scikit" else 255.0, events=events, train_index=train_index,
        test_index=test_index,
    )  # fmt: skip


def part_positions(
    name: str, *, max_samples: int | None = None, split: str = "stratified"
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return where the two parts of :func:`load` lie in the whole data set.

    Parameters
    ----------
    name, max_samples, split
        As for :func:`load`, which raises the same errors.

    Returns
    -------
    train, test : int64
        Positions in the files joined, before any cap.
    n_before : int
        Samples that stand before those of :func:`select`.
    """
    if name == "shd":
        by_file = [read_shd_labels(path) for path in _shd_paths()]
    else:
        by_file = _load_images(name)[1]
    kept = _kept(name, by_file, max_samples)
    train, test = _split(name, np.concatenate(by_file)[kept], kept, len(by_file[0]), split)
    return kept[train], kept[test], 0 if name == "scikit" else len(by_file[0])


def select(name: str, digit: int, sample: int) -> Sample:
    """Return sample number `sample` of class `digit`, counted from 0 in the order of the data.

    The order is that of all of scikit, and of the official test part of the others; nothing else
    is read.

    Raises
    ------
    ValueError
        For an unknown data set or class, or a number that the class does not reach.
    FileNotFoundError
        If a file is missing; the message names it and the variable to set.
    """
    info = dataset_info(name)
    if not 0 <= digit < info.n_classes:
        raise ValueError(f"digit = {digit} is no class of {name}; use 0 to {info.n_classes - 1}")
    if name == "shd":
        path = _shd_paths()[1]
        labels = read_shd_labels(path)
    elif name == "scikit":
        grey, labels = _load_scikit()
    else:
        grey, (labels,) = _load_mnist(("t10k",))
    found = np.flatnonzero(labels == digit)
    if not 0 <= sample < len(found):
        raise ValueError(
            f"sample = {sample}: {name} has {len(found)} samples of class {digit} to choose from; "
            f"use 0 to {len(found) - 1}"
        )
    index = int(found[sample])
    if name == "shd":
        events = ShdEvents(paths=(path,), file=np.zeros_like(labels), row=np.arange(len(labels)))
        (times_s,), (units,) = events.read([index])
        return Sample(dataset=name, digit=digit, index=index, times_s=times_s, units=units)
    image = grey[index] / (16.0 if name == "scikit" else 255.0)
    return Sample(
        dataset=name, digit=digit, index=index, image=image if name == "smnist" else image.ravel()
    )


def mnist_directory() -> Path:
    """Return the folder of the MNIST files: the variable's, else one in the user's cache."""
    return _directory((MNIST_DIR_VARIABLE,), "mnist")


def shd_directory() -> Path:
    """Return the folder of the SHD files: the variable's, else one in the user's cache."""
    return _directory(SHD_DIR_VARIABLES, "shd")


def _directory(variables: Sequence[str], name: str) -> Path:
    for variable in variables:
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    return Path.home() / ".cache" / "pingbridge" / name


def _cap(n_samples: int, max_samples: int | None) -> NDArray[np.int64]:
    if max_samples is None or max_samples >= n_samples:
        return np.arange(n_samples)
    rng = np.random.RandomState(SPLIT_SEED)
    return rng.choice(n_samples, max_samples, replace=False)


def _kept(
    name: str, by_file: Sequence[NDArray[np.int64]], max_samples: int | None
) -> NDArray[np.int64]:
    """Return the positions that a cap leaves of the files joined, in the order of the draw."""
    if max_samples is not None and max_samples < 1:
        raise ValueError(f"max_samples = {max_samples} must be at least 1")
    if name != "shd":
        return _cap(sum(len(labels) for labels in by_file), max_samples)
    first, second = (_cap(len(labels), max_samples) for labels in by_file)
    return np.concatenate([first, len(by_file[0]) + second])


def _split(
    name: str,
    labels: NDArray[np.int64],
    kept: NDArray[np.int64],
    n_first: int,
    split: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of both parts among the `kept`; `n_first` samples are the first file's."""
    if split == "official":
        if name == "scikit":
            raise ValueError(
                "--split official: scikit is one set without training and test files; leave it out"
            )
        train, test = np.flatnonzero(kept < n_first), np.flatnonzero(kept >= n_first)
        if not (len(train) and len(test)):
            raise ValueError(
                f"{len(labels)} samples of {name} leave a part of the official split empty; use a "
                "larger max_samples"
            )
        return train, test
    if split not in SPLITS:
        raise ValueError(f"split = {split!r} is unknown; use {' or '.join(SPLITS)}")
    from sklearn.model_selection import train_test_split

    try:
        train_index, test_index = train_test_split(
            np.arange(len(labels)),
            test_size=TEST_FRACTION,
            random_state=SPLIT_SEED,
            stratify=labels,
        )
    except ValueError as error:
        raise ValueError(
            f"{len(labels)} samples of {name} are too few for a stratified split into "
            f"{len(np.unique(labels))} classes ({error}); use a larger max_samples"
        ) from error
    return train_index, test_index


def _load_images(name: str) -> tuple[NDArray[np.uint8], list[NDArray[np.int64]]]:
    """Return all images of a data set, joined, and the labels of each of its files."""
    if name == "scikit":
        images, labels = _load_scikit()
        return images, [labels]
    return _load_mnist(("train", "t10k"))


def _load_scikit() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data.astype(np.uint8), digits.target.astype(np.int64)


def _load_mnist(parts: Sequence[str]) -> tuple[NDArray[np.uint8], list[NDArray[np.int64]]]:
    """Return images (n, 28, 28) of the parts ``train`` and ``t10k``, joined, and each's labels."""
    directory = mnist_directory()
    names = [f"{part}-{kind}-ubyte" for part in parts for kind in ("images-idx3", "labels-idx1")]
    paths = [_find_mnist(directory, name) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing and (directory / _KERAS).is_file():
        return _load_keras(directory / _KERAS, parts)
    if missing:
        raise FileNotFoundError(
            f"no {', '.join(missing)} (plain or .gz) in {directory}, nor {_KERAS}; put the MNIST "
            f"files there, or set {MNIST_DIR_VARIABLE} to their folder"
        )
    present = [path for path in paths if path is not None]
    images, labels = [], []
    for image_path, label_path in zip(present[::2], present[1::2], strict=True):
        labels.append(read_idx(label_path, n_dims=1).astype(np.int64))
        # From the header: images that don't belong to the labels are not unpacked.
        n_images, *size = idx_shape(image_path, n_dims=3)
        if size != [_MNIST_SIDE, _MNIST_SIDE]:
            raise ValueError(f"{image_path} holds images of {tuple(size)}, not 28 x 28")
        if n_images != len(labels[-1]):
            raise ValueError(
                f"{image_path} holds {n_images} images but {label_path} {len(labels[-1])} labels"
            )
        _check_digits(labels[-1], label_path)
        images.append(read_idx(image_path, n_dims=3))
    return np.concatenate(images), labels


def _find_mnist(directory: Path, name: str) -> Path | None:
    """Return an IDX file in a folder, or where torchvision puts it below its own."""
    for below in ("", "MNIST/raw", "raw"):
        found = find_idx(directory / below, name)
        if found is not None:
            return found
    return None


def _load_keras(
    path: Path, parts: Sequence[str]
) -> tuple[NDArray[np.uint8], list[NDArray[np.int64]]]:
    """Return images, joined, and the labels of each part from the one file that Keras keeps."""
    sections = ["train" if part == "train" else "test" for part in parts]

    def check(name: str, shape: tuple[int, ...]) -> None:
        side = (_MNIST_SIDE, _MNIST_SIDE) if name.startswith("x_") else ()
        if len(shape) != 1 + len(side) or shape[1:] != side or shape[0] > MOST_BYTES // 784:
            raise ValueError(f"{name} has shape {shape}; expected (n, 28, 28) images, (n,) labels")

    wanted = {f"{axis}_{section}" for section in sections for axis in "xy"}
    found = read_npz(path, lambda name: name in wanted, check)
    missing = sorted(wanted - set(found))
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    for section in sections:
        images, labels = found[f"x_{section}"], found[f"y_{section}"]
        if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
            raise ValueError(f"{path}: {section}: expected uint8 images and whole labels")
        if len(images) != len(labels):
            raise ValueError(f"{path} holds {len(images)} images but {len(labels)} labels")
        _check_digits(labels, path)
    return (
        np.concatenate([found[f"x_{section}"] for section in sections]),
        [found[f"y_{section}"].astype(np.int64) for section in sections],
    )


def _check_digits(labels: NDArray[np.integer], path: Path) -> None:
    if len(labels) and not 0 <= labels.min() <= labels.max() < DATASETS["mnist"].n_classes:
        wrong = labels.max() if labels.min() >= 0 else labels.min()
        raise ValueError(f"{path} holds label {wrong}; expected 0 to 9")


def _shd_paths() -> tuple[Path, ...]:
    directory = shd_directory()
    paths = tuple(directory / name for name in SHD_FILES)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"no {', '.join(missing)} in {directory}; shd needs {' and '.join(SHD_FILES)}: put "
            f"them there, or set {SHD_DIR_VARIABLES[0]} to their folder"
        )
    return paths
