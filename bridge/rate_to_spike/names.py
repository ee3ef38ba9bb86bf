"""One spelling of task names: ``go-nogo``, ``Go_NoGo`` and `` go_nogo `` mean the same."""

from __future__ import annotations

from collections.abc import Iterable


def normalise_name(name: str) -> str:
    """Return a task name in lower case, with ``_`` for ``-`` and without blanks around it.

    Raises
    ------
    TypeError
        If it is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"a task is named by text, not by {name!r}")
    return name.strip().lower().replace("-", "_")


def unknown(what: str, name: object, legal: Iterable[str]) -> ValueError:
    """Return the error for a name that nothing bears."""
    return ValueError(f"unknown {what} {name!r}; available: {', '.join(sorted(legal))}")


def guess_task(path: str) -> str | None:
    """Return the task that a path speaks of, or None.

    The last match counts: a file's own name says more than the folders above it.
    """
    text = normalise_name(str(path)).replace(" ", "_")
    at = {
        "go_nogo": max(text.rfind("go_nogo"), text.rfind("gonogo")),
        "xor": text.rfind("xor"),
        "mante": text.rfind("mante"),
    }
    found = max(at, key=lambda name: at[name])
    return found if at[found] >= 0 else None
