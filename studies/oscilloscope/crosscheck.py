"""``crosscheck``: the same network in Brian2 and in torch, spike for spike."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bridge.runs.backends import chosen_backend
from bridge.runs.groups import RunOptions
from bridge.runs.groups_crosscheck import (
    CROSSCHECK_GROUPS,
    CrosscheckOptions,
    ManyStepsOptions,
    ManyTargetsOptions,
    refuse_elsewhere,
    single,
)
from studies.common import choose_folder, headline, open_run, resolve_options
from studies.oscilloscope.backends import check, on_brian, on_torch, report_json

if TYPE_CHECKING:
    from bridge.recording import Recording
    from bridge.runs.inherit import InheritedRun
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved
    from scope.figures.crosscheck import Compared
    from studies.oscilloscope.backends import Ran

log = logging.getLogger("pingbridge")


def crosscheck(**given: Any) -> None:
    """Run a network in Brian2 and in torch, and report what differs."""
    from scope.figures.crosscheck import draw_crosscheck
    from scope.files import save_figure

    resolved, inherited = resolve_options("crosscheck", given, CROSSCHECK_GROUPS)
    refuse_elsewhere(resolved)
    targets = resolved[ManyTargetsOptions].codegen
    chosen_backend(_one(resolved, targets[0]), default="both")  # refuses --modal
    run_on = {target: on_brian(_one(resolved, target), target, backend="both")
              for target in targets}  # fmt: skip
    run_torch = on_torch(_one(resolved, targets[0]))
    jobs = _jobs(resolved, inherited)
    config = jobs[0].config()
    dts = [job.stimulus.dt_ms for job in jobs]
    config |= {"dt": dts if len(dts) > 1 else dts[0], "backend": "both"}
    config |= {"codegen": list(targets) if len(targets) > 1 else targets[0]}
    options = resolved[RunOptions]
    compared: list[Compared] = []
    folder = choose_folder("crosscheck", options, config)
    with open_run("crosscheck", folder, options, config) as run:
        log.info("%s", headline(jobs[0]))
        runs: list[dict[str, Any]] = []
        for job in jobs:
            compared += _compare(job, run_on, run_torch, resolved, runs)
        device = "cuda" if any(one["device"] == "cuda" for one in runs) else "cpu"
        run.update_config({"execution": {"runs": runs}, "provenance": {"device": device}})
        report = report_json([one.to_json() for one in compared])
        paths = [
            run.write_json("crosscheck.json", report),
            run.write("crosscheck.png", lambda path: save_figure(draw_crosscheck(compared), path)),
        ]
        for path in paths:
            log.info("wrote %s", path)
        failed = [one for one in compared if not one.check.passed]
        if not failed:
            same = all(one.check.identical for one in compared)
            log.info(
                "%s", "every spike is the same" if same else
                "every first difference is explained by rounding at threshold",
            )  # fmt: skip
    if failed:
        where = "; ".join(f"dt {o.check.dt_ms:g} ms, {' and '.join(o.check.names)}" for o in failed)
        raise RuntimeError(
            f"the backends differ, and rounding at threshold does not explain it: {where} "
            f"(see {paths[0]})"
        )


def _one(resolved: Resolved, target: str) -> Resolved:
    return single(resolved, dt_ms=resolved[ManyStepsOptions].dt_ms[0], codegen=target)


def _jobs(resolved: Resolved, inherited: InheritedRun | None) -> list[Job]:
    """Return one job for each time step: the same network and seeds, input encoded on each grid.

    Encoders of event times bin the same events; others draw at each dt.
    """
    from bridge.runs.job import make_job
    from bridge.runs.stimuli import refuse_idle_stream

    many, target = resolved[ManyStepsOptions].dt_ms, resolved[ManyTargetsOptions].codegen[0]
    if len(set(many)) < len(many):
        raise ValueError("--dt names a time step twice")
    jobs = []
    for k, dt_ms in enumerate(many):
        one = single(resolved, dt_ms=dt_ms, codegen=target)
        with contextlib.nullcontext() if k == 0 else _said_already():
            jobs.append(make_job(one, inherited))
        refuse_idle_stream(one, jobs[-1].plan)
    return jobs


@contextlib.contextmanager
def _said_already() -> Iterator[None]:
    """Keep quiet what the first job has said."""
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _compare(
    job: Job, run_on: dict[str, Any], run_torch: Any, resolved: Resolved,
    runs: list[dict[str, Any]],
) -> list[Compared]:  # fmt: skip
    """Run one job on every target and in torch; print what the comparisons say.

    How each of them ran is appended to `runs`.
    """
    from scope.figures.crosscheck import Compared

    def noted(ran: Ran) -> Recording:
        runs.append({"dt": job.stimulus.dt_ms, "device": ran.device, **ran.execution})
        return ran.recording

    traces = resolved[RunOptions].record_traces
    options = resolved[CrosscheckOptions]
    mirrored = noted(run_torch(job, traces=traces))
    compared = []
    for run_brian in run_on.values():
        recording = noted(run_brian(job, traces=traces))
        report = check(job, recording, mirrored, run_brian, run_torch, options=options)
        one = Compared(check=report, one=recording, other=mirrored, burn_in_ms=job.burn_in_ms)
        for line in [*report.lines(), f"  {one.gamma_line()}"]:
            log.info("%s", line)
        compared.append(one)
    return compared
