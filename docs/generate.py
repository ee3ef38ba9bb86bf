"""Write docs/flags.md from the option groups: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path

from bridge.runs.options import table
from cli.main import COMMAND_GROUPS, COMMANDS

FLAGS = Path(__file__).parent / "flags.md"


def flags_page() -> str:
    """Return the page of all flags, group by group, each with the commands that have it."""
    names = [command.function.__name__ for command in COMMANDS]
    parts = [
        "# Flags",
        "Written by `python docs/generate.py` from the option groups of `bridge/runs/groups*.py`. "
        "In a recipe (`--config`) and in `config.json` a key is the flag without its dashes; `-` "
        "and `_` are the same there.",
    ]
    groups = dict.fromkeys(group for command in COMMANDS for group in command.groups)
    for group in groups:
        title = (group.__doc__ or "").strip().splitlines()[0].rstrip(".")
        having = [c.function.__name__ for c in COMMANDS if group in c.groups]
        where = "every command" if having == names else ", ".join(f"`{name}`" for name in having)
        parts += [f"## {title} ({where})", table(group).strip()]
    for first, (text, members) in COMMAND_GROUPS.items():
        parts += [f"## `{first}`: {text[0].lower()}{text[1:].rstrip('.')}"]
        names = [member.function.__name__ for member in members]
        for group in dict.fromkeys(group for member in members for group in member.groups):
            title = (group.__doc__ or "").strip().splitlines()[0].rstrip(".")
            having = [m.function.__name__ for m in members if group in m.groups]
            where = "all" if having == names else ", ".join(f"`{first} {n}`" for n in having)
            parts += [f"### {title} ({where})", table(group).strip()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    FLAGS.write_text(flags_page())
