"""Example: does one short run of a clustered network switch between groups of cells.

Expected: about three of 18 E clusters fire at 50 Hz at any time, the others at 2 Hz; a raster in
simulations/test_sim/plots. Takes a few seconds (half a minute more where it compiles first).

Source: configs/clustered/default_snn_params.yaml; Papadopoulos et al. (2024), arXiv:2404.03902.
"""

from __future__ import annotations

import yaml

from bridge.clustered.yaml_tree import load_tree
from studies.clustered import Analyzer, StageSNNSimulation


def main(**changes: object) -> dict[str, float]:
    """Run it and return what the clusters did; `changes` replace entries of ``init_params``."""
    tree = load_tree("configs/default_snn_params.yaml")[0]
    tree["settings"] |= {"save": True, "plot": True}
    tree["init_params"] |= changes
    stager = StageSNNSimulation(yaml.safe_dump(tree).encode(), random_seed=123)
    outputs = stager.execute(plot_arg="spikes")
    q = stager.network.layout.n_clusters
    analyzer = Analyzer(outputs["spikes"], outputs["clusters"], n_excitatory_clusters=q)
    return analyzer.get_activity_summary()


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:20} {value:.4g}")
