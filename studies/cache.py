"""``cache``: what compiled code is kept, and how to be rid of it."""

from __future__ import annotations

import datetime
import logging
import time
from dataclasses import dataclass
from typing import Any

from bridge.cache import (
    KINDS,
    LIMIT_VARIABLE,
    Entry,
    cache_root,
    entries,
    limit_bytes,
    remove,
    tidy,
)
from bridge.runs.options import Options, option

log = logging.getLogger("pingbridge")

_DAY_S = 24 * 3600.0
_WHAT = {
    "programs": "programs of Brian2 (--codegen cpp, cuda)",
    "cython": "modules of Brian2 (--codegen cython)",
    "kernels": "training loops of torch",
    "stamps": "notes on what is compiled",
    "cuda": "links to libraries of CUDA",
}

_ONE = {"programs": "program", "cython": "module", "kernels": "kernel", "stamps": "note",
        "cuda": "link"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CacheClearOptions(Options):
    """What is removed."""

    older_than_days: float = option(
        0.0, "leave what was used in the last so many days", unit="days", at_least=0
    )
    dry_run: bool = option(False, "say what would be removed, and remove nothing")


CACHE_CLEAR_GROUPS = (CacheClearOptions,)
"""Groups of `cache clear`."""


def show(**given: Any) -> None:
    """Print where compiled code is kept, how much of it, and since when it was not used."""
    held = entries()
    log.info("%s: %s of at most %s (%s)", cache_root(), _size(sum(e.n_bytes for e in held)),
             _size(limit_bytes()), LIMIT_VARIABLE)  # fmt: skip
    for kind in KINDS:
        own = [entry for entry in held if entry.kind == kind]
        if own:
            log.info(
                "%5d %-42s %9s, used %s to %s",
                len(own), _WHAT[kind], _size(sum(e.n_bytes for e in own)),
                _day(own[-1].used_s), _day(own[0].used_s),
            )  # fmt: skip


def clear(**given: Any) -> None:
    """Remove compiled code that is not in use; what is needed is compiled again."""
    from bridge.runs.resolve import resolve

    options = resolve(CACHE_CLEAR_GROUPS, given)[CacheClearOptions]
    before = time.time() - options.older_than_days * _DAY_S
    chosen = [entry for entry in entries() if entry.used_s <= before]
    if options.dry_run:
        log.info("would remove %s", _told(chosen))
        return
    tidy()
    busy = [entry for entry in chosen if not remove(entry)]
    log.info("removed %s", _told([entry for entry in chosen if entry not in busy]))
    if busy:
        log.info("in use, and left there: %s", _told(busy))


def _told(chosen: list[Entry]) -> str:
    counts = [
        f"{n} {_ONE[kind]}{'s' if n > 1 else ''}"
        for kind in KINDS if (n := sum(e.kind == kind for e in chosen))
    ]  # fmt: skip
    return f"{', '.join(counts) or 'nothing'} ({_size(sum(e.n_bytes for e in chosen))})"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.2f} GB"


def _day(moment_s: float) -> str:
    return f"{datetime.datetime.fromtimestamp(moment_s):%Y-%m-%d}"
