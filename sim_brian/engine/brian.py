"""Brian2, loaded without what it does to the process around it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from types import ModuleType


def load_brian2() -> ModuleType:
    """Return the module brian2; its first import is silent and leaves Python as it was.

    From its import on, Brian2 sends all warnings of the process through its own logger, calls
    every uncaught exception an error of its own, and (from 2.10) takes Ctrl-C as a wish to end a
    run early and go on with half of it; it looks for compilers with a setuptools function that
    warns.
    """
    if "brian2" in sys.modules:
        import brian2

        return brian2
    hook = sys.excepthook
    capturing = getattr(logging, "_warnings_showwarning", None) is not None
    main = threading.current_thread() is threading.main_thread()
    interrupt = signal.getsignal(signal.SIGINT) if main else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import brian2
    if not capturing:
        logging.captureWarnings(False)
    sys.excepthook = hook
    if main:
        signal.signal(signal.SIGINT, interrupt)
    return brian2
