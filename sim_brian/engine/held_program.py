"""The program of a worker process: made for its first run, kept for the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sim_brian.engine.circuit import Model, RawRun
from sim_brian.engine.executable import Executable
from sim_brian.engine.program import EngineOptions, Program


class HeldProgram:
    """Runs one kind of model again and again.

    Parameters
    ----------
    engine : EngineOptions
        With a target that is not ``auto``.
    executable : Executable, optional
        The compiled program, where it lies on this machine; without it a program is made here.
    """

    def __init__(self, engine: EngineOptions, executable: Executable | None = None) -> None:
        self._engine, self._executable = engine, executable
        self._program: Program | None = None

    def run(self, values: Mapping[str, Any], *, n_steps: int, first: Callable[[], Model]) -> RawRun:
        """Run once with these values.

        Parameters
        ----------
        values : mapping
            ``group.variable`` to value.
        n_steps : int
        first : callable
            Returns the model that the program is made from, if it has to be made.

        Raises
        ------
        RuntimeError
            If the program fails.
        """
        if self._executable is not None:
            return self._executable.run(values, n_steps=n_steps)
        if self._program is None:
            self._program = Program(first(), self._engine.target, self._engine)
        return self._program.run(values, n_steps=n_steps)

    def close(self) -> None:
        """Give back what the program holds on disk; another run makes a new one."""
        if self._program is not None:
            self._program.close()
            self._program = None
