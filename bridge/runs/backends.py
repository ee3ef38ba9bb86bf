"""What runs a network: Brian2, torch, or both; and which flags belong to which."""

from __future__ import annotations

from pathlib import Path

from bridge.runs.applies import asked_for
from bridge.runs.groups import ExecutionOptions, ProgramOptions
from bridge.runs.resolve import Resolved

_OWN_FLAGS = {
    "brian": (("codegen", "fast_math", "compute_capability"), "Brian2"),
    "torch": (("train_kernel", "deterministic"), "torch"),
}
_DEFAULTS = ExecutionOptions()


def chosen_backend(resolved: Resolved, *, default: str = "brian") -> str:
    """Return ``brian``, ``torch`` or ``both``; refuse flags that belong to the other one.

    Raises
    ------
    ValueError
        Naming the flag and the backend it needs.
    """
    options = resolved[ExecutionOptions]
    backend = options.backend or default
    for owner, (keys, name) in _OWN_FLAGS.items():
        if backend in (owner, "both"):
            continue
        for key in keys:
            if asked_for(resolved, key) and getattr(options, key) != getattr(_DEFAULTS, key):
                raise ValueError(
                    f"--{key.replace('_', '-')} is for {name}; it can't apply to --backend "
                    f"{backend} (use --backend {owner} or both)"
                )
    if program_of(resolved) is not None and backend != "brian":
        raise ValueError(f"--program can't apply to --backend {backend}: it runs in Brian2 alone")
    if backend == "brian" and options.device == "mps":
        raise ValueError("--device mps: Brian2 has no target for it; use cpu or cuda")
    if options.modal:
        raise ValueError(
            "--modal: running on Modal.com is not available in this version; run locally without it"
        )
    return backend


def program_of(resolved: Resolved) -> Path | None:
    """Return the folder of a compiled program that --program names, where a command has it."""
    own = resolved.options.get(ProgramOptions)
    return own.program if isinstance(own, ProgramOptions) else None


def brian_target(options: ExecutionOptions, *, codegen: str, backend: str) -> str:
    """Return the Brian2 target that --codegen and --device mean together.

    Where torch runs too, --device is first of all its own: it decides the target only where
    --codegen leaves the choice open.

    Raises
    ------
    ValueError
        If the two contradict each other.
    """
    if options.device == "cuda":
        if codegen == "auto":
            return "cuda"
        if codegen != "cuda" and backend == "brian":
            raise ValueError(f"--device cuda and --codegen {codegen} contradict each other")
    if options.device == "cpu" and codegen == "cuda" and backend == "brian":
        raise ValueError("--device cpu and --codegen cuda contradict each other")
    return codegen
