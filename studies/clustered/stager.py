"""What all stagers share: configuration, seed, perturbations, saving."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from bridge.atomic import to_json_text, write_atomically, write_text
from bridge.clustered.config import read_config
from bridge.clustered.coupling import Network, make_network
from bridge.clustered.perturbation import TARGETS, gather_perturbations
from bridge.files.npz import write_npz
from bridge.runs.provenance import provenance
from studies.clustered.logger import Logger, quiet_logger

StagerT = TypeVar("StagerT", bound="Stager")


class Outputs(dict[str, Any]):
    """The arrays of a run by name; asking for one that was not kept says how to keep it."""

    optional: tuple[str, ...] = ()

    def __missing__(self, key: str) -> Any:
        if key in self.optional:
            raise KeyError(f"{key} was not kept; ask for it: run(output_keys=[..., {key!r}])")
        raise KeyError(key)


class Stager:
    """A configuration made ready to run.

    Parameters
    ----------
    config : path, bytes of YAML, mapping, or ClusteredConfig
    random_seed : int, optional
        Default ``settings.random_seed`` of the configuration; where that is null, drawn and
        recorded.
    logger : Logger, optional
    perturbations : mapping of target to array, optional
    <target>_perturbation : array, optional
        A single target; wins over `perturbations`, which win over the configuration.
    """

    spiking: ClassVar[bool] = True
    plots: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        config: Any,
        *,
        random_seed: int | None = None,
        logger: Logger | None = None,
        perturbations: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.config = read_config(config, spiking=self.spiking)
        if random_seed is None:
            random_seed = self.config.settings.random_seed
        if random_seed is None:
            random_seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1)
        if not 0 <= int(random_seed) < 2**63:
            raise ValueError(f"random_seed = {random_seed} must not be negative")
        self.random_seed = int(random_seed)
        self.logger = quiet_logger(type(self).__name__) if logger is None else logger
        self._given = dict(perturbations or {}) | named_targets(more)
        self.network: Network = self._network({})
        self.metadata: dict[str, Any] = {}

    def __content__(self) -> Any:
        """Return what decides a run beside the class; see :mod:`bridge.runs.content`."""
        return self.config.content, self.random_seed, self._given

    @classmethod
    def from_dict(cls: type[StagerT], tree: Mapping[str, Any], **settings: Any) -> StagerT:
        """Return a stager from a configuration as nested mappings."""
        return cls(dict(tree), **settings)

    def rng(self, part: str) -> np.random.Generator:
        """Return the generator of a part (``weights``, ``stimulus``, ``noise``, ...).

        Each depends on the seed and its name alone: what one part draws never moves another.
        """
        key = [ord(letter) for letter in part]
        return np.random.default_rng(np.random.SeedSequence(self.random_seed, spawn_key=key))

    def perturbations(
        self, given: Mapping[str, Any], *, n_steps: int | None = None, dt_s: float = 0.0
    ) -> dict[str, Any]:
        """Return the array of every perturbed target; `given` wins over construction and YAML."""
        return gather_perturbations(
            self.config.perturbation,
            self._given | dict(given),
            length=self.config.n_populations,
            n_steps=n_steps,
            dt_s=dt_s,
        )

    def _network(self, given: Mapping[str, Any], **steps: Any) -> Network:
        return make_network(self.config, self.perturbations(given, **steps))

    def run(self, **settings: Any) -> Outputs:
        """Run once and return the outputs by name."""
        raise NotImplementedError

    def execute(
        self, plot_arg: str | None = None, save_outputs: Any = None, **run_settings: Any
    ) -> Outputs:
        """Run, save and plot as the configuration's ``settings`` say, and return the outputs.

        Parameters
        ----------
        plot_arg : str, optional
            What to plot; default the first of :attr:`plots`.
        save_outputs : sequence of str, optional
            Names of the outputs that are saved; default all.
        run_settings
            For :meth:`run`.
        """
        plot_arg = self.plots[0] if plot_arg is None else plot_arg
        if plot_arg not in self.plots:
            raise ValueError(f"plot_arg {plot_arg!r} is unknown; use {', '.join(self.plots)}")
        settings = self.config.settings
        folder = Path(settings.save_dir) / settings.sim_name
        if settings.save or settings.plot:
            (folder / "metadata").mkdir(parents=True, exist_ok=True)
            self.logger.attach_file(folder / "metadata" / "run.log")
        begin = time.perf_counter()
        outputs = self.run(**run_settings)
        self.metadata["wall_s"] = round(time.perf_counter() - begin, 3)
        self.logger.info(f"ran in {self.metadata['wall_s']:.2f} s with seed {self.random_seed}")
        if settings.save:
            self._save(folder, outputs, save_outputs)
        if settings.plot:
            (folder / "plots").mkdir(parents=True, exist_ok=True)
            self.plot(plot_arg, outputs, folder / "plots")
        return outputs

    def plot(self, what: str, outputs: Mapping[str, Any], folder: Path) -> Path:
        """Draw one of :attr:`plots` into a folder and return the file."""
        raise NotImplementedError

    def _save(self, folder: Path, outputs: Outputs, chosen: Any) -> None:
        names = [n for n in outputs if n != "metadata"] if chosen is None else list(chosen)
        for name in names:
            outputs[name]  # an output that was not kept says so before anything is written
        (folder / "data").mkdir(parents=True, exist_ok=True)
        write_npz(folder / "data" / "outputs.npz", {n: np.asarray(outputs[n]) for n in names})
        write_atomically(folder / "config.yaml", lambda path: path.write_bytes(self.config.content))
        facts = {"seed": self.random_seed, **self.metadata, "provenance": provenance()}
        write_text(folder / "metadata" / "provenance.json", to_json_text(facts))
        self.logger.info(f"wrote {folder}")


def named_targets(more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``<target>_perturbation`` keywords by target."""
    found = {}
    for word, value in more.items():
        target = word.removesuffix("_perturbation")
        if target == word or target not in TARGETS:
            raise TypeError(
                f"unknown argument {word!r}; perturbations are <target>_perturbation with a target "
                f"of {', '.join(TARGETS)}"
            )
        if value is not None:
            found[target] = value
    return found


def save_perturbations(path: Path, arrays: Mapping[str, Any], logger: Logger) -> None:
    """Log shape, mean and range of every perturbation and write them to one NPZ."""
    for target, values in arrays.items():
        logger.info(
            f"perturbation of {target}: shape {values.shape}, mean {values.mean():.6g}, "
            f"min {values.min():.6g}, max {values.max():.6g}"
        )
    if arrays:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, arrays)


__all__ = ["Outputs", "Stager", "save_perturbations"]
