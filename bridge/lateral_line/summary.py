"""What a run says in the end: run_summary.json and the lines of the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridge.lateral_line.plan import Plan

Row = Mapping[str, Any]
"""Numbers of one seed, from :meth:`bridge.lateral_line.record.SeedResult.to_json`."""


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
    return found | {"runs": [_seed(row) for row in rows]}


def _seed(row: Row) -> dict[str, Any]:
    found = {
        "seed": int(row["seed"]),
        "ts_spikes_during_test_window": int(row["n_spikes_test_ts"]),
        "pv_map_quality": {
            name: row[name] for name in ("sigma_theta_rad", "delta_trial_rad", "valid_fraction")
        },
        "silent": bool(row["silent"]),
        "sigma_theta_body_rad": row["sigma_theta_body_rad"],
    }
    if "control" in row:
        found["control"] = _seed(row["control"])
    return found


def console_lines(row: Row) -> list[str]:
    """Return what the console says of a seed."""
    seed = row["seed"]
    lines = [f"seed {seed}: {quality_words(row)}"]
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
    if "control" in row:
        lines.append(f"seed {seed}, control without plasticity: {quality_words(row['control'])}")
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
    return (
        f"sigma_theta {row['sigma_theta_rad']:.3f} rad (body {row['sigma_theta_body_rad']:.3f}, LL "
        f"{row['sigma_theta_ll_rad']:.3f}), delta_trial {row['delta_trial_rad']:.3f} rad, valid "
        f"{row['valid_fraction']:.3f}; {spikes}"
    )


def several_seeds_line(rows: Sequence[Row]) -> str:
    """Return mean and population SD over seeds; silent ones are left out and counted."""
    sounding = [row for row in rows if not row["silent"]]
    parts = []
    for name in ("sigma_theta_rad", "delta_trial_rad"):
        values = [row[name] for row in sounding]
        mean, sd = (np.mean(values), np.std(values)) if values else (np.nan, np.nan)
        parts.append(f"{name.removesuffix('_rad')} {mean:.3f} +- {sd:.3f} rad")
    silent = len(rows) - len(sounding)
    return f"{len(rows)} seeds: {', '.join(parts)}" + (f"; {silent} silent" if silent else "")
