"""What people look at: metrics of a recording, the oscilloscope figure, input diagnostics."""

from scope.files import png_bytes, save_figure
from scope.film.animation import OscilloscopeAnimation
from scope.film.video import VideoWriter, read_video
from scope.measure.metrics import (
    WindowRates,
    active_fraction,
    cv,
    ie_ratio,
    population_rate_hz,
    rate_e,
    rate_hz,
    rate_i,
    refractory_floor_hz,
    window_rates,
)
from scope.measure.rhythm import Autocorrelogram, Participation, autocorrelogram, participation
from scope.measure.spectra import GammaPeak, Spectrum, f0_hz, f_gamma, oscilloscope_psd
from scope.measure.summary import Summary, summarise
from scope.measure.windows import STIM_WINDOW_MS, after_burn_in
from scope.oscilloscope.diagnostics import draw_diagnostics, requested_rate_hz
from scope.oscilloscope.figure import PRESETS, draw_oscilloscope, draw_panels, make_axes
from scope.oscilloscope.view import OscilloscopeView, SweepState, TrainingHistory

__all__ = [
    "PRESETS",
    "STIM_WINDOW_MS",
    "Autocorrelogram",
    "GammaPeak",
    "OscilloscopeAnimation",
    "OscilloscopeView",
    "Participation",
    "Spectrum",
    "Summary",
    "SweepState",
    "TrainingHistory",
    "VideoWriter",
    "WindowRates",
    "active_fraction",
    "after_burn_in",
    "autocorrelogram",
    "cv",
    "draw_diagnostics",
    "draw_oscilloscope",
    "draw_panels",
    "f0_hz",
    "f_gamma",
    "ie_ratio",
    "make_axes",
    "oscilloscope_psd",
    "participation",
    "png_bytes",
    "population_rate_hz",
    "rate_e",
    "rate_hz",
    "rate_i",
    "read_video",
    "refractory_floor_hz",
    "requested_rate_hz",
    "save_figure",
    "summarise",
    "window_rates",
]
