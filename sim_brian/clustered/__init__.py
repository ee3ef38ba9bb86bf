"""Clustered spiking networks: configuration, connectivity, runs, repeats, sweeps, attractors."""
