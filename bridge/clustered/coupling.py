"""Population sizes, arousal, coupling tables: what a configuration means for each population."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.clustered.config import ArousalParams, ClusteredConfig
from bridge.mean_field.model import LIFMeanField, population_vector

Array = NDArray[np.float64]

_LEVEL_FLOOR = 1e-6


def arousal_gain(level: float, *, x_0: float, k: float) -> float:
    """Return the arousal gain: near 0 at level 0, `x_0` at 0.5, 1 at 1, monotone.

    The level is clipped to [0, 1] and held above 1e-6.

    Source: Papadopoulos et al. (2024), arXiv:2404.03902, arousal modulation.
    """
    x = max(min(max(level, 0.0), 1.0), _LEVEL_FLOOR)
    kappa = np.log2(1.0 + ((1.0 - x_0) / x_0) ** (1.0 / k))
    return float(1.0 / (1.0 + (x ** (-kappa) - 1.0) ** k))


@dataclass(frozen=True, eq=False)
class Layout:
    """Sizes of the populations: E clusters, E background, I clusters, I background.

    Attributes
    ----------
    n_clusters : int
    sizes : int64, shape (P,)
    boundaries : int64, shape (P + 1,)
        First neuron of each population, and the number of neurons.
    """

    n_clusters: int
    sizes: NDArray[np.int64]
    boundaries: NDArray[np.int64]

    @property
    def n_neurons(self) -> int:
        """Neurons that the network has."""
        return int(self.boundaries[-1])

    @property
    def n_exc(self) -> int:
        """Excitatory neurons that the network has."""
        return int(self.boundaries[self.n_clusters + 1])

    @property
    def n_populations(self) -> int:
        """Return 2 Q + 2."""
        return len(self.sizes)

    @property
    def labels(self) -> NDArray[np.int32]:
        """Population index + 1 of every neuron."""
        return np.repeat(np.arange(1, len(self.sizes) + 1, dtype=np.int32), self.sizes)

    def spread(self, values: ArrayLike) -> Array:
        """Return one value for each neuron from one for each population."""
        return np.repeat(np.asarray(values, dtype=float), self.sizes)


def layout(
    *, n_excitatory: int, n_inhibitory: int, n_clusters: int, n_excitatory_background: int,
    n_inhibitory_background: int,
) -> Layout:  # fmt: skip
    """Return the population sizes; neurons that do not fill a cluster are dropped with a warning.

    Raises
    ------
    ValueError
        If a background is larger than its type.
    """
    n_e, rest_e = divmod(n_excitatory - n_excitatory_background, n_clusters)
    n_i, rest_i = divmod(n_inhibitory - n_inhibitory_background, n_clusters)
    if n_e < 0 or n_i < 0:
        raise ValueError("there are more background neurons than neurons of their type")
    if rest_e or rest_i:
        warnings.warn(
            f"{rest_e} excitatory and {rest_i} inhibitory neurons do not fill {n_clusters} "
            f"clusters and are dropped: clusters have {n_e} and {n_i} neurons",
            stacklevel=2,
        )
    sizes = np.asarray(
        [n_e] * n_clusters + [n_excitatory_background] + [n_i] * n_clusters
        + [n_inhibitory_background], dtype=np.int64,
    )  # fmt: skip
    return Layout(n_clusters, sizes, np.concatenate([[0], np.cumsum(sizes)]))


def setup_matrices(
    *,
    n_neurons: int,
    n_excitatory: int,
    n_clusters: int,
    n_excitatory_background: int,
    n_inhibitory_background: int,
    connectivity_fraction_probs: ArrayLike,
    j_baseline: ArrayLike,
    j_potentiated: ArrayLike,
    potentiate: bool = True,
    ee_factor: float = 1.0,
) -> tuple[Layout, Array, Array]:
    """Return layout, couplings J (P, P) and connection fractions p (P, P), [receiving, sending].

    J is divided by sqrt(n_neurons). Within a cluster it is multiplied by J+, between clusters and
    between clusters and background by the depression that holds the mean input roughly fixed.

    Parameters
    ----------
    ee_factor : float
        Factor on the E to E coupling: 1 - L * gain of arousal.
    """
    plan = layout(
        n_excitatory=n_excitatory,
        n_inhibitory=n_neurons - n_excitatory,
        n_clusters=n_clusters,
        n_excitatory_background=n_excitatory_background,
        n_inhibitory_background=n_inhibitory_background,
    )
    j0 = np.asarray(j_baseline, dtype=float) / np.sqrt(n_neurons)
    j0[0] *= ee_factor
    plus = np.asarray(j_potentiated, dtype=float)
    probs = np.asarray(connectivity_fraction_probs, dtype=float)
    q = n_clusters
    whole = (n_excitatory, n_neurons - n_excitatory)
    share = [plan.sizes[0] / whole[0], plan.sizes[q + 1] / whole[1] if whole[1] else 0.0]
    blocks_j, blocks_p = [], []
    for receiving in (0, 1):
        row_j, row_p = [], []
        for sending in (0, 1):
            entry = 2 * sending + receiving
            factor = np.ones((q + 1, q + 1))
            depressed = 1.0
            if potentiate:
                depressed = _depression(share[sending], share[receiving], plus[entry], q)
            factor[:q] = depressed
            factor[:, :q] = depressed
            factor[np.arange(q), np.arange(q)] = plus[entry]
            row_j.append(j0[entry] * factor)
            row_p.append(np.full((q + 1, q + 1), probs[entry]))
        blocks_j.append(row_j)
        blocks_p.append(row_p)
    return plan, np.block(blocks_j), np.block(blocks_p)


def _depression(f_a: float, f_b: float, plus: float, q: int) -> float:
    """Return the factor between clusters; 1 where there is nothing to balance."""
    bottom = f_a + f_b - f_a * f_b * (q + 1)
    # Without clusters, or with clusters that are the whole network, numerator and denominator
    # both vanish (the latter up to rounding).
    if abs(bottom) < 1e-12:
        return 1.0
    return float((f_a + f_b - f_a * f_b * (q + plus)) / bottom)


@dataclass(frozen=True, eq=False)
class Network:
    """Everything that a configuration with its perturbations says about each population.

    Attributes
    ----------
    layout : Layout
    j, p : float64, shape (P, P)
        Couplings (1/sqrt(N) included) and connection fractions, [receiving, sending].
    gain : float
        Of arousal.
    j_ext, c_ext, nu_ext : float64, shape (2, P)
        Weight (1/sqrt(N) included), number and rate (Hz, without arousal and perturbation) of the
        synapses of both external sources.
    extra_rate_hz : float
        M * gain, which is multiplied by the Beta noise.
    rate : float64, shape (P,) or (P, n_steps), Hz
        Perturbation of the external rate of the first source.
    tau_membrane, tau_synaptic, tau_refractory, threshold, reset_voltage : float64, (P,) or (N,)
        By population, or by neuron where the configuration gives them so.
    """

    layout: Layout
    j: Array
    p: Array
    gain: float
    j_ext: Array
    c_ext: Array
    nu_ext: Array
    extra_rate_hz: float
    rate: Array
    tau_membrane: Array
    tau_synaptic: Array
    tau_refractory: Array
    threshold: Array
    reset_voltage: Array

    @property
    def in_degree(self) -> Array:
        """Expected synapses, shape (P, P), [receiving, sending]."""
        return self.p * self.layout.sizes

    def mean_field(self, noise: float | Array = 0.5) -> LIFMeanField:
        """Return the mean-field model.

        Parameters
        ----------
        noise : float or float64 (P,)
            Value of the Beta noise: its mean, or one drawn for each population.

        Raises
        ------
        ValueError
            If a constant is given neuron by neuron.
        """
        n = self.layout.n_populations
        for name in ("tau_membrane", "tau_synaptic", "tau_refractory", "threshold",
                     "reset_voltage"):  # fmt: skip
            if getattr(self, name).shape != (n,):
                raise ValueError(
                    f"architecture.network.{name} is given neuron by neuron; the mean field needs "
                    "a number or a pair [E, I]"
                )
        rate = self.rate if self.rate.ndim == 1 else self.rate[:, 0]
        first = self.nu_ext[0] + self.extra_rate_hz * noise + rate
        if np.any(first < 0):
            raise ValueError(
                f"the external rate of population {int(np.argmin(first))} is negative "
                f"({first.min():.4g} Hz) with this perturbation"
            )
        second = self.nu_ext[1] + self.extra_rate_hz * noise
        return LIFMeanField(
            self.layout.n_clusters, self.in_degree, self.j, self.j_ext[0], self.c_ext[0], first,
            self.tau_membrane, self.tau_synaptic, self.threshold, self.reset_voltage,
            self.tau_refractory,
            extra_sources=[(self.j_ext[1], self.c_ext[1], second)] if self.has_second else [],
        )  # fmt: skip

    @property
    def has_second(self) -> bool:
        """Return whether the second external source has any effect."""
        return bool(np.any(self.j_ext[1] * self.c_ext[1]))


def make_network(
    config: ClusteredConfig, perturbations: Mapping[str, Array] | None = None
) -> Network:
    """Return what a configuration and its perturbations mean for each population.

    Order for the couplings: table with arousal, then `j_baseline`, `j_potentiated`, `j`.

    Raises
    ------
    ValueError
        If a perturbation makes a constant impossible; the message names it.
    """
    given = dict(perturbations or {})
    arousal = _arousal(config.arousal, given)
    gain = arousal_gain(arousal["level"], x_0=arousal["x_0"], k=arousal["k"])
    init, clusters, cells = config.init, config.clusters, config.network
    assert init.n_neurons is not None
    assert init.n_excitatory is not None
    assert clusters.n_clusters is not None
    plan, j, p = setup_matrices(
        n_neurons=init.n_neurons,
        n_excitatory=init.n_excitatory,
        n_clusters=clusters.n_clusters,
        n_excitatory_background=clusters.n_excitatory_background or 0,
        n_inhibitory_background=clusters.n_inhibitory_background or 0,
        connectivity_fraction_probs=clusters.connectivity_fraction_probs,  # type: ignore[arg-type]
        j_baseline=clusters.j_baseline,  # type: ignore[arg-type]
        j_potentiated=clusters.j_potentiated,  # type: ignore[arg-type]
        potentiate=clusters.potentiate,
        ee_factor=1.0 - arousal["L"] * gain,
    )
    n = plan.n_populations
    j_ext = _sources("architecture.network.j_ext", cells.j_ext, plan)
    j_ext[0] += given.get("j_ext", 0.0)
    constants = {
        name: _constant(name, getattr(cells, name), plan, given.get(name))
        for name in ("tau_membrane", "tau_synaptic", "tau_refractory", "threshold",
                     "reset_voltage")
    }  # fmt: skip
    network = Network(
        layout=plan,
        j=perturb_couplings(j, given, plan.n_clusters),
        p=p,
        gain=gain,
        j_ext=j_ext / np.sqrt(init.n_neurons),
        c_ext=_sources("external_currents.c_ext", config.external.c_ext, plan),
        nu_ext=_sources("external_currents.nu_ext_baseline", config.external.nu_ext_baseline, plan),
        extra_rate_hz=arousal["M"] * gain,
        rate=np.asarray(given.get("rate", np.zeros(n))),
        **constants,
    )
    _check_constants(network)
    return network


def perturb_couplings(j: Array, given: Mapping[str, Array], n_clusters: int) -> Array:
    """Return couplings after the perturbations of `j_baseline`, `j_potentiated` and `j`."""
    j = j.copy()
    n = len(j)
    if "j_baseline" in given:
        delta = given["j_baseline"]
        j *= 1.0 + (delta if delta.ndim == 2 else delta[:, np.newaxis])
    if "j_potentiated" in given:
        index = np.arange(n) % (n_clusters + 1)
        same = (index[:, np.newaxis] == index) & (index[:, np.newaxis] < n_clusters)
        j *= np.where(same, 1.0 + given["j_potentiated"], 1.0)
    if "j" in given:
        factor = given["j"]
        j *= factor if factor.ndim == 2 else factor[:, np.newaxis]
    return j


def _arousal(arousal: ArousalParams, given: Mapping[str, Array]) -> dict[str, float]:
    values = {
        "level": arousal.level, "L": arousal.big_l, "x_0": arousal.x_0, "k": arousal.k,
        "M": arousal.big_m,
    }  # fmt: skip
    for name in values:
        if f"arousal_{name}" in given:
            values[name] += float(np.mean(given[f"arousal_{name}"]))
    values["level"] = min(max(values["level"], 0.0), 1.0)
    if not 0 < values["x_0"] < 1 or values["k"] <= 0:
        raise ValueError(
            f"arousal: x_0 = {values['x_0']:g} must lie between 0 and 1 and k = {values['k']:g} "
            "above 0, perturbations included"
        )
    return values


def _sources(name: str, given: Any, plan: Layout) -> Array:
    """Return the values of both external sources by population, shape (2, P)."""
    if len(given) == 3:
        raise ValueError(f"{name} has 3 values; give [exc to E, exc to I] or all four")
    four = [*given, 0.0, 0.0][:4]
    exc = np.arange(plan.n_populations) <= plan.n_clusters
    return np.stack([np.where(exc, four[0], four[1]), np.where(exc, four[2], four[3])])


def _constant(name: str, given: Any, plan: Layout, delta: Array | None) -> Array:
    values = np.asarray(given, dtype=float)
    n, whole = plan.n_populations, plan.n_neurons
    if values.size == whole and whole not in (1, 2):
        return values + plan.spread(delta) if delta is not None else values
    if values.size not in (1, 2):
        raise ValueError(
            f"architecture.network.{name} has {values.size} values; give a number, a pair [E, I] "
            f"or one for each of the {whole} neurons"
        )
    by_population = population_vector(name, values, n_populations=n, n_exc=plan.n_clusters + 1)
    return by_population + delta if delta is not None else by_population


def _check_constants(network: Network) -> None:
    for name in ("tau_membrane", "tau_synaptic"):
        values = getattr(network, name)
        if np.any(values <= 0):
            raise ValueError(f"{name} = {values.min():g} s must be > 0, perturbation included")
    if np.any(network.tau_refractory < 0):
        raise ValueError("tau_refractory must be >= 0, perturbation included")
    reset, threshold = network.reset_voltage, network.threshold
    if reset.shape != threshold.shape:
        plan = network.layout
        reset = reset if len(reset) == plan.n_neurons else plan.spread(reset)
        threshold = threshold if len(threshold) == plan.n_neurons else plan.spread(threshold)
    if np.any(reset >= threshold):
        raise ValueError(
            f"threshold = {threshold[reset >= threshold].min():g} must be above reset_voltage, "
            "perturbation included"
        )
