"""Measure what a simulated second of a PING network costs on each target and in eager torch.

Expected: the compiled program is fastest, numpy needs no compiler and is slower by one order of
magnitude, the eager loop by about two. Takes 6 to 10 minutes (cython compiles for the first time),
``--quick`` under a minute. Every round runs each case once (interleaved); medians are shown.

Network: 784 Poisson channels at 25 Hz (5 % dense), N_E 512 or 1024 E cells, a quarter as many I
cells, dt 0.1 ms, one trial, float64 unless said otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from eager_loop import eager_loop

from bridge.network.spec import PingSpec, ei_layer
from bridge.network.synthetic import synthetic_spikes
from bridge.network.weights import DrawRule, WeightDraw, draw_weights
from sim_brian.engine import standalone, toolchain
from sim_brian.engine.program import EngineOptions, Program
from sim_brian.ping.run import make_model

DT_MS = 0.1
N_IN = 784


def network(n_exc: int, t_ms: float):
    """Return spec, weights and stimulus of the benchmark."""
    spec = PingSpec(n_in=N_IN, layers=(ei_layer(n_exc),))
    draw = WeightDraw(
        w_in=DrawRule(1.2, 0.12, 0.95), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2)
    )
    stimulus = synthetic_spikes(
        N_IN, rate_hz=25.0, overdrive=1.0, dt_ms=DT_MS, n_steps=round(t_ms / DT_MS), n_trials=1,
        seed=42,
    )  # fmt: skip
    return spec, draw_weights(spec, draw, seed=42), stimulus


def cases(n_exc: int, t_ms: float, targets: list[str], torch_types: list[str]):
    """Return functions by name that run the network once and give (run seconds, E spikes)."""
    parts = network(n_exc, t_ms)
    model = make_model(*parts, seed=42, record_traces=False)
    found = {}
    for target in targets:
        program = Program(model, target, EngineOptions(target=target))
        program.run()  # the first run of cython compiles

        def brian(program=program):
            raw = program.run()
            return raw.run_s, len(raw.spikes["e1"][0])

        found[f"brian2 {target}"] = brian
    for dtype in torch_types:
        loop = eager_loop(*parts, getattr(torch, dtype))

        def torch_run(loop=loop):
            begin = time.perf_counter()
            spikes, _ = loop()
            return time.perf_counter() - begin, int(torch.cat(spikes).sum())

        found[f"torch eager {dtype}"] = torch_run
    return found


def compile_costs(n_exc: int) -> dict[str, tuple[float, float]]:
    """Return (wall, CPU) seconds of a first compilation: files put together, and as generated."""
    model = make_model(*network(n_exc, 100.0), seed=42, record_traces=False)
    found = {}
    plain = standalone.merge
    for name, merge in (("put together", plain), ("as generated", lambda *a, **b: None)):
        with tempfile.TemporaryDirectory() as folder:
            before = os.environ.get("PINGBRIDGE_CACHE_DIR")
            os.environ["PINGBRIDGE_CACHE_DIR"] = folder
            standalone.merge = merge
            begin, cpu = time.perf_counter(), os.times()
            try:
                Program(model, "cpp", EngineOptions(target="cpp")).close()
            finally:
                standalone.merge = plain
                del os.environ["PINGBRIDGE_CACHE_DIR"]
                if before is not None:
                    os.environ["PINGBRIDGE_CACHE_DIR"] = before
            after = os.times()
            children = after.children_user - cpu.children_user
            children += after.children_system - cpu.children_system
            found[name] = (time.perf_counter() - begin, children)
    return found


def main() -> None:
    """Measure, print a table, and write the rows where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one size, short trial, no cython")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sizes = (512,) if options.quick else (512, 1024)
    t_ms = 100.0 if options.quick else 600.0
    wanted = ["numpy", "cpp"] if options.quick else ["numpy", "cython", "cpp"]
    targets = [t for t in wanted if toolchain.missing_for(t) is None]
    rounds = 3 if options.quick else options.rounds
    rows = []
    for n_exc in sizes:
        runs = cases(n_exc, t_ms, targets, ["float32", "float64"])
        times: dict[str, list[float]] = {name: [] for name in runs}
        spikes = {}
        for _ in range(rounds):
            for name, run in runs.items():
                seconds, spikes[name] = run()
                times[name].append(seconds / (t_ms / 1000.0))
        baseline = statistics.median(times["torch eager float64"])
        print(f"\nN_E {n_exc}, N_I {n_exc // 4}, {t_ms:g} ms, {rounds} rounds")
        print(f"{'':24}{'s per simulated s':>18}{'faster than torch f64':>24}{'E spikes':>10}")
        for name, measured in times.items():
            value = statistics.median(measured)
            print(f"{name:24}{value:18.3f}{baseline / value:23.1f}x{spikes[name]:10d}")
            rows.append({
                "case": f"N_E {n_exc}", "what": name, "value": value,
                "unit": "s per simulated s", "baseline": baseline, "ratio": baseline / value,
            })  # fmt: skip
        same = {spikes[n] for n in spikes if "float32" not in n}
        assert len(same) == 1, f"float64 runs differ: {spikes}"
    if "cpp" in targets:
        costs = compile_costs(sizes[0])
        base = costs["as generated"][1]
        print("\ncompiling the C++ program from an empty cache")
        for name, (wall, cpu) in costs.items():
            print(f"{name:24}{wall:14.1f} s wall{cpu:10.1f} s CPU{base / cpu:8.1f}x")
            rows.append({
                "case": "compile", "what": name, "value": cpu, "unit": "CPU s",
                "baseline": base, "ratio": base / cpu,
            })  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
