"""The tasks as plain functions, as scripts for the published package call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.cognitive import GoNogoTask, ManteTask, XORTask

Stimulus = tuple[NDArray[np.float64], Any]


def generate_input_stim_go_nogo(settings: Mapping[str, Any]) -> Stimulus:
    """Return input and label of a Go/NoGo trial."""
    return GoNogoTask(settings).generate_stimulus()


def generate_input_stim_xor(settings: Mapping[str, Any]) -> Stimulus:
    """Return input and label of an XOR trial."""
    return XORTask(settings).generate_stimulus()


def generate_input_stim_mante(settings: Mapping[str, Any]) -> Stimulus:
    """Return input and label of a Mante trial."""
    return ManteTask(settings).generate_stimulus()


def generate_target_continuous_go_nogo(
    settings: Mapping[str, Any], label: Any
) -> NDArray[np.float64]:
    """Return the output asked for in a Go/NoGo trial."""
    return GoNogoTask(settings).generate_target(label)


def generate_target_continuous_xor(settings: Mapping[str, Any], label: Any) -> NDArray[np.float64]:
    """Return the output asked for in an XOR trial."""
    return XORTask(settings).generate_target(label)


def generate_target_continuous_mante(
    settings: Mapping[str, Any], label: Any
) -> NDArray[np.float64]:
    """Return the output asked for in a Mante trial."""
    return ManteTask(settings).generate_target(label)
