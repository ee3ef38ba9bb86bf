"""What a run reads: the files that its options name, and a hash of what is in them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.runs.options import Options, parameters

OUTPUT_KEYS = frozenset({
    "out_dir", "save_dir", "save_recording", "save_weights_dir", "runs_dir", "analysis_dir",
    "export",
})  # fmt: skip
"""Options that name something to write; every other path is one to read."""

# A recipe counts by the settings that it gave, a program by those that it was compiled for.
_BY_SETTINGS = frozenset({"config", "program"})


def input_paths(config: Mapping[str, Any]) -> list[str]:
    """Return the paths that a configuration reads: those of every path option that is no output."""
    return sorted({str(config[key]) for key in _path_keys() if config.get(key)})


def input_contents(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of each file that a configuration reads, by the option that names it.

    The file of the weights counts as ``weights_from``, whatever led to it. Folders are not gone
    through: who reads one says himself what of it counts.
    """
    named = {key: config[key] for key in _path_keys() - _BY_SETTINGS if config.get(key)}
    derived = config.get("derived")
    if isinstance(derived, Mapping) and derived.get("weights_from"):
        named["weights_from"] = derived["weights_from"]
    files = {key: Path(str(path)) for key, path in sorted(named.items())}
    return {key: file_hash(path) for key, path in files.items() if path.is_file()}


def file_hash(path: Path) -> str:
    """Return the SHA-256 of the content of a file."""
    about = path.stat()
    return _hash_of(path.absolute(), about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _hash_of(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _path_keys() -> set[str]:
    return {
        parameter.key for group in _all_subclasses(Options) for parameter in parameters(group)
        if parameter.kind is Path and parameter.key not in OUTPUT_KEYS
    }  # fmt: skip


def _all_subclasses(cls: type[Options]) -> list[type[Options]]:
    own = cls.__subclasses__()
    return [*own, *(below for one in own for below in _all_subclasses(one))]
