"""Who made a run, when, and with which versions: the provenance block of config.json."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

TOOL = "pingbridge"
UNKNOWN = "unknown"
SOURCE_FOLDER = Path(__file__).resolve().parents[2]
GIT_SHA_VARIABLE = "PINGBRIDGE_GIT_SHA"
_PACKAGES = ("numpy", "brian2", "torch")


def provenance(*, device: str | None = None) -> dict[str, Any]:
    """Return the provenance block of a run that starts now.

    Parameters
    ----------
    device : str, optional
        What it computes on; the caller knows, this module imports no backend.

    Returns
    -------
    dict
        ``tool, tool_version, git_sha, run_id, started_at, python, platform, <package>_version,
        python_env_hash``, and ``device`` if given.

    Source: fields of pinglab's run_log.provenance.
    """
    now = datetime.datetime.now().astimezone()
    block: dict[str, Any] = {
        "tool": TOOL,
        "tool_version": _version(TOOL, UNKNOWN),
        "git_sha": git_sha(),
        "run_id": f"r-{now:%Y%m%d-%H%M%S}",
        "started_at": now.isoformat(timespec="seconds"),
        "python": {"executable": sys.executable, "version": platform.python_version()},
        "platform": platform.platform(),
    }
    for package in _PACKAGES:
        block[f"{package}_version"] = _version(package, "not installed")
    block["python_env_hash"] = python_env_hash()
    if device is not None:
        block["device"] = device
    return block


def git_sha(folder: Path = SOURCE_FOLDER) -> str:
    """Return the short commit of the repository that holds `folder`.

    " (dirty)" is appended if a tracked file has changed; untracked files, such as run folders
    inside the checkout, do not count. "unknown" if git or a commit is missing, or `folder` is
    only lying inside somebody else's repository (an installed copy in an environment). The
    environment variable ``PINGBRIDGE_GIT_SHA`` overrides all that.
    """
    told = os.environ.get(GIT_SHA_VARIABLE)
    if told:
        return told
    if _git(folder, "ls-files", "--error-unmatch", "--", ".") is None:
        return UNKNOWN
    described = _git(folder, "describe", "--always", "--exclude=*", "--dirty= (dirty)")
    return described or UNKNOWN


def python_env_hash(folder: Path = SOURCE_FOLDER) -> str:
    """Return what pins the environment: ``constraints.txt:`` and 12 hex digits of its SHA-256.

    ``pyproject.toml`` stands in where there is no constraints.txt; "unknown" without either.
    """
    for name in ("constraints.txt", "pyproject.toml"):
        try:
            content = (folder / name).read_bytes()
        except OSError:
            continue
        return f"{name}:{hashlib.sha256(content).hexdigest()[:12]}"
    return UNKNOWN


def _git(folder: Path, *arguments: str) -> str | None:
    # Inside a git hook, GIT_DIR and its like point to the repository of the hook.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    # Without optional locks git only reads: a run must not disturb a commit going on.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str, otherwise: str) -> str:
    from importlib import metadata  # slow to import, and only needed once a run starts

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return otherwise
