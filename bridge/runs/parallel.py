"""The parallel map: many items over processes of this machine, or over a Dask cluster.

Results never depend on where or in which order items run: whoever needs chance gets a seed of its
own for each item, spawned from one.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import pickle
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bridge.children import kill_programs_of, same_modules
from bridge.runs.cluster import connect
from bridge.runs.store import Result
from bridge.scratch import Scratch

Task = Callable[..., Result]
"""Called with an item, and with its seed where seeds are asked for."""


@dataclass(frozen=True)
class Failed:
    """In place of the result of an item that failed.

    Attributes
    ----------
    error : str
        Kind and reason, in one line.
    traceback : str
    """

    error: str
    traceback: str


def count_cores() -> int:
    """Return the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def item_seeds(seed: int, n_items: int) -> list[np.random.SeedSequence]:
    """Return one seed for each item, spawned from one: the k-th is the same in any company."""
    return [np.random.SeedSequence(seed, spawn_key=(k,)) for k in range(n_items)]


def parallel_map(
    make_task: Callable[[], Task],
    items: Sequence[Any],
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    apart: bool = False,
    threads: bool = False,
    seed: int | None = None,
    label: str | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (index, result) for every item, each as soon as it and those before it are there.

    At most a few results wait at a time: a slow reader holds the workers back, and memory does not
    grow with the number of items.

    Parameters
    ----------
    make_task : callable
        Called once in each process, with nothing; returns the function that is then called for
        every item. What it holds (a compiled program, say) is made once for all items of the
        process. Must be picklable: a function of a module, or `functools.partial` of one.
    items : sequence
        Picklable.
    jobs : int, optional
        Processes; None means one for each core. With 1 everything runs in this process.
    scheduler : str, optional
        Address of a Dask scheduler (``tcp://127.0.0.1:8786``), whose workers then do the work.
        They need this program and its compiled-program cache is theirs.
    apart : bool
        Use a process of its own for one job too: the caller has work to do meanwhile.
    threads : bool
        Use threads of this process in place of processes; the task is made once for all of them.
    seed : int, optional
        If given, the function is called with an item and a `numpy.random.SeedSequence` that
        depends on `seed` and the item's index alone.
    label : str, optional
        Shows a progress bar of that name on a terminal.

    Raises
    ------
    ValueError
        For a number of jobs below 1, or a scheduler that cannot be reached or used.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs = {jobs} must be at least 1")
    seeds = None if seed is None else item_seeds(seed, len(items))

    def arguments(index: int) -> tuple[Any, ...]:
        return (items[index],) if seeds is None else (items[index], seeds[index])

    jobs = min(count_cores() if jobs is None else jobs, max(len(items), 1))
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(
            _open_pool(make_task, jobs, scheduler, apart=apart, threads=threads)
        )
        bar = stack.enter_context(progress(label, len(items)))
        waiting = iter(range(len(items)))
        started: deque[Any] = deque()

        def start_next() -> None:
            for index in waiting:
                started.append(pool.start(arguments(index)))
                return

        for _ in range(2 * pool.width):
            start_next()
        for index in range(len(items)):
            result = _finished(started.popleft(), started)
            start_next()
            bar.update(1)
            yield index, result


def _finished(future: Any, others: Iterable[Any]) -> Result:
    """Return the result of a future, or raise the first error that any of them has met."""
    pending = {future, *(f for f in others if isinstance(f, Future))}
    while isinstance(future, Future) and not future.done():
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for one in done:
            if one.exception() is not None:
                break
        else:
            continue
        break
    for one in [future, *others]:
        if isinstance(one, Future) and one.done() and one.exception() is not None:
            one.result()
    found: Result = future.result()
    return found


def guarded(make_task: Callable[[], Task]) -> Callable[[], Callable[..., Any]]:
    """Return a maker of tasks that return :class:`Failed` where those of `make_task` raise."""
    return functools.partial(_Guarded, make_task)


class _Guarded:
    def __init__(self, make_task: Callable[[], Task]) -> None:
        self._task = make_task()

    def __call__(self, *arguments: Any) -> Any:
        return outcome_of(self._task, *arguments)

    def close(self) -> None:
        _close(self._task)


def outcome_of(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, or :class:`Failed`."""
    try:
        return function(*arguments)
    except Exception as error:  # whatever the step of a user raises: it is reported, not lost
        reason = " ".join(str(error).split())
        kind = type(error).__name__
        return Failed(f"{kind}: {reason}" if reason else kind, traceback.format_exc())


class _Pool(Protocol):
    """Something that runs a task on arguments."""

    width: int

    def start(self, arguments: tuple[Any, ...]) -> Any:
        """Return a future."""
        ...


class _Here:
    """The calling process; nothing runs before its result is asked for."""

    width = 1

    def __init__(self, make_task: Callable[[], Task]) -> None:
        self._task = make_task()

    def start(self, arguments: tuple[Any, ...]) -> Any:
        return _Later(self._task, arguments)

    def close(self) -> None:
        _close(self._task)


class _Later:
    def __init__(self, task: Task, arguments: tuple[Any, ...]) -> None:
        self._task, self._arguments = task, arguments

    def result(self) -> Result:
        return self._task(*self._arguments)


class _Threads:
    """Threads of this process: for work that waits for other programs."""

    def __init__(self, make_task: Callable[[], Task], jobs: int) -> None:
        self.width = jobs
        self._task = make_task()
        self._executor = ThreadPoolExecutor(max_workers=jobs)
        self._busy: set[int] = set()
        self._lock = threading.Lock()

    def start(self, arguments: tuple[Any, ...]) -> Any:
        return self._executor.submit(self._run, arguments)

    def _run(self, arguments: tuple[Any, ...]) -> Result:
        me = threading.get_ident()
        with self._lock:
            self._busy.add(me)
        try:
            return self._task(*arguments)
        finally:
            with self._lock:
                self._busy.discard(me)

    def close(self, failed: bool) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        if failed:  # nobody wants what is still running
            with self._lock:
                kill_programs_of(self._busy)
                for thread in self._busy:
                    _interrupt(thread)
        self._executor.shutdown(wait=True)
        _close(self._task)


def _interrupt(thread: int) -> None:
    """Raise KeyboardInterrupt in a thread, as soon as it is at Python code again."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
    )


class _Processes:
    """Processes of this machine, through joblib's executor."""

    def __init__(self, make_task: Callable[[], Task], jobs: int) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        self.width = jobs
        payload = pickled(make_task)
        self._scratch = Scratch()
        self._payload = self._scratch.path / "task"
        self._payload.write_bytes(payload)
        self._token = hashlib.sha256(payload).hexdigest()
        # One thread for the linear algebra of each process: together they have the cores.
        environment = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
        )
        environment["PYTHONWARNINGS"] = "ignore"  # the caller has heard them already
        with same_modules() as modules:  # here the process that tracks their files is started
            self._executor = ProcessPoolExecutor(
                max_workers=jobs, env=environment | modules, initializer=_end_with,
                initargs=(os.getpid(),),
            )  # fmt: skip

    def start(self, arguments: tuple[Any, ...]) -> Any:
        return self._executor.submit(_run_from_file, self._token, self._payload, arguments)

    def close(self, failed: bool) -> None:
        if not failed:
            for _ in range(4 * self.width):  # each process takes one, as far as chance wills
                self._executor.submit(_forget)
        self._executor.shutdown(wait=True, kill_workers=failed)
        self._scratch.close()


class _Dask:
    """Workers of a Dask cluster."""

    def __init__(self, make_task: Callable[[], Task], address: str) -> None:
        self._client = connect(address)
        self.width = sum(self._client.nthreads().values())
        payload = pickled(make_task)
        self._token = hashlib.sha256(payload).hexdigest()
        (self._payload,) = self._client.scatter([payload], broadcast=True)

    def start(self, arguments: tuple[Any, ...]) -> Any:
        return _OfDask(
            self._client.submit(_run_from_bytes, self._token, self._payload, arguments, pure=False)
        )

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.run(_forget)
        self._client.close()


class _OfDask:
    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self) -> Result:
        found: Result = self._future.result()
        return found


@contextlib.contextmanager
def _open_pool(
    make_task: Callable[[], Task],
    jobs: int,
    scheduler: str | None,
    *,
    apart: bool,
    threads: bool = False,
) -> Iterator[_Pool]:
    if scheduler is not None:
        dask = _Dask(make_task, scheduler)
        try:
            yield dask
        finally:
            dask.close()
    elif threads:
        several = _Threads(make_task, jobs)
        failed = True
        try:
            yield several
            failed = False
        finally:
            several.close(failed)
    elif jobs == 1 and not apart:
        here = _Here(make_task)
        try:
            yield here
        finally:
            here.close()
    else:
        processes = _Processes(make_task, jobs)
        failed = True
        try:
            yield processes
            failed = False
        finally:
            processes.close(failed)


def pickled(value: Any) -> bytes:
    """Return a pickle for other processes of this program.

    By reference for what a module holds; by value for what a user's script or session defines.
    """
    from joblib import wrap_non_picklable_objects

    # In a list: a class by itself would be wrapped in a class of its own.
    return pickle.dumps(wrap_non_picklable_objects([value], keep_wrapper=False))


def _end_with(parent: int) -> None:
    """Let this worker end when its parent is gone: one that was killed can't stop its workers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_lock = threading.Lock()
_current: tuple[str, Task] | None = None  # of this worker process: the task of the running map


def _run_from_file(token: str, payload: Path, arguments: tuple[Any, ...]) -> Result:
    return _task_of(token, payload.read_bytes)(*arguments)


def _run_from_bytes(token: str, payload: bytes, arguments: tuple[Any, ...]) -> Result:
    return _task_of(token, lambda: payload)(*arguments)


def _task_of(token: str, read: Callable[[], bytes]) -> Task:
    """Return the task of a map, made on its first item in this process."""
    global _current

    with _lock:
        if _current is None or _current[0] != token:
            if _current is not None:
                _close(_current[1])
            (make_task,) = pickle.loads(read())
            _current = (token, make_task())
        return _current[1]


def _forget() -> None:
    """Close the task of this worker process."""
    global _current
    with _lock:
        if _current is not None:
            _close(_current[1])
        _current = None


def _close(task: Task) -> None:
    close = getattr(task, "close", None)
    if close is not None:
        close()


class _Silent:
    def update(self, n: int) -> None:
        """Show nothing."""


@contextlib.contextmanager
def progress(label: str | None, n_items: int) -> Iterator[Any]:
    """Give a progress bar on a terminal, else something that shows nothing."""
    if label is None or not sys.stderr.isatty():
        yield _Silent()
        return
    from tqdm import tqdm

    with tqdm(total=n_items, desc=label) as bar:
        yield bar
