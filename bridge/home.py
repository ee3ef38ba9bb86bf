"""Where the program lies: a checkout with its project file, or the packages of an environment."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
"""The folder with all rooms; the only place that works it out."""

CONFIGS = HOME / "configs"
"""Recipes and configurations that ship with the program."""

UNKNOWN = "unknown"
_NAME = "pingbridge"


def project(folder: Path = HOME) -> dict[str, Any] | None:
    """Return the ``[project]`` table of a checkout, or None where the program is installed.

    A project file of somebody else does not count: some packages leave theirs beside ours.
    """
    try:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
        table = tomllib.loads(text).get("project", {})
    except (OSError, ValueError):
        return None
    return table if table.get("name") == _NAME else None


def version() -> str:
    """Return the version of the code that runs: its checkout's, else that of the installed package.

    What is installed may be another copy, or an older state of this one.
    """
    own = project()
    return package_version(_NAME, UNKNOWN) if own is None else str(own["version"])


def package_version(package: str, otherwise: str) -> str:
    """Return the version of an installed package, or `otherwise`."""
    from importlib import metadata  # slow to import

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return otherwise
