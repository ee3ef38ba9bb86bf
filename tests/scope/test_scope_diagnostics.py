"""Input diagnostics: rates as counted, bands as computed."""

from __future__ import annotations

import numpy as np
import pytest
from legible import check_legible, has, message, the
from numpy.testing import assert_allclose
from scope_recordings import poisson_rows

from bridge.network.stimulus import Stimulus
from scope.files import png_bytes
from scope.oscilloscope.diagnostics import (
    draw_diagnostics,
    empirical_rate_hz,
    plot_channel_rates,
    plot_mean_drive,
    poisson_band_hz,
    requested_rate_hz,
)
from scope.style import new_figure


@pytest.fixture
def ax():
    return new_figure(6.0, 4.0, 100).add_subplot()


def spikes(events, *, n_in, n_steps=400, n_trials=1):
    return Stimulus(dt_ms=0.25, n_steps=n_steps, n_trials=n_trials, n_in=n_in, events=events)


def poisson(n_in=1500, rate_hz=40.0, t_ms=500.0):
    rows = poisson_rows(np.random.default_rng(3), n_cells=n_in, rate_hz=rate_hz, t_ms=t_ms)
    return spikes(rows, n_in=n_in, n_steps=round(t_ms / 0.25))


def conductance():
    rng = np.random.default_rng(0)
    g = 0.001 * (1 + 0.05 * rng.standard_normal((1, 1, 80))) * np.ones((1, 400, 1))
    g[:, 200:240] *= 5.0
    return Stimulus(dt_ms=0.25, n_steps=400, n_trials=1, n_in=80, g_ext_us=g)


def test_the_empirical_rate_counts_all_trials():
    events = np.array([[0, 0, 1], [5, 0, 1], [7, 1, 1], [3, 1, 2]])
    rates_hz = empirical_rate_hz(spikes(events, n_in=3, n_trials=2))
    assert_allclose(rates_hz, [0.0, 3 / 0.2, 1 / 0.2], rtol=1e-12)


def test_the_requested_rate_averages_the_stimulus_window():
    image = np.array([[0.0, 0.5], [1.0, 0.25]])
    flat = requested_rate_hz(image, rate_hz=40.0, t_ms=600.0)
    assert_allclose(flat, [0.0, 20.0, 40.0, 10.0])
    given = {"rate_hz": 40.0, "stim_overdrive": 10.0, "stim_window_ms": (200.0, 300.0)}
    # 100 of 600 ms at tenfold: (5 + 10) / 6 = 2.5 times; a trial of 250 ms sees half the window.
    assert_allclose(requested_rate_hz(image, t_ms=600.0, **given), 2.5 * flat)
    assert_allclose(requested_rate_hz(image, t_ms=250.0, **given), (1 + 9 * 0.2) * flat)
    assert_allclose(requested_rate_hz(image, t_ms=200.0, **given), flat)


def test_the_band_is_two_standard_deviations_of_a_poisson_count():
    low_hz, high_hz = poisson_band_hz(np.array([0.0, 1.0, 50.0]), total_ms=2000.0)
    assert_allclose(high_hz, [0.0, 1.0 + 2 * np.sqrt(0.5), 60.0])
    assert_allclose(low_hz, [0.0, 0.0, 40.0])


def test_poisson_channels_lie_in_the_band(ax):
    plot_channel_rates(ax, poisson(), np.full(1500, 40.0))
    n_inside = len(the(ax, "inside").get_xdata())
    # 20 +- 8.94 spikes hold 95.8 % of a Poisson count; 1500 channels: sd 0.5 %, four of them.
    assert abs(n_inside / 1500 - 0.958) < 0.02
    assert len(the(ax, "outside").get_xdata()) == 1500 - n_inside


def test_a_wrong_rate_falls_out_of_the_band(ax):
    plot_channel_rates(ax, poisson(), np.full(1500, 20.0))
    # Twice the rate: 22 % of the counts still reach the band of 20 +- 4.5 Hz; sd 1.1 %.
    assert len(the(ax, "inside").get_xdata()) < 0.3 * 1500


def test_rates_stand_against_the_requested_ones(ax):
    events = np.array([[k, 0, 1] for k in range(4)] + [[9, 0, 0]])
    plot_channel_rates(ax, spikes(events, n_in=3), np.array([0.0, 40.0, 10.0]))
    assert the(ax, "inside").get_xydata().tolist() == [[40.0, 40.0], [10.0, 0.0]]
    assert the(ax, "outside").get_xydata().tolist() == [[0.0, 10.0]]
    title = ax.get_title(loc="center") + ax.get_title(loc="left")
    assert "100.0 % within" in title
    assert "1 stray" in title  # a channel that was asked for nothing


def test_the_mean_drive_and_its_band_are_those_of_the_cells(ax):
    stimulus = conductance()
    plot_mean_drive(ax, stimulus, stim_window_ms=(50.0, 60.0))
    line = the(ax, "mean_drive")
    assert_allclose(line.get_ydata(), 1e3 * stimulus.g_ext_us[0].mean(axis=1), rtol=1e-12)
    band = the(ax, "heterogeneity_band").get_paths()[0].vertices[:, 1]
    top = 1e3 * (stimulus.g_ext_us[0].mean(axis=1) + stimulus.g_ext_us[0].std(axis=1)).max()
    assert band.max() == pytest.approx(top)
    assert has(ax, "stim_window")
    ax.clear()
    assert message(plot_mean_drive(ax, poisson())) == "no conductance input"


@pytest.mark.parametrize("raster", ["scatter", "imshow"])
def test_the_figure_of_a_dataset_input(raster):
    image = np.random.default_rng(0).random((8, 8))
    requested_hz = requested_rate_hz(image, rate_hz=80.0, t_ms=500.0)
    rows = poisson_rows(np.random.default_rng(1), n_cells=64, rate_hz=80.0, t_ms=500.0)
    stimulus = spikes(rows, n_in=64, n_steps=2000)
    figure = draw_diagnostics(
        stimulus, image=image, digit=3, requested_hz=requested_hz, raster=raster,
        stim_window_ms=(200.0, 300.0),
    )  # fmt: skip
    assert len(figure.axes) == 3
    check_legible(figure)


def test_the_figure_of_a_conductance_input():
    figure = draw_diagnostics(conductance(), stim_window_ms=(50.0, 60.0))
    assert len(figure.axes) == 3
    assert has(figure, "drive_image")
    assert has(figure, "mean_drive")
    labels = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert labels == ["outside 1.01 nS, sd 4.8 %", "stimulus 5.03 nS, sd 4.8 %"]
    check_legible(figure)


@pytest.mark.parametrize("given", [{}, {"requested_hz": np.full(5, 20.0)}])
def test_a_silent_input_is_drawn(given):
    silent = spikes(np.empty((0, 3), dtype=np.int32), n_in=5)
    check_legible(draw_diagnostics(silent, **given))


def test_the_same_input_gives_the_same_bytes():
    one, other = (png_bytes(draw_diagnostics(conductance())) for _ in range(2))
    assert one == other


def test_wrong_requests_are_errors(ax):
    with pytest.raises(ValueError, match=r"requested_hz has shape \(2,\); expected \(3,\)"):
        plot_channel_rates(ax, spikes(np.array([[0, 0, 0]]), n_in=3), np.ones(2))
    with pytest.raises(ValueError, match="trial 1"):
        draw_diagnostics(conductance(), trial=1)
