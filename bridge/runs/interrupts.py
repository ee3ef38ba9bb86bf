"""What ends a program from outside: every signal that asks for it is an orderly interruption.

Installed by the command line around a command (:func:`interruptible`); library code sets no
handlers.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from bridge.children import descendants, kill_all

_REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_S = 0.02


class Interrupted(KeyboardInterrupt):
    """A signal asked this program to end; whatever cleans up after Ctrl-C cleans up after it."""


@dataclass
class Interruption:
    """Whether and by which signal the program was asked to end."""

    signal_number: int | None = None
    _children: dict[int, str | None] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells have it: 130 Ctrl-C, 143 SIGTERM."""
        return 128 + (self.signal_number or signal.SIGINT)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None and number != signal.SIGINT:
            return  # it is on its way; only an impatient Ctrl-C breaks the tidying off
        self.signal_number = number
        # Now, while it can be told who belongs to us: a killed compiler leaves its children.
        self._children |= descendants()
        raise Interrupted

    def _on_lost_error(self, lost: Any, before: Any) -> None:
        """Interrupt again where Python had to drop the interruption (in a destructor, a callback).

        Otherwise the program would go on, with a line "Exception ignored in ...".
        """
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            if self.signal_number is None:
                before(lost)
            return
        number = self.signal_number or signal.SIGINT
        self.signal_number = None
        main = threading.main_thread().ident
        again = threading.Timer(_AGAIN_S, signal.pthread_kill, (main, number))
        again.daemon = True
        again.start()


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Raise :class:`Interrupted` in the block on Ctrl-C, SIGTERM and SIGHUP.

    When the block ends after that, no program is left that was started in it. A signal that is
    ignored (nohup) or that somebody else handles stays so; everything is put back at the end.
    """
    found = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    plain = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in _REQUESTS}
    hook = sys.unraisablehook
    try:
        for number, handler in before.items():
            if handler in plain:
                signal.signal(number, found._on_signal)
        sys.unraisablehook = lambda lost: found._on_lost_error(lost, hook)
        yield found
    finally:
        for number, handler in before.items():
            if handler in plain:
                signal.signal(number, handler)
        sys.unraisablehook = hook
        kill_all(found._children)
