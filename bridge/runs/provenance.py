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

from bridge.home import HOME, UNKNOWN, package_version, project, version

TOOL = "pingbridge"
GIT_SHA_VARIABLE = "PINGBRIDGE_GIT_SHA"
_PACKAGES = ("numpy", "brian2", "torch")
ENVIRONMENT = (
    "PINGBRIDGE_MNIST_DIR", "PINGBRIDGE_SHD_DIR", "PINGLAB_SHD_DIR", "CXX", "CXXFLAGS", "CUDA_HOME",
    "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE",
)  # fmt: skip
"""Variables that decide what a run reads, compiles with or computes on."""


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
        python_env_hash, environment`` (variables of `ENVIRONMENT` that are set), and ``device`` if
        given.

    Source: fields of pinglab's run_log.provenance.
    """
    now = datetime.datetime.now().astimezone()
    block: dict[str, Any] = {
        "tool": TOOL,
        "tool_version": version(),
        "git_sha": git_sha(),
        "run_id": f"r-{now:%Y%m%d-%H%M%S}",
        "started_at": now.isoformat(timespec="seconds"),
        "python": {"executable": sys.executable, "version": platform.python_version()},
        "platform": platform.platform(),
    }
    for package in _PACKAGES:
        block[f"{package}_version"] = package_version(package, "not installed")
    block["python_env_hash"] = python_env_hash()
    block["environment"] = {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)}
    if device is not None:
        block["device"] = device
    return block


def git_sha(folder: Path = HOME) -> str:
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


def python_env_hash(folder: Path = HOME) -> str:
    """Return what the environment is known by, and 12 hex digits of its SHA-256.

    ``constraints.txt:`` (or ``pyproject.toml:``) of a checkout, which pins it; ``packages:`` of an
    installed copy, the name and version of every package there.
    """
    if project(folder) is None:
        from importlib import metadata  # slow to import, and only needed once a run starts

        # Not all of sys.path: setuptools adds the packages that it vendors once it is imported.
        kinds = ("site-packages", "dist-packages")
        folders = [p for p in sys.path if Path(p).name in kinds or Path(p) == folder]
        found: dict[str, str] = {}
        for one in metadata.distributions(path=folders):
            found.setdefault(str(one.name).lower(), one.version)  # the first one is imported
        name, content = "packages", "".join(f"{n}=={found[n]}\n" for n in sorted(found)).encode()
    else:
        constraints = folder / "constraints.txt"
        path = constraints if constraints.is_file() else folder / "pyproject.toml"
        name, content = path.name, path.read_bytes()
    return f"{name}:{hashlib.sha256(content).hexdigest()[:12]}"


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
