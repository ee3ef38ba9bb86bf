"""Networks that several tests run."""

from __future__ import annotations

import numpy as np

from bridge.network.spec import CubaSpec, PingSpec, SynapseSpec, ei_layer
from bridge.network.stimulus import Stimulus
from bridge.network.weights import CUBA_DRAW, DrawRule, WeightDraw, Weights, draw_weights


def raster(
    *, n_trials: int, n_steps: int, n_in: int, p: float, seed: int, dt_ms: float
) -> Stimulus:
    """Return Bernoulli input."""
    rng = np.random.default_rng(seed)
    return Stimulus.from_raster(rng.random((n_trials, n_steps, n_in)) < p, dt_ms=dt_ms)


def small_ping(
    *, sizes: tuple[int, ...] = (48,), n_in: int = 40, order: str = "decay-add"
) -> tuple[PingSpec, Weights]:
    """Return a network that fires in volleys within 60 ms."""
    spec = PingSpec(
        n_in=n_in,
        layers=tuple(ei_layer(n) for n in sizes),
        synapses=SynapseSpec(order=order),
    )
    draw = WeightDraw(
        w_in=DrawRule(3.0, 0.6, 0.5),
        w_ei=DrawRule(1.0, 0.1),
        w_ie=DrawRule(2.0, 0.2),
        w_ff=DrawRule(5.1, 3.8),
    )
    return spec, draw_weights(spec, draw, seed=3)


def small_cuba(*, n_exc: int = 48, n_in: int = 40) -> tuple[CubaSpec, Weights]:
    """Return a current-based network that fires in volleys."""
    spec = CubaSpec(n_in=n_in, n_exc=n_exc, n_inh=n_exc // 4)
    return spec, draw_weights(spec, CUBA_DRAW, seed=3)


def driven_ping(*, seed: int = 5, n_trials: int = 2, n_steps: int = 600):
    """Return a network of two layers, its weights and its input."""
    spec, weights = small_ping(sizes=(48, 24))
    return spec, weights, raster(
        n_trials=n_trials, n_steps=n_steps, n_in=40, p=0.02, seed=seed, dt_ms=0.1
    )  # fmt: skip


def driven_cuba():
    """Return a current-based network, its weights and its input."""
    spec, weights = small_cuba()
    return spec, weights, raster(n_trials=2, n_steps=300, n_in=40, p=0.1, seed=1, dt_ms=0.5)
