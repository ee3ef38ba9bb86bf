"""Write docs/flags.md from the option groups: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path

from bridge.runs.options import table
from studies.commands import COMMAND_GROUPS, COMMANDS, command_name

FLAGS = Path(__file__).parent / "flags.md"


def flags_page() -> str:
    """Return the page of all flags, group by group, each with the commands that have it."""
    commands = {command_name(command): command for command in COMMANDS}
    for group_name, (_, own) in COMMAND_GROUPS.items():
        commands |= {command_name(command, group_name): command for command in own}
    parts = [
        "# Flags",
        "Written by `python docs/generate.py` from the option groups of `bridge/runs/groups*.py` "
        "and `bridge/lateral_line/`. "
        "In a recipe (`--config`) and in `config.json` a key is the flag without its dashes; `-` "
        "and `_` are the same there.",
    ]
    groups = dict.fromkeys(group for command in commands.values() for group in command.groups)
    for group in groups:
        title = (group.__doc__ or "").strip().splitlines()[0].rstrip(".")
        having = [name for name, command in commands.items() if group in command.groups]
        all_of_them = having == list(commands)
        where = "every command" if all_of_them else ", ".join(f"`{name}`" for name in having)
        parts += [f"## {title} ({where})", table(group).strip()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    FLAGS.write_text(flags_page())
