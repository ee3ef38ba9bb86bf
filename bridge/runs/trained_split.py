"""Which samples loaded weights were trained on: what a training says beside its weights."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.datasets import catalog
from bridge.files.json_text import read_json_object
from bridge.runs.applies import asked_for
from bridge.runs.groups_train import DatasetOptions, LearningOptions
from bridge.runs.inherit import InheritedRun
from bridge.runs.options import Options
from bridge.runs.resolve import Resolved

log = logging.getLogger("pingbridge")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedSplit:
    """The settings of a training that decide which samples it learned.

    Attributes
    ----------
    folder : Path
        Where its config.json lies.
    dataset : str
    max_samples : int or None
    split : str
    val_fraction : float
        Part of the training samples that chose the epoch.
    """

    folder: Path
    dataset: str
    max_samples: int | None
    split: str
    val_fraction: float

    def to_json(self) -> dict[str, Any]:
        """Return the settings as config.json keeps them."""
        return {
            "dataset": self.dataset, "max_samples": self.max_samples, "split": self.split,
            "val_fraction": self.val_fraction,
        }  # fmt: skip

    @cached_property
    def _positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64], int] | None:
        try:
            return catalog.part_positions(
                self.dataset, max_samples=self.max_samples, split=self.split
            )
        except (ValueError, FileNotFoundError):  # the other file of the data set is missing
            return None

    def part_of(self, sample: catalog.Sample) -> str | None:
        """Return whether a sample is a "training sample", a "test sample" or an "unused sample".

        None where the sample is one of another data set, or the files do not tell.
        """
        if sample.dataset != self.dataset or self._positions is None:
            return None
        train, test, n_before = self._positions
        place = n_before + sample.index
        if place in train:
            return "training sample"
        return "test sample" if place in test else "unused sample"


def trained_split(weights_from: Path | None, inherited: InheritedRun | None) -> TrainedSplit | None:
    """Return the split of the training whose weights are loaded; None where nothing tells.

    The training in whose folder the weights lie; where none lies there, the inherited one.

    Parameters
    ----------
    weights_from : Path or None
        File of the weights; None for weights that are drawn.
    inherited : InheritedRun or None
    """
    if weights_from is None:
        return None
    folders = [weights_from.parent]
    if inherited is not None and inherited.mode in ("train", None):
        folders.append(inherited.path)
    for folder in folders:
        try:
            held = read_json_object(folder / "config.json")
        except (OSError, ValueError):
            continue
        if held.get("mode", "train") == "train":
            return _from_config(folder, held)
    return None


def _from_config(folder: Path, held: Mapping[str, Any]) -> TrainedSplit | None:
    """Return the split of a config.json; None where it holds what no training writes."""
    dataset, cap = held.get("dataset") or "scikit", held.get("max_samples")
    split, validation = held.get("split") or "stratified", held.get("val_fraction") or 0.0
    sound = (
        dataset in catalog.DATASETS
        and (cap is None or (type(cap) is int and cap >= 1))
        and split in catalog.SPLITS
        and isinstance(validation, int | float)
        and 0 <= validation < 1
    )
    if not sound:
        log.warning("%s: config.json does not tell how its samples were split", folder)
        return None
    return TrainedSplit(
        folder=folder, dataset=dataset, max_samples=cap, split=split, val_fraction=validation
    )


def keep_split(resolved: Resolved, trained: TrainedSplit, *, capped: bool) -> Resolved:
    """Return the options with the split of a training, refusing a setting that would change it.

    Parameters
    ----------
    resolved : Resolved
    trained : TrainedSplit
    capped : bool
        ``--max-samples`` caps the test part, and is no part of the split.

    Raises
    ------
    ValueError
        Naming the setting: another one would test on samples that were trained on.
    """
    wanted: dict[type[Options], dict[str, Any]] = {DatasetOptions: {"split": trained.split}}
    if not capped:
        wanted[DatasetOptions]["max_samples"] = trained.max_samples
    if LearningOptions in resolved.options:
        wanted[LearningOptions] = {"val_fraction": trained.val_fraction}
    options = dict(resolved.options)
    for group, values in wanted.items():
        for name, held in values.items():
            given = getattr(options[group], name)
            if asked_for(resolved, name) and given != held:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(
                    f"{flag} {given} contradicts the training in {trained.folder} (its {flag}: "
                    f"{'all' if held is None else held}): samples that it trained on would be "
                    f"tested on; leave {flag} out"
                )
        options[group] = dataclasses.replace(options[group], **values)
    return dataclasses.replace(resolved, options=options)
