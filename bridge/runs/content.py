"""Hashes of values by their content, code of users included: the same in every process.

Two jobs with the same hash may share results, so a hash rather sees too much than too little.
Numbers of numpy count as those of Python, arrays by dtype, shape and bytes, objects by their class
and state. Functions and classes of this program, of the standard library and of installed packages
count by name and version; those of a user's script, notebook or module by what they do: their
compiled code, the values of free variables, defaults, bases, and the constants, functions, classes
and modules that they refer to. The compiled code is what runs: the text of a file may have been
edited since, and comments decide nothing. Objects may say what counts of them: ``__content__``.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import hashlib
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Iterable
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from bridge.home import HOME

ROOMS = frozenset({"bridge", "cli", "pingbridge", "scope", "sim_brian", "studies", "train_torch"})
_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")
)
_SCALARS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_NAMES_OF_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
# What a class body is given by Python, or says about its text only.
_NOT_OF_A_CLASS = frozenset({
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__",
    "__annotate__", "__annotate_func__", "__annotations_cache__", "__firstlineno__",
    "__static_attributes__", "__orig_bases__", "__parameters__", "__abstractmethods__", "_abc_impl",
    "__match_args__", "__dataclass_params__",
})  # fmt: skip


class UnidentifiedError(TypeError):
    """Nothing tells whether a value is the same in another process (a lock, an open file)."""


def content_hash(value: Any) -> str:
    """Return a hash of a value by its content; of a function or class, by what it does.

    Parameters
    ----------
    value : any
        Numbers, text, paths, arrays, containers and objects of those, functions and classes.

    Raises
    ------
    UnidentifiedError
        If something in it can't be told from another of its kind.
    """
    try:
        return _Content().of(value).hex()
    except RecursionError:
        raise UnidentifiedError("it is nested too deeply") from None


def _hash(kind: str, parts: Iterable[bytes]) -> bytes:
    """Return the hash of a kind and its parts, each with its length before it."""
    digest = hashlib.sha256(kind.encode() + b"\0")
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


class _Content:
    """Hashes of values; each object is gone through once."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[bytes, Any]] = {}  # holds the object: its id stays its own
        self._open: dict[int, int] = {}

    def of(self, value: Any) -> bytes:
        if isinstance(
            value, np.bool_ | np.str_ | np.bytes_ | np.int64 | np.float64 | np.complex128
        ):
            value = value.item()
        if type(value) in _SCALARS:
            return _hash(type(value).__name__, [repr(value).encode("utf-8", "surrogatepass")])
        number = id(value)
        if number in self._open:  # it holds itself, as a function that calls itself does
            return _hash("again", [str(len(self._open) - self._open[number]).encode()])
        if number not in self._done:
            self._open[number] = len(self._open)
            try:
                self._done[number] = self._compound(value), value
            finally:
                del self._open[number]
        return self._done[number][0]

    def each(self, kind: str, values: Iterable[Any]) -> bytes:
        return _hash(kind, [self.of(one) for one in values])

    def unordered(self, kind: str, values: Iterable[Any]) -> bytes:
        return _hash(kind, sorted(self.of(one) for one in values))

    def _compound(self, value: Any) -> bytes:
        own = getattr(type(value), "__content__", None)
        if own is not None:
            return self.each("own", [type(value), own(value)])
        kind = type(value)
        if kind is np.ndarray or isinstance(value, np.generic):
            return self._array(np.asarray(value))
        if kind in (list, tuple):
            return self.each("list", value)
        if kind in (dict, types.MappingProxyType):
            return self.unordered("dict", value.items())
        if kind in (set, frozenset):
            return self.unordered("set", value)
        if isinstance(value, PurePath):
            return _hash("path", [str(value).encode("utf-8", "surrogateescape")])
        if isinstance(value, Enum):
            return self.each("enum", [kind, value.name])
        if kind is types.CodeType:
            return self._code(value)
        if kind is types.FunctionType:
            return self._function(value)
        if kind is types.MethodType:
            return self.each("method", [value.__func__, value.__self__])
        if kind in (staticmethod, classmethod):
            return self.each(kind.__name__, [value.__func__])
        if kind is property:
            return self.each("property", [value.fget, value.fset, value.fdel])
        if kind is functools.cached_property:
            return self.each("cached_property", [value.func])
        if kind is functools.partial:
            return self.each("partial", [value.func, value.args, value.keywords])
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.ModuleType):
            return self._module(value)
        if callable(value) and hasattr(value, "__wrapped__"):  # of functools.cache, for one
            return self.each("wrapped", [kind, value.__wrapped__])
        if kind in (types.MemberDescriptorType, types.GetSetDescriptorType):
            return _hash("slot", [value.__name__.encode()])
        return self._object(value)

    def _array(self, array: np.ndarray) -> bytes:
        if array.dtype.hasobject:
            return self.each("objects", [list(array.shape), array.ravel().tolist()])
        data = np.ascontiguousarray(array)
        return _hash("array", [data.dtype.str.encode(), str(array.shape).encode(), data.tobytes()])

    def _object(self, value: Any) -> bytes:
        """Return the hash of an object as it would be pickled, without the order of memory."""
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            found: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
        except UnidentifiedError:
            raise
        except Exception as error:  # whatever an object says that can't be pickled
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnidentifiedError(
                f"a {type(value).__name__} can't be identified: {reason}"
            ) from None
        if isinstance(found, str):
            return self._name(getattr(value, "__module__", None), found)
        make, arguments, state, members, items = [*found, None, None, None][:5]
        return _hash("object", [
            self.of(make), self.of(arguments), self.of(state),
            self.of(None if members is None else list(members)),
            self.unordered("items", [] if items is None else list(items)),
        ])  # fmt: skip

    # ------------------------------------------------------------------------------------ code

    def _name(self, module: str | None, name: str) -> bytes:
        top = (module or "").partition(".")[0]
        version = getattr(sys.modules.get(top), "__version__", "")
        return _hash("name", [str(one).encode() for one in (module, name, version)])

    def _function(self, function: types.FunctionType) -> bytes:
        known = not _is_of_a_user(function.__module__)
        if known and _is_named(function):
            return self._name(function.__module__, function.__qualname__)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        held = [cells, function.__defaults__, function.__kwdefaults__]
        if known:  # made by a function of a library: what it was given decides, too
            name = self._name(function.__module__, function.__qualname__)
            return _hash("made", [name, self.of(function.__code__), self.of(held)])
        more = {k: v for k, v in vars(function).items() if k != "__wrapped__"}
        return _hash("function", [
            self.of(function.__code__), self.of(held), self.of(more),
            *self._referred(function.__code__, function.__globals__),
        ])  # fmt: skip

    def _code(self, code: types.CodeType) -> bytes:
        return self.each("code", [
            sys.version_info[:2], code.co_code, code.co_consts, code.co_names, code.co_varnames,
            code.co_freevars, code.co_cellvars, code.co_argcount, code.co_posonlyargcount,
            code.co_kwonlyargcount, code.co_flags, getattr(code, "co_exceptiontable", b""),
        ])  # fmt: skip

    def _referred(self, code: types.CodeType, space: dict[str, Any]) -> list[bytes]:
        """Return the hashes of the globals and modules that a user's code names."""
        names, modules = _names_in(code)
        found = [
            _hash("global", [name.encode(), self.of(space[name])])
            for name in sorted(names) if name in space
        ]  # fmt: skip
        return [*found, *(self._imported(name) for name in sorted(modules))]

    def _imported(self, name: str) -> bytes:
        module = sys.modules.get(name)
        if module is not None:
            return self.of(module)
        top = name.partition(".")[0]
        file = _origin(top) if _is_of_a_user(top) else None
        if file is not None and Path(file).is_file():
            return _hash("file", [name.encode(), Path(file).read_bytes()])
        return self._name(name, "")

    def _class(self, cls: type) -> bytes:
        if not _is_of_a_user(cls.__module__):
            return self._name(cls.__module__, cls.__qualname__)
        members = [
            _hash("member", [name.encode(), self.of(member)])
            for name, member in sorted(vars(cls).items()) if name not in _NOT_OF_A_CLASS
        ]  # fmt: skip
        return _hash("class", [self.each("bases", cls.__bases__), self.of(type(cls)), *members])

    def _module(self, module: types.ModuleType) -> bytes:
        """Return the hash of a user's module: its file, and those of the modules it uses."""
        name = module.__name__
        file = getattr(module, "__file__", None)
        if not _is_of_a_user(name) or file is None or not Path(file).is_file():
            return self._name(name, "")
        used = {
            one if isinstance(one, types.ModuleType)
            else sys.modules.get(getattr(one, "__module__", None) or "")
            for one in vars(module).values()
            if isinstance(one, types.ModuleType | types.FunctionType | type)
        }  # fmt: skip
        others = sorted(
            (one for one in used if one is not None and one is not module
             and _is_of_a_user(one.__name__)), key=lambda one: one.__name__,
        )  # fmt: skip
        return _hash("module", [name.encode(), Path(file).read_bytes(), self.each("uses", others)])


def _is_named(function: types.FunctionType) -> bool:
    """Return whether the name of a function leads to it."""
    found: Any = sys.modules.get(function.__module__)
    for word in function.__qualname__.split("."):
        found = getattr(found, word, None)
    return found is function


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # of a name that is bound later
        return False
    return True


def _names_in(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Return the globals that code reads and the modules that it imports, inner code included."""
    names: set[str] = set()
    modules: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in _NAMES_OF_GLOBALS:
            names.add(str(step.argval))
        elif step.opname == "IMPORT_NAME":
            modules.add(str(step.argval))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = _names_in(constant)
            names |= inner[0]
            modules |= inner[1]
    return names, modules


def _origin(module: str) -> str | None:
    """Return the file of a module that is not loaded."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin


@functools.cache
def _is_of_a_user(module: str | None) -> bool:
    """Return whether a module is neither of this program nor of Python nor installed."""
    top = (module or "").partition(".")[0]
    if not top or top == "__main__":
        return True
    if top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None and top not in sys.modules:
        file = _origin(top)
    if file is None:
        return True
    path = Path(file).resolve()
    if top in ROOMS and path.is_relative_to(HOME):
        return False
    return not any(path.is_relative_to(folder) for folder in _INSTALLED)
