"""What a run says: the logger, colour on a terminal, plain text in output.log."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from pathlib import Path
from typing import TextIO

LOG = logging.getLogger("pingbridge")
"""The logger of the whole program."""

FILE_ONLY = {"file_only": True}
"""``extra=`` of a message that the terminal got in another way."""

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}
_LEVEL_STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}
# CSI sequences (colour, cursor), OSC sequences (title, links), then two-character escapes.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


def style(text: str, *names: str, stream: TextIO | None = None) -> str:
    """Return `text` with ANSI styles if the stream shows them, else as it is.

    Parameters
    ----------
    text : str
    names : str
        ``bold``, ``dim``, ``red``, ``green``, ``yellow``, ``blue``, ``cyan``.
    stream : file, optional
        Where it will be printed; stdout if not given.

    Raises
    ------
    ValueError
        For an unknown style.
    """
    unknown = [name for name in names if name not in _CODES]
    if unknown:
        raise ValueError(f"unknown style {unknown[0]!r}; legal are {', '.join(_CODES)}")
    if not names or not shows_colour(stream):
        return text
    return f"\x1b[{';'.join(_CODES[name] for name in names)}m{text}\x1b[0m"


def shows_colour(stream: TextIO | None = None) -> bool:
    """Return whether a stream (stdout if None) is a terminal that wants colour."""
    stream = sys.stdout if stream is None else stream
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":  # https://no-color.org
        return False
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # None without a console; closed
        return False


def strip_ansi(text: str) -> str:
    """Return `text` without ANSI escape sequences."""
    return _ANSI.sub("", text)


def configure_logging(level: int | str = logging.INFO) -> logging.Handler:
    """Send the program's messages of `level` and above to stdout; return the handler.

    Calling it again replaces the handler of the call before. Inside a run folder the logger lets
    INFO pass even where the console is quieter, so that output.log holds it.

    Raises
    ------
    ValueError
        For a level that does not exist.
    """
    if isinstance(level, str):
        legal = logging.getLevelNamesMapping()
        if level.upper() not in legal:
            raise ValueError(f"unknown log level {level!r}; legal are debug, info, warning, error")
        level = legal[level.upper()]
    for handler in list(LOG.handlers):
        if isinstance(handler, _StdoutHandler | _Early):
            LOG.removeHandler(handler)
    LOG.addHandler(_Early())
    handler = _StdoutHandler()
    handler.setLevel(level)
    handler.setFormatter(_ConsoleFormatter())
    handler.addFilter(lambda record: not getattr(record, "file_only", False))
    LOG.addHandler(handler)
    LOG.setLevel(level)
    return handler


def open_log_file(path: Path) -> logging.Handler:
    """Append the program's messages to a file, with time and level, without ANSI sequences.

    What was said since :func:`configure_logging`, before there was a file, comes first. Returns the
    handler; end it with :func:`close_log_file`.
    """
    handler = _LogFile(path, mode="a", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_FileFormatter("%(asctime)s %(levelname)s %(message)s"))
    for early in [one for one in LOG.handlers if isinstance(one, _Early)]:
        LOG.removeHandler(early)
        for record in early.records:
            handler.handle(record)
    LOG.addHandler(handler)
    return handler


def close_log_file(handler: logging.Handler) -> None:
    """Take a handler off the logger and close its file."""
    LOG.removeHandler(handler)
    handler.close()


class _Early(logging.Handler):
    """Keep what is said before there is a file to write it to."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _StdoutHandler(logging.StreamHandler):
    """Write to what is stdout at the time of the message, not at the time of set-up."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    def handleError(self, record: logging.LogRecord) -> None:
        """Fall silent where nobody can be told any more; the run itself goes on."""
        if isinstance(sys.exc_info()[1], OSError | ValueError):
            self.setLevel(logging.CRITICAL + 1)  # not removed: the logger goes through its list
        else:
            super().handleError(record)


class _LogFile(logging.FileHandler):
    """A file that, once it can't be written, says so and falls silent."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.setLevel(logging.CRITICAL + 1)
        LOG.warning(
            "%s can't be written (%s); the run goes on without it",
            self.baseFilename, error.strerror or error,
        )  # fmt: skip

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written still can't
            super().close()


class _ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not shows_colour():
            text = strip_ansi(text)
        if record.levelno < logging.WARNING:
            return text
        name = f"{record.levelname.lower()}:"
        return f"{style(name, _LEVEL_STYLES.get(record.levelno, 'bold'))} {text}"


class _FileFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return strip_ansi(super().format(record))
