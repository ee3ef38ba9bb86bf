"""What the tests of the command line share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridge.formats.recordings import load_recording
from bridge.recording import Recording


@dataclass
class Outcome:
    """What one call of the command line left behind."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def config(self) -> dict:
        return json.loads((self.folder / "config.json").read_text())

    @property
    def recording(self) -> Recording:
        return load_recording(self.folder.parent / f"{self.folder.name}.npz")


SMALL = ("--n-hidden", "32", "--dt", "0.5", "--t-ms", "240", "--input-rate", "200",
         "--w-in", "2", "0.4", "--codegen", "numpy")  # fmt: skip
"""A network that fires in volleys and runs in a fraction of a second."""


def same(one: Recording, other: Recording) -> bool:
    """Whether two recordings hold the same spikes and logits."""
    if one.n_cells != other.n_cells or one.logits.shape != other.logits.shape:
        return False
    return np.array_equal(one.logits, other.logits) and all(
        np.array_equal(one.spikes[p], other.spikes[p]) for p in one.n_cells
    )
