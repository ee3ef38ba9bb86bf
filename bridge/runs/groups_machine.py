"""The option groups of `build` and `doctor`: what a machine compiles and runs."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.runs.groups import PING_GROUPS
from bridge.runs.options import Options, option


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(Options):
    """What must be able to run here."""

    needs: str | None = option(
        None, "fail unless this can run (cuda-build: be compiled) here",
        choices=("numpy", "cython", "cpp", "cuda", "cuda-build", "torch", "torch-cuda"),
    )  # fmt: skip


BUILD_GROUPS = PING_GROUPS
"""Groups of `build`."""
DOCTOR_GROUPS = (DoctorOptions,)
"""Groups of `doctor`."""
