"""The numbers of a run in one frozen place: one line on the terminal, JSON in the run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bridge.recording import Recording
from scope.measure.metrics import (
    WindowRates,
    active_fraction,
    cv,
    ie_ratio,
    rate_hz,
    window_rates,
)
from scope.measure.rhythm import autocorrelogram, participation
from scope.measure.spectra import f0_hz, f_gamma, oscilloscope_psd
from scope.measure.windows import STIM_WINDOW_MS, WindowMs, after_burn_in

RHYTHMIC_MODELS = ("ping",)
"""Models for which f0 is reported (Source: pinglab; 0 for all others)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The metrics of one run, everything measured after the burn-in.

    Attributes
    ----------
    model : str
    dt_ms, t_ms, burn_in_ms : float, ms
    n_trials : int
        Trials the numbers are averaged over.
    rate_e_hz, rate_i_hz : float, Hz
        Deepest E and I population; NaN without an I population.
    cv : float
        Burstiness of the E population in 2 ms bins; NaN for silence.
    act : float, 0 to 1
        Share of E cells with at least one spike.
    ie_ratio : float
    f0_hz : float, Hz
        On-screen fundamental, quantised; 0 where there is none.
    f_gamma_hz : float, Hz
        Strongest frequency of the E population; NaN for silence. Claims need `f_gamma_valid`.
    f_gamma_valid : bool
        The peak is a rhythm by the gate of :func:`scope.measure.spectra.f_gamma`.
    f_gamma_note : str
        Why it is not; empty if it is.
    f_gamma_resolution_hz : float, Hz
    vector_strength : float, 0 to 1
        Locking of E to `f_gamma_hz`.
    participation, spikes_per_cycle : float
        Share of (E cell, cycle) pairs with a spike, and mean spikes of a pair; NaN without bursts
        of I.
    lobe_to_trough, trough_lag_ms : float
        Rhythmicity of the E autocorrelogram.
    windows : dict of str to WindowRates or None
        ``pre``, ``stim``, ``post``; None where the trial has no such window.
    """

    model: str
    dt_ms: float
    t_ms: float
    burn_in_ms: float
    n_trials: int
    rate_e_hz: float
    rate_i_hz: float
    cv: float
    act: float
    ie_ratio: float
    f0_hz: float
    f_gamma_hz: float
    f_gamma_valid: bool
    f_gamma_note: str
    f_gamma_resolution_hz: float
    vector_strength: float
    participation: float
    spikes_per_cycle: float
    lobe_to_trough: float
    trough_lag_ms: float
    windows: Mapping[str, WindowRates | None]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; undefined ones (NaN, infinite) are None."""
        return _plain(asdict(self))

    def reference_metrics(self) -> dict[str, float | None]:
        """Return the five metrics of training files: rate_e, rate_i, cv, act, f0."""
        return _plain(
            {
                "rate_e": self.rate_e_hz,
                "rate_i": self.rate_i_hz,
                "cv": self.cv,
                "act": self.act,
                "f0": self.f0_hz,
            }
        )

    def one_line(self, *, with_ie_ratio: bool = False) -> str:
        """Return ``E=.. I=.. CV=.. act=..% f0=..`` (Hz, %), a dash where undefined.

        `f0` appears for models that have one (0: no peak found); scan frames add ``I/E``.

        Source: the format is that of the oscilloscope reference (pinglab).
        """
        parts = [
            f"E={_number(self.rate_e_hz, '3.0f')}",
            f"I={_number(self.rate_i_hz, '3.0f')}",
            f"CV={_number(self.cv, '4.2f')}",
            f"act={_number(100.0 * self.act, '4.0f')}%",
        ]
        if self.model in RHYTHMIC_MODELS:
            parts.append(f"f0={_number(self.f0_hz, '3.0f')}")
        if with_ie_ratio:
            parts.append(f"I/E={_number(self.ie_ratio, '4.2f')}")
        return " ".join(parts)

    def gamma_line(self) -> str:
        """Return frequency, rhythmicity and participation in one line, with what speaks against."""
        parts = [
            f"f_gamma {_number(self.f_gamma_hz, '.1f')} Hz "
            f"(bins of {self.f_gamma_resolution_hz:.3g} Hz)",
            f"lobe-to-trough {_number(self.lobe_to_trough, '.2f')}",
            f"participation {_number(self.participation, '.2f')}",
        ]
        line = ", ".join(parts)
        return line if self.f_gamma_valid else f"{line}; not a rhythm: {self.f_gamma_note}"

    def window_line(self) -> str:
        """Return the E/I rates (Hz) of the windows that exist, in one line."""
        parts = [
            f"{name} {_number(rates.rate_e_hz, '.1f')}/{_number(rates.rate_i_hz, '.1f')}"
            for name, rates in self.windows.items()
            if rates is not None
        ]
        return "E/I Hz: " + "  ".join(parts)


def summarise(
    recording: Recording,
    *,
    burn_in_ms: float,
    model: str,
    stim_window_ms: WindowMs = STIM_WINDOW_MS,
    psd_window_ms: WindowMs | None = STIM_WINDOW_MS,
    trial: int | None = None,
) -> Summary:
    """Return the metrics of a recording: of one trial, or averaged over all.

    Parameters
    ----------
    recording : Recording
    burn_in_ms : float, ms
        Start of every trial that no metric sees.
    model : str
        ``ping``, ``cuba-ping`` or ``cuba-noping``; f0 is 0 for all but the first.
    stim_window_ms : tuple of float, ms
        The window between ``pre`` and ``post``.
    psd_window_ms : tuple of float, ms, or None
        Window of the spectrum behind f0; None for everything after the burn-in.
    trial : int, optional

    Raises
    ------
    ValueError
        If the burn-in is negative or not shorter than the trial, or there is no such trial.
    """
    window_ms = after_burn_in(recording, burn_in_ms)
    rate_e_hz = rate_hz(recording, recording.last_exc, window_ms=window_ms, trial=trial)
    rate_i_hz = rate_hz(recording, recording.last_inh, window_ms=window_ms, trial=trial)
    spectrum = oscilloscope_psd(
        recording, burn_in_ms=burn_in_ms, stim_window_ms=psd_window_ms, trial=trial
    )
    gamma = f_gamma(recording, window_ms=window_ms, trial=trial)
    cycles = participation(recording, f_gamma_hz=gamma.f_hz, window_ms=window_ms, trial=trial)
    rhythm = autocorrelogram(recording, window_ms=window_ms, trial=trial)
    return Summary(
        model=model,
        dt_ms=recording.dt_ms,
        t_ms=recording.t_ms,
        burn_in_ms=burn_in_ms,
        n_trials=recording.n_trials if trial is None else 1,
        rate_e_hz=rate_e_hz,
        rate_i_hz=rate_i_hz,
        cv=cv(recording, window_ms=window_ms, trial=trial),
        act=active_fraction(recording, window_ms=window_ms, trial=trial),
        ie_ratio=ie_ratio(rate_i_hz, rate_e_hz),
        f0_hz=f0_hz(spectrum) if model in RHYTHMIC_MODELS else 0.0,
        f_gamma_hz=gamma.f_hz,
        f_gamma_valid=gamma.is_rhythm,
        f_gamma_note=gamma.reason,
        f_gamma_resolution_hz=gamma.resolution_hz,
        vector_strength=gamma.vector_strength,
        participation=cycles.p if cycles else float("nan"),
        spikes_per_cycle=cycles.spikes_per_cycle if cycles else float("nan"),
        lobe_to_trough=rhythm.lobe_to_trough,
        trough_lag_ms=rhythm.trough_lag_ms,
        windows=window_rates(
            recording, burn_in_ms=burn_in_ms, stim_window_ms=stim_window_ms, trial=trial
        ),
    )


def _number(value: float, form: str) -> str:
    """Return a number in the given form, or a dash of the same width where it is undefined."""
    if math.isfinite(value):
        return f"{value:{form}}"
    width = form.split(".")[0]
    return f"{'-':>{width}}" if width else "-"


def _plain(value: Any) -> Any:
    """Return `value` with every number that is not finite replaced by None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
