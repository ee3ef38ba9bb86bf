"""Synthetic recordings whose truth is known before anything is measured."""

from __future__ import annotations

import numpy as np

from bridge.recording import Recording

NOTHING = np.empty((0, 3), dtype=np.int32)


def recording_of(rows, *, n_cells, t_ms, dt_ms=0.25, n_trials=1, logits=None, traces=None):
    """Return a recording of rows (step, trial, cell) by population; others are silent."""
    return Recording(
        dt_ms=dt_ms,
        n_steps=round(t_ms / dt_ms),
        n_trials=n_trials,
        n_cells=n_cells,
        spikes={name: rows.get(name, NOTHING) for name in n_cells},
        logits=logits,
        traces=traces or {},
    )


def poisson_rows(rng, *, n_cells, rate_hz, t_ms, dt_ms=0.25, n_trials=1):
    """Independent Bernoulli spikes."""
    n_steps = round(t_ms / dt_ms)
    drawn = rng.random((n_trials, n_steps, n_cells)) < rate_hz * dt_ms / 1000.0
    trial, step, cell = np.nonzero(drawn)
    return np.stack([step, trial, cell], axis=1)


def volley_rows(
    rng, *, f_hz, n_cells, share, jitter_ms, t_ms, dt_ms=0.25, lag_ms=0.0, trial=0, from_ms=0.0,
    to_ms=None,
):  # fmt: skip
    """Volleys of a share of the cells once per cycle (at 0.3, 1.3, ... cycles), jittered."""
    n_steps = round(t_ms / dt_ms)
    rows = [NOTHING]
    for k in range(int(t_ms * f_hz / 1000.0) + 1):
        at_ms = (k + 0.3) * 1000.0 / f_hz + lag_ms
        if not from_ms <= at_ms < (t_ms if to_ms is None else to_ms):
            continue
        cells = np.flatnonzero(rng.random(n_cells) < share)
        steps = np.round((at_ms + jitter_ms * rng.standard_normal(len(cells))) / dt_ms).astype(int)
        inside = (steps >= 0) & (steps < n_steps)
        rows.append(
            np.stack([steps, np.full(len(cells), trial), cells], axis=1)[inside].astype(np.int32)
        )
    return np.concatenate(rows)


def ping_recording(
    *, f_hz=40.0, t_ms=600.0, dt_ms=0.25, n_exc=200, n_inh=50, share=0.25, jitter_ms=1.5,
    background_hz=1.0, seed=0, n_trials=1, logits=None,
):  # fmt: skip
    """E volleys over a thin Poisson background, each answered 2 ms later by every I cell."""
    rng = np.random.default_rng(seed)
    exc = [poisson_rows(rng, n_cells=n_exc, rate_hz=background_hz, t_ms=t_ms, dt_ms=dt_ms,
                        n_trials=n_trials)]  # fmt: skip
    inh = []
    for trial in range(n_trials):
        common = {"f_hz": f_hz, "t_ms": t_ms, "dt_ms": dt_ms, "trial": trial}
        exc.append(volley_rows(rng, n_cells=n_exc, share=share, jitter_ms=jitter_ms, **common))
        inh.append(volley_rows(rng, n_cells=n_inh, share=1.0, jitter_ms=0.3, lag_ms=2.0, **common))
    return recording_of(
        {
            "e1": np.unique(np.concatenate(exc), axis=0),
            "i1": np.unique(np.concatenate(inh), axis=0),
        },
        n_cells={"e1": n_exc, "i1": n_inh},
        t_ms=t_ms,
        dt_ms=dt_ms,
        n_trials=n_trials,
        logits=logits,
    )
