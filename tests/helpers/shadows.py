"""A working folder full of modules of the user's own, under names that the program needs."""

from __future__ import annotations

from pathlib import Path

ROOMS = ("bridge", "cli", "scope", "sim_brian", "studies", "train_torch")
LIBRARIES = ("joblib", "logging", "numpy", "random")


def make_shadows(folder: Path) -> Path:
    """Fill a folder with modules that end whoever imports them, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*ROOMS, *LIBRARIES):
        (folder / f"{name}.py").write_text(f"raise SystemExit('this is my own {name}.py')\n")
    return folder
