"""Earlier place of :mod:`bridge.files` and :mod:`bridge.formats.kinds`."""

from bridge.files.npz import read_npz, write_npz
from bridge.files.reading import FileContentError, cause, reading

__all__ = ["FileContentError", "cause", "read_npz", "reading", "write_npz"]
