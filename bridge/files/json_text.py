"""JSON of unknown origin: bounded in size and depth, errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bridge.files.reading import FileContentError, cause, read_text

DEEPEST = 64
"""Levels of nesting that are read; ours have five."""


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not JSON, not UTF-8, nested too deeply or too long; one line that names the file.
    """
    text = read_text(path)
    try:
        return parse_json(text, str(path))
    except ValueError as error:
        raise FileContentError(str(error)) from None


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; raises as :func:`read_json` does."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise FileContentError(f"{path}: must hold a JSON object, not a {type(found).__name__}")
    return found


def parse_json(text: str | bytes, name: str) -> Any:
    """Return what a JSON text holds; raises as :func:`read_json` does, `name` first."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}, line {error.lineno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise ValueError(f"{name}: nested too deeply to be read") from None
    except ValueError as error:  # not UTF-8; a whole number of thousands of digits
        raise ValueError(f"{name}: not JSON ({cause(error)})") from None
    _refuse_deep(found, name)
    return found


def _refuse_deep(found: Any, name: str) -> None:
    level, depth = [found], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"{name}: nested too deeply to be read")
        level = [
            one for group in level for one in (group.values() if isinstance(group, dict) else group)
        ]
