"""The source distribution and the wheel, built from a copy of the tree, and fresh environments."""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NOT_SOURCE = (
    ".git", ".venv*", ".*_cache", ".hypothesis", "build", "dist", "*.egg-info", "__pycache__",
    "artifacts", "simulations", "Runs",
)  # fmt: skip
_BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
# Runs commands one after the other in one process, up to the first that fails.
_DRIVER = """
import json, sys
import bridge, cli
for words in json.loads(sys.argv[1]):
    code = cli.main(words)
    if code:
        sys.exit(f"{' '.join(words)}: exit code {code}")
print("rooms:", bridge.__file__)
if "torch" in sys.modules:
    from train_torch.kernels.library import SOURCES, why_missing
    print("kernels:", SOURCES, why_missing())
"""


@dataclass(frozen=True)
class Built:
    """A copy of the tree, and what was built from it."""

    copy: Path
    sdist: Path
    wheel: Path


def build(folder: Path) -> Built:
    """Build the source distribution from a copy of the tree, and the wheel from that."""
    copy, out = folder / "copy", folder / "out"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_NOT_SOURCE))
    call([sys.executable, "-c", _BUILD_SDIST, str(out)], cwd=copy)
    (sdist,) = out.glob("*.tar.gz")
    words = ["wheel", sdist, "--no-deps", "--no-build-isolation", "-w", out]
    call([sys.executable, "-m", "pip", *map(str, words)], cwd=folder)
    (wheel,) = out.glob("*.whl")
    return Built(copy, sdist, wheel)


def call(words: list[str], *, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program that must succeed, without what the running tests have set."""
    ours = ("PYTHONPATH", "PINGBRIDGE_GIT_SHA", "PYTHONWARNINGS")
    environment = {k: v for k, v in os.environ.items() if k not in ours} | more
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done


def version_of(python: str) -> tuple[int, int] | None:
    """Return the version of an interpreter, or None if it doesn't start here."""
    try:
        done = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    major, minor = map(int, done.stdout.split())
    return major, minor


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel.

    Attributes
    ----------
    folder : Path
    version : str
        Of the package.
    has_torch : bool
    """

    folder: Path
    version: str
    has_torch: bool

    @property
    def packages(self) -> Path:
        """Return where the wheel lies."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def program(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the console script."""
        return call([str(self.folder / "bin" / "pingbridge"), *words], cwd=cwd)

    def commands(self, *commands: list[str], cwd: Path) -> str:
        """Run several commands in one process and return what they printed."""
        python = str(self.folder / "bin" / "python")
        return call([python, "-P", "-c", _DRIVER, json.dumps(commands)], cwd=cwd).stdout


def install(wheel: Path, folder: Path, python: str, torch: list[str]) -> Installed:
    """Install the wheel alone, and what it depends on, in a fresh environment.

    Parameters
    ----------
    wheel, folder : Path
    python : str
        An interpreter. One of the version that runs the tests is lent their packages: not the
        project itself, since a ``.pth`` file does not follow those of the folders that it names.
        Others get them from the index, pinned by constraints.txt.
    torch : list of str
        What to ask pip for to get torch there; without it there is none.
    """
    call([python, "-m", "venv", "--without-pip", str(folder)], cwd=wheel.parent)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install",
           "--quiet", "--disable-pip-version-check"]  # fmt: skip
    call([*pip, "--no-deps", "--no-compile", str(wheel)], cwd=folder)
    with zipfile.ZipFile(wheel) as content:
        (name,) = (n for n in content.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(content.read(name))
    lent = version_of(python) == sys.version_info[:2]
    made = Installed(folder, str(metadata["Version"]), lent or bool(torch))
    if lent:
        own = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        (made.packages / "lent.pth").write_text("\n".join(own) + "\n")
        return made
    needs = [need for need in metadata.get_all("Requires-Dist") or [] if "extra ==" not in need]
    needs = [need for need in needs if not need.startswith("torch")]
    pinned = ["-c", str(ROOT / "constraints.txt")]
    call([*pip, *pinned, *needs], cwd=folder)
    if torch:
        call([*pip, *pinned, *torch], cwd=folder)
    return made
