"""Run the code of docs/tutorial_rate_to_spike.md: ``python docs/tutorial.py FOLDER``.

Pictures and models are written into the folder. With ``--pictures`` the pictures go to docs/images.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).parent / "tutorial_rate_to_spike.md"


def code() -> str:
    """Return all code of the page, block after block."""
    return "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))


def run(folder: Path, change: Callable[[str], str] = lambda text: text) -> dict[str, object]:
    """Run the code in a folder and return its names."""
    import matplotlib

    matplotlib.use("agg")
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    names: dict[str, object] = {}
    os.chdir(folder)
    try:
        exec(compile(change(code()), str(PAGE), "exec"), names)
    finally:
        os.chdir(before)
        matplotlib.pyplot.close("all")
    return names


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", action="store_true", help="copy them to docs/images")
    given = parser.parse_args()
    run(given.folder)
    if given.pictures:
        for picture in given.folder.glob("tutorial_*.png"):
            shutil.copy(picture, PAGE.parent / "images" / picture.name)
