"""Measure how time and memory of a training step grow with steps, batch and synapses.

    python benchmarks/train_scaling.py [--json FILE]

Expected: straight lines over a decade of each, with a few milliseconds of fixed costs (so that
exponents lie a little below 1), and the memory that the formula of docs/performance_training.md
predicts. The network is `ping` with E-E synapses, all of whose weights learn; kernel ``cpp``,
float32, one thread; CPU seconds, medians of five. Takes about a minute.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import compared
import numpy as np
import torch
from train import make_update, measured_memory

from bridge.network.stimulus import Stimulus

BASE = compared.Case(64, 256, 64, 200, recurrent=True)
STEPS = (100, 200, 500, 1000)
BATCHES = (8, 16, 40, 80)
EXCITATORY = (256, 400, 600, 810)


def batch_of(case: compared.Case, n_trials: int) -> tuple[Stimulus, torch.Tensor]:
    """Return the first trials of the benchmark's input, repeated where there are more."""
    full = compared.encode(case)
    parts = []
    for trial in range(n_trials):
        rows = full.events[full.events[:, 1] == trial % compared.BATCH].copy()
        rows[:, 1] = trial
        parts.append(rows)
    labels = torch.from_numpy(np.resize(compared.pictures(case.n_in)[1], n_trials))
    return dataclasses.replace(full, n_trials=n_trials, events=np.concatenate(parts)), labels


def seconds(case: compared.Case, n_trials: int) -> float:
    """Return the CPU seconds of one training step."""
    model = compared.make_model("cpp", case)
    stimulus, labels = batch_of(case, n_trials)
    update = make_update(model, stimulus, labels)
    start = {k: v.clone() for k, v in model.state_dict().items()}
    found = []
    for _ in range(6):
        begun = time.process_time()
        update()
        found.append(time.process_time() - begun)
        model.load_state_dict(start)
    return statistics.median(found[1:])


def n_synapses(case: compared.Case) -> int:
    """Return the number of weights of the case's network."""
    e, i = case.n_exc, case.n_inh
    return case.n_in * e + e * e + 2 * e * i + 10 * e


def predicted_mb(case: compared.Case) -> float:
    """Return the trajectory's size: (3 E + 2 I) float32 and a byte of flags for each cell."""
    width = 8
    e, i = (-(-n // width) * width for n in (case.n_exc, case.n_inh))
    return compared.BATCH * case.n_steps * (e * 13 + i * 9) / 1e6


def main() -> None:
    """Measure, print tables, and write the rows where asked."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    series: dict[str, list[tuple[float, float]]] = {
        "steps": [(n, seconds(dataclasses.replace(BASE, n_steps=n), 16)) for n in STEPS],
        "batch": [(n, seconds(BASE, n)) for n in BATCHES],
        "synapses": [],
    }
    for n_exc in EXCITATORY:
        case = dataclasses.replace(BASE, n_exc=n_exc, n_inh=n_exc // 4)
        series["synapses"].append((n_synapses(case), seconds(case, 16)))
    rows: list[dict[str, Any]] = []
    for name, points in series.items():
        x, y = np.array(points).T
        exponent = float(np.polyfit(np.log(x), np.log(y), 1)[0])
        slope, fixed = np.polyfit(x, y, 1, w=1 / y)
        off = float(np.abs((fixed + slope * x) / y - 1).max())
        text = ", ".join(f"{n:g}: {1e3 * s:.1f} ms" for n, s in points)
        print(f"{name:9} {text}; exponent {exponent:.2f}; within {100 * off:.0f} % of a straight "
              f"line that begins at {1e3 * fixed:.1f} ms", flush=True)  # fmt: skip
        rows.append({"what": name, "exponent": exponent, "fixed_s": fixed, "points": points})
    for n_steps in (200, 800):
        case = dataclasses.replace(BASE, n_steps=n_steps)
        found, formula = measured_memory("cpp", case), predicted_mb(case)
        print(f"memory of {n_steps} steps, B {compared.BATCH}: {found:.0f} MB above the program, "
              f"trajectory by formula {formula:.0f} MB", flush=True)  # fmt: skip
        rows.append({"what": f"memory {n_steps}", "mb": found, "formula_mb": formula})
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
