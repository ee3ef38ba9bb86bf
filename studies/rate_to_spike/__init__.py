"""Rate network to spiking network: tasks, model files, conversion, scaling-factor search."""

from bridge.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "bridge.rate_to_spike.cognitive": ("GoNogoTask", "ManteTask", "XORTask"),
        "bridge.rate_to_spike.model_file": (
            "RateModel",
            "load_rate_model",
            "save_rate_model",
            "update_rate_model",
        ),
        "bridge.rate_to_spike.task_factory": ("TaskFactory",),
        "bridge.rate_to_spike.tasks": ("AbstractTask",),
        "bridge.rate_to_spike.utilities": (
            "check_gpu_availability",
            "create_connectivity_masks",
            "format_spike_data",
            "generate_lif_params",
            "set_random_seed",
            "validate_scaling_factor",
            "validate_stimulus",
        ),
        "studies.rate_to_spike.evaluation": (
            "compare_with_rate_model",
            "evaluate_task",
            "load_model_and_scaling_factor",
        ),
        "studies.rate_to_spike.evaluators": (
            "GoNogoSpikingEvaluator",
            "ManteSpikingEvaluator",
            "SpikingEvaluator",
            "SpikingEvaluatorFactory",
            "XORSpikingEvaluator",
            "evaluate_single_trial",
        ),
        "studies.rate_to_spike.interfaces": (
            "AbstractSpikingConverter",
            "AbstractSpikingEvaluator",
            "AbstractSpikingRNN",
            "LIFConverter",
            "LIFEvaluator",
            "LIFSpikingRNN",
            "SpikingConfig",
            "SpikingRNNFactory",
            "create_default_spiking_config",
            "validate_spiking_config",
        ),
        "studies.rate_to_spike.grid_search": ("lambda_grid_search",),
        "studies.rate_to_spike.search": ("parse_range",),
        "studies.rate_to_spike.spiking_tasks": (
            "AbstractSpikingTask",
            "GoNogoSpikingTask",
            "LIFNetworkAdapter",
            "ManteSpikingTask",
            "SpikingTaskFactory",
            "XORSpikingTask",
        ),
    },
)
