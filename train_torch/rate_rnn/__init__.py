"""The rate network under Dale's law: construction, dynamics, training, files."""

from bridge.rate_to_spike.cognitive import GoNogoTask, ManteTask, XORTask
from bridge.rate_to_spike.task_factory import TaskFactory
from bridge.rate_to_spike.tasks import AbstractTask
from train_torch.rate_rnn.config import (
    AbstractLossFunction,
    AbstractRateRNN,
    AbstractTargetGenerator,
    AbstractTaskGenerator,
    DaleRateRNN,
    RateRNNFactory,
    RNNConfig,
    create_default_config,
    restricted_float,
    set_gpu,
    str2bool,
    validate_config,
)
from train_torch.rate_rnn.export import model_fields, save_mat
from train_torch.rate_rnn.loss import loss_op
from train_torch.rate_rnn.network import FR_RNN_dale, make_network
from train_torch.rate_rnn.task_functions import (
    generate_input_stim_go_nogo,
    generate_input_stim_mante,
    generate_input_stim_xor,
    generate_target_continuous_go_nogo,
    generate_target_continuous_mante,
    generate_target_continuous_xor,
)
from train_torch.rate_rnn.training import TrainingResult, eval_rnn, train_rate_rnn

__all__ = [
    "AbstractLossFunction",
    "AbstractRateRNN",
    "AbstractTargetGenerator",
    "AbstractTask",
    "AbstractTaskGenerator",
    "DaleRateRNN",
    "FR_RNN_dale",
    "GoNogoTask",
    "ManteTask",
    "RNNConfig",
    "RateRNNFactory",
    "TaskFactory",
    "TrainingResult",
    "XORTask",
    "create_default_config",
    "eval_rnn",
    "generate_input_stim_go_nogo",
    "generate_input_stim_mante",
    "generate_input_stim_xor",
    "generate_target_continuous_go_nogo",
    "generate_target_continuous_mante",
    "generate_target_continuous_xor",
    "loss_op",
    "make_network",
    "model_fields",
    "restricted_float",
    "save_mat",
    "set_gpu",
    "str2bool",
    "train_rate_rnn",
    "validate_config",
]
