"""The option groups of `video` and `scan`: what is swept, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.runs.options import Options, option
from bridge.runs.variables import VARIABLES

_NAMES = tuple(VARIABLES)


@dataclass(frozen=True, kw_only=True)
class SweepOptions(Options):
    """Sweep."""

    scan_var: str = option("stim-overdrive", "parameter to sweep", choices=_NAMES)
    scan_min: float | None = option(
        None, "first value, in the unit of the parameter", shown_default="1; digit: 0"
    )
    scan_max: float | None = option(None, "last value", shown_default="50; digit: the last class")
    frames: int | None = option(
        None, "number of values, evenly spaced", at_least=1, at_most=1_000_000,
        shown_default="10; digit: every class from first to last",
    )  # fmt: skip
    scan_values: tuple[float, ...] | None = option(
        None, "explicit values instead of first, last and number"
    )


@dataclass(frozen=True, kw_only=True)
class SecondSweepOptions(Options):
    """Second parameter of a grid."""

    scan_var2: str | None = option(None, "second parameter: a grid of values", choices=_NAMES)
    scan_min2: float | None = option(None, "its first value", shown_default="1; digit: 0")
    scan_max2: float | None = option(
        None, "its last value", shown_default="50; digit: the last class"
    )
    frames2: int | None = option(
        None, "its number of values", at_least=1, at_most=1_000_000,
        shown_default="10; digit: every class from first to last",
    )  # fmt: skip
    scan_values2: tuple[float, ...] | None = option(None, "its explicit values")


@dataclass(frozen=True, kw_only=True)
class FilmOptions(Options):
    """Video."""

    frame_rate_hz: float = option(
        10.0, "frames per second", unit="1/s", flag="frame-rate", above=0, at_most=240
    )
    keep_frames: bool = option(False, "write every frame as a PNG into frames/ as well")


@dataclass(frozen=True, kw_only=True)
class WorkerOptions(Options):
    """Parallel execution."""

    jobs: int | None = option(
        None, "processes that simulate", at_least=1, at_most=4096,
        shown_default="one for each core",
    )  # fmt: skip
    scheduler: str | None = option(
        None,
        "address of a Dask scheduler, or the file it wrote of itself; its workers simulate "
        "instead (extra: cluster)",
        typed_only=True,  # whoever answers there sends pickles
    )


@dataclass(frozen=True, kw_only=True)
class ParallelOptions(WorkerOptions):
    """Parallel execution."""

    batch: int | None = option(
        None, "points side by side in one simulation", at_least=1, at_most=100_000,
        shown_default="1; on a GPU as many as it holds",
    )  # fmt: skip


VIDEO_GROUPS = (SweepOptions, FilmOptions, ParallelOptions)
"""Groups of `video` besides those of `sim` and `image`."""
SCAN_GROUPS = (SweepOptions, SecondSweepOptions, ParallelOptions)
"""Groups of `scan` besides those of `sim` and `image`."""
