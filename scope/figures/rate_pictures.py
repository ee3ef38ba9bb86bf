"""Pictures of single trials: the outputs of both networks, and who fired when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import LIF_STEPS, SKIPPED_STEPS
from bridge.rate_to_spike.model_file import RATE_STEP_MS
from scope.files import save_figure
from scope.style import EXC, GREY, INH, dress, house_style, mark_window, new_figure

if TYPE_CHECKING:
    from bridge.rate_to_spike.sample import Sample


def plot_outputs(
    ax: Axes, sample: Sample, *, threshold: float | None = None, start_ms: float = 0.0
) -> Axes:
    """Draw target, rate output and spiking output of a trial."""
    n = len(sample.rate)
    rate_ms = RATE_STEP_MS * np.arange(1, n + 1)
    lif_ms = RATE_STEP_MS / LIF_STEPS * np.arange(1, len(sample.output) + 1)
    mark_window(ax, _window_ms(sample))
    ax.plot(rate_ms, sample.target, color=GREY, linestyle=":", linewidth=1.5, label="target")
    ax.plot(lif_ms, sample.output, color=EXC, linewidth=1.2, label="spiking")
    ax.plot(rate_ms, sample.rate, color="black", linestyle="--", linewidth=1.5, label="rate")
    if threshold is not None:
        for level in (threshold, -threshold):
            ax.axhline(level, color=GREY, linewidth=0.6)
    ax.set_xlim(start_ms, lif_ms[-1])
    return ax


def _window_ms(sample: Sample) -> tuple[float, float] | None:
    """Return first and last time of an input that does not last the whole trial."""
    changing = [row for row in sample.stimulus if np.any(row) and not np.all(row)]
    if not changing:
        return None
    there = np.flatnonzero(np.any(changing, axis=0))
    return RATE_STEP_MS * there[0], RATE_STEP_MS * (there[-1] + 1)


def draw_outputs(
    samples: Sequence[Sample], *, title: str = "", threshold: float | None = None,
    start_ms: float = 0.0,
) -> Figure:  # fmt: skip
    """Return the outputs of both networks, one panel for each trial type."""
    with house_style():
        figure = new_figure(9.0, 1.2 + 2.1 * len(samples), 100)
        axes = figure.subplots(len(samples), 1, sharex=True, squeeze=False)[:, 0]
        reach = max(
            1.2, *(float(np.abs(s.output[LIF_STEPS:]).max()) for s in samples),
            *(float(np.abs(s.rate).max()) for s in samples),
        )  # fmt: skip
        signed = min(float(s.target.min()) for s in samples) < 0
        lowest = min(float(min(s.output[LIF_STEPS:].min(), s.rate.min())) for s in samples)
        bottom = -reach if signed else min(-0.4, lowest)
        for ax, sample in zip(axes, samples, strict=True):
            plot_outputs(ax, sample, threshold=threshold, start_ms=start_ms)
            ax.set_ylim(1.05 * bottom, 1.05 * reach)
            dress(ax, title=f"{title} {sample.name}".strip(), ylabel="Output")
        dress(axes[-1], title=axes[-1].get_title(loc="left"), xlabel="Time (ms)", ylabel="Output")
        axes[0].legend(loc="upper right", ncols=3, bbox_to_anchor=(1.0, 1.32))
        figure.tight_layout()
    return figure


def plot_raster(ax: Axes, sample: Sample, inh: NDArray[np.bool_], *, start_ms: float = 0.0) -> Axes:
    """Draw the spikes of a trial: excitatory cells below, inhibitory ones above."""
    order = np.argsort(inh, kind="stable")
    row = np.empty(len(inh), dtype=int)
    row[order] = np.arange(len(inh))
    kept = sample.spike_step >= SKIPPED_STEPS
    cell, t_ms = sample.spike_cell[kept], (sample.spike_step[kept] + 1) * sample.dt_s * 1000.0
    mark_window(ax, _window_ms(sample))
    for of_kind, colour, marker in ((~inh, EXC, "."), (inh, INH, "|")):
        chosen = of_kind[cell]
        ax.plot(
            t_ms[chosen], row[cell[chosen]], marker, color=colour, markersize=2.5,
            markeredgewidth=0.6, linestyle="none", rasterized=True,
        )  # fmt: skip
    ax.axhline((~inh).sum() - 0.5, color=GREY, linewidth=0.6)
    ax.set_ylim(-1, len(inh))
    ax.set_xlim(start_ms, len(sample.output) * sample.dt_s * 1000.0)
    return ax


def draw_rasters(
    samples: Sequence[Sample], inh: NDArray[np.bool_], *, title: str = "", start_ms: float = 0.0
) -> Figure:
    """Return the rasters of trials, one panel each."""
    with house_style():
        figure = new_figure(9.0, 1.2 + 2.6 * len(samples), 100)
        axes = figure.subplots(len(samples), 1, sharex=True, squeeze=False)[:, 0]
        for ax, sample in zip(axes, samples, strict=True):
            plot_raster(ax, sample, inh, start_ms=start_ms)
            dress(ax, title=f"{title} {sample.name}".strip(), ylabel="Neuron index")
        dress(
            axes[-1], title=axes[-1].get_title(loc="left"), xlabel="Time (ms)",
            ylabel="Neuron index",
        )  # fmt: skip
        handles = [
            Line2D([], [], color=EXC, marker=".", linestyle="none", label="excitatory"),
            Line2D([], [], color=INH, marker="|", linestyle="none", label="inhibitory"),
        ]
        top = 1.0 + 0.55 / 2.6
        axes[0].legend(handles=handles, loc="upper right", ncols=2, bbox_to_anchor=(1.0, top))
        figure.tight_layout()
    return figure


def draw_comparison(
    rate: NDArray[np.float64], spiking: NDArray[np.float64], types: Sequence[str], *, title: str
) -> Figure:
    """Return mean and spread of both outputs over trials, one panel for each trial type.

    Parameters
    ----------
    rate, spiking : float64, shape (trial, T - 1)
        Once per rate step.
    types : sequence of str
        Of each trial.
    title : str
    """
    names = sorted(set(types))
    with house_style():
        figure = new_figure(9.0, 1.2 + 2.1 * len(names), 100)
        axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for ax, name in zip(axes, names, strict=True):
            of_type = np.array([one == name for one in types])
            for values, colour, line, word in (
                (spiking[of_type], EXC, "-", "spiking"), (rate[of_type], "black", "--", "rate"),
            ):  # fmt: skip
                t_ms = RATE_STEP_MS * np.arange(1, values.shape[1] + 1)
                low, middle, high = np.percentile(values, [10, 50, 90], axis=0)
                ax.fill_between(t_ms, low, high, color=colour, alpha=0.2, linewidth=0)
                ax.plot(t_ms, middle, color=colour, linestyle=line, linewidth=1.5, label=word)
            dress(ax, title=f"{title} {name} ({of_type.sum()} trials)", ylabel="Output")
        dress(axes[-1], title=axes[-1].get_title(loc="left"), xlabel="Time (ms)", ylabel="Output")
        axes[0].legend(loc="upper right", ncols=2, bbox_to_anchor=(1.0, 1.32))
        figure.tight_layout()
    return figure


def write_plots(
    folder: Path, samples: Sequence[Sample], inh: NDArray[np.bool_], *, title: str,
    threshold: float | None = None,
) -> list[Path]:  # fmt: skip
    """Write network_output.png and the raster of each trial type; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    first, *others = (folder / name for name in plot_names(samples))
    found = [save_figure(draw_outputs(samples, title=title, threshold=threshold), first)]
    for sample, path in zip(samples, others, strict=True):
        found.append(save_figure(draw_rasters([sample], inh, title=title), path))
    return found


def plot_names(samples: Sequence[Sample]) -> list[str]:
    """Return the names of the files of :func:`write_plots`."""
    rasters = [f"{file_word(sample.name)}_spike_raster.png" for sample in samples]
    return ["network_output.png", *rasters]


def file_word(name: str) -> str:
    """Return a trial type as a part of a file name: ``+-`` is ``plus_minus``."""
    words = {"+": "plus", "-": "minus"}
    if name and set(name) <= set(words):
        return "_".join(words[sign] for sign in name)
    return "".join(c if c.isalnum() else "_" for c in name)
