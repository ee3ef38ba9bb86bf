"""Mean-field stagers: fixed points from random starts, landscapes of a few populations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bridge.clustered.external import BETA
from bridge.mean_field import LIFMeanField, landscape_results, random_starts, reduced_landscape
from bridge.mean_field.fixed_points import solve_runs
from studies.clustered.stager import Outputs, Stager, named_targets

NOISES = ("mean", "sampled")


class MeanFieldStager(Stager):
    """The mean field of a configuration.

    Parameters
    ----------
    config, random_seed, logger, perturbations, <target>_perturbation
        See :class:`studies.clustered.stager.Stager`.
    arousal_noise : {"mean", "sampled"}
        Beta noise of the external rate: its mean 1/2, or, as in the original, the average of one
        draw for each E neuron and of one for each I neuron.
    """

    spiking = False

    def __init__(self, config: Any, *, arousal_noise: str = "mean", **settings: Any) -> None:
        if arousal_noise not in NOISES:
            raise ValueError(f"arousal_noise {arousal_noise!r} is unknown; use {', '.join(NOISES)}")
        self.arousal_noise = arousal_noise
        super().__init__(config, **settings)
        self.model = self.make_model({})

    def __content__(self) -> Any:
        return super().__content__(), self.arousal_noise

    def make_model(self, perturbations: Mapping[str, Any]) -> LIFMeanField:
        """Return the mean field with these perturbations by target."""
        network = self._network(perturbations)
        noise: Any = 0.5
        if self.arousal_noise == "sampled":
            rng, plan = self.rng("noise"), network.layout
            exc = rng.beta(BETA, BETA, size=max(plan.n_exc, 1)).mean()
            inh = rng.beta(BETA, BETA, size=max(plan.n_neurons - plan.n_exc, 1)).mean()
            noise = np.where(np.arange(plan.n_populations) <= plan.n_clusters, exc, inh)
        return network.mean_field(noise)


class FullMeanFieldStager(MeanFieldStager):
    """Fixed points of the whole mean field from many random starts."""

    plots = ("fixed_points",)

    def run(
        self, nu_init: ArrayLike | None = None, n_runs: int = 100, **perturbations: Any
    ) -> Outputs:
        """Solve from `n_runs` random starts, or from `nu_init` (P,) or (n, P), Hz.

        Starts are uniform below 1 Hz, with a random subset of entries uniform below 10 Hz.

        Returns
        -------
        dict
            See :func:`bridge.mean_field.solve_runs`: every start's fixed point, type, eigenvalues,
            success and residual, and the distinct fixed points with their multiplicities.
        """
        model = self.model if not perturbations else self.make_model(named_targets(perturbations))
        if nu_init is None:
            if n_runs < 1:
                raise ValueError(f"n_runs = {n_runs} must be at least 1")
            starts = random_starts(n_runs, model.n_populations, self.rng("starts"))
        else:
            starts = np.atleast_2d(np.asarray(nu_init, dtype=float))
        outputs = Outputs(solve_runs(model, starts))
        n_failed = int((~outputs["success"]).sum())
        if n_failed:
            self.logger.warning(f"{n_failed} of {len(starts)} starts led to no fixed point")
        return outputs

    def plot(self, what: str, outputs: Mapping[str, Any], folder: Path) -> Path:
        """Draw the distinct fixed points into a folder and return the file."""
        from scope.figures.clustered_mean_field import fixed_points_figure
        from scope.files import save_figure

        path = folder / "fixed_points.png"
        save_figure(
            fixed_points_figure(
                rates=outputs["unique_fixed_points"],
                kinds=outputs["unique_type"],
                multiplicity=outputs["multiplicity"],
                n_clusters=self.network.layout.n_clusters,
                sizes=self.network.layout.sizes,
            ),
            path,
        )
        return path


class ReducedMeanFieldStager(MeanFieldStager):
    """The effective force on a few populations over a grid of their rates."""

    plots = ("landscape",)

    def run(
        self,
        focus_pops: Sequence[int] = (0, 1),
        grid_density: float = 0.5,
        grid_lims: Sequence[Any] = (0.0, 60.0),
        nu_init: ArrayLike | None = None,
        potential_rule: str = "end",
        **perturbations: Any,
    ) -> Outputs:
        """Compute the landscape.

        Parameters
        ----------
        focus_pops : sequence of int
            Populations whose rates are imposed; any, in any order.
        grid_density : float, Hz
            Step of the grid.
        grid_lims : (low, high) or one such pair for each focus population, Hz
        nu_init : array (P,), Hz, optional
            Start of the other populations.
        potential_rule : {"end", "trapezoid"}

        Returns
        -------
        dict
            See :func:`bridge.mean_field.landscape_results`.
        """
        model = self.model if not perturbations else self.make_model(named_targets(perturbations))
        axes = grid_axes(len(focus_pops), grid_density, grid_lims)
        found = reduced_landscape(model, focus_pops, axes, nu_init=nu_init)
        n_bad = int((~found.converged).sum())
        if n_bad:
            self.logger.warning(f"{n_bad} of {found.converged.size} grid points did not converge")
        return Outputs(landscape_results(found, rule=potential_rule))

    def plot(self, what: str, outputs: Mapping[str, Any], folder: Path) -> Path:
        """Draw flow and potential into a folder and return the file."""
        from scope.figures.clustered_mean_field import landscape_figure
        from scope.files import save_figure

        path = folder / "landscape.png"
        save_figure(landscape_figure(results=dict(outputs)), path)
        return path


def grid_axes(n_focus: int, step_hz: float, limits: Sequence[Any]) -> list[np.ndarray]:
    """Return the imposed rates of each focus population: arange(low, high, step).

    Raises
    ------
    ValueError
        For a step or limits that give no grid.
    """
    if not (np.isfinite(step_hz) and step_hz > 0):
        raise ValueError(f"grid_density = {step_hz:g} Hz must be > 0: it is the step of the grid")
    pairs = list(limits)
    if np.ndim(pairs[0]) == 0:
        pairs = [pairs] * n_focus
    if len(pairs) != n_focus or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"grid_lims = {limits} must be one pair (low, high), or one for each of the {n_focus} "
            "focus populations"
        )
    axes = []
    for low, high in pairs:
        if not (np.isfinite(low) and np.isfinite(high) and 0 <= low < high):
            raise ValueError(f"grid_lims ({low:g}, {high:g}) must be 0 <= low < high")
        n_points = max(round((high - low) / step_hz + 0.499999), 1)
        if n_points > 5000:
            raise ValueError(f"{n_points} grid points along one axis are too many; at most 5000")
        axes.append(low + step_hz * np.arange(n_points))
    return axes
