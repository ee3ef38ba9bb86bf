"""The reference's spikes, step for step, from its weights and input.

Data and tolerances: the reference folder's ping_README.md. Its float32 and float64 runs have the
same spikes, and no voltage comes closer to threshold than 5e-4 mV (COBA) or 4.5e-5 (CUBA), so
that a program with the right order of operations has no excuse for a single other spike.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bridge.network.spec import CubaSpec, PingSpec, ReadoutSpec, SynapseSpec, ei_layer
from bridge.network.stimulus import Stimulus
from bridge.network.weights import Weights
from sim_brian.engine.program import EngineOptions
from sim_brian.ping.run import simulate

TAGS = {"dt0p1": 0.1, "dt0p25": 0.25, "dt1": 1.0}
NUMPY = EngineOptions(target="numpy")


def stimulus(data, tag):
    return Stimulus(
        dt_ms=TAGS[tag],
        n_steps=int(data[f"{tag}__T_steps"]),
        n_trials=int(data["B"]),
        n_in=int(data["N_IN"]),
        events=data[f"{tag}__in_spk"],
    )


def coba(data, mode="rate"):
    spec = PingSpec(
        n_in=int(data["N_IN"]),
        layers=tuple(ei_layer(int(n)) for n in np.atleast_1d(data["hidden_sizes"])),
        synapses=SynapseSpec(order="kick-decay"),
        readout=ReadoutSpec(mode=mode, tau_out_ms=2.0),
    )
    return spec, Weights.for_spec(spec, {n: data[n] for n in spec.matrix_shapes if n in data})


def assert_same_spikes(recording, data, tag):
    for population in recording.n_cells:
        np.testing.assert_array_equal(
            recording.spikes[population], data[f"{tag}__{population}_spk"], err_msg=population
        )
        assert len(recording.spikes[population]) > 100, "a silent network proves nothing"


@pytest.mark.parametrize("tag", ["dt0p1", "dt0p25"])
@pytest.mark.parametrize("case", [1, 2, 3])
def test_conductance_based_spikes(reference, case, tag):
    with np.load(reference / f"ping_coba_case{case}.npz", allow_pickle=False) as data:
        recording, _ = simulate(*coba(data), stimulus(data, tag), engine=NUMPY)
        assert_same_spikes(recording, data, tag)
        np.testing.assert_allclose(
            recording.logits, data[f"{tag}__logits_rate_f64"], rtol=1e-9, atol=1e-9
        )


@pytest.mark.compiler
@pytest.mark.parametrize("tag", ["dt0p1", "dt0p25"])
def test_conductance_based_spikes_of_a_compiled_program(reference, tag):
    with np.load(reference / "ping_coba_case3.npz", allow_pickle=False) as data:
        recording, raw = simulate(
            *coba(data, "mem-mean"), stimulus(data, tag), engine=EngineOptions(target="cpp")
        )
        assert raw.target == "cpp"
        assert_same_spikes(recording, data, tag)
        np.testing.assert_allclose(
            recording.logits, data[f"{tag}__logits_mem_mean_f64"], rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("tag", ["dt0p1", "dt0p25"])
def test_traces(reference, tag):
    # The traces are float32; the file says how far they are from the reference's float64 run.
    with np.load(reference / "ping_coba_case1.npz", allow_pickle=False) as data:
        recording, _ = simulate(*coba(data), stimulus(data, tag), record_traces=True, engine=NUMPY)
        for name in ("v_e_1", "ge_e_1", "gi_e_1", "v_i_1", "ge_i_1"):
            rounding = 2e-4 if name.startswith("v") else 1e-5
            np.testing.assert_allclose(
                recording.traces[name][0], data[f"{tag}__trace_{name}_b0"], rtol=0, atol=rounding
            )


def test_the_other_synapse_order_is_another_network(reference):
    with np.load(reference / "ping_coba_case2.npz", allow_pickle=False) as data:
        spec, weights = coba(data)
        spec = dataclasses.replace(spec, synapses=SynapseSpec(order="decay-add"))
        recording, _ = simulate(spec, weights, stimulus(data, "dt0p25"), engine=NUMPY)
        assert not np.array_equal(recording.spikes["e1"], data["dt0p25__e1_spk"])


@pytest.mark.parametrize("tag", ["dt0p1", "dt0p25", "dt1"])
def test_current_based_spikes(reference, tag):
    with np.load(reference / "ping_cuba_case1.npz", allow_pickle=False) as data:
        spec = CubaSpec(
            n_in=int(data["N_IN"]), n_exc=int(data["hidden_sizes"].ravel()[0]),
            n_inh=int(data["n_inh"].ravel()[0]),
        )  # fmt: skip
        weights = Weights.for_spec(spec, {n: data[n] for n in spec.matrix_shapes})
        recording, _ = simulate(spec, weights, stimulus(data, tag), engine=NUMPY)
        assert_same_spikes(recording, data, tag)
        np.testing.assert_allclose(
            recording.logits, data[f"{tag}__logits_mem_mean_f64"], rtol=1e-9, atol=1e-9
        )
