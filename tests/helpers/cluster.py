"""A real Dask cluster on the loopback address: a scheduler and two worker processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


# A cluster that waits for work looks at itself all the time: 7 % of a core, 1 % so.
_QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "1h",
}


@contextlib.contextmanager
def local_cluster(folder: Path):
    """Give the address of a cluster of two worker processes, started as users start them."""
    helpers = Path(__file__).parent
    homes = [ROOT, helpers, ROOT / "tests" / "bridge", ROOT / "tests" / "sim_brian"]
    paths = [*map(str, homes), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | _QUIET | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    file = folder / "scheduler.json"
    common = {"env": environment, "cwd": folder, "stdout": subprocess.DEVNULL,
              "stderr": subprocess.DEVNULL}  # fmt: skip
    dask = [sys.executable, "-m", "distributed.cli"]
    scheduler = subprocess.Popen(
        [*dask[:2], "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", str(file)], **common,
    )  # fmt: skip
    processes = [scheduler]
    try:
        while (address := _address(file)) is None:  # as long as it takes on this machine
            assert scheduler.poll() is None, "the scheduler ended"
            time.sleep(0.1)
        processes += [
            subprocess.Popen(
                [*dask[:2], "distributed.cli.dask_worker", "--scheduler-file", str(file),
                 "--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1",
                 "--local-directory", str(folder)], **common,
            )
            for _ in range(2)
        ]  # fmt: skip
        from distributed import Client

        with Client(address, timeout=600, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=600)
        yield address
    finally:
        for process in reversed(processes):
            process.kill()  # nothing of theirs is wanted any more
        for process in processes:
            process.wait()


def _address(file: Path) -> str | None:
    """Return the address in a scheduler's file; None as long as it is not there, or not whole."""
    try:
        return json.loads(file.read_text())["address"]
    except (FileNotFoundError, json.JSONDecodeError):
        return None
