"""Which device and float type torch runs on."""

from __future__ import annotations

import torch


def choose_device(asked: str | None, *, dtype: str = "float32") -> torch.device:
    """Return the device that was asked for, or the best there is: cuda, then mps, then cpu.

    Raises
    ------
    ValueError
        If the device is not there, or cannot hold the float type.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and dtype != "float64",
        "cpu": True,
    }
    if asked is None:
        return torch.device(next(name for name, there in available.items() if there))
    if asked == "mps" and dtype == "float64":
        raise ValueError("--device mps has no float64; use --dtype float32, or --device cpu")
    if not available[asked]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise ValueError(f"--device {asked}: torch finds none here; use one of {there}")
    return torch.device(asked)
