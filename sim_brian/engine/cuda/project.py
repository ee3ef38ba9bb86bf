"""What is put right in the source code that brian2cuda has generated, before nvcc sees it.

Each change is made where the text is as expected and left out where it is not: a later brian2cuda
may not need it.
"""

from __future__ import annotations

import re
from pathlib import Path

from sim_brian.engine.merged_sources import merge

CLOCK = "steps"
"""Name of the clock of all networks."""

UNITS = 4
"""Files into which the code objects go: a third of the time remains (measured, docs/cuda.md)."""

_HOST_FILES = ("synapses_classes.cu", "network.cu", "rand.cu", "run.cu", "main.cu")
_END_OF_FILE_BLOCK = re.compile(r'(?<=\." << endl;\n)(\s*\}\n)')
_DUPLICATES = re.compile(
    r"// Check for occurrence of multiple source-target pairs.*?\n\}\n(?=// Check\n)", re.DOTALL
)


def adapt(
    project: Path, results: set[str], *, nvcc: str | None = None, host: str | None = None
) -> None:
    """Make a generated project compile and run as the engine expects.

    Parameters
    ----------
    project : Path
    results : set of str
        Names of the files that somebody reads.
    nvcc, host : str, optional
        Paths of the compilers: brian2cuda looks for nvcc once per process, and takes a C++
        compiler with a launcher (``CXX="ccache g++"``) for two files.
    """
    for source in sorted((project / "code_objects").glob("*.cu")):
        text = source.read_text()
        # brian2cuda takes the clock of every network for Brian2's `defaultclock`.
        new = text.replace("defaultclock.timestep[0]", f"{CLOCK}.timestep[0]")
        # Nobody reads what this finds out, in a tree with a node for each synapse: minutes and
        # gigabytes for a batch.
        new = _DUPLICATES.sub("", new)
        if new != text:
            source.write_text(new)
    write_only(project / "objects.cu", results)
    makefile = project / "makefile"
    text = makefile.read_text()
    if "-std=c++17" in text:  # nvcc takes the last standard, and complains of the first
        text = text.replace("-std=c++11 ", "", 1)
    if nvcc and host:
        text = re.sub(r"(?m)^NVCC = .*$", lambda _: f"NVCC = @{nvcc} -ccbin {host}", text, count=1)
    makefile.write_text(text)
    # What follows a run uses the kernel of what it follows.
    merge(project, _HOST_FILES, into="host.cu", n_units=UNITS, prefix="after_run_")


def write_only(source: Path, names: set[str]) -> None:
    """Take out of a generated program what copies and writes results that nobody reads.

    The twin of :func:`sim_brian.engine.standalone.write_only`: here a result is first copied from
    the device, which goes with it.
    """
    text = source.read_text()
    begin = text.find("void _write_arrays()")
    begin = text.find("\n\n", begin) + 2 if begin >= 0 else begin
    end = text.find("// Write last run info to disk", begin)
    if begin < 0 or end < 0:
        return
    pieces = _END_OF_FILE_BLOCK.split(text[begin:end])
    # A block, and the brace that closes it, in turn; then what follows the last one.
    blocks = [a + b for a, b in zip(pieces[0::2], pieces[1::2], strict=False)]
    file = re.compile(r'\.open\(results_dir \+ "([^"]+)"')
    found = [file.findall(block) for block in blocks]
    held = {name for names_of in found for name in names_of}
    if any(len(names_of) != 1 for names_of in found) or not names <= held:
        return
    kept = [block for block, (name,) in zip(blocks, found, strict=True) if name in names]
    source.write_text(text[:begin] + "".join(kept) + pieces[-1] + text[end:])
