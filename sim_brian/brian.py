"""Brian2, loaded without what it does to the process's warnings."""

from __future__ import annotations

import logging
import warnings
from types import ModuleType


def load_brian2() -> ModuleType:
    """Return the module brian2; its import is silent and leaves Python's warnings alone.

    Brian2 sends all warnings of the process through its own logger from its import on, and looks
    for compilers with a setuptools function that warns.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import brian2
    logging.captureWarnings(False)
    return brian2
