"""Running a job on Brian2, on torch, or on both, and comparing the two."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.runs.backends import chosen_backend
from bridge.runs.groups import ExecutionOptions
from bridge.runs.groups_crosscheck import CrosscheckOptions
from studies.common import engine_options, progress_bar

if TYPE_CHECKING:
    from bridge.crosscheck import CrossCheck
    from bridge.network.stimulus import Stimulus
    from bridge.recording import Recording
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A finished run.

    Attributes
    ----------
    recording : Recording
    execution : dict
        What config.json keeps of it.
    device : str
    target : str
    run_s, prepare_s : float, s
    compiled : bool
        Something was compiled for it.
    """

    recording: Recording
    execution: Mapping[str, Any]
    device: str
    target: str
    run_s: float
    prepare_s: float
    compiled: bool = False


RunOn = Callable[..., Ran]
"""Called with a job, and optionally another stimulus, whether to record traces, and whether it is
the repetition of a run."""


def plan_backends(resolved: Resolved, *, default: str = "brian") -> dict[str, RunOn]:
    """Return how to run, by backend, Brian2 first; refuse what this machine can't do."""
    backend = chosen_backend(resolved, default=default)
    plan: dict[str, RunOn] = {}
    if backend in ("brian", "both"):
        plan["brian"] = on_brian(resolved, resolved[ExecutionOptions].codegen, backend=backend)
    if backend in ("torch", "both"):
        plan["torch"] = on_torch(resolved)
    return plan


def on_brian(resolved: Resolved, codegen: str, *, backend: str = "brian") -> RunOn:
    """Return a function that runs a job in Brian2."""
    engine = engine_options(resolved, codegen=codegen, backend=backend)

    def run(
        job: Job, stimulus: Stimulus | None = None, *, traces: bool = False, again: bool = False
    ) -> Ran:
        from sim_brian.ping.run import simulate

        recording, raw = simulate(
            job.spec, job.weights, stimulus or job.stimulus, seed=job.seed, record_traces=traces,
            engine=dataclasses.replace(engine, progress=progress_bar()),
        )  # fmt: skip
        return Ran(
            recording=recording,
            execution={
                "backend": recording.backend,
                "codegen": raw.target,
                "dtype": engine.dtype,
                "compiled": raw.compiled,
                "prepare_s": raw.prepare_s,
                "run_s": raw.run_s,
            },
            device="cuda" if raw.target == "cuda" else "cpu",
            target=raw.target,
            run_s=raw.run_s,
            prepare_s=raw.prepare_s,
            compiled=raw.compiled,
        )

    return run


def on_torch(resolved: Resolved) -> RunOn:
    """Return a function that runs a job in torch; float64 unless asked otherwise."""
    from train_torch.network.device import choose_device

    options = resolved[ExecutionOptions]
    dtype = options.dtype or "float64"
    device = str(choose_device(options.device, dtype=dtype, deterministic=options.deterministic))

    def run(
        job: Job, stimulus: Stimulus | None = None, *, traces: bool = False, again: bool = False
    ) -> Ran:
        from train_torch.network.simulate import simulate

        began = time.perf_counter()
        recording, raw = simulate(
            job.spec, job.weights, stimulus or job.stimulus, seed=job.seed, record_traces=traces,
            # A repetition is there for its traces, which kernels do not keep.
            dtype=dtype, device=device, kernel="eager" if again else options.train_kernel,
            progress=progress_bar(),
        )  # fmt: skip
        prepare_s = time.perf_counter() - began - raw.run_s
        return Ran(
            recording=recording,
            execution={
                "backend": recording.backend,
                "dtype": dtype,
                "deterministic": options.deterministic,
                "train_kernel": options.train_kernel,
                "prepare_s": prepare_s,
                "run_s": raw.run_s,
            },
            device=device,
            target=f"torch {raw.target}",
            run_s=raw.run_s,
            prepare_s=prepare_s,
        )

    return run


def check(
    job: Job,
    one: Recording,
    other: Recording,
    run_one: RunOn,
    run_other: RunOn,
    *,
    options: CrosscheckOptions | None = None,
) -> CrossCheck:
    """Return how two runs of a job compare, the first differences explained."""
    from bridge.crosscheck import compare
    from bridge.divergence import explain

    def again(run: RunOn) -> Callable[[Stimulus, bool], Recording]:
        return lambda stimulus, traces: run(job, stimulus, traces=traces, again=True).recording

    window_ms = (options or CrosscheckOptions()).window_ms
    report = compare(job.spec, one, other, window_ms=window_ms)
    return explain(
        report,
        job.spec,
        job.weights,
        job.stimulus,
        (one, other),
        (again(run_one), again(run_other)),
    )


def report_json(checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what crosscheck.json holds."""
    return {
        "identical": all(one["identical"] for one in checks),
        "passed": all(one["passed"] for one in checks),
        "checks": checks,
    }
