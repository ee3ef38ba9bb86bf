"""`Repeater`: one configuration, many seeds."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.atomic import write_atomically, write_text
from bridge.files.npz import read_npy
from bridge.files.reading import read_text
from bridge.runs.parallel import Failed
from scope.measure.attractors.recordings import SpikeEvents, events_of, read_spikes, write_spikes
from studies.clustered.execution import Workers
from studies.clustered.logger import Logger, quiet_logger
from studies.clustered.owner import refuse_results_of_others, take_over
from studies.stored import UNFINISHED, Stored

SPIKE_FORMATS = ("npy", "events")
CLEAR = "choose another save_dir (--save-dir), or clear this one (--wipe-dir)"
StagerFactory = Callable[..., Any]


def repeat_seeds(seed: int, n_repeats: int) -> list[int]:
    """Return the seeds of repeats: those of the original, numpy's legacy generator included."""
    state = np.random.RandomState(seed)  # published seeds come from this one
    return [int(one) for one in state.randint(0, 2**31, n_repeats)]


def read_seeds(path: Path, n: int | None = None) -> list[int]:
    """Return the seeds in a file, one integer per line.

    Parameters
    ----------
    path : Path
    n : int, optional
        How many there must be.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For a line that is no seed, no seeds at all, or another number of them.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of seeds, one integer per line")
    seeds = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        word = line.strip()
        if not word:
            continue
        if re.fullmatch("-?[0-9]+", word) is None:
            raise ValueError(f"{path}, line {number}: {word[:40]!r} is no integer")
        if not 0 <= int(word) < 2**63:
            raise ValueError(f"{path}, line {number}: the seed {word[:40]} must be 0 to 2^63 - 1")
        seeds.append(int(word))
    if not seeds:
        raise ValueError(f"{path} holds no seeds")
    if n is not None and n != len(seeds):
        raise ValueError(f"n_repeats = {n}, but {path} holds {len(seeds)} seeds")
    return seeds


def chosen_seeds(
    n_repeats: int | None,
    save_dir: Path,
    *,
    seed: int = 256,
    seeds_file: str | Path | None = None,
    load_saved_seeds: bool = False,
) -> list[int]:
    """Return the seeds of repeats; for the arguments, see :class:`Repeater`.

    Raises
    ------
    FileNotFoundError, ValueError
        For seeds that are none, or from two places.
    """
    if seeds_file is not None and load_saved_seeds:
        raise ValueError("give a seeds file or load the saved seeds, not both")
    if seeds_file is not None:
        return read_seeds(Path(seeds_file), n_repeats)
    if load_saved_seeds:
        return read_seeds(save_dir / "metadata" / "seeds.txt", n_repeats)
    if n_repeats is None or n_repeats < 1:
        raise ValueError(f"n_repeats = {n_repeats} must be at least 1")
    return repeat_seeds(seed, n_repeats)


class Repeater:
    """Run a stager with many seeds and keep spikes, rasters and what describes the runs.

    A folder belongs to the repeats that made it: one that holds recordings of another
    configuration, of other seeds or of another format is refused, and nothing in it is touched. The
    same repeats may be run again, and go on where they were killed.

    Parameters
    ----------
    n_repeats : int or None
        None with `seeds_file` or `load_saved_seeds`: as many as there are seeds.
    save_dir : path
    stager_factory : callable
        ``stager_factory(seed)`` returns a stager. One that has an argument ``logger`` is given that
        of the repeats.
    config : path, bytes or mapping, optional
        Copied to ``metadata/config.yaml``; part of what decides whether runs can be resumed, as are
        the code of the functions, what they refer to, and the configuration of the first stager.
    seed : int
        Of the seeds.
    seeds_file : path, optional
        One integer per line, instead.
    load_saved_seeds : bool
        Take the seeds of ``metadata/seeds.txt``.
    parallel, max_workers, executor, scheduler
        See :class:`studies.clustered.execution.Workers`. The files are the same bytes whatever they
        are.
    run_fn : callable, optional
        ``run_fn(stager)`` returns the outputs; default its events.
    save_fn : callable, optional
        ``save_fn(outputs, index, save_dir)`` instead of writing spikes and raster.
    spike_format : {"npy", "events"}
        Dense bool arrays, or events in ``.npz`` (a hundred times smaller).
    plot : bool
        Draw a raster of each repeat.
    logger : Logger, optional

    Raises
    ------
    ValueError, FileNotFoundError
        For seeds, workers or formats that are none.

    Writes ``clusters.npy``, ``data/spikes_<k>.npy``, ``plots/spikes_<k>.png`` and ``metadata/``
    (seeds.txt, config.yaml, cmd.txt, run.log, owner.json).
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
        self._workers = Workers(
            parallel=parallel, max_workers=max_workers, executor=executor, scheduler=scheduler
        )
        if spike_format not in SPIKE_FORMATS:
            raise ValueError(
                f"spike_format {spike_format!r} is unknown; use {', '.join(SPIKE_FORMATS)}"
            )
        self.save_dir = Path(save_dir).absolute()
        self.seeds = chosen_seeds(
            n_repeats, self.save_dir, seed=seed, seeds_file=seeds_file,
            load_saved_seeds=load_saved_seeds,
        )  # fmt: skip
        self._workers.check_picklable(stager_factory=stager_factory, run_fn=run_fn)
        self._factory, self._run_fn, self._save_fn = stager_factory, run_fn, save_fn
        self._config = _config_bytes(config)
        self._format, self._plot = spike_format, plot
        self.logger = Logger("Repeater") if logger is None else logger

    @property
    def files(self) -> list[Path]:
        """Return the files of spikes that these repeats write, and no other ones."""
        ending = "npy" if self._format == "npy" else "npz"
        return [self.save_dir / "data" / f"spikes_{k}.{ending}" for k in range(len(self.seeds))]

    def check(self) -> None:
        """Refuse a folder that belongs to other repeats; touches nothing.

        Raises
        ------
        ValueError
            If it holds what other repeats left, finished or not.
        """
        self._job.check()
        refuse_results_of_others(
            self.save_dir, self._job.key, always=("data/spikes_*.np[yz]", "clusters.npy"),
            clear=CLEAR,
        )  # fmt: skip

    def run(self) -> list[dict[str, Any]]:
        """Run all repeats and return a summary of each: index, seed, spikes, steps.

        A job that was killed goes on with the repeats that are missing.

        Raises
        ------
        ValueError
            As :meth:`check`.
        StepError
            If repeats failed, after all others have been done; names each with its seed.
        """
        with self.repeats() as found:
            return found

    @contextlib.contextmanager
    def repeats(self) -> Iterator[list[dict[str, Any]]]:
        """Give what :meth:`run` returns; a block that fails or is killed loses no repeat.

        Raises
        ------
        ValueError, StepError
            As :meth:`run`.
        """
        self.check()
        self._describe()
        step = functools.partial(
            _repeat, self._factory, self._run_fn,
            self.logger if accepts_logger(self._factory) else None,
        )  # fmt: skip
        with self._job as job:
            found = dict(
                job.results(
                    self._workers.runner(step), label="repeats", keep=self._keep,
                    is_there=self._is_there, on_failure=self._tell,
                )
            )  # fmt: skip
            yield [found[k] for k in range(len(self.seeds))]

    @functools.cached_property
    def _job(self) -> Stored:
        return Stored(
            self.save_dir / "metadata" / UNFINISHED,
            self.seeds,
            key={
                "config": self._config, "format": self._format, "factory": self._factory,
                "run": self._run_fn, "save": self._save_fn, "first": self._first(),
            },
            what="repeats",
            name=self._named,
            clear=CLEAR,
            wiped=True,  # looked at in `check`
            say=self.logger,
        )  # fmt: skip

    def _first(self) -> Any:
        """Return the first stager, or its configuration: files that a factory reads are in it."""
        from studies.clustered.stager import Stager

        logger = {"logger": quiet_logger("first")} if accepts_logger(self._factory) else {}
        try:
            stager = self._factory(self.seeds[0], **logger)
        except Exception:  # the repeat itself will fail, and say why
            return None
        if isinstance(stager, Stager):
            return stager
        return getattr(getattr(stager, "config", None), "content", None)

    def _named(self, k: int) -> str:
        return f"repeat {k} (seed {self.seeds[k]})"

    def _tell(self, k: int, failed: Failed) -> None:
        self.logger.error(f"{self._named(k)} failed\n{failed.traceback}")

    def _describe(self) -> None:
        for name in ("data", "plots", "metadata"):
            (self.save_dir / name).mkdir(parents=True, exist_ok=True)
        metadata = self.save_dir / "metadata"
        self.logger.attach_file(metadata / "run.log")
        take_over(self.save_dir, self._job.key)
        write_text(metadata / "seeds.txt", "".join(f"{seed}\n" for seed in self.seeds))
        if self._config is not None:
            content = self._config
            write_atomically(metadata / "config.yaml", lambda path: path.write_bytes(content))
        write_text(metadata / "cmd.txt", shlex.join([sys.executable, *sys.argv]) + "\n")

    def _is_there(self, k: int, kept: Mapping[str, Any]) -> bool:
        """Return whether the spikes of a repeat are what was written."""
        if self._save_fn is not None:
            return True  # what a user's function writes is not ours to look for
        try:
            events, _ = read_spikes(self.files[k])
        except (OSError, ValueError):
            return False
        found = (len(events.step), events.n_steps, events.n_neurons)
        return found == (kept["n_spikes"], kept["n_steps"], kept["n_neurons"])

    def _keep(self, k: int, outputs: Any) -> dict[str, Any]:
        """Write what a repeat yields and return its summary."""
        seed = self.seeds[k]
        summary = {"index": k, "seed": seed}
        if self._save_fn is not None:
            self._save_fn(outputs, k, self.save_dir)
        else:
            summary |= self._write(k, outputs)
        self.logger.info(f"{self._named(k)} done")
        return summary

    def _write(self, k: int, outputs: Mapping[str, Any]) -> dict[str, int]:
        events, labels = outputs["events"], np.asarray(outputs["clusters"])
        write_spikes(self.files[k], events)
        clusters = self.save_dir / "clusters.npy"
        if not _holds(clusters, labels):
            write_atomically(clusters, functools.partial(_save_array, array=labels))
        if self._plot:
            from scope.figures.clustered import raster_figure
            from scope.files import save_figure

            save_figure(
                raster_figure(
                    step=events.step,
                    neuron=events.neuron,
                    n_steps=events.n_steps,
                    boundaries=boundaries_of(labels),
                    n_clusters=outputs.get("n_clusters"),
                    dt_s=outputs["dt_s"],
                ),
                self.save_dir / "plots" / f"spikes_{k}.png",
            )
        return {
            "n_spikes": len(events.step), "n_steps": events.n_steps, "n_neurons": events.n_neurons,
        }  # fmt: skip


def _holds(path: Path, array: NDArray[Any]) -> bool:
    try:
        return np.array_equal(read_npy(path), array)
    except Exception:  # whatever a missing or damaged file raises: it is written again
        return False


def _save_array(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def boundaries_of(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return first neuron of each population, and their number, from ascending labels."""
    return np.searchsorted(labels, np.arange(1, int(labels.max()) + 2))


def _repeat(
    factory: StagerFactory, run_fn: Callable[[Any], Any] | None, logger: Logger | None, seed: int
) -> Any:
    """Build the stager of a seed, run it, and return its outputs."""
    stager = factory(seed) if logger is None else factory(seed, logger=logger)
    if run_fn is not None:
        outputs = run_fn(stager)
        if not isinstance(outputs, Mapping) or "spikes" not in outputs:
            return outputs
    elif hasattr(stager, "run_events"):
        run = stager.run_events()
        return {
            "events": SpikeEvents(run.step, run.neuron, run.n_steps, run.n_neurons),
            "clusters": stager.clusters, "dt_s": run.dt_s, "n_clusters": _n_clusters(stager),
        }  # fmt: skip
    else:
        outputs = stager.run()
    return {
        "events": events_of(outputs["spikes"]), "clusters": np.asarray(outputs["clusters"]),
        "dt_s": float(getattr(stager, "metadata", {}).get("delta_t_s", 0.0005)),
        "n_clusters": _n_clusters(stager),
    }  # fmt: skip


def _n_clusters(stager: Any) -> int | None:
    network = getattr(stager, "network", None)
    return None if network is None else int(network.layout.n_clusters)


def _config_bytes(config: Any) -> bytes | None:
    if config is None or isinstance(config, bytes):
        return config
    from bridge.clustered.config import ClusteredConfig, plain_tree
    from bridge.clustered.yaml_tree import dump_tree
    from bridge.runs.recipes import find_recipe

    if isinstance(config, ClusteredConfig):
        return config.content
    if isinstance(config, Mapping):
        return dump_tree(plain_tree(config)).encode()
    return find_recipe(config).read_bytes()


def accepts_logger(factory: StagerFactory) -> bool:
    """Return whether a factory has an argument ``logger`` that is still open."""
    if isinstance(factory, functools.partial) and "logger" in factory.keywords:
        return False
    try:
        return "logger" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


__all__: Sequence[str] = ("Repeater", "repeat_seeds")
