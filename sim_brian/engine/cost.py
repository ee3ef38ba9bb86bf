"""Which target is the cheapest for a whole job, compilation included.

The figures are wall seconds of a 2-core 2.8 GHz machine (measured, benchmarks/simulate.py); what
matters is their ratio, which is much the same elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bridge.atomic import atomic_path
from bridge.cache import cache_root
from sim_brian.engine import build_cache, toolchain
from sim_brian.engine.circuit import Workload


@dataclass(frozen=True)
class _Figures:
    start_s: float
    per_updater_step_s: float
    per_cell_step_s: float
    per_delivery_s: float
    compile_s: float
    compile_per_updater_s: float


_FIGURES = {
    "numpy": _Figures(0.1, 8e-6, 2.5e-8, 3.0e-8, 0.0, 0.0),
    "cython": _Figures(0.2, 3e-6, 1.2e-8, 4.0e-9, 8.0, 3.0),
    "cpp": _Figures(0.35, 2e-8, 1.2e-8, 2.0e-9, 2.0, 0.25),
}


@dataclass(frozen=True)
class Choice:
    """The target chosen and the reason in words."""

    target: str
    reason: str


def estimate_s(target: str, work: Workload) -> float:
    """Return the expected wall time (s) of one run on `target`, nothing compiled."""
    f = _FIGURES[target]
    per_step = f.per_updater_step_s * work.n_updaters + f.per_cell_step_s * work.n_cells
    return f.start_s + work.n_steps * per_step + f.per_delivery_s * work.n_deliveries


def compile_s(target: str, work: Workload) -> float:
    """Return the expected wall time (s) of compiling everything that `target` needs."""
    f = _FIGURES[target]
    return f.compile_s + f.compile_per_updater_s * work.n_updaters


def choose(
    work: Workload, structure: str, *, n_runs: int, fast_math: bool, variant: str | None = None
) -> Choice:
    """Return the CPU target with the lowest cost for `n_runs` runs.

    Raises
    ------
    ValueError
        With `fast_math` where no compiled target can run.
    """
    costs: dict[str, tuple[float, float]] = {}
    for target in _FIGURES:
        if fast_math and target == "numpy":
            continue
        if toolchain.missing_for(target) is not None:
            continue
        ready = is_compiled(target, structure, variant=variant or str(fast_math))
        building = 0.0 if ready else compile_s(target, work)
        costs[target] = (building, n_runs * estimate_s(target, work))
    if not costs:
        raise ValueError("--fast-math needs a C++ compiler and none was found (install g++)")
    best = min(costs, key=lambda t: sum(costs[t]))
    if len(costs) == 1:
        return Choice(best, "the only target that can run here; a C++ compiler would add others")
    others = ", ".join(
        f"{t} {_about(sum(costs[t]))}" for t in sorted(costs, key=lambda t: sum(costs[t]))[1:]
    )
    building, running = costs[best]
    if best == "numpy":
        how = "nothing to compile"
    else:
        how = f"compiling {_about(building)}" if building else "already compiled"
    return Choice(best, f"about {_about(building + running)}, {how}; {others}")


def _about(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def is_compiled(target: str, structure: str, *, variant: str) -> bool:
    """Return whether a network of this structure is compiled for `target` on this machine.

    `variant` names the flags, see :attr:`sim_brian.engine.program.EngineOptions.variant`.
    """
    if target == "numpy":
        return True
    try:
        key = _stamp(target, structure, variant).read_text(encoding="ascii")
    except (OSError, ValueError):  # none, or damaged: the next run writes it anew
        return False
    if target == "cython":
        return True
    return re.fullmatch(r"[0-9a-f]+", key) is not None and build_cache.lookup(key) is not None


def remember(target: str, structure: str, *, variant: str, key: str) -> None:
    """Note that a network of this structure is compiled for `target`, as the program `key`.

    A note that can't be written is missing next time, when `auto` may choose less well.
    """
    stamp = _stamp(target, structure, variant)
    with contextlib.suppress(OSError, ValueError):
        stamp.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(stamp, durable=False) as partial:
            partial.write_text(key, encoding="ascii")


def _stamp(target: str, structure: str, variant: str) -> Path:
    versions = [f"{name} {metadata.version(name)}" for name in ("brian2", "numpy")]
    parts = [target, structure, variant, *versions, toolchain.compiler_fingerprint()]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    return cache_root() / "stamps" / f"{target}-{name}"
