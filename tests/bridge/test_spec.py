"""Network specs and what follows from the time step."""

from __future__ import annotations

import dataclasses
import math

import pytest

from bridge.network.spec import (
    EXC_CELL,
    INH_CELL,
    CellSpec,
    CubaSpec,
    LayerSpec,
    PingSpec,
    ReadoutSpec,
    SynapseSpec,
    ei_layer,
)
from bridge.network.steps import (
    calibration_factor,
    count_steps,
    rate_ceiling_hz,
    refractory_steps,
    step_constants,
)


def test_the_cells_are_those_of_the_specification():
    assert (EXC_CELL.tau_mem_ms, INH_CELL.tau_mem_ms) == (20.0, 5.0)
    assert EXC_CELL.g_threshold_us == pytest.approx(0.015)
    assert (SynapseSpec().tau_ampa_ms, SynapseSpec().tau_gaba_ms) == (2.0, 9.0)
    assert SynapseSpec().order == "decay-add"


def test_populations_and_shapes():
    spec = PingSpec(n_in=5, layers=(ei_layer(8), LayerSpec(n_exc=6), ei_layer(3)), n_classes=4)
    assert spec.populations == {"e1": 8, "i1": 2, "e2": 6, "e3": 3, "i3": 1}
    assert spec.ei_layers == (1, 3)
    assert spec.matrix_shapes["W_ff_2to3"] == (6, 3)
    assert spec.matrix_shapes["W_ie_3"] == (1, 3)
    assert "W_ei_2" not in spec.matrix_shapes
    assert spec.optional_matrices == {
        f"W_{k}_{n}" for k in ("ee", "ei", "ie", "ii") for n in (1, 3)
    }


def test_the_control_has_no_inhibitory_population():
    assert CubaSpec(n_in=5, n_exc=8, n_inh=0).model == "cuba-noping"
    spec = CubaSpec(n_in=5, n_exc=8, n_inh=2)
    assert spec.model == "cuba-ping"
    assert spec.optional_matrices == {"W_ei_1", "W_ie_1", "b_out"}


def test_specs_are_frozen_and_compare_by_value():
    spec = PingSpec(n_in=5, layers=(ei_layer(8),))
    assert spec == PingSpec(n_in=5, layers=(ei_layer(8, 2),))
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.n_in = 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CellSpec(c_m_nf=0.0, g_leak_us=0.1, tau_ref_ms=1), "c_m_nf = 0 must be > 0"),
        (lambda: CellSpec(c_m_nf=math.nan, g_leak_us=0.1, tau_ref_ms=1), "c_m_nf = nan is not"),
        (lambda: dataclasses.replace(EXC_CELL, v_reset_mv=-50.0), "must lie below v_th_mv"),
        (lambda: dataclasses.replace(EXC_CELL, v_floor_mv=-60.0), "must not lie above v_reset_mv"),
        (lambda: SynapseSpec(tau_gaba_ms=-1.0), "tau_gaba_ms = -1 must be > 0"),
        (lambda: SynapseSpec(order="add"), "use one of decay-add, kick-decay"),
        (lambda: ReadoutSpec(mode="max"), "use one of rate, li, spike-count, mem-mean"),
        (lambda: LayerSpec(n_exc=0), "n_exc = 0 must be at least 1"),
        (lambda: PingSpec(n_in=5, layers=()), "at least one hidden layer"),
        (lambda: PingSpec(n_in=0, layers=(ei_layer(4),)), "n_in = 0 must be at least 1"),
        (lambda: CubaSpec(n_in=5, n_exc=8, n_inh=-1), "n_inh = -1"),
    ],
)
def test_a_network_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_refractory_steps_round_half_to_even():
    assert [refractory_steps(1.5, dt) for dt in (0.1, 0.2, 0.25, 0.6, 1.0, 2.0)] == [
        15, 8, 6, 2, 2, 1
    ]  # fmt: skip
    assert [refractory_steps(3.0, dt) for dt in (0.1, 0.4, 1.0, 2.0, 10.0)] == [30, 8, 3, 2, 1]
    assert rate_ceiling_hz(EXC_CELL, 0.1) == pytest.approx(1000 / 3)
    assert rate_ceiling_hz(INH_CELL, 1.0) == pytest.approx(500.0)


@pytest.mark.parametrize("dt_ms", [1e-9, 1e-300, 5e-324])
def test_more_refractory_steps_than_can_be_counted(dt_ms):
    assert refractory_steps(2.0, 2.0 / (2**31 - 1)) == 2**31 - 1
    with pytest.raises(ValueError, match=r"dt = .* ms cuts the refractory time of 3 ms into"):
        refractory_steps(3.0, dt_ms)


def test_step_constants_follow_the_spec_given_and_nothing_older():
    spec = PingSpec(n_in=5, layers=(ei_layer(8),))
    slow = dataclasses.replace(spec, synapses=SynapseSpec(tau_gaba_ms=18.0))
    assert step_constants(spec, 0.25).decay_gaba == pytest.approx(math.exp(-0.25 / 9))
    assert step_constants(slow, 0.25).decay_gaba == pytest.approx(math.exp(-0.25 / 18))
    fine = step_constants(spec, 0.1)
    assert (fine.n_ref_exc_steps, fine.n_ref_inh_steps) == (30, 15)
    assert fine.decay_ampa == pytest.approx(math.exp(-0.05))


@pytest.mark.parametrize(
    ("t_ms", "dt_ms", "n_steps"), [(200, 0.1, 2000), (0.3, 0.1, 3), (600, 0.05, 12000), (7, 7, 1)]
)
def test_count_steps(t_ms, dt_ms, n_steps):
    assert count_steps(t_ms, dt_ms) == n_steps


def test_count_steps_refuses_fractions_and_names_what_would_do():
    with pytest.raises(ValueError, match=r"does not divide the trial of 200 ms.*such as 199\.8 or"):
        count_steps(200.0, 0.3)
    with pytest.raises(ValueError, match="dt = 0 ms must be a positive"):
        count_steps(200.0, 0.0)
    with pytest.raises(ValueError, match="t_ms = nan ms"):
        count_steps(math.nan, 0.1)
    with pytest.raises(ValueError, match="at most"):
        count_steps(1e9, 0.001)
    with pytest.raises(ValueError, match="does not divide"):
        count_steps(0.05, 0.1)


def test_an_increment_per_step_settles_at_the_same_level_for_every_dt():
    levels = [
        calibration_factor(dt) / (1.0 - math.exp(-dt / 2.0)) for dt in (0.05, 0.1, 0.25, 1.0, 2.0)
    ]
    assert levels == pytest.approx([levels[0]] * 5, rel=1e-12)
    assert calibration_factor(0.1) == pytest.approx(1.0, rel=1e-15)


def test_an_unstable_explicit_leak_is_refused():
    with pytest.raises(ValueError, match="unstable; use less than 40 ms"):
        step_constants(CubaSpec(n_in=5, n_exc=8, n_inh=2), 40.0)
