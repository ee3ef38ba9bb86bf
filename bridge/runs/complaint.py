"""Errors in one line: what the user is told, and whether he or this program is to blame."""

from __future__ import annotations

import dis
import errno
import re
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from bridge.atomic import PARTIAL_PREFIX
from bridge.home import HOME

USER, FAILED, BUG = 2, 1, 70
"""Exit codes: the input was wrong; the run failed; this program is wrong (EX_SOFTWARE)."""

ROOMS = (
    "bridge",
    "scope",
    "sim_brian",
    "studies",
    "train_torch",
    "configs",
    "pingbridge",
    "cli.py",
)

_LONGEST = 300
"""Characters of one word of a message: what was typed is repeated, but not page by page."""
_HDF5 = re.compile(r"Can't \w+ \w+ \([^()]*error message = '([^']*)'[^()]*\)")
"""What HDF5 makes of an error of the system: where in the file, by which address in memory."""
_PARTIAL = re.compile(re.escape(PARTIAL_PREFIX) + r"\d+-[0-9a-f]{8}-")


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error."""
    if _is_foreseen(error):
        return USER if isinstance(error, ValueError | TypeError | OSError) else FAILED
    return BUG if is_bug(error) else FAILED


def is_bug(error: BaseException) -> bool:
    """Return whether an error comes from this program and from no ``raise`` of it.

    A ``TypeError`` that a function of ours raises on purpose tells a user what he gave; the same
    error out of an expression or a library means that the code is wrong. An error out of a module
    of the user's own (a task, a readout) is his.
    """
    return not _is_foreseen(error) and _culprit(error)[1]


def _is_foreseen(error: BaseException) -> bool:
    if isinstance(error, TypeError):
        return _raised_on_purpose(error.__traceback__)
    known = (ValueError, OSError, RuntimeError, MemoryError)
    return isinstance(error, known) or not isinstance(error, Exception)


def _raised_on_purpose(traceback: TracebackType | None) -> bool:
    frames = list(_frames(traceback))
    if not frames or not _is_ours(frames[-1].tb_frame.f_code.co_filename):
        return False
    last = frames[-1]
    operations = dis.get_instructions(last.tb_frame.f_code)
    return any(one.offset == last.tb_lasti and one.opname == "RAISE_VARARGS" for one in operations)


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _is_ours(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(HOME) and path.relative_to(HOME).parts[0] in ROOMS


def one_line(error: BaseException) -> str:
    """Return an error as one line, without what only the inside of this program knows."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        name = error.filename if error.filename is not None else error.filename2
        reason = " ".join(error.strerror.split())
        text = reason if name is None else f"{name}: {reason}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and name is None:
            text = f"{text} (in {tempfile.gettempdir()}, the cache, or the folder that is written)"
    elif isinstance(error, MemoryError) and not text:
        text = "not enough memory"
    elif not _is_foreseen(error):
        where, ours = _culprit(error)
        text = f"{type(error).__name__}{f': {text}' if text else ''} ({where})"
        if ours:
            text = (
                f"this is a bug: {text}; please report it with the command and its traceback, "
                "which PINGBRIDGE_TRACEBACK=1 shows"
            )
    text = _HDF5.sub(r"\1", _PARTIAL.sub("", text))
    return shortened(text or type(error).__name__)


def _culprit(error: BaseException) -> tuple[str, bool]:
    """Return the innermost line of this program or of the user that an error passed.

    And whether it is one of this program.
    """
    paths = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    libraries = [Path(path) for path in paths]
    found = ("nobody knows where", True)
    for frame in _frames(error.__traceback__):
        file = Path(frame.tb_frame.f_code.co_filename)
        if _is_ours(str(file)):
            found = (f"{file.relative_to(HOME)}, line {frame.tb_lineno}", True)
        elif file.is_file() and not any(file.is_relative_to(folder) for folder in libraries):
            found = (f"{file}, line {frame.tb_lineno}", False)
    return found


def shortened(text: str) -> str:
    """Return a text in which long words are cut in the middle."""

    def cut(word: str) -> str:
        left_out = len(word) - _LONGEST
        if left_out <= 0:
            return word
        head, tail = word[: _LONGEST // 2], word[-_LONGEST // 3 :]
        return f"{head}...({len(word)} characters)...{tail}"

    return " ".join(cut(word) for word in text.split(" "))
