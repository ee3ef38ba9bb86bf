"""Rate network to spiking network: tasks, model files, conversion, scaling-factor search."""

from bridge.rate_to_spike.cognitive import GoNogoTask, ManteTask, XORTask
from bridge.rate_to_spike.evaluation import (
    compare_with_rate_model,
    evaluate_task,
    load_model_and_scaling_factor,
)
from bridge.rate_to_spike.evaluators import (
    GoNogoSpikingEvaluator,
    ManteSpikingEvaluator,
    SpikingEvaluator,
    SpikingEvaluatorFactory,
    XORSpikingEvaluator,
    evaluate_single_trial,
)
from bridge.rate_to_spike.interfaces import (
    AbstractSpikingConverter,
    AbstractSpikingEvaluator,
    AbstractSpikingRNN,
    LIFConverter,
    LIFEvaluator,
    LIFSpikingRNN,
    SpikingConfig,
    SpikingRNNFactory,
    create_default_spiking_config,
    validate_spiking_config,
)
from bridge.rate_to_spike.model_file import (
    RateModel,
    load_rate_model,
    save_rate_model,
    update_rate_model,
)
from bridge.rate_to_spike.search import lambda_grid_search, parse_range
from bridge.rate_to_spike.spiking_tasks import (
    AbstractSpikingTask,
    GoNogoSpikingTask,
    LIFNetworkAdapter,
    ManteSpikingTask,
    SpikingTaskFactory,
    XORSpikingTask,
)
from bridge.rate_to_spike.tasks import AbstractTask, TaskFactory
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
    "AbstractSpikingConverter",
    "AbstractSpikingEvaluator",
    "AbstractSpikingRNN",
    "AbstractSpikingTask",
    "AbstractTask",
    "GoNogoSpikingEvaluator",
    "GoNogoSpikingTask",
    "GoNogoTask",
    "LIFConverter",
    "LIFEvaluator",
    "LIFNetworkAdapter",
    "LIFSpikingRNN",
    "ManteSpikingEvaluator",
    "ManteSpikingTask",
    "ManteTask",
    "RateModel",
    "SpikingConfig",
    "SpikingEvaluator",
    "SpikingEvaluatorFactory",
    "SpikingRNNFactory",
    "SpikingTaskFactory",
    "TaskFactory",
    "XORSpikingEvaluator",
    "XORSpikingTask",
    "XORTask",
    "check_gpu_availability",
    "compare_with_rate_model",
    "create_connectivity_masks",
    "create_default_spiking_config",
    "evaluate_single_trial",
    "evaluate_task",
    "format_spike_data",
    "generate_lif_params",
    "lambda_grid_search",
    "load_model_and_scaling_factor",
    "load_rate_model",
    "parse_range",
    "save_rate_model",
    "set_random_seed",
    "update_rate_model",
    "validate_scaling_factor",
    "validate_spiking_config",
    "validate_stimulus",
]
