"""The state of a training as one file of plain tensors and numbers; never unpickled."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from bridge.atomic import write_atomically
from bridge.files.reading import cause
from bridge.formats.pth import load_plain


def save_state(
    path: Path,
    state: Mapping[str, Any],
    *,
    version: int,
    settings: str,
    as_json: Collection[str] = (),
) -> None:
    """Write a state whole or not at all.

    Parameters
    ----------
    state : mapping
        Tensors, numbers, words, and lists and dicts of these.
    version : int
        Of the file's layout.
    settings : str
        JSON of what must be met again on loading.
    as_json : collection of str
        Entries of `state` that are kept as JSON (long lists of records).
    """
    content = {key: json.dumps(value) if key in as_json else value for key, value in state.items()}
    content |= {"version": version, "settings": settings}
    write_pth(path, content)


def write_pth(path: Path, content: Any) -> None:
    """Write tensors and what goes with them whole or not at all; the same content, the same bytes.

    ``torch.save`` puts the name of the file into it, which is a temporary one here.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, lambda partial: partial.write_bytes(buffer.getbuffer()))


def load_state(
    path: Path,
    *,
    version: int,
    settings: str,
    what: str,
    needed: Collection[str],
    as_json: Collection[str] = (),
) -> dict[str, Any]:
    """Read what :func:`save_state` wrote, `what` by name; nothing in the file is executed.

    Raises
    ------
    ValueError
        If the file is damaged, lacks one of the entries that are `needed`, is of another version,
        or of a training with other settings.
    """
    try:
        content = dict(load_plain(path, what="checkpoint"))
        found, held = content.pop("version"), content.pop("settings")
        json.loads(held)
        if found == version:
            content |= {key: json.loads(content[key]) for key in as_json}
            missing = [key for key in needed if key not in content]
            if missing:
                raise ValueError(f"{', '.join(missing)} missing")
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a broken file provokes is one line
        raise ValueError(
            f"{path} is not a checkpoint of {what} ({cause(error)}); train anew"
        ) from error
    if found != version:
        raise ValueError(f"{path} is of version {found}; this program reads {version}")
    if held != settings:
        raise ValueError(f"{path}: {_difference(held, settings)}; --resume can't change that")
    return content


def _difference(held: str, asked: str) -> str:
    before, now = json.loads(held), json.loads(asked)
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            return f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
    return "its settings differ"
