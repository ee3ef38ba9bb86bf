"""The state of a rate training in one file of plain tensors and numbers; never unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bridge.atomic import write_atomically

VERSION = 1


def save(path: Path, state: Mapping[str, Any], *, settings: str) -> None:
    """Write a state whole or not at all; `settings` must be met again on loading."""
    content = {**state, "version": VERSION, "settings": settings}
    content["history"] = json.dumps(state["history"])
    write_atomically(path, lambda partial: torch.save(content, partial))


def load(path: Path, *, settings: str) -> dict[str, Any]:
    """Read a state; nothing in the file is executed.

    Raises
    ------
    ValueError
        If the file is damaged, of another version, or of a training with other settings.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        version, held = content.pop("version"), content.pop("settings")
        content["history"] = json.loads(content["history"])
    except Exception as error:  # whatever a broken file provokes is one line
        raise ValueError(f"{path} is not a checkpoint of a rate training; train anew") from error
    if version != VERSION:
        raise ValueError(f"{path} is of version {version}; this program reads {VERSION}")
    if held != settings:
        before, now = json.loads(held), json.loads(settings)
        changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        key = changed[0] if changed else "something"
        raise ValueError(
            f"{path}: {key} was {before.get(key)!r}, now {now.get(key)!r}; --resume can't change "
            "that"
        )
    return dict(content)
