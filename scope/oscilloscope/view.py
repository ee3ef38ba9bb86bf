"""What an oscilloscope figure shows: a recording and everything around it, frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.network.spec import NetworkSpec
from bridge.network.stimulus import Stimulus
from bridge.recording import Recording
from scope.measure.summary import Summary, summarise
from scope.measure.windows import STIM_WINDOW_MS, WindowMs, after_burn_in, chosen_trials

SPINNER = "|/-\\"


@dataclass(frozen=True, kw_only=True)
class SweepState:
    """Where a sweep stands: all its values, and what the frames so far measured.

    Parameters
    ----------
    variable, unit : str
        Name of the swept quantity, and its unit ("" for none).
    values : sequence of float
        One value for each frame of the whole sweep.
    index : int
        The current frame, from 0.
    rate_e_hz, rate_i_hz, f0_hz : sequence of float, Hz
        Measured so far: one for each frame up to and including the current one. A NaN is a gap.
    """

    variable: str
    unit: str
    values: Sequence[float]
    index: int
    rate_e_hz: Sequence[float] = ()
    rate_i_hz: Sequence[float] = ()
    f0_hz: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.index < len(self.values):
            raise ValueError(f"frame {self.index} is not one of {len(self.values)} sweep values")
        for name in ("rate_e_hz", "rate_i_hz", "f0_hz"):
            n = len(getattr(self, name))
            if n not in (0, self.index + 1):
                raise ValueError(
                    f"{name} holds {n} frames; frame {self.index} needs {self.index + 1}, or none"
                )

    @property
    def value(self) -> float:
        """The current value."""
        return float(self.values[self.index])


@dataclass(frozen=True, kw_only=True)
class TrainingHistory:
    """What training measured, one entry for each epoch so far; NaN where nothing was measured.

    Parameters
    ----------
    epochs : sequence of int
    acc_percent, loss, lr : sequence of float
    rate_e_hz, rate_i_hz : sequence of float, Hz
    grad_ratios : dict of str to sequence of float
        Norm of the gradient over norm of the parameter, by parameter name.
    """

    epochs: Sequence[int] = ()
    acc_percent: Sequence[float] = ()
    loss: Sequence[float] = ()
    lr: Sequence[float] = ()
    rate_e_hz: Sequence[float] = ()
    rate_i_hz: Sequence[float] = ()
    grad_ratios: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {n: getattr(self, n) for n in ("acc_percent", "loss", "lr", "rate_e_hz",
                                               "rate_i_hz")}  # fmt: skip
        for name, values in {**named, **self.grad_ratios}.items():
            if len(values) != len(self.epochs):
                raise ValueError(f"{name} holds {len(values)} values for {len(self.epochs)} epochs")

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]]) -> TrainingHistory:
        """Return the history of the epoch records of a metrics.json (ep, acc, loss, lr ...)."""

        def column(key: str) -> list[float]:
            return [_number(record.get(key)) for record in records]

        names = list(dict.fromkeys(n for r in records for n in r.get("grad_ratios") or {}))
        return cls(
            epochs=[int(record["ep"]) for record in records],
            acc_percent=column("acc"),
            loss=column("loss"),
            lr=column("lr"),
            rate_e_hz=column("rate_e"),
            rate_i_hz=column("rate_i"),
            grad_ratios={
                name: [_number((r.get("grad_ratios") or {}).get(name)) for r in records]
                for name in names
            },
        )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


@dataclass(frozen=True, kw_only=True, eq=False)
class OscilloscopeView:
    """Everything an oscilloscope figure shows; only the recording is indispensable.

    Parameters
    ----------
    recording : Recording
    trial : int
        The trial that is drawn, and that the header's numbers are of.
    model : str
        ``ping``, ``cuba-ping`` or ``cuba-noping``.
    burn_in_ms : float, ms
        Start of the trial that is neither drawn nor measured; the axes keep true times.
    stimulus : Stimulus, optional
    stim_window_ms : tuple of float, ms, or None
        The window with overdrive, shaded in the time panels; None where there is none.
    psd_window_ms : tuple of float, ms, or None
        The window of the spectrum and of f0, also without overdrive; None for everything after
        the burn-in.
    spec : PingSpec or CubaSpec, optional
        Thresholds and time constants for the drive-against-threshold panel.
    weights : dict of str to array, shape (pre, post)
        ``W_in``, ``W_ff_1to2``, ``W_out``, ``W_ee_1``, ``W_ei_1``, ``W_ie_1``, ``W_ii_1`` ...
    input_rate_hz, stim_overdrive : float, optional
    logits : float64, shape (n_classes,), optional
        Default: those of the recording.
    digit, pred, label : int, optional
        Class that was shown, class that was predicted, true class (default: `digit`).
    part : str, optional
        Which part of the training's split the sample is of.
    image : float64, shape (height, width), optional
    frame : int
        Turns the spinner of the header.
    sweep : SweepState, optional
    history : TrainingHistory, optional
    """

    recording: Recording
    trial: int = 0
    model: str = "ping"
    burn_in_ms: float = 0.0
    stimulus: Stimulus | None = None
    stim_window_ms: WindowMs | None = None
    psd_window_ms: WindowMs | None = STIM_WINDOW_MS
    spec: NetworkSpec | None = None
    weights: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    input_rate_hz: float | None = None
    stim_overdrive: float | None = None
    logits: NDArray[np.float64] | None = None
    digit: int | None = None
    pred: int | None = None
    label: int | None = None
    part: str | None = None
    image: NDArray[np.float64] | None = None
    frame: int = 0
    sweep: SweepState | None = None
    history: TrainingHistory | None = None

    def __post_init__(self) -> None:
        after_burn_in(self.recording, self.burn_in_ms)
        chosen_trials(self.recording, self.trial)
        if self.image is not None and np.ndim(self.image) != 2:
            raise ValueError(f"image has shape {np.shape(self.image)}; expected (height, width)")
        if self.stimulus is not None and self.trial >= self.stimulus.n_trials:
            raise ValueError(
                f"trial {self.trial} has no stimulus; there are {self.stimulus.n_trials}"
            )

    @cached_property
    def summary(self) -> Summary:
        """The metrics of the drawn trial."""
        return summarise(
            self.recording,
            burn_in_ms=self.burn_in_ms,
            model=self.model,
            stim_window_ms=self.stim_window_ms or STIM_WINDOW_MS,
            psd_window_ms=self.psd_window_ms,
            trial=self.trial,
        )

    @property
    def window_ms(self) -> WindowMs:
        """What the time axes show: from the end of the burn-in to the end of the trial."""
        return after_burn_in(self.recording, self.burn_in_ms)

    @property
    def spinner(self) -> str:
        """One of the four spinner characters, turning with the frame."""
        return SPINNER[self.frame % len(SPINNER)]

    @property
    def title(self) -> str:
        """Headline: of the epoch, of the classified digit, or of the model."""
        history = self.history
        if history is not None and len(history.epochs):
            return (
                f"Epoch {history.epochs[-1]}  acc {history.acc_percent[-1]:.1f} %  "
                f"loss {history.loss[-1]:.3f}"
            )
        true = self.digit if self.label is None else self.label
        if true is not None and self.pred is not None:
            mark = "✓" if self.pred == true else "✗"
            part = "" if self.part is None else f"  ({self.part})"
            return f"digit={true} pred={self.pred} {mark}{part}"
        if true is not None:
            if self.stim_overdrive is None:
                return f"digit={true}"
            return f"digit={true}  overdrive={self.stim_overdrive:g}\N{MULTIPLICATION SIGN}"
        return self.model

    @property
    def final_logits(self) -> NDArray[np.float64] | None:
        """Logits of the drawn trial, shape (n_classes,), or None."""
        if self.logits is not None:
            return np.asarray(self.logits, dtype=np.float64)
        return None if self.recording.logits is None else self.recording.logits[self.trial]
