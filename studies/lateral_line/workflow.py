"""A `lateral-line` run: what is there already, the seeds that are left, what is made of all.

Each seed runs in a process of its own (:mod:`studies.lateral_line.seeds`), saves its state as it
goes, and is finished once its numbers are written; what a folder holds by which name, and whether
this run may write there, is known to its owner (:mod:`studies.lateral_line.owner`).
"""

from __future__ import annotations

import functools
import logging
import shutil
import tempfile
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from bridge.atomic import write_atomically
from bridge.lateral_line.earlier import COMMAND, PARAMS_FILE, is_run, read_earlier
from bridge.lateral_line.notes import notes
from bridge.lateral_line.plan import Plan, make_plan
from bridge.lateral_line.run_options import LateralLineOptions
from bridge.lateral_line.summary import console_lines, run_summary, several_seeds_lines
from bridge.lateral_line.training_state import TrainingState, check_goes_on, read_state
from bridge.lateral_line.weight_file import read_weights
from bridge.lateral_line.wiring import draw_wiring
from bridge.runs.cluster import check_scheduler
from bridge.runs.folder import RunFolder
from bridge.runs.resolve import Resolved
from sim_brian.engine.program import EngineOptions
from sim_brian.engine.toolchain import missing_for
from sim_brian.lateral_line.train import Weights
from studies.common import execution_noted
from studies.lateral_line.owner import SUMMARY_FILE, Owner
from studies.lateral_line.seeds import SeedTask, SeedWork
from studies.stored import Stored, task_runner

log = logging.getLogger("pingbridge")


def run(resolved: Resolved, argv: Sequence[str]) -> None:
    """Train (or load) every seed, test it, and keep everything.

    Parameters
    ----------
    resolved : Resolved
        Options as typed, nothing inherited yet.
    argv : sequence of str
        What was typed, for run.sh.

    Raises
    ------
    ValueError, OSError
        Before anything is written: if options contradict each other, an earlier run can't be used,
        or the folder holds something that this run would replace.
    StepError
        If seeds failed; the others are done.
    """
    asked = resolved[LateralLineOptions]
    source = asked.resume_from or asked.evaluate
    earlier = None if source is None else Owner.of(read_earlier(source), source)
    plan = make_plan(resolved, None if earlier is None else earlier.plan)
    engine = _engine(plan.options)
    check_scheduler(plan.workers.scheduler)
    owner = Owner.of(plan)
    goes_on = owner.admit()
    store = SeedStore(owner)
    left = _left(owner, earlier, finished=store.rows, goes_on=goes_on)
    _check_copies(owner)
    job = Stored(
        store.folder, plan.seeds, key=COMMAND, what="seeds", store=store,
        name=lambda k: f"seed {plan.seeds[k]}",
    )  # fmt: skip
    with RunFolder(
        plan.folder, mode=COMMAND, config=plan.to_config(), argv=argv, repeat="resume",
        flag="--run-name (or --runs-dir)",
    ) as folder, job:  # fmt: skip
        for name in ("artifacts", "figures") if plan.options.figures else ("artifacts",):
            folder.folder_of_files(name)
        folder.write_json(PARAMS_FILE, plan.to_json())
        _tell(plan)
        task = task_runner(
            functools.partial(SeedTask, owner, engine), jobs=plan.workers.jobs,
            scheduler=plan.workers.scheduler,
        )  # fmt: skip
        rows = []
        with execution_noted(folder, engine.target, fast_math=engine.fast_math):
            for k, row in job.results(lambda seeds: task([left[seed] for seed in seeds])):
                rows.append(row)
                _copy(owner.copies_of_weights(plan.seeds[k]))
                for line in console_lines(row) if plan.seeds[k] in left else ():
                    log.info("%s", line)
        folder.write_json(SUMMARY_FILE, run_summary(plan, rows))
        if len(rows) > 1:
            for line in several_seeds_lines(rows):
                log.info("%s", line)
        _copy(owner.copies_of_figures())
        _draw_figures_of_all(owner, rows)
        log.info("wrote %s", folder.folder)


class SeedStore:
    """Where the loop finds what seeds have left: files under their names, kept for good.

    A seed writes its own files, in its own process, and its numbers last.
    """

    def __init__(self, owner: Owner) -> None:
        self.folder = owner.folder / "artifacts"
        self._seeds = owner.plan.seeds
        self.rows = {seed: row for seed in self._seeds
                     if (row := owner.finished(seed)) is not None}  # fmt: skip

    def is_of_another_job(self) -> bool:
        """Return False: the owner of the folder has looked."""
        return False

    def done(self) -> list[int]:
        """Return the places of the seeds that are finished."""
        return [k for k, seed in enumerate(self._seeds) if seed in self.rows]

    def get(self, index: int) -> dict[str, Any]:
        """Return the numbers of a finished seed."""
        return self.rows[self._seeds[index]]

    def put(self, index: int, result: Any) -> None:
        """Do nothing: the numbers are written already."""

    def remove(self) -> None:
        """Do nothing: results stay."""


def _engine(options: LateralLineOptions) -> EngineOptions:
    missing = missing_for(options.codegen) if options.codegen == "cuda" else None
    if missing is not None:
        raise ValueError(missing)
    return EngineOptions(target=options.codegen, fast_math=options.fast_math)


def _left(
    owner: Owner, earlier: Owner | None, *, finished: Container[int], goes_on: bool
) -> dict[int, SeedWork]:
    """Return the seeds that are to be run, each with what it starts from, read and checked."""
    plan, found = owner.plan, {}
    for place, seed in enumerate(plan.seeds):
        if seed in finished:
            continue
        if plan.options.evaluate is not None:
            assert earlier is not None
            found[seed] = SeedWork(place=place, seed=seed, weights=_weights(plan, earlier, seed))
        else:
            owners = [owner] if goes_on else []
            start = _start(plan, seed, owners if earlier is None else [*owners, earlier])
            found[seed] = SeedWork(place=place, seed=seed, start=start)
    if plan.options.resume_from is not None:
        _say_what_starts_anew(plan, found)
    return found


def _start(plan: Plan, seed: int, owners: Sequence[Owner]) -> TrainingState | None:
    for one in owners:
        path = one.state(seed)
        if path.is_file():
            saved = read_state(path)
            check_goes_on(path, saved, plan.of_seed(seed))
            return saved
    return None


def _say_what_starts_anew(plan: Plan, works: Mapping[int, SeedWork]) -> None:
    anew = [seed for seed, work in works.items() if work.start is None]
    if not anew:
        return
    where = f"--resume-from {plan.options.resume_from}"
    seeds = f"seed{'s' if len(anew) > 1 else ''} {', '.join(map(str, anew))}"
    if len(anew) == len(plan.seeds):
        raise ValueError(
            f"{where}: no saved state of {seeds} is there; the command without --resume-from "
            "starts the training"
        )
    log.warning("%s: no saved state of %s is there; training starts anew", where, seeds)


def _weights(plan: Plan, earlier: Owner, seed: int) -> Weights:
    """Return the weights that a seed is tested with."""
    path = plan.options.evaluate
    assert path is not None
    if path.suffix != ".npz":
        path = earlier.weights(seed)
        if not path.is_file():
            raise FileNotFoundError(
                f"--evaluate {plan.options.evaluate}: no weight file of seed {seed} ({path.name}) "
                "in artifacts/; name one .npz, or other seeds (--seed-start, --multi-seed)"
            )
    saved = read_weights(path, draw_wiring(plan.of_seed(seed)))
    if not plan.options.restore_initial_ll_mon:
        return saved.ll_mon_w_mv, saved.mon_ts_w
    if saved.ll_mon_w_init_mv is None:
        raise ValueError(
            f"--restore-initial-ll-mon: {path} has no ll_mon_w_init_mV; the published program "
            "writes the weights of the start in place of the final ones: leave the flag out"
        )
    return saved.ll_mon_w_init_mv, saved.mon_ts_w


def _check_copies(owner: Owner) -> None:
    """Find out before the training whether copies can be written."""
    folder = owner.copies
    if folder is None:
        return
    if is_run(folder.parent):
        raise ValueError(
            f"--save-weights-dir {folder} lies in a run folder, whose files are its own; choose "
            "another"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"--save-weights-dir {folder}: can't be written ({reason})") from None


def _tell(plan: Plan) -> None:
    p, options = plan.params, plan.options
    log.info(
        "%s: LL %d, MON %d, TS %d; %d seed%s from %d; %s", options.preset, p.n_ll, p.n_mon, p.n_ts,
        len(plan.seeds), "s" if len(plan.seeds) > 1 else "", p.seed,
        f"test of {options.evaluate}" if options.evaluate is not None
        else f"{p.n_training_trials} trials of {p.trial_duration_s:g} s",
    )  # fmt: skip
    for note in notes(p, options.test_distances or ()):
        log.warning("%s", note)


def _copy(pairs: Sequence[tuple[Path, Path]]) -> None:
    for source, target in pairs:
        write_atomically(target, functools.partial(shutil.copyfile, source))


def _draw_figures_of_all(owner: Owner, rows: Sequence[Mapping[str, Any]]) -> None:
    paths = owner.figures_of_all()
    if not paths:
        return
    from scope.figures.lateral_line.several import draw_distances, draw_multiseed
    from scope.files import save_figure

    drawn = {"seeds": draw_multiseed, "comparison": draw_multiseed, "distances": draw_distances}
    for name, path in paths.items():
        save_figure(drawn[name](rows), path)
