"""``sim`` and ``image``: run a network once, print what it did, draw it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import PING_GROUPS, RunOptions
from cli.common import ARGV, engine_options, headline, out_dir, recording_target, resolve_options

if TYPE_CHECKING:
    from bridge.recording import Recording
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import Job
    from scope.summary import Summary
    from sim_brian.engine import EngineOptions

log = logging.getLogger("pingbridge")


def sim(**given: Any) -> None:
    """Run one forward pass and print firing-rate metrics."""
    _forward("sim", given)


def image(**given: Any) -> None:
    """Run one forward pass and save an oscilloscope picture of it."""
    _forward("image", given)


def _forward(mode: str, given: dict[str, Any]) -> None:
    """Resolve the options, run the network once, and write the run folder."""
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import make_job

    resolved, inherited = resolve_options(mode, given, PING_GROUPS)
    engine = engine_options(resolved)
    job = make_job(resolved, inherited)
    options = job.resolved[RunOptions]
    if inherited is not None:
        taken = [key for key, origin in job.resolved.origin.items() if origin == "from-dir"]
        log.info("inherited from %s: %s", inherited.path, ", ".join(taken) or "nothing")
    target = recording_target(job, options)
    if mode == "sim" and target is None and "record_traces" in given:
        raise ValueError("--record-traces needs a file to write to: add --save-recording FILE")
    with RunFolder(
        out_dir(options), mode=mode, config=job.config(), argv=ARGV, wipe=options.wipe_dir
    ) as run:
        recording, summary = _simulate(job, engine, run)
        if target is not None:
            from bridge.formats.recordings import save_recording

            save_recording(recording, target, job.stimulus)
            log.info("wrote %s", target)
        if mode == "image":
            _draw(job, recording, summary, run)


def _simulate(job: Job, engine: EngineOptions, run: RunFolder) -> tuple[Recording, Summary]:
    """Run the network, print what it did, and note in config.json how it was run."""
    import dataclasses

    from scope.summary import summarise
    from sim_brian.run import simulate

    log.info("%s", headline(job))
    recording, raw = simulate(
        job.spec,
        job.weights,
        job.stimulus,
        seed=job.seed,
        record_traces=job.resolved[RunOptions].record_traces,
        engine=engine,
    )
    recording = dataclasses.replace(recording, config=run.config)
    run.update_config({
        "execution": {
            "backend": recording.backend,
            "codegen": raw.target,
            "compiled": raw.compiled,
            "prepare_s": raw.prepare_s,
            "run_s": raw.run_s,
        },
        "provenance": {"device": "cuda" if raw.target == "cuda" else "cpu"},
    })  # fmt: skip
    summary = summarise(
        recording,
        burn_in_ms=job.burn_in_ms,
        model=job.spec.model,
        psd_window_ms=job.stim_window_ms,
    )
    log.info("%s", summary.one_line(with_ie_ratio=True))
    log.info("%s", summary.window_line())
    log.info("%s", summary.gamma_line())
    biological_s = job.stimulus.t_ms * job.stimulus.n_trials / 1000.0
    log.info(
        "speed: %.3g s simulated in %.3g s (%.3g x real time) on %s, ready after %.3g s%s",
        biological_s, raw.run_s, biological_s / raw.run_s, raw.target, raw.prepare_s,
        " of compiling" if raw.compiled else "",
    )  # fmt: skip
    return recording, summary


def _draw(job: Job, recording: Recording, summary: Summary, run: RunFolder) -> None:
    """Write the picture, its numbers and its data."""
    from scope.pictures import write_pictures

    for path in write_pictures(job, recording, summary, run):
        log.info("wrote %s", path)
