"""The tasks by name: those that are built in, registered ones, and ``module:Class``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from bridge.rate_to_spike.cognitive import GoNogoTask, ManteTask, XORTask
from bridge.rate_to_spike.factory import TaskClasses
from bridge.rate_to_spike.tasks import AbstractTask


class TaskFactory(TaskClasses):
    """The tasks by name."""

    _kind = AbstractTask
    _registry: ClassVar[dict[str, type[AbstractTask]]] = {
        task.name: task for task in (GoNogoTask, XORTask, ManteTask)
    }

    @classmethod
    def create_task(cls, name: str, settings: Mapping[str, Any] | None = None) -> AbstractTask:
        """Return a task with these settings; those that are missing are the published ones.

        Parameters
        ----------
        name : str
            In any case, with ``-`` or ``_``; or ``module:Class`` for a class that is importable.
        settings : mapping, optional

        Raises
        ------
        ValueError
            For an unknown name, or settings that make no trial.
        """
        task = cls.task_class(name)
        return task({**task.defaults, **(settings or {})})

    @classmethod
    def task_class(cls, name: str) -> type[AbstractTask]:
        """Return the class of a task; see :meth:`create_task`."""
        if isinstance(name, str) and ":" in name:
            return cls._checked(name, _imported(name))
        return cls._class_of(name)

    @classmethod
    def register_task(cls, name: str, task_class: type[AbstractTask]) -> None:
        """Make a class known under a name.

        Raises
        ------
        ValueError
            If it is no subclass of AbstractTask.
        """
        cls._register(name, task_class)


def _imported(name: str) -> object:
    module, _, attribute = name.strip().partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"task {name!r}: can't be imported ({error}); write module:Class"
        ) from None
