"""The rate network under Dale's law: random start, masks, dynamics, lesions.

Source: Kim, Li & Sejnowski (2019), PNAS 116:22811; interface of the package spikeRNN.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from bridge.rate_to_spike.model_file import RateModel
from bridge.rate_to_spike.rate_forward import X_NOISE, X_START_NOISE
from train_torch.rate_rnn.dynamics import run_rates

Noise = None | int | np.random.Generator | tuple[Any, Any]


class FR_RNN_dale(nn.Module):  # the published name
    """Rate network; `w[i, j]` leads from unit j to unit i.

    Parameters
    ----------
    N : int
        Units.
    P_inh, P_rec : float
        Probability that a unit is inhibitory, and that a connection exists.
    w_in : array or Tensor, shape (N, n_in)
    som_N : int
        The first `som_N` inhibitory units receive no inhibition (SOM cells).
    w_dist : {"gaus", "gamma"}
    gain : float
        Factor on weights drawn from ``gaus``.
    apply_dale : bool
    w_out : array or Tensor, shape (1, N)
    device : torch.device or str
    seed : int, Generator or RandomState, optional
        Of the random assignment and weights; NumPy's global generator if not given.
    dtype : torch.dtype
        float32 as published, or float64.

    Raises
    ------
    ValueError
        For a `w_in` or `w_out` of the wrong shape, or an unknown distribution.
    """

    def __init__(
        self,
        N: int,
        P_inh: float,
        P_rec: float,
        w_in: ArrayLike | Tensor,
        som_N: int = 0,
        w_dist: str = "gaus",
        gain: float = 1.5,
        apply_dale: bool = True,
        w_out: ArrayLike | Tensor | None = None,
        device: torch.device | str | None = None,
        *,
        seed: int | np.random.Generator | np.random.RandomState | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if w_out is None:
            raise TypeError("FR_RNN_dale needs w_out, an array of shape (1, N)")
        self.N, self.P_inh, self.P_rec = int(N), float(P_inh), float(P_rec)
        self.som_N, self.gain, self.apply_dale = int(som_N), float(gain), bool(apply_dale)
        self.w_dist = str(w_dist).lower()
        if self.w_dist not in ("gaus", "gamma"):
            raise ValueError(f"w_dist = {w_dist!r} is unknown; use gaus or gamma")
        self.device = torch.device(device if device is not None else "cpu")
        rng: Any = np.random if seed is None else seed
        if isinstance(seed, int | np.integer):
            rng = np.random.default_rng(int(seed))
        self._set_units(self.assign_exc_inh(rng))
        w = self.initialize_W(rng)
        taus_gaus = rng.standard_normal((self.N, 1))
        to: dict[str, Any] = {"dtype": dtype, "device": self.device}
        self.w = nn.Parameter(torch.as_tensor(w).to(**to))
        self.w_out = nn.Parameter(_copied(w_out, (1, self.N), "w_out", to))
        self.b_out = nn.Parameter(torch.zeros((), **to))
        self.taus_gaus = nn.Parameter(torch.as_tensor(taus_gaus).to(**to))
        self.register_buffer("w_in", _copied(w_in, (self.N, None), "w_in", to))
        self.register_buffer("mask", torch.as_tensor(self._signs()).to(**to))
        self.register_buffer("som_mask", torch.as_tensor(self._som()).to(**to))

    # -- random start ---------------------------------------------------------------------------

    def assign_exc_inh(self, rng: Any = np.random) -> NDArray[np.bool_]:
        """Return which units are inhibitory, shape (N, 1); none without Dale's law."""
        inh = _uniform(rng, (self.N, 1)) < self.P_inh
        return inh if self.apply_dale else np.zeros_like(inh)

    def initialize_W(self, rng: Any = np.random) -> NDArray[np.float32]:
        """Return drawn weights, float32, absolute values under Dale's law."""
        there = _uniform(rng, (self.N, self.N)) < self.P_rec
        w = np.zeros((self.N, self.N), dtype=np.float32)
        if self.w_dist == "gaus":
            w[there] = rng.normal(0.0, 1.0, int(there.sum()))
            # In this order, rounded once: NumPy promotes by the float64 root.
            w = (w / np.sqrt(self.N * self.P_rec) * self.gain).astype(np.float32)
        else:
            w[there] = rng.gamma(2.0, 0.003, int(there.sum()))
        return np.abs(w) if self.apply_dale else w

    def _set_units(self, inh: NDArray[np.bool_]) -> None:
        self.inh = inh
        self.exc = ~inh
        self.NI = int(inh.sum())
        self.NE = self.N - self.NI
        found = np.flatnonzero(inh.ravel())
        self.som_inh: Any = found[: self.som_N] if self.som_N > 0 else 0

    def _signs(self) -> NDArray[np.float32]:
        return np.diag(np.where(self.inh.ravel(), -1.0, 1.0)).astype(np.float32)

    def _som(self) -> NDArray[np.float32]:
        som = np.ones((self.N, self.N), dtype=np.float32)
        if self.som_N > 0:
            som[np.ix_(self.som_inh, np.flatnonzero(self.inh.ravel()))] = 0.0
        return som

    # -- dynamics -------------------------------------------------------------------------------

    def rectified(self) -> Tensor:
        """Return the unsigned weights in use: without negative entries under Dale's law."""
        return torch.relu(self.w) if self.apply_dale else self.w

    def effective_w(self) -> Tensor:
        """Return the signed weights in use, shape (post, pre)."""
        # The mask is diagonal: a product with it scales columns.
        return self.rectified() * torch.diagonal(self.mask) * self.som_mask

    def tau_steps(self, taus: ArrayLike) -> Tensor:
        """Return the time constants in rate steps, shape (N, 1).

        One value is that of all units; two are the ends of a range in which each unit has its own.

        Raises
        ------
        ValueError
            For any other number of values, or a range without width.
        """
        ends = [float(tau) for tau in np.ravel(taus)]
        if len(ends) not in (1, 2) or min(ends) <= 0 or (len(ends) == 2 and ends[0] >= ends[1]):
            raise ValueError(f"taus = {ends} must be one time constant > 0, or two, ascending")
        if len(ends) == 1:
            return torch.full_like(self.taus_gaus, ends[0])
        return torch.sigmoid(self.taus_gaus) * (ends[1] - ends[0]) + ends[0]

    def run_batch(
        self,
        stim: Tensor,
        taus: ArrayLike,
        *,
        activation: str = "sigmoid",
        dt: float = 1.0,
        noise: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x and r, shape (step, trial, cell), and o, shape (trial, step - 1).

        Parameters
        ----------
        stim : Tensor, shape (trial, n_in, step)
        taus : one or two numbers, rate steps
        activation : str
        dt : float, rate steps
        noise : (Tensor (trial, cell), Tensor (step - 1, trial, cell)), optional
            Standard normal deviates of the start and of each step; none without.
        """
        alpha = (dt / self.tau_steps(taus)).squeeze(1)
        n_trials, n_in, n_steps = stim.shape
        rows = stim[:, :, :-1].permute(2, 0, 1).reshape(-1, n_in)  # one product for all steps
        drive = (alpha * (rows @ self.w_in.t())).view(n_steps - 1, n_trials, self.N)
        start = torch.zeros(n_trials, self.N, dtype=self.w.dtype, device=self.w.device)
        if noise is not None:
            start = noise[0] * X_START_NOISE
            drive = drive + noise[1] * X_NOISE
        x, r = run_rates(alpha[:, None] * self.effective_w(), drive, 1.0 - alpha, start, activation)
        o = (r[1:].reshape(-1, self.N) @ self.w_out.t()).view(n_steps - 1, n_trials).t()
        o = o + self.b_out
        return x, r, o

    def forward(
        self,
        stim: Tensor,
        taus: ArrayLike,
        training_params: Mapping[str, Any],
        settings: Mapping[str, Any],
        *,
        noise: Noise | torch.Generator = "ambient",  # type: ignore[assignment]
        generator: torch.Generator | None = None,
    ) -> tuple[Any, ...]:
        """Run one trial, or a batch of them.

        Parameters
        ----------
        stim : Tensor, shape (n_in, T) or (batch, n_in, T)
        taus : one or two numbers, rate steps
        training_params : mapping
            ``activation``.
        settings : mapping
            ``T``, and ``DeltaT`` (1 if missing), in rate steps.
        noise : (array (N, 1), array (T - 1, N, 1)), Generator, 0 or None, optional
            Standard normal deviates; 0 or None for none. Drawn by torch if not given.
        generator : torch.Generator, optional
            Draws them.

        Returns
        -------
        tuple
            ``stim, x, r, o, w, w_in, mask, som_mask, w_out, b_out, taus_gaus``: x and r lists of T
            tensors (N, 1), o a list of T - 1 tensors (1, 1) (batch: (batch, N) and (batch, 1)); `w`
            a copy of the weights in use, the others the parameters themselves.

        Raises
        ------
        ValueError
            If `stim` has not T columns or not the rows of `w_in`, or for an unknown activation.
        """
        batch = stim if stim.dim() == 3 else stim.unsqueeze(0)
        n_steps = int(settings["T"])
        if batch.shape[1:] != (self.w_in.shape[1], n_steps):
            raise ValueError(
                f"stim has shape {tuple(stim.shape)}; needed are {self.w_in.shape[1]} rows "
                f"and T = {n_steps} columns"
            )
        x, r, o = self.run_batch(
            batch.to(self.w),
            taus,
            activation=str(training_params.get("activation", "sigmoid")),
            dt=float(settings.get("DeltaT", 1)),
            noise=self._noise(noise, generator, len(batch), n_steps),
        )
        single = stim.dim() == 2
        o_list = [row.reshape(-1, 1) for row in o.t()]
        x_list = [row.t() if single else row for row in x]
        r_list = [row.t() if single else row for row in r]
        w = self.rectified().detach().clone()
        return (
            stim, x_list, r_list, o_list, w, self.w_in, self.mask, self.som_mask, self.w_out,
            self.b_out, self.taus_gaus,
        )  # fmt: skip

    def _noise(
        self, noise: Any, generator: torch.Generator | None, n_trials: int, n_steps: int
    ) -> tuple[Tensor, Tensor] | None:
        if noise is None or (isinstance(noise, int | float) and noise == 0):
            return None
        like: dict[str, Any] = {"dtype": self.w.dtype, "device": self.w.device}
        shape = (n_steps - 1, n_trials, self.N)
        if isinstance(noise, str):  # drawn as the steps go, start first
            start = torch.randn((n_trials, self.N), generator=generator, **like)
            return start, torch.randn(shape, generator=generator, **like)
        if isinstance(noise, np.random.Generator):
            start_n = noise.standard_normal((n_trials, self.N))
            return (
                torch.as_tensor(start_n).to(**like),
                torch.as_tensor(noise.standard_normal(shape)).to(**like),
            )
        start = torch.as_tensor(noise[0]).to(**like).reshape(n_trials, self.N)
        return start, torch.as_tensor(noise[1]).to(**like).reshape(shape)

    # -- other uses -----------------------------------------------------------------------------

    def lesion_w(self, p: float, scale: float = 0.0, *, seed: int | None = None) -> None:
        """Multiply a random share `p` of the existing weights by `scale`.

        Raises
        ------
        ValueError
            If `p` or `scale` lies outside [0, 1].
        """
        self._lesion([np.ones((self.N, self.N), dtype=bool)], p, scale, seed)

    def lesion_w_by_type(self, p: float, scale: float = 0.0, *, seed: int | None = None) -> None:
        """Do the same in each of the four blocks between E and I units.

        Raises
        ------
        ValueError
            If `p` or `scale` lies outside [0, 1].
        """
        exc, inh = self.exc.ravel(), self.inh.ravel()
        blocks = [np.outer(post, pre) for pre in (exc, inh) for post in (exc, inh)]
        self._lesion(blocks, p, scale, seed)

    @torch.no_grad()
    def _lesion(
        self, blocks: list[NDArray[np.bool_]], p: float, scale: float, seed: int | None
    ) -> None:
        for name, value in (("p", p), ("scale", scale)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} = {value:g} must lie between 0 and 1")
        w = self.w.detach().cpu().numpy()
        there = w > 0 if self.apply_dale else w != 0
        rng: Any = np.random if seed is None else np.random.default_rng(seed)
        for block in blocks:
            rows, columns = np.nonzero(there & block)
            chosen = rng.choice(len(rows), int(p * len(rows)), replace=False)
            self.w[rows[chosen], columns[chosen]] *= scale

    def load_net(self, path: str | Path) -> FR_RNN_dale:
        """Take over the network of a model file, and return it.

        Raises
        ------
        FileNotFoundError, ValueError
            See :meth:`bridge.rate_to_spike.model_file.RateModel.load`.
        """
        model = RateModel.load(path)
        self.N, self.som_N = model.n, model.som_n
        self.apply_dale = model.dales_law
        self._set_units(model.inh[:, None])
        to: dict[str, Any] = {"dtype": self.w.dtype, "device": self.w.device}
        self.w = nn.Parameter(torch.as_tensor(model.w).to(**to))
        self.w_out = nn.Parameter(torch.as_tensor(model.w_out).to(**to))
        self.b_out = nn.Parameter(torch.tensor(model.b_out, **to))
        self.w_in = torch.as_tensor(model.w_in).to(**to)
        self.mask = torch.as_tensor(model.m).to(**to)
        self.som_mask = torch.as_tensor(model.som_m).to(**to)
        if model.taus_gaus is not None:
            self.taus_gaus = nn.Parameter(torch.as_tensor(model.taus_gaus[:, None]).to(**to))
        self.taus = model.taus
        return self

    def display(self) -> None:
        """Print the numbers of units and how the signs of the weights in use are shared out."""
        w = self.effective_w().detach().cpu().numpy()
        print(f"units: {self.N} ({self.NE} excitatory, {self.NI} inhibitory, {self.som_N} SOM)")
        for word, share in (("zero", w == 0), ("positive", w > 0), ("negative", w < 0)):
            print(f"{word} weights: {100.0 * share.mean():.2f} %")


def _uniform(rng: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (rng.random if hasattr(rng, "random") else rng.random_sample)(
        shape
    )
    return found


def _copied(given: Any, shape: tuple[int | None, ...], name: str, to: dict[str, Any]) -> Tensor:
    tensor = given.detach().clone() if isinstance(given, Tensor) else torch.tensor(np.array(given))
    wrong = tensor.dim() != len(shape) or any(
        n is not None and n != m for n, m in zip(shape, tensor.shape, strict=False)
    )
    if wrong:
        wanted = ", ".join("n_in" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; needed is ({wanted})")
    return tensor.to(**to)


def make_network(
    *,
    n_units: int,
    n_in: int,
    p_inh: float = 0.2,
    p_rec: float = 0.2,
    som_n: int = 0,
    w_dist: str = "gaus",
    gain: float = 1.5,
    apply_dale: bool = True,
    rng: np.random.Generator,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> FR_RNN_dale:
    """Return a network at its published start: input weights N(0, 1), output weights N(0, 1)/100.

    Everything comes from `rng`: input weights, output weights, then the network's own draws.
    """
    w_in = rng.standard_normal((n_units, n_in))
    w_out = rng.standard_normal((1, n_units)) / 100.0
    return FR_RNN_dale(
        n_units, p_inh, p_rec, w_in, som_n, w_dist, gain, apply_dale, w_out, device,
        seed=rng, dtype=dtype,
    )  # fmt: skip
