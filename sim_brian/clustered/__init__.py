"""Clustered networks of LIF cells in Brian2."""

from sim_brian.clustered.lif_net import ExternalDrive, LIFNet, LIFRun

__all__ = ["ExternalDrive", "LIFNet", "LIFRun"]
