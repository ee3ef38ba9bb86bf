"""Run the recipes of configs/lateral_line one after the other and tabulate what came out.

    python benchmarks/lateral_line_runs.py fast thesis recipe_b_topo_08
    python benchmarks/lateral_line_runs.py --table            # only the table of what is there

Six tests a network, as the recipes say; "[n]": n tests went in, the others had too few spikes.
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

from bridge.lateral_line.comparison import CONTROLS, Spread, of_tests, over_seeds, paired

CONFIGS = Path(__file__).parents[1] / "configs" / "lateral_line"
TESTED = (
    ("sigma_theta_body_rad", "{:.3f}"), ("sigma_theta_rad", "{:.3f}"),
    ("delta_trial_rad", "{:.3f}"), ("position_error_ts_cm", "{:.3f}"),
    ("decoder_error_ts_cm", "{:.2f}"), ("valid_fraction", "{:.3f}"), ("rate_test_ts_hz", "{:.1f}"),
)  # fmt: skip
"""Of the tests of a network: mean and SD over those that are usable."""
TRAINED = (
    ("mean_rate_mon_train_hz", "{:.1f}"), ("mean_rate_ts_train_hz", "{:.1f}"),
    ("w_mean", "{:.4f}"), ("w_std", "{:.4f}"), ("w_frac_at_wmax", "{:.3f}"),
    ("w_frac_at_zero", "{:.3f}"),
)  # fmt: skip
LAYERS = ("ll", "mon", "ts")


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
    """Return markdown tables of a run: seeds and controls, differences, decoders, weights."""
    paths = sorted(folder.glob("artifacts/seed_*_results.json"))
    rows: list[dict[str, Any]] = [json.loads(path.read_text()) for path in paths]
    names = [name for name, _ in TESTED]
    lines = _head("seed", names)
    for row in rows:
        for word, one in _networks(row):
            cells = [_with_sd(of_tests(one, name), form) for name, form in TESTED]
            lines.append(_line(f"{row['seed']}{word}", cells))
    for key, word in CONTROLS.items():
        beside = [row for row in rows if row.get(key)]
        lines += ["", *_head(f"trained minus {word}", names)]
        for row in beside:
            cells = [_with_interval(paired(row, row[key], name)) for name in names]
            lines.append(_line(str(row["seed"]), cells))
        if len(beside) > 1:
            cells = [_with_interval(over_seeds(beside, name, key)) for name in names]
            lines.append(_line("all", cells))
    of_layers = [f"decoder_error_{layer}_cm" for layer in LAYERS]
    lines += ["", *_head("seed", [*of_layers, *(name for name, _ in TRAINED)])]
    for row in rows:
        for word, one in _networks(row):
            cells = [_with_sd(of_tests(one, name), "{:.2f}") for name in of_layers]
            cells += ["-" if one[k] is None else form.format(one[k]) for k, form in TRAINED]
            lines.append(_line(f"{row['seed']}{word}", cells))
    return "\n".join(lines)


def _networks(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("", row), *((f", {word}", row[key]) for key, word in CONTROLS.items()
                         if row.get(key))]  # fmt: skip


def _head(first: str, names: list[str]) -> list[str]:
    return [_line(first, names), "| --- " * (1 + len(names)) + "|"]


def _line(first: str, cells: list[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


def _with_sd(found: Spread, form: str) -> str:
    if found.mean is None:
        return f"- [{found.n_left_out} left out]" if found.n_left_out else "-"
    sd = "" if found.sd is None else f" \N{PLUS-MINUS SIGN} {form.format(found.sd)}"
    return form.format(found.mean) + sd + (f" [{found.n}]" if found.n_left_out else "")


def _with_interval(found: Spread) -> str:
    if found.mean is None:
        return "-"
    interval = "" if found.low is None else f" ({found.low:+.3f} to {found.high:+.3f})"
    return f"{found.mean:+.3f}{interval}" + (f" [{found.n}]" if found.n_left_out else "")


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
