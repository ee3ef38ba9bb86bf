"""What people look at: metrics of a recording, the oscilloscope figure, input diagnostics."""

from bridge.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "scope.files": ("png_bytes", "save_figure"),
        "scope.film.animation": ("OscilloscopeAnimation",),
        "scope.film.video": ("VideoWriter", "read_video"),
        "scope.measure.metrics": (
            "WindowRates",
            "active_fraction",
            "cv",
            "ie_ratio",
            "population_rate_hz",
            "rate_e",
            "rate_hz",
            "rate_i",
            "refractory_floor_hz",
            "window_rates",
        ),
        "scope.measure.rhythm": (
            "Autocorrelogram",
            "Participation",
            "autocorrelogram",
            "participation",
        ),
        "scope.measure.spectra": ("GammaPeak", "Spectrum", "f0_hz", "f_gamma", "oscilloscope_psd"),
        "scope.measure.summary": ("Summary", "summarise"),
        "scope.measure.windows": ("STIM_WINDOW_MS", "after_burn_in"),
        "scope.oscilloscope.diagnostics": ("draw_diagnostics", "requested_rate_hz"),
        "scope.oscilloscope.figure": ("PRESETS", "draw_oscilloscope", "draw_panels", "make_axes"),
        "scope.oscilloscope.view": ("OscilloscopeView", "SweepState", "TrainingHistory"),
    },
)
