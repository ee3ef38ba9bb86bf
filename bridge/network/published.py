"""Weights and inputs of the published runs, number for number: torch's generator, float32.

Nothing here touches torch's global generator, and torch itself is loaded only when a function is
called.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.network.draw_rules import CUBA_OUT_STD, DrawRule, WeightDraw
from bridge.network.spec import CubaSpec, NetworkSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor


def import_torch(purpose: str) -> ModuleType:
    """Return the torch module, or raise `ImportError` that says what to install for `purpose`."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{purpose} needs torch; install it with: pip install torch") from error
    return torch


def draw_published(
    spec: NetworkSpec, draw: WeightDraw, *, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Return the matrices that the published code draws from `seed`, widened to float64.

    Conductance-based order: ``W_in``, the matrices between layers, ``W_out``, then for each E-I
    layer ``W_ee``, ``W_ei``, ``W_ie``; each takes its normals first and the uniforms of its mask
    right after, if it is sparse. A zero matrix consumes its normals too. ``W_ii`` exists only in
    later revisions, last in its layer: it is drawn if its rule is not zero.

    Current-based order: ``W_in`` (normals, mask), ``W_out``, ``W_ei``, ``W_ie``.

    Raises
    ------
    ImportError
        Without torch.

    Source: pinglab, models.py; confirmed by exact replays of its published rates.
    """
    torch = import_torch("the published weight draw (source = torch)")
    generator = _generator(torch, seed)
    shapes = spec.matrix_shapes
    drawn: dict[str, Tensor] = {}
    if isinstance(spec, CubaSpec):
        drawn["W_in"] = _masked(torch, shapes["W_in"], draw.w_in, generator).abs()
        drawn["W_out"] = _randn(torch, shapes["W_out"], generator) * CUBA_OUT_STD
        for name in ("W_ei_1", "W_ie_1"):
            if name in shapes:
                drawn[name] = _normal(torch, shapes[name], draw.rule(name), generator).clamp(min=0)
    else:
        for name, shape in shapes.items():  # their order is the published order of the draw
            rule = draw.rule(name)
            if name.startswith("W_ii") and rule.is_zero:
                continue
            signed = not spec.dales_law and name not in spec.optional_matrices
            w = _masked(torch, shape, rule, generator, signed=signed, rescale=True)
            drawn[name] = w / shape[0]
    return {name: w.to(torch.float64).numpy() for name, w in drawn.items()}


def bernoulli_input(shape: tuple[int, ...], p: ArrayLike, *, seed: int) -> NDArray[np.bool_]:
    """Return the input spikes of the published runs: uniforms of torch's generator below `p`.

    Parameters
    ----------
    shape : tuple of int
        Time first in the published runs: (step, channel) or (step, trial, channel).
    p : float or array that broadcasts to `shape`
        Spike probability in a step, ``rate_hz * dt_ms / 1000``; compared in float32.
    seed : int

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1].
    ImportError
        Without torch.

    Source: pinglab, encoders.py.
    """
    chance = np.asarray(p, dtype=np.float32)
    if not ((chance >= 0) & (chance <= 1)).all():  # also refuses NaN
        raise ValueError(
            f"spike probabilities from {chance.min():g} to {chance.max():g} must lie in [0, 1]; "
            "rate_hz * dt_ms / 1000 is one"
        )
    torch = import_torch("the published input draw")
    uniform = torch.rand(shape, generator=_generator(torch, seed), dtype=torch.float32)
    fired: NDArray[np.bool_] = uniform.numpy() < chance
    return fired


def _generator(torch: Any, seed: int) -> Generator:
    return torch.Generator(device="cpu").manual_seed(seed)


def _randn(torch: Any, shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def _normal(torch: Any, shape: tuple[int, ...], rule: DrawRule, generator: Generator) -> Tensor:
    return _randn(torch, shape, generator) * rule.std + rule.mean


def _masked(
    torch: Any,
    shape: tuple[int, ...],
    rule: DrawRule,
    generator: Generator,
    *,
    signed: bool = True,
    rescale: bool = False,
) -> Tensor:
    """Return a normal draw, clamped unless `signed`, with its mask (rescaled by what is left)."""
    w = _normal(torch, shape, rule, generator)
    if not signed:
        w = w.clamp(min=0)
    if rule.sparsity > 0:
        uniform = torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")
        w = w * (uniform > rule.sparsity)
        if rescale:
            w = w / (1.0 - rule.sparsity)
    return w
