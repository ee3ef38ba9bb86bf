"""Repeat the known results of clustered networks and their mean field and print them as tables.

    python benchmarks/clustered_results.py                 # everything, about seven CPU minutes
    python benchmarks/clustered_results.py A B C H I       # theory and analysis only, seconds
    python benchmarks/clustered_results.py D --save-dir DIR

Every simulated run is kept in ``--save-dir``; type the command again after a stop, or to print the
tables once more. "Known" are the figures of an independent program of the same model.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from clustered_known import (
    AROUSAL,
    DEFAULT,
    HALF,
    J_EE,
    part_a,
    part_b,
    part_c,
    part_h,
    part_i,
    show,
    tree_of,
)

from bridge.atomic import to_json_text, write_text
from studies.clustered.compare import KINDS, compared_row, kind_rates, mean_over_runs

RULES = {
    "two_means": {},
    "stop_before_update": {"threshold_rule": "stop_before_update"},
    "update_then_stop": {"threshold_rule": "update_then_stop"},
    "update_then_stop, all 38": {
        "threshold_rule": "update_then_stop", "n_excitatory_clusters": None,
    },
}  # fmt: skip


class Runs:
    """Measured runs, kept on disk by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cpu_s = 0.0

    def measure(
        self, name: str, tree: dict[str, Any], duration_s: float, n: int,
        rules: Iterable[str] = ("two_means",), noise: str = "per_step",
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return the measurements of `n` seeds; those that are on disk are not repeated."""
        from studies.clustered import repeat_seeds

        rows = []
        for seed in repeat_seeds(256, n):
            path = self.folder / f"{name}_{seed}.json"
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, to_json_text(_measure(tree, seed, duration_s, rules, noise)))
            rows.append(json.loads(path.read_text()))
            self.cpu_s += rows[-1]["cpu_s"]
        return rows


def _measure(
    tree: dict[str, Any], seed: int, duration_s: float, rules: Iterable[str], noise: str
) -> dict[str, Any]:
    from scope.measure.attractors.recordings import SpikeEvents
    from studies.clustered import Analyzer, StageSNNSimulation

    begin = sum(os.times()[:4])
    stager = StageSNNSimulation(tree, random_seed=seed, backend="cpp", arousal_noise=noise)
    run = stager.run_events(duration_sec=duration_s)
    events = SpikeEvents(run.step, run.neuron, run.n_steps, run.n_neurons)
    q = stager.network.layout.n_clusters
    found: dict[str, Any] = {}
    for rule in rules:
        settings = {"n_excitatory_clusters": q} | RULES[rule]
        one = Analyzer(events, stager.clusters, dt=run.dt_s, **settings)
        on_ms = np.concatenate(one.get_on_durations()[:q])
        sizes = np.bincount(np.concatenate(
            [one.get_activity(0)[:q].sum(axis=0), np.arange(q + 1)])) - 1  # fmt: skip
        found[rule] = one.get_activity_summary() | {
            "states": one.get_num_states(), "occurrences": len(one.occurrences),
            "life_ms": one.get_mean_lifespan(),
            "covered": float(sum(one.get_attractor_probs())),
            "on_ms": float(on_ms[on_ms >= 20].mean()) if (on_ms >= 20).any() else None,
            "n_active_shares": (sizes / run.n_steps).tolist(),
            "fractions": one.get_active_fractions()[:q].tolist(),
        }  # fmt: skip
    rates = kind_rates(one.get_mean_rates(), q, sizes=stager.network.layout.sizes)
    return {"rates": rates, "rules": found, "cpu_s": sum(os.times()[:4]) - begin}


def spread(values: Iterable[float | None], form: str = "{:.2f}") -> str:
    """Return mean +- standard deviation over runs."""
    there = np.asarray([v for v in values if v is not None and np.isfinite(v)])
    if not len(there):
        return "-"
    sd = there.std(ddof=1) if len(there) > 1 else 0.0
    return form.format(there.mean()) + " ± " + form.format(sd)


def part_d(runs: Runs) -> None:
    """Run the default network, short, long, and with quenched noise."""
    tree = tree_of(DEFAULT)
    short = runs.measure("d_short", tree, 2.5, 10, RULES)
    long = runs.measure("d_long", tree, 30.0, 3, RULES)
    quenched = runs.measure("d_quenched", tree, 6.0, 3, noise="quenched")
    known = (
             ("e", "9.81", "9.94 ± 0.08", "9.6-10.3"), ("e_bg", "1.96", "1.92", "1.7-2.2"),
             ("i", "11.72", "11.78", "11.4-12.2"), ("i_bg", "14.28", "14.56", "13.7-15.4"),
    )  # fmt: skip
    show("D. Default network: rates (Hz)",
         ("", "2.5 s known", "2.5 s here (10 runs)", "30 s known", "30 s here (3 runs)", "band",
          "quenched noise, 6 s (3 runs)"),
         [(kind, a, spread(r["rates"][f"{kind}_hz"] for r in short), b,
           spread(r["rates"][f"{kind}_hz"] for r in long), band,
           spread(r["rates"][f"{kind}_hz"] for r in quenched))
          for kind, a, b, band in known])  # fmt: skip
    shown = (("threshold_hz", "{:.1f}"), ("states", "{:.0f}"), ("occurrences", "{:.0f}"),
             ("life_ms", "{:.0f}"), ("n_active", "{:.2f}"), ("on_ms", "{:.0f}"))  # fmt: skip
    reference = {
        "two_means": "26.5 ± 0.3, 269 ± 9, 404 ± 10, 66 ± 3, 3.02 ± 0.01, 244 ± 17",
        "stop_before_update": "44.7, 195, 500, 44, 2.39, 127",
        "update_then_stop": "55.2, 93, 568, 36, 1.21, 58",
        "update_then_stop, all 38": "45.6, 192, 515, 42, -, 119",
    }
    show("D. Attractors in 30 s", ("rule", *(name for name, _ in shown), "known"),
         [(rule, *(spread((r["rules"][rule][name] for r in long), form) for name, form in shown),
           reference[rule]) for rule in RULES])  # fmt: skip
    two = [r["rules"]["two_means"] for r in long]
    shares = np.mean([one["n_active_shares"] for one in two], axis=0)
    brief = [r["rules"]["two_means"] for r in short]
    show("D. two_means in detail", ("", "known", "here"), [
        ("2 / 3 / 4 clusters active at once", "13 / 71 / 15 %",
         " / ".join(f"{100 * shares[k]:.0f}" for k in (2, 3, 4)) + " %"),
        ("active / inactive rate (Hz)", "51.5 / 1.54 (band 49-54)",
         f"{spread(o['active_hz'] for o in two)} / {spread(o['inactive_hz'] for o in two)}"),
        ("activations per second", "12.4", spread((o["activations_per_s"] for o in two), "{:.1f}")),
        ("median on-time (ms)", "138", spread((o["on_time_median_ms"] for o in two), "{:.0f}")),
        ("time covered by kept occurrences", "89 %",
         f"{100 * np.mean([o['covered'] for o in two]):.0f} %"),
        ("states, occurrences in 2.5 s", "29.6 ± 3.9, 36.4 ± 4.2",
         f"{spread((o['states'] for o in brief), '{:.1f}')}, "
         f"{spread((o['occurrences'] for o in brief), '{:.1f}')}"),
        ("threshold of update_then_stop, all 38, in 2.5 s (Hz)", "25.7", spread(
            (r["rules"]["update_then_stop, all 38"]["threshold_hz"] for r in short), "{:.1f}")),
        ("quenched noise: on-time (ms)", "239", spread(
            (r["rules"]["two_means"]["on_ms"] for r in quenched), "{:.0f}")),
    ])  # fmt: skip


def _sweep(runs: Runs, title: str, name: str, keys: list[str], index: int | None,
           known: dict[float, str]) -> None:  # fmt: skip
    rows = []
    for value, reference in known.items():
        tree = tree_of(DEFAULT, (keys, value, index))
        row, mean = _compared(runs, f"{name}_{value:g}", value, tree)
        cells = []
        for kind in KINDS:
            cell = f"{row[f'{kind}_sim_hz']:.2f}"
            if row["uniform_stable"]:
                cell += f" [{row[f'{kind}_mf_hz']:.2f}]"
            cells.append(cell)
        cells.append(f"{mean['active_hz']:.1f} / {mean['inactive_hz']:.2f}"
                     + (f" [{row['active_mf_hz']:.1f} / {row['inactive_mf_hz']:.2f}]"
                        if row["active_mf_hz"] else ""))  # fmt: skip
        cells.append(f"{mean['n_active']:.2f}")
        cells.append("-" if mean["on_time_ms"] is None else f"{mean['on_time_ms']:.0f}")
        cells.append(f"{mean['separation']:.1f}")
        rows.append((f"{value:g}", *cells))
        rows.append((f"{value:g}, known", *reference.split(", ")))
    show(title, ("", "E", "E bg", "I", "I bg", "active / inactive", "active clusters", "on-time",
                 "separation"), rows)  # fmt: skip


def _compared(
    runs: Runs, name: str, value: float, tree: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two runs of 6 s beside the theory, and their means."""
    measured = []
    for one in runs.measure(name, tree, 6.0, 2):
        two = {k: v for k, v in one["rules"]["two_means"].items() if not isinstance(v, list)}
        measured.append(one["rates"] | two | {"on_time_ms": two["on_ms"]})
    mean = mean_over_runs(measured)
    return compared_row(value, mean, tree), mean


def part_e(runs: Runs) -> None:
    """Sweep arousal."""
    title = "E. Arousal (Hz; theory of the stable state in brackets)"
    _sweep(runs, title, "e", AROUSAL, None, {
        0: "10.01, 1.10, 11.51, 13.54, 59.2 / 0.64, 2.88, 719, 10.6",
        0.1: "10.04, 1.13, 11.55, 13.56, 59.7 / 0.63, 2.87, 809, 10.5",
        0.2: "9.85, 1.41, 11.54, 13.72, 57.2 / 0.90, 2.86, 498, 9.6",
        0.3: "9.82, 2.00, 11.74, 14.36, 51.5 / 1.57, 2.98, 239, 7.3",
        0.4: "9.90, 3.08, 12.15, 15.50, 40.4 / 3.20, 3.25, 90, 5.1",
        0.5:
            "10.22 [10.17], 4.96 [4.88], 12.90 [13.26], 17.48 [16.72], 29.3 / 5.20, 3.75, 52, 3.8",
        0.6:
            "10.63 [10.58], 8.03 [7.74], 13.91 [14.28], 20.15 [19.28], 21.0 / 6.9, 4.8, 42, 3.0",
        0.7:
            "10.99 [10.95], 12.34 [11.69], 15.10 [15.48], 23.75 [22.60], 16.6 / 8.0, 6.2, 40, 2.8",
        0.8:
            "11.28 [11.28], 17.18 [16.16], 16.40 [16.81], 27.91 [26.38], 14.6 / 8.9, 7.5, 40, 2.7",
        0.9:
            "11.55 [11.56], 21.66 [20.37], 17.69 [18.11], 31.66 [30.11], 13.9 / 9.6, 8.1, 43, 2.7",
        1.0:
            "11.75 [11.74], 24.76 [23.29], 18.62 [19.06], 34.68 [32.82], 13.6 / 10.0, 8.6, 44, 2.6",
    })  # fmt: skip


def part_f(runs: Runs) -> None:
    """Sweep the potentiation of E clusters."""
    _sweep(runs, "F. J+ of E clusters at arousal 0.3", "f", J_EE, 0, {
        1: "6.72 [6.79], 16.95 [15.67], 10.38 [10.76], -, -, -, -, 2.6",
        5: "6.77 [6.85], 13.68 [12.68], 10.30 [10.70], -, -, -, -, 2.6",
        10: "7.32 [7.40], 9.24 [8.59], 10.51 [10.90], -, 11.3 / 5.3, -, -, 2.7",
        12: "7.78 [7.82], 7.14 [6.75], 10.72 [11.09], -, 14.6 / 5.2, -, -, 2.8",
        14: "8.38 [8.37], 4.98 [4.82], 11.01 [11.37], -, 22.6 / 5.0, 3.5, 43, 3.4",
        15: "8.80 [8.70], 3.87 [3.87], 11.20 [11.54], -, 28.9 / 4.2, 3.35, 55, 3.9",
        16: "9.32, 2.76, 11.45, -, 39.2 / 3.0, 3.1, 93, 5.2",
        16.85: "9.85, 1.88, 11.72, -, 51.1 / 1.7, 3.0, 205, 7.3",
        18: "11.02, 0.80, 12.37, -, 65.7 / 0.38, 2.9, 1430, 14",
        20: "13.30, 0.13, 13.70, -, 81.1 / 0.07, 2.9, > 4000, 21",
    })  # fmt: skip


def larger(tree: dict[str, Any], m: int) -> dict[str, Any]:
    """Return a network m times as large with the same mean field.

    Connections are 1/m as probable and, with couplings taken over the root of the size, as strong
    as before: every cell has as many inputs as before, but shares fewer of them with others.
    """
    init, clusters = dict(tree["init_params"]), dict(tree["architecture"]["clusters"])
    network, root = dict(tree["architecture"]["network"]), float(np.sqrt(m))
    for name in ("n_neurons", "n_excitatory", "n_inhibitory"):
        init[name] *= m
    for name in ("n_excitatory_background", "n_inhibitory_background"):
        clusters[name] *= m
    clusters["connectivity_fraction_probs"] = [
        p / m for p in clusters["connectivity_fraction_probs"]
    ]
    clusters["j_baseline"] = [j * root for j in clusters["j_baseline"]]
    network["j_ext"] = [j * root for j in network["j_ext"]]
    architecture = {"network": network, "clusters": clusters}
    return {**tree, "init_params": init, "architecture": architecture}


def part_j(runs: Runs) -> None:
    """Enlarge the network without changing its mean field: what is left is not finite size."""
    rows = []
    for j_ee in (1.0, 14.0, 16.85):
        for m in (1, 2, 4):
            tree = larger(tree_of(DEFAULT, (J_EE, j_ee, 0)), m)
            row, mean = _compared(runs, f"j_{j_ee:g}_{m}", j_ee, tree)
            cells = [_against(row, kind) for kind in (*KINDS, "active", "inactive")]
            rows.append((f"{j_ee:g}", 2000 * m, *cells, f"{mean['separation']:.1f}"))
    show("J. Size of the network: simulated [theory] (Hz) and difference", (
        "J+", "cells", "E", "E bg", "I", "I bg", "active", "inactive", "separation"), rows,
    )  # fmt: skip


def _against(row: dict[str, Any], kind: str) -> str | None:
    if row[f"{kind}_sim_hz"] is None:
        return None
    if row[f"{kind}_mf_hz"] is None:
        return f"{row[f'{kind}_sim_hz']:.2f}"
    return (f"{row[f'{kind}_sim_hz']:.2f} [{row[f'{kind}_mf_hz']:.2f}] "
            f"{row[f'{kind}_difference_percent']:+.1f} %")  # fmt: skip


def part_g(runs: Runs) -> None:
    """Drive half of the clusters a little more."""
    known = {
        0: (0.166, 0.167, 3.00), 0.05: (0.230, 0.110, 3.06), 0.1: (0.294, 0.056, 3.14),
        0.25: (0.376, 0.009, 3.46), 0.5: (0.446, 0.0, 4.01), 1.0: (0.559, 0.0, 5.03),
    }  # fmt: skip
    rows = []
    for alpha, (on, off, n) in known.items():
        tree = tree_of(HALF, (["perturbation", "rate", "params"], alpha, 0))
        found = [one["rules"]["two_means"] for one in runs.measure(f"g_{alpha:g}", tree, 10.0, 2)]
        share = np.mean([one["fractions"] for one in found], axis=0)
        rows.append((alpha, on, f"{share[:9].mean():.3f}", off, f"{share[9:].mean():.3f}",
                     f"{n:.2f}", f"{np.mean([one['n_active'] for one in found]):.2f}"))  # fmt: skip
    show("G. Clusters 0-8 driven by so many Hz more: share of time active", (
        "Hz", "0-8, known", "here", "9-17, known", "here", "number active, known", "here"), rows,
    )  # fmt: skip


PARTS: dict[str, Callable[[Any], None]] = {
    "A": part_a, "B": part_b, "C": part_c, "D": part_d, "E": part_e, "F": part_f, "G": part_g,
    "H": part_h, "I": part_i, "J": part_j,
}  # fmt: skip


def main() -> None:
    """Print the parts that are named, in order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--save-dir", type=Path, default=Path("simulations/clustered_results"))
    options = parser.parse_args()
    for name in options.parts or list(PARTS):
        runs, begin = Runs(options.save_dir), time.process_time()
        PARTS[name](runs)
        print(f"\n{name}: {runs.cpu_s + time.process_time() - begin:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
