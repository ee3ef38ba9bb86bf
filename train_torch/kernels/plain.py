"""The kernel ``function``: a layer in readable torch, with the hand-derived way back.

The reference of the compiled loops, and what runs where those can't: on a GPU (the host never
waits for it), or without a compiler. The equations stand in :mod:`train_torch.kernels.layer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from train_torch.kernels.cells import LOST_MV, CellState, free_membrane
from train_torch.kernels.layer import (
    Cells,
    ConductanceCells,
    CurrentCells,
    LayerCall,
    LayerGradients,
    LayerRun,
    LayerSettings,
    Matrices,
    Trajectory,
)
from train_torch.kernels.surrogate import Surrogate

State = dict[str, CellState]
"""Populations ``e`` and ``i`` between two steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Record:
    """One step of a population: voltage before the reset, conductances, flags."""

    v: Tensor
    ge: Tensor | None
    gi: Tensor | None
    free: Tensor | None
    fired: Tensor
    cut: Tensor


@dataclass(kw_only=True, eq=False)
class _Adjoint:
    """Gradients of voltage, conductances and spikes, (trial, cell)."""

    v: Tensor
    ge: Tensor
    gi: Tensor
    spikes: Tensor

    @classmethod
    def zero(cls, like: Tensor) -> _Adjoint:
        zero = torch.zeros_like(like)
        return cls(v=zero, ge=zero, gi=zero, spikes=zero)


class PlainKernel:
    """A layer in torch; see :mod:`train_torch.kernels.layer`."""

    name = "function"

    @torch.no_grad()
    def forward(self, call: LayerCall, *, learns: bool) -> tuple[LayerRun, Trajectory | None]:
        """Run all steps."""
        return self.run(call, input_raster(call), learns=learns)

    def run(
        self, call: LayerCall, raster: Tensor | None, *, learns: bool
    ) -> tuple[LayerRun, Trajectory | None]:
        """Run all steps on a raster of :func:`input_raster`; the host never waits."""
        settings = call.settings
        state, every = _at_start(settings), settings.keeping.checkpoint_steps
        n_steps, w_out = settings.n_steps, call.w["w_out"]
        counts = {p: torch.zeros_like(cells.v_mv) for p, cells in state.items()}
        spikes: dict[str, list[Tensor]] = {p: [] for p in state}
        out: list[Tensor] = []
        lost = torch.full((), n_steps, dtype=torch.int64, device=settings.v_start_exc.device)
        records: list[dict[str, _Record]] = []
        states: list[State] = []
        for t in range(n_steps):
            if learns and (t % every == 0 if every else t == 0):
                states.append(state)
            state, record = _step(call, state, t, raster)
            if learns and not every:
                records.append(_all_kept(record, settings))
            sane = torch.stack([cells.sane for cells in state.values()]).all()
            lost = torch.where(sane, lost, lost.clamp(max=t))
            for population, cells in state.items():
                counts[population] = counts[population] + cells.spikes
                if settings.keep_spikes:
                    spikes[population].append(cells.spikes)
            if w_out is not None:
                out.append(state["e"].spikes @ w_out)
        done = {p: torch.stack(s) if s else None for p, s in spikes.items()}
        return LayerRun(
            counts_exc=counts["e"], counts_inh=counts.get("i"),
            spikes_exc=done["e"], spikes_inh=done.get("i"),
            out=torch.stack(out) if out else None, lost_step=lost,
        ), Trajectory(parts={"records": records, "states": states}) if learns else None  # fmt: skip

    @torch.no_grad()
    def backward(
        self, call: LayerCall, trajectory: Trajectory, grads: LayerGradients
    ) -> tuple[Tensor | None, Matrices]:
        """Return the gradients of the drive and of the matrices."""
        return self.run_back(call, input_raster(call), trajectory, grads)

    def run_back(
        self,
        call: LayerCall,
        raster: Tensor | None,
        trajectory: Trajectory,
        grads: LayerGradients,
    ) -> tuple[Tensor | None, Matrices]:
        """Return the gradients of the drive and of the matrices; the host never waits."""
        settings, drive, w = call.settings, call.drive, call.w
        made = {n: torch.zeros_like(x) for n, x in w.items() if x is not None and n in grads.wanted}
        for_drive = (
            torch.empty_like(drive) if drive is not None and "drive" in grads.wanted else None
        )
        populations = {"e": settings.v_start_exc}
        if settings.v_start_inh is not None:
            populations["i"] = settings.v_start_inh
        a = {p: _Adjoint.zero(start) for p, start in populations.items()}
        for t, before, record in _backward(call, raster, trajectory):
            fired = record["e"].fired.to(settings.dtype)
            exc = a["e"]
            for more in (grads.counts, None if grads.spikes is None else grads.spikes[t]):
                if more is not None:
                    exc.spikes = exc.spikes + more
            if grads.out is not None and w["w_out"] is not None:
                exc.spikes = exc.spikes + grads.out[t] @ w["w_out"].T
                if "w_out" in made:
                    made["w_out"].addmm_(fired.T, grads.out[t])
            for population, adjoint in a.items():
                cells = settings.cells(population)
                v = _voltage(record[population], settings, cells)
                _cells_back(cells, adjoint, record[population], v, before[population])
            if "w_in" in made and raster is not None:
                made["w_in"].addmm_(raster[t].to(exc.ge.dtype).T, exc.ge)
            if for_drive is not None:
                for_drive[t] = exc.ge
            self._recurrent(made, w, a, before)
            if settings.window and t % settings.window == 0:
                for adjoint in a.values():
                    adjoint.v = adjoint.spikes = torch.zeros_like(adjoint.v)
        return for_drive, dict(made)

    @staticmethod
    def _recurrent(
        made: dict[str, Tensor], w: Matrices, a: dict[str, _Adjoint], before: State
    ) -> None:
        """Send gradients through the recurrent weights to the spikes of the step before."""
        arriving = {p: torch.zeros_like(adjoint.v) for p, adjoint in a.items()}
        for name, pre, post in (("w_ee", "e", "e"), ("w_ei", "e", "i"), ("w_ie", "i", "e"),
                                ("w_ii", "i", "i")):  # fmt: skip
            matrix = w[name]
            if matrix is None:
                continue
            kick = a[post].ge if pre == "e" else a[post].gi
            arriving[pre] = arriving[pre] + kick @ matrix.T
            if name in made:
                made[name].addmm_(before[pre].spikes.T, kick)
        for population, adjoint in a.items():
            adjoint.spikes = arriving[population]


def _at_start(settings: LayerSettings) -> State:
    state = {"e": CellState.at(settings.v_start_exc)}
    if settings.v_start_inh is not None:
        state["i"] = CellState.at(settings.v_start_inh)
    return state


def input_raster(call: LayerCall) -> Tensor | None:
    """Return the input spikes of each step as counts, (step, trial, channel), in bytes."""
    events, w_in = call.settings.events, call.w["w_in"]
    return None if events is None or w_in is None else events.raster(w_in.shape[0])


def _step(
    call: LayerCall, state: State, t: int, raster: Tensor | None
) -> tuple[State, dict[str, _Record]]:
    """Return the populations one step later, and what happened."""
    settings, w = call.settings, call.w

    def kick(name: str, pre: str) -> Tensor | None:
        matrix = w[name]
        return None if matrix is None else state[pre].spikes @ matrix

    feed: Tensor | None = kick("w_ee", "e")
    if raster is not None and w["w_in"] is not None:
        from_input = raster[t].to(w["w_in"].dtype) @ w["w_in"]
        feed = from_input if feed is None else feed + from_input
    for more in (call.drive, settings.external):
        if more is not None:
            feed = more[t].to(settings.dtype) + (0.0 if feed is None else feed)
    if feed is None:
        feed = torch.zeros_like(state["e"].v_mv)
    if settings.bias_us:
        feed = feed + settings.bias_us
    new, records = {}, {}
    new["e"], records["e"] = _cells_step(settings.exc, state["e"], feed, kick("w_ie", "i"))
    if "i" in state:
        to_inh = kick("w_ei", "e")
        new["i"], records["i"] = _cells_step(
            settings.inh, state["i"],
            torch.zeros_like(state["i"].v_mv) if to_inh is None else to_inh, kick("w_ii", "i"),
        )  # fmt: skip
    return new, records


def _cells_step(
    cells: Cells, s: CellState, exc: Tensor, inh: Tensor | None
) -> tuple[CellState, _Record]:
    if isinstance(cells, CurrentCells):
        return _current_step(cells, s, exc if inh is None else exc - inh)
    cell = cells.cell
    ge, gi, v_free = free_membrane(
        s, exc, inh, cell,
        dt_ms=cells.dt_ms, decay_ampa=cells.decay_exc, decay_gaba=cells.decay_inh,
    )  # fmt: skip
    v = v_free.clamp(min=cell.v_floor_mv)
    left = (s.n_ref_left - 1.0).clamp(min=0.0)
    free = left == 0
    fired = free & (v >= cell.v_th_mv)
    after = CellState(
        v_mv=v.masked_fill(fired | ~free, cell.v_reset_mv), g_exc_us=ge, g_inh_us=gi,
        n_ref_left=left.masked_fill(fired, float(cells.n_ref_steps)), spikes=fired.to(v.dtype),
        sane=(v_free.abs() < LOST_MV).all(),
    )  # fmt: skip
    return after, _Record(
        v=v,
        ge=ge,
        gi=None if inh is None else gi,
        free=free,
        fired=fired,
        cut=v_free < cell.v_floor_mv,
    )


def _current_step(cells: CurrentCells, s: CellState, kick: Tensor) -> tuple[CellState, _Record]:
    v = s.v_mv - cells.leak * s.v_mv + kick / cells.tau_ms
    cut = v < 0
    v = v.clamp(min=0.0)
    fired = v >= cells.v_th
    after = v.masked_fill(fired, 0.0)
    state = CellState(
        v_mv=after, g_exc_us=s.g_exc_us, g_inh_us=s.g_inh_us, n_ref_left=s.n_ref_left,
        spikes=fired.to(v.dtype), sane=(after.abs() < LOST_MV).all(),
    )  # fmt: skip
    return state, _Record(v=v, ge=None, gi=None, free=None, fired=fired, cut=cut)


def _kept(record: _Record, settings: LayerSettings, cells: Cells) -> _Record:
    """Return a record in the float type in which it is kept."""
    dtype = settings.keeping.dtype_for(settings.dtype)
    if dtype == settings.dtype:
        return record
    # With fewer digits a voltage is kept as its distance from threshold: it matters close to it.
    v = record.v - _threshold(cells)
    parts: dict[str, Any] = {
        name: None if x is None else x.to(dtype)
        for name, x in (("v", v), ("ge", record.ge), ("gi", record.gi))
    }
    return _Record(**parts, free=record.free, fired=record.fired, cut=record.cut)


def _all_kept(record: dict[str, _Record], settings: LayerSettings) -> dict[str, _Record]:
    return {p: _kept(r, settings, settings.cells(p)) for p, r in record.items()}


def _threshold(cells: Cells) -> float:
    return cells.v_th if isinstance(cells, CurrentCells) else cells.cell.v_th_mv


def _voltage(record: _Record, settings: LayerSettings, cells: Cells) -> Tensor:
    """Return the voltage before the reset, in the float type of the layer."""
    dtype = settings.dtype
    return record.v if record.v.dtype == dtype else record.v.to(dtype) + _threshold(cells)


def _backward(
    call: LayerCall, raster: Tensor | None, trajectory: Trajectory
) -> Iterator[tuple[int, State, dict[str, _Record]]]:
    """Yield steps from the last to the first: number, state before, record."""
    settings = call.settings
    every = settings.keeping.checkpoint_steps or settings.n_steps
    for part in range(len(trajectory.parts["states"]) - 1, -1, -1):
        first = part * every
        state: State = trajectory.parts["states"][part]
        last = min(settings.n_steps, first + every)
        records: list[dict[str, _Record]] = trajectory.parts["records"]
        if settings.keeping.checkpoint_steps:
            records, now = [], state
            for t in range(first, last):
                now, record = _step(call, now, t, raster)
                records.append(_all_kept(record, settings))
        for t in range(last - 1, first - 1, -1):
            before = _after(settings, state, records[t - first - 1]) if t > first else state
            yield t, before, records.pop()


def _after(settings: LayerSettings, like: State, records: dict[str, _Record]) -> State:
    """Return the state after a recorded step, as far as the way back looks at it."""
    state = {}
    for population, record in records.items():
        cells = settings.cells(population)
        reset = cells.cell.v_reset_mv if isinstance(cells, ConductanceCells) else 0.0
        held = record.fired if record.free is None else record.fired | ~record.free
        v = _voltage(record, settings, cells).masked_fill(held, reset)
        old = like[population]
        state[population] = CellState(
            v_mv=v, g_exc_us=old.g_exc_us, g_inh_us=old.g_inh_us, n_ref_left=old.n_ref_left,
            spikes=record.fired.to(v.dtype), sane=old.sane,
        )  # fmt: skip
    return state


def _cells_back(cells: Cells, a: _Adjoint, r: _Record, v: Tensor, before: CellState) -> None:
    """Replace the adjoints of a population by those of the step before."""
    if isinstance(cells, CurrentCells):
        bump = Surrogate(kind="arctan", slope=cells.slope).derivative(v - cells.v_th)
        gv = a.v.masked_fill(r.fired, 0.0) + a.spikes * bump
        gv = gv.masked_fill(r.cut, 0.0)
        a.v, a.ge, a.gi = gv * (1.0 - cells.leak), gv / cells.tau_ms, gv / -cells.tau_ms
        return
    assert r.free is not None
    assert r.ge is not None
    cell = cells.cell
    ge = r.ge.to(v.dtype)
    gi = torch.zeros_like(ge) if r.gi is None else r.gi.to(v.dtype)
    bump = Surrogate(slope=cells.slope).derivative(v - cell.v_th_mv)
    gv = a.v.masked_fill(r.fired | ~r.free, 0.0) + (a.spikes * bump).masked_fill(~r.free, 0.0)
    gv = gv.masked_fill(r.cut, 0.0)
    g = cell.g_leak_us + (ge + gi)
    v_inf = (cell.g_leak_us * cell.e_leak_mv + (ge * cell.e_exc_mv + gi * cell.e_inh_mv)) / g
    stay = torch.exp(-(cells.dt_ms / cell.c_m_nf) * g)
    rise = 1.0 - stay
    d, h = gv / cells.dampen, rise / g
    q = (v_inf - before.v_mv) * stay * (cells.dt_ms / cell.c_m_nf)
    a.v = gv - d * rise
    a.ge = a.ge * cells.decay_exc + d * (q + (cell.e_exc_mv - v_inf) * h)
    a.gi = a.gi * cells.decay_inh + d * (q + (cell.e_inh_mv - v_inf) * h)
