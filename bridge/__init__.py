"""The shared vocabulary: what both sides must agree on; imports neither brian2 nor torch."""
