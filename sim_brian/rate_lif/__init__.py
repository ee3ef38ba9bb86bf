"""Converted rate networks: LIF cells in Brian2."""
