"""``sim`` and ``image``: run a network once, print what it did, draw it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import SIM_GROUPS, RunOptions
from studies.common import (
    choose_folder,
    headline,
    open_run,
    recording_target,
    resolve_options,
)
from studies.oscilloscope.backends import check, plan_backends, report_json

if TYPE_CHECKING:
    from bridge.recording import Recording
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import Job
    from scope.measure.summary import Summary
    from studies.oscilloscope.backends import Ran, RunOn

log = logging.getLogger("pingbridge")


def sim(**given: Any) -> None:
    """Run one forward pass and print firing-rate metrics."""
    _forward("sim", given)


def image(**given: Any) -> None:
    """Run one forward pass and save an oscilloscope picture of it."""
    _forward("image", given)


def _forward(mode: str, given: dict[str, Any]) -> None:
    """Resolve the options, run the network once, and write the run folder."""
    from bridge.runs.job import make_job
    from bridge.runs.stimuli import refuse_idle_stream

    resolved, inherited = resolve_options(mode, given, SIM_GROUPS)
    plan = plan_backends(resolved)
    job = make_job(resolved, inherited)
    refuse_idle_stream(job.resolved, job.plan)
    options = job.resolved[RunOptions]
    if inherited is not None:
        taken = [key for key, origin in job.resolved.origin.items() if origin == "from-dir"]
        log.info("inherited from %s: %s", inherited.path, ", ".join(taken) or "nothing")
    target = recording_target(job, options)
    if mode == "sim" and target is None and "record_traces" in given:
        raise ValueError("--record-traces needs a file to write to: add --save-recording FILE")
    config = job.config()
    folder = choose_folder(mode, options, config)
    with open_run(mode, folder, options, config) as run:
        recording, summary = _simulate(job, plan, run)
        if target is not None:
            from bridge.formats.recordings import save_recording

            if target.is_relative_to(run.folder):  # then it is a file of the run, too
                run.path(str(target.relative_to(run.folder)))
            save_recording(recording, target, job.stimulus)
            log.info("wrote %s", target)
        if mode == "image":
            _draw(job, recording, summary, run)


def _simulate(job: Job, plan: dict[str, RunOn], run: RunFolder) -> tuple[Recording, Summary]:
    """Run the network, print what it did, and note in config.json how it was run.

    Where it ran on both backends, the first recording (Brian2's) is the one that is kept.
    """
    import dataclasses

    from scope.measure.summary import summarise

    log.info("%s", headline(job))
    traces = job.resolved[RunOptions].record_traces
    ran = {name: run_on(job, traces=traces) for name, run_on in plan.items()}
    first, *others = ran.values()
    execution = dict(first.execution)
    if others:
        execution["compared_with"] = dict(others[0].execution)
    run.update_config({"execution": execution, "provenance": {"device": first.device}})
    recording = dataclasses.replace(first.recording, config=run.config)
    summary = summarise(
        recording,
        burn_in_ms=job.burn_in_ms,
        model=job.spec.model,
        psd_window_ms=job.stim_window_ms,
    )
    log.info("%s", summary.one_line(with_ie_ratio=True))
    log.info("%s", summary.window_line())
    log.info("%s", summary.gamma_line())
    for one in ran.values():
        _log_speed(job, one)
    if others:
        _compare(job, plan, first, others[0], run)
    return recording, summary


def _log_speed(job: Job, ran: Ran) -> None:
    biological_s = job.stimulus.t_ms * job.stimulus.n_trials / 1000.0
    log.info(
        "speed: %.3g s simulated in %.3g s (%.3g x real time) on %s, ready after %.3g s%s",
        biological_s, ran.run_s, biological_s / ran.run_s, ran.target, ran.prepare_s,
        " of compiling" if ran.compiled else "",
    )  # fmt: skip


def _compare(job: Job, plan: dict[str, RunOn], one: Ran, other: Ran, run: RunFolder) -> None:
    """Print how the two backends compare, and write crosscheck.json."""
    from scope.figures.crosscheck import Compared

    report = check(job, one.recording, other.recording, *plan.values())
    compared = Compared(
        check=report, one=one.recording, other=other.recording, burn_in_ms=job.burn_in_ms
    )
    for line in [*report.lines(), f"  {compared.gamma_line()}"]:
        log.info("%s", line)
    if not report.passed:
        log.warning("the two backends differ, and rounding at threshold does not explain it")
    path = run.write_json("crosscheck.json", report_json([compared.to_json()]))
    log.info("wrote %s", path)


def _draw(job: Job, recording: Recording, summary: Summary, run: RunFolder) -> None:
    """Write the picture, its numbers and its data."""
    from scope.oscilloscope.pictures import write_pictures

    for path in write_pictures(job, recording, summary, run):
        log.info("wrote %s", path)
