"""The CUDA side of this machine: nvcc, GPUs, cuRAND; and what brian2cuda must be told about them.

brian2cuda as published does not compile with a current toolkit: its makefile asks for C++11, and
the headers of CUDA 13 need C++17; it expects cuRAND inside the toolkit; it looks for a GPU before
it writes any code. All of that is put right through its preferences (:func:`preferences`) and in
the generated project (:mod:`sim_brian.engine.cuda.project`), never in the installed package.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bridge.cache import cache_root

DEFAULT_CAPABILITY = "9.0"
"""Code is generated for it where nothing is compiled."""

PARTNERS = {"2.8.0": "1.0a7", "2.10.1": "1.0b1"}
"""brian2 and the brian2cuda made for it."""
ADVICE = "pip install 'pingbridge[cuda]' -c constraints.txt"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU that programs of this process may use.

    Attributes
    ----------
    name : str
    capability : str
        Compute capability, such as ``9.0``; empty where the driver does not tell.
    memory_mb : int, MiB
    """

    name: str
    capability: str
    memory_mb: int


@dataclass(frozen=True, kw_only=True)
class Curand:
    """Where header and library of cuRAND lie; `bundled`: where nvcc finds them by itself."""

    include: Path
    library: Path
    bundled: bool


def nvcc() -> str | None:
    """Return the path of the CUDA compiler, or None."""
    found = shutil.which("nvcc")
    if found:
        return found
    for root in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"):
        if root and (candidate := Path(root) / "bin" / "nvcc").is_file():
            return str(candidate)
    return None


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves of those that the driver lists."""
    smi = shutil.which("nvidia-smi")
    if not smi:
        return ()
    rows = _query(smi, "index,uuid,name,memory.total,compute_cap")
    if rows is None:  # drivers before 2021 do not know compute_cap
        rows = [[*row, ""] for row in _query(smi, "index,uuid,name,memory.total") or ()]
    listed = {}
    for index, uuid, name, memory, capability in rows:
        gpu = Gpu(
            name=name,
            capability=capability if re.fullmatch(r"\d+\.\d", capability) else "",
            memory_mb=int(memory) if memory.isdigit() else 0,
        )
        listed[index], listed[uuid] = gpu, gpu
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return tuple(gpu for key, gpu in listed.items() if key.isdigit())
    chosen = []
    for key in (word.strip() for word in wanted.split(",")):
        match = listed.get(key) or next(
            (
                gpu
                for uuid, gpu in listed.items()
                if key.startswith("GPU-") and uuid.startswith(key)
            ),
            None,
        )
        if match is None:  # the driver takes what stands before the first name it does not know
            break
        chosen.append(match)
    return tuple(chosen)


def _query(smi: str, fields: str) -> list[list[str]] | None:
    try:
        done = subprocess.run(
            [smi, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [[word.strip() for word in line.split(",")] for line in done.stdout.splitlines()]
    rows = [row for row in rows if len(row) == len(fields.split(","))]
    return rows if rows or not done.stdout.strip() else None


@functools.cache
def _ask(compiler: str, question: str) -> str:
    """Return what nvcc answers; asked once."""
    try:
        done = subprocess.run(
            [compiler, question], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def nvcc_version() -> str | None:
    """Return the release of nvcc, such as ``13.0``, or None."""
    compiler = nvcc()
    match = re.search(r"release (\d+\.\d+)", _ask(compiler, "--version")) if compiler else None
    return match[1] if match else None


def capabilities() -> tuple[str, ...]:
    """Return the compute capabilities that nvcc here can compile for, ascending; () if unknown."""
    compiler = nvcc()
    listed = (
        re.findall(r"compute_(\d+)(\d)\b", _ask(compiler, "--list-gpu-arch")) if compiler else []
    )
    return tuple(f"{a}.{b}" for a, b in sorted({(int(a), int(b)) for a, b in listed}))


def check_capability(asked: str) -> str:
    """Return a compute capability as it is written, ``9.0`` for ``90`` or ``sm_90``.

    Raises
    ------
    ValueError
        If it is none, or nvcc here does not know it.
    """
    match = re.fullmatch(r"(?:sm_|compute_)?(\d{1,2})\.?(\d)", asked.strip())
    known = capabilities()
    legal = f"; nvcc here compiles for {', '.join(known)}" if known else ""
    if match is None:
        raise ValueError(
            f"--compute-capability {asked} is no compute capability; write it as 9.0{legal}"
        )
    written = f"{int(match[1])}.{match[2]}"
    if known and written not in known:
        raise ValueError(f"--compute-capability {written} is unknown to this compiler{legal}")
    return written


def runs_on(compiled_for: str, gpu: str) -> bool:
    """Return whether code compiled for one compute capability runs on a GPU of another.

    Source: CUDA C++ Programming Guide, binary compatibility: same major, and no lower minor.
    """
    (major, minor), (gpu_major, gpu_minor) = compiled_for.split("."), gpu.split(".")
    return major == gpu_major and int(minor) <= int(gpu_minor)


def curand() -> Curand | None:
    """Return where cuRAND lies: in the toolkit, else in the wheel ``nvidia-curand``; or None."""
    compiler = nvcc()
    for root in _toolkit_roots(compiler) if compiler else ():
        for include in (root / "include", *root.glob("targets/*/include")):
            if (include / "curand.h").is_file():
                libraries = (root / "lib64", root / "lib", *root.glob("targets/*/lib"),
                             *Path("/usr/lib").glob("*-linux-gnu"))  # fmt: skip
                for folder in libraries:
                    if (folder / "libcurand.so").exists():
                        return Curand(include=include, library=folder, bundled=True)
    major = int((nvcc_version() or "13").split(".")[0])
    spec = importlib.util.find_spec("nvidia")
    for root in map(Path, spec.submodule_search_locations or ()) if spec else ():
        home = root / (f"cu{major}" if major >= 13 else "curand")  # as the wheels are laid out
        held = sorted((home / "lib").glob("libcurand.so*"))
        if (home / "include" / "curand.h").is_file() and held:
            return Curand(include=home / "include", library=_unversioned(held[0]), bundled=False)
    return None


def _toolkit_roots(compiler: str) -> Iterable[Path]:
    """Return where the toolkit may lie; nvcc on the path may be a link or a small script."""
    places = [Path(compiler).parent.parent, Path(compiler).resolve().parent.parent]
    told = re.search(r"^#\$ TOP=(.*)$", _dry_run(compiler), re.MULTILINE)
    if told:
        places.insert(0, Path(os.path.normpath(told[1].strip())))
    return dict.fromkeys(places)


@functools.cache
def _dry_run(compiler: str) -> str:
    """Return what nvcc says it would do: the only way to learn where it lives."""
    try:
        done = subprocess.run(
            [compiler, "--dryrun", "-E", "-x", "cu", os.devnull],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stderr


def _unversioned(library: Path) -> Path:
    """Return a folder in which the linker finds a wheel's library under its plain name."""
    folder = cache_root() / "cuda" / hashlib.sha256(str(library).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "libcurand.so"
    if not link.exists():
        link.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):  # another process was faster
            link.symlink_to(library)
    return folder


def wrong_pair(brian2: str, brian2cuda: str) -> str | None:
    """Return why brian2 and brian2cuda do not go together, or None if they do."""
    if PARTNERS.get(brian2) == brian2cuda:
        return None
    pairs = " or ".join(f"brian2 {b} with brian2cuda {c}" for b, c in PARTNERS.items())
    return f"brian2 {brian2} and brian2cuda {brian2cuda} do not go together; use {pairs}: {ADVICE}"


def missing_for_build() -> str | None:
    """Return one line that says what is lacking to compile for a GPU, None if nothing is."""
    if importlib.util.find_spec("brian2cuda") is None:
        return "--codegen cuda needs brian2cuda (pip install 'pingbridge[cuda]')"
    wrong = wrong_pair(metadata.version("brian2"), metadata.version("brian2cuda"))
    if wrong is not None:
        return f"--codegen cuda: {wrong}"
    if nvcc() is None:
        return (
            "--codegen cuda needs the CUDA compiler nvcc and none was found "
            "(install the CUDA toolkit, or set CUDA_HOME to it)"
        )
    if curand() is None:
        major = (nvcc_version() or "13").split(".")[0]
        wheel = "nvidia-curand" if int(major) >= 13 else f"nvidia-curand-cu{major}"
        return (
            "--codegen cuda needs curand.h and libcurand, which this CUDA toolkit lacks "
            f"(install its package for curand, or: pip install {wheel})"
        )
    return None


def choose_capability(asked: str | None) -> str | None:
    """Return what to compile for: what was asked, else what the first GPU has; None if unknown."""
    if asked is not None:
        return check_capability(asked)
    here = gpus()
    return here[0].capability or None if here else None


def fingerprint() -> str:
    """Return a text that names nvcc and where cuRAND comes from: they decide what is compiled."""
    compiler = nvcc()
    return f"{_ask(compiler, '--version') if compiler else None} {curand()}"


def preferences(
    host_flags: list[str], *, fast_math: bool, capability: str | None
) -> dict[str, Any]:
    """Return the Brian2 preferences under which brian2cuda's code compiles.

    Parameters
    ----------
    host_flags : list of str
        Of the C++ compiler, without those that change arithmetic.
    fast_math : bool
    capability : str or None
        Compute capability; `DEFAULT_CAPABILITY` if unknown.
    """
    version, compiler, library = nvcc_version(), nvcc(), curand()
    flags = [
        "-w", "-use_fast_math" if fast_math else "-fmad=false", "-std=c++17",
        # Missing from brian2cuda's own includes with the CCCL of CUDA 13.
        "-include", "thrust/pair.h",
    ]  # fmt: skip
    link: list[str] = []
    if library is not None and not library.bundled:
        flags += [f"-I{library.include}"]
        target = (library.library / "libcurand.so").resolve().parent
        link = [f"-L{library.library}", f"-Wl,-rpath,{target}"]
    backend = "devices.cuda_standalone.cuda_backend."
    return {
        # The last one counts for nvcc; gcc gets its own through -Xcompiler. A program may be
        # compiled on one machine and run on another: no code for this machine's CPU alone.
        "codegen.cpp.extra_compile_args_gcc": [
            "-std=c++17" if f.startswith("-std=") else f
            for f in host_flags if not f.startswith("-march")
        ],
        "codegen.cpp.extra_link_args": link,
        f"{backend}extra_compile_args_nvcc": flags,
        # What brian2cuda would find out by itself, or fail to: device 0 is the first visible one.
        f"{backend}detect_gpus": False,
        f"{backend}gpu_id": 0,
        f"{backend}compute_capability": float(capability or DEFAULT_CAPABILITY),
        f"{backend}cuda_runtime_version": float(version or "13.0"),
        f"{backend}detect_cuda": compiler is not None,
        f"{backend}cuda_path": str(Path(compiler or "/usr/local/cuda/bin/nvcc").parent.parent),
    }  # fmt: skip
