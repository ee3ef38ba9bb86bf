"""The reference's gradients, from its weights, input and labels.

Data and tolerances: the reference folder's ping_README.md. Its float64 gradients are to be met to
1e-9; its float32 and float64 gradients differ from each other by up to 5e-4 in norm, so that 2e-3
is asked of float32.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from bridge.network.spec import CubaSpec, PingSpec, ReadoutSpec, SynapseSpec, ei_layer
from bridge.network.stimulus import Stimulus
from train_torch.network.networks import Learning, build_network

TAGS = {"dt0p1": 0.1, "dt0p25": 0.25, "dt1": 1.0}
TRAINABLE = frozenset({"W_ee", "W_ei", "W_ie"})
TYPES = {"float64": ("_f64", 1e-9), "float32": ("", 2e-3)}


def stimulus(data, tag):
    return Stimulus(
        dt_ms=TAGS[tag], n_steps=int(data[f"{tag}__T_steps"]), n_trials=int(data["B"]),
        n_in=int(data["N_IN"]), events=data[f"{tag}__in_spk"],
    )  # fmt: skip


def check_gradients(network, data, tag, prefix, tolerance, names, *, kernel="eager"):
    run = network(stimulus(data, tag), kernel=kernel)
    loss = cross_entropy(run.logits, torch.tensor(data["labels"], dtype=torch.long))
    loss.backward()
    assert loss.item() == pytest.approx(float(data[f"{prefix}__loss"]), rel=tolerance)
    for ours, theirs in names.items():
        expected = np.asarray(data[f"{prefix}__{theirs}"], dtype=np.float64)
        found = network.matrix(ours).grad.double().numpy()
        norm = np.linalg.norm(expected)
        assert norm > 0, f"{theirs} of the reference is zero: it proves nothing"
        assert np.linalg.norm(found - expected) / norm < tolerance, theirs


COBA = (
    [
        (tag, readout, damp, dtype, "cpp")
        for tag in ("dt0p1", "dt0p25")
        for readout, damp in (("rate", 80), ("mem_mean", 80), ("mem_mean", 1000))
        for dtype in TYPES
    ]
    + [("dt0p25", readout, 80, "float64", "function") for readout in ("rate", "mem_mean")]
    + [
        ("dt0p25", "rate", 80, "float64", "eager"),
        ("dt0p25", "mem_mean", 80, "float64", "eager"),
        ("dt0p25", "mem_mean", 1000, "float64", "eager"),
        ("dt0p25", "mem_mean", 1000, "float32", "eager"),
    ]
)


@pytest.mark.parametrize(("tag", "readout", "damp", "dtype", "kernel"), COBA)
def test_conductance_based_gradients(reference, tag, readout, damp, dtype, kernel):
    suffix, tolerance = TYPES[dtype]
    with np.load(reference / "ping_coba_case2.npz", allow_pickle=False) as data:
        spec = PingSpec(
            n_in=int(data["N_IN"]),
            layers=(ei_layer(int(np.atleast_1d(data["hidden_sizes"])[0])),),
            synapses=SynapseSpec(order="kick-decay"),
            readout=ReadoutSpec(mode=readout.replace("_", "-"), tau_out_ms=2.0),
        )
        weights = {n: data[n] for n in spec.matrix_shapes if n in data}
        if readout == "mem_mean":
            scale = float(data["mem_mean_w_out_scale"])
            weights["W_out"] = weights["W_out"].astype(np.float64) * scale
        learning = Learning(v_grad_dampen=float(damp), trainable=TRAINABLE)
        network = build_network(
            spec, weights, dt_ms=TAGS[tag], learning=learning, dtype=getattr(torch, dtype)
        )
        names = {n: f"d{n}" for n in ("W_in", "W_out", "W_ei_1", "W_ie_1", "W_ee_1")}
        prefix = f"{tag}__grad_{readout}_damp{damp}{suffix}"
        check_gradients(network, data, tag, prefix, tolerance, names, kernel=kernel)


@pytest.mark.parametrize(
    ("tag", "dtype", "kernel"),
    [("dt0p1", "float64", "cpp"), ("dt0p25", "float64", "cpp"), ("dt0p25", "float32", "cpp"),
     ("dt1", "float64", "cpp"), ("dt1", "float32", "cpp"), ("dt0p25", "float64", "function"),
     ("dt0p25", "float64", "eager"), ("dt1", "float32", "eager")],
)  # fmt: skip
def test_current_based_gradients(reference, tag, dtype, kernel):
    suffix, tolerance = TYPES[dtype]
    with np.load(reference / "ping_cuba_case1.npz", allow_pickle=False) as data:
        spec = CubaSpec(
            n_in=int(data["N_IN"]), n_exc=int(data["hidden_sizes"].ravel()[0]),
            n_inh=int(data["n_inh"].ravel()[0]),
        )  # fmt: skip
        learning = Learning(tbptt_window=int(data["tbptt_window"]))
        network = build_network(
            spec, {n: data[n] for n in spec.matrix_shapes}, dt_ms=TAGS[tag], learning=learning,
            dtype=getattr(torch, dtype),
        ).train()  # fmt: skip
        names = {n: f"d{n}" for n in ("W_in", "W_out", "b_out")}
        prefix = f"{tag}__grad_mem_mean{suffix}"
        check_gradients(network, data, tag, prefix, tolerance, names, kernel=kernel)
