"""Rate network to spiking network without a simulator: tasks, model files, LIF cells, scores."""

from bridge.rate_to_spike.cognitive import (
    GoNogoTask,
    ManteTask,
    XORTask,
)
from bridge.rate_to_spike.model_file import (
    RateModel,
    load_rate_model,
    save_rate_model,
    update_rate_model,
)
from bridge.rate_to_spike.task_factory import TaskFactory
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.utilities import (
    check_gpu_availability,
    create_connectivity_masks,
    format_spike_data,
    generate_lif_params,
    set_random_seed,
    validate_scaling_factor,
    validate_stimulus,
)

__all__ = [
    "AbstractTask",
    "GoNogoTask",
    "ManteTask",
    "RateModel",
    "TaskFactory",
    "XORTask",
    "check_gpu_availability",
    "create_connectivity_masks",
    "format_spike_data",
    "generate_lif_params",
    "load_rate_model",
    "save_rate_model",
    "set_random_seed",
    "update_rate_model",
    "validate_scaling_factor",
    "validate_stimulus",
]
