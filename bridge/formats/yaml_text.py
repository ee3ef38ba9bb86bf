"""YAML as people write it: read safely, bounded, no key twice, one line for what is wrong."""

from __future__ import annotations

import re
from typing import Any

from bridge.files.json_text import DEEPEST
from bridge.files.reading import FileContentError

MOST_BYTES = 2 * 2**20
"""Longest text that is read (about 20 s for the parser)."""
MOST_VALUES = 1_000_000
"""Values of a text once its aliases are written out."""

_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")


def read_yaml(content: bytes, name: str) -> Any:
    """Return what a YAML text says; None for an empty one.

    Aliases are understood as long as what they stand for stays small. Numbers that YAML 1.1 reads
    otherwise than people do (``010`` is 8, ``1:30`` is 90) are refused.

    Parameters
    ----------
    content : bytes
        In UTF-8.
    name : str
        What messages call it.

    Raises
    ------
    ValueError
        For broken YAML (with the line), a key given twice, too much or too deep content, or
        numbers that can be misread.
    """
    import yaml

    if len(content) > MOST_BYTES:
        raise FileContentError(f"{name} is longer than {MOST_BYTES // 2**20} MiB, the most read")
    try:
        loader = yaml.SafeLoader(content.decode("utf-8"))
        root = loader.get_single_node()
        if root is None:
            return None
        _check(root, name)
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise FileContentError(f"{name}{where}: {error.problem or error.context}") from None
    except FileContentError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # odd characters, impossible dates
        raise FileContentError(f"{name}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise FileContentError(f"{name}: nested too deeply to be read") from None


def _check(root: Any, name: str) -> None:
    """Refuse keys given twice, numbers that can be misread, and what grows without bound."""
    sizes: dict[int, int] = {}

    def size(node: Any, depth: int, label: str) -> int:
        line = node.start_mark.line + 1
        if sizes.get(id(node)) == 0:
            raise FileContentError(f"{name}, line {line}: an alias stands for what it is part of")
        if depth > DEEPEST:
            raise FileContentError(f"{name}, line {line}: nested too deeply to be read")
        if id(node) in sizes:
            return sizes[id(node)]
        sizes[id(node)] = 0  # under way
        total = 1
        if isinstance(node.value, str):
            _refuse_two_meanings(node, label, f"{name}, line {line}")
        elif node.id == "mapping":
            first: dict[str, int] = {}
            for key, value in node.value:
                key_line = key.start_mark.line + 1
                if isinstance(key.value, str):
                    if key.value in first:
                        raise FileContentError(
                            f"{name}, line {key_line}: {key.value} is already given in line "
                            f"{first[key.value]}"
                        )
                    first[key.value] = key_line
                word = key.value if isinstance(key.value, str) else ""
                total += size(key, depth + 1, "") + size(value, depth + 1, f"{word}: ")
        else:
            total += sum(size(one, depth + 1, label) for one in node.value)
        if total > MOST_VALUES:
            raise FileContentError(
                f"{name}, line {line}: with its aliases it holds more than {MOST_VALUES} values"
            )
        sizes[id(node)] = total
        return total

    size(root, 0, "")


def _refuse_two_meanings(node: Any, label: str, place: str) -> None:
    kind, written = node.tag.rpartition(":")[2], node.value
    if kind not in ("int", "float") or node.style is not None:
        return
    if _BASE_60.fullmatch(written):
        *places, last = written.lstrip("+-").split(":")
        seconds = sum(int(d) * 60**k for k, d in enumerate(reversed(places), 1)) + float(last)
        why = "YAML takes it for a number in base 60"
        instead = f"{'-' * written.startswith('-')}{seconds:g}, or put it in quotes"
    elif "_" in written:
        why, instead = "a _ between digits is left out", written.replace("_", "")
    elif kind == "int" and _OCTAL.fullmatch(written):
        why = "YAML takes a number that begins with 0 for base 8"
        instead = written[: written.index("0")] + (written.lstrip("+-0") or "0")
    else:
        return
    raise FileContentError(f"{place}: {label}{written} can be misread ({why}); write {instead}")
