"""What is put right in the source code that brian2cuda has generated, before nvcc sees it.

Each change is made where the text is as expected and left out where it is not: a later brian2cuda
may not need it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

CLOCK = "steps"
"""Name of the clock of all networks."""

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
    merge(project)


def write_only(source: Path, names: set[str]) -> None:
    """Take out of a generated program what copies and writes results that nobody reads.

    The twin of :func:`sim_brian.standalone.write_only`: here a result is first copied from the
    device, which goes with it.
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


UNITS = 4
"""Files into which the code objects go: enough for parallel compilation to pay."""

_HARMLESS = re.compile(r"_brian_\w+|COPY_HOST_ARRAY_TO_DEVICE_SYMBOL")
_HOST_FILES = ("synapses_classes.cu", "network.cu", "rand.cu", "run.cu", "main.cu")
_INCLUDE = re.compile(r"(?m)^[ \t]*#[ \t]*include.*\n")
_MACRO = re.compile(r"(?m)^[ \t]*#[ \t]*define[ \t]+(\w+)")


def merge(project: Path) -> None:
    """Put the source files of a generated project together into a few.

    Nearly all of the time goes into headers, which nvcc reads anew for each of more than thirty
    files: a third of it remains (measured, docs/cuda.md). Each file gets a namespace of its own,
    since all of them define the same helpers; what its header declares is passed on from outside.
    Files with macros of their own (random numbers) stay as they are.
    """
    makefile = project / "makefile"
    text = makefile.read_text()
    listed = re.search(r"(?m)^SRCS = (.*)$", text)
    if listed is None:
        return
    sources = listed[1].split()
    alike = [s for s in sources if s.startswith("code_objects/") and _can_merge(project / s)]
    groups: dict[str, list[str]] = {}  # by namespace: what follows a run uses the kernel of it
    for name in sorted(alike, key=lambda name: ("/after_run_" in name, name)):
        groups.setdefault(Path(name).stem.removeprefix("after_run_"), []).append(name)
    made = []
    for k in range(UNITS):
        unit = f"code_objects/unit{k}.cu"
        own = dict(list(groups.items())[k::UNITS])
        if own:
            (project / unit).write_text(_unit(project, own))
            made.append(unit)
    host = [name for name in _HOST_FILES if name in sources]
    (project / "host.cu").write_text("\n".join((project / name).read_text() for name in host))
    for name in [*alike, *host]:
        (project / name).unlink()
    rest = [s for s in sources if s not in alike and s not in host]
    makefile.write_text(text.replace(listed[0], f"SRCS = {' '.join([*rest, 'host.cu', *made])}"))


def _can_merge(source: Path) -> bool:
    return all(_HARMLESS.fullmatch(name) for name in _MACRO.findall(source.read_text()))


def _unit(project: Path, groups: Mapping[str, list[str]]) -> str:
    includes: dict[str, None] = {}
    bodies = []
    for space, name in ((space, name) for space, names in groups.items() for name in names):
        path = project / name
        text = path.read_text()
        includes |= dict.fromkeys(line.strip() for line in _INCLUDE.findall(text))
        declared = re.findall(r"void (\w+)\(\);", path.with_suffix(".h").read_text())
        bodies.append(f"namespace in_{space} {{\n{_INCLUDE.sub('', text)}\n}}\n")
        bodies += [f"void {call}() {{ in_{space}::{call}(); }}\n" for call in declared]
    return "\n".join([*includes, "", *bodies])
