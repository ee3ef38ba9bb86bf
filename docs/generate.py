"""Write docs/flags.md from the option groups: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path

from bridge.runs.options import table
from cli.main import COMMANDS

FLAGS = Path(__file__).parent / "flags.md"


def flags_page() -> str:
    """Return the page of all flags, group by group, each with the commands that have it."""
    names = [command.name for command in COMMANDS]
    parts = [
        "# Flags",
        "Written by `python docs/generate.py` from the option groups of `bridge/runs/groups*.py` "
        "and `bridge/lateral_line/`. "
        "In a recipe (`--config`) and in `config.json` a key is the flag without its dashes; `-` "
        "and `_` are the same there.",
    ]
    groups = dict.fromkeys(group for command in COMMANDS for group in command.groups)
    for group in groups:
        title = (group.__doc__ or "").strip().splitlines()[0].rstrip(".")
        having = [c.name for c in COMMANDS if group in c.groups]
        where = "every command" if having == names else ", ".join(f"`{name}`" for name in having)
        parts += [f"## {title} ({where})", table(group).strip()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    FLAGS.write_text(flags_page())
