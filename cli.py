"""The command line: ``python -m cli`` or ``pingbridge``.

A command reads its options, asks one side to run the network, and writes a run folder. What an
option means stands in :mod:`bridge.runs.groups`; brian2 and matplotlib load inside the commands
that need them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import argh

from bridge.runs.groups import PING_GROUPS, ExecutionOptions, InputOptions, RunOptions
from bridge.runs.options import parent_parser
from bridge.runs.parser import Parser

if TYPE_CHECKING:
    from bridge.recording import Recording
    from bridge.runs.folder import RunFolder
    from bridge.runs.inherit import InheritedRun
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved
    from scope.summary import Summary
    from sim_brian.engine import EngineOptions

DEFAULT_OUT_DIR = Path("artifacts") / "oscilloscope"

log = logging.getLogger("pingbridge")

_DESCRIPTION = (
    "Gamma rhythms in spiking networks: simulate a PING network in Brian2 and look at it through "
    "an oscilloscope."
)
_SIM = "Run one forward pass and print rates, rhythm and simulation speed."
_IMAGE = "Run one forward pass and save an oscilloscope picture (rasters, weights, spectrum)."


def sim(**given: Any) -> None:
    """Run one forward pass and print firing-rate metrics."""
    _forward("sim", given)


def image(**given: Any) -> None:
    """Run one forward pass and save an oscilloscope picture of it."""
    _forward("image", given)


def build_parser() -> Parser:
    """Return the parser of all commands; their flags come from the option groups."""
    parser = Parser(prog="pingbridge", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"pingbridge {_version()}")
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND")
    for function, text in ((sim, _SIM), (image, _IMAGE)):
        command = commands.add_parser(
            function.__name__, help=text, description=text, parents=[parent_parser(*PING_GROUPS)]
        )
        argh.set_default_command(command, function)
    return parser


def _version() -> str:
    try:
        return metadata.version("pingbridge")
    except metadata.PackageNotFoundError:  # run from a source folder
        return "unknown"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 (it failed), or 2 (the input was wrong)."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not words:
        parser.print_help()
        return 0
    from bridge.runs.console import configure_logging

    configure_logging()
    _ARGV[:] = words
    try:
        with _warnings_as_lines():
            argh.dispatch(parser, words, completion=False)
    except (ValueError, TypeError, OSError) as error:
        return _complain(error, 2)
    except (RuntimeError, MemoryError) as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 0


_ARGV: list[str] = []
"""What was typed, for run.sh."""


def _complain(error: BaseException, code: int) -> int:
    if os.environ.get("PINGBRIDGE_TRACEBACK"):
        raise error
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show warnings as one line of the log instead of a line of our source code."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        log.warning("%s", " ".join(str(message).split()))

    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", UserWarning)
            warnings.simplefilter("default", RuntimeWarning)
            # brian2 calls libraries by names that newer versions call old: not the user's to mend.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.showwarning = show
        yield


def _forward(mode: str, given: dict[str, Any]) -> None:
    """Resolve the options, run the network once, and write the run folder."""
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import make_job

    resolved, inherited = _resolve(mode, given)
    engine = _engine_options(resolved)
    job = make_job(resolved, inherited)
    options = job.resolved[RunOptions]
    if inherited is not None:
        taken = [key for key, origin in job.resolved.origin.items() if origin == "from-dir"]
        log.info("inherited from %s: %s", inherited.path, ", ".join(taken) or "nothing")
    target = _check_target(job, options)
    if mode == "sim" and target is None and "record_traces" in given:
        raise ValueError("--record-traces needs a file to write to: add --save-recording FILE")
    with RunFolder(
        _out_dir(options), mode=mode, config=job.config(), argv=_ARGV, wipe=options.wipe_dir
    ) as run:
        recording, summary = _simulate(job, engine, run)
        if target is not None:
            from bridge.formats.recordings import save_recording

            save_recording(recording, target, job.stimulus)
            log.info("wrote %s", target)
        if mode == "image":
            _draw(job, recording, summary, run)


def _resolve(mode: str, given: dict[str, Any]) -> tuple[Resolved, InheritedRun | None]:
    """Return options and inherited run: typed > --config > --from-dir > default."""
    from bridge.runs.inherit import NEVER_INHERIT, read_run
    from bridge.runs.resolve import read_recipe, resolve

    recipe = None
    if "config" in given:
        recipe = read_recipe(given["config"], PING_GROUPS, command=mode)
        if "config" in recipe.values:
            raise ValueError(f"recipe {recipe.path}: a recipe can't name another one (config)")
    from_dir = given.get("from_dir", recipe.values.get("from_dir") if recipe else None)
    inherited = None
    if from_dir is not None:
        # A run that took its weights from a file hands on the file.
        never = NEVER_INHERIT - {"weights_file", "load_weights"}
        inherited = read_run(from_dir, PING_GROUPS, never_inherit=never)
        for line in inherited.notes:
            print(line, file=sys.stderr)
        for line in inherited.warnings:
            log.warning("%s", line)
    resolved = resolve(PING_GROUPS, given, recipe, inherited)
    return resolved, inherited


def _engine_options(resolved: Resolved) -> EngineOptions:
    """Return how to run, refusing what this version or machine can't do."""
    from sim_brian.engine import EngineOptions
    from sim_brian.toolchain import missing_for

    options = resolved[ExecutionOptions]
    if options.modal:
        raise ValueError(
            "--modal: running on Modal.com is not available in this version; run locally without it"
        )
    if options.backend != "brian":
        raise ValueError(
            f"--backend {options.backend}: the torch network is not part of this version; "
            "use --backend brian"
        )
    target = options.codegen
    if options.device == "mps":
        raise ValueError("--device mps: Brian2 has no target for it; use cpu or cuda")
    if options.device == "cuda":
        if target not in ("auto", "cuda"):
            raise ValueError(f"--device cuda and --codegen {target} contradict each other")
        target = "cuda"
    if options.device == "cpu" and target == "cuda":
        raise ValueError("--device cpu and --codegen cuda contradict each other")
    missing = missing_for(target)
    if target == "cuda" and missing is not None:
        raise ValueError(missing)
    return EngineOptions(target=target, fast_math=options.fast_math, progress=_progress_bar())


def _progress_bar() -> Any:
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


def _check_target(job: Job, options: RunOptions) -> Path | None:
    """Return the file that a recording is to be written to, refusing what can't be written."""
    path = options.save_recording
    if path is None:
        return None
    taken = [job.weights_from, job.resolved[InputOptions].input_file]
    taken.append(_out_dir(options) / "snapshot.npz")
    if path.resolve() in [other.resolve() for other in taken if other is not None]:
        raise ValueError(f"--save-recording {path} would overwrite a file of this run")
    if path.suffix not in (".npz", ".h5", ".hdf5"):
        raise ValueError(f"--save-recording {path}: use an ending of .npz, .h5 or .hdf5")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--save-recording {path}: there is no folder {path.parent}")
    try:
        if path.is_dir():
            raise IsADirectoryError
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError:
        raise PermissionError(f"--save-recording {path}: can't be written there") from None
    return path.absolute()


def _out_dir(options: RunOptions) -> Path:
    if options.out_dir is not None:
        return options.out_dir
    return options.from_dir / "infer" if options.from_dir is not None else DEFAULT_OUT_DIR


def _simulate(job: Job, engine: EngineOptions, run: RunFolder) -> tuple[Recording, Summary]:
    """Run the network, print what it did, and note in config.json how it was run."""
    import dataclasses

    from scope.summary import summarise
    from sim_brian.run import simulate

    log.info("%s", _headline(job))
    recording, raw = simulate(
        job.spec,
        job.weights,
        job.stimulus,
        seed=job.seed,
        record_traces=job.resolved[RunOptions].record_traces,
        engine=engine,
    )
    recording = dataclasses.replace(recording, config=run.config)
    run.update_config({
        "execution": {
            "backend": recording.backend,
            "codegen": raw.target,
            "compiled": raw.compiled,
            "prepare_s": raw.prepare_s,
            "run_s": raw.run_s,
        },
        "provenance": {"device": "cuda" if raw.target == "cuda" else "cpu"},
    })  # fmt: skip
    summary = summarise(
        recording,
        burn_in_ms=job.burn_in_ms,
        model=job.spec.model,
        psd_window_ms=job.stim_window_ms,
    )
    log.info("%s", summary.one_line(with_ie_ratio=True))
    log.info("%s", summary.window_line())
    log.info("%s", summary.gamma_line())
    biological_s = job.stimulus.t_ms * job.stimulus.n_trials / 1000.0
    log.info(
        "speed: %.3g s simulated in %.3g s (%.3g x real time) on %s, ready after %.3g s%s",
        biological_s, raw.run_s, biological_s / raw.run_s, raw.target, raw.prepare_s,
        " of compiling" if raw.compiled else "",
    )  # fmt: skip
    return recording, summary


def _headline(job: Job) -> str:
    cells = ", ".join(f"{name} {n}" for name, n in job.spec.populations.items())
    return (
        f"{job.spec.model}: {cells}; {job.spec.n_in} input channels "
        f"({job.plan.dataset or job.plan.kind}), {job.stimulus.t_ms:g} ms at dt "
        f"{job.stimulus.dt_ms:g} ms, {job.stimulus.n_trials} "
        f"trial{'s' if job.stimulus.n_trials > 1 else ''}"
    )


def _draw(job: Job, recording: Recording, summary: Summary, run: RunFolder) -> None:
    """Write the picture, its numbers and its data."""
    from scope.pictures import write_pictures

    for path in write_pictures(job, recording, summary, run):
        log.info("wrote %s", path)


if __name__ == "__main__":
    sys.exit(main())
