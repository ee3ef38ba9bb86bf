"""Where compiled code is kept: a folder of the user's own, shared by both backends."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path

log = logging.getLogger("pingbridge")


def cache_root() -> Path:
    """Return the folder of compiled programs, made if need be.

    ``$PINGBRIDGE_CACHE_DIR``, else ``$XDG_CACHE_HOME/pingbridge``, else ``~/.cache/pingbridge``;
    where none of them can be written, a folder of this user's in the system's temporary directory.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    named = os.environ.get("PINGBRIDGE_CACHE_DIR")
    choices = [Path(named) if named else Path(base) / "pingbridge"]
    choices.append(Path(tempfile.gettempdir()) / f"pingbridge-cache-{os.getuid()}")
    for root in choices:
        try:
            programs = root / "programs"
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            programs.mkdir(exist_ok=True, mode=0o700)
            # What lies here is executed: it must be this user's own.
            own = all(folder.stat().st_uid == os.getuid() for folder in (root, programs))
            if own and os.access(programs, os.W_OK):
                if root != choices[0]:
                    _warn_fallback(choices[0], root)
                return root
        except OSError:
            continue
    raise OSError(
        f"no writable folder for compiled programs (tried {', '.join(map(str, choices))}); "
        "set PINGBRIDGE_CACHE_DIR to one"
    )


@functools.cache
def _warn_fallback(wanted: Path, used: Path) -> None:
    log.warning("compiled programs can't be kept in %s; they go to %s", wanted, used)
