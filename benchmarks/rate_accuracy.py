"""Train, convert and test networks of several seeds; skip what is there; print the table.

    python benchmarks/rate_accuracy.py [--tasks go_nogo xor mante] [--seeds 0 1 2] [--quick]
        [--figure FILE] [--json FILE]

Each network has a folder ``TASK_seedK`` below --out-dir: `rate train` with the recipe of
``configs/rate/``, `rate search` (12 factors x 100 trials), `rate eval` (100 fresh trials of another
seed), each in one process. Killed at any moment it goes on where it was when started again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cli import main as run

CONFIGS = Path(__file__).parents[1] / "configs" / "rate"
BARS = {"go_nogo": 0.95, "xor": 0.9, "mante": 0.9}
"""Accuracy in fresh trials by which a conversion counts as successful here."""


def complete(task: str, seed: int, folder: Path, *, quick: bool) -> None:
    """Do what is missing of one network."""
    small = ["--n-trials", "2", "--n-units", "30"] if quick else []
    few = ["--n-trials", "2", "--codegen", "numpy"] if quick else []
    model = ["--model", str(folder / "model.mat"), "--jobs", "1"]
    steps = {
        folder / "metrics.json": [
            "train", "--config", str(CONFIGS / f"{task}.yaml"), "--seed", str(seed), "--resume",
            "--out-dir", str(folder), *small,
        ],
        folder / "search" / "search.json": ["search", *model, *few],
        folder / "eval" / "results.json": ["eval", *model, *few],
    }  # fmt: skip
    for made, words in steps.items():
        if not made.is_file() and run(["rate", *words]) != 0:
            raise SystemExit(f"rate {' '.join(words)} failed")


def row(task: str, seed: int, folder: Path) -> dict:
    """Return the numbers of one network."""
    training = json.loads((folder / "metrics.json").read_text())
    search = json.loads((folder / "search" / "search.json").read_text())
    report = json.loads((folder / "eval" / "results.json").read_text())["comparison"]
    return {
        "task": task, "seed": seed, "updates": training["updates"],
        "train_s": training["elapsed_s"], "loss": training["history"][-1]["loss"],
        "curve": search["factors"], "rate": report["rate_accuracy"]["share"],
        "factor": search["opt_scaling_factor"], "plateau": search["plateau"],
        "search": search["accuracy"], "search_s": search["wall_s"],
        "strict": report["spiking_accuracy_strict"]["share"],
        "published": report["spiking_accuracy_published"]["share"],
        "interval": report["spiking_accuracy_strict"]["interval_95"],
        "correlation": report["output_correlation"], "exc_hz": report["rate_exc_hz"],
        "inh_hz": report["rate_inh_hz"],
    }  # fmt: skip


def print_networks(rows: list[dict]) -> None:
    """Print a line for each network, and how many of each task succeeded."""
    print("| task | seed | updates | training | loss | rate network | factor (plateau) | search | "
          "spiking, strict (95 %) | published rule | correlation | E, I |")  # fmt: skip
    print("| --- " * 12 + "|")
    for r in rows:
        ends = f"{min(r['plateau'])}-{max(r['plateau'])}"
        low, high = r["interval"]
        print(f"| {r['task']} | {r['seed']} | {r['updates']} | {r['train_s']:.0f} s | "
              f"{r['loss']:.2f} | {r['rate']:.2f} | {r['factor']} ({ends}) | "
              f"{r['search_s']:.0f} s | {r['strict']:.2f} ({low:.2f}-{high:.2f}) | "
              f"{r['published']:.2f} | {r['correlation']:.2f} | {r['exc_hz']:.1f}, "
              f"{r['inh_hz']:.1f} Hz |")  # fmt: skip
    for task in dict.fromkeys(r["task"] for r in rows):
        found = [r["strict"] for r in rows if r["task"] == task]
        good = sum(value >= BARS[task] for value in found)
        print(f"{task}: {good} of {len(found)} networks at {BARS[task]:.2f} or more")


def print_curves(rows: list[dict]) -> None:
    """Print the accuracy at every factor, by the strict rule and in brackets by the published."""
    factors = [point["scaling_factor"] for point in rows[0]["curve"]]
    print("| network | " + " | ".join(map(str, factors)) + " |")
    print("| --- " * (len(factors) + 1) + "|")
    for r in rows:
        cells = [
            f"{point['strict']:.2f}"
            + (f" ({point['published']:.2f})" if point["strict"] != point["published"] else "")
            for point in r["curve"]
        ]
        print(f"| {r['task']} {r['seed']} | " + " | ".join(cells) + " |")


def main() -> None:
    """Complete all networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["go_nogo", "xor", "mante"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out-dir", type=Path, default=Path("artifacts") / "rate")
    parser.add_argument("--quick", action="store_true", help="small networks, not trained")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="draw the curves of all searches")
    options = parser.parse_args()
    rows = []
    for task in options.tasks:
        for seed in options.seeds:
            folder = options.out_dir / f"{task}_seed{seed}"
            complete(task, seed, folder, quick=options.quick)
            rows.append(row(task, seed, folder))
    print_networks(rows)
    print_curves(rows)
    if options.figure:
        from scope.figures.rate_figures import draw_searches
        from scope.files import save_figure

        curves: dict[str, dict[str, list]] = {}
        for r in rows:
            curves.setdefault(r["task"], {})[f"seed {r['seed']}"] = r["curve"]
        save_figure(draw_searches(curves, bars=BARS), options.figure)
    if options.json:
        options.json.write_text(json.dumps(
            [{"case": f"{r['task']} seed {r['seed']}", "what": "spiking accuracy, strict rule",
              "value": r["strict"], "unit": "share", "baseline": r["rate"],
              "ratio": r["strict"] / r["rate"] if r["rate"] else None} for r in rows], indent=2,
        ) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
