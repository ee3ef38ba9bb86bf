"""The compiled loops as a shared library, made once per machine and kept in the cache folder."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bridge import cache
from bridge.cache import cache_root
from bridge.children import kill_programs_of, run_tool
from bridge.runs.parallel import count_cores
from bridge.scratch import Scratch

log = logging.getLogger("pingbridge")

SOURCES = Path(__file__).parent
_FLAGS = (
    "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-pthread", "-Wno-psabi",
)  # fmt: skip
# The first that the compiler knows. What GCC adds with -O3 takes it twice as long and makes nothing
# faster (measured, gcc 12: 256 E cells, both float types, both networks); clang has no such flag.
_OPTIMISED = (
    ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-march=native"),
    ("-O3", "-march=native"),
    ("-O3",),  # some do not know their machine
)
# The order of operations of the forward pass is a contract; products are only used backward.
_PARTS = {
    "layer32": ("layer.cpp", "-DSINGLE", "-ffp-contract=off"),
    "layer64": ("layer.cpp", "-ffp-contract=off"),
    "product": ("product.cpp", "-ffp-contract=fast"),
    "readout": ("readout.cpp", "-ffp-contract=off"),
}
# Seconds of one core for all parts (measured with gcc 12); two of them take nearly all of it.
_COMPILING_S = 8.0


def why_missing() -> str | None:
    """Return why the compiled loops can't run here, or None if they can."""
    try:
        library()
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return None


@functools.cache
def library() -> ctypes.CDLL:
    """Return the compiled library, made if need be.

    Raises
    ------
    OSError
        Without a compiler, if it fails, or if this installation lacks the sources.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    found = shutil.which(compiler[0])
    if found is None:
        raise OSError(f"no C++ compiler ({compiler[0]}) is there; install g++, or set CXX to one")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    sources = _read_sources()
    options = [word for part in _PARTS.values() for word in part]
    optimised = [word for words in _OPTIMISED for word in words]
    words = [version.stdout, *_FLAGS, *optimised, *options, _processor()]
    key = hashlib.sha256(b"\0".join([*sources, *map(str.encode, words)])).hexdigest()[:24]
    target = cache_root() / "kernels" / f"{key}.so"
    cache.limit_bytes()
    with cache.compiling(target):
        missing = not cache.is_whole(target)
        if missing:
            log.info(
                "%s the training loops, once (about %.0f s)",
                "compiling" if not target.exists() else "those in the cache are damaged; compiling",
                _COMPILING_S / min(count_cores(), 2),
            )
            _compile([*compiler], target)
        made = ctypes.CDLL(str(target))
    if missing:
        cache.prune()
    return made


def _read_sources() -> list[bytes]:
    """Return what is compiled, headers included; a lost file is not the compiler's fault."""
    found: dict[str, bytes] = {}
    wanted = [source for source, *_ in _PARTS.values()]
    for name in wanted:  # grows by what the files include
        if name not in found:
            try:
                found[name] = (SOURCES / name).read_bytes()
            except FileNotFoundError:
                raise FileNotFoundError(
                    f"{SOURCES / name} is missing: this installation of pingbridge is incomplete; "
                    "install it again"
                ) from None
            wanted += re.findall(r'^#include "(.+)"', found[name].decode(), re.MULTILINE)
    return [found[name] for name in sorted(found)]


def _compile(compiler: list[str], target: Path) -> None:
    with Scratch() as place:
        for optimised in _OPTIMISED:
            complaint = _build([*compiler, *optimised, *_FLAGS], place, target)
            if complaint is None:
                return
    raise OSError(f"{compiler[0]} failed: {str(complaint).strip()[-300:]}")


def _build(words: list[str], place: Path, target: Path) -> str | None:
    """Compile all parts side by side and link them; return what the compiler complains of."""
    environment = os.environ | {"TMPDIR": str(place)}

    def run(*more: str) -> str | None:
        done = run_tool([*words, *more], env=environment)
        return done.stderr if done.returncode else None

    def compile_part(name: str) -> str | None:
        source, *options = _PARTS[name]
        return run(*options, "-c", str(SOURCES / source), "-o", str(place / f"{name}.o"))

    with ThreadPoolExecutor(count_cores()) as pool:
        started = [pool.submit(compile_part, name) for name in _PARTS]
        try:
            errors = [error for one in started if (error := one.result()) is not None]
        except BaseException:  # interrupted: it would be waited for
            kill_programs_of({thread.ident for thread in pool._threads})
            pool.shutdown(cancel_futures=True)
            raise
    if errors:
        return errors[0]
    made = place / target.name
    error = run("-shared", *(str(place / f"{name}.o") for name in _PARTS), "-o", str(made))
    if error is None:
        cache.put(made, target)
    return error


def _processor() -> str:
    """Return what tells processors apart: code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = [line for line in lines if line.startswith(("flags", "Features"))][:1]
    except OSError:
        flags = []
    return " ".join([platform.machine(), platform.processor(), *flags])
