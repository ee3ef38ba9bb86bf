"""Write docs/flags.md from the option groups: ``python docs/generate.py``."""

from __future__ import annotations

from pathlib import Path

from bridge.runs.groups import PING_GROUPS
from bridge.runs.groups_crosscheck import CrosscheckOptions
from bridge.runs.options import table

FLAGS = Path(__file__).parent / "flags.md"


def flags_page() -> str:
    """Return the page of all flags, group by group."""
    parts = [
        "# Flags",
        "Flags of `sim` and `image`, written by `python docs/generate.py` from the option groups "
        "of `bridge/runs/groups.py`. In a recipe (`--config`) and in `config.json` a key is the "
        "flag without its dashes; `-` and `_` are the same there.",
    ]
    for group in PING_GROUPS:
        title = (group.__doc__ or "").strip().rstrip(".")
        parts += [f"## {title}", table(group).strip()]
    parts += [
        "## Comparison (`crosscheck`)",
        "`crosscheck` takes the flags above as well, except `--save-recording` and `--raster`; its "
        "`--dt` and `--codegen` take several values, one comparison for each.",
        table(CrosscheckOptions).strip(),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    FLAGS.write_text(flags_page())
