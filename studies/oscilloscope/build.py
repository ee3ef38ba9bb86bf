"""``build``: compile the program of a network and leave it in a folder, to be run elsewhere."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import RunOptions
from bridge.runs.groups_machine import BUILD_GROUPS
from studies.common import choose_folder, engine_options, headline, open_run, resolve_options

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import Job
    from sim_brian.engine.program import EngineOptions

log = logging.getLogger("pingbridge")


def build(**given: Any) -> None:
    """Compile a network without running it."""
    from bridge.runs.job import make_job
    from bridge.runs.stimuli import refuse_idle_stream
    from sim_brian.engine.cuda import toolkit as cuda_toolkit

    if given.get("save_recording"):
        raise ValueError("--save-recording can't apply to build, which runs nothing")
    resolved, inherited = resolve_options("build", given, BUILD_GROUPS)
    engine = engine_options(resolved, building=True)
    if engine.target == "auto":
        cuda = engine.compute_capability is not None or cuda_toolkit.gpus()
        engine = dataclasses.replace(engine, target="cuda" if cuda else "cpp")
    job = make_job(resolved, inherited)
    refuse_idle_stream(job.resolved, job.plan)
    options = job.resolved[RunOptions]
    config = job.config()
    folder = choose_folder("build", options, config)
    with open_run("build", folder, options, config) as run:
        log.info("%s", headline(job))
        _build(job, engine, run)


def _build(job: Job, engine: EngineOptions, run: RunFolder) -> None:
    from sim_brian.engine.made_program import DESCRIPTION
    from sim_brian.engine.program import build_program
    from sim_brian.ping.run import make_model

    traces = job.resolved[RunOptions].record_traces
    model = make_model(job.spec, job.weights, job.stimulus, seed=job.seed, record_traces=traces)
    with build_program(model, engine) as program:
        run.folder_of_files("source")
        run.path("main")
        folder = run.path(DESCRIPTION).parent
        made = program.save(folder)
        executable = program.executable()
        assert executable is not None
        run.update_config({
            "execution": {
                "codegen": made.target, "compute_capability": made.capability,
                "dtype": made.dtype, "compiled": executable.compiled,
                "prepare_s": executable.prepare_s,
            },
        })  # fmt: skip
    what = "the CPU" if made.capability is None else f"compute capability {made.capability}"
    how = "compiled" if executable.compiled else "taken from the cache"
    log.info("%s for %s in %.1f s: %s", how, what, executable.prepare_s, folder / "main")
    more = " --record-traces --save-recording FILE" if traces else ""
    log.info("run it: pingbridge sim --from-dir %s --program %s%s", folder, folder, more)
