"""Options of the command `lateral-line` that are not parameters of the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.lateral_line.options import PARAM_GROUPS
from bridge.lateral_line.params import PRESETS
from bridge.runs.groups_scan import WorkerOptions
from bridge.runs.options import Options, option
from bridge.runs.recipes import RECIPE_HELP


@dataclass(frozen=True, kw_only=True)
class LateralLineOptions(Options):
    """Lateral line: run."""

    preset: str = option(
        "ll_thesis", "preset: the full network, a small one that works, or the small one as "
        "published, which is silent", flag="mode", key="preset", choices=tuple(PRESETS),
    )  # fmt: skip
    run_name: str | None = option(
        None, "name of the run folder",
        shown_default="local time, YYYYMMDD_HHMMSS; of a resumed run, its own",
    )  # fmt: skip
    runs_dir: Path = option(Path("Runs"), "folder of the run folders")
    save_tag: str = option("latest", "start of the names of the weight files")
    save_weights_dir: Path | None = option(
        None, "folder that gets a copy of the weight files", shown_default="none"
    )
    multi_seed: int = option(1, "number of consecutive seeds", at_least=1, at_most=10_000)
    seed_start: int = option(123, "first seed", at_least=0, at_most=2**31 - 10_001)
    disable_all_stdp: bool = option(
        False, "control: no weight moves, in training or test (homeostasis is off too)"
    )
    with_control: bool = option(
        False, "run the same seed without plasticity as well, and keep both results"
    )
    control_matched: bool = option(
        False, "run the same seed without plasticity and with MON to TS weights scaled so that TS "
        "fires in the tests as after training (within 5 %)",
    )  # fmt: skip
    test_repeats: int = option(
        1, "tests of each network, with other noise and other Poisson spikes; the first is that "
        "of a run with one", at_least=1, at_most=100,
    )  # fmt: skip
    resume_from: Path | None = option(
        None, "go on with the training of an earlier run (its folder), in place unless --run-name "
        "names another folder; its parameters and options hold where none are typed",
    )  # fmt: skip
    evaluate: Path | None = option(
        None, "test saved weights without training: a run folder, or one .npz; its parameters "
        "hold where none are typed",
    )  # fmt: skip
    restore_initial_ll_mon: bool = option(
        False, "with --evaluate: put the untrained LL to MON weights back, as the published "
        "evaluations did without knowing",
    )  # fmt: skip
    test_distances: tuple[float, ...] | None = option(
        None, "further test distances, for the table and figure of generalisation", unit="cm",
        above=0, at_most=1000,
    )  # fmt: skip
    figures: bool = option(True, "draw the figures")
    config: Path | None = option(None, RECIPE_HELP)
    codegen: str = option(
        "auto", "Brian2 target; auto takes the cheapest, compilation included",
        choices=("auto", "numpy", "cython", "cpp", "cuda"),
    )  # fmt: skip
    fast_math: bool = option(False, "let the compiler reorder arithmetic: spikes may change")


LATERAL_LINE_GROUPS = (LateralLineOptions, *PARAM_GROUPS, WorkerOptions)
"""Groups of `lateral-line`."""
