"""Generated C++ projects, put together so that they compile fast.

Brian2 writes a file for each piece of work of a step, eighty for a network of a few layers. Each
is a few lines of its own under hundreds that all have in common, and a sixth of the time goes into
a list of dependencies that nobody will ever need.
"""

from __future__ import annotations

import re
from pathlib import Path

UNITS = 4
"""Files into which the code objects go: enough for parallel compilation to pay."""

_HARMLESS = re.compile(r"_brian_\w+")
_INCLUDE = re.compile(r"(?m)^[ \t]*#[ \t]*include.*\n")
_MACRO = re.compile(r"(?m)^[ \t]*#[ \t]*define[ \t]+(\w+)")
_DECLARED = re.compile(r"void (\w+)\(\);")
_DEPENDENCIES = "$(CXX) $(CXXFLAGS) -MM $(SRCS) > make.deps"


def merge(project: Path) -> None:
    """Put the code objects of a generated project together into a few files.

    Each gets a namespace of its own, since all of them define the same helpers; the functions that
    its header declares are passed on from outside. Files with macros of their own, and projects
    whose makefile is not as expected, stay as they are.
    """
    makefile = project / "makefile"
    text = makefile.read_text()
    listed = re.search(r"(?m)^SRCS = (.*)$", text)
    if listed is None:
        return
    sources = listed[1].split()
    alike = sorted(s for s in sources if s.startswith("code_objects/") and _alike(project / s))
    made = []
    for k in range(UNITS):
        if own := alike[k::UNITS]:
            made.append(f"code_objects/unit{k}.cpp")
            (project / made[-1]).write_text(_unit(project, own))
    for name in alike:
        (project / name).unlink()
    rest = [s for s in sources if s not in alike]
    text = text.replace(listed[0], f"SRCS = {' '.join([*rest, *made])}")
    makefile.write_text(text.replace(_DEPENDENCIES, "touch make.deps"))


def _alike(source: Path) -> bool:
    return all(_HARMLESS.fullmatch(name) for name in _MACRO.findall(source.read_text()))


def _unit(project: Path, names: list[str]) -> str:
    includes: dict[str, None] = {}
    bodies = []
    for name in names:
        path = project / name
        text, space = path.read_text(), f"in_{path.stem}"
        includes |= dict.fromkeys(line.strip() for line in _INCLUDE.findall(text))
        bodies.append(f"namespace {space} {{\n{_INCLUDE.sub('', text)}\n}}\n")
        bodies += [
            f"void {call}() {{ {space}::{call}(); }}\n"
            for call in _DECLARED.findall(path.with_suffix(".h").read_text())
        ]
    return "\n".join([*includes, "", *bodies])
