"""The same network on two backends, spike for spike: what differs, and where first.

Two runs whose spikes differ part at one spike, from which the others follow: a report names that
spike, and :mod:`bridge.divergence` how far the voltage was from threshold on either side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.coincidence import coincidence, steps_in
from bridge.network.spec import CubaSpec, NetworkSpec
from bridge.network.stimulus import EventRows
from bridge.recording import Recording

TIE = {"float64": 1e-10, "float32": 1e-3}
"""Distance from threshold (mV, or 1) below which rounding decides whether a cell fires.

Source: measured, benchmarks/crosscheck.py: voltages of two backends differ by less than a tenth.
"""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A spike that only one side has, not caused by an earlier difference of its trial.

    Attributes
    ----------
    trial, step, cell : int
    population : str
    t_ms : float, ms
        ``step * dt``.
    fired : int
        Side that fired: 0 or 1.
    above_threshold : (float, float) or None
        Voltage before reset minus threshold on each side, in mV or dimensionless; None where the
        runs were not repeated.
    """

    trial: int
    step: int
    population: str
    cell: int
    t_ms: float
    fired: int
    above_threshold: tuple[float, float] | None = None

    def is_tie(self, limit: float) -> bool:
        """Tell whether both voltages are so close to threshold that rounding decides."""
        return self.above_threshold is not None and max(map(abs, self.above_threshold)) < limit


@dataclass(frozen=True, kw_only=True)
class PopulationCheck:
    """How the spikes of a population compare; pairs are (one, other).

    Attributes
    ----------
    identical : bool
    n_spikes : (int, int)
    n_alone : (int, int)
        Spikes without a partner in the same step.
    rate_hz : (float, float), Hz
    coincidence, coincidence_in_window : float, 0 to 1
        See :func:`bridge.coincidence.coincidence`: in the same step, and within the window.
    """

    identical: bool
    n_spikes: tuple[int, int]
    n_alone: tuple[int, int]
    rate_hz: tuple[float, float]
    coincidence: float
    coincidence_in_window: float


@dataclass(frozen=True, kw_only=True)
class CrossCheck:
    """The report of one comparison.

    Attributes
    ----------
    names : (str, str)
        The backends.
    dt_ms, n_steps, n_trials
        The grid.
    populations : dict of str to PopulationCheck
    first_steps : tuple of int or None
        First step with a difference in each trial, None in trials that are equal.
    first : tuple of Difference
        Every spike at which a trial parts.
    unit : str
        Of voltages: ``mV`` or ``1``.
    tie_limit : float
        See :data:`TIE`.
    window_ms : float, ms
    logits_difference : float or None
        Largest absolute difference.
    n_equal_predictions : int or None
        Trials with the same class.
    v_difference : dict of str to float
        Largest difference of voltages by trace, where both recordings have traces.
    """

    names: tuple[str, str]
    dt_ms: float
    n_steps: int
    n_trials: int
    populations: Mapping[str, PopulationCheck]
    first_steps: tuple[int | None, ...]
    first: tuple[Difference, ...]
    unit: str
    tie_limit: float
    window_ms: float
    logits_difference: float | None
    n_equal_predictions: int | None
    v_difference: Mapping[str, float] = field(default_factory=dict)

    @property
    def identical(self) -> bool:
        """Whether every spike of every population is the same."""
        return all(one.identical for one in self.populations.values())

    @property
    def passed(self) -> bool:
        """Whether the runs are identical, or rounding at threshold explains where they part."""
        return all(one.is_tie(self.tie_limit) for one in self.first)

    @property
    def verdict(self) -> str:
        """The outcome in a few words."""
        if self.identical:
            return "identical"
        return "rounding at threshold" if self.passed else "DIFFERENT"

    @property
    def first_ms(self) -> float | None:
        """Time (ms) of the first difference in any trial."""
        steps = [step for step in self.first_steps if step is not None]
        return min(steps) * self.dt_ms if steps else None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        raw = dataclasses.asdict(self)
        for found, one in zip(raw["first"], self.first, strict=True):
            found["fired"] = self.names[one.fired]
            found["tie"] = one.is_tie(self.tie_limit)
        counts = {"identical": self.identical, "passed": self.passed, "verdict": self.verdict}
        return {"names": raw.pop("names"), **counts, **raw}

    def lines(self, *, most: int = 3) -> list[str]:
        """Return one line for each population, then the first `most` differences, then logits."""
        one, other = self.names
        head = f"dt {self.dt_ms:g} ms, {one} and {other}"
        found = [f"{head}: {self._population(name)}" for name in self.populations]
        found += [f"  {self._difference(first)}" for first in self.first[:most]]
        if len(self.first) > most:
            found.append(f"  and {len(self.first) - most} more first differences (crosscheck.json)")
        for name, most_mv in self.v_difference.items():
            found.append(f"  {name}: largest difference {most_mv:.2g} {self.unit}")
        if self.logits_difference is not None:
            found.append(
                f"  logits differ by at most {self.logits_difference:.2g}; predictions equal in "
                f"{self.n_equal_predictions} of {self.n_trials} trials"
            )
        return found

    def _population(self, name: str) -> str:
        p = self.populations[name]
        if p.identical:
            return f"{name} identical, {p.n_spikes[0]} spikes, {p.rate_hz[0]:.2f} Hz"
        return (
            f"{name} {p.n_spikes[0]} and {p.n_spikes[1]} spikes, {p.rate_hz[0]:.2f} and "
            f"{p.rate_hz[1]:.2f} Hz; coincident in the same step {100 * p.coincidence:.2f} %, "
            f"within {self.window_ms:g} ms {100 * p.coincidence_in_window:.2f} %"
        )

    def _difference(self, first: Difference) -> str:
        text = (
            f"first difference of trial {first.trial} at {first.t_ms:g} ms (step {first.step}): "
            f"cell {first.cell} of {first.population} fires in {self.names[first.fired]} only"
        )
        if first.above_threshold is None:
            return text
        low, high = first.above_threshold
        unit = "" if self.unit == "1" else f" {self.unit}"
        why = "rounding decides" if first.is_tie(self.tie_limit) else "not explained by rounding"
        return f"{text}; V - V_th = {low:.3g} and {high:.3g}{unit}: {why}"


def compare(spec: NetworkSpec, one: Recording, other: Recording, *, window_ms: float) -> CrossCheck:
    """Return how two recordings of a network compare; what differs is not yet explained.

    Parameters
    ----------
    spec : PingSpec or CubaSpec
    one, other : Recording
    window_ms : float, ms
        Largest distance of two spikes that count as coincident.

    Raises
    ------
    ValueError
        If the recordings have other populations or another grid.
    """
    grids = [(r.dt_ms, r.n_steps, r.n_trials, dict(r.n_cells)) for r in (one, other)]
    if grids[0] != grids[1] or grids[0][3] != spec.populations:
        raise ValueError(
            f"these runs can't be compared: dt, steps, trials, cells are {grids[0]} and {grids[1]}"
            f" of a network with {spec.populations}"
        )
    window_steps = steps_in(window_ms, one.dt_ms)
    populations = {
        name: _population_check(one, other, name, window_steps) for name in spec.populations
    }
    first, first_steps = _first_differences(one, other)
    difference = same = None
    if one.logits is not None and other.logits is not None:
        difference = float(np.abs(one.logits - other.logits).max(initial=0.0))
        same = int((one.logits.argmax(axis=1) == other.logits.argmax(axis=1)).sum())
    single = any("float32" in r.backend for r in (one, other))
    return CrossCheck(
        names=(one.backend, other.backend),
        dt_ms=one.dt_ms,
        n_steps=one.n_steps,
        n_trials=one.n_trials,
        populations=populations,
        first_steps=first_steps,
        first=first,
        unit="1" if isinstance(spec, CubaSpec) else "mV",
        tie_limit=TIE["float32" if single else "float64"],
        window_ms=window_ms,
        logits_difference=difference,
        n_equal_predictions=same,
        v_difference={
            name: float(np.abs(trace - other.traces[name]).max(initial=0.0))
            for name, trace in one.traces.items()
            if name.startswith("v_") and name in other.traces
        },
    )


def _population_check(
    one: Recording, other: Recording, name: str, window_steps: int
) -> PopulationCheck:
    a, b = one.spikes[name], other.spikes[name]
    alone = len(_only_in(a, b)), len(_only_in(b, a))
    total = len(a) + len(b)
    return PopulationCheck(
        identical=np.array_equal(a, b),
        n_spikes=(len(a), len(b)),
        n_alone=alone,
        rate_hz=(one.rate_hz(name), other.rate_hz(name)),
        coincidence=1.0 - sum(alone) / total if total else 1.0,
        coincidence_in_window=coincidence(a, b, window_steps=window_steps),
    )


def _only_in(a: EventRows, b: EventRows) -> EventRows:
    """Return the rows of `a` that are not in `b`, in their order."""
    packed = [np.ascontiguousarray(rows).view([("", rows.dtype)] * 3).ravel() for rows in (a, b)]
    return a[~np.isin(packed[0], packed[1])]


def _first_differences(
    one: Recording, other: Recording
) -> tuple[tuple[Difference, ...], tuple[int | None, ...]]:
    """Return where each trial parts, and the step of it."""
    names = list(one.n_cells)
    parts: list[NDArray[np.int64]] = [np.empty((0, 5), dtype=np.int64)]
    for k, name in enumerate(names):
        for fired, (a, b) in enumerate(((one, other), (other, one))):
            only = _only_in(a.spikes[name], b.spikes[name])
            where = np.broadcast_to((k, fired), (len(only), 2))
            parts.append(np.column_stack([only, where]).astype(np.int64))
    rows = np.concatenate(parts)
    earliest = np.full(one.n_trials, one.n_steps)
    np.minimum.at(earliest, rows[:, 1], rows[:, 0])
    alone: dict[int, list[Difference]] = {}
    for step, trial, cell, k, fired in rows[rows[:, 0] == earliest[rows[:, 1]]].tolist():
        difference = Difference(
            trial=trial, step=step, population=names[k], cell=cell, t_ms=step * one.dt_ms,
            fired=fired,
        )  # fmt: skip
        alone.setdefault(trial, []).append(difference)
    first = tuple(d for trial in sorted(alone) for d in _causes(alone[trial]))
    return first, tuple(int(step) if step < one.n_steps else None for step in earliest)


def _causes(at_once: list[Difference]) -> list[Difference]:
    """Return the differences of one step that none of the others can have caused.

    Within a step, E cells reach the E cells of the layers above and nobody else.
    """
    lowest = min((int(d.population[1:]) for d in at_once if d.population[0] == "e"), default=0)
    return [d for d in at_once if d.population[0] == "i" or int(d.population[1:]) == lowest]
