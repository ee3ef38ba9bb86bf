"""Who is connected to whom, and with which weight at the start.

Contacts come from numpy's PCG64 in the order of the published program: a seed gives the published
LL to MON and MON to TS contacts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line import chance
from bridge.lateral_line.params import NetworkParams

Index = NDArray[np.int32]
Array = NDArray[np.float64]

_WEIGHTS, _INHIBITION, _POTENTIALS = range(3)  # chance of the network that is not wiring


@dataclass(frozen=True, kw_only=True, eq=False)
class Wiring:
    """Contacts of one network and its weights and potentials at the start.

    Attributes
    ----------
    ll_mon_i, ll_mon_j, mon_ts_i, mon_ts_j : int32
        Source and target of each synapse; repeated pairs are parallel synapses.
    ll_mon_w_mv, mon_ts_w : float64
        Weights (mV; dimensionless) at the start.
    mon_inh_i, ts_inh_i : int32
        Cells that drive the interneurons.
    v_mon_mv, v_ts_mv : float64
        Potentials at the start.
    """

    ll_mon_i: Index
    ll_mon_j: Index
    mon_ts_i: Index
    mon_ts_j: Index
    ll_mon_w_mv: Array
    mon_ts_w: Array
    mon_inh_i: Index
    ts_inh_i: Index
    v_mon_mv: Array
    v_ts_mv: Array


def draw_wiring(params: NetworkParams) -> Wiring:
    """Return the network of a seed."""
    p = params
    ll_mon_i, ll_mon_j = ll_to_mon(p)
    # By source: an afferent's spike then reaches weights that lie side by side in memory.
    order = np.argsort(ll_mon_i, kind="stable")
    ll_mon_i, ll_mon_j = ll_mon_i[order], ll_mon_j[order]
    mon_ts_i, mon_ts_j = mon_to_ts(p)
    low, width = p.ll_mon_w_mean_mV, p.ll_mon_w_jitter_mV
    if p.ll_mon_use_stdp:
        low, width = p.ll_mon_w_init_mV, p.ll_mon_w_jitter_stdp_mV
    weights = chance.start_rng(p.seed, _WEIGHTS)
    # The jitter lies above the stated weight, not around it: the published program's rule.
    ll_mon_w = low + width * weights.random(len(ll_mon_i))
    mon_ts_w = p.mon_ts_w_init + p.mon_ts_w_jitter * weights.random(len(mon_ts_i))
    inhibition = chance.start_rng(p.seed, _INHIBITION)
    potentials = chance.start_rng(p.seed, _POTENTIALS)
    return Wiring(
        ll_mon_i=ll_mon_i,
        ll_mon_j=ll_mon_j,
        mon_ts_i=mon_ts_i,
        mon_ts_j=mon_ts_j,
        ll_mon_w_mv=ll_mon_w,
        mon_ts_w=mon_ts_w,
        mon_inh_i=_chosen(inhibition, p.n_mon, p.mon_to_global_inh_p),
        ts_inh_i=_chosen(inhibition, p.n_ts, p.ts_to_global_inh_p),
        v_mon_mv=p.el_mV + 2.0 * potentials.random(p.n_mon),
        v_ts_mv=p.el_mV + 2.0 * potentials.random(p.n_ts),
    )


def ll_to_mon(params: NetworkParams) -> tuple[Index, Index]:
    """Return sources and targets of the LL to MON synapses, MON cell by MON cell."""
    p = params
    rng = chance.published_rng(p.seed, chance.LL_MON_CONTACTS)
    if p.ll_to_mon_topography_strength <= 0:
        i, j = np.nonzero(rng.random((p.n_ll, p.n_mon)) < p.p_ll_to_mon)
        return i.astype(np.int32), j.astype(np.int32)
    sources = _contacts(
        rng, p.n_mon, p.n_ll, p.ll_to_mon_in_degree, p.ll_to_mon_topography_strength,
        p.ll_to_mon_sigma, p.topography_sampling,
    )  # fmt: skip
    targets = np.repeat(np.arange(p.n_mon, dtype=np.int32), p.ll_to_mon_in_degree)
    return sources, targets


def mon_to_ts(params: NetworkParams) -> tuple[Index, Index]:
    """Return sources and targets of the MON to TS synapses, MON cell by MON cell."""
    p = params
    targets = _contacts(
        chance.published_rng(p.seed, chance.MON_TS_CONTACTS), p.n_mon, p.n_ts,
        p.mon_to_ts_out_degree, p.mon_to_ts_topography_strength, p.mon_to_ts_sigma,
        p.topography_sampling,
    )  # fmt: skip
    sources = np.repeat(np.arange(p.n_mon, dtype=np.int32), p.mon_to_ts_out_degree)
    return sources, targets


def n_synapses(params: NetworkParams) -> dict[str, int]:
    """Return the number of synapses of each plastic projection: ``ll_mon``, ``mon_ts``."""
    p = params
    of_ll = p.n_mon * p.ll_to_mon_in_degree
    if p.ll_to_mon_topography_strength <= 0:  # each pair by itself
        of_ll = len(ll_to_mon(p)[0])
    return {"ll_mon": of_ll, "mon_ts": p.n_mon * p.mon_to_ts_out_degree}


def lateral_inhibition(n_ts: int, radius: int, peak_mv: float) -> tuple[Index, Index, Array]:
    """Return the synapses of lateral inhibition on the ring of TS cells, and their weights (mV).

    Cells at ring distance d up to `radius` inhibit each other with ``peak (1 - d / radius)``;
    those at exactly `radius` have synapses of weight 0.
    """
    difference = np.abs(np.arange(n_ts)[:, np.newaxis] - np.arange(n_ts)[np.newaxis, :])
    ring = np.minimum(difference, n_ts - difference)
    i, j = np.nonzero((ring > 0) & (ring <= radius))
    weight = peak_mv * (1.0 - ring[i, j] / radius)
    return i.astype(np.int32), j.astype(np.int32), weight


def _contacts(
    rng: np.random.Generator,
    n_cells: int,
    n_others: int,
    degree: int,
    strength: float,
    sigma: float,
    sampling: str,
) -> Index:
    """Return `degree` partners of each cell: some around its place, the others anywhere."""
    found = np.empty((n_cells, degree), dtype=np.int32)
    fraction = min(max(strength, 0.0), 1.0)
    for cell in range(n_cells):
        if sampling == "bernoulli":
            n_topographic = int(rng.binomial(degree, fraction))
        else:
            n_topographic = round(degree * fraction)
        centre = cell / (n_cells - 1) * (n_others - 1)
        row = found[cell]
        if sigma >= n_others:
            row[:n_topographic] = rng.integers(0, n_others, n_topographic)
        else:
            near = np.rint(rng.normal(centre, sigma, n_topographic))
            row[:n_topographic] = np.clip(near, 0, n_others - 1)
        row[n_topographic:] = rng.integers(0, n_others, degree - n_topographic)
        rng.shuffle(row)
    return found.ravel()


def _chosen(rng: np.random.Generator, n: int, probability: float) -> Index:
    return np.flatnonzero(rng.random(n) < probability).astype(np.int32)
