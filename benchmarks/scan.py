"""Measure what a film of a sweep costs, against eager torch runs with fresh matplotlib figures.

The four published sweeps (recipes configs/ping/video_*.yaml) on scikit digits and on synthetic
input: wall and CPU seconds of ``pingbridge video``, with the compiled program in the cache (warm)
and from an empty cache (cold). The baseline draws a few of the same frames the plain way: an eager
torch loop in float32, a fresh figure, a PNG; once inside one process that has everything imported,
and once as a run of its own, as a shell loop over ``image`` would. It is scaled to the number of
frames, and leaves out the encoding of the film.

Expected: a film of 300 frames in under 75 s on two free cores, 15 times less CPU than separate
runs. Takes about 15 minutes on free cores; ``--quick`` under a minute there. ``--memory`` films
1000 frames and reports the resident memory on the way.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SWEEPS = ("overdrive", "dt", "ei_strength", "spike_rate")


def recipe(name: str) -> Path:
    """Return the recipe of a sweep."""
    return ROOT / "configs" / "ping" / f"video_{name}.yaml"


def cpu_of_children() -> float:
    """Return the CPU seconds of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def film(name: str, n_frames: int, cache: str | None = None) -> tuple[float, float]:
    """Return wall and CPU seconds of a film, processes and encoder included."""
    environment = dict(os.environ) | ({"PINGBRIDGE_CACHE_DIR": cache} if cache else {})
    with tempfile.TemporaryDirectory() as folder:
        begin, before = time.perf_counter(), cpu_of_children()
        subprocess.run(
            [sys.executable, "-m", "cli", "video", "--config", str(recipe(name)), "--frames",
             str(n_frames), "--codegen", "cpp", "--out-dir", folder],
            cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - begin, cpu_of_children() - before


def sweep_of(name: str, n_frames: int):
    """Return the sweep of a recipe, as `video` makes it."""
    from bridge.runs.groups import PING_GROUPS
    from bridge.runs.groups_scan import VIDEO_GROUPS
    from bridge.runs.sweep import make_sweep
    from studies.common import resolve_options

    given = {"config": recipe(name), "frames": n_frames}
    return make_sweep(*resolve_options("video", given, (*PING_GROUPS, *VIDEO_GROUPS)))


def eager_run(job):
    """Return the recording of a job from a plain eager torch loop in float32."""
    import torch
    from eager_loop import eager_loop, event_rows

    from bridge.network.readout import read_out
    from bridge.network.weights import effective
    from bridge.recording import Recording

    torch.set_num_threads(1)
    spec, stimulus = job.spec, job.stimulus
    spikes_e, spikes_i = eager_loop(spec, job.weights, stimulus, torch.float32)()
    found = {"e1": event_rows(spikes_e), "i1": event_rows(spikes_i)}
    n_steps, dt_ms = stimulus.n_steps, stimulus.dt_ms
    logits, _ = read_out(
        spec, effective(job.weights, spec, dt_ms), found["e1"], n_steps=n_steps, n_trials=1,
        dt_ms=dt_ms,
    )  # fmt: skip
    return Recording(
        dt_ms=dt_ms, n_steps=n_steps, n_trials=1, n_cells=spec.populations, spikes=found,
        logits=logits, backend="torch eager",
    )  # fmt: skip


def plain_frame(sweep, index: int, folder: Path) -> float:
    """Draw one frame the plain way; return the CPU seconds of this process for it."""
    from bridge.runs.variables import VARIABLES
    from bridge.runs.vary import vary
    from scope.files import save_figure
    from scope.film.sweep_film import preset_of
    from scope.oscilloscope.figure import draw_oscilloscope
    from scope.oscilloscope.pictures import oscilloscope_view
    from scope.oscilloscope.view import SweepState

    begin = time.process_time()
    job = vary(sweep.job, sweep.points[index])
    view = oscilloscope_view(job, eager_run(job))
    (name,), (values,) = sweep.variables, sweep.values
    done = (10.0,) * (index + 1)
    state = SweepState(variable=name, unit=VARIABLES[name].unit, values=values, index=index,
                       rate_e_hz=done, rate_i_hz=done, f0_hz=done)  # fmt: skip
    view = dataclasses.replace(view, sweep=state, frame=index)
    save_figure(draw_oscilloscope(view, preset=preset_of(job)), folder / "frame.png")
    return time.process_time() - begin


def baselines(name: str, n_frames: int, n_measured: int) -> tuple[float, float]:
    """Return CPU seconds of a frame drawn the plain way: in one process, and as runs apart."""
    sweep = sweep_of(name, n_frames)
    # The middles of equal parts of the sweep: time steps differ, and so does their cost.
    measured = [int((k + 0.5) * n_frames / n_measured) for k in range(n_measured)]
    with tempfile.TemporaryDirectory() as folder:
        plain_frame(sweep, 0, Path(folder))  # fonts and kernels are warm now
        inside = [plain_frame(sweep, k, Path(folder)) for k in measured]
        before = cpu_of_children()
        subprocess.run(
            [sys.executable, __file__, "--one-frame", name, str(n_frames), str(measured[0])],
            check=True, cwd=ROOT, env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        alone = cpu_of_children() - before
    # A run apart pays its start in addition, whatever the value.
    return statistics.fmean(inside), statistics.fmean(inside) + max(alone - inside[0], 0.0)


def memory(n_frames: int) -> list[tuple[int, float]]:
    """Return (frame, MB) of the filming process and its workers along a film."""
    import psutil

    found: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "video", "--config", str(recipe("overdrive")),
             "--frames", str(n_frames), "--codegen", "cpp", "--out-dir", folder],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("frame "):
                continue
            frame = int(line.split()[1].split("/")[0])
            if frame % max(n_frames // 10, 1) == 0:
                tree = [psutil.Process(process.pid)]
                tree += tree[0].children(recursive=True)
                total = 0.0
                for one in tree:
                    try:
                        if "ffmpeg" not in one.name():
                            total += one.memory_info().rss
                    except psutil.Error:
                        continue  # a simulation that has just ended
                found.append((frame, total / 1e6))
        assert process.wait() == 0
    return found


def main() -> None:
    """Measure, print a table, and write the rows where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one sweep, a few frames")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--sweeps", nargs="+", help="names of recipes without video_")
    parser.add_argument("--memory", action="store_true", help="film 1000 frames, report memory")
    parser.add_argument("--one-frame", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_frame:
        name, n_frames, index = options.one_frame
        with tempfile.TemporaryDirectory() as folder:
            plain_frame(sweep_of(name, int(n_frames)), int(index), Path(folder))
        return
    rows = []
    n_frames = 20 if options.quick else options.frames
    names = options.sweeps or (
        ["overdrive"] if options.quick else [s + k for s in SWEEPS for k in ("", "_synthetic")]
    )
    print(f"{n_frames} frames; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':24}{'wall s':>9}{'CPU s':>9}{'cold wall':>11}{'cold CPU':>10}"
          f"{'plain CPU s, apart':>20}{'ratio':>8}{'in one':>10}{'ratio':>8}")  # fmt: skip
    for name in names:
        inside, apart = baselines(name, n_frames, 2 if options.quick else 5)
        with tempfile.TemporaryDirectory() as cache:
            cold_wall, cold_cpu = film(name, n_frames, cache)
            wall, cpu = film(name, n_frames, cache)
        apart, inside = apart * n_frames, inside * n_frames
        print(f"{name:24}{wall:9.1f}{cpu:9.1f}{cold_wall:11.1f}{cold_cpu:10.1f}{apart:20.0f}"
              f"{apart / cpu:8.1f}{inside:10.0f}{inside / cpu:8.1f}", flush=True)  # fmt: skip
        for what, value, baseline in (
            ("film, warm cache", cpu, apart),
            ("film, warm cache, baseline in one process", cpu, inside),
            ("film, empty cache", cold_cpu, apart),
        ):
            rows.append({"case": name, "what": what, "value": value, "unit": "CPU s",
                         "baseline": baseline, "ratio": baseline / value})  # fmt: skip
        for what, value, limit in (("wall, warm cache", wall, 75.0),
                                   ("wall, empty cache", cold_wall, 120.0)):  # fmt: skip
            limit *= n_frames / 300
            rows.append({"case": name, "what": what, "value": value, "unit": "s",
                         "baseline": limit, "ratio": limit / value})  # fmt: skip
    if options.memory:
        found = memory(1000)
        print("memory (MB) by frame:", "  ".join(f"{k}: {mb:.0f}" for k, mb in found))
        first, last = found[0][1], found[-1][1]
        rows.append({"case": "memory", "what": "frame 1000 against frame 100", "value": last,
                     "unit": "MB", "baseline": first, "ratio": first / last})  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
