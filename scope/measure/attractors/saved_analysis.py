"""A saved analysis: three files, without pickles, readable after the spikes are gone.

``attractors.npy`` holds the occurrences as a structured array (recording, state, start, end; s),
``transition_matrix.npy`` the matrix, ``analysis_config.json`` everything else, the active
populations of each state included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridge.atomic import to_json_text, write_atomically, write_text
from bridge.files.json_text import read_json_object
from bridge.files.npz import read_npy
from bridge.files.reading import reading
from scope.measure.attractors.attractors import Occurrences

ATTRACTORS, MATRIX, CONFIG = "attractors.npy", "transition_matrix.npy", "analysis_config.json"
_FIELDS = [("recording", "<i8"), ("state", "<i8"), ("start_s", "<f8"), ("end_s", "<f8")]
_NEEDED = ("identities", "total_ms", "dt", "recording_steps", "n_occurrences")


def save_analysis(folder: Path, occurrences: Occurrences, facts: Mapping[str, Any]) -> Path:
    """Write an analysis into a folder, the description last: it says that the rest is there."""
    folder.mkdir(parents=True, exist_ok=True)
    table = np.zeros(len(occurrences), dtype=_FIELDS)
    for name, _ in _FIELDS:
        table[name] = getattr(occurrences, name)
    (folder / CONFIG).unlink(missing_ok=True)
    for name, array in ((ATTRACTORS, table), (MATRIX, occurrences.transition_matrix())):

        def write(path: Path, array: Any = array) -> None:
            with path.open("wb") as file:
                np.save(file, array, allow_pickle=False)

        write_atomically(folder / name, write)
    described = {
        **facts, "time_unit": "s", "n_occurrences": len(occurrences),
        "identities": [list(one) for one in occurrences.identities],
        "files": {"attractors": ATTRACTORS, "transition_matrix": MATRIX},
    }  # fmt: skip
    write_text(folder / CONFIG, to_json_text(described))
    return folder


def load_saved(folder: Path) -> tuple[Occurrences, dict[str, Any]]:
    """Return a saved analysis.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    ValueError
        If a file is damaged, of another kind (a pickle is never opened), or does not fit.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of an analysis")
    missing = [name for name in (ATTRACTORS, MATRIX, CONFIG) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} is incomplete: {', '.join(missing)} missing")
    with reading(folder / CONFIG, "description of an analysis"):
        facts = read_json_object(folder / CONFIG)
        lacking = [name for name in _NEEDED if name not in facts]
        if lacking:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        for name in ("dt", "total_ms"):
            _require(_is_number(facts[name]) and facts[name] > 0, facts, name, "a number > 0")
        for name in ("recording_steps", "population_sizes"):
            counts = facts.get(name, [])
            whole = isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)
            _require(whole, facts, name, "a list of whole numbers")
        thresholds = facts.get("thresholds_hz", [])
        lists = isinstance(thresholds, list) and all(isinstance(t, list) for t in thresholds)
        _require(
            lists and all(hz is None or _is_number(hz) for t in thresholds for hz in t),
            facts, "thresholds_hz", "lists of numbers",
        )  # fmt: skip
        identities = [tuple(int(c) for c in one) for one in facts["identities"]]
    with reading(folder / ATTRACTORS, "table of occurrences"):
        table = read_npy(folder / ATTRACTORS)
        if table.dtype.names != tuple(name for name, _ in _FIELDS):
            raise ValueError(f"its columns are {table.dtype.names}")
        if len(table) != facts["n_occurrences"]:
            raise ValueError(f"{len(table)} occurrences, {facts['n_occurrences']} announced")
        if len(table) and not 0 <= table["state"].min() <= table["state"].max() < len(identities):
            raise ValueError("it names states that are not described")
    with reading(folder / MATRIX, "transition matrix"):
        matrix = read_npy(folder / MATRIX)
        if matrix.shape != (len(identities), len(identities)):
            raise ValueError(f"its shape is {matrix.shape} for {len(identities)} states")
    occurrences = Occurrences(
        table["recording"], table["state"], table["start_s"], table["end_s"], identities,
        float(facts["total_ms"]) / 1e3,
    )  # fmt: skip
    return occurrences, facts


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and bool(np.isfinite(value))


def _require(met: bool, facts: Mapping[str, Any], name: str, what: str) -> None:
    if not met:
        raise ValueError(f"{name} = {facts.get(name)!r} must be {what}")
