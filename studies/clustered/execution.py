"""Many steps, one after the other, in threads, in processes or on a Dask cluster.

A step that fails is reported and takes no other down; finished steps are kept, so that a job that
was killed goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bridge.runs.parallel import count_cores, parallel_map, same_modules

EXECUTORS = ("thread", "process", "dask")

Step = Callable[[Any], Mapping[str, Any]]


class StepError(RuntimeError):
    """One or several steps failed; the message names each with its reason."""


def _guarded(step: Step, item: Any) -> dict[str, Any]:
    """Return what a step returns, or why it failed."""
    try:
        return {"value": step(item)}
    except Exception as error:  # whatever a user's step raises: it is reported, not lost
        reason = " ".join(str(error).split()) or type(error).__name__
        return {
            "error": f"{type(error).__name__}: {reason}",
            "traceback": traceback.format_exc(),
        }


def _hand_out(step: Step) -> Callable[[Any], dict[str, Any]]:
    return functools.partial(_guarded, step)


def check_executor(executor: str, max_workers: int | None) -> None:
    """Refuse an unknown executor or number of workers."""
    if executor not in EXECUTORS:
        raise ValueError(f"executor {executor!r} is unknown; use {', '.join(EXECUTORS)}")
    if max_workers is not None and max_workers < 1:
        raise ValueError(f"max_workers = {max_workers} must be at least 1")


def check_picklable(**parts: Any) -> None:
    """Refuse what can't travel to another process, naming it.

    Raises
    ------
    ValueError
    """
    from joblib.externals.loky.backend.reduction import dumps

    for name, part in parts.items():
        try:
            dumps(part)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{name} can't be sent to other processes ({' '.join(str(error).split())}); use "
                "executor thread, or make it a function of a module"
            ) from None


def run_steps(
    step: Step,
    items: Sequence[Any],
    *,
    parallel: bool = False,
    max_workers: int | None = None,
    executor: str = "thread",
    scheduler: str | None = None,
    label: str | None = None,
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (index, outcome) of every item in order: ``{"value": ...}`` or ``{"error": ...}``.

    Parameters
    ----------
    step : callable
        Called with an item; the same value wherever it runs.
    items : sequence
    parallel : bool
    max_workers : int, optional
        Default one for each core.
    executor : {"thread", "process", "dask"}
    scheduler : str, optional
        Address of a Dask scheduler; without it ``dask`` starts workers of its own for the time of
        the job.
    label : str, optional
        Shows a progress bar on a terminal.
    """
    check_executor(executor, max_workers)
    if scheduler is not None and executor != "dask":
        raise ValueError("a scheduler needs executor dask")
    make = functools.partial(_hand_out, step)
    if not parallel:
        if scheduler is not None:
            raise ValueError("a scheduler can't apply without parallel")
        yield from parallel_map(make, items, jobs=1, label=label)
    elif executor == "dask":
        with _scheduler(scheduler, max_workers) as address:
            yield from parallel_map(make, items, scheduler=address, label=label)
    else:
        yield from parallel_map(
            make, items, jobs=max_workers, threads=executor == "thread",
            apart=executor == "process", label=label,
        )  # fmt: skip


@contextlib.contextmanager
def _scheduler(address: str | None, max_workers: int | None) -> Iterator[str]:
    """Give the address of a Dask scheduler, starting one with workers where there is none."""
    if address is not None:
        yield address
        return
    try:
        from distributed import Client
        from distributed.deploy.subprocess import SubprocessCluster
    except ImportError:
        raise ValueError(
            "executor dask needs dask.distributed (pip install 'pingbridge[cluster]')"
        ) from None
    n_workers = max_workers or count_cores()
    # Programs of their own, not forked or spawned ones: a user's script is not run again.
    settings: dict[str, Any] = {"dashboard_address": None, "silence_logs": 40}
    with same_modules():
        cluster = SubprocessCluster(n_workers=n_workers, threads_per_worker=1, **settings)
    with cluster:
        found = cluster.scheduler_address
        with Client(found, set_as_default=False) as client:
            client.wait_for_workers(n_workers, timeout=60)
        yield found
