"""Recipes and configurations by name: ``demo`` and ``ping/demo`` are found from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.home import CONFIGS
from bridge.runs.options import Options, option
from bridge.runs.parameter import nearest

SYSTEMS = ("ping", "rate", "lateral_line", "clustered")
"""The folders of what ships. Others that lie beside them in an environment are somebody else's."""

RECIPE_HELP = (
    "read settings from a recipe: a YAML file whose keys are flag names, or the name of one that "
    "ships (`pingbridge recipes`)"
)
"""Of ``--config``, wherever it reads flags."""

_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class RecipeOptions(Options):
    """Recipe."""

    name: str | None = option(
        None, "print this recipe, as --config would find it", positional=True,
        shown_default="list all that ship",
    )  # fmt: skip


RECIPES_GROUPS = (RecipeOptions,)
"""Groups of `recipes`."""


def shipped_recipes() -> dict[str, Path]:
    """Return every file that ships by its name, ``ping/demo``: system by system, in ABC order."""
    return {
        name: CONFIGS / f"{name}.yaml"
        for system in SYSTEMS
        for name in sorted(map(_name, (CONFIGS / system).rglob("*.yaml")))
    }


def find_recipe(wanted: str | Path) -> Path:
    """Return the file that a path, or the name of a shipped recipe, means.

    A file that is there wins, with or without its ending. A name is a path inside the shipped
    ``configs/`` or the end of one, with or without ending and ``configs/``.

    Parameters
    ----------
    wanted : str or Path
        ``mine.yaml``, ``demo``, ``ping/demo``, ``ping/demo.yaml`` or ``configs/ping/demo.yaml``.

    Raises
    ------
    FileNotFoundError
        If there is no such file; names the shipped recipe that is nearest.
    ValueError
        If several shipped recipes have the name.
    """
    path = Path(wanted)
    for choice in (path, *(path.with_name(path.name + ending) for ending in _ENDINGS if path.name)):
        if choice.is_file():
            return choice
    shipped = shipped_recipes()
    name = _plain(path)
    if name in shipped:
        return shipped[name]
    candidates = [one for one in shipped if name and one.endswith(f"/{name}")]
    if len(candidates) > 1:
        raise ValueError(
            f"recipe {wanted}: several ship under that name; use {' or '.join(candidates)}"
        )
    if candidates:
        return shipped[candidates[0]]
    raise FileNotFoundError(
        f"recipe {wanted}: no such file, and none of that name ships{_hint(name, shipped)}; "
        "`pingbridge recipes` lists those that do"
    )


def _name(path: Path) -> str:
    return path.relative_to(CONFIGS).with_suffix("").as_posix()


def _plain(path: Path) -> str:
    """Return what was typed as the name of a recipe is written; "" if it can't be one."""
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    if not parts or path.is_absolute() or ".." in parts:
        return ""
    name = "/".join(parts)
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name.replace("-", "_")


def _hint(name: str, shipped: dict[str, Path]) -> str:
    spellings = {one.rpartition("/")[2]: one for one in shipped} | {one: one for one in shipped}
    for word in (name, name.rpartition("/")[2]):
        near = nearest(word, spellings)
        if near:
            return f" (did you mean {spellings[near]}?)"
    return ""
