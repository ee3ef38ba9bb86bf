"""How far training is: what a running network tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training is; map quality is that of the last evaluation, None before the first."""

    seed: int
    n_done: int
    n_trials: int
    trials_per_s: float
    sigma_theta_rad: float | None
    valid_fraction: float | None
    running: bool
