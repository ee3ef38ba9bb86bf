"""Whose a folder of repeats or of a sweep is: `metadata/owner.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bridge.atomic import to_json_text, write_text
from bridge.files.json_text import read_json

OWNER = "owner.json"
RESULTS = ("data/*", "plots/*", "analysis/*")


def refuse_results_of_others(
    folder: Path, key: str | None, *, always: Sequence[str] = (), clear: str
) -> None:
    """Refuse a folder that holds results of something else; touches nothing.

    Parameters
    ----------
    folder : Path
    key : str or None
        Of who wants to write there (:func:`studies.stored.job_key`); None is nobody's.
    always : sequence of str
        Patterns of results that are somebody's even where nothing says whose the folder is.
    clear : str
        What is to be done about it.

    Raises
    ------
    ValueError
        Naming what is there.
    """
    owner = _owner(folder)
    if owner is not None and owner == key:
        return
    patterns = always if owner is None else (*always, *RESULTS)
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    there = list(dict.fromkeys(str(path.relative_to(folder)) for path in paths))
    if there:
        shown = ", ".join(there[:3]) + (f" and {len(there) - 3} more" if there[3:] else "")
        raise ValueError(
            f"{folder} holds results of another configuration, of other seeds or code ({shown}); "
            f"{clear}"
        )


def take_over(folder: Path, key: str | None) -> None:
    """Write whose the folder is from now on."""
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    write_text(folder / "metadata" / OWNER, to_json_text({"key": key}))


def _owner(folder: Path) -> str | None:
    try:
        found = read_json(folder / "metadata" / OWNER)["key"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if isinstance(found, str) else "unknown"
