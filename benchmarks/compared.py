"""The networks that `train.py` compares: the project's, a plain eager loop, other libraries."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bridge.network.encoders import dataset_rate, sample_seeds
from bridge.network.spec import PingSpec, ei_layer
from bridge.network.steps import step_constants
from bridge.network.stimulus import Stimulus
from bridge.network.weights import DrawRule, WeightDraw, Weights, draw_weights
from train_torch.network.networks import Learning, SpikingNetwork, build_network

DT_MS = 0.25
BATCH = 64
RATE_HZ = 100.0  # of a channel whose pixel is 1
DAMPEN = 80.0
BASELINE = "plain eager loop"
OURS = ("cpp", "function", "eager", BASELINE)
LIBRARIES = {
    "snnTorch RLeaky": "snntorch",
    "snnTorch RSynaptic": "snntorch",
    "Norse LIFRecurrent": "norse",
    "Norse CobaLIFCell": "norse",
    "SpikingJelly recurrent LIF": "spikingjelly",
    "SpikingJelly LIF, no recurrence": "spikingjelly",
}
PACKAGES = {
    "snntorch": "snntorch", "norse": "norse nir nirtorch", "spikingjelly": "spikingjelly loguru",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A network size; `recurrent`: E-E synapses as well, and all recurrent weights learn."""

    n_in: int
    n_exc: int
    n_inh: int
    n_steps: int
    recurrent: bool = False

    @property
    def title(self) -> str:
        """What identifies the case in the table."""
        learns = "all weights learn" if self.recurrent else "input and readout learn"
        return f"{self.n_in}-{self.n_exc}-{self.n_inh}, B {BATCH}, {self.n_steps} steps, {learns}"

    @property
    def state_mb(self) -> float:
        """Size of one float32 of each cell in each step."""
        return self.n_steps * BATCH * (self.n_exc + self.n_inh) * 4 / 1e6


def pictures(n_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (sample, channel) and labels of a batch of digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images[:BATCH] / 16.0
    if n_in == 784:
        images = np.kron(images, np.ones((4, 4)))[:, 2:30, 2:30]
    pixels = images.reshape(BATCH, -1)[:, :n_in]
    assert pixels.shape[1] == n_in
    return pixels, digits.target[:BATCH].astype(np.int64)


def encode(case: Case) -> Stimulus:
    """Return the input spikes of a batch."""
    return dataset_rate(
        pictures(case.n_in)[0], rate_hz=RATE_HZ, dt_ms=DT_MS, n_steps=case.n_steps,
        seeds=sample_seeds(42, np.arange(BATCH), epoch=1),
    )  # fmt: skip


def parts(case: Case) -> tuple[PingSpec, Weights]:
    """Return spec and weights."""
    spec = PingSpec(n_in=case.n_in, layers=(ei_layer(case.n_exc, case.n_inh),))
    draw = WeightDraw(
        w_in=DrawRule(0.3, 0.06, 0.95), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2),
        w_ee=DrawRule(0.02, 0.002) if case.recurrent else DrawRule(0.0, 0.0),
    )  # fmt: skip
    return spec, draw_weights(spec, draw, seed=42)


class Ours(nn.Module):
    """The project's network with one kind of loops."""

    def __init__(self, case: Case, kernel: str, dtype: torch.dtype) -> None:
        super().__init__()
        trainable = {"W_ee", "W_ei", "W_ie"} if case.recurrent else set()
        self.network: SpikingNetwork = build_network(
            *parts(case), dt_ms=DT_MS, dtype=dtype,
            learning=Learning(v_grad_dampen=DAMPEN, trainable=frozenset(trainable)),
        )  # fmt: skip
        self.kernel = kernel
        self.spikes_per_cell = 0.0

    def forward(self, x: Stimulus) -> Tensor:
        """Return the logits."""
        run = self.network(x, kernel=self.kernel)
        assert run.lost_step is None
        self.spikes_per_cell = float(run.counts["e1"].detach().mean())
        return run.logits

    def named_gradients(self) -> dict[str, Tensor]:
        """Return the gradients by the names of the matrices."""
        matrices = {n: self.network.matrix(n).grad for n in self.network.spec.matrix_shapes}
        return {n: g for n, g in matrices.items() if g is not None}

    def project(self) -> None:
        """Apply Dale's law."""
        self.network.project()


class _PlainSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return grads[0] / (1.0 + u.abs()) ** 2


class _PlainDampen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dv: Tensor) -> Tensor:
        return dv.view_as(dv)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] / DAMPEN


class Plain(nn.Module):
    """The same equations as one would write them down: dense products, autograd through all."""

    def __init__(self, case: Case, dtype: torch.dtype) -> None:
        super().__init__()
        self.spec, weights = parts(case)
        self.w = nn.ParameterDict()
        for name, matrix in weights.items():
            if not matrix.any():
                continue
            learns = case.recurrent or name in ("W_in", "W_out")
            self.w[name] = nn.Parameter(torch.tensor(matrix, dtype=dtype), requires_grad=learns)
        self.spikes_per_cell = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a dense raster (step, batch, channel)."""
        c, w = step_constants(self.spec, DT_MS), {n: m.clamp(min=0.0) for n, m in self.w.items()}
        exc, inh = self.spec.exc_cell, self.spec.inh_cell
        n_e, n_i = self.spec.layers[0].n_exc, self.spec.layers[0].n_inh
        v_e, v_i = x.new_full((x.shape[1], n_e), -65.0), x.new_full((x.shape[1], n_i), -65.0)
        ge_e, gi_e, s_e, ref_e, counts = (torch.zeros_like(v_e) for _ in range(5))
        ge_i, s_i, ref_i = (torch.zeros_like(v_i) for _ in range(3))
        silent = torch.zeros_like(v_i)

        def cells(v, ge, gi, ref, cell, n_ref):
            g = cell.g_leak_us + ge + gi
            v_inf = (cell.g_leak_us * cell.e_leak_mv + ge * cell.e_exc_mv + gi * cell.e_inh_mv) / g
            dv = (v_inf - v) * (1.0 - torch.exp(-DT_MS / cell.c_m_nf * g))
            v = v + _PlainDampen.apply(dv)
            ref = (ref - 1.0).clamp(min=0.0)
            spikes = _PlainSpike.apply(v - cell.v_th_mv) * (ref == 0)
            fired = spikes.detach() > 0
            v = torch.where(fired | (ref > 0), cell.v_reset_mv, v)
            return v, torch.where(fired, float(n_ref), ref), spikes

        for n in range(len(x)):
            kick = x[n] @ w["W_in"]
            if "W_ee_1" in w:
                kick = kick + s_e @ w["W_ee_1"]
            ge_e = ge_e * c.decay_ampa + kick
            gi_e = gi_e * c.decay_gaba + s_i @ w["W_ie_1"]
            ge_i = ge_i * c.decay_ampa + s_e @ w["W_ei_1"]
            v_e, ref_e, s_e = cells(v_e, ge_e, gi_e, ref_e, exc, c.n_ref_exc_steps)
            v_i, ref_i, s_i = cells(v_i, ge_i, silent, ref_i, inh, c.n_ref_inh_steps)
            counts = counts + s_e
        self.spikes_per_cell = float(counts.detach().mean())
        return counts @ w["W_out"]

    def named_gradients(self) -> dict[str, Tensor]:
        """Return the gradients by the names of the matrices."""
        return {n: m.grad for n, m in self.w.items() if m.grad is not None}

    @torch.no_grad()
    def project(self) -> None:
        """Apply Dale's law."""
        for matrix in self.w.values():
            if matrix.requires_grad:
                matrix.clamp_(min=0.0)


class SpikingJelly(nn.Module):
    """As many of SpikingJelly's LIF cells, all-to-all recurrent or not, over a whole sequence."""

    def __init__(self, case: Case, name: str) -> None:
        super().__init__()
        n = case.n_exc + case.n_inh
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            base = importlib.import_module("spikingjelly.activation_based")
            for part in ("neuron", "layer", "functional"):
                importlib.import_module(f"spikingjelly.activation_based.{part}")
        self._reset = base.functional.reset_net
        self.w_in = nn.Linear(case.n_in, n, bias=False)
        if "no recurrence" in name:
            self.cell = base.neuron.LIFNode(tau=20.0, step_mode="m")
        else:
            self.cell = base.layer.LinearRecurrentContainer(
                base.neuron.LIFNode(tau=20.0), n, n, bias=False, step_mode="m"
            )
        self.w_out = nn.Linear(n, 10)
        self.spikes_per_cell = 0.0
        with torch.no_grad():
            self.w_in.weight.mul_(100.0)  # its cells divide their input by tau
            if "no recurrence" not in name:
                self.cell.rc.weight[:, :n] = torch.eye(n)  # otherwise it would mix the input
                self.cell.rc.weight[:, n:] *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a dense raster (step, batch, channel)."""
        self._reset(self)
        counts = self.cell(self.w_in(x)).sum(0)
        self.spikes_per_cell = float(counts.detach().mean())
        return self.w_out(counts)

    def project(self) -> None:
        """Do nothing: these weights have no sign to keep."""


class Library(nn.Module):
    """A recurrent network of another library with as many cells, and its usual loop over time."""

    def __init__(self, case: Case, name: str) -> None:
        super().__init__()
        n = case.n_exc + case.n_inh
        self.name = name
        self.w_in: nn.Module = nn.Identity()  # Norse's cells own their input weights
        if name.startswith("snnTorch"):
            snn = _import("snntorch")
            self.w_in = nn.Linear(case.n_in, n, bias=False)
            if name.endswith("RLeaky"):
                self.cell = snn.RLeaky(beta=0.95, linear_features=n)
            else:
                self.cell = snn.RSynaptic(alpha=0.9, beta=0.95, linear_features=n)
        else:
            norse = _import("norse.torch")
            kind = norse.LIFRecurrent if name.endswith("LIFRecurrent") else norse.CobaLIFCell
            self.cell = kind(case.n_in, n)
        self.w_out = nn.Linear(n, 10)
        self.spikes_per_cell = 0.0
        with torch.no_grad():  # as they start, some are silent and gradients of others overflow
            for key, matrix in self.named_parameters():
                if "recurrent" in key:
                    matrix.mul_(0.1)
                elif key in ("w_in.weight", "cell.input_weights") and "RSynaptic" not in name:
                    matrix.mul_(3.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a dense raster (step, batch, channel)."""
        counts: Any = 0.0
        state: Any = None
        if self.name == "Norse LIFRecurrent":
            counts = self.cell(x)[0].sum(0)
        else:
            if self.name.startswith("snnTorch"):
                state = self.cell.reset_mem()
            for n in range(len(x)):
                if self.name == "Norse CobaLIFCell":
                    spikes, state = self.cell(x[n], state)
                else:
                    spikes, *_ = state = self.cell(self.w_in(x[n]), *state)
                counts = counts + spikes
        self.spikes_per_cell = float(counts.detach().mean())
        return self.w_out(counts)

    def project(self) -> None:
        """Do nothing: these weights have no sign to keep."""


def _import(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # theirs, about torch.jit
        return importlib.import_module(name)


def why_missing(name: str) -> str | None:
    """Return what to install for a network, or None if it is there."""
    package = LIBRARIES.get(name)
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return f"not installed (pip install -c constraints.txt --no-deps {PACKAGES[package]})"


def make_model(name: str, case: Case, dtype: torch.dtype = torch.float32) -> Any:
    """Return a network by its name in the table."""
    torch.manual_seed(42)
    if name == BASELINE:
        return Plain(case, dtype)
    if name.startswith("SpikingJelly"):
        return SpikingJelly(case, name)
    return Ours(case, name, dtype) if name in OURS else Library(case, name)


def make_input(name: str, stimulus: Stimulus, dtype: torch.dtype = torch.float32) -> Any:
    """Return the batch as a network takes it: events, or a dense raster (step, batch, channel)."""
    if name in OURS and name != BASELINE:
        return stimulus
    rows = torch.from_numpy(stimulus.events.astype(np.int64))
    x = torch.zeros(stimulus.n_steps, stimulus.n_trials, stimulus.n_in, dtype=dtype)
    return x.index_put_((rows[:, 0], rows[:, 1], rows[:, 2]), torch.ones((), dtype=dtype))
