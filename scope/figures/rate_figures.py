"""Figures of the way from a rate network to a spiking one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scope.style import EXC, GREY, INH, SHADE, dress, house_style, new_figure


def draw_learning(
    losses: Sequence[float], history: Sequence[Mapping[str, float]], *, title: str = ""
) -> Figure:
    """Return the learning curve: loss of each update, accuracy of each evaluation."""
    with house_style():
        figure = new_figure(9.0, 4.2, 100)
        ax = figure.subplots()
        n = np.arange(1, len(losses) + 1)
        ax.plot(n, losses, color=SHADE, linewidth=0.8, label="loss of an update")
        window = max(1, len(losses) // 100)
        if len(losses) > 2 * window:
            mean = np.convolve(losses, np.ones(window) / window, mode="valid")
            ax.plot(n[window - 1 :], mean, color=GREY, label=f"mean of {window}")
        ax.set_xlim(0, max(len(losses), 1))
        ax.set_ylim(bottom=0)
        dress(ax, title=title, xlabel="Update", ylabel="Loss")
        other = ax.twinx()
        updates = [entry["update"] for entry in history]
        other.plot(
            updates, [entry["performance"] for entry in history], color=EXC, marker="o",
            markersize=4, linewidth=1.5, label="accuracy",
        )  # fmt: skip
        other.axhline(0.95, color=EXC, linewidth=1, linestyle=":")
        other.set_ylim(0, 1.05)
        dress(other, ylabel="Accuracy")
        other.spines["right"].set_visible(True)
        lines = [*ax.get_lines(), other.get_lines()[0]]
        other.legend(
            lines, [str(line.get_label()) for line in lines], loc="upper right", ncols=3,
            bbox_to_anchor=(1.0, 1.17),
        )  # fmt: skip
        figure.tight_layout()
    return figure


def draw_search(
    rows: Sequence[Mapping[str, Any]], *, best: float, rule: str, title: str = ""
) -> Figure:
    """Return accuracy against the scaling factor, both rules, with 95 % intervals."""
    with house_style():
        figure = new_figure(9.0, 4.2, 100)
        ax = figure.subplots()
        factors = [row["scaling_factor"] for row in rows]
        lines = (("strict", EXC, "o", "-"), ("published", INH, "s", "--"))
        same = all(row["strict"] == row["published"] for row in rows)
        for name, colour, marker, line in lines[:1] if same else lines:
            value = np.array([row[name] for row in rows])
            low = np.array([row[f"{name}_low"] for row in rows])
            high = np.array([row[f"{name}_high"] for row in rows])
            ax.errorbar(
                factors, value, [np.maximum(value - low, 0), np.maximum(high - value, 0)],
                color=colour, marker=marker, linestyle=line, markersize=5, capsize=2,
                elinewidth=1, label="accuracy" if same else f"{name} rule",
            )  # fmt: skip
        ax.axvline(best, color=GREY, linewidth=1, linestyle=":", label=f"best ({rule}): {best:g}")
        ax.set_ylim(-0.02, 1.05)
        ax.legend(loc="best")
        dress(ax, title=title.strip(), xlabel="Scaling factor (Hz)", ylabel="Accuracy")
        figure.tight_layout()
    return figure


def draw_searches(
    searches: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    *,
    bars: Mapping[str, float] | None = None,
) -> Figure:
    """Return the accuracies of several networks against the scaling factor, a panel for each task.

    Parameters
    ----------
    searches : mapping
        Task to name of a network to the rows of its search.
    bars : mapping, optional
        Accuracy that a task asks for.
    """
    looks = ((EXC, "o"), (INH, "s"), ("black", "^"), (GREY, "D"))
    with house_style():
        figure = new_figure(3.2 * len(searches) + 0.6, 3.4, 100)
        axes = figure.subplots(1, len(searches), sharey=True, squeeze=False)[0]
        for ax, (task, networks) in zip(axes, searches.items(), strict=True):
            for k, (name, rows) in enumerate(networks.items()):
                colour, marker = looks[k % len(looks)]
                factors = [row["scaling_factor"] for row in rows]
                ax.plot(
                    factors, [row["strict"] for row in rows], color=colour, marker=marker,
                    markersize=4, linewidth=1.2, label=name,
                )  # fmt: skip
                if any(row["strict"] != row["published"] for row in rows):
                    ax.plot(
                        factors, [row["published"] for row in rows], color=colour,
                        linestyle=(0, (2, 2)), linewidth=1,
                    )  # fmt: skip
            if bars and task in bars:
                ax.axhline(bars[task], color=GREY, linewidth=0.8, linestyle=":")
            ax.set_ylim(-0.02, 1.05)
            dress(ax, title=task, xlabel="Scaling factor (Hz)")
        axes[0].set_ylabel("Accuracy")
        axes[0].legend(loc="lower left")
        figure.tight_layout()
    return figure


def draw_output(
    output: NDArray[np.float64], *, dt_s: float, title: str = "", threshold: float | None = None
) -> Figure:
    """Return the output of a spiking network, shape (step,), over time."""
    with house_style():
        figure = new_figure(9.0, 3.6, 100)
        ax = figure.subplots()
        ax.plot(dt_s * 1000.0 * np.arange(1, len(output) + 1), output, color=EXC, linewidth=1.2)
        if threshold is not None:
            for level in (threshold, -threshold):
                ax.axhline(level, color=GREY, linewidth=0.6)
        dress(ax, title=title, xlabel="Time (ms)", ylabel="Output")
        figure.tight_layout()
    return figure
