"""What this machine can compile and run: compilers, nvcc, GPUs, optional packages."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

from sim_brian.engine.cuda import toolkit as cuda_toolkit

TARGETS = ("auto", "numpy", "cython", "cpp", "cuda")


def cpp_compiler() -> str | None:
    """Return the path of the C++ compiler that Brian2's makefiles use, or None."""
    words = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    if Path(words[0]).name in ("ccache", "distcc") and len(words) > 1:
        return shutil.which(words[1])
    return shutil.which(words[0])


def make_command() -> str | None:
    """Return the path of `make`, or None."""
    return shutil.which("make")


def missing_for(target: str) -> str | None:
    """Return one line that says what `target` lacks on this machine, None where it can run."""
    if target in ("cython", "cpp"):
        if cpp_compiler() is None:
            return (
                f"--codegen {target} needs a C++ compiler and none was found "
                "(install g++, or set CXX to one)"
            )
        if target == "cpp" and make_command() is None:
            return "--codegen cpp needs the program 'make' and it was not found (install make)"
        if target == "cython" and importlib.util.find_spec("Cython") is None:
            return "--codegen cython needs the package Cython (pip install cython)"
    if target == "cuda":
        missing = cuda_toolkit.missing_for_build()
        if missing is not None:
            return missing
        if not cuda_toolkit.gpus():
            return (
                "--codegen cuda needs an NVIDIA GPU and nvidia-smi lists none; "
                "use --codegen cpp on this machine, or `pingbridge build` to compile for another"
            )
    return None


@functools.cache
def compiler_fingerprint() -> str:
    """Return a hash of the compiler's version and of the CPU that ``-march=native`` sees."""
    parts = [platform.machine(), platform.system()]
    compiler = cpp_compiler()
    if compiler:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
        parts += [os.environ.get("CXX", ""), compiler, done.stdout]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        parts += sorted({line for line in lines if line.startswith(("flags", "model name"))})
    else:
        parts.append(platform.processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
