"""Train, convert and test networks of several seeds; skip what is there; print the table.

    python benchmarks/rate_accuracy.py [--tasks go_nogo xor mante] [--seeds 0 1 2] [--quick]

Each network has a folder ``TASK_seedK`` below --out-dir: `rate train` with the recipe of
``configs/rate/``, `rate search` (12 factors x 100 trials), `rate eval` (100 fresh trials of another
seed). Killed at any moment it goes on where it was when started again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cli import main as run

CONFIGS = Path(__file__).parents[1] / "configs" / "rate"
EVAL_SEED = 1000


def complete(task: str, seed: int, folder: Path, *, quick: bool) -> None:
    """Do what is missing of one network."""
    small = ["--n-trials", "2", "--n-units", "30"] if quick else []
    few = ["--n-trials", "2", "--codegen", "numpy"] if quick else []
    model = ["--model", str(folder / "model.mat")]
    steps = {
        folder / "metrics.json": [
            "train", "--config", str(CONFIGS / f"{task}.yaml"), "--seed", str(seed), "--resume",
            "--out-dir", str(folder), *small,
        ],
        folder / "search" / "search.json": ["search", *model, *few],
        folder / "eval" / "results.json": ["eval", *model, "--seed", str(EVAL_SEED), *few],
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
        "train_s": training["elapsed_s"], "rate": report["rate_accuracy"]["share"],
        "factor": search["opt_scaling_factor"], "plateau": search["plateau"],
        "search": search["accuracy"], "search_s": search["wall_s"],
        "strict": report["spiking_accuracy_strict"]["share"],
        "published": report["spiking_accuracy_published"]["share"],
        "interval": report["spiking_accuracy_strict"]["interval_95"],
        "correlation": report["output_correlation"], "exc_hz": report["rate_exc_hz"],
        "inh_hz": report["rate_inh_hz"],
    }  # fmt: skip


def main() -> None:
    """Complete all networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["go_nogo", "xor", "mante"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out-dir", type=Path, default=Path("artifacts") / "rate")
    parser.add_argument("--quick", action="store_true", help="small networks, not trained")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for task in options.tasks:
        for seed in options.seeds:
            folder = options.out_dir / f"{task}_seed{seed}"
            complete(task, seed, folder, quick=options.quick)
            rows.append(row(task, seed, folder))
    print("| task | seed | updates | training | rate network | factor (plateau) | spiking, strict "
          "(95 %) | published rule | correlation | E, I |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in rows:
        ends = f"{min(r['plateau'])}-{max(r['plateau'])}"
        print(f"| {r['task']} | {r['seed']} | {r['updates']} | {r['train_s']:.0f} s | "
              f"{r['rate']:.2f} | {r['factor']} ({ends}) | {r['strict']:.2f} "
              f"({r['interval'][0]:.2f}-{r['interval'][1]:.2f}) | {r['published']:.2f} | "
              f"{r['correlation']:.2f} | {r['exc_hz']:.1f}, {r['inh_hz']:.1f} Hz |")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(
            [{"case": f"{r['task']} seed {r['seed']}", "what": "spiking accuracy, strict rule",
              "value": r["strict"], "unit": "share", "baseline": r["rate"],
              "ratio": r["strict"] / r["rate"] if r["rate"] else None} for r in rows], indent=2,
        ) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
