"""Which kernel a network on this machine can use."""

from __future__ import annotations

import functools
import logging

import torch

from train_torch.kernels.graphs import GraphKernel
from train_torch.kernels.layer import Kernel
from train_torch.kernels.library import why_missing
from train_torch.kernels.native import CppKernel
from train_torch.kernels.plain import PlainKernel

log = logging.getLogger("pingbridge")

KERNELS = ("auto", "eager", "function", "cpp")
"""What can run the steps; ``eager`` is no kernel but the loop that autograd follows."""


def choose_kernel(name: str, device: torch.device, *, only_eager: str | None) -> Kernel | None:
    """Return the kernel that `name` means here; None for eager steps.

    Parameters
    ----------
    name : {"auto", "eager", "function", "cpp"}
        ``auto``: ``cpp`` on a CPU with a compiler, ``function`` elsewhere (with CUDA graphs on a
        GPU), eager steps where nothing else can do what is asked.
    device : torch.device
        Of the network.
    only_eager : str or None
        Why only eager steps can do what is asked.

    Raises
    ------
    ValueError
        If the kernel that was asked for can't be used, with the reason.
    """
    if name not in KERNELS:
        raise ValueError(f"kernel {name!r} is unknown; use one of {', '.join(KERNELS)}")
    if name == "eager" or (name == "auto" and only_eager is not None):
        return None
    reason = only_eager
    if name == "cpp" and reason is None:
        if device.type != "cpu":
            reason = f"it runs on the CPU, the network is on {device.type}"
        else:
            reason = why_missing()
    if reason is not None:
        raise ValueError(f"--train-kernel {name} can't be used: {reason}")
    if device.type == "cuda":
        return _on_cuda(torch.cuda.current_device() if device.index is None else device.index)
    if name == "function" or device.type != "cpu":
        return PlainKernel()
    if name == "auto" and why_missing() is not None:
        _say_once(f"training in plain torch, several times slower: {why_missing()}")
        return PlainKernel()
    return CppKernel()


def name_of(kernel: Kernel | None) -> str:
    """Return which of `KERNELS` a kernel is."""
    if kernel is None:
        return "eager"
    return "cpp" if isinstance(kernel, CppKernel) else "function"


@functools.cache
def _on_cuda(index: int) -> Kernel:
    """Return the kernel of a GPU, which keeps its graphs from call to call."""
    return GraphKernel()


@functools.cache
def _say_once(line: str) -> None:
    log.warning(line)
