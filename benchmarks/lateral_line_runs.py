"""Run the recipes of configs/lateral_line one after the other and tabulate what came out.

    python benchmarks/lateral_line_runs.py fast thesis recipe_b_topo_08
    python benchmarks/lateral_line_runs.py --table            # only the table of what is there

Complete runs are skipped, stopped ones go on where they were. ``--minutes`` ends the current
recipe after so long; call again to go on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[1] / "configs" / "lateral_line"
COLUMNS = (
    ("sigma_theta_rad", "{:.3f}"), ("valid_fraction", "{:.3f}"), ("delta_trial_rad", "{:.3f}"),
    ("sigma_theta_body_rad", "{:.3f}"), ("n_spikes_test_ts", "{:d}"),
    ("mean_rate_mon_train_hz", "{:.1f}"), ("mean_rate_ts_train_hz", "{:.1f}"),
    ("w_mean", "{:.4f}"), ("w_std", "{:.4f}"), ("w_frac_at_wmax", "{:.3f}"),
    ("w_frac_at_zero", "{:.3f}"),
)  # fmt: skip


def run(name: str, runs_dir: Path, extra: list[str], minutes: float | None) -> None:
    """Run a recipe, or go on with it; leave a complete one alone."""
    folder = runs_dir / f"lateral_line_{name}"
    if (folder / "run_summary.json").is_file():
        print(f"{name}: complete")
        return
    words = ["lateral-line", "--config", str(CONFIGS / f"{name}.yaml")]
    words += ["--runs-dir", str(runs_dir), *extra]
    print("pingbridge", *words, flush=True)
    try:
        subprocess.run(
            [sys.executable, "-m", "cli", *words], check=True,
            timeout=None if minutes is None else 60 * minutes,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"{name}: stopped after {minutes:g} minutes; call again to go on")


def table(folder: Path) -> str:
    """Return a markdown table of the seeds of a run, each with its control."""
    lines = ["| seed | " + " | ".join(name for name, _ in COLUMNS) + " |"]
    lines.append("| --- " * (1 + len(COLUMNS)) + "|")
    for path in sorted(folder.glob("artifacts/seed_*_results.json")):
        row: dict[str, Any] = json.loads(path.read_text())
        lines.append(_line(str(row["seed"]), row))
        if "control" in row:
            lines.append(_line(f"{row['seed']}, control", row["control"]))
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    cells = ["-" if row[k] is None else form.format(row[k]) for k, form in COLUMNS]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Run what is named, then print a table for every run that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    legal = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    parser.add_argument("recipes", nargs="*", choices=[*legal, []], default=[])
    parser.add_argument("--runs-dir", type=Path, default=Path("Runs"))
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--minutes", type=float, help="stop a recipe after so long")
    options, extra = parser.parse_known_args()
    for name in options.recipes or legal:
        if not options.table:
            run(name, options.runs_dir, extra, options.minutes)
    for name in legal:
        folder = options.runs_dir / f"lateral_line_{name}"
        if any(folder.glob("artifacts/seed_*_results.json")):
            print(f"\n{name}\n\n{table(folder)}")


if __name__ == "__main__":
    main()
