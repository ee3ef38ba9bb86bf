"""Simulated rates against the mean field over a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridge.mean_field.uniform_states import active_states, uniform_states
from scope.measure.attractors.analyzer import Analyzer
from scope.measure.attractors.recordings import SpikeEvents
from studies.clustered.stage_mean_field import FullMeanFieldStager
from studies.clustered.stage_snn import StageSNNSimulation

KINDS = ("e", "e_bg", "i", "i_bg")
SEPARATED = 3.5
"""Clusters count as switching where active and inactive rates are so far apart (see
:meth:`Analyzer.get_activity_summary`; one Gaussian cut in two has 2.65)."""


def measure_network(
    tree: Mapping[str, Any], seed: int, *, duration_s: float | None, backend: str,
    arousal_noise: str, analysis: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Run a network once and return its mean rates and what its clusters do.

    Parameters
    ----------
    tree : mapping
        Configuration.
    analysis : mapping
        Settings of :class:`Analyzer`.
    """
    stager = StageSNNSimulation(
        dict(tree), random_seed=seed, backend=backend, arousal_noise=arousal_noise
    )
    run = stager.run_events(duration_sec=duration_s)
    events = SpikeEvents(run.step, run.neuron, run.n_steps, run.n_neurons)
    q = stager.network.layout.n_clusters
    settings = {"n_excitatory_clusters": q, **analysis}
    analyzer = Analyzer(events, stager.clusters, dt=run.dt_s, **settings)
    mean = analyzer.get_mean_rates()
    sizes = stager.network.layout.sizes[: len(mean)]
    return {
        **kind_rates(np.pad(mean, (0, 2 * q + 2 - len(mean))), q, sizes=np.pad(
            sizes, (0, 2 * q + 2 - len(sizes)))),
        "n_states": analyzer.get_num_states(),
        "n_occurrences": len(analyzer.occurrences),
        "mean_life_ms": analyzer.get_mean_lifespan(),
        **analyzer.get_activity_summary(),
        **{f"active_fraction_{k}": float(share)
           for k, share in enumerate(analyzer.get_active_fractions()[:q])},
    }  # fmt: skip


def kind_rates(rates_hz: Any, q: int, *, sizes: Any) -> dict[str, float | None]:
    """Return the mean rate of E clusters, E background, I clusters, I background; None for none."""
    found: dict[str, float | None] = {}
    parts = (slice(0, q), slice(q, q + 1), slice(q + 1, 2 * q + 1), slice(2 * q + 1, 2 * q + 2))
    for name, part in zip(KINDS, parts, strict=True):
        there = np.sum(sizes[part]) > 0
        found[f"{name}_hz"] = float(np.mean(rates_hz[part])) if there else None
    return found


def mean_over_runs(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of every number over runs; None where no run has it."""
    found: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows if row[name] is not None and np.isfinite(row[name])]
        found[name] = float(np.mean(values)) if values else None
    return found


def theory_row(tree: Mapping[str, Any], n_active: float | None) -> dict[str, Any]:
    """Return what the mean field says of a configuration.

    Parameters
    ----------
    n_active : float or None
        Active clusters of the simulation: the stable state with that many (rounded) is sought.
    """
    stager = FullMeanFieldStager(dict(tree))
    model, q = stager.model, stager.network.layout.n_clusters
    sizes = stager.network.layout.sizes
    uniform = uniform_states(model)
    row: dict[str, Any] = {"uniform_stable": None}
    rates: dict[str, Any] = dict.fromkeys([f"{kind}_hz" for kind in KINDS])
    if uniform:
        rates = kind_rates(uniform[0].nu, q, sizes=sizes)
        row["uniform_stable"] = uniform[0].stable
    row |= {f"{name.removesuffix('_hz')}_mf_hz": value for name, value in rates.items()}
    row |= {"active_mf_hz": None, "inactive_mf_hz": None, "n_active_mf": None}
    k = None if n_active is None else round(n_active)
    if k is not None and 1 <= k < q:
        stable = [one for one in active_states(model, k) if one.stable]
        if stable:
            row |= {
                "active_mf_hz": float(stable[0].nu[:k].mean()),
                "inactive_mf_hz": float(stable[0].nu[k:q].mean()),
                "n_active_mf": k,
            }
    return row


def compared_row(value: float, simulated: Mapping[str, Any], tree: Mapping[str, Any]) -> dict:
    """Return one row of the comparison: simulation, theory, and their differences in percent."""
    apart = simulated["separation"] is not None and simulated["separation"] >= SEPARATED
    theory = theory_row(tree, simulated["n_active"] if apart else None)
    row: dict[str, Any] = {"value": value}
    row |= {f"{kind}_sim_hz": simulated[f"{kind}_hz"] for kind in KINDS}
    row |= {
        "active_sim_hz": simulated["active_hz"] if apart else None,
        "inactive_sim_hz": simulated["inactive_hz"] if apart else None,
        "n_active_sim": simulated["n_active"] if apart else None,
        "on_time_ms": simulated["on_time_ms"] if apart else None,
        "separation": simulated["separation"],
    }
    row |= theory
    for kind in (*KINDS, "active", "inactive"):
        sim, mf = row[f"{kind}_sim_hz"], row[f"{kind}_mf_hz"]
        row[f"{kind}_difference_percent"] = 100.0 * (sim / mf - 1.0) if sim and mf else None
    return row
