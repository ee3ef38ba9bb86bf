"""``recipes``: what ships to start from, and for which command."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.runs.recipes import RECIPES_GROUPS, RecipeOptions, find_recipe, shipped_recipes

log = logging.getLogger("pingbridge")

TEMPLATE = "template"
"""In place of a command: a configuration that is still to be filled in."""

_LONG = 110  # characters of a description that is cut
# The dots of "0.1 ... 1" and "et al. 2022" end no sentence.
_END = r"(?<!\bal)(?<![\s.])[.?!]"


def recipes(**given: Any) -> None:
    """List the recipes that ship by command, or print one: its path on stderr, then its text."""
    from bridge.runs.resolve import resolve

    name = resolve(RECIPES_GROUPS, given)[RecipeOptions].name
    if name is not None:
        path = find_recipe(name)
        print(path, file=sys.stderr)  # so that what is redirected to a file is the recipe
        log.info("%s", path.read_text(encoding="utf-8").rstrip("\n"))
        return
    by_command: dict[str, dict[str, str]] = {}
    for name, path in shipped_recipes().items():
        by_command.setdefault(command_of(path), {})[name] = description_of(path)
    for command, found in by_command.items():
        if command == TEMPLATE:
            log.info("to fill in: pingbridge recipes NAME > mine.yaml")
        else:
            log.info("pingbridge %s --config NAME", command)
        for line in _lines(found):
            log.info("%s", line)


def command_of(path: Path) -> str:
    """Return the command that a shipped recipe is for, or ``template``."""
    import yaml

    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "command" in tree:
        return str(tree["command"])
    # The others are configurations of clustered networks: nested, and read by several commands.
    init = tree["init_params"]
    if init["n_neurons"] is None:
        return TEMPLATE
    if "delta_t" not in init:
        return "meanfield solve"
    return "clustered perturb" if tree.get("perturbation") else "clustered run"


def description_of(path: Path) -> str:
    """Return what the comment that a recipe begins with says first: a line, or a sentence."""
    text = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = f"{text} {line.lstrip('# ')}".strip()
        if re.search(rf"{_END}$", text):
            break
    if len(text) > _LONG:
        text = re.split(rf"(?<={_END})\s+(?=[A-Z0-9`])", text)[0]
    if len(text) > _LONG:
        text = text.partition(": ")[0]
    return text


def _lines(found: Mapping[str, str]) -> list[str]:
    """Return names and descriptions side by side, wrapped where a terminal shows them."""
    indent = " " * (max(map(len, found)) + 4)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    lines = []
    for name, text in found.items():
        line = f"  {name}".ljust(len(indent)) + text
        if width >= len(indent) + 30:
            lines += textwrap.wrap(line, width, subsequent_indent=indent)
        else:
            lines.append(line)
    return lines
