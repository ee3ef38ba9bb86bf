"""Where steps run: one after the other, in threads, in processes or on a Dask cluster."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bridge.runs.cluster import own_cluster
from bridge.runs.parallel import count_cores, pickled
from studies.stored import Run, step_runner

EXECUTORS = ("thread", "process", "dask")


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who runs the steps of a job; results are the same wherever they run.

    Attributes
    ----------
    parallel : bool
    max_workers : int, optional
        Default one for each core.
    executor : {"thread", "process", "dask"}
    scheduler : str, optional
        Address of a Dask scheduler; without it ``dask`` starts workers of its own for the time of
        the job.

    Raises
    ------
    ValueError
        For an unknown executor, workers below 1, or a scheduler that can't apply.
    """

    parallel: bool = False
    max_workers: int | None = None
    executor: str = "thread"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise ValueError(f"executor {self.executor!r} is unknown; use {', '.join(EXECUTORS)}")
        if self.max_workers is not None and self.max_workers < 1:
            raise ValueError(f"max_workers = {self.max_workers} must be at least 1")
        if self.scheduler is not None and self.executor != "dask":
            raise ValueError("a scheduler needs executor dask")
        if self.scheduler is not None and not self.parallel:
            raise ValueError("a scheduler can't apply without parallel")

    def check_picklable(self, **parts: Any) -> None:
        """Refuse what can't travel to another process where it has to, naming it.

        Raises
        ------
        ValueError
        """
        if not self.parallel or self.executor == "thread":
            return
        for name, part in parts.items():
            try:
                pickled(part)
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{name} can't be sent to other processes ({' '.join(str(error).split())}); "
                    "use executor thread, or make it a function of a module"
                ) from None

    def runner(self, step: Callable[[Any], Any]) -> Run:
        """Return what runs items by a function of one item."""
        if not self.parallel:
            return step_runner(step, jobs=1)
        if self.executor == "dask":
            return self._on_dask(step)
        return step_runner(
            step, jobs=self.max_workers, threads=self.executor == "thread",
            apart=self.executor == "process",
        )  # fmt: skip

    def _on_dask(self, step: Callable[[Any], Any]) -> Run:
        def run(items: list[Any]) -> Iterator[Any]:
            with _scheduler(self.scheduler, self.max_workers) as address:
                yield from step_runner(step, scheduler=address)(items)

        return run


def _scheduler(
    address: str | None, max_workers: int | None
) -> contextlib.AbstractContextManager[str]:
    """Give the address of a Dask scheduler, starting one with workers where there is none."""
    if address is not None:
        return contextlib.nullcontext(address)
    return own_cluster(max_workers or count_cores())
