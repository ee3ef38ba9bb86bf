"""Which device and float type torch runs on."""

from __future__ import annotations

import os

import torch


def choose_device(
    asked: str | None, *, dtype: str = "float32", deterministic: bool = False
) -> torch.device:
    """Return the device that was asked for, or the best there is: cuda, then mps, then cpu.

    Parameters
    ----------
    asked : {"cuda", "mps", "cpu"} or None
    dtype : {"float32", "float64"}
    deterministic : bool
        From now on let torch use only algorithms that give the same bits each time, and fail
        where it has none.

    Raises
    ------
    ValueError
        If the device is not there, or cannot hold the float type.
    """
    if deterministic:
        # Read by cuBLAS when it is first used; without it torch refuses its matrix products.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
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


def examine() -> list[tuple[str, str, str]]:
    """Return what torch can run on here: name, state (ok, missing), text."""
    found = [("torch", "ok", f"{torch.__version__}, on the CPU")]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        found.append(("cuda", "ok", f"{'; '.join(names)} (CUDA {torch.version.cuda})"))
    elif torch.version.cuda is None:
        found.append((
            "cuda", "missing",
            "this torch is made for the CPU alone: install one made for CUDA (pytorch.org)",
        ))  # fmt: skip
    else:
        found.append((
            "cuda", "missing",
            f"torch is made for CUDA {torch.version.cuda} and finds no GPU or driver",
        ))  # fmt: skip
    return found
