"""What this machine can run in Brian2, what each target needs, and how to get it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from sim_brian.engine import toolchain
from sim_brian.engine.cuda import toolkit as cuda_toolkit


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of what was found.

    Attributes
    ----------
    name : str
        A target, or a part of the machine.
    state : {"ok", "missing", "wrong", "info"}
        ``missing``: cannot be used until it is installed; ``wrong``: installed, and cannot work.
    text : str
        What is there, or what is lacking and how to get it.
    """

    name: str
    state: str
    text: str


_BRIAN2 = ((2, 8), (2, 12))  # from, and before


def examine() -> list[Finding]:
    """Return what this machine can run, the targets last."""
    return [*_versions(), *_machine(), *_targets()]


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _versions() -> list[Finding]:
    python = platform.python_version()
    brian2, numpy, partner = (version_of(p) for p in ("brian2", "numpy", "brian2cuda"))
    found = [Finding(name="Python", state="info", text=python)]
    if brian2 is None or numpy is None:
        found.append(Finding(
            name="Brian2", state="missing", text="not installed: pip install pingbridge"
        ))  # fmt: skip
        return found
    wrong = wrong_versions(python, brian2, numpy)
    found.append(Finding(
        name="Brian2", state="wrong" if wrong else "ok",
        text=wrong or f"{brian2} with numpy {numpy}",
    ))  # fmt: skip
    if partner is None:
        state, text = (
            "missing",
            f"not installed (GPU runs in Brian2 need it): {cuda_toolkit.ADVICE}",
        )
    else:
        wrong = cuda_toolkit.wrong_pair(brian2, partner)
        state, text = "wrong" if wrong else "ok", wrong or f"{partner}, made for brian2 {brian2}"
    found.append(Finding(name="brian2cuda", state=state, text=text))
    return found


def wrong_versions(python: str, brian2: str, numpy: str) -> str | None:
    """Return why Python, brian2 and numpy do not go together, or None if they do.

    Source: tried, see docs/cuda.md; brian2's own requirements.
    """
    b, n, p = _numbers(brian2)[:2], _numbers(numpy)[:2], _numbers(python)[:2]
    low, high = _BRIAN2
    if not low <= b < high:
        return f"brian2 {brian2} is not supported; use 2.8 to 2.11 (pip install -c constraints.txt)"
    if b < (2, 10) and n >= (2, 4):
        return (
            f"brian2 {brian2} does not import with numpy {numpy}; pip install 'numpy<2.3', "
            "or Python 3.12 and brian2 2.10.1"
        )
    if b == (2, 8) and n >= (2, 3):
        return f"brian2 {brian2} has no cython target with numpy {numpy}; pip install 'numpy<2.3'"
    need = {10: (3, 12), 11: (3, 13)}.get(b[1])
    if need and p < need:
        return f"brian2 {brian2} needs Python {need[0]}.{need[1]}, and this is {python}"
    return None


def _machine() -> list[Finding]:
    compiler, make = toolchain.cpp_compiler(), toolchain.make_command()
    nvcc, gpus, library = cuda_toolkit.nvcc(), cuda_toolkit.gpus(), cuda_toolkit.curand()
    found = [
        _there("C++ compiler", compiler, "none: install g++, or set CXX to one"),
        _there("make", make, "none: install make"),
        _there(
            "nvcc",
            nvcc
            and f"{nvcc}, CUDA {cuda_toolkit.nvcc_version() or 'of an unknown version'}, "
            f"compiles for {', '.join(cuda_toolkit.capabilities()) or 'unknown GPUs'}",
            "none: install the CUDA toolkit 12 or 13, or set CUDA_HOME to it",
        ),
    ]
    if nvcc:
        found.append(_there(
            "cuRAND",
            None if library is None
                else "in the toolkit" if library.bundled else f"from {library.include}",
            "no curand.h and libcurand in the toolkit: install its package for curand, or pip "
            "install nvidia-curand (CUDA 13), nvidia-curand-cu12 (CUDA 12)",
        ))  # fmt: skip
    names = [
        f"{g.name} (compute capability {g.capability or 'unknown'}, {g.memory_mb} MiB)"
        for g in gpus
    ]
    found.append(_there("GPU", "; ".join(names), "none that nvidia-smi lists (or that "
                        "CUDA_VISIBLE_DEVICES leaves)"))  # fmt: skip
    known = cuda_toolkit.capabilities()
    for gpu in gpus[:1]:
        if (
            gpu.capability
            and known
            and not any(cuda_toolkit.runs_on(one, gpu.capability) for one in known)
        ):
            found.append(Finding(
                name="GPU", state="wrong",
                text=f"nvcc {cuda_toolkit.nvcc_version()} does not compile for compute capability "
                f"{gpu.capability}; it does for {', '.join(known)}: install another CUDA toolkit",
            ))  # fmt: skip
    return found


def _there(name: str, what: str | None, lacking: str) -> Finding:
    return Finding(name=name, state="ok" if what else "missing", text=what or lacking)


def _targets() -> list[Finding]:
    def target(name: str, ask: Callable[[], str | None]) -> Finding:
        lacks = ask()
        return Finding(
            name=f"--codegen {name}", state="missing" if lacks else "ok",
            text=(lacks or "can run").removeprefix(f"--codegen {name} "),
        )  # fmt: skip

    found = [
        target(name, lambda name=name: toolchain.missing_for(name))  # type: ignore[misc]
        for name in ("numpy", "cython", "cpp", "cuda")
    ]
    lacks = cuda_toolkit.missing_for_build()
    found.append(Finding(
        name="cuda-build", state="missing" if lacks else "ok",
        text=(lacks or "pingbridge build can compile for a GPU elsewhere").removeprefix(
            "--codegen cuda "
        ),
    ))  # fmt: skip
    return found
