"""Kinds of networks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar


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
            available = ", ".join(cls.list_available())
            raise ValueError(f"unknown {cls._what} {name!r}; available: {available}")
        return cls._registry[name](config, **settings)

    @classmethod
    def list_available(cls) -> list[str]:
        """Return the names of all kinds."""
        return sorted(cls._registry)
