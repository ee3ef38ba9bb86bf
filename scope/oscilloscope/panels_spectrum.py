"""The panel of the spectrum of the E population rate."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from scope.measure.spectra import Spectrum
from scope.style import EXC, GAMMA, GREY, dress, say

PSD_BAND_HZ = (5.0, 200.0)
PSD_LABEL_ABOVE = 0.3


def plot_psd(
    ax: Axes,
    spectrum: Spectrum,
    *,
    f_gamma_hz: float = float("nan"),
    f_gamma_valid: bool = False,
    note: str = "",
) -> Axes:
    """Draw the oscilloscope's spectrum from 5 to 200 Hz, with its peak and f_gamma marked.

    Parameters
    ----------
    ax : Axes
    spectrum : Spectrum
        Its highest power of the band is marked where it exceeds 0.3 of the maximum.
    f_gamma_hz : float, Hz
        Marked by a dotted line; NaN for none.
    f_gamma_valid : bool
        False adds `note` (why it is no rhythm) to its label.
    note : str
    """
    dress(ax, title=psd_title(spectrum), xlabel="Frequency (Hz)", ylabel="Power", title_colour=EXC)
    ax.set_xlim(*PSD_BAND_HZ)
    ax.set_ylim(0.0, 1.5)  # room for the legend
    ax.set_yticks([0.0, 0.5, 1.0])
    inside = (spectrum.freqs_hz >= PSD_BAND_HZ[0]) & (spectrum.freqs_hz <= PSD_BAND_HZ[1])
    freqs_hz, power = spectrum.freqs_hz[inside], spectrum.power[inside]
    if len(freqs_hz):
        marker = "o" if len(freqs_hz) <= 60 else ""
        ax.plot(freqs_hz, power, color=EXC, marker=marker, markersize=4, gid="psd")
    if power.any() and power.max() > PSD_LABEL_ABOVE:
        peak_hz = float(freqs_hz[np.argmax(power)])
        label = f"peak {peak_hz:.0f} Hz, {spectrum.resolution_hz:.3g} Hz bins"
        _mark_frequency(ax, peak_hz, label=label, colour=GREY, line="--", gid="psd_peak")
    elif not power.any():
        say(ax, "no modulation")
    if np.isfinite(f_gamma_hz):
        label = f"f{GAMMA} {f_gamma_hz:.1f} Hz" + (
            "" if f_gamma_valid else f": {note or 'no rhythm'}"
        )
        _mark_frequency(ax, f_gamma_hz, label=label, colour="#1A1A1A", line=":", gid="f_gamma")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper right")
    return ax


def psd_title(spectrum: Spectrum) -> str:
    """Return the title of a spectrum: the window that it is of."""
    low_ms, high_ms = spectrum.window_ms
    return f"E spectrum of {low_ms:g} to {high_ms:g} ms (maximum 1)"


def _mark_frequency(ax: Axes, f_hz: float, *, label: str, colour: str, line: str, gid: str) -> None:
    """Draw a line at a frequency, up to the highest power: the legend stands above it."""
    ax.plot([f_hz, f_hz], [0.0, 1.05], color=colour, linestyle=line, label=label, gid=gid)
