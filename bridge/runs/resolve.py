"""From what was typed, a recipe and an inherited run to option groups, with the origin of each.

The later wins: default < from-dir < recipe (``--config``) < typed.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bridge.files.reading import read_bytes
from bridge.formats.yaml_text import read_yaml
from bridge.home import CONFIGS
from bridge.runs.inherit import InheritedRun
from bridge.runs.options import (
    Group,
    Options,
    OptionsT,
    by_key,
    split_given,
    to_json,
)
from bridge.runs.recipes import find_recipe

Origin = Literal["default", "from-dir", "config", "typed"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe file, read.

    Attributes
    ----------
    path : Path
    command : str or None
        The command the recipe says it is for.
    values : dict
        Raw values by key, ``_`` for ``-``.
    """

    path: Path
    command: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Option groups, and where each value came from.

    Attributes
    ----------
    options : dict
        Instance of every group, by its class.
    origin : dict
        ``"default"``, ``"from-dir"``, ``"config"`` or ``"typed"`` for every key.
    unused : tuple of str
        Inherited keys for which the running command has no option.
    """

    options: Mapping[Group, Options]
    origin: Mapping[str, Origin]
    unused: tuple[str, ...] = field(default=())

    def __getitem__(self, group: type[OptionsT]) -> OptionsT:
        """Return the instance of a group."""
        found = self.options[group]
        assert isinstance(found, group)
        return found

    @property
    def explicit(self) -> frozenset[str]:
        """Return the keys that somebody set: all whose origin is not the default."""
        return frozenset(key for key, origin in self.origin.items() if origin != "default")

    def to_json(self) -> dict[str, Any]:
        """Return all groups as one flat mapping, as config.json has it."""
        return {k: v for options in self.options.values() for k, v in to_json(options).items()}


def resolve(
    groups: Iterable[Group],
    typed: Mapping[str, Any],
    recipe: Recipe | Mapping[str, Any] | None = None,
    inherited: InheritedRun | Mapping[str, Any] | None = None,
) -> Resolved:
    """Return the options of a run: default < from-dir < recipe < typed.

    Parameters
    ----------
    groups : iterable of Options subclasses
        The groups of the running command.
    typed : mapping
        What was typed, by key: the parsed namespace without defaults.
    recipe : Recipe or mapping, optional
        From :func:`read_recipe`.
    inherited : InheritedRun or mapping, optional
        From :func:`bridge.runs.inherit.read_run`. Its keys that this command lacks are set aside
        in `unused`: a training run knows more options than its evaluation.

    Raises
    ------
    TypeError, ValueError
        For an unknown key (names the nearest) or a value that is not legal (names its source).
    """
    groups = list(groups)
    known = by_key(groups)
    if isinstance(inherited, InheritedRun):
        inherited_name, handed_on = f"--from-dir {inherited.path}", inherited.values
    else:
        inherited_name, handed_on = "--from-dir", inherited or {}
    if isinstance(recipe, Recipe):
        recipe_name, written = f"recipe {recipe.path}", recipe.values
        if "config" in typed:
            typed = {**typed, "config": recipe.path}  # the file that was read, not a name of it
    else:
        recipe_name, written = "recipe", recipe or {}
    layers: list[tuple[Origin, str, Mapping[str, Any]]] = [
        ("from-dir", inherited_name, {k: v for k, v in handed_on.items() if k in known}),
        ("config", recipe_name, written),
        ("typed", "", typed),
    ]
    chosen: dict[str, tuple[Any, str]] = {}
    origin: dict[str, Origin] = dict.fromkeys(known, "default")
    for layer, source, values in layers:
        for key, raw in _flat(values, groups, source).items():
            chosen[key] = (raw, source)
            origin[key] = layer
    fields_of: dict[Group, dict[str, Any]] = {group: {} for group in groups}
    for key, (raw, source) in chosen.items():
        group, parameter = known[key]
        with _named(source):
            if origin[key] != "typed":
                parameter.refuse_from_file(raw)
            fields_of[group][parameter.name] = parameter.read(raw)
    options = {group: group(**values) for group, values in fields_of.items()}
    unused = tuple(key for key in handed_on if key not in known)
    return Resolved(options=options, origin=origin, unused=unused)


def read_recipe(
    path: str | Path, groups: Iterable[Group] | None = None, *, command: str | None = None
) -> Recipe:
    """Return a recipe: a YAML mapping whose keys are flags, with ``-`` or ``_``.

    Parameters
    ----------
    path : path
        A file, or the name of a shipped recipe (:func:`bridge.runs.recipes.find_recipe`).
    groups : iterable of Options subclasses, optional
        If given, keys are checked here already; :func:`resolve` checks them in any case.
    command : str, optional
        The running command; a recipe with a ``command:`` for another one is refused.

    Raises
    ------
    FileNotFoundError
        If there is no such file or recipe.
    ValueError
        For broken YAML (with the line), keys twice, unknown keys (names the nearest flag), a
        recipe for another command, a name that several shipped recipes have.
    """
    typed, path = path, find_recipe(path)
    name = f"recipe {path}"
    loaded = _load_yaml(path, name)
    values: dict[str, Any] = {}
    for word, value in loaded.items():
        if not isinstance(word, str):
            raise ValueError(f"{name}: the key {word!r} must be the name of a flag")
        key = word.replace("-", "_")
        if key in values:
            raise ValueError(f"{name}: {word} is given twice, with - and with _; keep one")
        if isinstance(value, datetime.date):
            value = str(value)
        values[key] = value
    meant = values.pop("command", None)
    if meant is not None and not isinstance(meant, str):
        raise ValueError(f"{name}: command: must name one command, not {meant!r}")
    if meant is not None and command is not None and meant != command:
        own = "" if path.is_relative_to(CONFIGS) else ", or take its command: line out"
        raise ValueError(
            f"{name} is for the command {meant!r}, not {command!r}; "
            f"type {meant} --config {typed}{own}"
        )
    if groups is not None:
        values = _flat(values, list(groups), name)
    return Recipe(path=path, command=meant, values=values)


def _flat(values: Mapping[str, Any], groups: list[Group], source: str) -> dict[str, Any]:
    """Return the values under their keys; unknown keys are an error naming the nearest flag."""
    for word, value in values.items():
        if isinstance(value, Mapping):
            raise ValueError(f"{source}: {word} must be a value, not a mapping; keys are flags")
    with _named(source):
        split = split_given(values, groups)
    return {key: value for given in split.values() for key, value in given.items()}


@contextlib.contextmanager
def _named(source: str) -> Iterator[None]:
    """Put the source of a value before the message of what is wrong with it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not source:
            raise
        raise type(error)(f"{source}: {error}") from None


def _load_yaml(path: Path, name: str) -> dict[Any, Any]:
    loaded = read_yaml(read_bytes(path), name)
    if loaded is None:
        raise ValueError(f"{name} is empty; write one 'flag: value' per line")
    if not isinstance(loaded, dict):
        raise ValueError(f"{name} must be a mapping, one 'flag: value' per line")
    return loaded
