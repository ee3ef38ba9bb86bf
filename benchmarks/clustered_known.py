"""Known results of the theory, of the attractor analysis and of the capacity program.

Parts of benchmarks/clustered_results.py; call that.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bridge.clustered.yaml_tree import load_tree
from studies.clustered.sweeps import with_value

CONFIGS = Path(__file__).parents[1] / "configs" / "clustered"
TWO, EIGHTEEN = CONFIGS / "2_cluster_mf.yaml", CONFIGS / "18_cluster_mf.yaml"
DEFAULT, HALF = CONFIGS / "default_snn_params.yaml", CONFIGS / "perturbed" / "half_driven.yaml"
J_EE = ["architecture", "clusters", "j_potentiated"]
AROUSAL = ["arousal", "level"]


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


def model_of(path: Path, arousal: float | None = None, j_ee: float | None = None) -> Any:
    """Return the mean field of a file at some arousal and potentiation."""
    from studies.clustered import FullMeanFieldStager

    changes: list[tuple[list[str], Any, int | None]] = []
    if arousal is not None:
        changes.append((AROUSAL, arousal, None))
    if j_ee is not None:
        changes.append((J_EE, j_ee, 0))
    return FullMeanFieldStager(tree_of(path, *changes)).model


def critical(path: Path, low: float, high: float, **fixed: float) -> float:
    """Return where the uniform state changes its stability, over the parameter not fixed."""
    from bridge.mean_field import critical_value
    from bridge.mean_field.uniform_states import uniform_start

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
    from bridge.mean_field.uniform_states import active_states

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


def part_h(_: Any) -> None:
    """Detect activity whose truth is known (tests/reference)."""
    from scope.measure.attractors.activity import (
        activity_threshold,
        population_counts,
        smoothed_rates,
    )

    folder = Path(__file__).parents[1] / "tests" / "reference"
    data = np.load(folder / "clustered_attractor_spikes.npz", allow_pickle=False)
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
