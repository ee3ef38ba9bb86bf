"""Things by name: kinds of networks, and classes for tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from bridge.rate_to_spike.names import normalise_name, unknown


class NetworkFactory:
    """Makes networks by the name of their kind; a subclass holds the kinds."""

    _what: ClassVar[str] = "network"
    _registry: ClassVar[dict[str, Callable[..., Any]]] = {}

    @classmethod
    def register(cls, name: str, made: Callable[..., Any]) -> None:
        """Make a kind known."""
        cls._registry[name] = made

    @classmethod
    def create(cls, name: str, config: Any, **settings: Any) -> Any:
        """Return a network.

        Raises
        ------
        ValueError
            For an unknown kind.
        """
        if name not in cls._registry:
            raise unknown(cls._what, name, cls._registry)
        return cls._registry[name](config, **settings)

    @classmethod
    def list_available(cls) -> list[str]:
        """Return the names of all kinds."""
        return sorted(cls._registry)


class TaskClasses:
    """Classes of one kind by the name of their task; a subclass says which, and holds them."""

    _kind: ClassVar[type]
    _registry: ClassVar[dict[str, type[Any]]] = {}

    @classmethod
    def list_available_tasks(cls) -> list[str]:
        """Return the names of all tasks that have one."""
        return sorted(cls._registry)

    @classmethod
    def _class_of(cls, name: str) -> type[Any]:
        """Return the class of a task; raise ValueError for an unknown name."""
        if normalise_name(name) not in cls._registry:
            raise unknown("task", name, cls._registry)
        return cls._registry[normalise_name(name)]

    @classmethod
    def _checked(cls, name: str, given: object) -> type[Any]:
        """Return what is given for a task; raise ValueError if it is no class of this kind."""
        if not (isinstance(given, type) and issubclass(given, cls._kind)):
            raise ValueError(f"task {name!r}: {given!r} is no subclass of {cls._kind.__name__}")
        return given

    @classmethod
    def _register(cls, name: str, given: object) -> None:
        cls._registry[normalise_name(name)] = cls._checked(name, given)
