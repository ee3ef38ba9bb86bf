"""Measure what a process holds after thousands of runs: memory, files, threads, temporary files.

2000 short simulations through the command line, every tenth one compiled (where there is a
compiler), every twentieth refused; then 200 parallel maps over two processes each. Looked at after
a twentieth of them (what is loaded once is loaded then), half way, and at the end.

Expected: the end is the middle: memory within 5 % of what it was after the first twentieth, not one
file, thread or temporary file more. Takes about ten minutes on two cores; ``--quick`` (40 runs, 4
maps) under a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SIM = ("sim", "--n-hidden", "16", "--t-ms", "50", "--dt", "0.5", "--input-rate", "100",
       "--w-in", "2", "0.4")  # fmt: skip
REFUSED = ("sim", "--n-hidden", "0")
MOST_GROWTH = 1.05


def held(temporary: Path) -> dict[str, int]:
    """Return what this process holds now: bytes, files, threads, temporary files."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "temporary_files": sum(
            len(files) + len(folders) for _, folders, files in os.walk(temporary)
        ),
    }


def typed(words: tuple[str, ...]) -> int:
    """Call the command line; return its exit code."""
    from cli import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return main(words)
        except SystemExit as stop:  # argparse
            return int(stop.code or 0)


def simulate(k: int, folder: Path, *, compiler: bool) -> None:
    """Run once in a folder that goes afterwards."""
    if k % 20 == 19:
        assert typed(REFUSED) == 2
        return
    target = "cpp" if compiler and k % 10 == 5 else "numpy"
    out = folder / f"run{k}"
    code = typed((*SIM, "--codegen", target, "--seed", str(k), "--out-dir", str(out)))
    assert code == 0, f"run {k}: exit code {code}"
    shutil.rmtree(out)


def square(item: int) -> dict[str, Any]:
    """Return a result; a function of a module, for processes."""
    return {"square": item * item}


def make_square() -> Callable[[int], dict[str, Any]]:
    """Return the task of a worker process."""
    return square


def map_in_parallel() -> None:
    """Run a map over two processes, which end with it."""
    from bridge.runs.parallel import parallel_map

    results = [result["square"] for _, result in parallel_map(make_square, range(4), jobs=2)]
    assert results == [0, 1, 4, 9]


def soak(what: str, n: int, run: Callable[[int], None], temporary: Path) -> list[dict[str, Any]]:
    """Run n times; return what was held after a twentieth, half way and at the end."""
    found: list[dict[str, int]] = []
    looks = {max(n // 20, 1): "start", n // 2: "middle", n: "end"}
    begin = time.perf_counter()
    for k in range(n):
        run(k)
        if k + 1 in looks:
            found.append(held(temporary))
            print(f"{what} {k + 1:5d} ({looks[k + 1]}): {found[-1]}", flush=True)
    print(f"{what}: {(time.perf_counter() - begin) / n:.3f} s each")
    first, last = found[0], found[-1]
    return [
        {"case": what, "what": f"{name} at the end", "value": last[name], "unit": unit,
         "baseline": first[name], "ratio": first[name] / last[name] if last[name] else 1.0}
        for name, unit in (("rss_bytes", "B"), ("files", "1"), ("threads", "1"),
                           ("temporary_files", "1"))
    ]  # fmt: skip


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Give a folder for everything temporary of this process, and none else's."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        place = Path(folder) / "tmp"
        place.mkdir()
        os.environ["TMPDIR"] = str(place)
        tempfile.tempdir = None
        os.environ.setdefault("PINGBRIDGE_CACHE_DIR", str(Path(folder) / "cache"))
        yield Path(folder)


def main() -> int:
    """Soak this process; the exit code is 1 if something has grown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="40 runs and 4 maps")
    parser.add_argument("--json", type=Path, help="write the numbers to a file")
    given = parser.parse_args()
    n_runs, n_maps = (40, 4) if given.quick else (2000, 200)
    with own_folder() as folder:
        from sim_brian.engine.toolchain import missing_for

        compiler = missing_for("cpp") is None
        rows = soak("run", n_runs, lambda k: simulate(k, folder, compiler=compiler), folder / "tmp")
        rows += soak("map", n_maps, lambda k: map_in_parallel(), folder / "tmp")
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1))
    grown = [
        row for row in rows
        if row["value"] > row["baseline"] * (MOST_GROWTH if row["unit"] == "B" else 1.0)
    ]  # fmt: skip
    for row in grown:
        print(f"grown: {row['case']}, {row['what']}: {row['baseline']} -> {row['value']}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
