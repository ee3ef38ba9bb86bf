"""The converted rate network in Brian2: one trial as published, or many runs side by side.

Source: Kim, Li & Sejnowski (2019), PNAS 116:22811; interface of the package spikeRNN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import (
    SKIPPED_STEPS,
    LifParameters,
    Stimulation,
    check_factors,
    check_input,
    convert,
    draw_v_start,
    drive,
    n_lif_steps,
    read_stims,
    scale_noise,
)
from bridge.rate_to_spike.model_file import RATE_STEP_MS, RateModel
from bridge.rate_to_spike.readout import Readout
from sim_brian.engine.circuit import RawRun
from sim_brian.engine.program import EngineOptions, run_model
from sim_brian.rate_lif.model import RateLifModel

RECORDED = ("REC", "spk", "rs", "IPSCs")
"""What of a run has a value for each cell and step."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spikes:
    """Spikes of runs that differ by trial and factor; run = trial * n_factors + factor.

    Attributes
    ----------
    run, cell, step : int64, shape (spike,)
        Sorted by run, then step, then cell.
    n_runs, n_steps : int
    """

    run: NDArray[np.int64]
    cell: NDArray[np.int64]
    step: NDArray[np.int64]
    n_runs: int
    n_steps: int

    def counts(self, n_cells: int, *, skip: int = SKIPPED_STEPS) -> NDArray[np.int64]:
        """Return the spikes of each cell from step `skip` on, shape (run, cell)."""
        kept = self.step >= skip
        at = self.run[kept] * n_cells + self.cell[kept]
        return np.bincount(at, minlength=self.n_runs * n_cells).reshape(self.n_runs, n_cells)


def spikes_of(raw: RawRun, model: RateLifModel) -> Spikes:
    """Return the spikes of a finished run.

    Raises
    ------
    ValueError
        If a voltage ended not finite.
    """
    n = model.network.n
    v_end = raw.finals["v"]
    if not np.isfinite(v_end).all():
        lost = divmod(int(np.flatnonzero(~np.isfinite(v_end))[0]), n)
        factor = model.factors[lost[0] % len(model.factors)]
        raise ValueError(
            f"the voltage of cell {lost[1]} is not finite at scaling factor {factor:g}; the "
            "weights or the input are too large"
        )
    index, step = raw.spikes["cells"]
    run, cell = np.divmod(index, n)
    order = np.lexsort((cell, step, run))
    return Spikes(
        run=run[order], cell=cell[order], step=step[order], n_runs=model.n_runs,
        n_steps=model.n_steps,
    )  # fmt: skip


def LIF_network_fnc(  # the published name
    model: str | Path | Mapping[str, Any] | RateModel,
    scaling_factor: float,
    u: Any,
    stims: Mapping[str, Any] | None = None,
    downsample: int = 1,
    use_initial_weights: bool = False,
    *,
    noise: Any = None,
    v0: Any = None,
    coins: Any = None,
    seed: int | None = None,
    rectify: bool | str = "auto",
    add_bias: bool = False,
    init_v: str = "uniform",
    refractory: str = "float",
    noise_scaling: str = "step",
    parameters: Mapping[str, float] | None = None,
    record: Iterable[str] = RECORDED,
    engine: EngineOptions | None = None,
) -> tuple[Any, ...]:
    """Run one trial of the spiking network that a rate network becomes.

    Parameters
    ----------
    model : path, loaded fields, or RateModel
        A .mat file, or what was loaded from one; not changed.
    scaling_factor : float
        Recurrent and output weights are divided by it; about the rate (Hz) that stands for 1.
    u : array, shape (n_in, column)
        Input; a column is a rate step (5 ms). The run has 100 LIF steps between two columns.
    stims : mapping, optional
        Artificial stimulation: ``mode`` 'none', 'exc' or 'inh', ``dur`` [on, off) in LIF steps,
        ``units``.
    downsample : int
        Take every such column, with a time step as much longer.
    use_initial_weights : bool
        Use the weights before training.
    noise : array (step, cell), Generator or 0, optional
        Standard normal deviates; drawn from `seed` if not given.
    v0 : array (cell,), optional
        Initial voltages (mV); drawn if not given, before the noise.
    coins : Generator or array, optional
        Uniform numbers of the stimulation; the generator of the noise if not given.
    seed : int, optional
        Of everything that is drawn; fresh if not given.
    rectify : 'auto' or bool
        See :meth:`bridge.rate_to_spike.model_file.RateModel.signed_w`.
    add_bias : bool
        Add the output bias of the rate network to the output.
    init_v : {'uniform', 'subthreshold'}
        Range of drawn initial voltages: up to +30 mV as published (most cells fire in step 0), or
        up to threshold.
    refractory : {'float', 'steps'}
        See :class:`bridge.rate_to_spike.lif.LifParameters`.
    noise_scaling : {'step', 'sqrt_dt'}
        With `downsample`, the published noise per step stays and that per second falls; 'sqrt_dt'
        keeps the latter.
    parameters : mapping, optional
        Other constants of :class:`bridge.rate_to_spike.lif.LifParameters`, ``tau_r_s`` for one.
    record : iterable of str
        Which of REC, spk, rs, IPSCs to return; others are None. Each has 32 MB for 200 cells
        and one second.
    engine : EngineOptions, optional

    Returns
    -------
    W : float64, shape (cell, cell)
        Scaled signed weights, columns presynaptic.
    REC : float64, shape (cell, step), mV
        Voltages, +30 at spikes.
    spk : float64, shape (cell, step)
        0 or 1.
    rs : float64, shape (cell, step), Hz
        Filtered spike trains.
    all_fr : float64, shape (cell,), Hz
        Spikes from step 10 on, divided by the duration.
    out : float64, shape (step,)
        Output.
    params : dict
        ``dt`` and ``T`` (s), ``nt``, ``w_out`` (unscaled), ``td`` and ``td0`` (s, trained and
        initial), ``IPSCs`` (cell, step).

    Raises
    ------
    ValueError
        For an input of the wrong shape, an unknown option, a model that lacks something.
    FileNotFoundError
        If there is no such model file.
    """
    rate_model = read_model(model)
    (factor,) = check_factors([scaling_factor])
    wanted = _check_record(record)
    if int(downsample) != downsample or downsample < 1:
        raise ValueError(f"downsample = {downsample!r} must be a whole number >= 1")
    if noise_scaling not in ("step", "sqrt_dt"):
        raise ValueError(f"noise_scaling = {noise_scaling!r} is unknown; use step or sqrt_dt")
    constants = _parameters(parameters, int(downsample), refractory)
    network = convert(
        rate_model, rectify=rectify, initial=use_initial_weights, parameters=constants
    )
    columns = check_input(u, rate_model.n_in)[:, ::downsample]
    if columns.shape[1] < 2:
        raise ValueError(f"downsample = {downsample} leaves a single column of the input")
    n_steps, rng = n_lif_steps(columns.shape[1]), np.random.default_rng(seed)
    v_start = draw_v_start(rng, network.n, init_v) if v0 is None else _check_v0(v0, network.n)
    scale = constants.noise_mv * (downsample**0.5 if noise_scaling == "sqrt_dt" else 1.0)
    drawn = _check_noise(noise, rng, n_steps, network.n)
    if coins is None:
        coins = noise if isinstance(noise, np.random.Generator) else rng
    traces = bool({"REC", "IPSCs"} & wanted)
    run = RateLifModel(
        network=network,
        factors=np.array([float(factor)]),
        drive=drive(network, columns)[np.newaxis],
        noise=scale_noise(drawn, scale)[np.newaxis],
        v_start=v_start[np.newaxis],
        stimulation=read_stims(stims, network.n, n_steps, coins),
        record_traces=traces,
    )
    raw = run_model(run, engine)
    spikes = spikes_of(raw, run)
    readout = Readout(network)
    out = readout.outputs(spikes.run, spikes.cell, spikes.step, run.factors, n_steps)[0]
    duration_s = (columns.shape[1] - 1) * constants.dt_s * 100
    spk = np.zeros((network.n, n_steps)) if wanted & {"spk", "REC"} else None
    if spk is not None:
        spk[spikes.cell, spikes.step] = 1.0
    rec = None
    if "REC" in wanted:
        assert spk is not None
        rec = np.where(spk > 0, constants.v_spike_mv, raw.traces["v"].T)
    rs = readout.filtered(spikes.cell, spikes.step, n_steps) if "rs" in wanted else None
    params = {
        "dt": constants.dt_s,
        "T": duration_s,
        "nt": n_steps,
        "w_out": rate_model.w_out.copy(),
        "td": _time_constants(rate_model, initial=False),
        "td0": _time_constants(rate_model, initial=True),
        "IPSCs": raw.traces["i_syn"].T if "IPSCs" in wanted else None,
    }
    return (
        network.scaled_w(float(factor)),
        rec,
        spk if "spk" in wanted else None,
        rs,
        spikes.counts(network.n)[0] / duration_s,
        out + rate_model.b_out if add_bias else out,
        params,
    )


def time_axis(params: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the time (s) at the end of each step, shape (step,)."""
    return np.asarray(params["dt"] * np.arange(1, int(params["nt"]) + 1))


def read_model(model: str | Path | Mapping[str, Any] | RateModel) -> RateModel:
    """Return a model from a file, from loaded fields, or as it is."""
    if isinstance(model, RateModel):
        return model
    if isinstance(model, Mapping):
        return RateModel.from_fields(model)
    return RateModel.load(model)


def _parameters(
    given: Mapping[str, float] | None, downsample: int, refractory: str
) -> LifParameters:
    legal = {field.name for field in dataclasses.fields(LifParameters)} - {"dt_s", "refractory"}
    unknown = set(given or {}) - legal
    if unknown:
        raise ValueError(
            f"parameters: unknown {sorted(unknown)[0]!r}; use one of {', '.join(sorted(legal))}"
        )
    values: dict[str, Any] = dict(given or {})
    return LifParameters(dt_s=0.00005 * downsample, refractory=refractory, **values)


def _check_record(record: Iterable[str]) -> set[str]:
    wanted = {record} if isinstance(record, str) else set(record)
    unknown = wanted - set(RECORDED)
    if unknown:
        raise ValueError(f"record: unknown {sorted(unknown)[0]!r}; use {', '.join(RECORDED)}")
    return wanted


def _check_v0(v0: Any, n: int) -> NDArray[np.float64]:
    found = np.asarray(v0, dtype=np.float64)
    if found.size != n or not np.isfinite(found).all():
        raise ValueError(f"v0 has shape {found.shape}; needed are {n} finite voltages (mV)")
    return found.reshape(n)


def _check_noise(noise: Any, rng: np.random.Generator, n_steps: int, n: int) -> NDArray[np.float64]:
    if noise is None or isinstance(noise, np.random.Generator):
        return (rng if noise is None else noise).standard_normal((n_steps, n))
    found = np.array(noise, dtype=np.float64)  # a copy: it is scaled in place
    if found.ndim == 0 and found == 0:
        return np.zeros((n_steps, n))
    if found.shape != (n_steps, n):
        raise ValueError(
            f"noise has shape {found.shape}; needed are {n_steps} steps and {n} cells, a "
            "Generator, or 0"
        )
    if not np.isfinite(found).all():
        raise ValueError("noise has entries that are not finite")
    return found


def _time_constants(model: RateModel, *, initial: bool) -> Any:
    """Return the synaptic decay (s) as published: a number where all units share one."""
    if model.taus.size == 1:
        return float(model.taus[0] * RATE_STEP_MS / 1000.0)
    if initial and model.taus_gaus0 is None:
        return None
    return model.tau_steps(initial=initial) * RATE_STEP_MS / 1000.0


__all__ = ["RECORDED", "LIF_network_fnc", "Spikes", "Stimulation", "spikes_of", "time_axis"]
