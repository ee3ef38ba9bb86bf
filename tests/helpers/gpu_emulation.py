"""A GPU where there is none: stand-ins for nvcc and nvidia-smi (see cuda_on_cpu/)."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from filelock import FileLock

SOURCE = Path(__file__).parent / "cuda_on_cpu"


def install(folder: Path) -> Path:
    """Put the stand-ins into a folder as a CUDA toolkit would lie there; once for all tests."""
    files = sorted(path for path in SOURCE.rglob("*") if path.is_file())
    files = [path for path in files if "__pycache__" not in path.parts]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    home = folder / f"cuda-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "cuda.lock"):
        if not home.exists():
            partial = folder / f"cuda-{key}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(SOURCE, partial, ignore=shutil.ignore_patterns("__pycache__"))
            (partial / "lib64").mkdir()
            (partial / "lib64" / "libcurand.so").touch()
            partial.rename(home)
    return home


def environment(home: Path) -> dict[str, str]:
    """Return the variables under which a process finds them."""
    path = os.pathsep.join([str(home / "bin"), os.environ["PATH"]])
    return {"PATH": path, "CUDA_HOME": str(home), "CUDA_PATH": str(home)}
