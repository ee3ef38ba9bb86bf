"""The source files of a generated program put together into a few.

Brian2 and brian2cuda write one file for each thing a network does, thirty for a small one, and
each reads the same headers: nearly all of the compiler's time goes into those.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

_INCLUDE = re.compile(r"(?m)^[ \t]*#[ \t]*include.*\n")
_MACRO = re.compile(r"(?m)^[ \t]*#[ \t]*define[ \t]+(\w+)")
_HARMLESS = re.compile(r"_brian_\w+|COPY_HOST_ARRAY_TO_DEVICE_SYMBOL")
"""Macros that every file defines alike."""


def merge(
    project: Path,
    host_files: Sequence[str],
    *,
    into: str,
    n_units: int,
    prefix: str = "",
    looped: Collection[str] | None = None,
) -> None:
    """Put the source files that a project's makefile lists together into a few.

    Each file of ``code_objects`` gets a namespace of its own, since all of them define the same
    helpers; what its header declares is passed on from outside. Files with macros of their own
    (random numbers) stay as they are. How many files come out does not depend on the machine: the
    same network has the same code everywhere.

    Parameters
    ----------
    project : Path
    host_files : sequence of str
        Files that can follow one another, in this order.
    into : str
        Name of the file that they become.
    n_units : int
        Files into which the code objects go: enough for parallel compilation to pay.
    prefix : str
        Files whose names differ by it share a namespace; the ones with it come last.
    looped : collection of str, optional
        Functions that the time loop calls. Code objects without any run once: they go into the
        host's file, which is then compiled with less optimisation: the same arithmetic for a third
        of the compiler's time.

    Source: measured, benchmarks/simulate.py (C++), docs/cuda.md.
    """
    makefile = project / "makefile"
    text = makefile.read_text()
    listed = re.search(r"(?m)^SRCS = (.*)$", text)
    if listed is None:
        return
    sources = listed[1].split()
    alike = [s for s in sources if s.startswith("code_objects/") and _can_merge(project / s)]
    groups: dict[str, list[str]] = {}
    for name in sorted(alike, key=lambda name: (bool(prefix) and f"/{prefix}" in name, name)):
        groups.setdefault(Path(name).stem.removeprefix(prefix), []).append(name)
    once = {} if looped is None else {
        space: names
        for space, names in groups.items()
        if not any(set(_declared(project / name)) & set(looped) for name in names)
    }  # fmt: skip
    often = [(space, names) for space, names in groups.items() if space not in once]
    made = []
    for k in range(n_units):
        unit = f"code_objects/unit{k}{Path(into).suffix}"
        own = dict(often[k::n_units])
        if own:
            (project / unit).write_text(_unit(project, own))
            made.append(unit)
    host = [name for name in host_files if name in sources]
    parts = [_unit(project, once)] if once else []
    together = "\n".join([*parts, *((project / name).read_text() for name in host)])
    for name in [*alike, *host]:
        (project / name).unlink()
    (project / into).write_text(together)
    rest = [s for s in sources if s not in alike and s not in host]
    # Of a function that several files hold, the linker takes the first: not the host's.
    text = text.replace(listed[0], f"SRCS = {' '.join([*rest, *made, into])}")
    if looped is not None:
        text += f"\n\n{Path(into).stem}.o: OPTIMISATIONS += -Og\n"
    makefile.write_text(text)


def _declared(source: Path) -> list[str]:
    """Return the functions of a code object that others call."""
    return re.findall(r"void (\w+)\(\);", source.with_suffix(".h").read_text())


def _can_merge(source: Path) -> bool:
    return all(_HARMLESS.fullmatch(name) for name in _MACRO.findall(source.read_text()))


def _unit(project: Path, groups: Mapping[str, Sequence[str]]) -> str:
    includes: dict[str, None] = {}
    bodies = []
    for space, name in ((space, name) for space, names in groups.items() for name in names):
        path = project / name
        text = path.read_text()
        includes |= dict.fromkeys(line.strip() for line in _INCLUDE.findall(text))
        body = _INCLUDE.sub("", text)
        for call in _declared(path):
            # Compiled once, as part of the function that passes it on.
            body = re.sub(rf"(?m)^void {call}\(\)", f"static void {call}()", body)
        bodies.append(f"namespace in_{space} {{\n{body}\n}}\n")
        bodies += [f"void {call}() {{ in_{space}::{call}(); }}\n" for call in _declared(path)]
    return "\n".join([*includes, "", *bodies])
