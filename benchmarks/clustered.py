"""Measure clustered networks and their mean field against the plain ways, in CPU seconds.

Question: what do a simulated second, a set of fixed points and a landscape cost, and what would
they cost with a dense eager torch loop, with quadrature of the transfer function, and point by
point? Every baseline is run here, interleaved, medians of several rounds.

Expected: the compiled default network (2000 cells, a million synapses) at least 20 times cheaper
than the torch loop; 50 solves with stability at least 5 times cheaper than with quadrature; the
120 x 120 landscape at least 20 times cheaper than point by point. Takes about ten minutes on a free
core, ``--quick`` under a minute there (fewer rounds, a part of the points, scaled up).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs" / "clustered"


def cpu_s() -> float:
    """Return the CPU seconds of this process and its finished children."""
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def cost(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    begin = cpu_s()
    work()
    return cpu_s() - begin


def torch_second(stager, n_steps: int) -> Callable[[], object]:
    """Return a plain dense eager torch loop of the same network, float32, drawn step by step."""
    import torch

    torch.set_num_threads(1)
    network, init = stager.network, stager.config.init
    plan, dt_s = network.layout, init.delta_t_s

    def each(values):
        return torch.tensor(plan.spread(values), dtype=torch.float32)

    w = torch.tensor(stager.weights().toarray(), dtype=torch.float32)
    tau_m, tau_s = each(network.tau_membrane), each(network.tau_synaptic)
    theta, reset = each(network.threshold), each(network.reset_voltage)
    decay_m, decay_s = torch.exp(-dt_s / tau_m), torch.exp(-dt_s / tau_s)
    gain = tau_s * tau_m / (tau_s - tau_m) * (decay_s - decay_m)
    n_ref = torch.round(each(network.tau_refractory) / dt_s).int()
    jump = each(network.j_ext[0]) / tau_s
    base = each(network.nu_ext[0] * network.c_ext[0]) * dt_s
    extra = each(network.extra_rate_hz * network.c_ext[0]) * dt_s
    noise = torch.distributions.Beta(10.0, 10.0)
    n = plan.n_neurons

    def loop() -> int:
        v, current = torch.zeros(n), torch.zeros(n)
        left = torch.zeros(n, dtype=torch.int32)
        fired = 0
        with torch.no_grad():
            for _ in range(n_steps):
                held = left > 0
                v = torch.where(held, reset, v * decay_m + current * gain)
                current = current * decay_s
                spikes = v >= theta
                v = torch.where(spikes, reset, v)
                left = torch.where(spikes, n_ref, left - held.int())
                counts = torch.poisson(base + extra * noise.sample((n,)))
                current = current + (w @ spikes.float()) / tau_s + jump * counts
                fired += int(spikes.sum())
        return fired

    return loop


def simulation(quick: bool) -> list[dict]:
    """Return rows on the cost of a simulated second of the default network."""
    from studies.clustered import StageSNNSimulation

    stager = StageSNNSimulation(CONFIGS / "default_snn_params.yaml", backend="cpp")
    long_s, short_s = (2.0, 1.0) if quick else (6.0, 1.0)
    n_torch = 100 if quick else 1000
    dt_s = stager.config.init.delta_t_s
    loop = torch_second(stager, n_torch)
    stager.run_events(duration_sec=0.01)  # compiles, where the cache lacks it
    marginal, whole, plain = [], [], []
    for _ in range(2 if quick else 5):
        short = cost(lambda: stager.run_events(duration_sec=short_s))
        long = cost(lambda: stager.run_events(duration_sec=long_s))
        marginal.append((long - short) / (long_s - short_s))
        whole.append(short / short_s)
        plain.append(cost(loop) / (n_torch * dt_s))
    baseline = statistics.median(plain)
    return [
        row("2000 cells", "a further simulated second, C++", marginal, baseline),
        row("2000 cells", "one simulated second with everything (weights, start), C++", whole,
            baseline),
    ]  # fmt: skip


def row(case: str, what: str, values: list[float], baseline: float) -> dict:
    """Return one row: the median against a baseline of the same run."""
    value = statistics.median(values)
    return {"case": case, "what": what, "value": value, "unit": "CPU s", "baseline": baseline,
            "ratio": baseline / value}  # fmt: skip


def quadrature(model) -> Callable[[np.ndarray], np.ndarray]:
    """Return the response by adaptive quadrature, population by population."""
    from scipy.integrate import quad
    from scipy.special import erfcx

    from bridge.mean_field.siegert import FILTER_SHIFT

    shift = FILTER_SHIFT * np.sqrt(model.tau_synaptic / model.tau_membrane)

    def response(nu: np.ndarray) -> np.ndarray:
        mu, sigma = model.equations(nu)
        rates = np.empty(len(mu))
        for i in range(len(mu)):
            low = (model.reset_voltage[i] - mu[i]) / sigma[i] + shift[i]
            high = (model.threshold[i] - mu[i]) / sigma[i] + shift[i]
            integral, _ = quad(lambda z: np.sqrt(np.pi) * erfcx(-z), low, high)
            rates[i] = 1.0 / (model.tau_refractory[i] + model.tau_membrane[i] * integral)
        return rates

    return response


def solves(quick: bool) -> list[dict]:
    """Return a row on 50 solves of the two-cluster network with stability."""
    from scipy.optimize import root

    from bridge.mean_field import random_starts
    from bridge.mean_field.fixed_points import solve_runs
    from studies.clustered import FullMeanFieldStager

    model = FullMeanFieldStager(CONFIGS / "2_cluster_mf.yaml").model
    starts = random_starts(50, 6, np.random.default_rng(0))
    response = quadrature(model)
    n_plain = 5 if quick else 50

    def plain() -> None:
        for start in starts[:n_plain]:
            nu = root(lambda nu: response(np.maximum(nu, 0.0)) - nu, start, method="hybr").x
            base = response(nu)
            jacobian = np.empty((6, 6))
            for j in range(6):
                moved = nu.copy()
                moved[j] += 1e-6
                jacobian[:, j] = (response(moved) - base) / 1e-6
            np.linalg.eigvals(jacobian - np.eye(6))

    solve_runs(model, starts)
    ours, theirs = [], []
    for _ in range(2 if quick else 5):
        ours.append(cost(lambda: solve_runs(model, starts)))
        theirs.append(cost(plain) * 50 / n_plain)
    return [row("2 clusters", "50 solves with stability", ours, statistics.median(theirs))]


def landscape(quick: bool) -> list[dict]:
    """Return rows on the landscape of 120 x 120 points."""
    from scipy.optimize import root

    from bridge.mean_field import reduced_landscape
    from studies.clustered import FullMeanFieldStager

    model = FullMeanFieldStager(CONFIGS / "2_cluster_mf.yaml").model
    axis = np.arange(120) * 0.5
    response = quadrature(model)
    rng = np.random.default_rng(1)
    n_points = 30 if quick else 300
    points = rng.integers(0, 120, size=(n_points, 2))

    def plain() -> None:
        for i, j in points:
            full = np.full(6, 1.0)
            full[:2] = axis[i], axis[j]

            def gap(rest: np.ndarray, full: np.ndarray = full) -> np.ndarray:
                full[2:] = np.maximum(rest, 0.0)
                return response(full)[2:] - rest

            root(gap, np.full(4, 5.0), method="hybr")
            response(full)

    def exact() -> None:
        for i, j in points:
            full = np.full((1, 6), 5.0)
            full[0, :2] = axis[i], axis[j]
            model.effective_response([0, 1], full)

    ours, by_quad, one_by_one = [], [], []
    for _ in range(1 if quick else 3):
        ours.append(cost(lambda: reduced_landscape(model, [0, 1], [axis, axis])))
        by_quad.append(cost(plain) * 14400 / n_points)
        one_by_one.append(cost(exact) * 14400 / n_points)
    return [
        row("120 x 120", "landscape, against quadrature point by point", ours,
            statistics.median(by_quad)),
        row("120 x 120", "landscape, against our own solver point by point", ours,
            statistics.median(one_by_one)),
    ]  # fmt: skip


def main() -> None:
    """Measure, print a table, and write the rows where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer points")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--only", nargs="+", choices=("simulation", "solves", "landscape"))
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'case':12}{'what':62}{'CPU s':>9}{'baseline':>10}{'ratio':>8}")
    rows = []
    begin = time.perf_counter()
    for part in (solves, landscape, simulation):
        if options.only and part.__name__ not in options.only:
            continue
        for one in part(options.quick):
            rows.append(one)
            print(f"{one['case']:12}{one['what']:62}{one['value']:9.3f}{one['baseline']:10.2f}"
                  f"{one['ratio']:8.1f}", flush=True)  # fmt: skip
    print(f"took {time.perf_counter() - begin:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
