"""Dask: the client of somebody's scheduler, and a scheduler with workers of our own."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bridge.children import same_modules, watched
from bridge.files.json_text import read_json_object
from bridge.scratch import Scratch

CONNECT_S = 10.0
"""How long (s) a Dask scheduler may take to answer."""
MISSING = "needs dask.distributed (pip install 'pingbridge[cluster]')"

_GREETING_BYTES = 1 << 20
"""Most bytes that a scheduler's first message has; what another server says is no number."""

log = logging.getLogger("pingbridge")


def connect(scheduler: str) -> Any:
    """Return the client of a Dask scheduler that has workers.

    Parameters
    ----------
    scheduler : str
        Its address, ``tcp://127.0.0.1:8786``, or the file that it wrote with ``--scheduler-file``.

    Raises
    ------
    ValueError
        If there is no Dask scheduler, or one without workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(f"--scheduler {MISSING}") from None

    class QuietClient(Client):
        def __del__(self) -> None:  # one that could not connect can't say goodbye
            with contextlib.suppress(Exception):
                super().__del__()

    address = _address_of(scheduler)
    _knock(scheduler, address)
    try:
        client = QuietClient(address, timeout=CONNECT_S, set_as_default=False)
    except Exception as error:  # of distributed, tornado, ssl, or what a foreign server sets off
        raise _nobody(scheduler, error) from None
    if not client.nthreads():
        client.close()
        raise ValueError(f"--scheduler {scheduler}: the scheduler has no workers; start some")
    return client


def check_scheduler(scheduler: str | None) -> None:
    """Refuse a scheduler that does not answer, before anything is written.

    Raises
    ------
    ValueError
        As :func:`connect`.
    """
    if scheduler is not None:
        connect(scheduler).close()


def _nobody(scheduler: str, error: BaseException | str) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"--scheduler {scheduler}: no Dask scheduler there ({reason})")


def _address_of(scheduler: str) -> str:
    """Return the address in a scheduler file, or what was given if it names none."""
    path = Path(scheduler)
    if not (scheduler.endswith(".json") or path.is_file()):
        return scheduler
    try:
        address = read_json_object(path)["address"]
        if not isinstance(address, str):
            raise TypeError
    except OSError as error:
        raise _nobody(scheduler, error.strerror or str(error)) from None
    except (ValueError, KeyError, TypeError):
        raise _nobody(
            scheduler, "the file is none that dask scheduler --scheduler-file wrote"
        ) from None
    return address


def _knock(scheduler: str, address: str) -> None:
    """Refuse an address where nobody, or another server, listens, before distributed waits there.

    A Dask scheduler speaks first: the length of its greeting, eight bytes.
    """
    from distributed.comm.addressing import parse_address, parse_host_port

    scheme, rest = parse_address(address)
    if scheme != "tcp":  # encrypted, or another transport: distributed finds out
        return
    try:
        host, port = parse_host_port(rest)
        if not 0 < port < 1 << 16:
            raise ValueError
    except ValueError:
        raise _nobody(scheduler, "write it as tcp://HOST:PORT, or name a scheduler file") from None
    found: list[bytes | OSError] = []

    def ask() -> None:
        try:
            with socket.create_connection((host, port), timeout=CONNECT_S) as line:
                greeting = b""
                while len(greeting) < 8 and (more := line.recv(8 - len(greeting))):
                    greeting += more
                found.append(greeting)
        except (OSError, UnicodeError, OverflowError) as error:
            found.append(error if isinstance(error, OSError) else OSError(str(error)))

    # Apart: looking up a name knows no limit of time.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(CONNECT_S + 0.5)
    answer = found[0] if found else OSError(f"no answer in {CONNECT_S:g} s")
    if isinstance(answer, TimeoutError):
        answer = OSError(f"no greeting in {CONNECT_S:g} s: busy, or another kind of server")
    if isinstance(answer, OSError):
        raise _nobody(scheduler, answer.strerror or str(answer))
    if len(answer) < 8 or not 0 < struct.unpack("<Q", answer)[0] < _GREETING_BYTES:
        raise _nobody(scheduler, "another kind of server listens there")


@contextlib.contextmanager
def own_cluster(n_workers: int) -> Iterator[str]:
    """Give the address of a scheduler with workers of its own on this machine.

    It listens on the loopback address only and serves no web pages; both end with this process.
    """
    try:
        from distributed import Client
        from distributed.deploy.subprocess import SubprocessCluster
    except ImportError:
        raise ValueError(f"executor dask {MISSING}") from None
    # Encryption needs certificates, which need another package; processes need neither.
    log.warning(
        "the Dask scheduler of this run obeys every user of this machine who finds its port; where "
        "others can log in, use executor process"
    )
    # Programs of their own, not forked or spawned ones: a user's script is not run again.
    with Scratch() as folder:
        settings: dict[str, Any] = {
            "dashboard_address": None,
            "scheduler_kwargs": {
                "dashboard_address": "127.0.0.1:0",
                "scheduler_file": str(folder / "scheduler.json"),
            },
            "silence_logs": logging.ERROR,
        }
        with same_modules(), _no_pages(folder):
            cluster = SubprocessCluster(n_workers=n_workers, threads_per_worker=1, **settings)
        with cluster:
            parts = [cluster.scheduler, *cluster.workers.values()]
            with watched([part.process.pid for part in parts if part.process is not None]):
                found = cluster.scheduler_address
                with Client(found, set_as_default=False) as client:
                    client.wait_for_workers(n_workers, timeout=60)
                yield found


@contextlib.contextmanager
def _no_pages(folder: Path) -> Iterator[None]:
    """Let the Dask programs started inside answer nothing over HTTP, and keep files in a folder."""
    names = [f"DASK_DISTRIBUTED__{part}__HTTP__ROUTES" for part in ("SCHEDULER", "WORKER")]
    changes = dict.fromkeys(names, "[]") | {"TMPDIR": str(folder)}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
