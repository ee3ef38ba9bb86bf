"""Repeat the known results of clustered networks and their mean field and print them as tables.

    python benchmarks/clustered_results.py                 # everything, about 15 CPU minutes
    python benchmarks/clustered_results.py A B C H I       # theory and analysis only, a minute
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

from bridge.atomic import to_json_text, write_text
from sim_brian.clustered.compare import compared_row, kind_rates, mean_over_runs
from sim_brian.clustered.sweeps import with_value
from sim_brian.clustered.yaml_tree import load_tree

CONFIGS = Path(__file__).parents[1] / "configs" / "clustered"
TWO, EIGHTEEN = CONFIGS / "2_cluster_mf.yaml", CONFIGS / "18_cluster_mf.yaml"
DEFAULT, HALF = CONFIGS / "default_snn_params.yaml", CONFIGS / "perturbed" / "half_driven.yaml"
J_EE = ["architecture", "clusters", "j_potentiated"]
AROUSAL = ["arousal", "level"]
RULES = {
    "two_means": {},
    "stop_before_update": {"threshold_rule": "stop_before_update"},
    "update_then_stop": {"threshold_rule": "update_then_stop"},
    "update_then_stop, all 38": {
        "threshold_rule": "update_then_stop", "n_excitatory_clusters": None,
    },
}  # fmt: skip


def show(title: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table in markdown."""
    head = list(head)
    print(f"\n{title}\n\n| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    for row in rows:
        print("| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |")


def tree_of(path: Path, *changes: tuple[list[str], Any, int | None]) -> dict[str, Any]:
    """Return a configuration with some entries changed."""
    tree = load_tree(path)[0]
    for keys, value, index in changes:
        tree = with_value(tree, keys, value, index)
    return tree


# --- theory -----------------------------------------------------------------------------------


def model_of(path: Path, arousal: float | None = None, j_ee: float | None = None) -> Any:
    """Return the mean field of a file at some arousal and potentiation."""
    from sim_brian.clustered import FullMeanFieldStager

    changes: list[tuple[list[str], Any, int | None]] = []
    if arousal is not None:
        changes.append((AROUSAL, arousal, None))
    if j_ee is not None:
        changes.append((J_EE, j_ee, 0))
    return FullMeanFieldStager(tree_of(path, *changes)).model


def critical(path: Path, low: float, high: float, **fixed: float) -> float:
    """Return where the uniform state changes its stability, over the parameter not fixed."""
    from bridge.mean_field import critical_value
    from sim_brian.clustered.theory import uniform_start

    name = "j_ee" if "arousal" in fixed else "arousal"
    start = uniform_start(model_of(path, **fixed))
    return critical_value(
        lambda value: model_of(path, **{name: value}, **fixed), (low, high), start, tolerance=1e-9
    )


def part_a(_: Any) -> None:
    """Solve the two populations of the documentation."""
    from bridge.mean_field import LIFMeanField

    model = LIFMeanField(
        n_clusters=2, c_matrix=np.ones((2, 2), dtype=int), j_matrix=0.1 * np.ones((2, 2)),
        j_ext=np.array([2.3, 2.3]), c_ext=np.array([320, 320]), nu_ext=np.array([7.0, 7.0]),
        tau_membrane=[0.02, 0.02], tau_synaptic=[0.005, 0.005], threshold=[1.5, 0.75],
        reset_voltage=0.0, tau_refractory=0.005,
    )  # fmt: skip
    rates = model.solve_rates().x
    kind, values = model.determine_stability(rates)
    show("A. Two populations", ("", "rates (Hz)", "type", "eigenvalues"), [
        ("known", "188.2719, 193.9814", "stable node", "-0.99965466, -1.00000000"),
        ("here", "{:.4f}, {:.4f}".format(*rates), kind,
         ", ".join(f"{v.real:.8f}" for v in sorted(values, key=lambda v: -v.real))),
    ])  # fmt: skip


def _states(path: Path, **at: float) -> tuple[str, str]:
    from bridge.mean_field import find_fixed_points, random_starts

    model = model_of(path, **at)
    starts = random_starts(40, model.n_populations, np.random.default_rng(0))
    found = sorted(find_fixed_points(model, starts), key=lambda one: -one.nu[0])
    rates = "; ".join(f"{one.nu[0]:.3f}, {one.nu[1]:.3f}" for one in found)
    return rates, "; ".join(f"{one.kind} {one.eigenvalues[0].real:+.4f}" for one in found)


def part_b(_: Any) -> None:
    """Find the states of two clusters, and where they appear."""
    head = ("rates of both E clusters (Hz)", "type and leading eigenvalue")
    show("B. Two clusters over J+ (arousal 0.275)", ("J+", *head),
         [(j, *_states(TWO, j_ee=j)) for j in (15, 17, 18, 18.5, 19, 20, 21, 22)])  # fmt: skip
    levels = (0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.8, 1)
    show("B. Two clusters over arousal (J+ 20)", ("arousal", *head),
         [(a, *_states(TWO, arousal=a)) for a in levels])  # fmt: skip
    known = {0.275: 18.20205, 0: 17.60146, 0.1: 17.64541, 0.2: 17.86089, 0.3: 18.36078,
             0.4: 19.29360, 0.5: 20.89596}  # fmt: skip
    rows: list[Any] = [
        (f"J+ at arousal {a}", f"{value:.5f}", f"{critical(TWO, 16, 22, arousal=a):.5f}")
        for a, value in known.items()
    ]
    rows.append(("arousal at J+ 20", "0.450577", f"{critical(TWO, 0.3, 0.6, j_ee=20.0):.6f}"))
    show("B. Pitchfork", ("", "known", "here"), rows)


def part_c(_: Any) -> None:
    """Find which numbers of active clusters are stable."""
    from sim_brian.clustered.theory import active_states

    def row(path: Path, **at: float) -> list[str]:
        model = model_of(path, **at)
        stable = {k: s[0] for k in range(10)
                  if (s := [one for one in active_states(model, k) if one.stable])}  # fmt: skip
        rates = ", ".join(
            f"{k}: {one.nu[:k].mean():.2f} / {one.nu[k:18].mean():.2f}" if k else
            f"uniform {one.nu[0]:.2f}" for k, one in stable.items()
        )  # fmt: skip
        return [rates]

    show("C. Stable numbers of active clusters of 18: active / inactive rate (Hz)",
         ("arousal, J+", "stable"),
         [(f"{a}, 16.85", *row(DEFAULT, arousal=a)) for a in np.arange(11) / 10]
         + [("0.001, 15.75 (mean-field file)", *row(EIGHTEEN))])  # fmt: skip
    show("C. Where the uniform state loses its stability", ("", "known", "here"), [
        ("arousal at J+ 16.85", "0.438732", f"{critical(DEFAULT, 0.3, 0.6, j_ee=16.85):.6f}"),
        ("arousal at J+ 15.75", "0.316801", f"{critical(DEFAULT, 0.2, 0.5, j_ee=15.75):.6f}"),
        ("J+ at arousal 0.3", "15.65101", f"{critical(DEFAULT, 14, 17, arousal=0.3):.5f}"),
    ])  # fmt: skip


# --- simulations ------------------------------------------------------------------------------


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
        from sim_brian.clustered import repeat_seeds

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
    from sim_brian.clustered import Analyzer, StageSNNSimulation
    from sim_brian.clustered.recordings import SpikeEvents

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
        measured = []
        for one in runs.measure(f"{name}_{value:g}", tree, 6.0, 2):
            two = {k: v for k, v in one["rules"]["two_means"].items() if not isinstance(v, list)}
            measured.append(one["rates"] | two | {"on_time_ms": two["on_ms"]})
        mean = mean_over_runs(measured)
        row = compared_row(value, mean, tree)
        cells = []
        for kind in ("e", "e_bg", "i", "i_bg"):
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


# --- analysis and capacity --------------------------------------------------------------------


def part_h(_: Any) -> None:
    """Detect activity whose truth is known; needs the reference data."""
    from sim_brian.clustered.activity import activity_threshold, population_counts, smoothed_rates

    folder = os.environ.get("PINGBRIDGE_REFERENCE")
    if not folder:
        print("\nH needs PINGBRIDGE_REFERENCE, the folder of the reference data: left out")
        return
    data = np.load(Path(folder) / "clustered_attractor_spikes.npz", allow_pickle=False)
    labels, q = data["labels"], int(data["n_clusters"])
    rows = []
    for rule, known in (("two_means", "0.988, 0.979"), ("stop_before_update", "-, 0.49"),
                        ("update_then_stop", "-, 0.39 (all 8 populations)")):  # fmt: skip
        active, truth = [], []
        for k in (0, 1):
            spikes = np.unpackbits(data[f"spikes_packed_{k}"], axis=1)[:, : len(labels)]
            step, neuron = np.nonzero(spikes)
            counts = population_counts(step, neuron, labels, len(spikes))
            sizes = np.bincount(labels)[1:]
            rates = smoothed_rates(counts, sizes, dt_s=0.0005, kernel="gaussian", kernel_ms=10.0)
            used = rates if rule == "update_then_stop" else rates[:q]
            theta = activity_threshold(used, rule)
            active.append((used > theta[:, None])[:q])
            truth.append(np.unpackbits(data[f"truth_packed_{k}"], axis=1)[:, :q].T.astype(bool))
        here, real = np.concatenate(active, axis=1), np.concatenate(truth, axis=1)
        rows.append((rule, known, f"{(here == real).mean():.3f}, {here[real].mean():.3f}"))
    title = "H. Detection of known activity: frame accuracy, hit rate"
    show(title, ("rule", "known", "here"), rows)


def capacity(pairs: list[tuple[int, int]], n: int, k: int, m: int) -> tuple[float, float]:
    """Bound the largest smallest d'Pd over 0 <= P <= 1, tr P = m, from below and from above.

    d = (e_i - e_j) / sqrt(k). From above by duality: the m largest eigenvalues of the mean of dd'.
    From below by a projector on their space, spread evenly over eigenvalues that are equal.
    Where both agree, that is the value.
    """
    d = np.zeros((len(pairs), n))
    for row, (i, j) in zip(d, pairs, strict=True):
        row[i], row[j] = 1 / np.sqrt(k), -1 / np.sqrt(k)
    values, vectors = np.linalg.eigh(d.T @ d / len(d))
    values, vectors = values[::-1], vectors[:, ::-1]
    share = np.zeros(n)
    for value in np.unique(values[:m].round(12)):
        same = np.isclose(values, value)
        share[same] = min(1.0, (m - np.sum(values > value + 1e-9)) / same.sum())
    projector = (vectors * share) @ vectors.T
    lowest = np.einsum("pi,ij,pj->p", d, projector, d).min()
    return float(lowest), float(values[:m].sum())


def part_i(_: Any) -> None:
    """Bound the capacity of targeted swaps."""
    every = [(i, j) for i in range(18) for j in range(18) if i != j]
    ring = [(i, (i + 1) % 6) for i in range(6)]
    rows: list[tuple[Any, ...]] = []
    for m in (1, 4, 12, 17, 18):
        found = (f"{v:.5f}" for v in capacity(every, 18, 3, m))
        rows.append(("all swaps", m, f"{min(2 * m / 51, 2 / 3):.5f}", *found))
    for m, known in ((1, 4), (2, 7), (3, 10), (4, 11), (5, 12), (6, 12)):
        found = (f"{18 * v:.5f}/18" for v in capacity(ring, 18, 3, m))
        rows.append(("ring of six", m, f"{known}/18", *found))
    show("I. Capacity", ("pairs", "M", "known", "here, at least", "at most"), rows)


PARTS: dict[str, Callable[[Any], None]] = {
    "A": part_a, "B": part_b, "C": part_c, "D": part_d, "E": part_e, "F": part_f, "G": part_g,
    "H": part_h, "I": part_i,
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
