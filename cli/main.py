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

from bridge.runs.groups import PING_GROUPS
from bridge.runs.groups_crosscheck import CROSSCHECK_GROUPS
from bridge.runs.groups_rate import (
    RATE_CONVERT_GROUPS,
    RATE_EVAL_GROUPS,
    RATE_PLOT_GROUPS,
    RATE_SEARCH_GROUPS,
    RATE_TRAIN_GROUPS,
)
from bridge.runs.groups_scan import SCAN_GROUPS, VIDEO_GROUPS
from bridge.runs.groups_train import INFER_GROUPS, TRAIN_GROUPS
from bridge.runs.options import Options, parent_parser
from bridge.runs.parser import Parser
from cli import common, rate, rate_spiking
from cli.crosscheck import crosscheck
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
    Command(sim, "Run one forward pass and print rates, rhythm and simulation speed.", PING_GROUPS),
    Command(
        image,
        "Run one forward pass and save an oscilloscope picture (rasters, weights, spectrum).",
        PING_GROUPS,
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
)


class CommandGroup(NamedTuple):
    """Commands that are typed after a common word, ``rate train``."""

    text: str
    commands: tuple[Command, ...]


COMMAND_GROUPS: dict[str, CommandGroup] = {
    "rate": CommandGroup(
        "Train a rate network on a cognitive task and turn it into a spiking one.",
        (
            Command(
                rate.train,
                "Train a rate network under Dale's law on a cognitive task.",
                RATE_TRAIN_GROUPS,
            ),
            Command(
                rate_spiking.search,
                "Find the scaling factor at which the spiking network solves the task best.",
                RATE_SEARCH_GROUPS,
            ),
            Command(
                rate_spiking.convert,
                "Turn a rate network into a spiking one and compare their outputs.",
                RATE_CONVERT_GROUPS,
            ),
            Command(
                rate_spiking.eval_,
                "Test a spiking network and its rate network on fresh trials.",
                RATE_EVAL_GROUPS,
            ),
            Command(
                rate_spiking.plot,
                "Draw one trial of each type: both outputs, and who fired when.",
                RATE_PLOT_GROUPS,
            ),
        ),
    ),
}


def command_name(command: Command, group: str | None = None) -> str:
    """Return what is typed for a command."""
    word = command.function.__name__.rstrip("_").replace("_", "-")
    return word if group is None else f"{group} {word}"


def build_parser() -> Parser:
    """Return the parser of all commands; their flags come from the option groups."""
    parser = Parser(prog="pingbridge", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"pingbridge {_version()}")
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_commands(commands, COMMANDS)
    for name, (text, own) in COMMAND_GROUPS.items():
        group = commands.add_parser(name, help=text, description=text)
        _add_commands(group.add_subparsers(title="commands", metavar="COMMAND", required=True), own)
    return parser


def _add_commands(parsers: Any, commands: tuple[Command, ...]) -> None:
    for one in commands:
        made = parsers.add_parser(
            command_name(one), help=one.text, description=one.text,
            parents=[parent_parser(*one.groups)],
        )  # fmt: skip
        argh.set_default_command(made, one.function)


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
