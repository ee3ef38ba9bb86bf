"""The command line: ``python -m cli`` or ``pingbridge``."""

from cli.main import build_parser, main

__all__ = ["build_parser", "main"]
