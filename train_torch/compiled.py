"""The compiled loops of the conductance-based network, as differentiable functions.

A layer runs over the whole sequence in one call, forward and backward, in C++
(`kernels/ping_layer.cpp`); torch sees two functions, :func:`layer` and :func:`integrate`. The
library is compiled once per machine and kept in the cache folder. Where there is no compiler the
eager loop does the same work.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from bridge.cache import cache_root
from bridge.network.spec import CellSpec
from train_torch.readouts import ReadoutConstants

log = logging.getLogger("pingbridge")

SOURCE = Path(__file__).parent / "kernels" / "ping_layer.cpp"
_FLAGS = (
    "-O3", "-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-fPIC", "-shared", "-pthread", "-Wno-psabi",
)  # fmt: skip
_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_MODES = {"li": 0, "spike-count": 1, "mem-mean": 2}


def why_missing() -> str | None:
    """Return why compiled loops can't run here, or None if they can."""
    try:
        _library()
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return None


@dataclass(frozen=True, kw_only=True)
class LayerConstants:
    """The cells of one layer on a grid, and how gradients pass through them."""

    exc_cell: CellSpec
    inh_cell: CellSpec
    dt_ms: float
    decay_ampa: float
    decay_gaba: float
    n_ref_exc_steps: int
    n_ref_inh_steps: int
    surrogate_slope: float
    v_grad_dampen: float

    def packed(self) -> Any:
        """Return the constants as the library reads them: E cells, then I cells."""
        pair = (self.exc_cell, self.n_ref_exc_steps), (self.inh_cell, self.n_ref_inh_steps)
        numbers = [
            x
            for cell, n_ref in pair
            for x in (
                self.dt_ms, self.decay_ampa, self.decay_gaba, cell.g_leak_us, cell.e_leak_mv,
                cell.e_exc_mv, cell.e_inh_mv, cell.c_m_nf, cell.v_th_mv, cell.v_reset_mv,
                cell.v_floor_mv, n_ref, self.surrogate_slope, self.v_grad_dampen,
            )
        ]  # fmt: skip
        return (ctypes.c_double * len(numbers))(*numbers)


@dataclass(frozen=True, kw_only=True, eq=False)
class EventTable:
    """Input spikes of a batch, for the library: by trial, then step.

    Attributes
    ----------
    start : Tensor, int64, (trial * n_steps + step,) + 1
        Where the channels of each step begin.
    channel : Tensor, int32
    """

    n_steps: int
    n_trials: int
    start: Tensor
    channel: Tensor

    @classmethod
    def of(cls, events: Tensor, *, n_steps: int, n_trials: int) -> EventTable:
        """Return the table of rows (step, trial, channel) sorted by trial, then step."""
        rows = events.cpu()
        slot = rows[:, 1] * n_steps + rows[:, 0]
        count = torch.bincount(slot, minlength=n_trials * n_steps)
        start = torch.zeros(n_trials * n_steps + 1, dtype=torch.int64)
        torch.cumsum(count, 0, out=start[1:])
        return cls(
            n_steps=n_steps, n_trials=n_trials, start=start,
            channel=rows[:, 2].to(torch.int32).contiguous(),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRun:
    """What a layer did: spikes (step, batch, cell), counts (batch, cell), lost steps (batch,)."""

    spikes_exc: Tensor
    counts_exc: Tensor
    spikes_inh: Tensor | None
    counts_inh: Tensor | None
    lost_step: Tensor


def layer(
    constants: LayerConstants,
    *,
    n_steps: int,
    v_start_exc: Tensor,
    v_start_inh: Tensor | None,
    drive: Tensor | None = None,
    events: EventTable | None = None,
    w_in: Tensor | None = None,
    external: Tensor | None = None,
    bias_us: float = 0.0,
    w_ee: Tensor | None = None,
    w_ei: Tensor | None = None,
    w_ie: Tensor | None = None,
    w_ii: Tensor | None = None,
) -> LayerRun:
    """Run one layer over a whole sequence.

    Parameters
    ----------
    constants : LayerConstants
    n_steps : int
    v_start_exc, v_start_inh : Tensor, (batch, cell), mV
        Initial voltages; no I cells without the latter.
    drive : Tensor, (step, batch, E cell), µS, optional
        Kicks from the layer below, differentiable.
    events, w_in : EventTable and Tensor (channel, E cell), optional
        Input spikes and their weights; the weights are differentiable.
    external : Tensor, (step, batch, E cell), µS, optional
    bias_us : float, µS
    w_ee, w_ei, w_ie, w_ii : Tensor, (pre, post), µS, optional
        Recurrent weights as a step uses them, differentiable.
    """
    settings = _Settings(
        constants=constants, n_steps=n_steps, events=events, external=_c(external),
        bias_us=bias_us, v_start_exc=v_start_exc.contiguous(), v_start_inh=_c(v_start_inh),
    )  # fmt: skip
    spikes, counts, spikes_inh, counts_inh, lost = _Layer.apply(
        settings, drive, w_in, w_ee, w_ei, w_ie, w_ii
    )
    return LayerRun(
        spikes_exc=spikes, counts_exc=counts, spikes_inh=spikes_inh, counts_inh=counts_inh,
        lost_step=lost,
    )  # fmt: skip


def integrate(drive: Tensor, constants: ReadoutConstants, *, slope: float) -> Tensor:
    """Return the logits of the readouts ``li``, ``spike-count`` and ``mem-mean``, (batch, class).

    Parameters
    ----------
    drive : Tensor, (step, batch, class)
        ``s W_out`` of each step, differentiable.
    constants : ReadoutConstants
    slope : float
        Of the surrogate gradient of the output spikes.
    """
    total: Tensor = _Integrate.apply(drive, constants, slope)
    return total / drive.shape[0] if constants.mode == "mem-mean" else total


@dataclass(frozen=True, kw_only=True, eq=False)
class _Settings:
    constants: LayerConstants
    n_steps: int
    events: EventTable | None
    external: Tensor | None
    bias_us: float
    v_start_exc: Tensor
    v_start_inh: Tensor | None

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        n_trials, n_exc = self.v_start_exc.shape
        n_inh = 0 if self.v_start_inh is None else self.v_start_inh.shape[1]
        return self.n_steps, n_trials, n_exc, n_inh


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, settings: _Settings, *given: Tensor | None) -> Any:
        drive, w_in, w_ee, w_ei, w_ie, w_ii = (_c(x) for x in given)
        n_steps, n_trials, n_exc, n_inh = settings.sizes
        start = settings.v_start_exc
        learns = any(ctx.needs_input_grad)

        def space(n: int, *, wanted: bool = True, dtype: Any = None) -> Tensor | None:
            if not (wanted and n):
                return None
            return start.new_empty((n_steps, n_trials, n), dtype=dtype or start.dtype)

        spikes, spikes_inh = space(n_exc), space(n_inh)
        assert spikes is not None
        counts = start.new_zeros((n_trials, n_exc))
        counts_inh = start.new_zeros((n_trials, n_inh)) if n_inh else None
        kept = {
            "v": space(n_exc, wanted=learns), "ge": space(n_exc, wanted=learns),
            "gi": space(n_exc, wanted=learns and w_ie is not None),
            "free": space(n_exc, wanted=learns, dtype=torch.uint8),
            "v_i": space(n_inh, wanted=learns), "ge_i": space(n_inh, wanted=learns),
            "gi_i": space(n_inh, wanted=learns and w_ii is not None),
            "free_i": space(n_inh, wanted=learns, dtype=torch.uint8),
        }  # fmt: skip
        keep = _pointers(
            kept["v"], kept["ge"], kept["gi"], spikes, counts, kept["free"],
            kept["v_i"], kept["ge_i"], kept["gi_i"], spikes_inh, counts_inh, kept["free_i"],
        )  # fmt: skip
        lost = torch.empty(n_trials, dtype=torch.int64)
        events = settings.events
        _call(
            "layer_forward", start.dtype, n_steps, n_trials, n_exc, n_inh,
            settings.constants.packed(), drive, events and events.start,
            events and events.channel, w_in, settings.external, settings.bias_us,
            w_ee, w_ei, w_ie, w_ii, start, settings.v_start_inh, keep, lost,
            torch.get_num_threads(),
        )  # fmt: skip
        ctx.settings, ctx.kept = settings, kept
        ctx.save_for_backward(spikes, spikes_inh, w_in, w_ee, w_ei, w_ie, w_ii)
        ctx.mark_non_differentiable(*(x for x in (spikes_inh, counts_inh, lost) if x is not None))
        ctx.set_materialize_grads(False)
        return spikes, counts, spikes_inh, counts_inh, lost

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        from_spikes, from_counts = (_c(g) for g in grads[:2])
        spikes, spikes_inh, w_in, w_ee, w_ei, w_ie, w_ii = ctx.saved_tensors
        settings: _Settings = ctx.settings
        n_steps, n_trials, n_exc, n_inh = settings.sizes
        kept, start = ctx.kept, settings.v_start_exc
        _, for_drive, for_in, for_ee, for_ei, for_ie, for_ii = ctx.needs_input_grad
        saved = _pointers(
            kept["v"], kept["ge"], kept["gi"], spikes, start, kept["free"],
            kept["v_i"], kept["ge_i"], kept["gi_i"], spikes_inh, settings.v_start_inh,
            kept["free_i"],
        )  # fmt: skip

        def space(n: int, wanted: bool) -> Tensor | None:
            return start.new_empty((n_steps, n_trials, n)) if wanted else None

        ge, gi = space(n_exc, True), space(n_exc, for_ie)
        ge_inh, gi_inh = space(n_inh, for_ei), space(n_inh, for_ii)
        threads = torch.get_num_threads()
        _call(
            "layer_backward", start.dtype, n_steps, n_trials, n_exc, n_inh,
            settings.constants.packed(), saved, w_ee, w_ei, w_ie, w_ii, from_spikes, from_counts,
            ge, gi, ge_inh, gi_inh, threads,
        )  # fmt: skip
        grad_in = None
        if for_in:
            assert settings.events is not None
            grad_in = torch.zeros_like(w_in)
            _call(
                "event_gradient", start.dtype, n_steps, n_trials, n_exc, settings.events.start,
                settings.events.channel, ge, grad_in, threads,
            )  # fmt: skip

        def recurrent(wanted: bool, pre: Tensor, grad: Tensor | None, w: Tensor) -> Tensor | None:
            if not wanted:
                return None
            into = torch.zeros_like(w)
            _call(
                "spike_gradient", start.dtype, n_steps, n_trials, w.shape[0], w.shape[1],
                pre, grad, into, threads,
            )  # fmt: skip
            return into

        return (
            None, ge if for_drive else None, grad_in,
            recurrent(for_ee, spikes, ge, w_ee), recurrent(for_ei, spikes, ge_inh, w_ei),
            recurrent(for_ie, spikes_inh, gi, w_ie), recurrent(for_ii, spikes_inh, gi_inh, w_ii),
        )  # fmt: skip


class _Integrate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: Tensor, constants: ReadoutConstants, slope: float) -> Tensor:
        drive = drive.contiguous()
        total = torch.zeros_like(drive[0])
        best = torch.zeros(total.shape, dtype=torch.int64)
        v = torch.empty_like(drive) if ctx.needs_input_grad[0] else None
        numbers = (
            _MODES[constants.mode], drive.shape[0], total.numel(), constants.decay,
            constants.kick, constants.threshold,
        )  # fmt: skip
        _call("readout_forward", drive.dtype, *numbers, drive, v, total, best)
        ctx.numbers, ctx.slope = numbers, slope
        if v is not None:
            ctx.save_for_backward(v, best)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        v, best = ctx.saved_tensors
        grad_drive = torch.empty_like(v)
        _call(
            "readout_backward", v.dtype, *ctx.numbers, ctx.slope, v, best, grads[0].contiguous(),
            grad_drive,
        )  # fmt: skip
        return grad_drive, None, None


def _c(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.detach().contiguous()


def _pointers(*tensors: Tensor | None) -> Any:
    addresses = [None if x is None else x.data_ptr() for x in tensors]
    return (ctypes.c_void_p * len(addresses))(*addresses)


def _call(name: str, dtype: torch.dtype, *arguments: Any) -> None:
    """Call a function of the library; tensors are handed over as pointers, None as null."""
    function: Callable[..., None] = getattr(_library(), f"{name}_{_SUFFIX[dtype]}")
    words: list[Any] = []
    for argument in arguments:
        if argument is None:
            words.append(ctypes.c_void_p(None))
        elif isinstance(argument, Tensor):
            assert argument.is_contiguous()
            assert argument.device.type == "cpu"
            words.append(ctypes.c_void_p(argument.data_ptr()))
        elif isinstance(argument, float):
            words.append(ctypes.c_double(argument))
        elif isinstance(argument, int):
            words.append(ctypes.c_int(argument))
        else:
            words.append(argument)
    function(*words)


@functools.cache
def _library() -> ctypes.CDLL:
    """Return the compiled library, made if need be.

    Raises
    ------
    OSError
        Without a compiler, or if it fails.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    found = shutil.which(compiler[0])
    if found is None:
        raise OSError(f"no C++ compiler ({compiler[0]}) is there; install g++, or set CXX to one")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    source = SOURCE.read_bytes()
    key = hashlib.sha256(
        b"\0".join([source, version.stdout.encode(), *map(str.encode, _FLAGS), _processor()])
    ).hexdigest()[:24]
    folder = cache_root() / "kernels"
    folder.mkdir(exist_ok=True, mode=0o700)
    target = folder / f"{key}.so"
    with FileLock(folder / f"{key}.lock"):
        if not target.exists():
            _compile([*compiler], target)
    return ctypes.CDLL(str(target))


def _compile(compiler: list[str], target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        made = Path(place) / target.name
        for native in (["-march=native"], []):  # some compilers do not know their machine
            done = subprocess.run(
                [*compiler, *_FLAGS, *native, str(SOURCE), "-o", str(made)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                made.replace(target)
                return
    raise OSError(f"{compiler[0]} failed on {SOURCE.name}: {done.stderr.strip()[-300:]}")


def _processor() -> bytes:
    """Return what tells processors apart: code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = [line for line in lines if line.startswith(("flags", "Features"))][:1]
    except OSError:
        flags = []
    return " ".join([platform.machine(), platform.processor(), *flags]).encode()
