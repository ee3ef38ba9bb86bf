"""From spikes to the output of the spiking network, without running it again.

The filtered trains r obey, in each step, ``r <- r d + q dt; q <- q e + kick s`` (d, e: decay of the
two time constants; s: a spike in this step). Between spikes that is linear, so that all steps of a
block follow from its start in one matrix product.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import LifNetwork

BLOCK = 50
"""Steps that one matrix product yields; the products and the spikes inside blocks then cost about
the same (measured on networks of 200 cells at 10 Hz)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kernels:
    """Answers after 0 .. BLOCK steps, shape (cell, BLOCK + 1): of r to r, of r to q; of q to q."""

    r_of_r: NDArray[np.float64]
    r_of_q: NDArray[np.float64]
    q_of_q: NDArray[np.float64]


class Readout:
    """The output of networks that differ by their scaling factor only.

    Parameters
    ----------
    network : LifNetwork
    """

    def __init__(self, network: LifNetwork) -> None:
        self._network = network
        self._decay, self._kick = network.decay(), network.kick()
        self._rises = network.parameters.tau_r_s > 0

    @functools.cached_property
    def _kernels(self) -> _Kernels:
        n, network = self._network.n, self._network
        r_of_r, r_of_q, q_of_q = (np.zeros((n, BLOCK + 1)) for _ in range(3))
        r_of_r[:, 0] = q_of_q[:, 0] = 1.0
        for m in range(1, BLOCK + 1):
            r_of_r[:, m] = r_of_r[:, m - 1] * self._decay
            r_of_q[:, m] = (
                r_of_q[:, m - 1] * self._decay + q_of_q[:, m - 1] * network.parameters.dt_s
            )
            q_of_q[:, m] = q_of_q[:, m - 1] * network.rise_decay()
        return _Kernels(r_of_r=r_of_r, r_of_q=r_of_q, q_of_q=q_of_q)

    def outputs(
        self,
        run: NDArray[np.integer],
        cell: NDArray[np.integer],
        step: NDArray[np.integer],
        factors: NDArray[np.float64],
        n_steps: int,
    ) -> NDArray[np.float64]:
        """Return the output after each step, shape (run, step).

        Parameters
        ----------
        run, cell, step : int, shape (spike,)
            Spikes of all runs.
        factors : float64, shape (run,)
            Scaling factor of each run.
        n_steps : int
        """
        n, k = self._network.n, self._kernels
        n_runs, n_blocks = len(factors), -(-n_steps // BLOCK)
        block, offset = np.divmod(np.asarray(step, dtype=np.int64), BLOCK)
        at = (block * n_runs + run) * n + cell
        shape = (n_blocks, n_runs, n)
        weight = self._network.w_out[cell] * self._kick[cell]
        left = BLOCK - 1 - offset  # steps of the block after that of the spike
        if self._rises:
            # What the spikes of a block leave in r and q at its end.
            to_r = _sums(at, self._kick[cell] * k.r_of_q[cell, left], shape)
            to_q = _sums(at, self._kick[cell] * k.q_of_q[cell, left], shape)
            answer, first = k.r_of_q, 1
        else:
            to_r = _sums(at, self._kick[cell] * k.r_of_r[cell, left], shape)
            to_q = np.zeros(shape)
            answer, first = k.r_of_r, 0
        r, q = np.zeros(shape), np.zeros(shape)  # at the start of each block
        for b in range(1, n_blocks):
            r[b] = r[b - 1] * k.r_of_r[:, BLOCK] + q[b - 1] * k.r_of_q[:, BLOCK] + to_r[b - 1]
            q[b] = q[b - 1] * k.q_of_q[:, BLOCK] + to_q[b - 1]
        w_out = self._network.w_out
        out = (r * w_out).reshape(-1, n) @ k.r_of_r[:, 1:]
        if self._rises:
            out += (q * w_out).reshape(-1, n) @ k.r_of_q[:, 1:]
        # Spikes inside a block reach the rest of it.
        count = np.maximum(left + 1 - first, 0)
        spike = np.repeat(np.arange(len(cell)), count)
        since = np.arange(len(spike)) - np.repeat(np.cumsum(count) - count, count) + first
        where = (block * n_runs + run)[spike] * BLOCK + offset[spike] + since
        out += _sums(where, weight[spike] * answer[cell[spike], since], out.shape)
        rows = out.reshape(n_blocks, n_runs, BLOCK).transpose(1, 0, 2).reshape(n_runs, -1)
        return np.asarray(rows[:, :n_steps] / np.asarray(factors)[:, np.newaxis])

    def filtered(
        self, cell: NDArray[np.integer], step: NDArray[np.integer], n_steps: int
    ) -> NDArray[np.float64]:
        """Return the filtered spike trains (Hz) of one run, shape (cell, step)."""
        network = self._network
        spikes = np.zeros((n_steps, network.n))
        spikes[step, cell] = 1.0
        rs = np.zeros((n_steps, network.n))
        r: NDArray[np.float64] = np.zeros(network.n)
        q: NDArray[np.float64] = np.zeros(network.n)
        rise_decay, dt_s = network.rise_decay(), network.parameters.dt_s
        for i in range(n_steps):
            if self._rises:
                r = r * self._decay + q * dt_s
                q = q * rise_decay + spikes[i] * self._kick
            else:
                r = r * self._decay + spikes[i] * self._kick
            rs[i] = r
        return np.ascontiguousarray(rs.T)


def _sums(
    at: NDArray[np.integer], values: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    summed = np.bincount(at, weights=values, minlength=int(np.prod(shape)))
    return summed.reshape(shape).astype(np.float64, copy=False)
