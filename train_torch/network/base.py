"""The E-I networks as torch modules, made from the same spec and weights as their Brian2 twins."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bridge.network.spec import CubaSpec, NetworkSpec, PingSpec
from bridge.network.steps import step_constants
from bridge.network.stimulus import Stimulus
from bridge.network.weights import Weights
from train_torch.kernels.choice import choose_kernel
from train_torch.kernels.layer import Keeping, Kernel
from train_torch.kernels.surrogate import Surrogate
from train_torch.network.forward_pass import (
    RECURRENT,
    ForwardPass,
    Keep,
    NetworkCall,
    SpikeHook,
)
from train_torch.network.inputs import InputBatch


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How gradients flow; nothing here changes a forward pass.

    Parameters
    ----------
    surrogate_slope : float, 1/mV (conductance-based) or 1 (current-based)
    v_grad_dampen : float
        Divisor of the gradient through the membrane increment (`ping`).
    tbptt_window : int
        Steps between detachments (current-based, in training mode).
    trainable : frozenset of str
        Recurrent matrices that learn, by kind: ``W_ee``, ``W_ei``, ``W_ie`` (`ping`).
    smooth : bool
        Replace spikes by their smooth stand-in, for finite differences.

    Raises
    ------
    ValueError
        For numbers that are not positive, or an unknown matrix.
    """

    surrogate_slope: float = 1.0
    v_grad_dampen: float = 80.0
    tbptt_window: int = 10
    trainable: frozenset[str] = frozenset()
    smooth: bool = False

    def __post_init__(self) -> None:
        Surrogate(slope=self.surrogate_slope)
        if not self.v_grad_dampen > 0:
            raise ValueError(f"v_grad_dampen = {self.v_grad_dampen:g} must be > 0")
        if self.tbptt_window < 1:
            raise ValueError(f"tbptt_window = {self.tbptt_window} must be at least 1")
        unknown = self.trainable - set(RECURRENT)
        if unknown:
            raise ValueError(f"{min(unknown)} is no recurrent matrix; use {', '.join(RECURRENT)}")


class SpikingNetwork(nn.Module, abc.ABC):
    """What the networks share: parameters by published names, Dale's law, conversion.

    The parameters are the weights as stored; :meth:`used` says what a step multiplies with.
    `keeping` may be set: what kernels keep for the way back.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Mapping[str, Any],
        *,
        dt_ms: float,
        learning: Learning | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.dt_ms = dt_ms
        self.learning = learning or Learning()
        self.keeping = Keeping()
        self._zero: dict[str, tuple[Any, bool]] = {}
        step_constants(spec, dt_ms)  # refuses an illegal dt
        for name, matrix in Weights.for_spec(spec, weights).items():
            place, key = _published(name, spec)
            parameter = nn.Parameter(
                torch.tensor(matrix, dtype=dtype), requires_grad=self._learns(name)
            )
            group = getattr(self, place, None)
            if group is None:
                group = nn.ParameterDict()
                setattr(self, place, group)
            group[key] = parameter

    def _learns(self, name: str) -> bool:
        return name[:4] not in RECURRENT or name[:4] in self.learning.trainable

    def matrix(self, name: str) -> nn.Parameter:
        """Return a parameter by its name in weight files, such as ``W_in``."""
        place, key = _published(name, self.spec)
        parameter: nn.Parameter = getattr(self, place)[key]
        return parameter

    @property
    def dtype(self) -> torch.dtype:
        """Float type of the parameters and of the state."""
        return self.matrix("W_in").dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.matrix("W_in").device

    def weights(self) -> Weights:
        """Return the weights as stored, for any backend."""
        return Weights.for_spec(self.spec, {
            name: self.matrix(name).detach().cpu().double().numpy()
            for name in self.spec.matrix_shapes
        })  # fmt: skip

    def _clamped(self, name: str) -> bool:
        """Return whether Dale's law keeps this matrix at >= 0."""
        if not self.spec.dales_law:
            return False
        return name == "W_in" if isinstance(self.spec, CubaSpec) else True

    def used(self) -> dict[str, Tensor]:
        """Return the matrices as a step uses them: Dale's law and synapse order applied.

        Frozen recurrent matrices that are all zero are left out.
        """
        steps = step_constants(self.spec, self.dt_ms)
        decays: dict[str, float] = {}
        if isinstance(self.spec, PingSpec) and self.spec.synapses.order == "kick-decay":
            decays = dict.fromkeys(("W_ee", "W_ei"), steps.decay_ampa)
            decays |= dict.fromkeys(("W_ie", "W_ii"), steps.decay_gaba)
        matrices: dict[str, Tensor] = {}
        for name in self.spec.matrix_shapes:
            stored = self.matrix(name)
            if name[:4] in RECURRENT and not stored.requires_grad and self._is_zero(name):
                continue
            matrix: Tensor = stored
            if self._clamped(name):
                matrix = matrix.clamp(min=0.0)
            if name[:4] in decays:
                matrix = matrix * decays[name[:4]]
            matrices[name] = matrix
        return matrices

    def _is_zero(self, name: str) -> bool:
        """Return whether a matrix is all zero; the answer is kept as long as it stays the same."""
        stored = self.matrix(name)
        state = (stored.data_ptr(), stored._version, str(stored.device))
        known = self._zero.get(name)
        if known is None or known[0] != state:
            known = self._zero[name] = (state, not bool(stored.any()))
        return known[1]

    @torch.no_grad()
    def project(self) -> None:
        """Put the stored weights where Dale's law wants them; to be called after each update."""
        for name in self.spec.matrix_shapes:
            stored = self.matrix(name)
            if self._clamped(name) and stored.requires_grad:
                stored.clamp_(min=0.0)

    def forward(
        self,
        x: Stimulus | Tensor | InputBatch,
        *,
        keep_spikes: bool = False,
        keep_traces: bool = False,
        keep_output: bool = False,
        v_start_mv: Mapping[str, Tensor] | None = None,
        matrices: Mapping[str, Tensor] | None = None,
        hook: SpikeHook | None = None,
        kernel: str = "auto",
    ) -> ForwardPass:
        """Run the network over a batch.

        Parameters
        ----------
        x : Stimulus, InputBatch, or Tensor of shape (step, batch, channel)
            Input spikes, or their counts.
        keep_spikes, keep_traces, keep_output : bool
            What to keep beyond logits and counts.
        v_start_mv : dict of str to Tensor, (batch, cell), mV
            Initial voltages by population; at rest unless given (`ping`).
        matrices : dict of str to Tensor
            Used instead of :meth:`used`.
        hook : callable, optional
            May replace spikes before they propagate.
        kernel : {"auto", "eager", "function", "cpp"}
            What runs the steps, see :func:`train_torch.kernels.choice.choose_kernel`.

        Raises
        ------
        ValueError
            If the input does not fit, or the kernel can't do what is asked.
        """
        batch = InputBatch.of(x)
        if batch.n_in != self.spec.n_in:
            raise ValueError(
                f"the input has {batch.n_in} channels, but the network (W_in) expects "
                f"{self.spec.n_in}"
            )
        sizes = self.spec.hidden_sizes
        if batch.g_ext_us is not None and batch.g_ext_us.shape[2] != sizes[0]:
            raise ValueError(
                f"the external conductance drives {batch.g_ext_us.shape[2]} cells, but the first "
                f"E layer has {sizes[0]}"
            )
        keep = Keep(spikes=keep_spikes, traces=keep_traces, output=keep_output)
        call = NetworkCall(
            batch=batch, w=self.used() if matrices is None else dict(matrices), keep=keep,
            v_start_mv=v_start_mv or {}, hook=hook,
        )  # fmt: skip
        self._check(call)
        chosen = choose_kernel(kernel, self.device, only_eager=self._why_eager(call))
        return self._run_eager(call) if chosen is None else self._run_kernel(chosen, call)

    def _check(self, call: NetworkCall) -> None:  # most networks take everything
        """Refuse what this network can't be asked for."""

    def _why_eager(self, call: NetworkCall) -> str | None:
        """Return why only eager steps can do what is asked, or None if a kernel can."""
        keep, raster = call.keep, call.batch.raster
        if keep.traces or keep.output or call.hook is not None or self.learning.smooth:
            return "it keeps neither traces nor the output of each step, and knows no hooks"
        if raster is not None and raster.requires_grad:
            return "it gives no gradient with respect to the input"
        if self.dtype not in (torch.float32, torch.float64):
            return f"it knows float32 and float64, not {self.dtype}"
        return None

    @abc.abstractmethod
    def _run_kernel(self, kernel: Kernel, call: NetworkCall) -> ForwardPass:
        """Run whole layers, one after the other."""

    @abc.abstractmethod
    def _run_eager(self, call: NetworkCall) -> ForwardPass:
        """Run step by step, as autograd follows it."""


def _published(name: str, spec: NetworkSpec) -> tuple[str, str]:
    """Return group and key of a matrix in state dicts: ``W_ff.0``, ``W_ei.1`` ..."""
    if name == "W_in":
        return "W_ff", "0"
    if name == "W_out":
        return "W_ff", str(len(spec.hidden_sizes))
    if name == "b_out":
        return "b_ff", "0"
    if name.startswith("W_ff_"):
        return "W_ff", name.split("_")[2].split("to")[0]
    return name[:4], name[5:]
