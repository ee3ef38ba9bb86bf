"""Train the networks of the documentation, compare them with classifiers and published trends.

    python benchmarks/learning.py digits      COBA, PING and CUBA on scikit digits, with the bounds
    python benchmarks/learning.py theta_u     accuracy and rate against the upper rate target (R8)
    python benchmarks/learning.py tau_gaba    frequency and rate against tau_GABA (R9)
    python benchmarks/learning.py dt          trained and tested at each time step (R11)
    python benchmarks/learning.py loop        a trainable E-I loop is dismantled (R12)
    python benchmarks/learning.py dampen      gradient damping with and without the loop (R17)

Each training is a run of ``pingbridge train --config configs/ping/...`` in its own folder under
``--out-dir``; one that is complete is not repeated, one that was killed goes on where it stopped.
``--jobs`` trainings run side by side. ``--quick`` trains two epochs of one seed, ``--epochs`` and
``--seeds`` choose; ``--json`` writes the rows, ``--figure`` draws the learning curves of
``digits``. R numbers: the published runs of pinglab.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

RECIPES = Path("configs") / "ping"
OTHER_NOISE = (1, 2, 3, 4, 5)  # seeds of test spikes that chose nothing


@dataclass(frozen=True)
class Case:
    """One row of a table: a recipe with some flags changed."""

    name: str
    recipe: str
    flags: tuple[str, ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)


def digits() -> list[Case]:
    """COBA and PING at two input rates, and the current-based pair."""
    cases = []
    for rate, recipe in ((25, "digits_{}.yaml"), (100, "digits_{}_100hz.yaml")):
        for name in ("coba", "ping"):
            columns = {"network": name, "input Hz": rate}
            cases.append(Case(f"{name}_{rate}hz", recipe.format(name), (), columns))
    for name in ("cuba_ping", "cuba_noping"):
        cases.append(Case(name, f"digits_{name}.yaml", (), {"network": name, "input Hz": 80}))
    return cases


def theta_u() -> list[Case]:
    """COBA and PING under ever lower upper targets of the rate."""
    cases = []
    for name in ("coba", "ping"):
        for theta in (None, 5, 2, 1, 0.5, 0.2):
            flags: tuple[str, ...] = ()
            if theta is not None:
                flags = ("--fr-reg-upper-theta", str(theta), "--fr-reg-upper-strength", "0.001")
            cases.append(Case(f"{name}_theta_{theta}", f"theta_u_{name}.yaml", flags,
                              {"network": name, "theta_u": theta}))  # fmt: skip
    return cases


def tau_gaba() -> list[Case]:
    """PING trained with each inhibitory time constant."""
    return [
        Case(f"tau_{tau:g}", "tau_gaba.yaml", ("--tau-gaba", str(tau)), {"tau_GABA ms": tau})
        for tau in (4.5, 6, 9, 12, 18, 27)
    ]


def dt() -> list[Case]:
    """PING trained and tested at each time step."""
    return [
        Case(f"dt_{dt_ms:g}", "dt_audit.yaml", ("--dt", str(dt_ms)), {"dt ms": dt_ms})
        for dt_ms in (0.05, 0.1, 0.25, 0.5, 1.0)
    ]


def loop() -> list[Case]:
    """PING with a frozen loop, and with loops that learn."""
    cases = [Case("frozen_1", "trainable_loop.yaml",
                  ("--no-trainable-w-ei", "--no-trainable-w-ie"),
                  {"loop": "frozen", "strength": 1.0})]  # fmt: skip
    for strength in (1.0, 0.1, 0.0):
        cases.append(Case(f"trainable_{strength:g}", "trainable_loop.yaml",
                          ("--ei-strength", str(strength)),
                          {"loop": "trainable", "strength": strength}))  # fmt: skip
    return cases


def dampen() -> list[Case]:
    """COBA and PING under each damping of the gradient."""
    return [
        Case(f"{name}_gamma_{gamma}", f"theta_u_{name}.yaml",
             ("--v-grad-dampen", str(gamma), "--epochs", "20", "--lr", "0.001"),
             {"network": name, "gamma": gamma})
        for name in ("coba", "ping") for gamma in (1, 10, 100, 1000)
    ]  # fmt: skip


EXPERIMENTS = {f.__name__: f for f in (digits, theta_u, tau_gaba, dt, loop, dampen)}


def train(case: Case, seed: int, folder: Path, epochs: int | None) -> dict[str, Any]:
    """Train one network, unless it is there already; return its metrics."""
    words = ["train", "--config", str(RECIPES / case.recipe), *case.flags, "--seed", str(seed),
             "--observe", "none", "--out-dir", str(folder)]  # fmt: skip
    if epochs is not None:
        words += ["--epochs", str(epochs)]
    done = folder / "metrics.json"
    if not done.exists() or (folder / ".running").exists():
        if (folder / "checkpoint.pth").exists():
            words.append("--resume")
        outcome = subprocess.run(
            [sys.executable, "-m", "cli", *words], capture_output=True, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
        )  # fmt: skip
        if outcome.returncode:
            raise SystemExit(f"{' '.join(words)}\n{outcome.stderr[-500:]}")
        print(f"trained {folder}", file=sys.stderr, flush=True)
    metrics: dict[str, Any] = json.loads(done.read_text())
    return metrics


def dynamics(folder: Path, n_trials: int = 60) -> dict[str, float]:
    """Return accuracy on five other encodings of the test set, frequency, participation, rates."""
    from bridge.datasets import catalog as datasets
    from bridge.formats.weight_files import load_weight_matrices
    from bridge.network.task import Task
    from bridge.runs.groups_train import TRAIN_GROUPS
    from bridge.runs.inherit import read_run
    from bridge.runs.job import make_job
    from bridge.runs.resolve import resolve
    from scope.measure.rhythm import participation
    from scope.measure.spectra import f_gamma
    from train_torch.network.evaluate import evaluate
    from train_torch.network.networks import build_network
    from train_torch.network.simulate import record

    inherited = read_run(folder, TRAIN_GROUPS)
    job = make_job(resolve(TRAIN_GROUPS, {}, None, inherited), inherited, mode="infer")
    values = inherited.values
    task = Task(dataset=datasets.load("scikit"), dt_ms=job.stimulus.dt_ms, t_ms=job.stimulus.t_ms,
                rate_hz=float(values["input_rate"]))  # fmt: skip
    stimulus = task.encode(task.dataset.test_index[:n_trials])
    weights = load_weight_matrices(folder / "weights.h5")
    network = build_network(job.spec, weights, dt_ms=stimulus.dt_ms)
    recording = record(network, stimulus)
    other = [
        evaluate(network, task, task.dataset.test_index, encode=partial(task.encode, seed=k)).acc
        for k in OTHER_NOISE
    ]
    peaks = [f_gamma(recording, trial=k) for k in range(n_trials)]
    f_hz = float(np.nanmedian([p.f_hz for p in peaks]))
    cycles = participation(recording, f_gamma_hz=f_hz)
    loop = {n: float(w.mean()) for n, w in weights.items() if n[:4] in ("W_ei", "W_ie")}
    return {
        "other noise %": float(np.mean(other)),
        "f_gamma_hz": f_hz,
        "share_rhythmic": float(np.mean([p.is_rhythm for p in peaks])),
        "participation": cycles.p if cycles else float("nan"),
        "rate_e_hz": recording.rate_hz("e1"),
        **({"w_ei_us": loop["W_ei_1"], "w_ie_us": loop["W_ie_1"]} if loop else {}),
    }


def bounds(rate_hz: float, seeds: list[int]) -> dict[str, tuple[float, float, float]]:
    """Return accuracies (%) of classifiers that see the input's spike counts, by their names.

    Mean and standard deviation over seeds on the same test spikes as the networks, and the mean on
    other noise; fresh noise in each of 20 training passes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from bridge.datasets import catalog as datasets
    from bridge.network.task import Task

    # Thirty rounds of the 20 passes: twice as many presentations as the networks of 25 Hz have.
    warnings.simplefilter("ignore", ConvergenceWarning)
    data = datasets.load("scikit")
    task = Task(dataset=data, dt_ms=1.0, t_ms=200.0, rate_hz=rate_hz)
    found: dict[str, list[float]] = {}
    elsewhere: dict[str, list[float]] = {}
    test, truth = counts(task, data.test_index), task.labels(data.test_index)
    others = [counts(task, data.test_index, seed=k) for k in OTHER_NOISE]
    for seed in seeds:
        passes = [counts(task, data.train_index, seed=seed, epoch=k) for k in range(20)]
        x, y = np.concatenate(passes), np.tile(task.labels(data.train_index), len(passes))
        models = {
            "logistic": (LogisticRegression(max_iter=300), len(passes)),
            "64 ReLU": (MLPClassifier((64,), max_iter=30, random_state=seed), len(passes)),
            "256 ReLU": (MLPClassifier((256,), max_iter=30, random_state=seed), len(passes)),
            "RBF SVM (one pass)": (SVC(C=5.0), 1),
        }
        for name, (model, n_passes) in models.items():
            n = n_passes * len(data.train_index)
            fitted = make_pipeline(StandardScaler(), model).fit(x[:n], y[:n])
            found.setdefault(name, []).append(100.0 * fitted.score(test, truth))
            elsewhere.setdefault(name, []).extend(100.0 * fitted.score(o, truth) for o in others)
    return {
        name: (float(np.mean(v)), float(np.std(v)), float(np.mean(elsewhere[name])))
        for name, v in found.items()
    }


def counts(task: Any, index: Any, **noise: int) -> Any:
    """Return the input spikes of each channel, (sample, channel)."""
    stimulus = task.encode(index, **noise)
    dense = np.zeros((stimulus.n_trials, stimulus.n_in))
    np.add.at(dense, (stimulus.events[:, 1], stimulus.events[:, 2]), 1)
    return dense


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out-dir", type=Path, default=Path("artifacts") / "learning")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", help="names of cases")
    parser.add_argument("--figure", type=Path, help="learning curves of digits, at 25 and 100 Hz")
    given = parser.parse_args()
    if given.figure and (given.experiment != "digits" or given.only):
        parser.error("--figure draws all of digits")
    if given.quick:
        given.seeds, given.epochs = given.seeds[:1], 2
        given.out_dir = given.out_dir / "quick"
    cases = [c for c in EXPERIMENTS[given.experiment]() if not given.only or c.name in given.only]
    folders = {
        (case.name, seed): given.out_dir / given.experiment / f"{case.name}_seed{seed}"
        for case in cases for seed in given.seeds
    }  # fmt: skip
    with ThreadPoolExecutor(given.jobs) as pool:
        jobs = {
            (case.name, seed): pool.submit(
                train, case, seed, folders[case.name, seed], given.epochs
            )
            for seed in given.seeds for case in cases
        }  # fmt: skip
        metrics = {key: job.result() for key, job in jobs.items()}
    rows = [row(case, given.seeds, metrics, folders) for case in cases]
    print_table(rows)
    if given.experiment == "digits":
        found = {rate: bounds(rate, given.seeds) for rate in (25.0, 100.0)}
        if given.figure:
            draw(cases, metrics, found, given.figure)
        for rate, line in found.items():
            text = ", ".join(f"{n} {m:.1f} ± {s:.1f}, {o:.1f}" for n, (m, s, o) in line.items())
            print(f"classifiers of the input's counts at {rate:g} Hz, then on other noise: {text}")
            rows.append(
                {"case": f"classifiers {rate:g} Hz", **{n: m for n, (m, _, _) in line.items()}}
            )
    if given.experiment == "tau_gaba":
        f_hz, r_hz = (np.array([r[k] for r in rows]) for k in ("f_gamma_hz", "test E Hz"))
        slope, offset = np.polyfit(f_hz, r_hz, 1)
        r2 = 1 - np.var(r_hz - (offset + slope * f_hz)) / np.var(r_hz)
        print(f"r_E = {offset:.2f} + {slope:.3f} f_gamma, R2 {r2:.3f}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1, default=str) + "\n")


def draw(cases: list[Case], metrics: dict, found: dict, path: Path) -> None:
    """Draw the accuracy on the test spikes against the epoch, and what classifiers reach."""
    from scope.figures.learning_curves import draw_learning_curves
    from scope.files import save_figure

    panels: dict[str, dict[str, list]] = {f"{rate:g} Hz": {} for rate in found}
    for case in cases:
        runs = [run for (name, _), run in metrics.items() if name == case.name]
        curves = [[epoch["acc"] for epoch in run["epochs"]] for run in runs]
        title = f"{case.columns['input Hz']:g} Hz"
        if title in panels:
            panels[title][case.columns["network"].upper()] = curves
    lines = {
        f"{rate:g} Hz": {name: mean for name, (mean, _, _) in line.items() if "SVM" not in name}
        for rate, line in found.items()
    }  # fmt: skip
    save_figure(draw_learning_curves(panels, lines, bottom=85.0), path)


def row(case: Case, seeds: list[int], metrics: dict, folders: dict) -> dict[str, Any]:
    """Return one row: means over the seeds, and the spread of the accuracy."""
    runs = [metrics[case.name, seed] for seed in seeds]
    best = [run["best_acc"] for run in runs]
    made: dict[str, Any] = {"case": case.name, **case.columns}
    made |= {
        "best %": float(np.mean(best)), "± std": float(np.std(best)),
        "final %": float(np.mean([run["epochs"][-1]["acc"] for run in runs])),
        "test E Hz": float(np.mean([run["epochs"][-1]["test_rate_e"] for run in runs])),
        "test I Hz": float(np.mean([run["epochs"][-1]["test_rate_i"] or 0.0 for run in runs])),
        "epochs": len(runs[0]["epochs"]),
        "s/epoch": float(np.mean([run["perf"]["epoch_warm_mean_s"] for run in runs])),
    }  # fmt: skip
    if "cuba" not in case.name:
        found = [dynamics(folders[case.name, seed]) for seed in seeds]
        for key in found[0]:
            known = [one[key] for one in found if not np.isnan(one.get(key, np.nan))]
            made[key] = float(np.mean(known)) if known else float("nan")
    return made


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table in Markdown."""
    keys = list(dict.fromkeys(key for r in rows for key in r if key != "case"))
    print("| " + " | ".join(["case", *keys]) + " |")
    print("|" + "---|" * (len(keys) + 1))
    for r in rows:
        cells = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in map(r.get, keys)]
        print("| " + " | ".join([r["case"], *cells]) + " |")


if __name__ == "__main__":
    main()
