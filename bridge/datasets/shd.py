"""Spiking Heidelberg Digits: HDF5 files of spoken digits as events of 700 channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import h5py

N_UNITS = 700
N_CLASSES = 20

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
    with _open(path) as file:
        labels = np.asarray(file["labels"], dtype=np.int64).ravel()
        sizes = {len(labels), len(file["spikes/times"]), len(file["spikes/units"])}
    if len(sizes) > 1:
        raise ValueError(f"{path}: labels, spikes/times and spikes/units differ in length")
    if labels.size and not 0 <= labels.min() <= labels.max() < N_CLASSES:
        raise ValueError(f"{path}: labels must lie in 0 to {N_CLASSES - 1}")
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
        If the file is not an SHD file, or a sample in it is damaged.
    FileNotFoundError
        If there is no such file.

    Source: Cramer, Stradmann, Schemmel & Zenke (2020), IEEE TNNLS 33:2744.
    """
    times_s, units = [], []
    with _open(path) as file:
        for k in np.asarray(index, dtype=np.int64).ravel().tolist():
            # The files hold float16 seconds; products with 1000 need more digits.
            times_s.append(np.asarray(file["spikes/times"][k], dtype=np.float64))
            units.append(np.asarray(file["spikes/units"][k], dtype=np.int64))
            if len(times_s[-1]) != len(units[-1]):
                raise ValueError(
                    f"{path}: sample {k} has {len(times_s[-1])} times but {len(units[-1])} units"
                )
            if len(units[-1]) and not 0 <= units[-1].min() <= units[-1].max() < N_UNITS:
                raise ValueError(f"{path}: sample {k} has units outside 0 to {N_UNITS - 1}")
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
def _open(path: Path) -> Iterator[h5py.File]:
    import h5py

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not a whole HDF5 file ({error}); fetch it again") from error
    with file:
        missing = [name for name in ("labels", "spikes/times", "spikes/units") if name not in file]
        if missing:
            raise ValueError(f"{path} is not an SHD file: it lacks {', '.join(missing)}")
        yield file
