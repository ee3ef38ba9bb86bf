"""The published LIF network as one would write it down in NumPy: one trial, one step at a time.

An implementation of its own, used as the yardstick of speed (benchmarks/rate_to_spike.py) and as
an independent witness in tests.
"""

from __future__ import annotations

import numpy as np


def plain_lif(w, w_in, w_out, tau_d_s, scaling_factor, u, noise, v0):
    """Return spikes (step, cell), filtered trains, voltages and output; arguments in s and mV."""
    dt, tau_m, t_ref, tau_r = 5e-5, 0.010, 0.002, 0.002
    v_reset, v_th, v_spike, bias = -65.0, -40.0, 30.0, -40.0
    n_steps, n = noise.shape
    weights, readout = w / scaling_factor, w_out / scaling_factor
    external = w_in @ u
    v, last = v0.copy(), np.zeros(n)
    current, h, r, q = (np.zeros(n) for _ in range(4))
    currents, rates, spikes, voltages = (np.zeros((n_steps, n)) for _ in range(4))
    for i in range(n_steps):
        currents[i] = current
        column = min(int(i / 100 + 0.5), u.shape[1] - 1)
        j = current + bias + external[:, column]
        awake = dt * (i + 1) > last + t_ref
        v = v + dt * (awake * (-v + j) / tau_m) + noise[i] / 10
        s = v >= v_th
        last = last + (dt * (i + 1) - last) * s
        current = current * np.exp(-dt / tau_d_s) + h * dt
        h = h * np.exp(-dt / tau_r) + (weights @ s) / (tau_r * tau_d_s)
        r = r * np.exp(-dt / tau_d_s) + q * dt
        q = q * np.exp(-dt / tau_r) + s / (tau_r * tau_d_s)
        rates[i], spikes[i] = r, s
        voltages[i] = np.where(s, v_spike, v)
        v = np.where(s, v_reset, v)
    return spikes, rates, voltages, rates @ readout.ravel()
