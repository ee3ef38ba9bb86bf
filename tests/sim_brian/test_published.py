"""Published and recomputed rates of untrained networks; torch draws weights and input only.

Source: the acceptance tests of the PING specification (pinglab nb002, nb047, nb040 and
recomputations with the correct constants). The published runs were float32; that these float64
runs give the same digits says that no spike of theirs was decided by rounding. Those that sweep
something (22.4 to 22.6) are in test_scan.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bridge.network.published import bernoulli_input
from bridge.network.spec import (
    EXC_CELL,
    INH_CELL,
    CubaSpec,
    PingSpec,
    SynapseSpec,
    ei_layer,
)
from bridge.network.stimulus import Stimulus
from bridge.network.weights import CUBA_DRAW, DrawRule, WeightDraw, draw_weights
from sim_brian.engine.program import EngineOptions
from sim_brian.ping.run import simulate

pytest.importorskip("torch")
# Six networks of one or two runs each: interpreted before a compiler is done. Published scans are
# compiled (test_scan.py).
ENGINE = EngineOptions(target="numpy")


def run(spec, draw, stimulus, seed=42):
    weights = draw_weights(spec, draw, seed=seed, source="torch")
    recording, _ = simulate(spec, weights, stimulus, engine=ENGINE)
    return recording


def rate_hz(recording, population, start=0, stop=None):
    counts = recording.population_counts(population)[:, start:stop]
    seconds = counts.shape[1] * recording.dt_ms / 1000.0
    return counts.sum() / (recording.n_cells[population] * recording.n_trials * seconds)


def network_b(order="decay-add", *, n_inh=256, w_ie=2.0, tau_gaba_ms=9.0):
    """Return the network of 22.2, and of 22.5 and 22.6 (tests/sim_brian/test_scan.py)."""
    spec = PingSpec(
        n_in=784,
        layers=(ei_layer(1024, n_inh),),
        synapses=SynapseSpec(order=order, tau_gaba_ms=tau_gaba_ms),
    )
    draw = WeightDraw(
        w_in=DrawRule(1.2, 0.12, 0.95), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(w_ie, 0.1 * w_ie)
    )
    return spec, draw


def published_input(n_steps, n_trials, p, seed=43):
    raster = bernoulli_input((n_steps, n_trials, 784), p, seed=seed)
    return raster.transpose(1, 0, 2)


def test_three_phase_movie():
    """22.1: async, PING, async, to every published digit."""
    spec = PingSpec(
        n_in=784,
        layers=(ei_layer(1024),),
        synapses=SynapseSpec(order="kick-decay", tau_gaba_ms=14.0),
    )
    draw = WeightDraw(
        w_in=DrawRule(1.5, 0.3, 0.95), w_ei=DrawRule(0.5, 0.05, 0.2),
        w_ie=DrawRule(1.0, 0.1, 0.2), w_ee=DrawRule(0.0, 0.0, 0.2),
    )  # fmt: skip
    p = np.repeat([2.0, 30.0, 2.0], 2500)[:, np.newaxis] * 0.1 / 1000.0
    raster = bernoulli_input((7500, 784), p, seed=42)
    recording = run(spec, draw, Stimulus.from_raster(raster[np.newaxis], dt_ms=0.1))
    thirds = [
        (rate_hz(recording, "e1", s, s + 2500), rate_hz(recording, "i1", s, s + 2500))
        for s in (0, 2500, 5000)
    ]
    np.testing.assert_allclose(
        thirds, [(2.8789, 0.0), (13.1211, 31.1875), (1.3984, 0.8906)], atol=5e-5
    )
    middle = recording.population_counts("e1")[0, 2500:5000] / 1024
    spectrum = np.abs(np.fft.rfft((middle - middle.mean()) * np.hanning(2501)[:-1])) ** 2
    freqs_hz = np.fft.rfftfreq(2500, 1e-4)
    band = (freqs_hz >= 5) & (freqs_hz <= 150)
    assert freqs_hz[band][np.argmax(spectrum[band])] == pytest.approx(32.0)


@pytest.mark.parametrize(
    ("n_inh", "w_ie", "expected"),
    [(256, 2.0, (11.717529, 31.616211)), (16, 0.5, (14.130859, 42.421875))],
)
def test_pool_size_with_stale_constants(n_inh, w_ie, expected):
    """22.2 as published: dt 0.1 with the decays and refractory steps of dt 0.25.

    That fault is not rebuilt; a network with time constants 2.5 times shorter has the same
    constants.
    """
    spec, draw = network_b(n_inh=n_inh, w_ie=w_ie)
    stale = dataclasses.replace(
        spec,
        synapses=SynapseSpec(tau_ampa_ms=0.8, tau_gaba_ms=3.6),
        exc_cell=dataclasses.replace(EXC_CELL, tau_ref_ms=1.2),
        inh_cell=dataclasses.replace(INH_CELL, tau_ref_ms=0.6),
    )
    stimulus = Stimulus.from_raster(published_input(2000, 4, 0.0025), dt_ms=0.1)
    recording = run(stale, draw, stimulus)
    assert rate_hz(recording, "e1") == pytest.approx(expected[0], abs=5e-7)
    assert rate_hz(recording, "i1") == pytest.approx(expected[1], abs=5e-7)


def test_pool_size_with_correct_constants():
    """22.2 as it should have been; the other order is in the next test but one."""
    stimulus = Stimulus.from_raster(published_input(2000, 4, 0.0025), dt_ms=0.1)
    recording = run(*network_b("kick-decay"), stimulus)
    assert rate_hz(recording, "e1") == pytest.approx(6.67, abs=0.005)
    assert rate_hz(recording, "i1") == pytest.approx(35.0, abs=0.005)


def test_untrained_current_based_network():
    """22.3, to every published digit."""
    spec = CubaSpec(n_in=784, n_exc=1024, n_inh=256)
    draw = dataclasses.replace(CUBA_DRAW, w_in=DrawRule(0.0, 0.5, 0.95))
    stimulus = Stimulus.from_raster(published_input(200, 1, 0.08), dt_ms=1.0)
    recording = run(spec, draw, stimulus)
    assert rate_hz(recording, "e1") == 2.1337890625
    assert rate_hz(recording, "i1") == 70.01953125


def test_rates_do_not_depend_on_the_size_of_the_pool():
    """22.7: W_IE is normalised by fan-in; rates for 16, 64, 256 I cells agree within 0.1 Hz."""
    stimulus = Stimulus.from_raster(published_input(2000, 4, 0.0025), dt_ms=0.1)
    rates = []
    for n_inh in (16, 64, 256):
        recording = run(*network_b(n_inh=n_inh, w_ie=2.0), stimulus)
        rates.append((rate_hz(recording, "e1"), rate_hz(recording, "i1")))
    np.testing.assert_allclose(rates[-1], (6.34, 35.0), atol=0.005)  # 22.2
    spread = np.ptp(rates, axis=0)
    assert spread[0] < 0.1, rates
    assert spread[1] < 0.1, rates
