"""From options, input and loaded weights to a network spec: who decides which size."""

from __future__ import annotations

import math

from bridge.formats.weight_files import NetworkSizes
from bridge.network.spec import (
    EXC_PER_INH,
    CubaSpec,
    LayerSpec,
    NetworkSpec,
    PingSpec,
    ReadoutSpec,
    SynapseSpec,
)
from bridge.runs.groups import NetworkOptions
from bridge.runs.resolve import Resolved
from bridge.runs.stimuli import StimulusPlan

SYNTHETIC_HIDDEN = 1024
"""E cells for synthetic input where --n-hidden is not given (Source: pinglab)."""


def make_spec(
    resolved: Resolved, plan: StimulusPlan, sizes: NetworkSizes | None, readout: str
) -> NetworkSpec:
    """Return the network that the options describe, with the sizes that input and weights decide.

    Parameters
    ----------
    resolved : Resolved
    plan : StimulusPlan
        Decides input channels, classes, and the default hidden size.
    sizes : NetworkSizes or None
        Of loaded weights, which flags may repeat but not contradict.
    readout : str

    Raises
    ------
    ValueError
        If flags, input and weights contradict each other.
    """
    network = resolved[NetworkOptions]
    hidden = _hidden_sizes(resolved, plan, sizes)
    n_in = sizes.n_in if sizes else (plan.n_in or hidden[0])
    n_classes = sizes.n_classes if sizes else plan.n_classes
    if plan.n_in is not None and n_in != plan.n_in:
        raise ValueError(
            f"the input has {plan.n_in} channels, but W_in of the weights has {n_in} rows"
        )
    if sizes is None and plan.kind == "synthetic-conductance":
        n_in = 1  # no spikes: W_in is a row of zeros
    ei_layers = _ei_layers(network, len(hidden))
    pools = _inhibitory_pools(resolved, hidden, ei_layers, sizes)
    if network.model != "ping":
        return CubaSpec(
            n_in=n_in,
            n_exc=hidden[0],
            n_inh=0 if network.model == "cuba-noping" else pools[0],
            n_classes=n_classes,
            tau_mem_ms=network.tau_mem_ms or CubaSpec.tau_mem_ms,
            tau_out_ms=network.readout_tau_out_ms or CubaSpec.tau_out_ms,
            dales_law=network.dales_law,
        )
    defaults = ReadoutSpec()
    return PingSpec(
        n_in=n_in,
        layers=tuple(LayerSpec(n_exc=e, n_inh=i) for e, i in zip(hidden, pools, strict=True)),
        n_classes=n_classes,
        synapses=SynapseSpec(
            tau_ampa_ms=network.tau_syn_ms,
            tau_gaba_ms=network.tau_gaba_ms,
            order=network.synapse_order,  # type: ignore[arg-type]  # choices of the option
        ),
        readout=ReadoutSpec(
            mode=readout,  # type: ignore[arg-type]  # choices of the option
            tau_li_ms=network.tau_mem_ms or defaults.tau_li_ms,
            tau_out_ms=network.readout_tau_out_ms or defaults.tau_out_ms,
        ),
        dales_law=network.dales_law,
        start=network.v_init,  # type: ignore[arg-type]  # choices of the option
    )


def _hidden_sizes(
    resolved: Resolved, plan: StimulusPlan, sizes: NetworkSizes | None
) -> tuple[int, ...]:
    asked = resolved[NetworkOptions].n_hidden
    if sizes is not None:
        if asked is not None and tuple(asked) != tuple(sizes.hidden_sizes):
            raise ValueError(
                f"--n-hidden {' '.join(map(str, asked))} contradicts the weights, whose layers "
                f"have {' '.join(map(str, sizes.hidden_sizes))} E cells"
            )
        return tuple(sizes.hidden_sizes)
    if asked is not None:
        return asked
    return (plan.default_hidden or SYNTHETIC_HIDDEN,)


def _ei_layers(network: NetworkOptions, n_layers: int) -> tuple[int, ...]:
    if network.ei_layers is None:
        return tuple(range(1, n_layers + 1))
    for layer in network.ei_layers:
        if layer > n_layers:
            raise ValueError(
                f"--ei-layers {layer}: the network has {n_layers} hidden layer"
                f"{'s' if n_layers > 1 else ''}"
            )
    return tuple(sorted(set(network.ei_layers)))


def _inhibitory_pools(
    resolved: Resolved,
    hidden: tuple[int, ...],
    ei_layers: tuple[int, ...],
    sizes: NetworkSizes | None,
) -> list[int]:
    """Return the I cells of each layer, 0 where it has no E-I structure."""
    asked = resolved[NetworkOptions].n_inh
    if asked is not None and len(asked) not in (1, len(ei_layers)):
        raise ValueError(
            f"--n-inh gives {len(asked)} sizes for {len(ei_layers)} E-I layers; give one, or one "
            "for each"
        )
    pools = [0] * len(hidden)
    for k, layer in enumerate(ei_layers):
        held = sizes.n_inh[layer - 1] if sizes else 0
        wanted = asked[k if len(asked) > 1 else 0] if asked is not None else None
        if held and wanted is not None and wanted != held:
            raise ValueError(f"--n-inh {wanted} contradicts the weights, which have {held} I cells")
        pools[layer - 1] = held or wanted or max(1, hidden[layer - 1] // EXC_PER_INH)
    if sizes is not None:
        for k, held in enumerate(sizes.n_inh):
            if held and not pools[k]:
                raise ValueError(
                    f"--ei-layers leaves out layer {k + 1}, but the weights have {held} I cells "
                    "there"
                )
    return pools


MAX_WEIGHTS = 1_000_000_000
"""Entries of all matrices together (8 GB)."""
MAX_CELLS = 50_000_000
"""Cells of all trials together."""


def check_size(spec: NetworkSpec, n_trials: int) -> None:
    """Refuse a network that no memory holds, before anything is allocated.

    Raises
    ------
    ValueError
        Naming the size and the limit.
    """
    n_weights = sum(math.prod(shape) for shape in spec.matrix_shapes.values())
    if n_weights > MAX_WEIGHTS:
        raise ValueError(
            f"this network has {n_weights:.3g} weights; at most {MAX_WEIGHTS:.3g} are allowed "
            "(use a smaller --n-hidden)"
        )
    n_cells = n_trials * (spec.n_in + sum(spec.populations.values()))
    if n_cells > MAX_CELLS:
        raise ValueError(
            f"{n_trials} trials of this network are {n_cells:.3g} cells; at most {MAX_CELLS:.3g} "
            "are allowed (use fewer --trials)"
        )
