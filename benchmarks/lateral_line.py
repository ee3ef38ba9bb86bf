"""Measure what a training trial of the lateral-line network costs on each target.

Expected: the compiled program needs a twentieth to a thirtieth of the CPU time of Brian2's numpy
target on the same network. Takes 3 to 5 minutes, ``--quick`` about one. The cost of a trial is the
slope between a shorter and a longer training, so that building and compiling, stated by themselves,
are not in it. The published program needs 1.7 to 2.1 CPU s for such a trial, 1.0 with cython.

Network: `ll_thesis` (100 LL, 3200 MON, 300 TS; 1.2 s per trial at 1 ms), and recipe B, in which
LL to MON learns too.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bridge.lateral_line.params import preset
from sim_brian.engine import toolchain
from sim_brian.engine.program import EngineOptions
from sim_brian.lateral_line.train import run_network

RECIPE_B: dict[str, Any] = {
    "ll_mon_use_stdp": True, "ll_to_mon_topography_strength": 0.2,
    "mon_to_ts_topography_strength": 0.2, "ll_mon_w_jitter_stdp_mV": 8.0,
    "ll_mon_homeo_eta": 0.005, "mon_ts_homeo_eta": 0.001, "mon_ts_gain_mV": 220.0,
    "ts_local_inh_peak_mV": 1.5, "bg_rate_mon_hz": 18.0, "global_inh_to_mon_mV": 1.8,
}  # fmt: skip
LENGTHS = {"numpy": (2, 5), "cython": (5, 20), "cpp": (10, 110)}


def cpu_s() -> float:
    """Return CPU seconds of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def once(overrides: dict[str, Any], target: str, n_trials: int) -> tuple[float, int]:
    """Return CPU seconds of a training without building its program, and MON to TS spikes."""
    p = preset("ll_thesis", n_training_trials=n_trials, **overrides)
    result, _ = run_network(p, engine=EngineOptions(target=target))
    return result.seconds["train_cpu"], len(result.test.spikes["ts"][0])


def main() -> None:
    """Measure, print a table, and write the rows where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ll_thesis only, one round")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--targets", nargs="+", default=["numpy", "cpp"],
                        choices=list(LENGTHS))  # fmt: skip
    parser.add_argument("--memory-of", type=int, metavar="TRIALS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        memory_of(options.memory_of)
        return
    targets = [t for t in options.targets if toolchain.missing_for(t) is None]
    networks = {"ll_thesis": {}} if options.quick else {"ll_thesis": {}, "recipe B": RECIPE_B}
    rounds = 1 if options.quick else 3
    rows: list[dict[str, Any]] = []
    for name, overrides in networks.items():
        costs: dict[str, list[float]] = {target: [] for target in targets}
        for target in targets:
            if target == "numpy":
                continue
            begin, cpu = time.perf_counter(), cpu_s()
            for n_trials in LENGTHS[target]:
                once(overrides, target, n_trials)
            print(
                f"{name}, {target}: first runs, compilation included: "
                f"{time.perf_counter() - begin:.1f} s wall, {cpu_s() - cpu:.1f} s CPU"
            )
        for _ in range(rounds):
            for target in targets:
                few, many = LENGTHS[target]
                spent = [once(overrides, target, n)[0] for n in (few, many)]
                costs[target].append((spent[1] - spent[0]) / (many - few))
        baseline = statistics.median(costs[targets[0]])
        print(f"\n{name}, {rounds} rounds\n{'':10}{'CPU s per trial':>18}{'ratio':>10}")
        for target, measured in costs.items():
            value = statistics.median(measured)
            print(f"{target:10}{value:18.4f}{baseline / value:9.1f}x")
            rows.append({
                "case": name, "what": target, "value": value, "unit": "CPU s per trial",
                "baseline": baseline, "ratio": baseline / value,
            })  # fmt: skip
    rows += memory()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def memory() -> list[dict[str, Any]]:
    """Return the largest memory of trainings of three lengths, each in a process of its own."""
    if toolchain.missing_for("cpp"):
        return []
    rows: list[dict[str, Any]] = []
    for n_trials in (150, 300, 600):
        words = [sys.executable, __file__, "--memory-of", str(n_trials)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        value = float(done.stdout.split()[-1])
        print(f"{n_trials} trials: at most {value:.0f} MB")
        baseline = rows[0]["value"] if rows else value
        rows.append({
            "case": f"{n_trials} trials", "what": "largest memory", "value": value, "unit": "MB",
            "baseline": baseline, "ratio": baseline / value,
        })  # fmt: skip
    return rows


def memory_of(n_trials: int) -> None:
    """Train and print the largest memory (MB) of this process.

    The compiled program is a child, and smaller; what the system says of children is never less
    than what this process held when it started them.
    """
    once({}, "cpp", n_trials)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
