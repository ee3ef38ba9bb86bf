"""The scaling-factor search against a plain NumPy loop; the training step against eager autograd.

The search: 12 factors x 100 trials of 200 cells, wall time from an empty program cache, compilation
included. The baseline: the same equations one trial and one step at a time, as the published search
runs them, a few trials timed in the same run (before and after) and scaled to as many. Both draw
their noise inside the timed part.

    python benchmarks/rate_to_spike.py [--quick] [--json FILE] [--tasks NAME ...] [--jobs N]
        [--model FILE ...]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from plain_lif import plain_lif

from bridge.rate_to_spike import RateModel, TaskFactory
from bridge.rate_to_spike.trials import draw_trials, task_of
from studies.rate_to_spike.measuring import SearchOptions
from studies.rate_to_spike.search import DEFAULT_FACTORS, search_model

N = 200
TAUS = {"go_nogo": (4.0, 10.0), "xor": (4.0, 20.0), "mante": (4.0, 10.0)}


def drawn_model(task_name: str) -> RateModel:
    """Return a network with the size, the synapses and the rates of those that training yields.

    Drawn, because training takes minutes: 2700 synapses, excitatory cells at 7 to 12 Hz,
    inhibitory ones at 27 Hz over the grid. `--model` takes a trained one.
    """
    rng = np.random.default_rng(1)
    n_in = TaskFactory.task_class(task_name).n_in
    inh = rng.random((N, 1)) < 0.2
    w = np.abs(rng.standard_normal((N, N))) * (rng.random((N, N)) < 0.07)
    w *= 1.5 / np.sqrt(0.2 * N)
    # Rows receive: strong inhibition onto excitatory cells, strong excitation onto inhibitory ones.
    w *= np.where(inh, 3.0, np.where(inh.T, 12.0, 0.5))
    return RateModel.from_fields({
        "w": w, "w_in": rng.standard_normal((N, n_in)), "N": N, "inh": inh, "exc": ~inh,
        "w_out": rng.standard_normal((1, N)) / 10.0, "taus": np.array(TAUS[task_name]),
        "taus_gaus": rng.standard_normal((N, 1)), "task": task_name,
    })  # fmt: skip


def time_plain(model: RateModel, task, n_trials: int) -> list[float]:
    """Return the wall time of each of a few trials of the plain loop."""
    w, tau_s, found = model.signed_w(), model.tau_steps() * 0.005, []
    for trial in draw_trials(task, n_trials, 7):
        begin = time.perf_counter()
        rng = np.random.default_rng(trial.number)
        noise = rng.standard_normal((100 * (trial.u.shape[1] - 1), model.n))
        v0 = -65 + 95 * rng.random(model.n)
        plain_lif(w, model.w_in, model.w_out, tau_s, 40.0, trial.u, noise, v0)
        found.append(time.perf_counter() - begin)
    return found


def time_search(model: RateModel, task, n_trials: int, jobs: int | None) -> tuple[float, float]:
    """Return the wall time of a search from an empty cache, and the mean rate of its cells."""
    before = os.environ.get("PINGBRIDGE_CACHE_DIR")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PINGBRIDGE_CACHE_DIR"] = cache
        try:
            begin = time.perf_counter()
            options = SearchOptions(n_trials=n_trials, seed=1, jobs=jobs)
            result = search_model(model, task, DEFAULT_FACTORS, options)
            wall = time.perf_counter() - begin
        finally:
            if before is None:
                del os.environ["PINGBRIDGE_CACHE_DIR"]
            else:
                os.environ["PINGBRIDGE_CACHE_DIR"] = before
    share_inh = model.inh.mean()
    rates = result.measured.rate_exc_hz * (1 - share_inh) + result.measured.rate_inh_hz * share_inh
    return wall, float(rates.mean())


def time_updates(n_updates: int) -> dict[str, float]:
    """Return the time of an update of 16 Go/NoGo trials: hand-written gradient, eager autograd."""
    import torch

    from train_torch.rate_rnn import make_network
    from train_torch.rate_rnn import network as module
    from train_torch.rate_rnn.training import DEFAULT_PARAMS, _Trainer

    def eager(w, drive, leak, x_start, activation):
        x = x_start
        xs, rs = [x], [torch.sigmoid(x)]
        for t in range(len(drive)):
            x = leak * x + rs[-1] @ w.t() + drive[t]
            xs.append(x)
            rs.append(torch.sigmoid(x))
        return torch.stack(xs), torch.stack(rs)

    ours = module.run_rates
    times: dict[str, list[float]] = {"ours": [], "eager": []}
    trainers = {
        name: _Trainer(
            make_network(n_units=N, n_in=1, rng=np.random.default_rng(0)),
            TaskFactory.create_task("go_nogo"), [4, 10], DEFAULT_PARAMS, 0, 16, False,
        )
        for name in times
    }  # fmt: skip
    losses: dict[str, list[float]] = {"ours": [], "eager": []}
    for _ in range(n_updates + 2):
        for name, trainer in trainers.items():
            module.run_rates = ours if name == "ours" else eager
            trainer.update += 1
            begin = time.perf_counter()
            losses[name].append(trainer.step())
            times[name].append(time.perf_counter() - begin)
    module.run_rates = ours
    assert np.allclose(losses["ours"], losses["eager"], rtol=1e-2), "the two train apart"
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def models(options: argparse.Namespace) -> Iterator[RateModel]:
    """Yield the networks to be timed."""
    if options.model:
        yield from map(RateModel.load, options.model)
    else:
        yield from map(drawn_model, ["go_nogo"] if options.quick else options.tasks)


def main() -> None:
    """Print the table, and write it with --json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few trials, under a minute")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["go_nogo", "xor", "mante"])
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--model", type=Path, nargs="+", help="trained networks instead of drawn")
    options = parser.parse_args()
    n_trials, n_plain = (4, 1) if options.quick else (100, 2)
    rows = []
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {len(DEFAULT_FACTORS)} factors"
          f" x {n_trials} trials, N {N}")  # fmt: skip
    print(f"{'':10}{'search s':>10}{'plain s/trial':>15}{'plain s, scaled':>17}{'ratio':>8}"
          f"{'Hz':>7}")  # fmt: skip
    for model in models(options):
        task = task_of(model, None)
        name = task.name
        plain = time_plain(model, task, n_plain)
        wall, rate_hz = time_search(model, task, n_trials, options.jobs)
        plain += time_plain(model, task, n_plain)
        each = statistics.median(plain)
        scaled = each * len(DEFAULT_FACTORS) * n_trials
        print(f"{name:10}{wall:10.1f}{each:15.2f}{scaled:17.0f}{scaled / wall:8.1f}{rate_hz:7.1f}",
              flush=True)  # fmt: skip
        rows.append({"case": f"{name}, 12 factors x {n_trials} trials, N {N}",
                     "what": "grid search, empty cache, wall", "value": wall, "unit": "s",
                     "baseline": scaled, "ratio": scaled / wall})  # fmt: skip
    found = time_updates(3 if options.quick else 20)
    print(f"update of 16 trials: {1e3 * found['ours']:.1f} ms, eager autograd "
          f"{1e3 * found['eager']:.1f} ms, ratio {found['eager'] / found['ours']:.2f}")  # fmt: skip
    rows.append({"case": "go_nogo, batch 16, N 200", "what": "training update",
                 "value": found["ours"], "unit": "s", "baseline": found["eager"],
                 "ratio": found["eager"] / found["ours"]})  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
