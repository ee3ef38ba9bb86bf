"""Homeostasis inside the running network: incoming weights are scaled between two trials.

A clock that ticks at the start of each trial sums the incoming weights of every cell, and where
homeostasis is due scales them. No Python runs in between.
"""

from __future__ import annotations

from typing import Any

from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.wiring import Wiring


def add_homeostasis(
    projections: tuple[str, ...], objects: dict[str, Any], params: NetworkParams
) -> list[Any]:
    """Return the further objects that homeostasis needs."""
    if projections:
        raise NotImplementedError
    return []


def homeostasis_values(
    projections: tuple[str, ...], params: NetworkParams, wiring: Wiring, *, first_trial: int
) -> dict[str, Any]:
    """Return the run-time values of homeostasis."""
    return {}
