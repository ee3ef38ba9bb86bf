"""`StageSNNSimulation`: one spiking run from a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from bridge.clustered.connectivity import generate_clustered_weight_matrix
from bridge.clustered.coupling import Network
from bridge.clustered.external import NOISES, StimulusGenerator
from sim_brian.clustered.lif_net import ExternalDrive, LIFNet, LIFRun
from sim_brian.engine.program import EngineOptions
from studies.clustered.stager import Outputs, Stager, named_targets

OUTPUT_KEYS = ("spikes", "clusters", "voltage", "current", "stimulus", "weights")
DEFAULT_KEYS = ("spikes", "clusters")


class StageSNNSimulation(Stager):
    """A clustered spiking network, staged from a configuration.

    Parameters
    ----------
    config, random_seed, logger, perturbations, <target>_perturbation
        See :class:`studies.clustered.stager.Stager`.
    backend : {"auto", "numpy", "cython", "cpp"}
        Where it runs. The spikes are the same on all of them.
    arousal_noise : {"per_step", "quenched", "mean"}
        Beta noise of the external rate: anew in every step, once for each neuron, or its mean.

    The same configuration and seed give the same arrays; two runs of one stager are equal.
    """

    plots = ("spikes",)

    def __init__(
        self,
        config: Any,
        *,
        backend: str = "auto",
        arousal_noise: str = "per_step",
        engine: EngineOptions | None = None,
        **settings: Any,
    ) -> None:
        if arousal_noise not in NOISES:
            raise ValueError(f"arousal_noise {arousal_noise!r} is unknown; use {', '.join(NOISES)}")
        self.arousal_noise = arousal_noise
        self.engine = EngineOptions(target=backend) if engine is None else engine
        super().__init__(config, **settings)

    def __content__(self) -> Any:
        return super().__content__(), self.arousal_noise

    @property
    def clusters(self) -> NDArray[np.int32]:
        """Label (population index + 1) of every neuron."""
        return self.network.layout.labels

    def weights(self, network: Network | None = None) -> csr_matrix:
        """Return the synaptic matrix [receiving, sending]; perturbed couplings, same synapses."""
        network = self.network if network is None else network
        return generate_clustered_weight_matrix(
            network.layout.boundaries, network.p, network.j, self.rng("weights")
        )

    def run(
        self,
        *,
        duration_sec: float | None = None,
        delta_t: float | None = None,
        output_keys: Sequence[str] = DEFAULT_KEYS,
        external_counts: Any = None,
        **perturbations: Any,
    ) -> Outputs:
        """Run the network.

        Parameters
        ----------
        duration_sec, delta_t : float, s, optional
            In place of those of the configuration.
        output_keys : sequence of str
            Of ``spikes`` (T, N) bool, ``clusters`` (N,) int, ``voltage`` (T, N), ``current`` (T, N)
            1/s, ``stimulus`` (T, N) 1/s, ``weights`` (N, N).
        external_counts : int array (T, N), optional
            External spikes, in place of drawn ones.
        <target>_perturbation : array, optional

        Returns
        -------
        dict
            The outputs by name, and ``metadata``.
        """
        keys = list(output_keys)
        for key in keys:
            if key not in OUTPUT_KEYS:
                raise ValueError(f"output {key!r} is unknown; use {', '.join(OUTPUT_KEYS)}")
        record = [name for name in ("voltage", "current") if name in keys]
        network, weights, stimulus, stimulated, run = self._run(
            duration_sec, delta_t, external_counts, perturbations,
            record=["v" if name == "voltage" else name for name in record],
        )  # fmt: skip
        found: dict[str, Any] = {
            "spikes": lambda: run.spikes,
            "clusters": lambda: network.layout.labels,
            "voltage": lambda: run.v,
            "current": lambda: run.current,
            "stimulus": lambda: np.outer(stimulus, stimulated),
            "weights": lambda: weights.toarray(),
        }
        outputs = Outputs({key: found[key]() for key in keys})
        outputs.optional = OUTPUT_KEYS
        outputs["metadata"] = dict(self.metadata)
        return outputs

    def run_events(self, **settings: Any) -> LIFRun:
        """Run as :meth:`run` does and return the events: no dense arrays."""
        return self._run(
            settings.pop("duration_sec", None), settings.pop("delta_t", None),
            settings.pop("external_counts", None), settings,
        )[-1]  # fmt: skip

    def _run(
        self,
        duration_s: float | None,
        dt_s: float | None,
        counts: Any,
        perturbations: Mapping[str, Any],
        record: Sequence[str] = (),
    ) -> tuple[Network, csr_matrix, NDArray[np.float64], NDArray[np.bool_], LIFRun]:
        init = self.config.init
        assert init.delta_t_s is not None
        assert init.duration_s is not None
        dt_s = init.delta_t_s if dt_s is None else float(dt_s)
        duration_s = init.duration_s if duration_s is None else float(duration_s)
        if not (np.isfinite(dt_s) and np.isfinite(duration_s) and dt_s > 0 and duration_s > 0):
            raise ValueError(
                f"duration_sec = {duration_s:g} and delta_t = {dt_s:g} must be positive numbers"
            )
        n_steps = round(duration_s / dt_s)
        if n_steps < 1:
            raise ValueError(f"duration_sec = {duration_s:g} is shorter than one delta_t")
        network = self._network(named_targets(perturbations), n_steps=n_steps, dt_s=dt_s)
        weights = self.weights(network)
        stimulus, stimulated = self._stimulus(network, n_steps, dt_s)
        net = self._net(network, weights, dt_s)
        drive = None if counts is not None else self._drive(network)
        run = net.run(
            n_steps, external_counts=counts, drive=drive, stimulus=stimulus, stimulated=stimulated,
            record=record, seed=int(self.rng("drive").integers(2**31)), engine=self.engine,
        )  # fmt: skip
        self.metadata |= {
            "seed": self.random_seed, "backend": run.raw.target, "n_steps": n_steps,
            "delta_t_s": dt_s, "n_neurons": net.n_neurons, "n_spikes": len(run.step),
            "prepare_s": round(run.raw.prepare_s, 3), "run_s": round(run.raw.run_s, 3),
        }  # fmt: skip
        return network, weights, stimulus, stimulated, run

    def _net(self, network: Network, weights: csr_matrix, dt_s: float) -> LIFNet:
        plan = network.layout

        def each(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return values if len(values) == plan.n_neurons else plan.spread(values)

        return LIFNet(
            weights,
            plan.spread(network.j_ext[0]),
            each(network.tau_membrane),
            each(network.tau_synaptic),
            each(network.tau_refractory),
            each(network.threshold),
            each(network.reset_voltage),
            dt_s,
            mechanism=self.config.init.mechanism,
            n_excitatory=plan.n_exc,
        )

    def _drive(self, network: Network) -> ExternalDrive:
        plan = network.layout

        def each(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack([plan.spread(row) for row in rows])

        return ExternalDrive(
            nu_hz=each(network.nu_ext),
            c_ext=each(network.c_ext),
            j_ext=each(network.j_ext),
            extra_rate_hz=network.extra_rate_hz,
            noise=self.arousal_noise,
            rate_hz=network.rate,
            group=plan.labels.astype(np.int64) - 1,
            rng=self.rng("noise"),
        )

    def _stimulus(
        self, network: Network, n_steps: int, dt_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        given = self.config.stimulus
        generator = StimulusGenerator(
            network.layout.boundaries, network.layout.n_clusters,
            clusters_prob=given.stimulated_clusters_prob,
            neuron_prob=given.stimulated_neuron_prob, rng=self.rng("stimulus"),
        )  # fmt: skip
        wave = generator.generate(
            given.stimulus_shape,
            onsets_s=given.onsets or (),
            duration_s=n_steps * dt_s if given.duration is None else given.duration,
            amplitude=given.amplitude,
            n_steps=n_steps,
            dt_s=dt_s,
            tau_rise_s=given.tau_rise,
            tau_decay_s=given.tau_decay,
        )
        return wave, generator.stimulated

    def plot(self, what: str, outputs: Mapping[str, Any], folder: Path) -> Path:
        """Draw the raster of a run into a folder and return the file."""
        from scope.figures.clustered import raster_figure
        from scope.files import save_figure

        path = folder / "spike_raster.png"
        spikes = np.asarray(outputs["spikes"])
        step, neuron = np.nonzero(spikes)
        save_figure(
            raster_figure(
                step=step,
                neuron=neuron,
                n_steps=len(spikes),
                boundaries=self.network.layout.boundaries,
                n_clusters=self.network.layout.n_clusters,
                dt_s=self.metadata["delta_t_s"],
            ),
            path,
        )
        return path
