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
from collections.abc import Iterator, Sequence
from typing import Any

import argh

from bridge.home import version
from bridge.runs.complaint import FAILED, exit_code, one_line
from bridge.runs.interrupts import Interruption, interruptible
from bridge.runs.options import parent_parser
from bridge.runs.parser import Parser
from bridge.runs.standard_streams import guarded_streams
from studies import common
from studies.commands import COMMAND_GROUPS, COMMANDS, Command, command_name

log = logging.getLogger("pingbridge")

_DESCRIPTION = (
    "Gamma rhythms in spiking networks: simulate a PING network in Brian2, look at it through an "
    "oscilloscope, train it in torch, sweep its parameters."
)


def build_parser() -> Parser:
    """Return the parser of all commands; their flags come from the option groups."""
    parser = Parser(prog="pingbridge", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"pingbridge {version()}")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0; 1 if it failed; 2 if the input was wrong; 70 for a mistake of this program; 130, 143 or 129
    if it was asked to end (Ctrl-C, SIGTERM, SIGHUP).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with guarded_streams() as out, interruptible() as interruption:
        try:
            code = _run(words, interruption)
        except SystemExit as stop:  # --help, or a mistake in the words
            if stop.code:
                raise
            code = 0
        out.flush()
        if code == 0 and out.failure is not None:
            reason = out.failure.strerror or out.failure
            print(f"error: standard output can't be written ({reason})", file=sys.stderr)
            code = FAILED
    return code


def _run(words: list[str], interruption: Interruption) -> int:
    from bridge.runs.console import configure_logging

    try:
        parser = build_parser()
        if not words:
            parser.print_help()
            return 0
        configure_logging()
        common.ARGV[:] = words
        _check_working_folder()
        with _warnings_as_lines():
            argh.dispatch(parser, words, completion=False)
    except BaseException as error:
        if interruption.signal_number is not None or isinstance(error, KeyboardInterrupt):
            # Whatever it became on its way: a broken pool of workers, a program that was killed.
            print("error: interrupted", file=sys.stderr)
            return interruption.exit_code
        if isinstance(error, SystemExit) or os.environ.get("PINGBRIDGE_TRACEBACK"):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return exit_code(error)
    return 0


def _check_working_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ValueError("the working folder has been deleted; go (cd) to another") from None


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


if __name__ == "__main__":
    sys.exit(main())
