"""What a compiled program says of its own run, and whether its results are what it says.

Brian2's programs write their results without looking whether they arrive: on a full disk, a network
that fired is read back as silent. Programs of the engine say how many steps they made and how many
bytes they wrote into each file; whoever reads a result demands that word first, so that no missing
or short file is ever taken for "no spikes".
"""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROGRESS = "pingbridge-progress"
"""Begins a line in which a program tells how far it is."""
STEPS = "pingbridge-steps"
"""Begins the line with the number of steps that were made."""
WROTE = "pingbridge-wrote"
"""Begins a line with the name of a result and the bytes that it has."""
LOST = "pingbridge-lost"
"""Begins a line with the name of a result that could not be written, its bytes, and why."""

_RESULT_CLASS = r"""
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
namespace {
// A file of results that says what it holds, and ends the program where it can't be written.
class pingbridge_result {
    std::ofstream file;
    std::string path;
    unsigned long long bytes = 0;
    int cause = 0;
    std::string name() const { return path.substr(path.find_last_of('/') + 1); }
    void look() { if (!file && !cause) cause = errno ? errno : EIO; }
public:
    void open(const std::string& where, std::ios::openmode mode) {
        path = where;
        errno = 0;
        file.open(where.c_str(), mode);
        look();
    }
    bool is_open() const { return true; }  // one that is not is complained of at the end
    void write(const char* data, std::streamsize size) {
        bytes += size;
        errno = 0;
        file.write(data, size);
        look();
    }
    void close() {}
    ~pingbridge_result() {
        errno = 0;
        file.close();
        look();
        if (cause) {
            // Not on stderr: that goes into a file on the same disk.
            std::cout << "LOST " << name() << ' ' << bytes << ' ' << std::strerror(cause)
                      << std::endl;
            std::_Exit(74);  // EX_IOERR
        }
        std::cout << "WROTE " << name() << ' ' << bytes << '\n';
    }
};
}
""".replace("LOST", LOST).replace("WROTE", WROTE)

_WATCH = r"""
#include <csignal>
#include <sys/time.h>
#include <unistd.h>
namespace {
pid_t pingbridge_parent = 0;
void pingbridge_look(int) { if (getppid() != pingbridge_parent) _exit(1); }
// End when the process that wants the results is gone, however it went.
void pingbridge_watch() {
    pingbridge_parent = getppid();
    struct sigaction action = {};
    action.sa_handler = pingbridge_look;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval each_half_second = {{0, 500000}, {0, 500000}};
    setitimer(ITIMER_REAL, &each_half_second, NULL);
}
}
"""

WATCH_PARENT = "pingbridge_watch();"
"""First statement of a program that :func:`watch_parent` has put its function into."""

_STATIC_READ = re.compile(r"(?m)^([ \t]*)(f\w+)\.read\(reinterpret_cast<char\*>\(.*\);[ \t]*$")


def watch_parent(main: Path) -> None:
    """Put the function that :data:`WATCH_PARENT` calls into a generated program's main file."""
    main.write_text(_WATCH + main.read_text())


def say_what_is_written(objects: Path, names: Collection[str]) -> None:
    """Let a generated program say what it writes into these files, and check what it reads.

    Raises
    ------
    RuntimeError
        If its source code is not as expected: nobody could tell its results from their absence.
    """
    text = objects.read_text()
    for name in names:
        opened = rf'ofstream (outfile_\w+);(\s*)\1\.open\(results_dir \+ "{re.escape(name)}"'
        text, n_found = re.subn(
            opened, lambda found: "pingbridge_result" + found[0].removeprefix("ofstream"), text
        )
        if n_found != 1:
            raise RuntimeError(
                f"the program that Brian2 generates writes {name} in a way that can't be checked; "
                "this version of Brian2 is not supported (pip install -c constraints.txt)"
            )
    text = _STATIC_READ.sub(
        r'\g<0>\n\1if (!\2) std::cout << "Error reading the initial values \2." << std::endl;',
        text,
    )
    at = text.index("void _write_arrays()")
    objects.write_text(text[:at] + _RESULT_CLASS + text[at:])


@dataclass
class Report:
    """What a program said of its run, line by line."""

    n_steps: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes written into each result."""

    def takes(self, line: str) -> bool:
        """Take a line in if it belongs to the report."""
        word, _, rest = line.rstrip("\n").partition(" ")
        try:
            if word == STEPS:
                self.n_steps = int(rest)
            elif word == WROTE:
                name, _, size = rest.rpartition(" ")
                self.sizes[name] = int(size)
            else:
                return False
        except ValueError:
            return False
        return True


def check_results(
    report: Report, results: Path, names: Mapping[str, str], *, n_steps: int, program: Path
) -> None:
    """Refuse a run whose results are not there whole.

    Parameters
    ----------
    report : Report
    results : Path
        Their folder.
    names : dict of str to str
        What each file holds, for people.
    n_steps : int
        Steps that were asked for.
    program : Path

    Raises
    ------
    RuntimeError
        If the program did not say that it made all steps and wrote all results, or if a file has
        another size than it said.
    """
    if report.n_steps is None:
        raise RuntimeError(
            f"{program} ended without a word on its results: it is damaged, or the program of "
            "something else; build it again, or clear the cache (pingbridge cache clear)"
        )
    if report.n_steps != n_steps:
        raise RuntimeError(
            f"the compiled network stopped after {report.n_steps} of {n_steps} steps; its results "
            "are not used"
        )
    for name, content in names.items():
        declared = report.sizes.get(name)
        if declared is None:
            raise RuntimeError(
                f"{program} did not say that it wrote the {content}; build it again, or clear the "
                "cache (pingbridge cache clear)"
            )
        try:
            size = (results / name).stat().st_size
        except FileNotFoundError:
            size = 0
        if size != declared:
            raise RuntimeError(
                f"of the {content}, {declared} bytes as the compiled network wrote them, {size} "
                f"are there: is the disk full, or was the folder emptied? {_room()}"
            )


def explain_loss(said: str, names: Mapping[str, str]) -> str | None:
    """Return one line for a result that a program could not write; None if it wrote them all."""
    found = re.search(rf"{LOST} (\S+) (\d+) ([^|\n]*)", said)
    if found is None:
        return None
    return (
        f"the compiled network could not write the {names.get(found[1], found[1])} "
        f"({int(found[2]) / 1e6:.3g} MB): {found[3].strip()}; {_room()}"
    )


def explain_no_room(error: OSError, what: str) -> str:
    """Return one line for files that a compiled network needs and that could not be written."""
    reason = error.strerror or f"{error}: is the disk full?"
    return f"the {what} can't be written for the compiled network ({reason}); {_room()}"


def explain_end(status: int) -> str:
    """Return what the status of a program that failed means."""
    if status >= 0:
        return f"status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hints = {
        "SIGKILL": " (out of memory?)",
        "SIGXFSZ": " (the limit on file sizes, ulimit -f)",
        "SIGXCPU": " (the limit on processor time, ulimit -t)",
    }
    return f"{name}{hints.get(name, '')}"


def _room() -> str:
    return f"make room in {tempfile.gettempdir()}, or set TMPDIR to a folder on another disk"
