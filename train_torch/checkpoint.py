"""The state of a training between two epochs, in one file that holds plain tensors only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bridge.atomic import write_atomically

VERSION = 1


@dataclass(kw_only=True, eq=False)
class TrainingState:
    """Everything that the next epoch depends on, and what was measured so far.

    Attributes
    ----------
    epoch : int
        Epochs done.
    network, optimiser : dict
        State dicts.
    best : dict or None
        Parameters of the best epoch so far.
    best_score, best_epoch
        Accuracy (%) that chose it, and its number (from 1; 0: none).
    records : list of dict
        Epoch records.
    init : dict or None
        Metrics of the untrained network.
    step : int
        Updates done.
    log_bytes : int
        Length of metrics.jsonl after that epoch.
    elapsed_s : float, s
    """

    epoch: int
    network: dict[str, Tensor]
    optimiser: dict[str, Any]
    best: dict[str, Tensor] | None
    best_score: float
    best_epoch: int
    records: list[dict[str, Any]]
    init: dict[str, Any] | None
    step: int
    log_bytes: int
    elapsed_s: float

    def save(self, path: Path, *, settings: str) -> None:
        """Write the state whole or not at all; `settings` must be met again on loading."""
        content = asdict(self) | {"version": VERSION, "settings": settings}
        content["records"], content["init"] = json.dumps(self.records), json.dumps(self.init)
        write_atomically(path, lambda part: torch.save(content, part))

    @classmethod
    def load(cls, path: Path, *, settings: str) -> TrainingState:
        """Read a state; nothing in the file is executed.

        Raises
        ------
        ValueError
            If the file is damaged, of another version, or of a training with other settings.
        """
        try:
            content = torch.load(path, weights_only=True, map_location="cpu")
            version, found = content.pop("version"), content.pop("settings")
        except Exception as error:  # whatever a broken file provokes is one line
            raise ValueError(f"{path} is not a checkpoint of a training; train anew") from error
        if version != VERSION:
            raise ValueError(f"{path} is of version {version}; this program reads {VERSION}")
        if found != settings:
            raise ValueError(f"{path}: {_difference(found, settings)}; --resume can't change that")
        content["records"], content["init"] = (
            json.loads(content["records"]), json.loads(content["init"]),
        )  # fmt: skip
        return cls(**content)


def _difference(held: str, asked: str) -> str:
    before, now = json.loads(held), json.loads(asked)
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            return f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
    return "its settings differ"
