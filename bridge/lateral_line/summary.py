"""What a run says in the end: run_summary.json and the lines of the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridge.lateral_line.comparison import (
    CONTROLS,
    Row,
    Spread,
    counts,
    of_tests,
    over_seeds,
    paired,
    statistics_of_seeds,
    tests_of,
)
from bridge.lateral_line.map_quality import MIN_VALID
from bridge.lateral_line.plan import Plan

SHOWN = (
    ("sigma_theta_body_rad", "sigma_theta over the body", "rad"),
    ("sigma_theta_rad", "over the path", "rad"), ("delta_trial_rad", "delta_trial", "rad"),
    ("position_error_ts_cm", "off by", "cm"), ("decoder_error_ts_cm", "decoder off by", "cm"),
    ("valid_fraction", "valid", ""), ("rate_test_ts_hz", "TS in the test", "Hz"),
)  # fmt: skip
"""What is said of several tests: key, word, unit."""


def run_summary(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    """Return run_summary.json; undefined numbers become null when it is written."""
    p = plan.params
    found: dict[str, Any] = {
        "ll_mon_topo": float(p.ll_to_mon_topography_strength),
        "mon_ts_topo": float(p.mon_to_ts_topography_strength),
        "mon_ts_sigma": float(p.mon_to_ts_sigma),
        "mon_ts_gain_mV": float(p.mon_ts_gain_mV),
    }
    if len(rows) == 1:
        return found | _seed(rows[0])
    return found | {
        "runs": [_seed(row) for row in rows], "statistics": statistics_of_seeds(rows)
    }  # fmt: skip


def _seed(row: Row) -> dict[str, Any]:
    found = {
        "seed": int(row["seed"]),
        "ts_spikes_during_test_window": int(row["n_spikes_test_ts"]),
        "pv_map_quality": {
            name: row[name] for name in ("sigma_theta_rad", "delta_trial_rad", "valid_fraction")
        },
        "silent": bool(row["silent"]),
        "usable": bool(row["usable"]),
        "sigma_theta_body_rad": row["sigma_theta_body_rad"],
        "position_error_ts_cm": row["position_error_ts_cm"],
    }
    for name in CONTROLS:
        if row.get(name):
            found[name] = _seed(row[name])
    for name in ("match", "statistics"):
        if row.get(name):
            found[name] = row[name]
    return found


def console_lines(row: Row) -> list[str]:
    """Return what the console says of a seed."""
    seed = row["seed"]
    lines = [f"seed {seed}: {quality_words(row)}"]
    lines += _tests_lines(row)
    if not row["trained"]:
        return lines
    settled = row["stabilisation_s"]
    lines.append(
        f"seed {seed}: training {row['mean_rate_ll_train_hz']:.2f} / "
        f"{row['mean_rate_mon_train_hz']:.2f} / {row['mean_rate_ts_train_hz']:.2f} Hz (LL / MON / "
        f"TS); weights {row['w_mean_before']:.5f} -> {row['w_mean']:.5f}, SD "
        f"{row['w_std_before']:.5f} -> {row['w_std']:.5f}, mean |dw| "
        f"{row['w_mean_abs_delta']:.5f}, {row['w_frac_moved']:.0%} moved, "
        f"{row['w_frac_at_wmax']:.1%} at the ceiling, {row['w_frac_at_zero']:.1%} at 0; settled "
        + ("not reached" if settled is None else f"after {settled:g} s")
    )
    for key, name in CONTROLS.items():
        if row.get(key):
            lines.append(f"seed {seed}, {name} without plasticity: {quality_words(row[key])}")
            lines.append(f"seed {seed}, trained minus {name}: {_differences(row, key)}")
    if "match" in row:
        lines.append(f"seed {seed}: {match_words(row['match'])}")
    lines.append(
        f"seed {seed}: {row['train_wall_s']:.1f} s for training ({row['train_cpu_s']:.1f} s CPU), "
        f"{row['prepare_wall_s']:.1f} s for making the program, codegen {row['codegen']}"
    )
    return lines


def quality_words(row: Row) -> str:
    """Return the map quality of a test in words."""
    spikes = (
        f"{row['n_spikes_test_ll']} / {row['n_spikes_test_mon']} / {row['n_spikes_test_ts']} "
        "spikes in the test (LL / MON / TS)"
    )
    if row["silent"]:
        return f"TS is silent in the test: no map to score; {spikes}"
    if not row["usable"]:
        return (
            f"valid {row['valid_fraction']:.3f}: too few positions are decoded (below "
            f"{MIN_VALID:g} of those that are scored) to score a map; {spikes}"
        )
    return (
        f"sigma_theta {row['sigma_theta_body_rad']:.3f} rad over the body, "
        f"{row['sigma_theta_rad']:.3f} over the path (a perfect map of the body: "
        f"{row['sigma_theta_floor_rad']:.3f}; LL {row['sigma_theta_ll_rad']:.3f}), delta_trial "
        f"{row['delta_trial_rad']:.3f} rad, off by {row['position_error_ts_cm']:.2f} cm (MON "
        f"{_number(row['position_error_mon_cm'])}, LL {_number(row['position_error_ll_cm'])}), "
        f"valid {row['valid_fraction']:.3f}; {spikes}"
    )


def match_words(match: Mapping[str, Any] | None) -> str:
    """Return how a matched control was matched, in words."""
    if match is None:
        return "TS is silent after training: there is no rate that a control could be matched to"
    found = (
        f"MON to TS weights of the matched control times {match['scale']:.3f}: TS "
        f"{match['rate_hz']:.2f} Hz in the tests, {match['target_hz']:.2f} Hz after training"
    )
    tries = f"{match['n_tried']} tries, within {match['tolerance']:.0%}"
    return f"{found} ({tries}{'' if match['reached'] else ': NOT reached'})"


def several_seeds_lines(rows: Sequence[Row]) -> list[str]:
    """Return mean and SD over seeds, and the differences to the controls.

    Seeds without a usable test are left out and counted; a seed counts once, however often it was
    tested.
    """
    n = len(rows)
    lines = [f"{n} seeds: {_means(rows)}"]
    for key, name in CONTROLS.items():
        beside = [row for row in rows if row.get(key)]
        if len(beside) > 1:
            lines.append(f"{len(beside)} seeds, {name}: {_means([row[key] for row in beside])}")
            lines.append(
                f"{len(beside)} seeds, trained minus {name} (mean, 95 % interval): "
                + _differences_of_seeds(beside, key)
            )
    return lines


def interval_words(found: Spread, unit: str, *, signed: bool = True) -> str:
    """Return a mean and its interval in words, and what was left out."""
    if found.mean is None:
        return f"none of {found.n_left_out} usable"
    form = "+.3f" if signed else ".3f"
    text = f"{found.mean:{form}}{' ' + unit if unit else ''}"
    if found.low is not None:
        text += f" ({found.low:{form}} to {found.high:{form}})"
    return text + (f" [{found.n_left_out} left out]" if found.n_left_out else "")


def _tests_lines(row: Row) -> list[str]:
    tests = tests_of(row)
    if len(tests) < 2:
        return []
    parts = []
    for key, word, unit in SHOWN:
        found = of_tests(row, key)
        if found.mean is not None:
            sd = "" if found.sd is None else f" +- {found.sd:.3f}"
            parts.append(f"{word} {found.mean:.3f}{sd}{' ' + unit if unit else ''}")
    errors = [f"{layer.upper()} {of_tests(row, f'decoder_error_{layer}_cm').mean:.2f}"
              for layer in ("ll", "mon", "ts")]  # fmt: skip
    return [
        f"seed {row['seed']}, {len(tests)} tests{_left_out(tests)}: {', '.join(parts)}",
        f"seed {row['seed']}, decoder fitted to the other tests: off by {', '.join(errors)} cm",
    ]


def _differences(row: Row, key: str) -> str:
    parts = [f"{word} {interval_words(paired(row, row[key], name), unit)}"
             for name, word, unit in SHOWN if _in_all([row, row[key]], name)]  # fmt: skip
    n = len(tests_of(row))
    return f"{', '.join(parts)} ({n} paired test{'s' if n > 1 else ''})"


def _means(rows: Sequence[Row]) -> str:
    parts = []
    for name, word, unit in SHOWN:
        if _in_all(rows, name):
            found = over_seeds(rows, name)
            mean = "none" if found.mean is None else f"{found.mean:.3f}"
            sd = "" if found.sd is None else f" +- {found.sd:.3f}"
            parts.append(f"{word} {mean}{sd}{' ' + unit if unit else ''}")
    tests = [test for row in rows for test in tests_of(row)]
    return ", ".join(parts) + _left_out(tests)


def _differences_of_seeds(rows: Sequence[Row], key: str) -> str:
    both = [*rows, *(row[key] for row in rows)]
    return ", ".join(f"{word} {interval_words(over_seeds(rows, name, key), unit)}"
                     for name, word, unit in SHOWN if _in_all(both, name))  # fmt: skip


def _left_out(tests: Sequence[Row]) -> str:
    """Return what of some tests goes into no mean."""
    n = sum(not counts(one, "sigma_theta_rad") for one in tests)
    silent = sum(bool(one["silent"]) for one in tests)
    if not n:
        return ""
    return f"; {n} of {len(tests)} left out (valid below {MIN_VALID:g}; {silent} silent)"


def _in_all(rows: Sequence[Row], name: str) -> bool:
    return all(name in test for row in rows for test in tests_of(row))


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.2f}"
