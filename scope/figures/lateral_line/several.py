"""Figures over seeds, tests, controls and distances: scores with what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bridge.lateral_line.comparison import CONTROLS, Spread, of_tests, tests_of
from bridge.lateral_line.map_quality import MIN_VALID
from scope.figures.lateral_line.parts import draw_scores, legend_above, page
from scope.style import EXC, GREY, INH, OTHERS, dress, house_style, say

Row = Mapping[str, Any]

_NETWORKS = (
    ("trained", None, EXC, "o"), *((name, key, colour, marker) for (key, name), colour, marker in
                                   zip(CONTROLS.items(), (INH, OTHERS[0]), "sD", strict=True)),
)  # fmt: skip
"""Word, key of the row, colour and marker of each network."""
_BODY, _PATH, _VALID = "sigma_theta_body_rad", "sigma_theta_rad", "valid_fraction"


def draw_multiseed(rows: Sequence[Row]) -> Figure:
    """Return map quality and valid fraction of each seed and its controls.

    Bars are standard deviations over repeated tests. Open markers: all tests were left out.
    """
    with house_style():
        figure = page(9, 10)
        axes = figure.subplots(3, 1, sharex=True)
        seeds = np.array([row["seed"] for row in rows])
        n_tests = len(tests_of(rows[0]))
        present = [one for one in _NETWORKS if one[1] is None or any(r.get(one[1]) for r in rows)]
        left_out, n_all = 0, 0
        for k, (word, key, colour, marker) in enumerate(present):
            shift = 0.12 * (k - (len(present) - 1) / 2)
            for seed, row in zip(seeds, rows, strict=True):
                of = row if key is None else row.get(key)
                if not of:
                    continue
                left_out, n_all = left_out + of_tests(of, _PATH).n_left_out, n_all + n_tests
                for ax, name in zip(axes, (_BODY, _PATH, _VALID), strict=True):
                    _point(ax, seed + shift, of, name, color=colour, marker=marker)
            axes[0].plot([], [], marker=marker, color=colour, ls="none", label=word)
        floor = np.mean([row["sigma_theta_floor_rad"] for row in rows])
        axes[1].axhline(floor, color=GREY, ls="--", lw=1.0, label="a perfect map of the body")
        axes[1].legend(loc="best", fontsize=11.5)
        legend_above(axes[0])
        # Beside the second title: the legend stands on the line of the first.
        said = f"; {left_out} of {n_all} tests left out (open: all)" if left_out else ""
        dress(axes[0], title="Over the body", ylabel=r"$\sigma_\theta$ (rad)")
        dress(axes[1], title=f"Over the path{said}", ylabel=r"$\sigma_\theta$ (rad)")
        bars = f", {n_tests} tests each (bars: SD)" if n_tests > 1 else ", one test each"
        dress(axes[2], title=f"Steps with spikes{bars}", ylabel="Valid fraction", xlabel="Seed")
        for ax in axes[:2]:
            ax.set_ylim(bottom=0)
        axes[2].set_ylim(0, 1.02)
        axes[2].axhline(MIN_VALID, color=GREY, ls=":", lw=1.0)
        axes[2].set_xticks(seeds)
        axes[2].set_xlim(seeds[0] - 0.5, seeds[-1] + 0.5)
        figure.align_ylabels(axes)
        figure.tight_layout()
    return figure


def draw_distances(rows: Sequence[Row]) -> Figure:
    """Return map quality and the valid fraction against test distance, one line for each seed.

    Tests that are not usable are open markers, and the lines have gaps there.
    """
    with house_style():
        figure = page(9, 10)
        axes = figure.subplots(3, 1, sharex=True)
        n, n_open = 0, 0
        for k, row in enumerate(rows):
            points = sorted(row.get("distances", ()), key=lambda one: one["test_distance_cm"])
            x = [one["test_distance_cm"] for one in points]
            usable = np.array([bool(one["usable"]) for one in points], dtype=bool)
            n, n_open = n + len(points), n_open + int((~usable).sum())
            marker, label = "os^Dv"[k % 5], f"seed {row['seed']}"
            for ax, name in zip(axes, (_BODY, _PATH), strict=False):
                draw_scores(ax, x, [one[name] for one in points], usable, color=EXC,
                            marker=marker, label=label)  # fmt: skip
            axes[2].plot(x, [one[_VALID] for one in points], color=INH, marker=marker, label=label)
        said = f"; {n_open} of {n} open: valid below {MIN_VALID:g}" if n_open else ""
        dress(axes[0], title=f"Over the body{said}", ylabel=r"$\sigma_\theta$ (rad)")
        dress(axes[1], title="Over the path", ylabel=r"$\sigma_\theta$ (rad)")
        dress(axes[2], title="Steps with spikes, one test for each distance",
              xlabel="Test distance (cm)", ylabel="Valid fraction")  # fmt: skip
        for ax in axes[:2]:
            ax.set_ylim(bottom=0)
        axes[2].set_ylim(0, 1.02)
        axes[2].axhline(MIN_VALID, color=GREY, ls=":", lw=1.0)
        if len(rows) > 1:
            axes[0].legend(loc="best", fontsize=11.5)
        if not n:
            say(axes[0], "no test distances")
        figure.align_ylabels(axes)
        figure.tight_layout()
    return figure


def _point(ax: Axes, x: float, row: Row, name: str, *, color: str, marker: str) -> None:
    """Draw a number of a network: the mean over its usable tests, or open that of all."""
    found: Spread = of_tests(row, name)
    if found.mean is not None:
        ax.errorbar(x, found.mean, yerr=found.sd, marker=marker, color=color, ls="none", capsize=3)
    else:
        of_all = float(np.mean([test[name] for test in tests_of(row)]))
        ax.plot(x, of_all, marker=marker, mfc="white", mec=color, ls="none")
