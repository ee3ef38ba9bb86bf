"""Configuration, factory and small helpers of the rate network, under their published names."""

from __future__ import annotations

import argparse
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from bridge.rate_to_spike.factory import NetworkFactory
from train_torch.rate_rnn.network import FR_RNN_dale, make_network


@dataclass
class RNNConfig:
    """Sizes and rules of a rate network; see :class:`train_torch.rate_rnn.FR_RNN_dale`."""

    N: int
    P_inh: float
    P_rec: float
    som_N: int = 0
    gain: float = 1.5
    apply_dale: bool = True
    w_dist: str = "gaus"
    device: Any = "cpu"


def create_default_config(**settings: Any) -> RNNConfig:
    """Return a checked configuration; 200 units, both probabilities 0.2 unless given.

    Raises
    ------
    TypeError
        For an unknown setting.
    ValueError
        See :func:`validate_config`.
    """
    config = RNNConfig(**{"N": 200, "P_inh": 0.2, "P_rec": 0.2, **settings})
    validate_config(config)
    return config


def validate_config(config: RNNConfig) -> bool:
    """Return True for a configuration that makes a network.

    Raises
    ------
    ValueError
        Naming what is wrong and what is legal.
    """
    if not config.N > 0:
        raise ValueError(f"N = {config.N} must be > 0")
    for name in ("P_inh", "P_rec"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} = {getattr(config, name)} must lie between 0 and 1")
    if not 0 <= config.som_N <= config.N:
        raise ValueError(f"som_N = {config.som_N} must lie between 0 and N = {config.N}")
    if str(config.w_dist).lower() not in ("gaus", "gamma"):
        raise ValueError(f"w_dist = {config.w_dist!r} is unknown; use gaus or gamma")
    if not config.gain > 0:
        raise ValueError(f"gain = {config.gain} must be > 0")
    return True


class AbstractRateRNN(ABC):
    """What a rate network offers."""

    def __init__(self, config: RNNConfig) -> None:
        validate_config(config)
        self.config = config

    @abstractmethod
    def assign_exc_inh(self) -> Any:
        """Return which units are inhibitory."""

    @abstractmethod
    def initialize_W(self) -> Any:
        """Return drawn weights."""

    @abstractmethod
    def forward(self, stim: Any, taus: Any, training_params: Any, settings: Any) -> Any:
        """Run a trial."""

    @abstractmethod
    def load_net(self, path: Any) -> Any:
        """Take over the network of a model file."""

    def display(self) -> None:
        """Print the configuration."""
        print(self.config)


class AbstractTaskGenerator(ABC):
    """Makes inputs of a task."""

    @abstractmethod
    def generate_stimulus(self, settings: Mapping[str, Any]) -> Any:
        """Return input and label."""


class AbstractTargetGenerator(ABC):
    """Makes the output asked for."""

    @abstractmethod
    def generate_target(self, settings: Mapping[str, Any], label: Any) -> Any:
        """Return the target."""


class AbstractLossFunction(ABC):
    """A loss."""

    @abstractmethod
    def compute_loss(self, outputs: Any, targets: Any) -> Any:
        """Return the loss."""


class DaleRateRNN(AbstractRateRNN):
    """The Dale network from a configuration; `net` is the module itself.

    Parameters
    ----------
    config : RNNConfig
    w_in, w_out : array, optional
        Drawn if not given.
    n_in : int
        Input channels of a drawn `w_in`.
    seed : int, optional
        Fresh if not given.
    """

    def __init__(
        self,
        config: RNNConfig,
        w_in: Any = None,
        w_out: Any = None,
        n_in: int = 1,
        seed: int | None = None,
    ) -> None:
        super().__init__(config)
        rng = np.random.default_rng(seed)
        if w_in is None and w_out is None:
            self.net = make_network(
                n_units=config.N, n_in=n_in, p_inh=config.P_inh, p_rec=config.P_rec,
                som_n=config.som_N, w_dist=config.w_dist, gain=config.gain,
                apply_dale=config.apply_dale, rng=rng, device=config.device,
            )  # fmt: skip
            return
        w_in = rng.standard_normal((config.N, n_in)) if w_in is None else w_in
        w_out = rng.standard_normal((1, config.N)) / 100.0 if w_out is None else w_out
        self.net = FR_RNN_dale(
            config.N, config.P_inh, config.P_rec, w_in, config.som_N, config.w_dist, config.gain,
            config.apply_dale, w_out, config.device, seed=rng,
        )  # fmt: skip

    def assign_exc_inh(self) -> Any:
        """Return which units of the network are inhibitory, shape (N, 1)."""
        return self.net.inh

    def initialize_W(self) -> Any:
        """Return newly drawn weights."""
        return self.net.initialize_W()

    def forward(self, stim: Any, taus: Any, training_params: Any, settings: Any) -> Any:
        """Run a trial; see :meth:`FR_RNN_dale.forward`."""
        return self.net(stim, taus, training_params, settings)

    def load_net(self, path: Any) -> DaleRateRNN:
        """Take over the network of a model file."""
        self.net.load_net(path)
        return self

    def display(self) -> None:
        """Print units and signs of the weights."""
        self.net.display()


class RateRNNFactory(NetworkFactory):
    """Kinds of rate networks by name; ``dale`` is there."""

    _what = "rate network"
    _registry: ClassVar[dict[str, Callable[..., Any]]] = {"dale": DaleRateRNN}


def set_gpu(gpu: str = "0", frac: float = 0.4) -> torch.device:
    """Return the device to compute on: the GPU of that number, or the CPU where there is none.

    Parameters
    ----------
    gpu : str
        Its number; afterwards the only one that this process sees.
    frac : float
        Share of its memory that may be used.

    Raises
    ------
    ValueError
        If `frac` lies outside [0, 1].
    """
    if not 0 <= float(frac) <= 1:
        raise ValueError(f"frac = {frac} must lie between 0 and 1")
    os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # The only visible device has number 0, whatever it was before.
    torch.cuda.set_per_process_memory_fraction(float(frac), 0)
    return torch.device("cuda:0")


def restricted_float(text: Any) -> float:
    """Return a number between 0 and 1, for argparse.

    Raises
    ------
    argparse.ArgumentTypeError
    """
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{value} must lie between 0 and 1")
    return value


def str2bool(text: Any) -> bool:
    """Return the truth value of a word, for argparse.

    Raises
    ------
    argparse.ArgumentTypeError
    """
    if isinstance(text, bool):
        return text
    word = str(text).strip().lower()
    if word in ("yes", "true", "t", "y", "1"):
        return True
    if word in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r}: write true or false")
