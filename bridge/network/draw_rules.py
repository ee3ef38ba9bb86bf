"""Rules by which the matrices of a network are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CUBA_OUT_STD = 0.05
"""Standard deviation of the current-based readout (Source: pinglab, CUBA-PING draw)."""


@dataclass(frozen=True)
class DrawRule:
    """How the entries of one matrix are drawn, before any division by the number of inputs.

    Parameters
    ----------
    mean, std : float, µS (dimensionless for current-based networks)
        Of the normal distribution. Conductance-based: the total that a cell would receive if every
        presynaptic cell fired once.
    sparsity : float
        Probability that a connection is absent.

    Raises
    ------
    ValueError
        If a number is not finite, `std` is negative, or `sparsity` lies outside [0, 1).
    """

    mean: float
    std: float
    sparsity: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mean", "std", "sparsity"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"weight {name} = {getattr(self, name)} is not a finite number")
        if self.std < 0:
            raise ValueError(f"weight std = {self.std:g} must be >= 0")
        if not 0 <= self.sparsity < 1:
            raise ValueError(f"weight sparsity = {self.sparsity:g} must lie in [0, 1)")

    @property
    def is_zero(self) -> bool:
        """Whether every drawn entry would be zero."""
        return self.mean == 0 and self.std == 0


@dataclass(frozen=True, kw_only=True)
class WeightDraw:
    """The draw rules of all matrices of a network.

    ``w_ff`` holds for the matrices between layers and for the readout of a conductance-based
    network. A current-based one uses ``w_in``, ``w_ei`` and ``w_ie`` only.

    Source: pinglab (readout and inner layers 5.1, 3.8; no E to E and no I to I connections).
    """

    w_in: DrawRule
    w_ei: DrawRule
    w_ie: DrawRule
    w_ff: DrawRule = DrawRule(5.1, 3.8)
    w_ee: DrawRule = DrawRule(0.0, 0.0)
    w_ii: DrawRule = DrawRule(0.0, 0.0)

    def rule(self, name: str) -> DrawRule:
        """Return the rule of a matrix by its name in weight files."""
        found: DrawRule = getattr(self, "w_ff" if name == "W_out" else name[:4].lower())
        return found


CUBA_DRAW = WeightDraw(w_in=DrawRule(0.0, 0.5), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(1.0, 0.1))
"""Draw of a current-based network where nothing else is asked for (Source: pinglab)."""


def ei_draw(strength: float, ratio: float, *, sparsity: float = 0.0) -> tuple[DrawRule, DrawRule]:
    """Return the rules of ``w_ei`` and ``w_ie`` for an E-I strength and an I:E ratio.

    Means `strength` and `strength` times `ratio`, standard deviations a tenth of them; strength 0
    opens the loop.

    Raises
    ------
    ValueError
        If a number is negative or not finite.

    Source: pinglab, ``--ei-strength`` and ``--ei-ratio``.
    """
    for name, value in (("ei_strength", strength), ("ei_ratio", ratio)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} = {value:g} must be a finite number >= 0")
    back = strength * ratio
    return DrawRule(strength, 0.1 * strength, sparsity), DrawRule(back, 0.1 * back, sparsity)
