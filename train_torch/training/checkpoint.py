"""The state of a training between two epochs, in one file that holds plain tensors only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from train_torch.training.state_file import load_state, save_state

VERSION = 1
_AS_JSON = ("records", "init")


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
        save_state(path, asdict(self), version=VERSION, settings=settings, as_json=_AS_JSON)

    @classmethod
    def load(cls, path: Path, *, settings: str) -> TrainingState:
        """Read a state; nothing in the file is executed.

        Raises
        ------
        ValueError
            If the file is damaged, incomplete, of another version, or of another training.
        """
        needed = [field.name for field in fields(cls)]
        held = load_state(
            path, version=VERSION, settings=settings, what="a training", needed=needed,
            as_json=_AS_JSON,
        )  # fmt: skip
        return cls(**{name: held[name] for name in needed})
