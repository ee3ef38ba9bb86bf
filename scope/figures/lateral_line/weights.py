"""The weights of a lateral-line network: profiles, receptive fields, examples."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bridge.lateral_line.record import SeedResult
from scope.figures.lateral_line.parts import COLOURS, page, spread
from scope.style import EXC, INH, dress


def draw_ll_mon_weights(result: SeedResult) -> Figure:
    """Return the afferents of six MON cells with their weights."""
    w, p = result.wiring, result.params
    cells = spread(p.n_mon, 6)
    figure = page(8, 2.2 * len(cells))
    axes = np.atleast_1d(figure.subplots(len(cells), 1, sharex=True, sharey=True))
    for ax, cell in zip(axes, cells, strict=True):
        mine = w.ll_mon_j == cell
        ax.vlines(w.ll_mon_i[mine], 0, result.ll_mon_w_mv[mine], color=COLOURS["mon"], lw=1.5)
        ax.plot(w.ll_mon_i[mine], result.ll_mon_w_mv[mine], "o", ms=5, color=COLOURS["mon"])
        ax.text(0.01, 0.95, f"MON {cell}", transform=ax.transAxes, va="top")
        dress(ax, ylabel="w (mV)")
    axes[0].set_xlim(-1, p.n_ll)
    axes[0].set_ylim(0, 1.3 * float(result.ll_mon_w_mv.max(initial=1.0)))
    dress(axes[-1], xlabel="LL index", ylabel="w (mV)")
    figure.tight_layout()
    return figure


def draw_weight_profile(result: SeedResult) -> Figure:
    """Return mean incoming weight and the fraction at the ceiling, over TS."""
    w, p = result.wiring, result.params
    number = np.maximum(np.bincount(w.mon_ts_j, minlength=p.n_ts), 1)
    mean = np.bincount(w.mon_ts_j, weights=result.mon_ts_w, minlength=p.n_ts) / number
    full = np.isclose(result.mon_ts_w, p.mon_ts_wmax).astype(np.float64)
    fraction = np.bincount(w.mon_ts_j, weights=full, minlength=p.n_ts) / number
    figure = page(10, 4.2)
    ax = figure.add_subplot()
    ax.plot(np.arange(p.n_ts), mean, color=EXC, lw=1.5)
    ax.set_ylim(0, p.mon_ts_wmax)
    dress(ax, title="MON to TS: weights over the map", xlabel="TS index",
          ylabel="Mean incoming weight")  # fmt: skip
    ax.yaxis.label.set_color(EXC)
    right = ax.twinx()
    right.plot(np.arange(p.n_ts), fraction, color=INH, lw=1.2, ls="--")
    right.set_ylim(0, 1)
    right.spines["right"].set_visible(True)
    dress(right, ylabel="At the ceiling (dashed)")
    right.yaxis.label.set_color(INH)
    figure.tight_layout()
    return figure


def draw_receptive_fields(result: SeedResult) -> Figure:
    """Return the incoming weights of eight TS cells over MON."""
    w, p = result.wiring, result.params
    cells = spread(p.n_ts, 8)
    n_rows = -(-len(cells) // 2)
    figure = page(12, 2.8 * n_rows)
    axes = np.atleast_2d(figure.subplots(n_rows, 2, sharex=True, sharey=True))
    for ax, cell in zip(axes.ravel(), cells, strict=False):
        mine = w.mon_ts_j == cell
        ax.scatter(w.mon_ts_i[mine], result.mon_ts_w[mine], s=7, color=COLOURS["mon"])
        dress(ax, title=f"TS {cell}: {int(mine.sum())} synapses", ylabel="Weight")
    for ax in axes.ravel()[len(cells) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("MON index")
    axes[0, 0].set_ylim(-0.03 * p.mon_ts_wmax, 1.05 * p.mon_ts_wmax)
    figure.tight_layout()
    return figure
