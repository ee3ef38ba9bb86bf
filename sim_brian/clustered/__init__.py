"""Clustered spiking networks: configuration, connectivity, runs, repeats, sweeps, attractors."""

from bridge.mean_field import LIFMeanField
from sim_brian.clustered.analyzer import Analyzer
from sim_brian.clustered.config import ClusteredConfig, read_config
from sim_brian.clustered.connectivity import generate_clustered_weight_matrix
from sim_brian.clustered.coupling import arousal_gain, make_network, setup_matrices
from sim_brian.clustered.external import CurrentGenerator, StimulusGenerator
from sim_brian.clustered.lif_net import ExternalDrive, LIFNet, LIFRun
from sim_brian.clustered.logger import Logger
from sim_brian.clustered.perturbation import CirculantPerturbation, VectorialPerturbation
from sim_brian.clustered.repeater import Repeater, repeat_seeds
from sim_brian.clustered.stage_mean_field import FullMeanFieldStager, ReducedMeanFieldStager
from sim_brian.clustered.stage_snn import StageSNNSimulation
from sim_brian.clustered.sweeps import (
    FullMeanFieldBaseSweepRunner,
    ReducedMeanFieldSweepRunner,
    SNNBaseSweepRunner,
)

__all__ = [
    "Analyzer",
    "CirculantPerturbation",
    "ClusteredConfig",
    "CurrentGenerator",
    "ExternalDrive",
    "FullMeanFieldBaseSweepRunner",
    "FullMeanFieldStager",
    "LIFMeanField",
    "LIFNet",
    "LIFRun",
    "Logger",
    "ReducedMeanFieldStager",
    "ReducedMeanFieldSweepRunner",
    "Repeater",
    "SNNBaseSweepRunner",
    "StageSNNSimulation",
    "StimulusGenerator",
    "VectorialPerturbation",
    "arousal_gain",
    "generate_clustered_weight_matrix",
    "make_network",
    "read_config",
    "repeat_seeds",
    "setup_matrices",
]
