"""Measure one training step of a PING network: samples per second, peak memory, and next to whom.

Expected: the compiled loops (cpp) are 15 times faster than a plain eager loop over the same
equations for the small network, 4 times for the large one, and need a fraction of its memory;
snnTorch, Norse and SpikingJelly step simpler neurons at up to three times the speed of the eager
loops. Takes about 8 CPU minutes (``--quick`` under one) and 4 GB; one thread unless ``--threads``
says otherwise.
Every round runs each case once (interleaved); medians are shown, memory is that of a fresh process.

Networks: 64-64-16 and 784-1024-256 (input channels, E, I), what `train` takes for 8x8 and 28x28
pictures; 64 handwritten digits (the 8x8 ones of scikit-learn, enlarged for 784 channels) as Poisson
spikes, 800 steps of 0.25 ms, float32. A step is forward pass, cross-entropy, backward pass,
gradient clip, Adam and projection; making the input spikes is measured apart.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compared import (
    BASELINE,
    BATCH,
    DT_MS,
    LIBRARIES,
    OURS,
    Case,
    encode,
    make_input,
    make_model,
    pictures,
    why_missing,
)
from torch import Tensor, nn

LEARNING_RATE = 1e-4


def make_update(model: Any, x: Any, labels: Tensor) -> Callable[[], float]:
    """Return one training step as a function that gives the loss."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learning, lr=LEARNING_RATE)

    def update() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in learning if p.grad is not None], 1.0)
        optimiser.step()
        model.project()
        return float(loss.detach())

    return update


def memory_of(name: str, case: Case) -> float:
    """Return the peak memory (MB) of the first training step; for a process of its own.

    It counts from a program that has imported everything and trained a tiny network, and includes
    weights, input and what the optimiser keeps.
    """
    tiny = dataclasses.replace(case, n_in=64, n_exc=4, n_inh=1, n_steps=3)
    _train_once(name, tiny)
    _forget_peak()
    before = _resident_mb()
    _train_once(name, case)
    return _resident_mb(peak=True) - before


def _train_once(name: str, case: Case) -> None:
    x = make_input(name, encode(case))
    make_update(make_model(name, case), x, torch.from_numpy(pictures(case.n_in)[1]))()


def _forget_peak() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # what imports have freed would be used again, unseen
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew from here


def _resident_mb(*, peak: bool = False) -> float:
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the peak of the parent process too
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM" if peak else "VmRSS"].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes


def measured_memory(name: str, case: Case) -> float:
    """Return :func:`memory_of` from a fresh process."""
    command = [sys.executable, __file__, "--memory-of", name, json.dumps(dataclasses.asdict(case))]
    path = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH"), os.getcwd()) if p)
    # With its moving threshold glibc wastes, by luck, nothing or as much again between the tensors
    # of a loop; mapped one by one, they take what they need.
    settings = {"PYTHONPATH": path, "MALLOC_MMAP_THRESHOLD_": "4096", "MALLOC_MMAP_MAX_": "60000"}
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **settings}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-500:]}")
    return float(done.stdout.split()[-1])


def peak_memory(name: str, case: Case, limit_mb: float) -> tuple[float, int]:
    """Return the peak memory (MB) of all steps, and how many steps were really run.

    Where a tenth of the steps predicts more than the limit, fewer are run and scaled up: memory
    is proportional to them.
    """
    # Forty values of each cell and step are more than any network here keeps, but for one library.
    if name != "Norse CobaLIFCell" and case.state_mb * 40 < limit_mb:
        return measured_memory(name, case), case.n_steps
    tenth = dataclasses.replace(case, n_steps=max(1, case.n_steps // 10))
    predicted = measured_memory(name, tenth) * case.n_steps / tenth.n_steps
    if predicted <= limit_mb:
        return measured_memory(name, case), case.n_steps
    n_steps = max(1, int(case.n_steps * limit_mb / predicted / 2))
    fewer = dataclasses.replace(case, n_steps=n_steps)
    return measured_memory(name, fewer) * case.n_steps / n_steps, n_steps


def check_agreement(case: Case, n_steps: int, dtype: torch.dtype) -> None:
    """Print how far loss and gradients of the three loops lie apart; float64 must agree."""
    case = dataclasses.replace(case, n_steps=n_steps)
    stimulus, labels = encode(case), torch.from_numpy(pictures(case.n_in)[1])
    losses, grads = {}, {}
    for name in OURS:
        model = make_model(name, case, dtype)
        loss = nn.functional.cross_entropy(model(make_input(name, stimulus, dtype)), labels)
        loss.backward()
        losses[name], grads[name] = float(loss.detach()), model.named_gradients()
    kind = str(dtype).removeprefix("torch.")
    for name in OURS[1:]:
        loss_off = abs(losses["cpp"] - losses[name]) / abs(losses[name])
        assert grads[name].keys() == grads["cpp"].keys()
        grad_off = max(
            float((grads["cpp"][n] - g).norm() / g.norm()) for n, g in grads[name].items()
        )
        print(
            f"cpp against {name}, {kind}, {n_steps} steps: relative difference of the loss "
            f"{loss_off:.1e}, of a gradient at most {grad_off:.1e}"
        )
        if dtype == torch.float64:
            assert max(loss_off, grad_off) < 1e-9, f"compiled loops differ from the {name}"


def measure(
    case: Case, names: list[str], rounds: int, limit_mb: float, weighed: Sequence[str]
) -> list[dict[str, Any]]:
    """Measure one case, print its table, and return its rows."""
    print(f"\n{case.title}; {rounds} rounds", flush=True)
    there = [n for n in names if why_missing(n) is None]
    memory = {n: peak_memory(n, case, limit_mb) for n in there if n in weighed}
    encode(dataclasses.replace(case, n_steps=1))  # imports
    begin = time.process_time()
    stimulus = encode(case)
    encode_s = time.process_time() - begin
    labels = torch.from_numpy(pictures(case.n_in)[1])
    models, updates, scale, start = {}, {}, {}, {}
    for name in there:
        n_steps = memory[name][1] if name in memory else case.n_steps
        scale[name] = case.n_steps / n_steps
        models[name] = make_model(name, case)
        start[name] = {k: v.clone() for k, v in models[name].state_dict().items()}
        shorter = stimulus
        if n_steps < case.n_steps:
            shorter = encode(dataclasses.replace(case, n_steps=n_steps))
        updates[name] = make_update(models[name], make_input(name, shorter), labels)
    cpu_s: dict[str, list[float]] = {n: [] for n in there}
    wall_s: dict[str, list[float]] = {n: [] for n in there}
    for _ in range(rounds):
        for name, update in updates.items():
            cpu, begun = time.process_time(), time.perf_counter()
            loss = update()
            cpu_s[name].append((time.process_time() - cpu) * scale[name])
            wall_s[name].append((time.perf_counter() - begun) * scale[name])
            assert np.isfinite(loss), f"{name}: loss {loss}"
            models[name].load_state_dict(start[name])  # each round times the same step
    rows: list[dict[str, Any]] = []

    def row(what: str, unit: str, value: float | None, baseline: float, ratio: Any) -> None:
        rows.append({
            "case": case.title, "what": what, "value": value, "unit": unit,
            "baseline": baseline, "ratio": ratio,
        })  # fmt: skip

    speed = {n: BATCH / statistics.median(cpu_s[n]) for n in there}
    wall = {n: BATCH / statistics.median(wall_s[n]) for n in there}
    print(
        f"{'':32}{'samples/CPU s':>14}{'ratio':>8}{'samples/s':>11}{'peak MB':>10}{'ratio':>8}"
        f"{'spikes per cell':>17}"
    )
    for name in names:
        if name not in there:
            print(f"{name:32}{why_missing(name)}")
            row(name, str(why_missing(name)), None, speed[BASELINE], None)
            continue
        ratio = speed[name] / speed[BASELINE]
        line = f"{name:32}{speed[name]:14.1f}{ratio:7.2f}x{wall[name]:11.1f}"
        scaled = f", scaled from {memory[name][1]} steps" if scale[name] > 1 else ""
        row(name, f"samples per CPU s{scaled}", speed[name], speed[BASELINE], ratio)
        row(name, f"samples per s{scaled}", wall[name], wall[BASELINE], wall[name] / wall[BASELINE])
        if name in memory:
            mb, base = memory[name][0], memory[BASELINE][0]
            line += f"{mb:10.0f}{base / mb:7.2f}x"
            row(name, f"MB at most{scaled}", mb, base, base / mb)
        else:
            line += f"{'':18}"
        line += f"{models[name].spikes_per_cell:17.1f}"
        if not all(
            bool(p.grad is None or p.grad.isfinite().all()) for p in models[name].parameters()
        ):
            line += "  (gradients overflow)"
        if scaled:
            line += f"  ({scaled[2:]})"
        print(line)
    print(f"{'(encoding the batch)':32}{BATCH / encode_s:14.1f}", flush=True)
    row("encoding", "samples per CPU s", BATCH / encode_s, speed[BASELINE],
        BATCH / encode_s / speed[BASELINE])  # fmt: skip
    return rows


def main() -> None:
    """Measure, print tables, and write the rows where asked."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small size, short, memory of ours")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=5, help="of the small size; large: 3 at most")
    parser.add_argument("--memory-limit", type=float, default=3.0, metavar="GB",
                        help="run fewer steps where more is needed, and scale up")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of torch and of the loops")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        name, case = options.memory_of
        print(memory_of(name, Case(**json.loads(case))))
        return
    n_steps = 160 if options.quick else 800
    small, large = Case(64, 64, 16, n_steps), Case(784, 1024, 256, n_steps)
    print(f"torch {torch.__version__}, {options.threads} threads, float32, dt {DT_MS:g} ms")
    rows = []
    for size in [small] if options.quick else [small, large]:
        for recurrent in (False, True):
            case = dataclasses.replace(size, recurrent=recurrent)
            names = [*OURS, *LIBRARIES] if recurrent else list(OURS)
            rounds = 3 if options.quick or size is large else options.rounds
            rows += measure(
                case, names, rounds, 1000 * options.memory_limit,
                weighed=(() if recurrent else ("cpp", BASELINE)) if options.quick else names,
            )  # fmt: skip
            check_agreement(case, 100, torch.float64)
            if size is small and not options.quick:
                check_agreement(case, 100, torch.float32)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
