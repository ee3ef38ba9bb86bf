"""Spikes of clustered networks as files: dense ``.npy``, or events in ``.npz``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.atomic import write_atomically
from bridge.files.npz import is_npz, read_npy, read_npz, write_npz
from bridge.files.reading import FileContentError, reading

EVENT_KEYS = ("step", "neuron", "n_steps", "n_neurons")


@dataclass(frozen=True, eq=False)
class SpikeEvents:
    """Spikes of one recording: step and neuron of each, sorted by step."""

    step: NDArray[np.int32]
    neuron: NDArray[np.int32]
    n_steps: int
    n_neurons: int

    @property
    def dense(self) -> NDArray[np.bool_]:
        """Spikes as bool, shape (n_steps, n_neurons)."""
        spikes = np.zeros((self.n_steps, self.n_neurons), dtype=np.bool_)
        spikes[self.step, self.neuron] = True
        return spikes


def events_of(spikes: ArrayLike) -> SpikeEvents:
    """Return the events of dense spikes (T, N)."""
    dense = np.asarray(spikes)
    if dense.ndim != 2:
        raise ValueError(f"spikes have the shape {dense.shape}; they must be (steps, neurons)")
    if dense.dtype != np.bool_ and not np.isin(dense, (0, 1)).all():
        raise ValueError("spikes must be 0 or 1")
    step, neuron = np.nonzero(dense)
    return SpikeEvents(step.astype(np.int32), neuron.astype(np.int32), *dense.shape)


def write_spikes(path: Path, events: SpikeEvents) -> None:
    """Write spikes: dense bool for ``.npy``, events for ``.npz``; whole or not at all."""
    if path.suffix == ".npz":
        write_npz(path, {name: np.asarray(getattr(events, name)) for name in EVENT_KEYS})
    else:

        def write(partial: Path) -> None:
            with partial.open("wb") as file:
                np.save(file, events.dense, allow_pickle=False)

        write_atomically(path, write)


def read_spikes(path: Path) -> tuple[SpikeEvents, NDArray[np.integer] | None]:
    """Return the spikes in a file, and the cluster labels where it has some.

    ``.npy``: dense (T, N); ``.npz``: ``spikes`` (T, N) or the events of :func:`write_spikes`, and
    ``clusters``. Nothing is unpickled.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, damaged or holds no spikes.
    """
    with reading(path, "file of spikes"):
        if not is_npz(path):
            return _not_empty(events_of(read_npy(path))), None
        known = {"spikes", "clusters", *EVENT_KEYS}
        arrays = read_npz(path, lambda name: name in known)
        labels = arrays.get("clusters")
        if "spikes" in arrays:
            return _not_empty(events_of(arrays["spikes"])), labels
        missing = [name for name in EVENT_KEYS if name not in arrays]
        if missing:
            raise FileContentError(
                f"{path} holds no spikes: it needs 'spikes', or {', '.join(EVENT_KEYS)}"
            )
        return _not_empty(_from_events(arrays)), labels


def _from_events(arrays: Mapping[str, NDArray[Any]]) -> SpikeEvents:
    step, neuron = arrays["step"], arrays["neuron"]
    for name in EVENT_KEYS:
        if arrays[name].dtype.kind not in "iu":
            raise ValueError(f"{name} is of type {arrays[name].dtype}; whole numbers are needed")
    n_steps, n_neurons = (int(arrays[name].item()) for name in ("n_steps", "n_neurons"))
    fits = step.shape == neuron.shape and step.ndim == 1
    if not fits or (
        len(step) and (step.min() < 0 or step.max() >= n_steps or neuron.min() < 0
                       or neuron.max() >= n_neurons)
    ):  # fmt: skip
        raise ValueError(f"events lie outside {n_steps} steps of {n_neurons} neurons")
    return SpikeEvents(step, neuron, n_steps, n_neurons)


def _not_empty(events: SpikeEvents) -> SpikeEvents:
    if events.n_steps < 1 or events.n_neurons < 1:
        raise ValueError(f"spikes of {events.n_steps} steps and {events.n_neurons} neurons")
    return events


def spike_files(folder: Path) -> list[Path]:
    """Return the files of spikes in a folder, by the number in their name.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    found = [path for path in folder.iterdir() if path.suffix in (".npy", ".npz")]
    found = [path for path in found if path.stem != "clusters" and not path.name.startswith(".")]
    if not found:
        raise FileNotFoundError(f"{folder} holds no .npy or .npz file of spikes")
    return sorted(found, key=_number)


def _number(path: Path) -> tuple[int, str]:
    numbers = re.findall(r"\d+", path.stem)
    return (int(numbers[-1]) if numbers else -1, path.name)


def read_labels(given: Any) -> NDArray[np.integer]:
    """Return cluster labels from a ``.npy`` file, or as they are."""
    if not isinstance(given, str | Path):
        return np.asarray(given)
    with reading(Path(given), "file of cluster labels"):
        return read_npy(Path(given))


def collect(given: Any) -> tuple[list[SpikeEvents], list[NDArray[np.integer]]]:
    """Return the recordings in a file, a folder or memory, and the labels that come with them."""
    if isinstance(given, str | Path):
        path = Path(given)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder of spikes")
        files = spike_files(path) if path.is_dir() else [path]
        pairs = [read_spikes(one) for one in files]
        return [e for e, _ in pairs], [label for _, label in pairs if label is not None]
    if isinstance(given, SpikeEvents):
        return [given], []
    if isinstance(given, Sequence) and not isinstance(given, Mapping):
        return [one if isinstance(one, SpikeEvents) else events_of(one) for one in given], []
    return [events_of(given)], []
