"""Hold every network against its twin: Brian2 on each target, torch in every kernel.

Expected: in float64 every spike is the same; in float32 a few trials part where rounding puts a
voltage on the other side of threshold. Takes about half an hour (each network is compiled, cython
for the first time), ``--quick`` about a minute.

Networks: `ping` with one layer (64 E, 16 I) and two (64 and 48 E), with and without loop, in both
synapse orders, `cuba-ping`, `cuba-noping`. Weights: drawn, and trained for a few steps on digits
(recurrent ones too). Input: four digits, 600 ms, the same event times binned at dt 0.05, 0.1, 0.25,
0.5 and 1 ms. A larger network (784 channels, 512 E, 128 I) runs at dt 0.1 with five seeds.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from bridge.crosscheck import compare
from bridge.divergence import explain
from bridge.network.event_times import bin_events, window_events
from bridge.network.spec import CubaSpec, LayerSpec, PingSpec, SynapseSpec, ei_layer
from bridge.network.steps import count_steps
from bridge.network.synthetic import synthetic_spikes
from bridge.network.weights import CUBA_DRAW, DrawRule, WeightDraw, draw_weights
from sim_brian.engine import toolchain
from sim_brian.engine.program import EngineOptions
from sim_brian.ping import run as brian
from train_torch.kernels.library import why_missing
from train_torch.network import simulate as mirror
from train_torch.network.networks import Learning, build_network

DT_MS = (0.05, 0.1, 0.25, 0.5, 1.0)
N_DIGITS = 4
REFERENCE = "numpy"
LARGE = "ping, 784 channels, 512 E, 128 I"
TORCH = ["float64 eager", "float64 function", "float64 cpp", "float32 eager", "float32 cpp"]


def digits():
    """Return pixels (sample, channel) in 0 to 1 and labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data / 16.0, data.target


def event_input(dt_ms: float, t_ms: float):
    """Return four digits as the same events on any grid, three times denser from 200 to 300 ms."""
    pixels, _ = digits()
    drawn = [
        window_events(image, rate_hz=60.0, overdrive=3.0, t_ms=t_ms, seed=1000 * k)
        for k, image in enumerate(pixels[:N_DIGITS])
    ]
    return bin_events(
        np.concatenate([channel for channel, _ in drawn]),
        np.concatenate([times for _, times in drawn]),
        dt_ms=dt_ms, n_steps=count_steps(t_ms, dt_ms), n_in=64, n_trials=N_DIGITS,
        trial=np.repeat(np.arange(N_DIGITS), [len(times) for _, times in drawn]),
    )  # fmt: skip


def networks():
    """Return name, spec and drawn weights of every network."""
    draw = WeightDraw(
        w_in=DrawRule(1.8, 0.4, 0.5), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2),
        w_ff=DrawRule(5.1, 3.8),
    )  # fmt: skip
    for sizes in ((64,), (64, 48)):
        for loop in (True, False):
            for order in ("decay-add", "kick-decay"):
                layers = tuple(ei_layer(n) if loop else LayerSpec(n_exc=n) for n in sizes)
                spec = PingSpec(n_in=64, layers=layers, synapses=SynapseSpec(order=order))
                name = f"ping, {len(sizes)} layer{'s' if len(sizes) > 1 else ''}, "
                name += f"{'loop' if loop else 'no loop'}, {order}"
                yield name, spec, draw_weights(spec, draw, seed=3)
    spec = CubaSpec(n_in=64, n_exc=64, n_inh=16)
    yield "cuba-ping", spec, draw_weights(spec, CUBA_DRAW, seed=3)
    spec = CubaSpec(n_in=64, n_exc=64, n_inh=0, dales_law=False)
    yield "cuba-noping", spec, draw_weights(spec, CUBA_DRAW, seed=3)


def trained(spec, weights, *, n_steps: int):
    """Return the weights after a few steps of Adam on digits, recurrent ones included."""
    pixels, labels = digits()
    rng = np.random.default_rng(0)
    learning = Learning(v_grad_dampen=80.0, trainable=frozenset({"W_ee", "W_ei", "W_ie"}))
    network = build_network(spec, weights, dt_ms=1.0, learning=learning).train()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(n_steps):
        some = rng.choice(len(pixels), 32, replace=False)
        spikes = rng.random((100, 32, 64)) < 0.06 * pixels[some]
        optimiser.zero_grad()
        logits = network(torch.from_numpy(spikes).float()).logits
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[some])).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        network.project()
    assert not torch.equal(network.matrix("W_in"), torch.tensor(weights["W_in"]).float())
    return network.weights()


def runners(spec, weights, targets: list[str], torch_runs: list[str]):
    """Return functions that run a network on a stimulus, by name, the reference first."""

    def on_brian(target, stimulus, traces):
        engine = EngineOptions(target=target)
        return brian.simulate(spec, weights, stimulus, record_traces=traces, engine=engine)[0]

    def on_torch(dtype, kernel, stimulus, traces):
        return mirror.simulate(
            spec, weights, stimulus, record_traces=traces, dtype=dtype,
            kernel="eager" if traces else kernel,
        )[0]  # fmt: skip

    found = {target: functools.partial(on_brian, target) for target in targets}
    for name in torch_runs:
        dtype, kernel = name.split()
        if kernel == "cpp" and why_missing():
            continue  # there are none
        found[name] = functools.partial(on_torch, dtype, kernel)
    return found


def held_against(spec, weights, stimulus, targets, torch_runs):
    """Return the report of every runner against the reference."""
    run = runners(spec, weights, targets, torch_runs)
    first = run[REFERENCE](stimulus, False)
    reports = {}
    for name, runner in run.items():
        if name == REFERENCE:
            continue
        recording = runner(stimulus, False)
        report = compare(spec, first, recording, window_ms=1.0)
        reports[name] = explain(
            report, spec, weights, stimulus, (first, recording), (run[REFERENCE], runner)
        )
    return reports


def main() -> int:
    """Compare, print the tables, and write the rows where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="four networks, dt 0.5 and 1 ms, one compiled"
    )
    parser.add_argument("--only", default="", help="networks whose name holds this text")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    wanted = ["numpy", "cpp"] if options.quick else ["numpy", "cython", "cpp"]
    targets = [t for t in wanted if toolchain.missing_for(t) is None]
    if why_missing():
        print(f"without compiled loops: {why_missing()}")
        TORCH[:] = [name for name in TORCH if "eager" in name]
    began = time.perf_counter()
    rows: list[dict] = []
    gathered: dict[str, list] = {}
    for k, (name, spec, drawn) in enumerate(networks()):
        if (options.quick and k not in (0, 5, 8, 9)) or options.only not in name:
            continue
        learned = trained(spec, drawn, n_steps=5 if options.quick else 20)
        reports: dict[str, list] = {}
        for weights in (drawn, learned):
            for dt_ms in (0.5, 1.0) if options.quick else DT_MS:
                stimulus = event_input(dt_ms, 300.0 if options.quick else 600.0)
                first = weights is drawn
                # The slow ones do not run everywhere: cython and eager loops.
                skipped = set() if first and dt_ms in (0.1, 1.0) else {"cython"}
                if options.quick and not (first and k == 0):
                    skipped.add("cpp")
                on_brian = [t for t in targets if t not in skipped]
                everywhere = isinstance(spec, CubaSpec) or (first and dt_ms >= 0.25)
                on_torch = [t for t in TORCH if everywhere or "eager" not in t]
                found = held_against(spec, weights, stimulus, on_brian, on_torch)
                for runner, report in found.items():
                    reports.setdefault(runner, []).append(report)
                    gathered.setdefault(runner, []).append(report)
        rows += show(name, reports)
        print(f"{'':40}({time.perf_counter() - began:.0f} s)", flush=True)
    if not options.quick and options.only in LARGE:
        spec = PingSpec(n_in=784, layers=(ei_layer(512),))
        draw = WeightDraw(
            w_in=DrawRule(1.2, 0.12, 0.95), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2)
        )
        reports = {}
        for seed in range(5):
            stimulus = synthetic_spikes(
                784, rate_hz=25.0, overdrive=1.0, dt_ms=0.1, n_steps=6000, n_trials=1, seed=seed
            )
            weights = draw_weights(spec, draw, seed=seed)
            for runner, report in held_against(spec, weights, stimulus, targets, TORCH).items():
                reports.setdefault(runner, []).append(report)
                gathered.setdefault(runner, []).append(report)
        rows += show(LARGE, reports)
    print("\nall together")
    rows += show("all", gathered)
    for kind in ("float32 eager", "float32 cpp"):
        statistics_of_float32(kind, gathered.get(kind, []))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    failed = [r for name, rs in gathered.items() for r in rs if not r.passed]
    for report in failed:
        print("\n".join(report.lines()), file=sys.stderr)
    return 1 if failed else 0


def show(case: str, reports: dict[str, list]) -> list[dict]:
    """Print one line for each runner, and return the rows."""
    rows = []
    for name, found in reports.items():
        total = sum(p.n_spikes[0] for r in found for p in r.populations.values())
        alone = sum(sum(p.n_alone) for r in found for p in r.populations.values())
        same = sum(r.identical for r in found)
        logits = max(r.logits_difference for r in found)
        parted = [step for r in found for step in r.first_steps]
        unexplained = sum(not r.passed for r in found)
        print(
            f"{case:36} {name:18} {same:3d} of {len(found):3d} identical, {total:7d} spikes, "
            f"{alone:5d} differ, {len(parted) - parted.count(None):3d} of {len(parted):3d} trials "
            f"part, {unexplained} unexplained, logits {logits:.1g}"
        )
        rows.append({
            "case": case, "what": f"spikes that differ, {name}", "value": alone, "unit": "spikes",
            "baseline": total, "ratio": 1.0 - alone / (2 * total),
        })  # fmt: skip
    return rows


def statistics_of_float32(kind: str, reports: list) -> None:
    """Print how float32 departs."""
    first = [d for r in reports for d in r.first]
    explained = [max(map(abs, d.above_threshold)) for d in first if d.above_threshold]
    steps = [s * r.dt_ms for r in reports for s in r.first_steps if s is not None]
    apart = [r for r in reports if not r.identical]
    if not apart:
        print(f"{kind}: every spike of {len(reports)} runs is the same")
        return
    inside = [p.coincidence_in_window for r in apart for p in r.populations.values()]
    exact = [p.coincidence for r in apart for p in r.populations.values()]
    rates = [
        abs(p.rate_hz[0] - p.rate_hz[1]) / max(p.rate_hz[0], 1e-9)
        for r in apart for p in r.populations.values()
    ]  # fmt: skip
    print(
        f"{kind}, {len(apart)} of {len(reports)} runs with a difference: trials part after "
        f"{min(steps):.1f} ms at the earliest, median {statistics.median(steps):.1f} ms\n"
        f"  distance from threshold there: median {statistics.median(explained):.2g}, largest "
        f"{max(explained):.2g} (mV, or 1)\n"
        f"  populations of those runs: coincident in the same step {min(exact):.2%} at least, "
        f"median {statistics.median(exact):.2%}; within 1 ms {min(inside):.2%} at least, median "
        f"{statistics.median(inside):.2%}; rates differ by at most {max(rates):.2%}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
