"""Names of a package that load only when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package that hands names on.

    A face of many heavy modules stays as light as its own file: the command line imports a module
    of the package without the others.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    homes : mapping of str to tuple of str
        The modules and the names that each of them gives, in the source of the package itself:
        never from data.

    Source: PEP 562.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def give(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home_of[name]), name)

    names = sorted(home_of)
    return give, lambda: names, names
