"""One option as everything derived from it sees it: its names, its type, its legal values."""

from __future__ import annotations

import difflib
import math
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, NoReturn

KINDS = (bool, int, float, str, Path)
_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
_NOUNS = {int: "a whole number", float: "a number", str: "text", Path: "a path", bool: "on or off"}


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What :func:`bridge.runs.options.option` was told; see there."""

    help: str
    unit: str | None = None
    flag: str | None = None
    key: str | None = None
    choices: tuple[Any, ...] | None = None
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None
    nargs: int | str | tuple[int, int] | None = None
    metavar: str | tuple[str, ...] | None = None
    shown_default: str | None = None
    aliases: tuple[str, ...] = ()
    positional: bool = False
    typed_only: bool | str = False

    @property
    def bounds(self) -> str:
        """Return the legal range in words, ``"> 0 and <= 1"``; empty without bounds."""
        signs = ((">", self.above), (">=", self.at_least), ("<", self.below), ("<=", self.at_most))
        return " and ".join(f"{sign} {show(bound)}" for sign, bound in signs if bound is not None)

    def within_bounds(self, value: float) -> bool:
        """Return whether a number lies in the legal range."""
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """An option of a group: the declaration joined with the field's name, type and default.

    Attributes
    ----------
    name : str
        Field of the dataclass (``tau_gaba_ms``).
    flag : str
        Published spelling without dashes (``tau-gaba``).
    key : str
        Name in config.json, recipes and the namespace (``tau_gaba``).
    kind : type
        ``bool``, ``int``, ``float``, ``str`` or ``Path``; of each element if `many`.
    many, optional : bool
        The value is a tuple; the value may be None.
    least, most : int, int or None
        How many values a tuple may have.
    """

    name: str
    flag: str
    key: str
    kind: type
    many: bool
    optional: bool
    least: int
    most: int | None
    choices: tuple[Any, ...] | None
    default: Any
    declared: Declaration

    def check(self, value: Any) -> Any:
        """Return `value` as the field holds it; strict, for values given in Python.

        Raises
        ------
        TypeError, ValueError
            Naming the flag, the value and what is legal.
        """
        return self._convert(value, from_file=False)

    def read(self, raw: Any) -> Any:
        """Return the value that `raw`, as YAML or JSON deliver it, stands for; checked.

        YAML 1.1 reads ``1e-3`` as text and ``off`` as False; a scalar for a list becomes a tuple
        of one. Raises as :meth:`check` does.
        """
        if self.many and raw is not None and not isinstance(raw, list | tuple):
            raw = (raw,)
        return self._convert(raw, from_file=True)

    def refuse_from_file(self, raw: Any) -> None:
        """Refuse a value that no file may set, since it decides which code runs.

        Raises
        ------
        ValueError
            Naming the flag to type.
        """
        mark = self.declared.typed_only
        if mark is True or (mark and isinstance(raw, str) and mark in raw):
            self._fail(raw, "be typed: which code runs is not for a file to say")

    def read_text(self, text: str) -> Any:
        """Return the single value (element, if `many`) typed as `text`; bounds are not checked."""
        return self._scalar(text, text, from_file=True)

    def show(self, value: Any) -> str:
        """Return a value as one would type it."""
        return show(value)

    def _convert(self, value: Any, *, from_file: bool) -> Any:
        if value is None:
            if self.optional:
                return None
            self._fail(value, f"be {self._noun()}, not left empty", TypeError)
        if not self.many:
            converted = self._scalar(value, value, from_file=from_file)
            self._check_bounds((converted,), value)
            return converted
        if not isinstance(value, list | tuple):
            self._fail(value, "be a list or tuple of values", TypeError)
        elements = tuple(self._scalar(one, value, from_file=from_file) for one in value)
        if len(elements) < self.least or (self.most is not None and len(elements) > self.most):
            self._fail(value, f"have {self.count}")
        self._check_bounds(elements, value)
        return elements

    @property
    def count(self) -> str:
        """Return how many values are legal, in words."""
        if self.most is None:
            return f"{self.least} or more values"
        if self.least == self.most:
            return f"{self.least} value{'s' if self.least != 1 else ''}"
        return f"{self.least} to {self.most} values"

    def _scalar(self, value: Any, whole: Any, *, from_file: bool) -> Any:
        """Convert one value; `whole` is what the message shows."""
        converted: Any = None
        if self.kind is bool:
            converted = self._bool(value, from_file)
        elif self.kind is int:
            converted = self._int(value, whole, from_file)
        elif self.kind is float:
            converted = self._float(value, whole, from_file)
        elif self.kind is Path:
            converted = self._path(value, whole)
        else:
            converted = self._str(value, from_file)
        if converted is None:
            hint = ""
            if self.kind is str and isinstance(value, bool | int | float):
                hint = "; write it in quotes"
            error = ValueError if from_file and isinstance(value, str) else TypeError
            self._fail(whole, f"be {self._noun()}{hint}", error)
        if self.choices is not None and converted not in self.choices:
            near = nearest(str(converted), map(str, self.choices))
            hint = f"; did you mean {near}?" if near else ""
            self._fail(whole, f"be {self._noun()}{hint}")
        return converted

    def _bool(self, value: Any, from_file: bool) -> bool | None:
        if isinstance(value, bool):
            return value
        return _WORDS.get(value.lower()) if from_file and isinstance(value, str) else None

    def _int(self, value: Any, whole: Any, from_file: bool) -> int | None:
        if isinstance(value, Integral) and not isinstance(value, bool):
            return int(value)
        if from_file and isinstance(value, str) and is_whole(value):
            return int(value)
        number = self._float(value, whole, from_file)
        if number is not None and number.is_integer() and abs(number) < 2**53:
            self._fail(whole, f"be {self._noun()}; write {int(number)}")
        return None

    def _float(self, value: Any, whole: Any, from_file: bool) -> float | None:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number and not (from_file and isinstance(value, str) and _is_plain(value)):
            return None
        try:
            number = float(value)
        except ValueError:
            return None
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self._fail(whole, "be finite")
        return number

    def _str(self, value: Any, from_file: bool) -> str | None:
        if isinstance(value, str):
            return value
        if from_file and isinstance(value, bool):
            # YAML has turned the word into a truth value; a choice tells which word it was.
            words = [word for word, meaning in _WORDS.items() if meaning == value]
            meant = [word for word in words if word in (self.choices or ())]
            return meant[0] if len(meant) == 1 else None
        return None

    def _path(self, value: Any, whole: Any) -> Path | None:
        if isinstance(value, str):
            if not value:
                self._fail(whole, "be a path, not empty text")
            if "\0" in value:
                self._fail(whole, "be a path, without a null byte")
            value = Path(value)
        if not isinstance(value, Path):
            return None
        # A file does not pass through the shell, which would have replaced the tilde.
        return value.expanduser() if value.parts[:1] == ("~",) else value

    def _check_bounds(self, elements: Iterable[Any], value: Any) -> None:
        bounds = self.declared.bounds
        if bounds and not all(self.declared.within_bounds(one) for one in elements):
            self._fail(value, f"{'all ' if self.many else ''}be {bounds}")

    def _noun(self) -> str:
        if self.choices is not None:
            noun = "one of " + ", ".join(map(str, self.choices))
        else:
            noun = " ".join(filter(None, (_NOUNS[self.kind], self.declared.bounds)))
        return f"a list, each {noun}" if self.many else noun

    def _fail(self, value: Any, must: str, error: type[Exception] = ValueError) -> NoReturn:
        unit = f" {self.declared.unit}" if self.declared.unit and _is_number(value) else ""
        shown = show(value) if not isinstance(value, str) else repr(value)
        raise error(f"--{self.flag} = {shown}{unit} must {must}")


def make_parameter(name: str, hint: Any, default: Any, declared: Declaration) -> Parameter:
    """Return the parameter of a dataclass field.

    Parameters
    ----------
    name : str
        Name of the field.
    hint : type
        Its resolved annotation.
    default : object
        Its default.
    declared : Declaration

    Raises
    ------
    TypeError
        If the annotation is none that options support: a mistake in the program.
    """
    hint, optional = _without_none(hint)
    many, size = False, None
    if typing.get_origin(hint) is tuple:
        many, arguments = True, typing.get_args(hint)
        hint = arguments[0]
        size = None if arguments[-1] is Ellipsis else len(arguments)
        if size is not None and len(set(arguments)) > 1:
            raise TypeError(f"option {name}: the elements of a tuple must have one type")
    choices = declared.choices
    if typing.get_origin(hint) is Literal:
        choices = choices if choices is not None else typing.get_args(hint)
        hint = type(typing.get_args(hint)[0])
    if hint not in KINDS:
        raise TypeError(f"option {name}: {hint!r} is no type an option can have")
    if many and hint is bool:
        raise TypeError(f"option {name}: a list of truth values cannot be typed as a flag")
    if declared.bounds and hint not in (int, float):
        raise TypeError(f"option {name}: bounds are for numbers")
    flag = declared.flag or name.replace("_", "-")
    least, most = _count(name, declared.nargs if size is None else size, many, default)
    return Parameter(
        name=name,
        flag=flag,
        key=declared.key or flag.replace("-", "_"),
        kind=hint,
        many=many,
        optional=optional,
        least=least,
        most=most,
        choices=choices,
        default=default,
        declared=declared,
    )


def is_whole(text: str) -> bool:
    """Return whether a text is a whole number in digits 0 to 9, as `int` reads it.

    Longer than 4300 digits is none: `int` refuses it. So is what Python also reads, ``1_0`` and
    the digits of other scripts: whoever types them means something else more often than not.
    """
    return re.fullmatch(r"\s*[+-]?[0-9]{1,4300}\s*", text) is not None


def number_of(text: str) -> int | float:
    """Return the number that a text is, whole or not; digits as in :func:`is_whole`.

    Raises
    ------
    ValueError
        If it is none.
    """
    if is_whole(text):
        return int(text)
    if not _is_plain(text):
        raise ValueError(f"{text!r} is no number in digits 0 to 9")
    return float(text)


def _is_plain(text: str) -> bool:
    return text.isascii() and "_" not in text


def nearest(word: str, legal: Iterable[str]) -> str | None:
    """Return the legal spelling closest to `word`, or None if none is close."""
    found = difflib.get_close_matches(word, list(legal), n=1, cutoff=0.6)
    return found[0] if found else None


def show(value: Any) -> str:
    """Return a value as one would type it: ``0.3 0.06``, ``on``, ``9``."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    if isinstance(value, list | tuple):
        return " ".join(show(one) for one in value) if value else "an empty list"
    return str(value)


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    members = [member for member in typing.get_args(hint) if member is not types.NoneType]
    if len(members) != 1:
        raise TypeError(f"{hint!r}: an option has one type, or that type and None")
    return members[0], True


def _count(
    name: str, nargs: int | str | tuple[int, int] | None, many: bool, default: Any
) -> tuple[int, int | None]:
    """Return the least and the largest number of values."""
    if not many:
        if nargs is not None:
            raise TypeError(f"option {name}: nargs is for tuples")
        return 1, 1
    if isinstance(nargs, tuple):
        return nargs
    if isinstance(nargs, int):
        return nargs, nargs
    if nargs not in (None, "+", "*"):
        raise TypeError(f"option {name}: nargs = {nargs!r} must be a number, (least, most), + or *")
    return (0 if nargs == "*" or default == () else 1), None


def _is_number(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else (value,)
    return bool(values) and all(isinstance(v, Real) and not isinstance(v, bool) for v in values)
