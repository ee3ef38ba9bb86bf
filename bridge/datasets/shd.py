"""Spiking Heidelberg Digits: HDF5 files of spoken digits as events of 700 channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.files.hdf5 import check_packing, child, dataset, open_hdf5, take
from bridge.files.reading import Allowance, FileContentError

N_UNITS = 700
N_CLASSES = 20
LONGEST_S = 20.0
"""No recording is nearly as long (the published ones: 0.2 to 1.4 s): times are in another unit."""

EventLists = tuple[list[NDArray[np.float64]], list[NDArray[np.int64]]]


def read_shd_labels(path: Path) -> NDArray[np.int64]:
    """Return the class (0 to 19) of each sample of a file.

    Raises
    ------
    ValueError
        If the file is not an SHD file.
    FileNotFoundError
        If there is no such file.
    """
    with _open(path) as (file, times, units):
        n_labels = dataset(file, "labels").size
        if {len(times), len(units)} != {n_labels}:
            raise FileContentError(
                f"{path}: labels, spikes/times and spikes/units differ in length"
            )
        held = take(file, "labels").ravel()
    labels: NDArray[np.int64] = held.astype(np.int64)
    if not np.array_equal(labels, held):
        raise FileContentError(f"{path}: labels must be whole numbers")
    if labels.size and not 0 <= labels.min() <= labels.max() < N_CLASSES:
        raise FileContentError(f"{path}: labels must lie in 0 to {N_CLASSES - 1}")
    return labels


def read_shd_samples(path: Path, index: ArrayLike) -> EventLists:
    """Return times and units of some samples; nothing else is read from the file.

    Parameters
    ----------
    path : Path
    index : int, shape (n_samples,)
        Positions in the file, in any order.

    Returns
    -------
    times_s : list of float64 arrays, s
    units : list of int64 arrays, 0 to 699

    Raises
    ------
    ValueError
        If the file is not an SHD file, or a sample in it is damaged or not in seconds.
    FileNotFoundError
        If there is no such file.

    Source: Cramer, Stradmann, Schemmel & Zenke (2020), IEEE TNNLS 33:2744.
    """
    times_s, units = [], []
    with _open(path) as (_, held_times, held_units):
        allowance = Allowance(path)  # many samples may be one and the same in the file
        for k in np.asarray(index, dtype=np.int64).ravel().tolist():
            # The files hold float16 seconds; products with 1000 need more digits.
            times_s.append(np.asarray(held_times[k], dtype=np.float64))
            units.append(np.asarray(held_units[k], dtype=np.int64))
            allowance.spend(times_s[-1].nbytes + units[-1].nbytes, f"sample {k}")
            if len(times_s[-1]) != len(units[-1]):
                raise FileContentError(
                    f"{path}: sample {k} has {len(times_s[-1])} times but {len(units[-1])} units"
                )
            if not np.isfinite(times_s[-1]).all():
                raise FileContentError(f"{path}: sample {k} has times that are not finite")
            if len(times_s[-1]) and times_s[-1].max() > LONGEST_S:
                raise FileContentError(
                    f"{path}: sample {k} has times up to {times_s[-1].max():g}: are these "
                    "milliseconds? They must be seconds; divide spikes/times by 1000"
                )
            if len(units[-1]) and not 0 <= units[-1].min() <= units[-1].max() < N_UNITS:
                raise FileContentError(f"{path}: sample {k} has units outside 0 to {N_UNITS - 1}")
    return times_s, units


@dataclass(frozen=True, kw_only=True, eq=False)
class ShdEvents:
    """Samples that stay in their files until they are asked for.

    Attributes
    ----------
    paths : tuple of Path
    file : int64, shape (n_samples,)
        Which of `paths` holds a sample.
    row : int64, shape (n_samples,)
        Its position there.
    """

    paths: tuple[Path, ...]
    file: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.row)

    def read(self, index: ArrayLike) -> EventLists:
        """Return times (s) and units of some samples, in the order asked for."""
        wanted = np.asarray(index, dtype=np.int64).ravel()
        times_s: list[NDArray[np.float64]] = [np.empty(0)] * len(wanted)
        units: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(wanted)
        for number, path in enumerate(self.paths):
            places = np.flatnonzero(self.file[wanted] == number)
            if len(places):
                found = read_shd_samples(path, self.row[wanted[places]])
                for place, t_s, unit in zip(places.tolist(), *found, strict=True):
                    times_s[place], units[place] = t_s, unit
        return times_s, units


@contextmanager
def _open(path: Path) -> Iterator[tuple[h5py.File, h5py.Dataset, h5py.Dataset]]:
    """Open an SHD file: the file, its times and its units, one list for each sample."""
    with open_hdf5(path, what="SHD file") as file:
        group = child(file, "spikes") if "spikes" in file else {}
        missing = [] if "labels" in file else ["labels"]
        missing += [f"spikes/{name}" for name in ("times", "units") if name not in group]
        if missing:
            raise FileContentError(f"{path} is not an SHD file: it lacks {', '.join(missing)}")
        events = []
        for name in ("times", "units"):
            held = dataset(group, name)
            kind = h5py.check_vlen_dtype(held.dtype)
            if held.ndim != 1 or kind is None or np.dtype(kind).kind not in "fiu":
                raise FileContentError(
                    f"{path} is not an SHD file: spikes/{name} must hold a list for each sample"
                )
            check_packing(held, Allowance(path))
            events.append(held)
        yield file, *events
