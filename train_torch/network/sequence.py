"""Whole networks over whole sequences: layer after layer, each as one operation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from train_torch.kernels.layer import Cells, EventTable, Keeping, Kernel, LayerSettings, layer
from train_torch.kernels.native import CppKernel, integrate
from train_torch.kernels.readout_constants import ReadoutConstants
from train_torch.kernels.surrogate import Surrogate
from train_torch.network.forward_pass import RECURRENT, ForwardPass, NetworkCall
from train_torch.network.readouts import Readout


def run_layers(
    kernel: Kernel,
    call: NetworkCall,
    starts: Mapping[str, Tensor],
    *,
    cells: Mapping[str, Cells],
    readout: ReadoutConstants,
    surrogate: Surrogate,
    keeping: Keeping,
    window: int = 0,
) -> ForwardPass:
    """Run a network of stacked E-I layers.

    Parameters
    ----------
    kernel : Kernel
    call : NetworkCall
    starts : mapping of str to Tensor, (trial, cell)
        Initial voltages of every population, ``e1``, ``i1``, ``e2`` ...
    cells : mapping of str to cells
        ``e`` and ``i``.
    readout : ReadoutConstants
    surrogate : Surrogate
        Of the output spikes.
    keeping : Keeping
    window : int
        Steps after which the state is detached; 0: never.
    """
    batch, w = call.batch, call.w
    n_layers = sum(name.startswith("e") for name in starts)
    events = EventTable.of(
        batch.as_events().cpu(), n_steps=batch.n_steps, n_trials=batch.n_trials,
        device=w["W_in"].device,
    )  # fmt: skip
    counts: dict[str, Tensor] = {}
    spikes: dict[str, Tensor] = {}
    drive: Tensor | None = None
    lost: list[Tensor] = []
    for k in range(1, n_layers + 1):
        first, last = k == 1, k == n_layers
        target = "W_out" if last else f"W_ff_{k}to{k + 1}"
        settings = LayerSettings(
            exc=cells["e"], inh=cells["i"], n_steps=batch.n_steps,
            v_start_exc=starts[f"e{k}"], v_start_inh=starts.get(f"i{k}"),
            events=events if first else None, external=batch.g_ext_us if first else None,
            bias_us=batch.bias_us if first else 0.0, window=window, keep_spikes=call.keep.spikes,
            keeping=keeping,
        )  # fmt: skip
        run = layer(
            kernel, settings, drive=drive, w_in=w["W_in"] if first else None,
            w_out=None if last and readout.mode == "rate" else w[target],
            **{n.lower(): w.get(f"{n}_{k}") for n in RECURRENT},
        )  # fmt: skip
        drive = run.out
        for name, count, train in (
            (f"e{k}", run.counts_exc, run.spikes_exc), (f"i{k}", run.counts_inh, run.spikes_inh),
        ):  # fmt: skip
            if count is not None:
                counts[name] = count
            if train is not None:
                spikes[name] = train
        lost.append(run.lost_step.min())
    logits = _logits(kernel, counts[f"e{n_layers}"], drive, w, readout, surrogate, window)
    first_lost = int(torch.stack(lost).min())  # here the host waits for a GPU, once
    return ForwardPass(
        logits=logits,
        counts=counts,
        spikes=spikes,
        lost_step=first_lost if first_lost < batch.n_steps else None,
        kernel=kernel.name,
    )


def _logits(
    kernel: Kernel,
    counts: Tensor,
    drive: Tensor | None,
    w: Mapping[str, Tensor],
    readout: ReadoutConstants,
    surrogate: Surrogate,
    window: int,
) -> Tensor:
    bias = w.get("b_out")
    if drive is None:
        logits = counts @ w["W_out"]
        return logits if bias is None else logits + bias
    if isinstance(kernel, CppKernel) and not (readout.kick_bias and bias is not None):
        logits = integrate(drive, readout, slope=surrogate.slope, window=window)
        return logits if bias is None else logits + bias
    integrator = Readout(readout, w["W_out"], bias, surrogate=surrogate)
    for n, kick in enumerate(drive):
        if window and n > 0 and n % window == 0:
            integrator.detach()
        integrator.take(kick)
    return integrator.logits()
