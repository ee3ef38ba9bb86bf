"""Clustered spiking networks: configuration, connectivity, runs, repeats, sweeps, attractors."""

from bridge.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "bridge.clustered.config": ("ClusteredConfig", "read_config"),
        "bridge.clustered.connectivity": ("generate_clustered_weight_matrix",),
        "bridge.clustered.coupling": ("arousal_gain", "make_network", "setup_matrices"),
        "bridge.clustered.external": ("CurrentGenerator", "StimulusGenerator"),
        "bridge.clustered.perturbation": ("CirculantPerturbation", "VectorialPerturbation"),
        "bridge.mean_field": ("LIFMeanField",),
        "scope.measure.attractors.analyzer": ("Analyzer",),
        "sim_brian.clustered.lif_net": ("ExternalDrive", "LIFNet", "LIFRun"),
        "studies.clustered.logger": ("Logger",),
        "studies.clustered.repeater": ("Repeater", "repeat_seeds"),
        "studies.clustered.stage_mean_field": ("FullMeanFieldStager", "ReducedMeanFieldStager"),
        "studies.clustered.stage_snn": ("StageSNNSimulation",),
        "studies.clustered.sweeps": (
            "FullMeanFieldBaseSweepRunner",
            "ReducedMeanFieldSweepRunner",
            "SNNBaseSweepRunner",
        ),
    },
)
