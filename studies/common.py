"""What the commands share: resolved options, how to run, and where to write."""

from __future__ import annotations

import contextlib
import datetime
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import ExecutionOptions, InputOptions, RunOptions
from bridge.runs.options import Options
from studies.groups import all_groups

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.inherit import InheritedRun
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved
    from sim_brian.engine.program import EngineOptions

ARTIFACTS = Path("artifacts")
"""Where runs go that were given no folder, each into one of its own."""
LATEST = "latest"
"""The link in it to the latest of them."""

ARGV: list[str] = []
"""What was typed, for run.sh."""

log = logging.getLogger("pingbridge")


def resolve_options(
    mode: str, given: dict[str, Any], groups: tuple[type[Options], ...]
) -> tuple[Resolved, InheritedRun | None]:
    """Return options and inherited run: typed > --config > --from-dir > default."""
    from bridge.runs.console import FILE_ONLY
    from bridge.runs.inherit import NEVER_INHERIT, read_run
    from bridge.runs.resolve import read_recipe, resolve

    recipe = None
    if "config" in given:
        recipe = read_recipe(given["config"], groups, command=mode)
        if "config" in recipe.values:
            raise ValueError(f"recipe {recipe.path}: a recipe can't name another one (config)")
    from_dir = given.get("from_dir", recipe.values.get("from_dir") if recipe else None)
    inherited = None
    if from_dir is not None:
        # A run that took its weights from a file hands on the file.
        never = NEVER_INHERIT - {"weights_file", "load_weights"}
        inherited = read_run(from_dir, all_groups(groups), never_inherit=never)
        for line in inherited.notes:
            print(line, file=sys.stderr)
            log.info("%s", line, extra=FILE_ONLY)
        for line in inherited.warnings:
            log.warning("%s", line)
    resolved = resolve(groups, given, recipe, inherited)
    return resolved, inherited


def engine_options(
    resolved: Resolved,
    *,
    codegen: str | None = None,
    backend: str | None = None,
    building: bool = False,
) -> EngineOptions:
    """Return how Brian2 is to run, refusing what this version or machine can't do.

    Parameters
    ----------
    resolved : Resolved
    codegen : str, optional
        Target, where it is not that of the options.
    backend : {"brian", "both"}, optional
        What the command runs; without it, anything but Brian2 is refused.
    building : bool
        Something is to be compiled and not run: a GPU may be missing.
    """
    from bridge.runs.backends import brian_target, chosen_backend, program_of
    from sim_brian.engine.made_program import read_made
    from sim_brian.engine.program import EngineOptions
    from sim_brian.engine.toolchain import missing_for

    options = resolved[ExecutionOptions]
    if backend is None:
        backend = chosen_backend(resolved)
        if backend != "brian":
            raise ValueError(f"--backend {backend} can't apply to this command: it runs in Brian2")
    target = brian_target(options, codegen=codegen or options.codegen, backend=backend)
    program = program_of(resolved)
    if program is not None and options.compute_capability is not None:
        raise ValueError("--compute-capability can't apply to --program, which is compiled already")
    if program is not None:
        read_made(program)  # refuses a folder without one
    missing = missing_for(target) if program is None and not building else None
    if target == "cuda" and missing is not None:
        raise ValueError(missing)
    return EngineOptions(
        target=target,
        fast_math=options.fast_math,
        # Where torch runs too, --dtype is its own, and Brian2 the reference.
        dtype=(options.dtype or "float64") if backend == "brian" else "float64",
        compute_capability=options.compute_capability,
        program=program,
        progress=progress_bar(),
    )


def progress_bar() -> Any:
    """Return a callback that shows a bar on a terminal once a run takes its time, else None."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar: tqdm | None = None

    def show(fraction: float) -> None:
        nonlocal bar
        if bar is None:
            if fraction <= 0.0 or fraction >= 1.0:
                return
            bar = tqdm(
                total=1.0, desc="simulating", bar_format="{l_bar}{bar}| {elapsed}<{remaining}"
            )
        bar.update(min(fraction, 1.0) - bar.n)
        if fraction >= 1.0:
            bar.close()

    return show


def recording_target(job: Job, options: RunOptions) -> Path | None:
    """Return the file that a recording is to be written to, refusing what can't be written."""
    from bridge.runs.ownership import refuse_file_of_a_run

    path = options.save_recording
    if path is None:
        return None
    taken = [job.weights_from, job.resolved[InputOptions].input_file]
    if options.out_dir is not None:
        taken.append(options.out_dir / "snapshot.npz")
    if path.resolve() in [other.resolve() for other in taken if other is not None]:
        raise ValueError(f"--save-recording {path} would overwrite a file of this run")
    if path.suffix not in (".npz", ".h5", ".hdf5"):
        raise ValueError(f"--save-recording {path}: use an ending of .npz, .h5 or .hdf5")
    refuse_file_of_a_run(path, "--save-recording", own=options.out_dir)
    own = options.out_dir is not None and path.parent.absolute() == options.out_dir.absolute()
    if own and not path.parent.exists():  # the run makes it
        return path.absolute()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--save-recording {path}: there is no folder {path.parent}")
    try:
        if path.is_dir():
            raise IsADirectoryError
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError:
        raise PermissionError(f"--save-recording {path}: can't be written there") from None
    return path.absolute()


def choose_folder(
    mode: str, options: RunOptions, config: Mapping[str, Any], *, goes_on: bool = False
) -> Path:
    """Return the folder that a run writes to; nothing is made.

    The one that was typed. Else a folder named after the command in that of the run that is taken
    over (``--from-dir``), or in `ARTIFACTS` one of this run alone, named after command and time.

    Parameters
    ----------
    mode : str
        The command.
    options : RunOptions
    config : mapping
        What config.json will hold.
    goes_on : bool
        The command goes on with what a killed run of the same settings left.
    """
    from bridge.runs.ownership import settings_key

    if options.out_dir is not None:
        return options.out_dir
    key = settings_key(config)
    if options.from_dir is not None:
        inside = options.from_dir if options.from_dir.is_dir() else options.from_dir.parent
        return own_folder(inside / mode, mode=mode, key=key, goes_on=goes_on)
    stem = ARTIFACTS / mode.replace(" ", "-")
    return (_begun(stem, mode=mode, key=key) if goes_on else None) or _new(stem)


def own_folder(place: Path, *, mode: str, key: str, goes_on: bool = False) -> Path:
    """Return a folder that nobody named: `place`, unless it holds a run of something else.

    Then it is one beside it whose name has the time, too.

    Parameters
    ----------
    place : Path
    mode, key : str
        The command, and a hash of what decides its results.
    goes_on : bool
        The command goes on with what a killed run of the same settings left, here or beside it.
    """
    from bridge.runs.ownership import occupant

    there = occupant(place)
    if there is None or not there.taken or (there.mode == mode and there.key == key):
        return place
    return (_begun(place, mode=mode, key=key) if goes_on else None) or _new(place)


def _begun(place: Path, *, mode: str, key: str) -> Path | None:
    from bridge.runs.ownership import newest_unfinished

    return newest_unfinished(place.parent, mode=mode, key=key)


def _new(place: Path) -> Path:
    """Return a folder that is not there yet, named after another and the time."""
    stem = place.with_name(f"{place.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}")
    found, n = stem, 1
    while found.exists():
        n += 1
        found = stem.with_name(f"{stem.name}-{n}")
    return found


def open_run(
    mode: str, folder: Path, options: RunOptions, config: Mapping[str, Any], **how: Any
) -> RunFolder:
    """Return the run folder of a command, to be entered.

    Parameters
    ----------
    mode, folder, options, config
        See :func:`choose_folder`.
    how
        For :class:`bridge.runs.folder.RunFolder`.
    """
    from bridge.runs.folder import RunFolder

    bare = options.out_dir is None and options.from_dir is None
    return RunFolder(
        folder, mode=mode, config=config, argv=ARGV, wipe=options.wipe_dir,
        latest=ARTIFACTS / LATEST if bare else None, **{"repeat": "same", **how},
    )  # fmt: skip


@contextlib.contextmanager
def execution_noted(run: RunFolder, asked: str, **more: Any) -> Iterator[None]:
    """Note in config.json what Brian2 ran on inside the block.

    Parameters
    ----------
    run : RunFolder
    asked : str
        The target that was asked for: it is noted where other processes have chosen.
    more
        Further entries of ``execution``.
    """
    from sim_brian.engine.program import noted_targets

    with noted_targets() as found:
        try:
            yield
        finally:
            if found or "execution" not in run.config:
                targets = sorted(found) or [asked]
                device = "cuda" if "cuda" in targets else "cpu"
                target: Any = targets if len(targets) > 1 else targets[0]
                about = {"backend": "brian", "codegen": target, **more}
                run.update_config({"execution": about, "provenance": {"device": device}})


def refuse_recording(mode: str, given: dict[str, Any]) -> None:
    """Refuse the options that keep one recording where many runs are made."""
    for key in ("save_recording", "record_traces"):
        if given.get(key):
            raise ValueError(
                f"--{key.replace('_', '-')} can't apply to {mode}, which makes many runs; use it "
                "with sim at one value"
            )


def headline(job: Job, *, of_sample: bool = True) -> str:
    """Return one line that says which network runs on which input.

    Parameters
    ----------
    job : Job
    of_sample : bool
        The input is the one sample: say whether the weights were trained on it.
    """
    cells = ", ".join(f"{name} {n}" for name, n in job.spec.populations.items())
    part = job.plan.sample_part if of_sample else None
    return (
        f"{job.spec.model}: {cells}; {job.spec.n_in} input channels "
        f"({job.plan.dataset or job.plan.kind}), {job.stimulus.t_ms:g} ms at dt "
        f"{job.stimulus.dt_ms:g} ms, {job.stimulus.n_trials} "
        f"trial{'s' if job.stimulus.n_trials > 1 else ''}"
        f"{f'; {part} of the training' if part else ''}"
    )
