"""Option groups: the dataclasses from which flags, help, config.json and recipes are derived.

A group states each option once::

    @dataclass(frozen=True, kw_only=True)
    class SynapseOptions(Options):
        \"\"\"Synaptic time constants.\"\"\"

        tau_gaba_ms: float = option(9.0, "GABA decay", unit="ms", flag="tau-gaba", above=0)

Its *flag* is ``--tau-gaba``, its *key* (config.json, recipes, the parsed namespace) ``tau_gaba``,
its *field* ``tau_gaba_ms``.
"""

from __future__ import annotations

import argparse
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from bridge.runs.parameter import Declaration, Parameter, make_parameter, nearest, show

RESERVED_KEYS = frozenset({"mode", "provenance", "command"})
"""Keys that config.json and recipes use for themselves."""

_METADATA = "option"
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


def option(
    default: Any,
    help: str,
    *,
    unit: str | None = None,
    flag: str | None = None,
    key: str | None = None,
    choices: Iterable[Any] | None = None,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    nargs: int | str | tuple[int, int] | None = None,
    metavar: str | tuple[str, ...] | None = None,
    shown_default: str | None = None,
    aliases: Iterable[str] = (),
    positional: bool = False,
    typed_only: bool | str = False,
) -> Any:
    """Return a dataclass field that declares an option.

    Parameters
    ----------
    default : object
        Its default; checked like any other value.
    help : str
        What it does, without unit and default: those are added.
    unit : str, optional
        Unit of the number, ``"ms"``.
    flag : str, optional
        Published spelling without dashes; otherwise the field's name with ``-`` for ``_``.
    key : str, optional
        Name in config.json and recipes; otherwise the flag with ``_`` for ``-``.
    choices : iterable, optional
        Legal values; a ``Literal`` annotation says the same.
    above, at_least, at_most, below : float, optional
        Bounds: ``>``, ``>=``, ``<=``, ``<``. Of every element of a tuple.
    nargs : int, (int, int), "+" or "*", optional
        Number of values of a tuple: exact, from-to, one or more (the default), any.
    metavar : str, optional
        Placeholder in the help.
    shown_default : str, optional
        Words for the default where None is worked out later ("by dataset").
    aliases : iterable of str, optional
        Further spellings of the flag, without dashes.
    positional : bool
        Typed as a bare word, which may be left out, instead of after a flag.
    typed_only : bool or str
        It decides which code runs, so no recipe and no earlier run can set it: True, or the mark
        (``:`` of ``module:Class``) of those values that do.
    """
    declared = Declaration(
        help=help,
        unit=unit,
        flag=flag,
        key=key,
        choices=None if choices is None else tuple(choices),
        above=above,
        at_least=at_least,
        at_most=at_most,
        below=below,
        nargs=nargs,
        metavar=metavar,
        shown_default=shown_default,
        aliases=tuple(aliases),
        positional=positional,
        typed_only=typed_only,
    )
    return field(default=default, metadata={_METADATA: declared})


@dataclass(frozen=True, kw_only=True)
class Options:
    """A group of options; subclass it as a frozen, keyword-only dataclass."""

    def __post_init__(self) -> None:
        """Check and normalise every field.

        Raises
        ------
        TypeError, ValueError
            Naming the flag, the value given and the legal ones.
        """
        for parameter in parameters(type(self)):
            checked = parameter.check(getattr(self, parameter.name))
            object.__setattr__(self, parameter.name, checked)


Group = type[Options]
OptionsT = TypeVar("OptionsT", bound=Options)


_parameters: dict[Group, tuple[Parameter, ...]] = {}  # by group, worked out once


def parameters(group: Group) -> tuple[Parameter, ...]:
    """Return the parameters of a group, in the order of its fields.

    Raises
    ------
    TypeError
        If the group is declared wrongly: a mistake in the program.
    """
    if group in _parameters:
        return _parameters[group]
    if "__dataclass_fields__" not in vars(group):
        raise TypeError(f"{group.__name__} needs @dataclass(frozen=True, kw_only=True)")
    hints = typing.get_type_hints(group)
    found: dict[str, Parameter] = {}
    for one in fields(group):
        declared = one.metadata.get(_METADATA)
        if declared is None or one.default is MISSING:
            raise TypeError(f"{group.__name__}.{one.name} must be declared with option(...)")
        parameter = make_parameter(one.name, hints[one.name], one.default, declared)
        if parameter.key in found or parameter.key in RESERVED_KEYS:
            raise TypeError(f"{group.__name__}.{one.name}: the key {parameter.key!r} is taken")
        found[parameter.key] = parameter
    _parameters[group] = tuple(found.values())
    return _parameters[group]


def by_key(groups: Iterable[Group]) -> dict[str, tuple[Group, Parameter]]:
    """Return group and parameter of every key.

    Raises
    ------
    TypeError
        If two groups declare the same key: a mistake in the program.
    """
    found: dict[str, tuple[Group, Parameter]] = {}
    for group in groups:
        for parameter in parameters(group):
            if parameter.key in found:
                other = found[parameter.key][0].__name__
                raise TypeError(f"{group.__name__} and {other} both declare --{parameter.flag}")
            found[parameter.key] = (group, parameter)
    return found


def find_key(word: str, known: Mapping[str, tuple[Group, Parameter]]) -> str:
    """Return the key that `word`, written with ``-`` or ``_``, means.

    Raises
    ------
    ValueError
        If there is none; names the nearest.
    """
    key = str(word).replace("-", "_")
    if key in known:
        return key
    by_flag = {
        spelling.replace("-", "_"): k
        for k, (_, p) in known.items()
        for spelling in (p.flag, *p.declared.aliases)
    }
    if key in by_flag:
        return by_flag[key]
    # The field's name, unit included, is the likeliest slip: it is what one reads in the source.
    spellings = {**by_flag, **{p.name: k for k, (_, p) in known.items()}, **{k: k for k in known}}
    near = nearest(key, spellings)
    if near:
        hint = f"did you mean {spellings[near]}?"
    else:
        hint = "see --help for the flags; a key is a flag with _ for -"
    raise ValueError(f"unknown key {str(word)!r}; {hint}")


def split_given(given: Mapping[str, Any], groups: Iterable[Group]) -> dict[Group, dict[str, Any]]:
    """Return `given` sorted by the group that declares each key; values untouched.

    Raises
    ------
    ValueError
        For a key no group declares (names the nearest), or one given in two spellings.
    """
    groups = list(groups)
    known = by_key(groups)
    split: dict[Group, dict[str, Any]] = {group: {} for group in groups}
    for word, value in given.items():
        key = find_key(word, known)
        values = split[known[key][0]]
        if key in values:
            raise ValueError(f"{key} is given twice, with - and with _; keep one")
        values[key] = value
    return split


def to_json(options: Options) -> dict[str, Any]:
    """Return the options as JSON has them: published keys, lists for tuples, text for paths.

    A None that is the default is left out.
    """
    found: dict[str, Any] = {}
    for parameter in parameters(type(options)):
        value = getattr(options, parameter.name)
        if value is None and parameter.default is None:
            continue
        elements = value if isinstance(value, tuple) else (value,)
        plain = [str(one) if isinstance(one, Path) else one for one in elements]
        found[parameter.key] = plain if isinstance(value, tuple) else plain[0]
    return found


def from_json(cls: type[OptionsT], mapping: Mapping[str, Any]) -> OptionsT:
    """Return the options of a mapping with published keys, as JSON or YAML deliver it.

    Raises
    ------
    TypeError, ValueError
        For a value that is not legal, or a key the group does not declare (names the nearest).
    """
    given = split_given(mapping, [cls])[cls]
    known = {parameter.key: parameter for parameter in parameters(cls)}
    return cls(**{known[key].name: known[key].read(raw) for key, raw in given.items()})


def add_options(
    parser: argparse.ArgumentParser, group_class: Group, *, suppress: bool = True
) -> None:
    """Add a titled group with one argument per option to a parser.

    Parameters
    ----------
    parser : ArgumentParser
    group_class : subclass of Options
        The first line of its docstring is the title.
    suppress : bool
        Leave out of the namespace what was not typed; otherwise it holds the default.
    """
    group = parser.add_argument_group(_title(group_class))
    for parameter in parameters(group_class):
        settings: dict[str, Any] = {
            "dest": parameter.key,
            "default": argparse.SUPPRESS if suppress else parameter.default,
            "help": _help(parameter).replace("%", "%%"),
        }
        if parameter.kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        else:
            settings["type"] = _converter(parameter)
            settings["metavar"] = _metavar(parameter)
        if parameter.many:
            exact = parameter.least if parameter.least == parameter.most else None
            settings["nargs"] = exact or ("+" if parameter.least else "*")
        if parameter.declared.positional:
            settings["nargs"] = "?"
            settings["metavar"] = settings.pop("dest").upper()
            group.add_argument(parameter.key, **settings)
            continue
        spellings = (parameter.flag, *parameter.declared.aliases)
        group.add_argument(*(f"--{one}" for one in spellings), **settings)


def parent_parser(*groups: Group) -> argparse.ArgumentParser:
    """Return a parser for ``parents=[...]``: its namespace holds exactly what was typed."""
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    for group in groups:
        add_options(parser, group)
    return parser


def table(*groups: Group) -> str:
    """Return a markdown table of the groups' options: flag, default, unit, help."""
    rows = [("flag", "default", "unit", "help"), ("---", "---", "---", "---")]
    for _, parameter in by_key(groups).values():
        flag = ", ".join(f"`--{one}`" for one in (parameter.flag, *parameter.declared.aliases))
        if parameter.kind is bool:
            flag += f", `--no-{parameter.flag}`"
        if parameter.declared.positional:
            flag = f"`{parameter.key.upper()}`"
        text = parameter.declared.help
        if parameter.choices is not None:
            text += " (" + ", ".join(f"`{choice}`" for choice in parameter.choices) + ")"
        rows.append((flag, _default(parameter), parameter.declared.unit or "", text))
    lines = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join(lines) + "\n"


def _default(parameter: Parameter) -> str:
    if parameter.declared.shown_default is not None:
        return parameter.declared.shown_default
    if parameter.default is None:
        return "unset"
    return show(parameter.default) if parameter.default != () else "none"


def _help(parameter: Parameter) -> str:
    unit = f"{parameter.declared.unit}; " if parameter.declared.unit else ""
    return f"{parameter.declared.help} ({unit}default: {_default(parameter)})"


def _metavar(parameter: Parameter) -> str | tuple[str, ...]:
    given = parameter.declared.metavar
    if isinstance(given, str):
        # Brackets of one's own trip an assertion of argparse when the usage is long.
        words = tuple(re.sub(r"[][()]", "", given).split())
        return words if parameter.many and len(words) == 2 else " ".join(words)
    if given is not None:
        return given
    if parameter.choices is not None:
        return "{" + ",".join(map(str, parameter.choices)) + "}"
    return _METAVARS[parameter.kind]


def _title(group: Group) -> str:
    text = (group.__doc__ or "").strip()
    if not text or text.startswith(f"{group.__name__}("):  # what dataclass writes by itself
        return group.__name__
    return text.splitlines()[0].rstrip(".")


def _converter(parameter: Parameter) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return parameter.read_text(text)
        except (TypeError, ValueError) as error:
            # argparse puts "argument --flag: " before it; the flag is not said twice.
            reason = str(error).removeprefix(f"--{parameter.flag} = ")
            raise argparse.ArgumentTypeError(reason) from None

    return convert
