"""``scan``: one or two parameters over many values, as a table and a figure."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import PING_GROUPS, RunOptions
from bridge.runs.groups_scan import SCAN_GROUPS, ParallelOptions
from studies.common import (
    ARGV,
    engine_options,
    headline,
    out_dir,
    refuse_recording,
    resolve_options,
)

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.store import ResultStore
    from bridge.runs.sweep import Sweep
    from sim_brian.engine.program import EngineOptions

UNFINISHED = "unfinished"
"""Folder of finished points inside a run folder; it goes when the whole run is done."""

log = logging.getLogger("pingbridge")


def scan(**given: Any) -> None:
    """Run a network over many values of one or two parameters."""
    from bridge.runs.folder import RunFolder
    from bridge.runs.sweep import make_sweep

    refuse_recording("scan", given)
    resolved, inherited = resolve_options("scan", given, (*PING_GROUPS, *SCAN_GROUPS))
    engine = engine_options(resolved)
    sweep = make_sweep(resolved, inherited)
    options = sweep.job.resolved[RunOptions]
    with RunFolder(
        out_dir(options), mode="scan", config=sweep.config(), argv=ARGV, wipe=options.wipe_dir
    ) as run:
        _scan(sweep, engine, run)


def _scan(sweep: Sweep, engine: EngineOptions, run: RunFolder) -> None:
    import functools
    import time

    from bridge.runs.store import ResultStore
    from bridge.runs.variables import VARIABLES
    from bridge.runs.vary import vary
    from scope.figures.scan_figure import draw_scan
    from scope.files import save_figure
    from scope.measure.scan_metrics import ceiling_line, dt_ceiling, measure_run
    from sim_brian.ping.scan import scan as run_scan

    job, points = sweep.job, sweep.points
    parallel = job.resolved[ParallelOptions]
    begin = time.perf_counter()
    log.info("%s", headline(job))
    store = ResultStore(run.path(UNFINISHED), key=sweep.key("metrics"), n_items=len(points))
    resume_line(store, len(points))
    rows: list[dict[str, Any]] = []
    for k, result in run_scan(
        functools.partial(vary, job),
        points,
        measure=functools.partial(measure_run, stim_window_ms=sweep.stim_window_ms),
        corners=sweep.corners,
        engine=engine,
        jobs=parallel.jobs,
        scheduler=parallel.scheduler,
        store=store,
        label=f"scan {' x '.join(sweep.variables)}",
        batch=parallel.batch,
    ):
        row = dict(result)
        line = row.pop("line")
        rows.append({"frame": k + 1, **points[k], **row})
        log.info("%0*d/%d %s  %s", len(str(len(points))), k + 1, len(points),
                 point_text(points[k]), line)  # fmt: skip
    write_tables(sweep, rows, run)
    ceiling = None
    if sweep.variables == ("dt",):
        log.info("%s", ceiling_line(rows))
        good, ceiling = dt_ceiling(rows)
        run.write_json("dt_ceiling.json", {"usable_to_ms": good, "double_fires_from_ms": ceiling})
    figure = draw_scan(
        rows,
        variables=sweep.variables,
        units=[VARIABLES[name].unit for name in sweep.variables],
        title=f"{job.spec.model}, {job.plan.dataset or job.plan.kind}, {job.stimulus.t_ms:g} ms",
        ceiling_ms=ceiling,
    )
    path = run.write("scan.png", lambda path: save_figure(figure, path))
    log.info("wrote %s: %d points in %.1f s", path, len(points), time.perf_counter() - begin)
    store.remove()


def resume_line(store: ResultStore, n_points: int) -> None:
    """Say how much an earlier, unfinished run has left."""
    held = len(store.done())
    if held:
        log.info("resuming: %d of %d runs are there already", held, n_points)


def point_text(point: Mapping[str, float]) -> str:
    """Return the values of a point as a log line shows them."""
    return " ".join(f"{name}={value:.6g}" for name, value in point.items())


def write_tables(sweep: Sweep, rows: Sequence[Mapping[str, Any]], run: RunFolder) -> None:
    """Write scan.csv and scan.h5."""
    from bridge.atomic import to_json_text
    from bridge.formats.tables import write_csv, write_table_hdf5
    from bridge.runs.variables import VARIABLES
    from scope.measure.scan_metrics import UNITS

    units = {**UNITS, **{name: VARIABLES[name].unit or "1" for name in sweep.variables}}
    table, data = run.path("scan.csv"), run.path("scan.h5")
    write_csv(table, rows)
    write_table_hdf5(
        data,
        rows,
        units=units,
        attributes={"variables": " ".join(sweep.variables), "config": to_json_text(run.config)},
    )
    log.info("wrote %s and %s", table, data.name)
