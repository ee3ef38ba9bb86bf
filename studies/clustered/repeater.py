"""`Repeater`: one configuration, many seeds."""

from __future__ import annotations

import functools
import inspect
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.atomic import write_atomically, write_text
from bridge.runs.store import ResultStore, job_key
from scope.measure.attractors.recordings import SpikeEvents, events_of, write_spikes
from studies.clustered.execution import StepError, check_executor, check_picklable, run_steps
from studies.clustered.logger import Logger

SPIKE_FORMATS = ("npy", "events")
StagerFactory = Callable[..., Any]


def repeat_seeds(seed: int, n_repeats: int) -> list[int]:
    """Return the seeds of repeats: those of the original, numpy's legacy generator included."""
    state = np.random.RandomState(seed)  # published seeds come from this one
    return [int(one) for one in state.randint(0, 2**31, n_repeats)]


class Repeater:
    """Run a stager with many seeds and keep spikes, rasters and what describes the runs.

    Parameters
    ----------
    n_repeats : int or None
        None with `seeds_file` or `load_saved_seeds`: as many as there are seeds.
    save_dir : path
    stager_factory : callable
        ``stager_factory(seed)`` (also ``logger=`` where it takes one) returns a stager.
    config : path, bytes or mapping, optional
        Copied to ``metadata/config.yaml``; part of what decides whether runs can be resumed.
    seed : int
        Of the seeds.
    seeds_file : path, optional
        One integer per line, instead.
    load_saved_seeds : bool
        Take the seeds of ``metadata/seeds.txt``.
    parallel, max_workers, executor, scheduler
        See :func:`studies.clustered.execution.run_steps`. The files are the same bytes whatever
        they are.
    run_fn : callable, optional
        ``run_fn(stager)`` returns the outputs; default its events.
    save_fn : callable, optional
        ``save_fn(outputs, index, save_dir)`` instead of writing spikes and raster.
    spike_format : {"npy", "events"}
        Dense bool arrays, or events in ``.npz`` (a hundred times smaller).
    plot : bool
        Draw a raster of each repeat.
    logger : Logger, optional

    Writes ``clusters.npy``, ``data/spikes_<k>.npy``, ``plots/spikes_<k>.png`` and ``metadata/``
    (seeds.txt, config.yaml, cmd.txt, run.log).
    """

    def __init__(
        self,
        n_repeats: int | None,
        save_dir: str | Path,
        *,
        stager_factory: StagerFactory,
        config: Any = None,
        seed: int = 256,
        seeds_file: str | Path | None = None,
        load_saved_seeds: bool = False,
        parallel: bool = False,
        max_workers: int | None = None,
        executor: str = "thread",
        scheduler: str | None = None,
        run_fn: Callable[[Any], Any] | None = None,
        save_fn: Callable[[Any, int, Path], None] | None = None,
        spike_format: str = "npy",
        plot: bool = True,
        logger: Logger | None = None,
    ) -> None:
        check_executor(executor, max_workers)
        if spike_format not in SPIKE_FORMATS:
            raise ValueError(
                f"spike_format {spike_format!r} is unknown; use {', '.join(SPIKE_FORMATS)}"
            )
        self.save_dir = Path(save_dir)
        self.seeds = self._seeds(n_repeats, seed, seeds_file, load_saved_seeds)
        if parallel and executor != "thread":
            check_picklable(stager_factory=stager_factory, run_fn=run_fn)
        self._settings: dict[str, Any] = {
            "parallel": parallel, "max_workers": max_workers, "executor": executor,
            "scheduler": scheduler,
        }  # fmt: skip
        self._factory, self._run_fn, self._save_fn = stager_factory, run_fn, save_fn
        self._config = _config_bytes(config)
        self._format, self._plot = spike_format, plot
        self.logger = Logger("Repeater") if logger is None else logger

    def _seeds(self, n: int | None, seed: int, file: str | Path | None, saved: bool) -> list[int]:
        if file is not None and saved:
            raise ValueError("give a seeds file or load the saved seeds, not both")
        if file is None and not saved:
            if n is None or n < 1:
                raise ValueError(f"n_repeats = {n} must be at least 1")
            return repeat_seeds(seed, n)
        path = self.save_dir / "metadata" / "seeds.txt" if saved else Path(str(file))
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file of seeds, one integer per line")
        seeds = []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            word = line.strip()
            if word and not word.lstrip("-").isdigit():
                raise ValueError(f"{path}, line {number}: {word!r} is no integer")
            if word:
                seeds.append(int(word))
        if not seeds:
            raise ValueError(f"{path} holds no seeds")
        if n is not None and n != len(seeds):
            raise ValueError(f"n_repeats = {n}, but {path} holds {len(seeds)} seeds")
        return seeds

    def run(self) -> list[dict[str, Any]]:
        """Run all repeats and return a summary of each: index, seed, spikes, steps.

        A job that was killed goes on with the repeats that are missing.

        Raises
        ------
        StepError
            If repeats failed, after all others have been done; names each with its seed.
        """
        self._describe()
        store = self._store()
        held = {k: store.get(k) for k in store.done()}
        done = {k: dict(found) for k, found in held.items() if found and self._file(k).is_file()}
        if done:
            self.logger.info(f"resuming: {len(done)} of {len(self.seeds)} repeats are there")
        left = [k for k in range(len(self.seeds)) if k not in done]
        step = functools.partial(_repeat, self._factory, self._run_fn)
        failures = []
        for place, outcome in run_steps(
            step, [self.seeds[k] for k in left], label="repeats", **self._settings
        ):  # fmt: skip
            k, seed = left[place], self.seeds[left[place]]
            if "error" in outcome:
                failures.append(f"repeat {k} (seed {seed}): {outcome['error']}")
                self.logger.error(f"repeat {k} (seed {seed}) failed\n{outcome['traceback']}")
                continue
            done[k] = self._keep(k, seed, outcome["value"])
            store.put(k, done[k])
            self.logger.info(f"repeat {k} (seed {seed}) done")
        if failures:
            raise StepError(
                f"{len(failures)} of {len(self.seeds)} repeats failed (the others are done): "
                + "; ".join(failures)
            )
        store.remove()
        return [done[k] for k in sorted(done)]

    def _describe(self) -> None:
        for name in ("data", "plots", "metadata"):
            (self.save_dir / name).mkdir(parents=True, exist_ok=True)
        metadata = self.save_dir / "metadata"
        self.logger.attach_file(metadata / "run.log")
        write_text(metadata / "seeds.txt", "".join(f"{seed}\n" for seed in self.seeds))
        if self._config is not None:
            content = self._config
            write_atomically(metadata / "config.yaml", lambda path: path.write_bytes(content))
        write_text(metadata / "cmd.txt", shlex.join([sys.executable, *sys.argv]) + "\n")

    def _store(self) -> ResultStore:
        key = job_key({
            "seeds": self.seeds, "config": str(self._config), "format": self._format,
            "factory": _name(self._factory), "run_fn": _name(self._run_fn),
        })  # fmt: skip
        folder = self.save_dir / "metadata" / "unfinished"
        try:
            return ResultStore(folder, key=key, n_items=len(self.seeds))
        except ValueError:
            raise ValueError(
                f"{folder} holds unfinished repeats of another configuration; choose another "
                "save_dir, or remove that folder"
            ) from None

    def _file(self, k: int) -> Path:
        if self._save_fn is not None:
            return self.save_dir  # what a user's function writes is not ours to look for
        ending = "npy" if self._format == "npy" else "npz"
        return self.save_dir / "data" / f"spikes_{k}.{ending}"

    def _keep(self, k: int, seed: int, outputs: Any) -> dict[str, Any]:
        if self._save_fn is not None:
            self._save_fn(outputs, k, self.save_dir)
            return {"index": k, "seed": seed}
        events, labels = outputs["events"], np.asarray(outputs["clusters"])
        write_spikes(self._file(k), events)
        clusters = self.save_dir / "clusters.npy"
        if not clusters.is_file() or not np.array_equal(np.load(clusters), labels):
            write_atomically(clusters, functools.partial(_save_array, array=labels))
        if self._plot:
            q = outputs.get("n_clusters")
            from scope.figures.clustered import raster_figure
            from scope.files import save_figure

            save_figure(
                raster_figure(
                    step=events.step,
                    neuron=events.neuron,
                    n_steps=events.n_steps,
                    boundaries=boundaries_of(labels),
                    n_clusters=q,
                    dt_s=outputs["dt_s"],
                ),
                self.save_dir / "plots" / f"spikes_{k}.png",
            )
        return {
            "index": k, "seed": seed, "n_spikes": len(events.step), "n_steps": events.n_steps,
            "n_neurons": events.n_neurons,
        }  # fmt: skip


def _save_array(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def boundaries_of(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return first neuron of each population, and their number, from ascending labels."""
    return np.searchsorted(labels, np.arange(1, int(labels.max()) + 2))


def _repeat(factory: StagerFactory, run_fn: Callable[[Any], Any] | None, seed: int) -> Any:
    """Build the stager of a seed, run it, and return its outputs."""
    stager = factory(seed)
    if run_fn is not None:
        outputs = run_fn(stager)
        if not isinstance(outputs, Mapping) or "spikes" not in outputs:
            return outputs
        return {
            "events": events_of(outputs["spikes"]), "clusters": np.asarray(outputs["clusters"]),
            "dt_s": _dt_s(stager), "n_clusters": _n_clusters(stager),
        }  # fmt: skip
    if hasattr(stager, "run_events"):
        run = stager.run_events()
        events = SpikeEvents(run.step, run.neuron, run.n_steps, run.n_neurons)
        return {
            "events": events, "clusters": stager.clusters, "dt_s": run.dt_s,
            "n_clusters": _n_clusters(stager),
        }  # fmt: skip
    outputs = stager.run()
    return {
        "events": events_of(outputs["spikes"]), "clusters": np.asarray(outputs["clusters"]),
        "dt_s": _dt_s(stager), "n_clusters": _n_clusters(stager),
    }  # fmt: skip


def _dt_s(stager: Any) -> float:
    return float(getattr(stager, "metadata", {}).get("delta_t_s", 0.0005))


def _n_clusters(stager: Any) -> int | None:
    network = getattr(stager, "network", None)
    return None if network is None else int(network.layout.n_clusters)


def _name(function: Any) -> str:
    if function is None:
        return ""
    if isinstance(function, functools.partial):
        given = [repr(a) for a in function.args if isinstance(a, str | int | float)]
        named = [
            f"{k}={v!r}" for k, v in sorted(function.keywords.items())
            if isinstance(v, str | int | float | bool)
        ]  # fmt: skip
        return f"{_name(function.func)}({', '.join([*given, *named])})"
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"


def _config_bytes(config: Any) -> bytes | None:
    if config is None or isinstance(config, bytes):
        return config
    from bridge.clustered.config import ClusteredConfig
    from bridge.clustered.yaml_tree import dump_tree
    from bridge.runs.recipes import find_recipe

    if isinstance(config, ClusteredConfig):
        return config.content
    if isinstance(config, Mapping):
        return dump_tree(dict(config)).encode()
    return find_recipe(config).read_bytes()


def accepts_logger(factory: StagerFactory) -> bool:
    """Return whether a factory takes ``logger=``."""
    try:
        return "logger" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


__all__: Sequence[str] = ("Repeater", "repeat_seeds")
