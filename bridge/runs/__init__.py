"""What a run is: option groups, their resolution, the run folder, inheritance, provenance.

The functions `resolve.resolve` and `provenance.provenance` are not repeated here: their names are
those of their modules.
"""

from bridge.runs.console import LOG, configure_logging, strip_ansi, style
from bridge.runs.folder import RunFolder
from bridge.runs.inherit import InheritedRun, read_run, require_weights
from bridge.runs.options import (
    Options,
    add_options,
    from_json,
    option,
    parent_parser,
    split_given,
    table,
    to_json,
)
from bridge.runs.parser import Parser
from bridge.runs.resolve import Recipe, Resolved, read_recipe

__all__ = [
    "LOG",
    "InheritedRun",
    "Options",
    "Parser",
    "Recipe",
    "Resolved",
    "RunFolder",
    "add_options",
    "configure_logging",
    "from_json",
    "option",
    "parent_parser",
    "read_recipe",
    "read_run",
    "require_weights",
    "split_given",
    "strip_ansi",
    "style",
    "table",
    "to_json",
]
