"""What a compiled GPU program says when it fails, in one line that tells what to do."""

from __future__ import annotations

import re

_MEMORY = "the GPU's memory is full: use fewer --trials, a smaller --batch, or --dtype float32"
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"no CUDA-capable device|driver version is insufficient|CUDA driver is a stub"
        r"|initialization error|invalid device ordinal|system not yet initialized",
        "no NVIDIA GPU can be used on this machine (nvidia-smi shows what the driver sees); run it "
        "on one that has a GPU, or use --codegen cpp",
    ),
    (
        r"no kernel image is available|invalid device function|device kernel image is invalid",
        "the program is compiled for compute capability {capability}, which this GPU does not run; "
        "build it with the --compute-capability of this GPU (pingbridge doctor names it)",
    ),
    (
        r"unsupported toolchain|unsupported PTX",
        "the GPU's driver is older than the CUDA toolkit that compiled this; update the driver, or "
        "build with an older toolkit",
    ),
    (
        r"out of memory|cudaErrorMemoryAllocation|std::bad_alloc|CURAND_STATUS_ALLOCATION_FAILED",
        _MEMORY,
    ),
    (
        r"while allocating \d+ bytes in cudaVector|while creating cudaVector",
        "the GPU's heap for spikes under way is full: use fewer --trials or a smaller --batch",
    ),
    (
        r"error while loading shared libraries: (\S+):",
        "the library {found} is missing on this machine (it comes with the CUDA toolkit, or: "
        "pip install nvidia-curand)",
    ),
)


def explain(said: str, capability: str | None) -> str | None:
    """Return one line for what a program said, or None where its own words are the best.

    Parameters
    ----------
    said : str
        What it wrote before it ended.
    capability : str or None
        What it is compiled for.
    """
    for pattern, text in _CAUSES:
        match = re.search(pattern, said)
        if match:
            found = match[1] if match.re.groups else ""
            return text.format(capability=capability or "(unknown)", found=found)
    return None


def is_chatter(line: str) -> bool:
    """Return whether a line that a GPU program wrote on its standard output means nothing.

    brian2cuda's programs describe each kernel and each set of synapses when they start.
    """
    return not re.match(r"\s*(ERROR|MEMORY ERROR|Error|Cannot|Could not)", line)
