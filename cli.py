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
from bridge.runs.options import parent_parser
from bridge.runs.parser import Parser
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


if __name__ == "__main__":
    sys.exit(main())
