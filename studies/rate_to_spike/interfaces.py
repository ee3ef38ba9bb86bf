"""Configuration and abstract classes of spiking networks, and one real class of each.

Source: spikeRNN, `spiking.abstract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.factory import NetworkFactory
from bridge.rate_to_spike.lif import SKIPPED_STEPS
from bridge.rate_to_spike.model_file import RateModel
from studies.rate_to_spike.evaluation import evaluate_task
from studies.rate_to_spike.grid_search import lambda_grid_search

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions


@dataclass
class SpikingConfig:
    """Constants of a spiking network: times in s, voltages in mV."""

    N: int
    dt: float = 5e-5
    downsample: int = 1
    scaling_factor: float = 50.0
    tref: float = 0.002
    tm: float = 0.010
    vreset: float = -65.0
    vpeak: float = -40.0
    tr: float = 0.002
    use_initial_weights: bool = False
    device: Any = "cpu"


def create_default_spiking_config(**settings: Any) -> SpikingConfig:
    """Return a checked configuration; 200 cells unless given.

    Raises
    ------
    TypeError, ValueError
        For an unknown or illegal setting.
    """
    config = SpikingConfig(**{"N": 200, **settings})
    validate_spiking_config(config)
    return config


def validate_spiking_config(config: SpikingConfig) -> bool:
    """Return True for a configuration that makes a network.

    Raises
    ------
    ValueError
        Naming what is wrong.
    """
    for name in ("N", "dt", "scaling_factor", "tm"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be > 0")
    for name in ("tref", "tr"):
        if not getattr(config, name) >= 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be >= 0")
    if config.downsample < 1:
        raise ValueError(f"downsample = {config.downsample} must be at least 1")
    if not config.vpeak > config.vreset:
        raise ValueError(f"vpeak = {config.vpeak} must lie above vreset = {config.vreset}")
    if config.dt != 5e-5:
        raise ValueError(f"dt = {config.dt} s: a step is 5e-05 s; use downsample for longer ones")
    return True


class AbstractSpikingRNN(ABC):
    """A spiking network made from a rate network."""

    def __init__(self, config: SpikingConfig) -> None:
        validate_spiking_config(config)
        self.config = config

    @abstractmethod
    def load_rate_weights(self, path: str | Path) -> None:
        """Take over the weights of a model file."""

    @abstractmethod
    def initialize_lif_params(self) -> dict[str, float]:
        """Return the constants of the cells."""

    @abstractmethod
    def simulate(self, stimulus: Any, stims: Any = None) -> tuple[Any, ...]:
        """Return spikes, voltages, output, params of a trial."""

    @abstractmethod
    def compute_firing_rates(self, spikes: Any) -> Any:
        """Return the rate (Hz) of each cell."""


class AbstractSpikingConverter(ABC):
    """Makes spiking networks from rate networks."""

    @abstractmethod
    def convert(self, path: str | Path, config: SpikingConfig | None = None) -> AbstractSpikingRNN:
        """Return the spiking network of a model file."""

    @abstractmethod
    def optimize_scaling_factor(self, path: str | Path, task_name: str, **settings: Any) -> Any:
        """Return the best scaling factor."""


class AbstractSpikingEvaluator(ABC):
    """Tests spiking networks."""

    @abstractmethod
    def evaluate_task_performance(self, path: str | Path, task_name: str, **settings: Any) -> Any:
        """Return accuracies."""

    @abstractmethod
    def compare_with_rate_model(self, path: str | Path, task_name: str, **settings: Any) -> Any:
        """Return how both networks compare."""

    @abstractmethod
    def analyze_spike_dynamics(self, spikes: Any, dt: float, inh: Any = None) -> dict[str, Any]:
        """Return rates and regularity."""


class LIFSpikingRNN(AbstractSpikingRNN):
    """The LIF network of a model file."""

    def __init__(
        self, config: SpikingConfig, *, seed: int | None = None,
        engine: EngineOptions | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config)
        self.model: RateModel | None = None
        self._rng, self._engine = np.random.default_rng(seed), engine
        self._duration_s = 0.0

    def load_rate_weights(self, path: str | Path) -> None:
        """Take over the network of a model file; `config.N` becomes its size."""
        self.model = RateModel.load(path)
        self.config.N = self.model.n

    def initialize_lif_params(self) -> dict[str, float]:
        """Return dt (down-sampling included), tref, tm, tr (s), vreset, vpeak (mV)."""
        c = self.config
        return {
            "dt": c.dt * c.downsample, "tref": c.tref, "tm": c.tm, "vreset": c.vreset,
            "vpeak": c.vpeak, "tr": c.tr,
        }  # fmt: skip

    def simulate(self, stimulus: Any, stims: Any = None) -> tuple[Any, ...]:
        """Return spikes (cell, step), voltages (cell, step), output (step,), params.

        Raises
        ------
        ValueError
            If no weights were loaded.
        """
        if self.model is None:
            raise ValueError("load a model first: load_rate_weights(path)")
        from sim_brian.rate_lif.network import LIF_network_fnc

        c = self.config
        result = LIF_network_fnc(
            self.model, c.scaling_factor, stimulus, stims, c.downsample, c.use_initial_weights,
            seed=int(self._rng.integers(2**31)), record=("REC", "spk"), engine=self._engine,
            parameters={"t_ref_s": c.tref, "tau_m_s": c.tm, "tau_r_s": c.tr,
                        "v_reset_mv": c.vreset, "v_th_mv": c.vpeak},
        )  # fmt: skip
        self._duration_s = float(result[6]["T"])
        return result[2], result[1], result[5], result[6]

    def compute_firing_rates(self, spikes: Any) -> NDArray[np.float64]:
        """Return the rate (Hz) of each cell in the last run.

        Raises
        ------
        ValueError
            If there was none.
        """
        if not self._duration_s:
            raise ValueError("simulate a trial first")
        return np.asarray((np.asarray(spikes) > 0).sum(axis=1) / self._duration_s)


class LIFConverter(AbstractSpikingConverter):
    """Converts model files."""

    def convert(self, path: str | Path, config: SpikingConfig | None = None) -> LIFSpikingRNN:
        """Return the network, at the scaling factor of the file if it holds one."""
        model = RateModel.load(path)
        if config is None:
            factor = model.number("opt_scaling_factor")
            more = {} if factor is None else {"scaling_factor": factor}
            config = create_default_spiking_config(N=model.n, **more)
        made = LIFSpikingRNN(config)
        made.load_rate_weights(path)
        return made

    def optimize_scaling_factor(self, path: str | Path, task_name: str, **settings: Any) -> Any:
        """Return the best factor; see :func:`studies.rate_to_spike.lambda_grid_search`."""
        return lambda_grid_search(path, task_name, **settings)


class LIFEvaluator(AbstractSpikingEvaluator):
    """Tests LIF networks."""

    def evaluate_task_performance(
        self, path: str | Path, task_name: str, **settings: Any
    ) -> dict[str, Any]:
        """Return accuracies; see :func:`studies.rate_to_spike.evaluation.evaluate_task`."""
        return evaluate_task(task_name, path, **settings)

    def compare_with_rate_model(
        self, path: str | Path, task_name: str, **settings: Any
    ) -> Mapping[str, Any]:
        """Return accuracies of both networks, correlation and difference of their outputs."""
        found: Mapping[str, Any] = evaluate_task(task_name, path, **settings)["comparison"]
        return found

    def analyze_spike_dynamics(self, spikes: Any, dt: float, inh: Any = None) -> dict[str, Any]:
        """Return mean rate, CV of intervals, Fano factor of counts, rates of E and I cells.

        Parameters
        ----------
        spikes : array, shape (cell, step)
        dt : float, s
        inh : bool array, shape (cell,), optional
        """
        fired = np.asarray(spikes)[:, SKIPPED_STEPS:] > 0
        seconds = fired.shape[1] * dt
        rates = fired.sum(axis=1) / seconds
        intervals = [np.diff(np.flatnonzero(row)) for row in fired]
        cvs = [one.std() / one.mean() for one in intervals if len(one) >= 2]
        n_windows = max(1, int(seconds / 0.1))
        counts = np.stack([part.sum(axis=1) for part in np.array_split(fired, n_windows, axis=1)])
        active = counts.mean(axis=0) > 0
        fano = counts.var(axis=0)[active] / counts.mean(axis=0)[active]
        found: dict[str, Any] = {
            "mean_rate_hz": float(rates.mean()),
            "cv_isi": float(np.mean(cvs)) if cvs else float("nan"),
            "fano_factor": float(fano.mean()) if fano.size else float("nan"),
        }
        if inh is not None:
            is_inh = np.ravel(inh).astype(bool)
            found["rate_exc_hz"] = float(rates[~is_inh].mean())
            found["rate_inh_hz"] = float(rates[is_inh].mean()) if is_inh.any() else 0.0
        return found


class SpikingRNNFactory(NetworkFactory):
    """Kinds of spiking networks by name; ``lif`` is there."""

    _what = "spiking network"
    _registry: ClassVar[dict[str, Callable[..., Any]]] = {"lif": LIFSpikingRNN}
