"""YAML configuration trees: read safely, no key twice, one line for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge.files.reading import read_bytes
from bridge.formats.yaml_text import read_yaml
from bridge.runs.recipes import find_recipe


def load_tree(source: str | Path | bytes) -> tuple[dict[str, Any], bytes, str]:
    """Return a nested mapping, the text it was read from, and the name that messages use.

    Parameters
    ----------
    source : path, or bytes
        A YAML file or the name of a shipped one (:func:`bridge.runs.recipes.find_recipe`), or the
        content of one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For broken YAML (with the line), a key given twice, a file that is no mapping, or a name
        that several shipped files have.
    """
    if isinstance(source, bytes):
        content, name = source, "the configuration"
    else:
        path = find_recipe(source)
        name = f"config {path}"
        content = read_bytes(path)
    loaded = read_yaml(content, name)
    if not isinstance(loaded, dict):
        raise ValueError(f"{name} must be a mapping of sections (init_params, architecture, ...)")
    return loaded, content, name


def dump_tree(tree: dict[str, Any]) -> str:
    """Return a tree as YAML in its own order; short lists stay in one line."""
    import yaml

    text: str = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=100)
    return text
