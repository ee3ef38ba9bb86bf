"""YAML configuration trees: read safely, no key twice, one line for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    import yaml

    if isinstance(source, bytes):
        content, name = source, "the configuration"
    else:
        path = find_recipe(source)
        name = f"config {path}"
        content = path.read_bytes()
    try:
        text = content.decode("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        loaded = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{name}{where}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{name} must be a mapping of sections (init_params, architecture, ...)")
    _refuse_repeats(root, name)
    return loaded, content, name


def _refuse_repeats(node: Any, name: str) -> None:
    import yaml

    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in first:
                raise ValueError(
                    f"{name}, line {line}: {key.value} is already given in line {first[key.value]}"
                )
            first[key.value] = line
            _refuse_repeats(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            _refuse_repeats(one, name)


def dump_tree(tree: dict[str, Any]) -> str:
    """Return a tree as YAML in its own order; short lists stay in one line."""
    import yaml

    text: str = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=100)
    return text
