"""The kernel ``cpp``: a layer in compiled loops on the CPU (kernels/layer.cpp).

The number of threads is torch's and changes no result.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from train_torch.kernels.layer import (
    MATRICES,
    CurrentCells,
    LayerCall,
    LayerGradients,
    LayerRun,
    Matrices,
    Trajectory,
)
from train_torch.kernels.library import library
from train_torch.kernels.readout_constants import ReadoutConstants

_SUFFIX = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}
_MODES = {"li": 0, "spike-count": 1, "mem-mean": 2, "leaky-mean": 3}


def _structure(name: str, numbers: tuple[str, ...], pointers: tuple[str, ...]) -> Any:
    fields: list[tuple[str, Any]] = [(n, ctypes.c_int64) for n in numbers]
    fields += [(n, ctypes.c_double if n == "bias" else ctypes.c_void_p) for n in pointers]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


_Given = _structure(
    "_Given",
    ("n_steps", "n_trials", "n_in", "n_exc", "n_inh", "n_out", "n_threads", "window", "spacing"),
    ("cells", "event_start", "event_channel", "w_in", "drive", "external", "bias",
     "w_ee", "w_ei", "w_ie", "w_ii", "w_out", "v_start_exc", "v_start_inh"),
)  # fmt: skip
_Made = _structure(
    "_Made", (),
    ("spikes_exc", "spikes_inh", "counts_exc", "counts_inh", "out", "trajectory", "states",
     "lost_step"),
)  # fmt: skip
_Gradients = _structure(
    "_Gradients", (), ("from_spikes", "from_counts", "from_out", "w_in", "drive", *MATRICES[1:])
)


class _Memory:
    """Trajectories that have served, for the next ones: the system clears fresh memory first."""

    def __init__(self, at_most: int = 4) -> None:
        self._spare: list[Tensor] = []
        self._at_most = at_most

    def take(self, n_bytes: int) -> Tensor:
        """Return at least `n_bytes` bytes, uninitialised."""
        for k, spare in enumerate(self._spare):
            if n_bytes <= spare.numel() <= 2 * n_bytes:
                return self._spare.pop(k)
        return torch.empty(n_bytes, dtype=torch.uint8)

    def give(self, used: Tensor) -> None:
        """Take memory back; the longest unused goes where there is too much."""
        self._spare.append(used)
        del self._spare[: -self._at_most]


class CppKernel:
    """A layer in compiled loops; see :mod:`train_torch.kernels.layer`."""

    _memory = _Memory()

    name = "cpp"

    def forward(self, call: LayerCall, *, learns: bool) -> tuple[LayerRun, Trajectory | None]:
        """Run all steps."""
        settings, w_out = call.settings, call.w["w_out"]
        start = settings.v_start_exc
        n_steps, (n_trials, n_exc), n_inh = settings.n_steps, start.shape, settings.n_inh
        function, given, held = self._prepare(call)
        tensors: dict[str, Tensor | None] = {
            "counts_exc": start.new_zeros((n_trials, n_exc)),
            "counts_inh": start.new_zeros((n_trials, n_inh)) if n_inh else None,
            "lost_step": torch.empty(n_trials, dtype=torch.int64),
            "out": None if w_out is None else start.new_empty((n_steps, n_trials, w_out.shape[1])),
        }
        if settings.keep_spikes:
            tensors["spikes_exc"] = start.new_empty((n_steps, n_trials, n_exc))
            if n_inh:
                tensors["spikes_inh"] = start.new_empty((n_steps, n_trials, n_inh))
        kept: dict[str, Tensor] = {}
        if learns:
            every = settings.keeping.checkpoint_steps
            what, times = ("state", -(-n_steps // every)) if every else ("record", n_steps)
            size = function(f"{what}_bytes", ctypes.c_int64)(ctypes.byref(given))
            name = "states" if every else "trajectory"
            kept[name] = self._memory.take(n_trials * times * size)
        made = _pointers(_Made, {**tensors, **kept})
        function("forward")(ctypes.byref(given), ctypes.byref(made))
        del held
        return LayerRun(
            counts_exc=_there(tensors["counts_exc"]), counts_inh=tensors["counts_inh"],
            spikes_exc=tensors.get("spikes_exc"), spikes_inh=tensors.get("spikes_inh"),
            out=tensors["out"], lost_step=_there(tensors["lost_step"]),
        ), Trajectory(parts=dict(kept)) if learns else None  # fmt: skip

    def backward(
        self, call: LayerCall, trajectory: Trajectory, grads: LayerGradients
    ) -> tuple[Tensor | None, Matrices]:
        """Return the gradients of the drive and of the matrices."""
        function, given, held = self._prepare(call)
        made: Matrices = {
            n: torch.zeros_like(_there(call.w[n])) for n in MATRICES if n in grads.wanted
        }
        for_drive = torch.empty_like(_there(call.drive)) if "drive" in grads.wanted else None
        into = _pointers(_Gradients, {
            **made, "drive": for_drive, "from_spikes": grads.spikes, "from_counts": grads.counts,
            "from_out": grads.out,
        })  # fmt: skip
        kept = _pointers(_Made, trajectory.parts)
        function("backward")(ctypes.byref(given), ctypes.byref(kept), ctypes.byref(into))
        del held
        for memory in trajectory.parts.values():
            self._memory.give(memory)
        return for_drive, made

    def _prepare(self, call: LayerCall) -> Any:
        """Return the library's functions by name, what they are given, and what must live on."""
        settings, w = call.settings, call.w
        start, events = settings.v_start_exc.contiguous(), settings.events
        external = settings.external
        numbers = [*settings.exc.numbers(), *settings.inh.numbers()]
        cells = (ctypes.c_double * len(numbers))(*numbers)
        tensors: dict[str, Tensor | None] = {
            **w, "drive": call.drive, "v_start_exc": start,
            "v_start_inh": None if settings.v_start_inh is None
            else settings.v_start_inh.contiguous(),
            "external": None if external is None else external.to(start.dtype).contiguous(),
            "event_start": None if events is None else events.start,
            "event_channel": None if events is None else events.channel,
        }  # fmt: skip
        given = _pointers(_Given, tensors)
        w_in, w_out = w["w_in"], w["w_out"]
        n_trials, n_exc = start.shape
        given.n_steps, given.n_trials = settings.n_steps, n_trials
        given.n_in = 0 if w_in is None else w_in.shape[0]
        given.n_exc, given.n_inh = n_exc, settings.n_inh
        given.n_out = 0 if w_out is None else w_out.shape[1]
        given.n_threads, given.window = torch.get_num_threads(), settings.window
        # Not beyond the sequence: the library holds the steps of one interval.
        given.spacing = min(settings.keeping.checkpoint_steps, settings.n_steps)
        given.bias, given.cells = settings.bias_us, ctypes.addressof(cells)
        model = "cuba" if isinstance(settings.exc, CurrentCells) else "ping"
        kept_as = settings.keeping.dtype_for(start.dtype)
        suffix = f"{model}_{_SUFFIX[start.dtype]}_{_SUFFIX[kept_as]}"

        def function(name: str, result: Any = None) -> Any:
            found = getattr(library(), f"{name}_{suffix}")
            found.restype = result
            return found

        return function, given, (tensors, cells)


def integrate(
    drive: Tensor, constants: ReadoutConstants, *, slope: float, window: int = 0
) -> Tensor:
    """Return what integrating readouts sum up over time, (trial, class): logits without bias.

    Parameters
    ----------
    drive : Tensor, (step, trial, class)
        ``s W_out`` of each step, differentiable.
    constants : ReadoutConstants
        Of the readouts ``li``, ``spike-count``, ``mem-mean``, ``leaky-mean``.
    slope : float
        Of the surrogate gradient of the output spikes.
    window : int
        The state is detached before every step that is a multiple of it; 0: never.
    """
    total: Tensor = _Integrate.apply(drive, constants, slope, window)
    return total / drive.shape[0] if constants.mode in ("mem-mean", "leaky-mean") else total


class _Integrate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, constants: ReadoutConstants, slope: float, window: int
    ) -> Tensor:
        drive = drive.contiguous()
        total = torch.zeros_like(drive[0])
        best = torch.zeros(total.shape, dtype=torch.int64)
        linear = constants.mode in ("li", "leaky-mean")
        v = torch.empty_like(drive) if ctx.needs_input_grad[0] and not linear else None
        numbers = (
            _MODES[constants.mode], drive.shape[0], total.numel(), constants.decay,
            constants.kick, constants.threshold,
        )  # fmt: skip
        _call("readout_forward", drive.dtype, *numbers, drive, v, total, best)
        ctx.numbers, ctx.shape = (*numbers, slope, window), drive.shape
        ctx.save_for_backward(v, best)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        v, best = ctx.saved_tensors
        grad_drive = grads[0].new_empty(ctx.shape)
        _call(
            "readout_backward", grad_drive.dtype, *ctx.numbers, v, best, grads[0].contiguous(),
            grad_drive,
        )  # fmt: skip
        return grad_drive, None, None, None


def _there(x: Tensor | None) -> Tensor:
    assert x is not None
    return x


def _pointers(kind: Any, tensors: Any) -> Any:
    """Return a structure with the addresses of tensors; what is not named is null."""
    made = kind()
    for name, tensor in tensors.items():
        if tensor is not None:
            assert tensor.is_contiguous()
            assert tensor.device.type == "cpu"
            setattr(made, name, tensor.data_ptr())
    return made


def _call(name: str, dtype: torch.dtype, *arguments: Any) -> None:
    """Call a function of the library; tensors are handed over as pointers, None as null."""
    words: list[Any] = []
    for argument in arguments:
        if argument is None:
            words.append(ctypes.c_void_p(None))
        elif isinstance(argument, Tensor):
            assert argument.is_contiguous()
            words.append(ctypes.c_void_p(argument.data_ptr()))
        elif isinstance(argument, float):
            words.append(ctypes.c_double(argument))
        else:
            words.append(ctypes.c_int(argument))
    getattr(library(), f"{name}_{_SUFFIX[dtype]}")(*words)
