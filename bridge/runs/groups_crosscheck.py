"""The option groups of `crosscheck`: those of a forward run, with several dt and targets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields

from bridge.runs.applies import asked_for
from bridge.runs.groups import (
    ExecutionOptions,
    InputOptions,
    NetworkOptions,
    RunOptions,
    TrainingOptions,
    WeightOptions,
)
from bridge.runs.options import Options, option
from bridge.runs.resolve import Resolved


@dataclass(frozen=True, kw_only=True)
class CrosscheckOptions(Options):
    """Comparison."""

    window_ms: float = option(
        1.0, "largest distance of two spikes that count as coincident", unit="ms",
        flag="window", at_least=0,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ManyStepsOptions(NetworkOptions):
    """Network."""

    dt_ms: tuple[float, ...] = option(  # type: ignore[assignment]  # one dt becomes several
        (NetworkOptions.dt_ms,), "integration time steps, one comparison for each", unit="ms",
        flag="dt", above=0,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ManyTargetsOptions(ExecutionOptions):
    """Execution."""

    codegen: tuple[str, ...] = option(  # type: ignore[assignment]  # one target becomes several
        (ExecutionOptions.codegen,), "Brian2 targets, one comparison for each",
        choices=("auto", "numpy", "cython", "cpp", "cuda"),
    )  # fmt: skip


CROSSCHECK_GROUPS = (
    CrosscheckOptions, ManyStepsOptions, InputOptions, WeightOptions, TrainingOptions, RunOptions,
    ManyTargetsOptions,
)  # fmt: skip

_ELSEWHERE = ("save_recording", "raster")


def single(resolved: Resolved, *, dt_ms: float, codegen: str) -> Resolved:
    """Return the options of one of the runs, as `sim` has them."""
    options = dict(resolved.options)
    for many, one, changes in (
        (ManyStepsOptions, NetworkOptions, {"dt_ms": dt_ms}),
        (ManyTargetsOptions, ExecutionOptions, {"codegen": codegen}),
    ):
        group = options.pop(many)
        values = {f.name: getattr(group, f.name) for f in fields(one)} | changes
        options[one] = one(**values)
    return dataclasses.replace(resolved, options=options)


def refuse_elsewhere(resolved: Resolved) -> None:
    """Refuse flags of `sim` and `image` that a comparison has no use for.

    Raises
    ------
    ValueError
        Naming the flag.
    """
    for key in _ELSEWHERE:
        if asked_for(resolved, key):
            raise ValueError(f"--{key.replace('_', '-')} can't apply to crosscheck")
    backend = resolved[ManyTargetsOptions].backend
    if asked_for(resolved, "backend") and backend != "both":
        raise ValueError(f"--backend {backend} can't apply to crosscheck, which runs both")
