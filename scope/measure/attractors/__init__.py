"""Attractors of clustered networks: which clusters are on, for how long, and what follows."""
