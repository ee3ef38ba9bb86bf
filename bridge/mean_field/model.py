"""The population-rate model of a network of clustered leaky integrate-and-fire cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from bridge.mean_field.newton import Solutions, solve_batch
from bridge.mean_field.siegert import Array, Cell, siegert_rate, siegert_slopes
from bridge.mean_field.stability import classify_fixed_point, sorted_eigenvalues

VARIANCE_FLOOR = 1e-12
"""Smallest variance of the input: a population without input has some noise all the same."""


class LIFMeanField:
    """Self-consistent rates of populations of LIF cells, and their stability.

    Parameters
    ----------
    n_clusters : int
        Clusters per type; only used to expand pairs [E, I].
    c_matrix : array, shape (P, P)
        Expected synapses [receiving, sending] of a cell; real numbers.
    j_matrix : array, shape (P, P)
        Synaptic efficacies [receiving, sending], in the unit of the voltage.
    j_ext, c_ext, nu_ext
        Efficacy, number and rate (Hz) of external synapses.
    tau_membrane, tau_synaptic, tau_refractory
        Seconds.
    threshold, reset_voltage
        In the unit of the voltage.
    extra_sources : sequence of (j_ext, c_ext, nu_ext)
        Further external sources, inhibitory ones for example.

    Everything but the matrices is a number, a pair [E, I] (the first ``n_clusters + 1`` populations
    are E) or one value for each population.

    Raises
    ------
    ValueError
        For a parameter of the wrong length or an impossible value; the message names it.

    Notes
    -----
    Input of population i: ``mu = tau_m (sum_j C J nu + c_ext j_ext nu_ext)``, ``sigma^2 = tau_m
    (sum_j C J^2 nu + c_ext j_ext^2 nu_ext)``, all constants those of i.

    Source: Amit & Brunel (1997), Cereb. Cortex 7:237, eqs. for mu and sigma; see
    :mod:`bridge.mean_field.siegert` for the response.
    """

    def __init__(
        self,
        n_clusters: int,
        c_matrix: ArrayLike,
        j_matrix: ArrayLike,
        j_ext: ArrayLike,
        c_ext: ArrayLike,
        nu_ext: ArrayLike,
        tau_membrane: ArrayLike,
        tau_synaptic: ArrayLike,
        threshold: ArrayLike,
        reset_voltage: ArrayLike,
        tau_refractory: ArrayLike = 0.0,
        extra_sources: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]] = (),
    ) -> None:
        self.n_clusters = int(n_clusters)
        self.j_matrix = _matrix("j_matrix", j_matrix)
        self.c_matrix = _matrix("c_matrix", c_matrix)
        self.n_populations = len(self.j_matrix)
        if self.c_matrix.shape != self.j_matrix.shape:
            raise ValueError(
                f"c_matrix has the shape {self.c_matrix.shape}, j_matrix {self.j_matrix.shape}; "
                "they must be equal"
            )
        if np.any(self.c_matrix < 0):
            raise ValueError("c_matrix must not be negative: it counts synapses")
        self.j_ext = self._vector("j_ext", j_ext)
        self.c_ext = self._vector("c_ext", c_ext, at_least=0.0)
        self.nu_ext = self._vector("nu_ext", nu_ext)
        self.tau_membrane = self._vector("tau_membrane", tau_membrane, above=0.0)
        self.tau_synaptic = self._vector("tau_synaptic", tau_synaptic, at_least=0.0)
        self.threshold = self._vector("threshold", threshold)
        self.reset_voltage = self._vector("reset_voltage", reset_voltage)
        self.tau_refractory = self._vector("tau_refractory", tau_refractory, at_least=0.0)
        if np.any(self.reset_voltage >= self.threshold):
            k = int(np.argmax(self.reset_voltage >= self.threshold))
            raise ValueError(
                f"reset_voltage = {self.reset_voltage[k]:g} of population {k} must be below its "
                f"threshold = {self.threshold[k]:g}"
            )
        self.cell = Cell(
            self.tau_membrane, self.tau_synaptic, self.threshold, self.reset_voltage,
            self.tau_refractory,
        )  # fmt: skip
        tau = self.tau_membrane[:, np.newaxis]
        self._mean = tau * self.c_matrix * self.j_matrix
        self._variance = tau * self.c_matrix * self.j_matrix**2
        self.extra_sources = [
            (self._vector("j_ext", j), self._vector("c_ext", c, at_least=0.0),
             self._vector("nu_ext", nu))
            for j, c, nu in extra_sources
        ]  # fmt: skip
        self._mean_ext = np.zeros(self.n_populations)
        self._variance_ext = np.zeros(self.n_populations)
        for j, c, nu in [(self.j_ext, self.c_ext, self.nu_ext), *self.extra_sources]:
            self._mean_ext += self.tau_membrane * c * j * nu
            self._variance_ext += self.tau_membrane * c * j**2 * nu

    def equations(self, nu: ArrayLike) -> tuple[Array, Array]:
        """Return mu and sigma, shape (..., P), of the input at these rates (Hz), (..., P)."""
        nu = np.asarray(nu, dtype=float)
        mu = nu @ self._mean.T + self._mean_ext
        variance = nu @ self._variance.T + self._variance_ext
        return mu, np.sqrt(np.maximum(variance, VARIANCE_FLOOR))

    def response_function(self, mu: ArrayLike, sigma: ArrayLike) -> Array:
        """Return the rates (Hz) of populations with this input, shape (..., P)."""
        return siegert_rate(mu, sigma, self.cell)

    def response(self, nu: ArrayLike) -> Array:
        """Return phi(nu): the rates that the rates nu cause, Hz, shape (..., P)."""
        return self.response_function(*self.equations(nu))

    def slopes(self, nu: ArrayLike) -> tuple[Array, Array]:
        """Return phi(nu), shape (..., P), and d phi_i / d nu_j, shape (..., P, P)."""
        mu, sigma = self.equations(nu)
        rate, by_mu, by_sigma = siegert_slopes(mu, sigma, self.cell)
        # At the floor sigma does not move with the rates.
        half = np.where(sigma**2 > VARIANCE_FLOOR, by_sigma / (2.0 * sigma), 0.0)
        return rate, by_mu[..., np.newaxis] * self._mean + half[..., np.newaxis] * self._variance

    def jacobian(self, nu: ArrayLike) -> Array:
        """Return the Jacobian of ``d nu / dt = -nu + phi(nu)``, shape (..., P, P)."""
        slope: Array = self.slopes(nu)[1] - np.eye(self.n_populations)
        return slope

    def solve_rates(self, nu_init: ArrayLike | None = None) -> OptimizeResult:
        """Return a fixed point: ``.x`` (Hz), ``.success``, ``.fun`` (phi - nu), ``.message``.

        Parameters
        ----------
        nu_init : array, shape (P,), Hz, optional
            Where the search starts; default all silent.
        """
        start = np.zeros(self.n_populations) if nu_init is None else np.asarray(nu_init, float)
        if start.shape != (self.n_populations,):
            raise ValueError(
                f"nu_init has the shape {start.shape}; give one rate for each of the "
                f"{self.n_populations} populations"
            )
        found = self.solve_many(start[np.newaxis])
        good = bool(found.success[0])
        return OptimizeResult(
            x=found.nu[0],
            success=good,
            fun=found.residual[0],
            nit=found.n_iterations,
            message="a fixed point" if good else "no fixed point was reached from this start",
        )

    def solve_many(self, nu_init: ArrayLike) -> Solutions:
        """Return the fixed points reached from many starts, shape (n, P), side by side."""
        start = np.asarray(nu_init, dtype=float)
        if start.ndim != 2 or start.shape[1] != self.n_populations:
            raise ValueError(
                f"nu_init has the shape {start.shape}; it must be (starts, {self.n_populations})"
            )
        return solve_batch(lambda nu, _: self.response(nu), lambda nu, _: self.slopes(nu), start)

    def determine_stability(self, nu: ArrayLike) -> tuple[str, NDArray[np.complex128]]:
        """Return the type of a fixed point and its eigenvalues by descending real part.

        The dynamics are ``d nu / dt = -nu + phi(nu)``: one unit relaxation time for all.
        """
        values = sorted_eigenvalues(self.jacobian(np.asarray(nu, dtype=float)))
        return classify_fixed_point(values), values

    def effective_response(
        self, focus_pops: Sequence[int], nu_init: ArrayLike
    ) -> tuple[Array, NDArray[np.bool_], Array]:
        """Return responses where some populations are held and the others are self-consistent.

        Parameters
        ----------
        focus_pops : sequence of int
            Populations held at their rates in `nu_init`; any order.
        nu_init : array, shape (n, P), Hz
            Imposed rates, and starts for the others.

        Returns
        -------
        rates : float64, shape (n, P)
            Response of the held populations; self-consistent rates of the others.
        success : bool, shape (n,)
        state : float64, shape (n, P)
            Imposed rates with the self-consistent ones.
        """
        start = np.atleast_2d(np.asarray(nu_init, dtype=float))
        focus = self.check_focus(focus_pops)
        ambient = np.setdiff1d(np.arange(self.n_populations), focus)
        state = start.copy()

        def whole(nu: Array, rows: NDArray[np.int64]) -> Array:
            full = start[rows]
            full[:, ambient] = nu
            return full

        if len(ambient):
            rows_in, columns_in = np.ix_(ambient, ambient)

            def inner_slopes(full: Array) -> tuple[Array, Array]:
                rate, slope = self.slopes(full)
                return rate[:, ambient], slope[:, rows_in, columns_in]

            found = solve_batch(
                lambda nu, rows: self.response(whole(nu, rows))[:, ambient],
                lambda nu, rows: inner_slopes(whole(nu, rows)),
                start[:, ambient],
            )
            state[:, ambient] = found.nu
            success = found.success
        else:
            success = np.ones(len(start), dtype=np.bool_)
        rates = state.copy()
        rates[:, focus] = self.response(state)[:, focus]
        return rates, success, state

    def effective_response_function(self, focus_pops: Sequence[int], nu_init: ArrayLike) -> Array:
        """Return the effective response of all populations, Hz; see :meth:`effective_response`.

        Takes one start (P,) or many (n, P); the answer has the same shape.

        Raises
        ------
        RuntimeError
            If the other populations find no self-consistent rates.
        """
        rates, success, _ = self.effective_response(focus_pops, nu_init)
        if not success.all():
            raise RuntimeError(
                f"no self-consistent rates of the other populations for "
                f"{int((~success).sum())} of {len(success)} imposed rates"
            )
        return rates[0] if np.ndim(nu_init) == 1 else rates

    def check_focus(self, focus_pops: Sequence[int]) -> NDArray[np.int64]:
        """Return focus populations as an array; refuse those that do not exist or come twice."""
        focus = np.asarray(focus_pops)
        whole = focus.ndim == 1 and focus.dtype.kind in "iu" and len(focus) > 0
        if not whole or len(set(focus.tolist())) != len(focus):
            raise ValueError(f"focus_pops = {list(focus_pops)} must name populations, each once")
        if focus.min() < 0 or focus.max() >= self.n_populations:
            raise ValueError(
                f"focus_pops = {focus.tolist()}: populations are 0 to {self.n_populations - 1}"
            )
        return focus.astype(np.int64)

    def _vector(
        self, name: str, value: Any, *, above: float | None = None, at_least: float | None = None
    ) -> Array:
        vector = population_vector(
            name, value, n_populations=self.n_populations, n_exc=self.n_clusters + 1
        )
        if not np.all(np.isfinite(vector)):
            raise ValueError(f"{name} must be finite")
        if above is not None and np.any(vector <= above):
            raise ValueError(f"{name} = {vector.min():g} must be > {above:g}")
        if at_least is not None and np.any(vector < at_least):
            raise ValueError(f"{name} = {vector.min():g} must be >= {at_least:g}")
        return vector

    def replaced(self, **changes: Any) -> LIFMeanField:
        """Return the same model with some constructor arguments changed."""
        names = (
            "n_clusters", "c_matrix", "j_matrix", "j_ext", "c_ext", "nu_ext", "tau_membrane",
            "tau_synaptic", "threshold", "reset_voltage", "tau_refractory", "extra_sources",
        )  # fmt: skip
        return LIFMeanField(**{name: changes.get(name, getattr(self, name)) for name in names})


def population_vector(name: str, value: Any, *, n_populations: int, n_exc: int) -> Array:
    """Return one value for each population from a number, a pair [E, I] or a whole vector.

    Raises
    ------
    ValueError
        For another length; the message names the parameter.
    """
    given = np.asarray(value, dtype=float)
    if given.ndim == 0 or given.size == 1:
        return np.full(n_populations, float(given.ravel()[0]))
    if given.shape == (n_populations,):
        return given.copy()
    if given.shape == (2,):
        return np.where(np.arange(n_populations) < n_exc, given[0], given[1])
    raise ValueError(
        f"{name} has the shape {given.shape}; give a number, a pair [E, I] or {n_populations} "
        "values, one for each population"
    )


def _matrix(name: str, value: ArrayLike) -> Array:
    matrix = np.array(value, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"{name} has the shape {matrix.shape}; it must be square")
    if not np.all(np.isfinite(matrix)):
        raise ValueError(f"{name} must be finite")
    return matrix
