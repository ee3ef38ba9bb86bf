"""Brian2, loaded without what it does to the process's warnings."""

from __future__ import annotations

import logging
import sys
import warnings
from types import ModuleType


def load_brian2() -> ModuleType:
    """Return the module brian2; its import is silent and leaves Python as it was.

    From its import on, Brian2 sends all warnings of the process through its own logger and calls
    every uncaught exception an error of its own; it looks for compilers with a setuptools function
    that warns.
    """
    hook = sys.excepthook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import brian2
    logging.captureWarnings(False)
    sys.excepthook = hook
    return brian2
