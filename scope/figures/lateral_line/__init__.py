"""Figures of the lateral line."""
