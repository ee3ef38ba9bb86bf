"""The tasks by name: those that are built in, registered ones, and ``module:Class``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from bridge.rate_to_spike.cognitive import GoNogoTask, ManteTask, XORTask
from bridge.rate_to_spike.names import normalise_name, unknown
from bridge.rate_to_spike.tasks import AbstractTask


class TaskFactory:
    """The tasks by name."""

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
            return _imported(name)
        key = normalise_name(name)
        if key not in cls._registry:
            raise unknown("task", name, cls._registry)
        return cls._registry[key]

    @classmethod
    def register_task(cls, name: str, task_class: type[AbstractTask]) -> None:
        """Make a class known under a name.

        Raises
        ------
        ValueError
            If it is no subclass of AbstractTask.
        """
        _check_class(name, task_class)
        cls._registry[normalise_name(name)] = task_class

    @classmethod
    def list_available_tasks(cls) -> list[str]:
        """Return the names of all tasks."""
        return sorted(cls._registry)


def _check_class(name: str, task_class: object) -> None:
    if not (isinstance(task_class, type) and issubclass(task_class, AbstractTask)):
        raise ValueError(f"task {name!r}: {task_class!r} is no subclass of AbstractTask")


def _imported(name: str) -> type[AbstractTask]:
    module, _, attribute = name.strip().partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"task {name!r}: can't be imported ({error}); write module:Class"
        ) from None
    _check_class(name, found)
    task: type[AbstractTask] = found
    return task
