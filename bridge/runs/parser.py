"""An argparse parser whose mistakes are one line and name the nearest flag."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from bridge.runs.complaint import shortened
from bridge.runs.parameter import nearest


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` for people: one ``error:`` line, exit code 2, no abbreviations.

    Sub-parsers made by ``add_subparsers`` are of this class too. An unknown flag is an error in
    `parse_known_args` as well: only the parser of the sub-command knows which flag was meant.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        super().__init__(*args, **settings)
        # argparse takes "-1e-3" for a flag: its own pattern knows no exponent.
        self._negative_number_matcher = re.compile(r"^-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")

    def error(self, message: str) -> NoReturn:
        """Print one line on stderr and exit with code 2."""
        self.exit(
            2,
            f"error: {shortened(' '.join(message.split()))} ({self.prog} --help lists the flags)\n",
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse; an argument that means nothing is an error naming the nearest flag."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word = unknown[0].partition("=")[0]
            near = nearest(word, self._option_string_actions)
            hint = f"; did you mean {near}?" if near else ""
            self.error(f"unrecognized argument {unknown[0]!r}{hint}")
        return parsed, unknown
