"""Compiled programs of these tests lie in one folder for all of them."""

from __future__ import annotations

import sys
from pathlib import Path

# The networks module is shared by the tests of this folder only.
sys.path.insert(0, str(Path(__file__).parent))
