"""Brian2, loaded without what it does to the process around it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from types import ModuleType


def load_brian2() -> ModuleType:
    """Return the module brian2; its first import is silent and leaves Python as it was.

    From its import on, Brian2 sends all warnings of the process through its own logger, calls
    every uncaught exception an error of its own, and (from 2.10) takes Ctrl-C as a wish to end a
    run early and go on with half of it; it looks for compilers with a setuptools function that
    warns. It keeps a log, a copy of the script and what compilers say in the temporary directory,
    and leaves them there after a kill.
    """
    if "brian2" in sys.modules:
        import brian2

        return brian2
    hook = sys.excepthook
    capturing = getattr(logging, "_warnings_showwarning", None) is not None
    main = threading.current_thread() is threading.main_thread()
    interrupt = signal.getsignal(signal.SIGINT) if main else None
    words = sys.argv
    sys.argv = [""]  # what was typed goes into the copy of the script, UTF-8 or not
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import brian2
    finally:
        sys.argv = words
    if not capturing:
        logging.captureWarnings(False)
    sys.excepthook = hook
    if main:
        signal.signal(signal.SIGINT, interrupt)
    _keep_no_files()
    logging.getLogger("brian2.core.base.unused_brian_object").addFilter(_is_not_of_ours)
    return brian2


def _keep_no_files() -> None:
    """Take Brian2's files out of the temporary directory; those of compilers get no name."""
    from brian2.utils.logger import BrianLogger, std_silent

    if BrianLogger.file_handler is not None:
        logging.getLogger("brian2").removeHandler(BrianLogger.file_handler)
        BrianLogger.file_handler.close()
        BrianLogger.file_handler = None
    for name in ("tmp_log", "tmp_script"):
        path = getattr(BrianLogger, name)
        if path is not None:
            with contextlib.suppress(OSError):
                os.remove(path)
            setattr(BrianLogger, name, None)
    for stream in ("stdout", "stderr"):
        file = getattr(std_silent, f"dest_{stream}")
        if file is not None:
            with contextlib.suppress(OSError):
                os.remove(getattr(std_silent, f"dest_fname_{stream}"))
        else:
            with contextlib.suppress(OSError):  # no temporary directory: Brian2 will say so
                file = tempfile.TemporaryFile("w")  # noqa: SIM115 (Brian2 closes it at the end)
                setattr(std_silent, f"dest_{stream}", file)
        if file is not None:
            setattr(std_silent, f"dest_fname_{stream}", f"/dev/fd/{file.fileno()}")


def _is_not_of_ours(record: logging.LogRecord) -> bool:
    """Tell whether an object that no network used is the user's; ours are of a run broken off."""
    return str(Path(__file__).parents[1]) not in record.getMessage()
