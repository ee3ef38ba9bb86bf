"""What the spikes of a test say: every score of it."""

from __future__ import annotations

from bridge.lateral_line.decoding import place_error_cm
from bridge.lateral_line.map_quality import floor_of_path, map_quality, tuning_width
from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.record import Spikes, TestOutcome
from bridge.lateral_line.streams import TestStimulus


def evaluate(
    params: NetworkParams, stimulus: TestStimulus, spikes: dict[str, Spikes]
) -> TestOutcome:
    """Return the map quality and tuning widths of a test."""
    p = params
    sizes = {"ll": p.n_ll, "mon": p.n_mon, "ts": p.n_ts}
    quality = {
        name: map_quality(
            spikes[name][1], spikes[name][0], n_cells=sizes[name], x_cm=stimulus.x_cm,
            dt_s=p.dt_s, window_cm=p.eval_window_cm,
        )
        for name in ("ts", "ll")
    }  # fmt: skip
    quality |= {
        f"{name}_body": map_quality(
            spikes[name][1], spikes[name][0], n_cells=n, x_cm=stimulus.x_cm, dt_s=p.dt_s,
            window_cm=p.eval_window_cm, circle_cm=(0.0, p.ll_body_length_cm),
        )
        for name, n in sizes.items()
    }  # fmt: skip
    widths = {
        name: tuning_width(
            spikes[name][1], spikes[name][0], n_cells=sizes[name], x_cm=stimulus.x_cm, dt_s=p.dt_s
        )
        for name in sizes
    }
    return TestOutcome(
        stimulus=stimulus, spikes=spikes, quality=quality, widths=widths,
        floor_rad=floor_of_path(
            stimulus.x_cm, n_cells=p.n_ts, body_length_cm=p.ll_body_length_cm, dt_s=p.dt_s,
            window_cm=p.eval_window_cm,
        ),
        place_error_cm={
            name: place_error_cm(quality[f"{name}_body"], p.ll_body_length_cm) for name in sizes
        },
        rate_hz={
            name: len(spikes[name][0]) / (n * stimulus.n_steps * p.dt_s)
            for name, n in sizes.items()
        },
    )  # fmt: skip
