"""Where torch computes."""

from __future__ import annotations

import torch


def choose_device(asked: str | None = None, *, dtype: str = "float32") -> str:
    """Return the device to use: the one asked for, else the best there is.

    Parameters
    ----------
    asked : {"cpu", "cuda", "mps"} or None
        None takes cuda, else mps (float32 only), else cpu.
    dtype : {"float32", "float64"}

    Raises
    ------
    ValueError
        For a device that is not here, or that lacks the float type.
    """
    has_cuda = torch.cuda.is_available()
    has_mps = torch.backends.mps.is_available()
    if asked is None:
        if has_cuda:
            return "cuda"
        return "mps" if has_mps and dtype == "float32" else "cpu"
    if asked == "mps" and dtype == "float64":
        raise ValueError("--device mps has no float64; use --dtype float32, or --device cpu")
    if (asked == "cuda" and not has_cuda) or (asked == "mps" and not has_mps):
        raise ValueError(f"--device {asked}: torch finds none on this machine; use --device cpu")
    return asked
