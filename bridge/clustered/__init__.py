"""Clustered networks without a simulator: configuration, couplings, drive, perturbations."""
