"""The numbers of one run of a scan, in the columns of its table."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridge.recording import Recording
from bridge.runs.job import Job
from scope.measure.summary import Summary, summarise
from scope.measure.windows import WindowMs, window_rows

DOUBLET_MS = 5.0
"""Two spikes of an I cell that are closer than this belong to one volley: a gamma cycle of 150 Hz
has 6.7 ms."""
DOUBLET_ONSET = 0.1
"""Share of doublets among I spikes above which I cells are said to double-fire."""

UNITS: Mapping[str, str] = {
    "rate_e_hz": "Hz", "rate_i_hz": "Hz", "f0_hz": "Hz", "f_gamma_hz": "Hz",
    "f_gamma_resolution_hz": "Hz", "trough_lag_ms": "ms", "pre_e_hz": "Hz", "pre_i_hz": "Hz",
    "stim_e_hz": "Hz", "stim_i_hz": "Hz", "post_e_hz": "Hz", "post_i_hz": "Hz", "dt_ms": "ms",
}  # fmt: skip
"""Units of the columns that have one."""

_COPIED = (
    "rate_e_hz", "rate_i_hz", "cv", "act", "ie_ratio", "f0_hz", "f_gamma_hz", "f_gamma_valid",
    "f_gamma_resolution_hz", "vector_strength", "participation", "spikes_per_cycle",
    "lobe_to_trough", "trough_lag_ms",
)  # fmt: skip


def measure_run(
    job: Job, recording: Recording, *, stim_window_ms: WindowMs | None
) -> dict[str, Any]:
    """Return the row of a run, as a worker of a scan sends it back: plain JSON values.

    ``line`` is the log line; the rest are the columns. The window is that of f0.
    """
    summary = summarise(
        recording, burn_in_ms=job.burn_in_ms, model=job.spec.model, psd_window_ms=stim_window_ms
    )
    return scan_row(summary, recording, burn_in_ms=job.burn_in_ms) | {
        "line": summary.one_line(with_ie_ratio=True)
    }


def scan_row(summary: Summary, recording: Recording, *, burn_in_ms: float) -> dict[str, Any]:
    """Return the columns of a run: the metrics, rates by window, I doublets, spikes."""
    row: dict[str, Any] = {"dt_ms": recording.dt_ms}
    row |= {name: getattr(summary, name) for name in _COPIED}
    for name in ("pre", "stim", "post"):
        rates = summary.windows.get(name)
        row[f"{name}_e_hz"] = rates.rate_e_hz if rates else float("nan")
        row[f"{name}_i_hz"] = rates.rate_i_hz if rates else float("nan")
    row["i_doublets"] = doublet_share(recording, burn_in_ms=burn_in_ms)
    row["n_spikes_e"] = len(recording.spikes[recording.last_exc])
    row["n_spikes_i"] = len(recording.spikes[recording.last_inh]) if recording.last_inh else 0
    row["spikes_sha256"] = spike_hash(recording)
    return {n: float(v) if isinstance(v, np.floating) else v for n, v in row.items()}


def doublet_share(recording: Recording, *, burn_in_ms: float = 0.0) -> float:
    """Return the share of I spikes that follow another of the same cell within 5 ms.

    NaN without I spikes. In PING an I cell fires once in a cycle; doublets are the sign of a time
    step so coarse that inhibition comes too late.
    """
    if recording.last_inh is None:
        return float("nan")
    window_ms = (burn_in_ms, recording.t_ms)
    rows = window_rows(recording, recording.last_inh, window_ms, None)
    if not len(rows):
        return float("nan")
    rows = rows[np.lexsort((rows[:, 0], rows[:, 2], rows[:, 1]))]
    same = (np.diff(rows[:, 1]) == 0) & (np.diff(rows[:, 2]) == 0)
    close = np.diff(rows[:, 0]) * recording.dt_ms < DOUBLET_MS
    return float(np.count_nonzero(same & close) / len(rows))


def spike_hash(recording: Recording) -> str:
    """Return a hash of every spike of a run: equal for equal spikes, whoever computed them."""
    digest = hashlib.sha256()
    for name in sorted(recording.spikes):
        rows = np.ascontiguousarray(recording.spikes[name], dtype=np.int32)
        digest.update(f"{name} {len(rows)};".encode() + rows.tobytes())
    return digest.hexdigest()[:16]


def dt_ceiling(rows: Sequence[Mapping[str, Any]]) -> tuple[float | None, float | None]:
    """Return the largest dt (ms) before I cells double-fire, and the first at which they do.

    None for the first where already the smallest dt has doublets, for the second where none has.
    The rows of a dt scan, in any order.
    """
    good: float | None = None
    for row in sorted(rows, key=lambda row: float(row["dt_ms"])):
        share = float(row["i_doublets"])
        if math.isfinite(share) and share > DOUBLET_ONSET:
            return good, float(row["dt_ms"])
        good = float(row["dt_ms"])
    return good, None


def ceiling_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the dt ceiling in words."""
    good, bad = dt_ceiling(rows)
    if bad is None:
        return f"dt ceiling: none up to {good:.4g} ms (I cells fire once in a volley throughout)"
    below = f"usable up to {good:.4g} ms" if good is not None else "no step of this scan is usable"
    return f"dt ceiling: {below}; I cells double-fire from {bad:.4g} ms"
