"""Drive against threshold: steady states of the synapse and of the membrane."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scope_recordings import recording_of

from bridge.network.spec import CubaSpec, LayerSpec, PingSpec, SynapseSpec
from bridge.network.stimulus import Stimulus
from scope.measure.drive import drive_balance

SPEC = PingSpec(n_in=3, layers=(LayerSpec(n_exc=2, n_inh=1),))


def run_of(i_steps=(), traces=None):
    rows = {"i1": np.array([[s, 0, 0] for s in i_steps]).reshape(-1, 3)}
    return recording_of(rows, n_cells={"e1": 2, "i1": 1}, t_ms=100.0, traces=traces)


def conductance(g_us):
    g = np.full((1, 400, 2), g_us)
    g[..., 1] *= 3.0
    return Stimulus(dt_ms=0.25, n_steps=400, n_trials=1, n_in=3, g_ext_us=g)


def test_a_constant_drive_settles_at_drive_over_one_minus_the_decay():
    balance = drive_balance(run_of(), conductance(0.001), spec=SPEC, weights={})
    assert balance.drive_us[0] == pytest.approx(0.002)  # mean of 0.001 and 0.003
    # 100 ms are 50 time constants: nothing is left of the rise.
    assert_allclose(balance.drive_us[-1], 0.002 / (1 - math.exp(-0.25 / 2.0)), rtol=1e-12)
    assert_allclose(balance.threshold_us, 0.015, rtol=1e-12)
    assert balance.bare_threshold_us == pytest.approx(0.015)


def test_a_cell_under_inhibition_rests_exactly_at_its_threshold():
    # Source of truth: dv/dt = 0 at v = v_th under the threshold drive and that inhibition.
    gi = np.full((1, 400, 2), 0.02)
    run = run_of(traces={"gi_e_1": gi})
    threshold_us = drive_balance(run, conductance(0.001), spec=SPEC, weights={}).threshold_us[0]
    cell = SPEC.exc_cell
    current = (
        cell.g_leak_us * (cell.e_leak_mv - cell.v_th_mv)
        + threshold_us * (cell.e_exc_mv - cell.v_th_mv)
        + 0.02 * (cell.e_inh_mv - cell.v_th_mv)
    )
    assert current == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("order", "first"), [("decay-add", 1.0), ("kick-decay", math.exp(-0.25 / 9))]
)
def test_an_inhibitory_spike_lifts_the_threshold_one_step_later(order, first):
    spec = PingSpec(
        n_in=3, layers=(LayerSpec(n_exc=2, n_inh=1),), synapses=SynapseSpec(order=order)
    )
    weights = {"W_ie_1": np.array([[0.01, 0.03]])}
    balance = drive_balance(run_of([10]), conductance(0.001), spec=spec, weights=weights)
    g_inh_us = (balance.threshold_us - 0.015) / (30.0 / 50.0)
    assert_allclose(g_inh_us[:11], 0.0, atol=1e-15)
    assert_allclose(g_inh_us[11:], 0.02 * first * np.exp(-0.25 / 9 * np.arange(389)), rtol=1e-9)


def test_input_spikes_act_through_their_weights():
    events = np.array([[4, 0, 0], [4, 0, 2], [4, 0, 2]])
    stimulus = Stimulus(dt_ms=0.25, n_steps=400, n_trials=1, n_in=3, events=events, bias_us=0.0)
    weights = {"W_in": np.array([[0.1, 0.3], [9.0, 9.0], [-0.4, 0.2]])}
    balance = drive_balance(run_of(), stimulus, spec=SPEC, weights=weights)
    # Under Dale's law -0.4 counts as 0: 0.2 + 2 * 0.1.
    assert balance.drive_us[4] == pytest.approx(0.4)
    assert not balance.drive_us[:4].any()
    assert balance.drive_us[5] == pytest.approx(0.4 * math.exp(-0.25 / 2.0))


def test_the_balance_is_undefined_without_conductances_input_or_weights():
    cuba = CubaSpec(n_in=3, n_exc=2, n_inh=1)
    spikes = Stimulus(dt_ms=0.25, n_steps=400, n_trials=1, n_in=3, events=np.array([[0, 0, 0]]))
    assert drive_balance(run_of(), conductance(0.1), spec=cuba, weights={}) is None
    assert drive_balance(run_of(), conductance(0.1), spec=None, weights={}) is None
    assert drive_balance(run_of(), None, spec=SPEC, weights={}) is None
    assert drive_balance(run_of(), spikes, spec=SPEC, weights={}) is None
