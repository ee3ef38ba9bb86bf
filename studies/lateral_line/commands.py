"""``lateral-line``: train the map, test it, draw it."""

from __future__ import annotations

from typing import Any

from bridge.lateral_line.run_options import LATERAL_LINE_GROUPS
from studies.common import ARGV, resolve_options


def lateral_line(**given: Any) -> None:
    """Train the lateral-line network, test its map, and keep everything."""
    from studies.lateral_line.workflow import run

    resolved, _ = resolve_options("lateral-line", given, LATERAL_LINE_GROUPS)
    run(resolved, ARGV)
