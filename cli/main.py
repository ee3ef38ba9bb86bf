"""The parser of all commands, and what their errors become.

What an option means stands in the option groups of :mod:`bridge.runs`; brian2, torch and
matplotlib load inside the commands that need them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import argh

from bridge.runs.groups import PING_GROUPS, SIM_GROUPS
from bridge.runs.groups_crosscheck import CROSSCHECK_GROUPS
from bridge.runs.groups_machine import BUILD_GROUPS, DOCTOR_GROUPS
from bridge.runs.groups_scan import SCAN_GROUPS, VIDEO_GROUPS
from bridge.runs.groups_train import INFER_GROUPS, TRAIN_GROUPS
from bridge.runs.options import Options, parent_parser
from bridge.runs.parser import Parser
from cli import common
from cli.build import build
from cli.crosscheck import crosscheck
from cli.doctor import doctor
from cli.forward import image, sim
from cli.infer import infer
from cli.scan import scan
from cli.train import train
from cli.video import video

log = logging.getLogger("pingbridge")

_DESCRIPTION = (
    "Gamma rhythms in spiking networks: simulate a PING network in Brian2, look at it through an "
    "oscilloscope, train it in torch, sweep its parameters."
)


class Command(NamedTuple):
    """A command: its function (whose name it bears), help text and option groups."""

    function: Callable[..., None]
    text: str
    groups: tuple[type[Options], ...]


COMMANDS = (
    Command(sim, "Run one forward pass and print rates, rhythm and simulation speed.", SIM_GROUPS),
    Command(
        image,
        "Run one forward pass and save an oscilloscope picture (rasters, weights, spectrum).",
        SIM_GROUPS,
    ),
    Command(
        train,
        "Train a network on a dataset by surrogate gradients, and keep everything.",
        TRAIN_GROUPS,
    ),
    Command(
        infer,
        "Evaluate trained weights on the test set, at one time step or at many.",
        INFER_GROUPS,
    ),
    Command(
        video,
        "Sweep one parameter and save a video of the oscilloscope, one frame for each value.",
        (*PING_GROUPS, *VIDEO_GROUPS),
    ),
    Command(
        scan,
        "Run a network over many values of one or two parameters; save a table and a figure.",
        (*PING_GROUPS, *SCAN_GROUPS),
    ),
    Command(
        crosscheck,
        "Run the same network in Brian2 and in torch and compare them spike for spike.",
        CROSSCHECK_GROUPS,
    ),
    Command(
        build,
        "Compile the program of a network, for this machine or for a GPU elsewhere; don't run it.",
        BUILD_GROUPS,
    ),
    Command(
        doctor,
        "Say what this machine can run, what each target needs, and how to get it.",
        DOCTOR_GROUPS,
    ),
)


def build_parser() -> Parser:
    """Return the parser of all commands; their flags come from the option groups."""
    parser = Parser(prog="pingbridge", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"pingbridge {_version()}")
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND")
    for function, text, groups in COMMANDS:
        command = commands.add_parser(
            function.__name__, help=text, description=text, parents=[parent_parser(*groups)]
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
    common.ARGV[:] = words
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
