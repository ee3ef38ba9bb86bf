"""Standard output and errors that may be closed, full or unread: the run itself goes on.

Put in place by the command line for the time of a command (:func:`guarded_streams`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class GuardedStream:
    """A text stream that falls silent where it can't be written, and remembers why.

    Parameters
    ----------
    inner : file or None
        None for one that was closed before Python started.
    """

    def __init__(self, inner: TextIO | None) -> None:
        self._inner = inner
        self.failure: OSError | None = None
        """Why something was lost; None if all was written, or if nobody wants it."""
        self._silent = inner is None

    def write(self, text: str) -> int:
        """Write a text; letters that the stream has no code for are written as numbers."""
        if not self._silent and self._inner is not None:
            try:
                try:
                    self._inner.write(text)
                except UnicodeEncodeError:
                    code = self._inner.encoding or "ascii"
                    self._inner.write(text.encode(code, "backslashreplace").decode(code))
            except (OSError, ValueError) as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Hand over what is still buffered."""
        if not self._silent and self._inner is not None:
            try:
                self._inner.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        try:
            return not self._silent and self._inner is not None and self._inner.isatty()
        except ValueError:  # closed
            return False

    def _lose(self, error: OSError | ValueError) -> None:
        self._silent = True
        # A reader who goes (| head), and a stream that was closed, want nothing more.
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            self.failure = error
        # What is still buffered would raise again when the interpreter flushes it at its end.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            assert self._inner is not None
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._inner.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextlib.contextmanager
def guarded_streams() -> Iterator[GuardedStream]:
    """Put guards around `sys.stdout` and `sys.stderr`; give that of stdout.

    Both are flushed when the block ends, so that nothing is lost afterwards.
    """
    _fill_closed_descriptors()
    before = sys.stdout, sys.stderr
    out, err = GuardedStream(sys.stdout), GuardedStream(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _fill_closed_descriptors() -> None:
    """Open the first three descriptors where they are closed.

    Else the next file that is opened becomes the standard output of the programs that are started.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
