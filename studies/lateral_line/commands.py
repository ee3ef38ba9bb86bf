"""``lateral-line``: train the map, test it, draw it; every seed in a process of its own."""

from __future__ import annotations

import functools
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.lateral_line.run_options import LATERAL_LINE_GROUPS, LateralLineOptions
from studies.common import ARGV, resolve_options

if TYPE_CHECKING:
    from bridge.lateral_line.plan import Plan
    from bridge.lateral_line.record import SeedResult
    from bridge.runs.folder import RunFolder
    from sim_brian.engine.program import EngineOptions
    from sim_brian.lateral_line.state import Progress, TrainingState

CONTROL_TRIALS = 10
"""Trials that a companion control runs before its test: its weights stand still, and what cells
remember of earlier trials is gone long before."""

log = logging.getLogger("pingbridge")


def lateral_line(**given: Any) -> None:
    """Train the lateral-line network, test its map, and keep everything."""
    from bridge.lateral_line.plan import make_plan
    from bridge.lateral_line.wiring import draw_wiring
    from bridge.runs.folder import RunFolder
    from bridge.runs.groups_scan import WorkerOptions

    resolved, _ = resolve_options("lateral-line", given, LATERAL_LINE_GROUPS)
    plan = make_plan(resolved)
    engine = _engine(plan.options)
    starts = {seed: _start_of(plan, seed) for seed in plan.seeds}
    if plan.options.evaluate is not None:  # a wrong file is found before anything is written
        for seed in plan.seeds:
            _weights_of(plan, seed, draw_wiring(plan.of_seed(seed)))
    finished = _finished(plan)
    config = resolved.to_json() | {"run_name": plan.run_name}
    inputs = [one for one in (plan.options.resume_from, plan.options.evaluate) if one is not None]
    with RunFolder(
        plan.folder, mode="lateral-line", config=config, argv=ARGV, protect=inputs
    ) as run:
        run.write_json("params.json", plan.to_json())
        run.update_config({"execution": {"codegen": engine.target}})
        _run(plan, engine, starts, finished, run, jobs=resolved[WorkerOptions].jobs,
             scheduler=resolved[WorkerOptions].scheduler)  # fmt: skip


def _finished(plan: Plan) -> dict[int, dict[str, Any]]:
    """Return the numbers of the seeds that need not be run again.

    Those are the finished ones of a run that is resumed in its own folder, unchanged.
    """
    import json

    options, folder = plan.options, plan.folder
    if options.resume_from is None or options.resume_from.resolve() != folder.resolve():
        return {}
    before = json.loads((folder / "params.json").read_text(encoding="utf-8"))
    if before != json.loads(json.dumps(plan.to_json())):
        return {}
    found = {}
    for seed in plan.seeds:
        try:
            row = json.loads((folder / "artifacts" / f"seed_{seed}_results.json").read_text())
        except (OSError, ValueError):
            continue
        wanted = [float(d) for d in options.test_distances or ()]
        has = [one["test_distance_cm"] for one in row.get("distances", ())]
        drawn = any((folder / "figures").glob(f"*_seed_{seed}.png")) or not options.figures
        weights = (folder / "artifacts" / f"{options.save_tag}_seed_{seed}.npz").is_file()
        if ("control" in row) >= options.with_control and has == wanted and drawn and weights:
            found[seed] = row
    return found


def _engine(options: LateralLineOptions) -> EngineOptions:
    from sim_brian.engine.program import EngineOptions
    from sim_brian.engine.toolchain import missing_for

    missing = missing_for(options.codegen) if options.codegen == "cuda" else None
    if missing is not None:
        raise ValueError(missing)
    return EngineOptions(target=options.codegen, fast_math=options.fast_math)


def _run(
    plan: Plan, engine: EngineOptions, starts: dict[int, Path | None],
    finished: dict[int, dict[str, Any]], run: RunFolder, *,
    jobs: int | None, scheduler: str | None,
) -> None:  # fmt: skip
    from bridge.lateral_line.summary import console_lines, run_summary, several_seeds_line
    from bridge.runs.parallel import parallel_map

    p = plan.params
    log.info(
        "%s: LL %d, MON %d, TS %d; %d seed%s from %d; %s", plan.mode, p.n_ll, p.n_mon, p.n_ts,
        len(plan.seeds), "s" if len(plan.seeds) > 1 else "", p.seed,
        f"test of {plan.options.evaluate}" if plan.options.evaluate is not None
        else f"{p.n_training_trials} trials of {p.trial_duration_s:g} s",
    )  # fmt: skip
    make = functools.partial(SeedTask, plan, engine, starts, run.folder)
    rows = list(finished.values())
    left = [(place, seed) for place, seed in enumerate(plan.seeds) if seed not in finished]
    if finished:
        log.info("seeds %s are finished", ", ".join(map(str, finished)))
    for _, row in parallel_map(make, left, jobs=jobs, scheduler=scheduler):
        rows.append(dict(row))
        for line in console_lines(row):
            log.info("%s", line)
    rows.sort(key=lambda row: int(row["seed"]))
    run.write_json("run_summary.json", run_summary(plan, rows))
    if len(rows) > 1:
        log.info("%s", several_seeds_line(rows))
    if plan.options.figures:
        _figures_of_all(plan, rows, run)
    log.info("wrote %s", run.folder)


class SeedTask:
    """What a process does for each of its seeds; leaves all files of the seed behind."""

    def __init__(
        self, plan: Plan, engine: EngineOptions, starts: dict[int, Path | None], folder: Path
    ) -> None:
        self._plan, self._engine = plan, engine
        self._starts, self._folder = starts, folder

    def __call__(self, item: tuple[int, int]) -> dict[str, Any]:
        """Return the numbers of a seed."""
        from sim_brian.lateral_line.train import run_network

        place, seed = item
        plan, options = self._plan, self._plan.options
        params = plan.of_seed(seed)
        report = _reporter(place, params.n_training_trials)
        weights = start = None
        if options.evaluate is not None:
            from bridge.lateral_line.wiring import draw_wiring

            weights = _weights_of(plan, seed, draw_wiring(params))
        elif self._starts[seed] is not None:
            start = _read_start(plan, seed, self._starts[seed])
        plastic = not options.disable_all_stdp
        artifacts = self._folder / "artifacts"
        artifacts.mkdir(parents=True, exist_ok=True)
        result, others = run_network(
            params, engine=self._engine, plastic=plastic, start=start, weights=weights,
            distances_cm=options.test_distances or (), report=report,
            save=functools.partial(_save, artifacts / f"seed_{seed}_checkpoint.npz", params,
                                   plastic),
        )  # fmt: skip
        row = result.to_json()
        if others:
            row["distances"] = [{"test_distance_cm": d, **one.to_json()}
                                for d, one in others.items()]  # fmt: skip
        if options.with_control:
            control, _ = run_network(
                params, engine=self._engine, plastic=False, last_trials=CONTROL_TRIALS
            )
            row["control"] = control.to_json()
        self._write(result, row)
        return row

    def _write(self, result: SeedResult, row: dict[str, Any]) -> None:
        from bridge.atomic import to_json_text, write_text
        from bridge.formats.files import write_npz
        from bridge.lateral_line.files import sidecar, weight_arrays

        plan, options, seed = self._plan, self._plan.options, result.params.seed
        stem = f"{options.save_tag}_seed_{seed}"
        described = sidecar(result, mode=plan.mode, save_tag=options.save_tag)
        folders = [self._folder / "artifacts"]
        if options.save_weights_dir is not None:
            options.save_weights_dir.mkdir(parents=True, exist_ok=True)
            folders.append(options.save_weights_dir)
        for folder in folders:
            write_npz(folder / f"{stem}.npz", weight_arrays(result))
            write_text(folder / f"{stem}_params.json", to_json_text(described))
        write_text(folders[0] / f"seed_{seed}_results.json", to_json_text(row))
        if options.figures:
            from scope.figures.lateral_line.figures import draw_seed

            draw_seed(result, self._folder / "figures", suffix=f"_seed_{seed}")


def _save(path: Path, params: Any, plastic: bool, now: TrainingState) -> None:
    from bridge.lateral_line.files import Checkpoint, write_checkpoint

    write_checkpoint(path, Checkpoint(
        params=params, plastic=plastic, n_done=now.n_done, state=now.state, record=now.record,
        spikes_ts=now.spikes_ts, tail=now.tail, mon_ts_w_before=now.mon_ts_w_before,
        ll_mon_w_before_mv=now.ll_mon_w_before_mv,
    ))  # fmt: skip


def _start_of(plan: Plan, seed: int) -> Path | None:
    """Return the state that the training of a seed goes on from, checked; None without one."""
    if plan.options.resume_from is None:
        return None
    path = plan.options.resume_from / "artifacts" / f"seed_{seed}_checkpoint.npz"
    if not path.is_file():
        log.info("seed %d: no saved state in %s; it starts anew", seed, path.parent)
        return None
    _read_start(plan, seed, path)
    return path


def _read_start(plan: Plan, seed: int, path: Path | None) -> TrainingState:
    from bridge.lateral_line.files import check_same_network, read_checkpoint
    from sim_brian.lateral_line.state import TrainingState

    assert path is not None
    saved = read_checkpoint(path)
    plastic = not plan.options.disable_all_stdp
    check_same_network(path, saved, plan.of_seed(seed), plastic)
    return TrainingState(
        n_done=saved.n_done, state=saved.state, record=saved.record, spikes_ts=saved.spikes_ts,
        tail=saved.tail, mon_ts_w_before=saved.mon_ts_w_before,
        ll_mon_w_before_mv=saved.ll_mon_w_before_mv,
    )  # fmt: skip


def _weights_of(plan: Plan, seed: int, wiring: Any) -> tuple[Any, Any]:
    """Return the weights that a seed is tested with: LL to MON (mV), MON to TS."""
    from bridge.lateral_line.files import read_weights

    path = plan.options.evaluate
    assert path is not None
    if path.suffix != ".npz":
        found = sorted((path / "artifacts").glob(f"*_seed_{seed}.npz"))
        if len(found) != 1:
            what = "no" if not found else f"{len(found)}"
            raise FileNotFoundError(
                f"--evaluate {path}: {what} weight files of seed {seed} in artifacts/; name one "
                ".npz, or other seeds (--seed-start, --multi-seed)"
            )
        path = found[0]
    saved = read_weights(path, wiring)
    initial = plan.options.restore_initial_ll_mon
    return (saved.ll_mon_w_init_mv if initial else saved.ll_mon_w_mv), saved.mon_ts_w


def _reporter(place: int, n_trials: int) -> Callable[[Progress], None]:
    """Return what shows how far a seed is: a bar on a terminal, else lines of the log."""
    if not sys.stderr.isatty():
        return _log_progress
    from tqdm import tqdm

    bar: Any = tqdm(total=n_trials, position=place, unit="trial", leave=False)

    def show(now: Progress) -> None:
        bar.set_description(f"seed {now.seed}", refresh=False)
        bar.set_postfix_str(
            f"sigma_theta {now.sigma_theta_rad:.3f}, valid {now.valid_fraction:.2f}", refresh=False
        )
        bar.update(now.n_done - bar.n)
        if now.n_done >= now.n_trials and not now.running:
            bar.close()

    return show


def _log_progress(now: Progress) -> None:
    if not now.running:
        log.info(
            "seed %d: trial %d/%d, %.1f trials/s, sigma_theta %.3f, valid %.2f", now.seed,
            now.n_done, now.n_trials, now.trials_per_s, now.sigma_theta_rad, now.valid_fraction,
        )  # fmt: skip


def _figures_of_all(plan: Plan, rows: list[dict[str, Any]], run: RunFolder) -> None:
    """Write the copies without seed, the copies of a thesis run, and the figures over seeds."""
    from scope.figures.lateral_line.figures import draw_distances, draw_multiseed
    from scope.files import save_figure

    folder = run.folder / "figures"
    first = f"_seed_{plan.seeds[0]}"
    for path in sorted(folder.glob(f"*{first}.png")):
        plain = path.with_name(path.name.removesuffix(f"{first}.png") + ".png")
        shutil.copyfile(path, plain)
        if plan.mode == "ll_thesis":
            for start, name in (
                ("brian2_spatial_two_stage_", "LL_THESIS_BASELINE_ACTIVE_latest.png"),
                ("brian2_test_phase_only_", "LL_THESIS_BASELINE_TEST_ONLY_latest.png"),
            ):
                if path.name.startswith(start):
                    shutil.copyfile(path, folder / name)
    if len(rows) > 1:
        save_figure(draw_multiseed(rows), folder / f"brian2_multiseed_summary_n{len(rows)}.png")
    if any("distances" in row for row in rows):
        save_figure(draw_distances(rows), folder / "distance_generalisation.png")
