"""A clustered network that runs in a moment."""

from __future__ import annotations

import copy

TINY = {
    "init_params": {
        "delta_t": 0.0005, "duration_sec": 0.1, "mechanism": "analytic", "n_neurons": 200,
        "n_excitatory": 160, "n_inhibitory": 40,
    },
    "architecture": {
        "network": {
            "tau_membrane": 0.02, "tau_synaptic": 0.005, "tau_refractory": 0.005,
            "threshold": [1.5, 0.75], "reset_voltage": 0.0, "j_ext": [2.3, 2.3, 0.0, 0.0],
        },
        "clusters": {
            "n_excitatory_background": 16, "n_inhibitory_background": 4, "n_clusters": 3,
            "total_pops": 8, "connectivity_fraction_probs": [0.2, 0.5, 0.5, 0.5],
            "j_baseline": [0.63, 0.63, -1.9, -3.8], "j_potentiated": [3.0, 1.5, 1.5, 1.2],
            "potentiate": True,
        },
    },
    "external_currents": {"c_ext": [100, 100, 0, 0], "nu_ext_baseline": [7.0, 7.0, 0.0, 0.0]},
    "stimulus": {"onsets": None, "amplitude": 0.0},
    "settings": {"random_seed": 256},
    "arousal": {"level": 0.3, "L": 0.75, "x_0": 0.2, "k": 1.25, "M": 13.125},
}  # fmt: skip


def tiny(**sections) -> dict:
    """Return the configuration with some entries changed: ``tiny(arousal={"level": 0.5})``."""
    tree = copy.deepcopy(TINY)
    for name, changes in sections.items():
        node = tree
        for key in name.split("__"):
            node = node.setdefault(key, {})
        node.update(changes)
    return tree
