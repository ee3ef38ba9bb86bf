"""The one loop of long jobs: run these items, keep each, go on after a kill, name what failed.

    job = Stored(folder / UNFINISHED, seeds, key={"options": ..., "step": step}, what="repeats")
    with RunFolder(folder, ...) as run, job:
        for k, result in job.results(step_runner(step, jobs=4)):
            ...
        write_table(...)

Making the job reads the folder and refuses one that holds another's items; nothing is written
before the first item is finished. Results come in order, those of an earlier, killed run among
them. When the block ends well, what is made of the results is safe and the folder goes; an error or
a kill leaves it for the next run.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from bridge.home import package_version, version
from bridge.runs.content import UnidentifiedError, content_hash
from bridge.runs.parallel import Failed, guarded, parallel_map, progress
from bridge.runs.store import MISSING, ResultStore

UNFINISHED = "unfinished"
"""Folder of finished items inside a run folder; an empty one of that name goes with its job."""
CLEAR = "choose another --out-dir, or clear this one with --wipe-dir"
N_NAMED = 20
"""Failures that an error names one by one."""

Run = Callable[[list[Any]], Iterator[Any]]
"""Given the items that are missing, yields the result of each, in order; a
:class:`bridge.runs.parallel.Failed` in place of one that failed."""

VERSIONS = ("brian2", "numpy")
"""Packages whose version is part of every key, beside that of this program."""

log = logging.getLogger("pingbridge")


class Log(Protocol):
    """Somebody to tell; a `logging.Logger` is one."""

    def info(self, text: str, /) -> None:
        """Say a line."""
        ...


class Store(Protocol):
    """Where finished items are, by number; a :class:`bridge.runs.store.ResultStore` is one."""

    folder: Path

    def is_of_another_job(self) -> bool:
        """Return whether it holds something that is not of this job."""
        ...

    def done(self) -> list[int]:
        """Return the numbers of the items that are there."""
        ...

    def get(self, index: int) -> Any:
        """Return an item, or :data:`bridge.runs.store.MISSING`."""
        ...

    def put(self, index: int, result: Any) -> None:
        """Keep an item."""
        ...

    def remove(self) -> None:
        """Drop what nobody needs once the job is done."""
        ...


class StepError(RuntimeError):
    """One or several items failed; the message names each with its reason."""


def job_key(description: Any) -> str:
    """Return a hash of what decides the results of a job, versions of this program included.

    Parameters
    ----------
    description : any
        See :func:`bridge.runs.content.content_hash`. Leave out what can't change a result (folders,
        workers, the progress bar).

    Raises
    ------
    UnidentifiedError
        If something in it can't be told from another of its kind.
    """
    versions = [version(), *(package_version(name, "") for name in VERSIONS)]
    return content_hash([versions, description])


class Stored:
    """A job of many items and the folder of its finished ones; a context manager.

    Parameters
    ----------
    folder : path
        Of the finished items, ``.../unfinished`` or a folder in one of that name. Nothing else may
        lie there.
    items : sequence
    key : any
        Everything that decides a result, whatever items it belongs to: options as worked out,
        seeds, arrays, functions of users (see :func:`job_key`). Items are part of the key by
        themselves.
    what : str
        What an item is called in messages, in the plural.
    name : callable, optional
        From the number of an item to what messages call it; default "run 1", "run 2" ... of `what`.
    clear : str
        What is to be done about a folder that holds another's items.
    wiped : bool
        The folder will have been emptied before anything runs: it is not looked at now.
    say : Log, optional
        Gets the lines; default the program's log.
    store : Store, optional
        For items whose results have a place of their own, and stay there; default a store in
        `folder`.

    Raises
    ------
    ValueError
        If the folder holds unfinished items of another job.
    """

    def __init__(
        self,
        folder: str | Path,
        items: Sequence[Any],
        *,
        key: Any,
        what: str = "runs",
        name: Callable[[int], str] | None = None,
        clear: str = CLEAR,
        wiped: bool = False,
        say: Log | None = None,
        store: Store | None = None,
    ) -> None:
        self.items = list(items)
        self.what, self._clear = what, clear
        self.name = (lambda k: f"{what.removesuffix('s')} {k + 1}") if name is None else name
        self._log: Log = log if say is None else say
        self.key: str | None = None
        """The hash of the job; None where nothing identifies it: then nothing is kept."""
        self._unknown = ""
        try:
            self.key = job_key({"job": key, "items": self.items})
        except UnidentifiedError as error:
            self._unknown = str(error)
        if store is None:
            store = ResultStore(folder, key=self.key or "", n_items=len(self.items))
        self._store: Store = store
        self._results: Generator[tuple[int, Any], None, None] | None = None
        self._complete = False
        if not wiped:
            self.check()

    def check(self) -> None:
        """Refuse a folder that holds unfinished items of another job; touches nothing.

        Raises
        ------
        ValueError
        """
        if self._store.is_of_another_job():
            raise ValueError(
                f"{self._store.folder} holds unfinished {self.what} of another configuration; "
                f"{self._clear}"
            )

    def __enter__(self) -> Stored:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the workers go; remove the folder if all items are done and all went well."""
        if self._results is not None:
            self._results.close()
        if error is None and self._complete:
            self.remove()

    def remove(self) -> None:
        """Delete what was kept: what is made of the results is safe."""
        self._store.remove()
        parent = self._store.folder.parent
        if parent.name == UNFINISHED:
            with contextlib.suppress(OSError):  # it holds those of others
                parent.rmdir()

    def results(
        self,
        run: Run,
        *,
        order: Sequence[int] | None = None,
        label: str | None = None,
        whole: bool = False,
        keep: Callable[[int, Any], Any] | None = None,
        is_there: Callable[[int, Any], bool] | None = None,
        on_failure: Callable[[int, Failed], None] | None = None,
    ) -> Generator[tuple[int, Any], None, None]:
        """Return (number, result) of every item, one by one; what is held is not run again.

        Parameters
        ----------
        run : callable
            See :data:`Run`, :func:`step_runner` and :func:`task_runner`.
        order : sequence of int, optional
            Numbers of the items in the order in which they are run and yielded.
        label : str, optional
            Shows a progress bar of that name on a terminal.
        whole : bool
            Yield nothing after a failure; what is left is run and kept all the same.
        keep : callable, optional
            Given number and result of a fresh item, puts it where it belongs and returns what is to
            be kept and yielded in its place.
        is_there : callable, optional
            Given number and what was kept: whether all that belongs to it is still there. An item
            of which something is missing or damaged is run again.
        on_failure : callable, optional
            Called at once for an item that failed; afterwards the others go on.

        Raises
        ------
        StepError
            If items failed, when all others are done; names each with its reason.
        ValueError
            As :meth:`check`.
        """
        numbers = list(range(len(self.items))) if order is None else list(order)
        if sorted(numbers) != list(range(len(self.items))):
            raise ValueError("order must name every item once")
        self.check()
        held = self._held(is_there)
        left = [k for k in numbers if k not in held]

        def go() -> Generator[tuple[int, Any], None, None]:
            failures: list[tuple[int, Failed]] = []
            with contextlib.ExitStack() as stack:
                fresh = run([self.items[k] for k in left]) if left else iter(())
                stack.callback(getattr(fresh, "close", lambda: None))
                bar = stack.enter_context(progress(label, len(numbers)))
                for k in numbers:
                    result = self._store.get(k) if k in held else next(fresh)
                    bar.update(1)
                    if isinstance(result, Failed):
                        failures.append((k, result))
                        if on_failure is not None:
                            on_failure(k, result)
                        continue
                    if k not in held:
                        result = result if keep is None else keep(k, result)
                        self._put(k, result)
                    if not (whole and failures):
                        yield k, result
                for _ in fresh:  # lets its workers go
                    raise RuntimeError("there are more results than items")
            if failures:
                raise self._error(failures)
            self._complete = True

        self._results = go()
        return self._results

    def _held(self, is_there: Callable[[int, Any], bool] | None) -> set[int]:
        """Return the items that are there and whole; say how many, or that none can be."""
        if self.key is None:
            self._log.info(
                f"a job that is killed begins anew: what decides its results is not known "
                f"({self._unknown})"
            )
            return set()
        held = set()
        for k in self._store.done():
            found = self._store.get(k)
            if found is not MISSING and (is_there is None or is_there(k, found)):
                held.add(k)
        if held:
            self._log.info(
                f"resuming: {len(held)} of {len(self.items)} {self.what} are there already"
            )
        return held

    def _put(self, k: int, result: Any) -> None:
        if self.key is None:
            return
        try:
            self._store.put(k, result)
        except TypeError as error:
            if not self._unknown:
                self._unknown = str(error)
                self._log.info(f"results are not kept, a job that is killed runs anew: {error}")

    def _error(self, failures: list[tuple[int, Failed]]) -> StepError:
        told = [f"{self.name(k)}: {failed.error}" for k, failed in failures[:N_NAMED]]
        if len(failures) > N_NAMED:
            told.append(f"and {len(failures) - N_NAMED} more")
        others = "the others are done" + ("" if self._unknown else " and kept")
        error = StepError(
            f"{len(failures)} of {len(self.items)} {self.what} failed ({others}): "
            + "; ".join(told)
        )
        error.add_note(failures[0][1].traceback)
        return error


def task_runner(make_task: Callable[[], Callable[[Any], Any]], **workers: Any) -> Run:
    """Return what runs items by a task that is made once in each process.

    Parameters
    ----------
    make_task : callable
        See :func:`bridge.runs.parallel.parallel_map`; what it makes is called with an item.
    workers
        ``jobs``, ``scheduler``, ``apart``, ``threads`` of :func:`parallel_map`.
    """

    def run(items: list[Any]) -> Iterator[Any]:
        for _, result in parallel_map(guarded(make_task), items, **workers):
            yield result

    return run


def step_runner(step: Callable[[Any], Any], **workers: Any) -> Run:
    """Return what runs items by a function of one item.

    Parameters
    ----------
    step : callable
    workers
        See :func:`task_runner`.
    """
    return task_runner(functools.partial(_same, step), **workers)


def _same(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return step
