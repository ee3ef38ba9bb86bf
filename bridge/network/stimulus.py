"""What goes into a network: input spikes as sorted events, and conductance drive."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bridge.network.steps import MAX_STEPS

EventRows = NDArray[np.int32]
MAX_CHANNELS = 1_000_000_000
"""Input channels of all trials together."""


def sort_rows(rows: NDArray[np.integer]) -> EventRows:
    """Return event rows (step, trial, cell) sorted by step, then trial, then cell."""
    rows = np.array(rows, dtype=np.int32).reshape(-1, 3)  # a copy: the caller keeps his own
    if not _is_sorted(rows):
        rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    return np.ascontiguousarray(rows)


def _is_sorted(rows: EventRows) -> bool:
    """Tell whether rows stand in order already, as encoders make them: sorting costs far more."""
    later, same = rows[1:] > rows[:-1], rows[1:] == rows[:-1]
    of_step = later[:, 2] | same[:, 2]
    of_step = later[:, 1] | (same[:, 1] & of_step)
    return bool(np.all(later[:, 0] | (same[:, 0] & of_step)))


def check_rows(
    rows: NDArray[np.integer], *, what: str, n_steps: int, n_trials: int, n_cells: int
) -> None:
    """Raise `ValueError` where an event row lies outside the trial, the batch or the cells."""
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise ValueError(f"{what} must have rows (step, trial, cell), not shape {rows.shape}")
    for column, (name, limit) in enumerate(
        (("step", n_steps), ("trial", n_trials), ("cell", n_cells))
    ):
        if not len(rows):
            return
        low, high = int(rows[:, column].min()), int(rows[:, column].max())
        if low < 0 or high >= limit:
            bad = low if low < 0 else high
            raise ValueError(f"{what}: {name} {bad} lies outside 0 to {limit - 1}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Stimulus:
    """The input of one run: trials side by side, on a grid of integer steps.

    Attributes
    ----------
    dt_ms, n_steps, n_trials, n_in
        Time step, steps of a trial, trials, input channels.
    events : int32, shape (n_events, 3)
        Rows (step, trial, channel), sorted; a repeated row is a second spike of that step.
    g_ext_us : float64, shape (n_trials, n_steps, n_exc) or None, µS
        Conductance added to the first E layer in each step, after the decay (already calibrated
        to dt).
    bias_us : float, µS
        The same for every E cell and step.
    """

    dt_ms: float
    n_steps: int
    n_trials: int
    n_in: int
    events: EventRows = field(default_factory=lambda: np.empty((0, 3), dtype=np.int32))
    g_ext_us: NDArray[np.float64] | None = None
    bias_us: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dt_ms) and self.dt_ms > 0):
            raise ValueError(f"dt = {self.dt_ms:g} ms must be a positive number")
        if self.n_steps > MAX_STEPS or self.n_trials * self.n_in > MAX_CHANNELS:
            raise ValueError(
                f"input of {self.n_steps} steps, {self.n_trials} trials and {self.n_in} channels "
                f"is too large; at most {MAX_STEPS} steps and {MAX_CHANNELS} channels in all"
            )
        for name in ("n_steps", "n_trials", "n_in"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        raw = np.asarray(self.events)
        if raw.size and not np.issubdtype(raw.dtype, np.integer):
            raise ValueError(f"input events must be integers, not {raw.dtype}")
        check_rows(
            raw.reshape(-1, 3) if not raw.size else raw,
            what="input events",
            n_steps=self.n_steps,
            n_trials=self.n_trials,
            n_cells=self.n_in,
        )
        object.__setattr__(self, "events", sort_rows(raw))
        if not np.isfinite(self.bias_us) or self.bias_us < 0:
            raise ValueError(f"bias = {self.bias_us:g} uS must be a finite number >= 0")
        if self.g_ext_us is not None:
            g = np.asarray(self.g_ext_us, dtype=np.float64)
            if g.ndim != 3 or g.shape[:2] != (self.n_trials, self.n_steps):
                raise ValueError(
                    f"g_ext_us has shape {g.shape}; expected ({self.n_trials}, {self.n_steps}, "
                    "n_exc)"
                )
            if not (np.isfinite(g).all() and (g >= 0).all()):
                raise ValueError("g_ext_us must hold finite conductances >= 0")
            object.__setattr__(self, "g_ext_us", g)

    @classmethod
    def from_raster(cls, raster: NDArray, *, dt_ms: float, bias_us: float = 0.0) -> Stimulus:
        """Return the stimulus of a raster of spikes or spike counts.

        Parameters
        ----------
        raster : bool or int, shape (trial, step, channel)
        dt_ms : float, ms
        """
        raster = np.asarray(raster)
        if raster.ndim != 3:
            raise ValueError(f"raster has shape {raster.shape}; expected (trial, step, channel)")
        trial, step, channel = np.nonzero(raster)
        rows = np.stack([step, trial, channel], axis=1).astype(np.int32)
        if raster.dtype != np.bool_:
            rows = np.repeat(rows, raster[trial, step, channel].astype(np.int64), axis=0)
        n_trials, n_steps, n_in = raster.shape
        return cls(
            dt_ms=dt_ms, n_steps=n_steps, n_trials=n_trials, n_in=n_in, events=rows, bias_us=bias_us
        )

    @property
    def t_ms(self) -> float:
        """Duration of a trial, ms."""
        return self.n_steps * self.dt_ms

    def check_fits(self, n_in: int, n_exc: int) -> None:
        """Raise `ValueError` if this can't drive `n_in` channels and `n_exc` cells."""
        if self.n_in != n_in:
            raise ValueError(
                f"the input has {self.n_in} channels, but the network (W_in) expects {n_in}"
            )
        if self.g_ext_us is not None and self.g_ext_us.shape[2] != n_exc:
            raise ValueError(
                f"the external conductance drives {self.g_ext_us.shape[2]} cells, but the first E "
                f"layer has {n_exc}"
            )

    def counts(self) -> NDArray[np.int32]:
        """Return the dense spike counts, shape (trial, step, channel)."""
        dense = np.zeros((self.n_trials, self.n_steps, self.n_in), dtype=np.int32)
        np.add.at(dense, (self.events[:, 1], self.events[:, 0], self.events[:, 2]), 1)
        return dense

    def trial_events(self, trial: int) -> EventRows:
        """Return the rows of one trial."""
        if self.n_trials == 1 and trial == 0:
            return self.events
        return self.events[self.events[:, 1] == trial]
