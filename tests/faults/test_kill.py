"""kill -9 in the middle of every long command, and the same command once more.

Nothing is lost, nothing is half there, and what comes of it is bit for bit what a run that nobody
killed comes to. The short version kills at moments that no clock decides, the long one
(``make test-faults``; ``PINGBRIDGE_KILLS`` moments for each command) at random ones.
"""

from __future__ import annotations

import os
import random

import pytest
from apart import begin
from faults import contents, typed
from long_runs import LONG, faults_of, uninterrupted, whole_files

N_KILLS = int(os.environ.get("PINGBRIDGE_KILLS", "12"))


SHORT = ("scan", "rate search", "infer --dt-sweep")
"""Killed by the short version; the others have such a test beside their own."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in SHORT else pytest.mark.faults) for name in LONG],
)
def test_killed_in_the_middle(name, place):
    job, folder = LONG[name], place / "run"
    running = begin(job.argv(folder), cwd=place, hold=job.hold)
    assert running.wait_until_held(), running.result()
    running.kill(whole_group=True)
    assert running.result().code == -9
    assert (folder / ".running").exists()
    whole_files(folder)
    before = contents(folder)
    said = typed(job.argv(folder, *job.resume))
    assert said.code == 0, said.err
    if job.held:
        assert "resum" in said.out, said.out  # what is finished is not computed again
    assert before  # something was there to go on with
    wrong = faults_of(job, folder, uninterrupted(job, place))
    assert not wrong, "\n".join(wrong)


@pytest.mark.faults
@pytest.mark.parametrize("name", LONG)
def test_killed_at_any_moment(name, place):
    """Killed alone: its workers and programs end by themselves."""
    job, rng = LONG[name], random.Random(f"kill {name}")
    for k in ("warm", "first"):  # the first process of all waits for the imports
        ended = begin(job.argv(place / k), cwd=place).result(120)
    assert ended.code == 0, ended.err
    whole, wrong, killed = uninterrupted(job, place), [], 0
    for k in range(N_KILLS):
        folder = place / str(k) / "run"
        folder.parent.mkdir()
        running = begin(job.argv(folder), cwd=place)
        running.process.join(rng.uniform(0.0, ended.wall_s))
        running.kill()
        killed += running.result().code == -9
        if folder.exists():
            whole_files(folder)
        # A training that was killed before there was anything to go on with is begun again.
        resume = job.resume if (folder / "config.json").exists() else ()
        again = begin(job.argv(folder, *resume), cwd=place).result(120)
        if again.code != 0:
            wrong.append(f"kill {k}: exit code {again.code}: {again.err}")
            continue
        wrong += [f"kill {k}: {one}" for one in faults_of(job, folder, whole)]
    print(f"{name}: {killed} of {N_KILLS} killed while they ran")
    assert not wrong, "\n".join(wrong)
