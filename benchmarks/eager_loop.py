"""A PING layer as a plain eager torch loop: what simulators without compilation would run."""

from __future__ import annotations

import numpy as np
import torch

from bridge.network.spec import PingSpec
from bridge.network.steps import step_constants
from bridge.network.stimulus import Stimulus
from bridge.network.weights import effective


def eager_loop(spec: PingSpec, weights: dict, stimulus: Stimulus, kind: torch.dtype):
    """Return a function that runs one layer, one trial, and gives the spikes of E and I by step.

    Both are lists of ``n_steps`` tensors, (1, cell), 0 or 1.
    """
    dt_ms = stimulus.dt_ms
    c = step_constants(spec, dt_ms)
    w = {n: torch.tensor(m, dtype=kind) for n, m in effective(weights, spec, dt_ms).items()}
    x = torch.tensor(stimulus.counts()[0], dtype=kind)
    cells = {"e": (spec.exc_cell, c.n_ref_exc_steps), "i": (spec.inh_cell, c.n_ref_inh_steps)}

    def step(v, ref, g_exc, g_inh, cell, n_ref):
        g = cell.g_leak_us + (g_exc + g_inh)
        v_inf = (
            cell.g_leak_us * cell.e_leak_mv + (g_exc * cell.e_exc_mv + g_inh * cell.e_inh_mv)
        ) / g
        v = torch.clamp(v + (v_inf - v) * (1 - torch.exp(-dt_ms / (cell.c_m_nf / g))), min=-200.0)
        ref = torch.clamp(ref - 1, min=0)
        s = (v >= cell.v_th_mv) & (ref == 0)
        v = torch.where(s | (ref > 0), cell.v_reset_mv, v)
        return v, torch.where(s, n_ref, ref), s.to(kind)

    @torch.no_grad()
    def run() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        n_e, n_i = spec.layers[0].n_exc, spec.layers[0].n_inh
        v_e, v_i = torch.full((1, n_e), -65.0, dtype=kind), torch.full((1, n_i), -65.0, dtype=kind)
        ref_e, ref_i = torch.zeros(1, n_e), torch.zeros(1, n_i)
        s_e, s_i = torch.zeros(1, n_e, dtype=kind), torch.zeros(1, n_i, dtype=kind)
        ge_e, gi_e, ge_i = torch.zeros_like(v_e), torch.zeros_like(v_e), torch.zeros_like(v_i)
        silent = torch.zeros_like(v_i)
        spikes_e, spikes_i = [], []
        for n in range(len(x)):
            drive = x[n : n + 1] @ w["W_in"]
            if stimulus.bias_us:
                drive = drive + stimulus.bias_us
            ge_e = ge_e * c.decay_ampa + (s_e @ w["W_ee_1"] + drive)
            ge_i = ge_i * c.decay_ampa + s_e @ w["W_ei_1"]
            gi_e = gi_e * c.decay_gaba + s_i @ w["W_ie_1"]
            v_e, ref_e, s_e = step(v_e, ref_e, ge_e, gi_e, *cells["e"])
            v_i, ref_i, s_i = step(v_i, ref_i, ge_i, silent, *cells["i"])
            spikes_e.append(s_e)
            spikes_i.append(s_i)
        return spikes_e, spikes_i

    return run


def event_rows(spikes: list[torch.Tensor]) -> np.ndarray:
    """Return (step, trial, cell) of each spike, int32."""
    at, cell = np.nonzero(torch.cat(spikes).numpy())
    return np.stack([at, np.zeros_like(at), cell], axis=1).astype(np.int32)
