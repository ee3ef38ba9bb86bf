"""What kind of fixed point it is, from its eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-6
"""Real and imaginary parts smaller than this count as 0."""


def classify_fixed_point(eigenvalues: NDArray[Any]) -> str:
    """Return the type of a fixed point.

    Parameters
    ----------
    eigenvalues : complex array, shape (P,)
        Of the Jacobian of the dynamics.

    Returns
    -------
    str
        ``stable node``, ``stable focus``, ``unstable node``, ``unstable focus``, ``saddle``,
        ``spiral saddle``, ``marginal`` (a real part that is 0, the others of one sign) or
        ``undefined`` (not finite). A focus and a spiral saddle have complex eigenvalues.

    Source: Strogatz, Nonlinear Dynamics and Chaos, ch. 6.
    """
    values = np.asarray(eigenvalues, dtype=complex)
    if not np.all(np.isfinite(values)):
        return "undefined"
    turning = bool(np.any(np.abs(values.imag) > TOLERANCE))
    falls, grows = values.real < -TOLERANCE, values.real > TOLERANCE
    if np.any(falls) and np.any(grows):
        return "spiral saddle" if turning else "saddle"
    if np.all(falls):
        return "stable focus" if turning else "stable node"
    if np.all(grows):
        return "unstable focus" if turning else "unstable node"
    return "marginal"


def is_stable(kind: str) -> bool:
    """Return whether a type of :func:`classify_fixed_point` is stable."""
    return kind in ("stable node", "stable focus")


def sorted_eigenvalues(jacobian: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return eigenvalues by descending real part, then descending imaginary part.

    A Jacobian that is not finite has eigenvalues that are not (NaN).
    """
    finite = np.asarray(np.isfinite(jacobian).all(axis=(-2, -1), keepdims=True))
    values = np.linalg.eigvals(np.where(finite, jacobian, 0.0)).astype(np.complex128)
    values = np.where(finite[..., 0], values, np.nan)
    order = np.lexsort((-values.imag, -values.real.round(12)), axis=-1)
    return np.take_along_axis(values, order, axis=-1)


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A fixed point: rates (Hz), type, eigenvalues (descending real part), largest residual.

    `multiplicity` counts the starts that led to it.
    """

    nu: NDArray[np.float64]
    kind: str
    eigenvalues: NDArray[np.complex128]
    residual: float
    multiplicity: int = 1

    @property
    def stable(self) -> bool:
        """Return whether all eigenvalues have negative real parts."""
        return is_stable(self.kind)
