"""Brian2 and torch on a GPU against the same machine's CPU: builds, checks, times, prints a table.

``python benchmarks/gpu.py`` needs an NVIDIA GPU, nvcc (CUDA 12 or 13) and
``pip install 'pingbridge[cuda]'``; it takes less than ten minutes, most of them for compiling.

Checks: in float64 the spikes of every network are those of the C++ program.
Times: a scan of tau_GABA over 1, 30 and 300 copies of a network of 512 E and 128 I cells (784
channels, 600 ms at dt 0.1 ms), all copies in one simulation on the GPU, one process for each core
on the CPU; and a training step of torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridge.network.spec import CubaSpec, NetworkSpec, PingSpec, SynapseSpec, ei_layer
from bridge.network.stimulus import Stimulus
from bridge.network.weights import CUBA_DRAW, DrawRule, WeightDraw, Weights, draw_weights
from bridge.recording import Recording
from sim_brian.engine.cuda import toolkit as cuda_toolkit
from sim_brian.engine.program import EngineOptions
from sim_brian.ping.run import simulate
from sim_brian.ping.scan import scan

CPP, CUDA = EngineOptions(target="cpp"), EngineOptions(target="cuda")
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a point of the scan is made of."""

    spec: NetworkSpec
    weights: Weights
    stimulus: Stimulus
    seed: int = 42


def ping(n_exc: int, n_in: int, t_ms: float, *, layers: int = 1) -> Parts:
    """Return a network in gamma; `layers` stacked ones of equal size."""
    spec = PingSpec(n_in=n_in, layers=tuple(ei_layer(n_exc) for _ in range(layers)))
    draw = WeightDraw(
        w_in=DrawRule(0.3, 0.06, 0.95), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2),
        w_ff=DrawRule(5.0, 3.0),
    )  # fmt: skip
    return Parts(spec, draw_weights(spec, draw, seed=42), poisson(n_in, t_ms))


def cuba(n_exc: int, n_in: int, t_ms: float) -> Parts:
    """Return the current-based network."""
    spec = CubaSpec(n_in=n_in, n_exc=n_exc, n_inh=n_exc // 4)
    return Parts(spec, draw_weights(spec, CUBA_DRAW, seed=42), poisson(n_in, t_ms))


def poisson(n_in: int, t_ms: float, *, rate_hz: float = 50.0, dt_ms: float = 0.1) -> Stimulus:
    """Return input spikes."""
    n_steps = round(t_ms / dt_ms)
    rng = np.random.default_rng(7)
    return Stimulus.from_raster(
        rng.random((1, n_steps, n_in), dtype=np.float32) < rate_hz * dt_ms / 1000.0, dt_ms=dt_ms
    )


def at(parts: Parts, values: Mapping[str, float]) -> Parts:
    """Return the parts at a value of tau_GABA."""
    assert isinstance(parts.spec, PingSpec)
    synapses = SynapseSpec(tau_gaba_ms=values["tau_gaba"])
    return dataclasses.replace(parts, spec=dataclasses.replace(parts.spec, synapses=synapses))


def keep(parts: Parts, recording: Recording) -> dict[str, np.ndarray]:
    """Return the spikes: what is compared."""
    return {name: rows for name, rows in recording.spikes.items()}


def timed(do: Callable[[], Any]) -> tuple[float, Any]:
    """Return wall seconds and what a function returned."""
    begin = time.perf_counter()
    found = do()
    return time.perf_counter() - begin, found


def check(name: str, parts: Parts) -> tuple[bool, int]:
    """Return whether the GPU's spikes are those of the C++ program, and how many they are."""
    one, _ = simulate(parts.spec, parts.weights, parts.stimulus, engine=CPP)
    seconds, (other, _) = timed(
        lambda: simulate(parts.spec, parts.weights, parts.stimulus, engine=CUDA)
    )
    n = sum(len(rows) for rows in one.spikes.values())
    same = all(np.array_equal(rows, other.spikes[p]) for p, rows in one.spikes.items())
    verdict = "identical" if same else "DIFFERENT"
    print(f"  {name:<28} {n:>9} spikes, {verdict} (ready and run in {seconds:.0f} s)", flush=True)
    return same, n


def run_scan(parts: Parts, n: int, engine: EngineOptions, batch: int) -> list[dict[str, Any]]:
    """Return the spikes of every point of a scan of `n` values."""
    points = [{"tau_gaba": tau} for tau in np.linspace(5.0, 20.0, n)]
    found = scan(functools.partial(at, parts), points, measure=keep, engine=engine, batch=batch)
    return [dict(result) for _, result in found]


def scans(parts: Parts, sizes: list[int], rounds: int) -> tuple[list[Row], bool]:
    """Return rows of the table, and whether all spikes are the same."""
    rows, identical = [], True
    for n in sizes:
        building, _ = timed(lambda n=n: run_scan(parts, n, CUDA, n))  # compiles, once
        run_scan(parts, 1, CPP, 1)
        on_gpu, on_cpu = [], []
        for _ in range(rounds if n < 100 else 1):
            seconds, gpu = timed(lambda n=n: run_scan(parts, n, CUDA, n))
            on_gpu.append(seconds)
            seconds, cpu = timed(lambda n=n: run_scan(parts, n, CPP, 1))
            on_cpu.append(seconds)
        same = all(
            np.array_equal(a[p], b[p])
            for a, b in zip(gpu, cpu, strict=True) for p in parts.spec.populations
        )  # fmt: skip
        identical &= same
        value, baseline = statistics.median(on_gpu), statistics.median(on_cpu)
        rows.append(row(f"scan of {n}", "Brian2 cuda, one batch", value, baseline))
        rows[-1]["first_s"], rows[-1]["identical"] = building, same
        show(rows[-1])
    return rows, identical


def training(n_exc: int, n_in: int, n_steps: int, batches: list[int], rounds: int) -> list[Row]:
    """Return rows of the table: forward, backward and update on either device, float32."""
    import torch

    from train_torch.network.networks import Learning, build_network

    if not torch.cuda.is_available():
        print(f"  torch {torch.__version__} finds no GPU: nothing to time")
        return []
    parts, rows = ping(n_exc, n_in, 1.0), []
    for batch in batches:
        rng = np.random.default_rng(3)
        raster = rng.random((batch, n_steps, n_in), dtype=np.float32) < 0.02
        stimulus = Stimulus.from_raster(raster, dt_ms=0.25)
        labels = torch.from_numpy(rng.integers(0, 10, batch))
        median = {}
        for device, kernel in (("cuda", "eager"), ("cuda", "function"), ("cpu", "auto")):
            network = build_network(
                parts.spec, parts.weights, dt_ms=0.25, device=device,
                learning=Learning(v_grad_dampen=80.0),
            ).train()  # fmt: skip
            goal = labels.to(device)
            optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad])

            def step(
                network=network, optimiser=optimiser, x=stimulus, y=goal, kernel=kernel
            ) -> float:
                optimiser.zero_grad(set_to_none=True)
                run = network(x, kernel=kernel)
                loss = torch.nn.functional.cross_entropy(run.logits, y)
                loss.backward()
                optimiser.step()
                return float(loss.detach())  # waits for the device

            step()  # compiles, records, warms up
            seconds = [timed(step)[0] for _ in range(rounds)]
            median[device, kernel] = statistics.median(seconds)
        for kernel in ("eager", "function"):
            seconds_gpu = median["cuda", kernel]
            rows.append(row(f"training step, batch {batch}", f"torch cuda, {kernel}",
                            seconds_gpu, median["cpu", "auto"]))  # fmt: skip
            rows[-1]["samples_per_s"] = batch / seconds_gpu
            show(rows[-1])
    return rows


def row(case: str, what: str, value: float, baseline: float) -> Row:
    """Return a row of the table: seconds on the GPU against seconds on the CPU."""
    return {
        "case": case, "what": what, "value": value, "unit": "s", "baseline": baseline,
        "ratio": baseline / value,
    }  # fmt: skip


def show(line: Row) -> None:
    """Print a row."""
    print(f"  {line['case']:<28} {line['value']:>9.3f} s {line['baseline']:>9.3f} s "
          f"{line['ratio']:>7.1f}x  {line['what']}", flush=True)  # fmt: skip


def cpu_name() -> str:
    """Return the processor's name and the cores that count."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [w for w in info.read_text().splitlines() if w.startswith("model name")]
        name = named[0].split(":")[1].strip() if named else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def main() -> int:
    """Build, check, time; return 1 where spikes differ or there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small networks and batches")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    from sim_brian.engine.toolchain import missing_for

    missing = missing_for("cuda") or missing_for("cpp")
    if missing:
        print(f"error: {missing}", file=sys.stderr)
        return 1
    gpu, begin = cuda_toolkit.gpus()[0], time.perf_counter()
    print(f"GPU: {gpu.name} (compute capability {gpu.capability}, {gpu.memory_mb} MiB), "
          f"CUDA {cuda_toolkit.nvcc_version()}\nCPU: {cpu_name()}")  # fmt: skip
    quick = options.quick
    n_exc, n_in, t_ms = (64, 64, 60.0) if quick else (512, 784, 600.0)
    print("\nspikes against the C++ program (float64)")
    checks = {
        "cuba-ping": cuba(n_exc // 2, n_in, t_ms / 2),
        "ping, two layers": ping(n_exc // 2, n_in, t_ms / 2, layers=2),
    }
    identical = all([check(name, parts)[0] for name, parts in checks.items()])
    print(f"\n  {'scans':<28} {'GPU':>11} {'CPU':>11} {'ratio':>8}")
    sizes = [1, 4] if quick else [1, 30, 300]
    rows, same = scans(ping(n_exc, n_in, t_ms), sizes, 1 if quick else 3)
    print(f"  spikes of all points {'identical' if same else 'DIFFERENT'}")
    print(f"\n  {'training':<28} {'GPU':>11} {'CPU':>11} {'ratio':>8}")
    rows += training(n_exc, n_in, 40 if quick else 400, [8] if quick else [64, 256], 3)
    print(f"\n{gpu.name}: {time.perf_counter() - begin:.0f} s in all")
    if options.json:
        named = [one | {"gpu": gpu.name, "cpu": cpu_name()} for one in rows]
        options.json.write_text(json.dumps(named, indent=2) + "\n")
    return 0 if identical and same else 1


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    sys.exit(main())
