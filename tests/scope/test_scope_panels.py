"""Panels hold the artists they promise: counted, coloured, labelled."""

from __future__ import annotations

import numpy as np
import pytest
from legible import has, message, the
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal
from scope_recordings import ping_recording, poisson_rows, recording_of

from bridge.network.stimulus import Stimulus
from scope.measure.drive import DriveBalance
from scope.measure.spectra import Spectrum
from scope.oscilloscope.panels_activity import (
    ordinal,
    plot_drive,
    plot_population_rate,
    plot_raster,
    raster_image,
    raster_stride,
)
from scope.oscilloscope.panels_network import (
    matrix_title,
    ordered_matrices,
    plot_digit,
    plot_output,
    plot_weights,
    weight_histogram,
)
from scope.oscilloscope.panels_progress import (
    plot_accuracy,
    plot_drive_threshold,
    plot_gradient_flow,
    plot_sweep,
    plot_sweep_f0,
    plot_sweep_rates,
)
from scope.oscilloscope.panels_spectrum import plot_psd
from scope.oscilloscope.view import SweepState, TrainingHistory
from scope.style import EXC, GREY, INH, dress, house_style, new_figure


@pytest.fixture
def ax():
    return new_figure(6.0, 4.0, 100).add_subplot()


@pytest.mark.parametrize(("n", "stride"), [(1, 1), (256, 1), (257, 2), (300, 2), (1024, 4)])
def test_at_most_256_cells_are_drawn(n, stride):
    assert raster_stride(n) == stride
    assert len(range(0, n, stride)) <= 256


@pytest.mark.parametrize("burn_in_ms", [0.0, 100.0])
def test_a_scatter_raster_draws_each_spike_of_each_drawn_cell(ax, burn_in_ms):
    recording = ping_recording(n_exc=600, seed=1)
    plot_raster(ax, recording, population="e1", window_ms=(burn_in_ms, 600.0))
    points = the(ax, "e1_spikes").get_offsets()
    rows = recording.spikes["e1"]
    expected = rows[(rows[:, 0] * 0.25 >= burn_in_ms) & (rows[:, 2] % 3 == 0)]
    assert len(expected) > 100
    assert_allclose(np.asarray(points), np.stack([expected[:, 0] * 0.25, expected[:, 2]], axis=1))
    assert ax.get_xlim() == (burn_in_ms, 600.0)  # true times, not times since the burn-in
    assert to_hex(the(ax, "e1_spikes").get_edgecolor()[0]).upper() == EXC
    assert "every 3rd" in ax.get_title(loc="center") + ax.get_title(loc="left")


def test_an_image_raster_marks_each_spike_for_its_width(ax):
    steps = np.array([[100, 0], [100, 2], [300, 1]])
    given = {"dt_ms": 0.1, "n_cells": 3, "window_ms": (5.0, 45.0)}
    image = raster_image(steps, **given)
    assert image.shape == (3, 400)
    assert_array_equal(image.sum(axis=1), [8, 8, 8])  # 0.8 ms of 0.1 ms
    assert image[0, 50] == 1
    assert image[1, 250] == 1
    burst = raster_image(steps, **given, max_shape=(2, 100))
    assert burst.shape == (2, 100)
    assert_array_equal(burst.sum(axis=1), [4, 2])  # 4 steps a column, 2 columns a spike


def test_spikes_outside_the_window_leave_no_mark():
    steps = np.array([[49, 0], [450, 0]])
    image = raster_image(steps, dt_ms=0.1, n_cells=1, window_ms=(5.0, 45.0))
    assert not image.any()


def test_an_image_raster_is_never_finer_than_its_axes(ax):
    recording = ping_recording(n_exc=1000, dt_ms=0.1)
    plot_raster(ax, recording, population="e1", raster="imshow")
    rows, columns = the(ax, "e1_spikes").get_array().shape
    box = ax.get_window_extent()
    assert rows <= box.height
    assert columns <= box.width
    assert the(ax, "e1_spikes").get_extent() == [0.0, 600.0, -0.5, 999.5]


def test_a_raster_says_what_is_missing(ax):
    recording = recording_of({}, n_cells={"e1": 3}, t_ms=50.0)
    plot_raster(ax, recording, population=recording.last_inh)
    assert message(ax) == "no I population"
    ax.clear()
    plot_raster(ax, recording, population="e1")
    assert message(ax) == "no spikes"


def test_an_unknown_raster_style_is_an_error(ax):
    with pytest.raises(ValueError, match=r"'dots'.*scatter or imshow"):
        plot_raster(ax, ping_recording(t_ms=50.0), population="e1", raster="dots")


def test_the_stimulus_window_is_shaded_where_there_is_one(ax):
    recording = ping_recording()
    plot_raster(ax, recording, population="i1", stim_window_ms=(200.0, 300.0))
    box = the(ax, "stim_window").get_extents().transformed(ax.transData.inverted())
    assert (box.x0, box.x1) == pytest.approx((200.0, 300.0))
    ax.clear()
    plot_raster(ax, recording, population="i1")
    assert not has(ax, "stim_window")


def test_the_input_is_drawn_as_spikes(ax):
    rng = np.random.default_rng(0)
    events = poisson_rows(rng, n_cells=30, rate_hz=50.0, t_ms=100.0)
    stimulus = Stimulus(dt_ms=0.25, n_steps=400, n_trials=1, n_in=30, events=events)
    plot_drive(ax, stimulus, window_ms=(20.0, 100.0))
    n_late = np.count_nonzero(events[:, 0] >= 80)
    assert len(the(ax, "input_spikes").get_offsets()) == n_late


def test_the_input_is_drawn_as_conductance(ax):
    g = np.zeros((1, 400, 3))
    g[0, 200:, 1] = 0.004
    stimulus = Stimulus(dt_ms=0.25, n_steps=400, n_trials=1, n_in=3, g_ext_us=g)
    plot_drive(ax, stimulus, window_ms=(20.0, 100.0))
    image = the(ax, "drive_image")
    assert image.get_extent() == [20.0, 100.0, -0.5, 2.5]
    pixels = image.get_array()
    assert pixels.shape[0] == 3
    assert not pixels[[0, 2]].any()
    assert pixels[1, -1] == pytest.approx(0.004)
    assert np.mean(pixels[1] > 0.002) == pytest.approx(50 / 80, abs=0.01)
    assert image.get_clim() == (0.0, 0.004)


def test_conductances_finer_than_the_screen_are_averaged(ax):
    g = np.zeros((1, 4003, 2))
    g[0, ::2, 0] = 0.004  # every other step
    g[0, :, 1] = 0.001
    stimulus = Stimulus(dt_ms=0.1, n_steps=4003, n_trials=1, n_in=3, g_ext_us=g)
    plot_drive(ax, stimulus)
    pixels = the(ax, "drive_image").get_array()
    assert pixels.shape[1] <= ax.get_window_extent().width
    assert_allclose(pixels[1], 0.001, rtol=1e-12)  # also the last column, which is shorter
    assert abs(pixels[0].mean() - 0.002) < 1e-4


def test_the_population_rate_is_a_share_of_cells(ax):
    rows = np.array([[8, 0, c] for c in range(6)] + [[40, 0, 0]])
    recording = recording_of({"e1": rows}, n_cells={"e1": 10}, t_ms=20.0)
    plot_population_rate(ax, recording)
    values, edges, _ = the(ax, "population_rate").get_data()
    assert_allclose(values, [0, 0.6, 0, 0, 0, 0.1, 0, 0, 0, 0], atol=1e-12)
    assert_allclose(edges, 2.0 * np.arange(11))
    assert ax.get_ylim() == (0.0, 1.0)  # half a unit more than 0.5
    ax.clear()
    plot_population_rate(ax, recording, window_ms=(4.0, 20.0))
    assert ax.get_ylim() == (0.0, 0.5)


def spectrum(power):
    return Spectrum(
        freqs_hz=10.0 * np.arange(26), power=np.asarray(power, float), window_ms=(200.0, 300.0)
    )


def test_the_psd_marks_its_peak_and_f_gamma(ax):
    power = np.full(26, 0.1)
    power[0], power[4] = 1.0, 0.6  # the largest power of the band, not of all
    plot_psd(ax, spectrum(power), f_gamma_hz=41.7, f_gamma_valid=True)
    assert the(ax, "psd_peak").get_xdata()[0] == 40.0
    assert the(ax, "f_gamma").get_xdata()[0] == 41.7
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith("peak 40 Hz")
    assert labels[1].endswith(" 41.7 Hz")
    assert len(the(ax, "psd").get_xdata()) == 20  # 10 to 200 Hz


def test_the_psd_marks_no_weak_peak_and_doubts_f_gamma(ax):
    power = np.full(26, 0.1)
    power[0], power[4] = 1.0, 0.29
    plot_psd(ax, spectrum(power), f_gamma_hz=41.7, f_gamma_valid=False, note="I at 0 Hz only")
    assert not has(ax, "psd_peak")
    assert ax.get_legend().get_texts()[0].get_text().endswith("41.7 Hz: I at 0 Hz only")
    ax.clear()
    plot_psd(ax, spectrum(np.zeros(26)))
    assert message(ax) == "no modulation"


def test_the_largest_logit_is_filled_and_marked(ax):
    logits = np.array([1.0, -2.0, 5.0, 3.0])
    plot_output(ax, logits, label=3)
    filled = [bar for bar in ax.patches if to_hex(bar.get_facecolor()).upper() == EXC]
    assert len(filled) == 1
    assert filled[0] is the(ax, "argmax")
    assert filled[0].get_y() + filled[0].get_height() / 2 == pytest.approx(2.0)
    assert filled[0].get_width() == 5.0
    assert "2" in the(ax, "argmax_label").get_text()  # not by colour alone
    assert the(ax, "true_label").get_position()[1] == 3
    low, high = ax.get_xlim()
    assert low < -2.0
    assert high > 5.0


def test_logits_that_are_not_finite_are_named(ax):
    plot_output(ax, np.array([np.nan, -1.0, -3.0]))
    assert the(ax, "argmax").get_y() + 0.4 == pytest.approx(1.0)
    assert message(ax) == "1 logits are not finite"
    ax.clear()
    plot_output(ax, np.full(3, np.nan))
    assert message(ax) == "no logit is finite"
    ax.clear()
    plot_output(ax, None)
    assert message(ax) == "no readout"


def test_a_weight_histogram_leaves_zeros_out_and_counts_them():
    matrix = np.array([[0.0, 0.0, 0.0, 1.0], [2.0, -1.0, np.nan, np.inf]])
    counts, edges, zero_share = weight_histogram(matrix)
    assert counts.sum() == 3
    assert len(counts) == 30
    assert (edges[0], edges[-1]) == (-1.0, 2.0)
    assert zero_share == 0.5


def test_matrices_stand_in_their_order():
    names = ["W_ie_1", "W_out", "W_ii_1", "W_ei_1", "b_out", "W_ff_1to2", "W_in", "W_ee_1"]
    weights = {name: np.zeros((2, 2)) for name in names}
    expected = ["W_in", "W_ff_1to2", "W_out", "W_ee_1", "W_ei_1", "W_ie_1"]
    assert ordered_matrices(weights) == expected
    assert [matrix_title(n) for n in expected] == ["In", "H2", "Out", "E→E", "E→I", "I→E"]
    weights["W_ii_1"] = np.ones((2, 2))
    assert ordered_matrices(weights)[-1] == "W_ii_1"
    assert matrix_title("W_ei_2", n_layers=2) == "E→I 2"


def test_the_weights_panel_has_a_histogram_for_each_matrix(ax):
    rng = np.random.default_rng(0)
    w_in = rng.random((20, 10)) + 0.1
    w_in[:15] = 0.0
    weights = {
        "W_in": w_in, "W_out": rng.normal(size=(10, 3)), "W_ee_1": np.zeros((10, 10)),
        "W_ei_1": rng.random((10, 3)) + 0.1, "W_ie_1": rng.random((3, 10)) + 0.1,
    }  # fmt: skip
    plot_weights(ax, weights)
    inner = {child.get_gid(): child for child in ax.child_axes}
    assert list(inner) == ["W_in", "W_out", "W_ee_1", "W_ei_1", "W_ie_1"]
    assert the(inner["W_in"], "histogram").get_data()[0].sum() == 50
    assert the(inner["W_in"], "zero_share").get_text() == "0: 75%"
    assert not has(inner["W_in"], "zero")
    assert has(inner["W_out"], "zero")  # signed weights get a line at zero
    assert not has(inner["W_ee_1"], "histogram")
    assert "all zero" in [text.get_text() for text in inner["W_ee_1"].texts]
    colours = [to_hex(the(inner[n], "histogram").get_facecolor()).upper()
               for n in ("W_in", "W_ei_1", "W_ie_1")]  # fmt: skip
    assert colours == [GREY, EXC, INH]


def test_the_weights_panel_has_room_for_eight(ax):
    weights = {f"W_ff_{k}to{k + 1}": np.ones((2, 2)) for k in range(1, 8)}
    plot_weights(ax, {"W_in": np.ones((2, 2)), **weights, "W_out": np.ones((2, 2))})
    assert len(ax.child_axes) == 8
    assert "8 of 9" in ax.get_title(loc="center") + ax.get_title(loc="left")


def test_the_digit_is_dark_on_light(ax):
    image = np.array([[0.0, 1.0], [0.5, 0.0]])
    plot_digit(ax, image, digit=4)
    drawn = the(ax, "digit")
    assert drawn.to_rgba(1.0)[:3] == (0.0, 0.0, 0.0)
    assert drawn.to_rgba(0.0)[:3] == (1.0, 1.0, 1.0)
    ax.clear()
    plot_digit(ax, np.zeros((3, 3)))
    ax.clear()
    assert message(plot_digit(ax, None)) == "no image"


def sweep(**given):
    base = {"variable": "tau_gaba", "unit": "ms", "values": [4.0, 6.0, 8.0, 10.0], "index": 2}
    return SweepState(**{**base, **given})


def test_the_sweep_shows_where_it_stands(ax):
    plot_sweep(ax, sweep())
    assert the(ax, "sweep_all").get_ydata().tolist() == [4.0, 6.0, 8.0, 10.0]
    assert the(ax, "sweep_done").get_ydata().tolist() == [4.0, 6.0, 8.0]
    assert list(the(ax, "sweep_now").get_xydata()[0]) == [3.0, 8.0]
    title = ax.get_title(loc="center") + ax.get_title(loc="left")
    assert title == "Sweep tau_gaba 4 → 10"


def test_sweep_rates_and_f0_accumulate(ax):
    state = sweep(rate_e_hz=[5.0, 6.0, 7.0], rate_i_hz=[np.nan] * 3, f0_hz=[0.0, 40.0, 50.0])
    plot_sweep_rates(ax, state)
    assert the(ax, "sweep_rate_E").get_xydata().tolist() == [[4.0, 5.0], [6.0, 6.0], [8.0, 7.0]]
    assert not has(ax, "sweep_rate_I")
    assert ax.get_xlim()[1] > 10.0  # the whole sweep from the first frame on
    ax.clear()
    plot_sweep_f0(ax, state)
    assert_array_equal(the(ax, "sweep_f0").get_ydata(), [np.nan, 40.0, 50.0])
    assert the(ax, "sweep_no_f0").get_xdata().tolist() == [4.0]
    assert ax.get_ylim() == (0.0, 120.0)
    assert ax.get_xscale() == "linear"


def test_a_dt_sweep_has_a_logarithmic_axis(ax):
    plot_sweep_rates(ax, sweep(variable="dt", rate_e_hz=[1.0] * 3, rate_i_hz=[1.0] * 3))
    assert ax.get_xscale() == "log"


def test_sweep_panels_without_measurements_say_so(ax):
    assert message(plot_sweep_rates(ax, sweep())) == "no rates yet"
    ax.clear()
    assert "yet" in message(plot_sweep_f0(ax, sweep()))


def test_drive_above_threshold_is_shaded(ax):
    drive = np.where(np.arange(400) >= 300, 0.02, 0.001)
    balance = DriveBalance(
        drive_us=drive, threshold_us=np.full(400, 0.015), bare_threshold_us=0.015
    )
    plot_drive_threshold(ax, balance, dt_ms=0.25, window_ms=(20.0, 100.0))
    assert the(ax, "drive").get_xdata()[0] == 20.0
    assert_allclose(the(ax, "drive").get_ydata()[-1], 20.0)  # nS
    shaded = the(ax, "above_threshold").get_paths()[0].vertices[:, 0]
    assert shaded.min() == pytest.approx(75.0)
    ax.clear()
    assert "needs" in message(plot_drive_threshold(ax, None, dt_ms=0.25, window_ms=(20.0, 100.0)))


def history(n, **given):
    base = {"epochs": list(range(1, n + 1)), "acc_percent": [50.0] * n, "loss": [2.0, 4.0, 1.0][:n],
            "lr": [0.01] * n, "rate_e_hz": [5.0] * n, "rate_i_hz": [30.0] * n}  # fmt: skip
    return TrainingHistory(**{**base, **given})


def test_loss_is_drawn_as_percent_of_its_maximum(ax):
    plot_accuracy(ax, history(3))
    assert_allclose(the(ax, "curve_loss").get_ydata(), [50.0, 100.0, 25.0])
    assert_allclose(the(ax, "curve_acc").get_ydata(), 50.0)
    assert_allclose(the(ax, "curve_lr").get_ydata(), 100.0)


def test_gradient_flow_shades_the_healthy_band_and_skips_zeros(ax):
    ratios = {"W_ff.0": [1e-3, 0.0, np.nan], "W_ee.1": [0.0, 0.0, 0.0]}
    plot_gradient_flow(ax, history(3, grad_ratios=ratios))
    assert ax.get_yscale() == "log"
    box = the(ax, "healthy").get_extents().transformed(ax.transData.inverted())
    assert (box.y0, box.y1) == pytest.approx((1e-3, 1e-2))
    assert_array_equal(the(ax, "grad_W_ff.0").get_ydata(), [1e-3, np.nan, np.nan])
    assert not has(ax, "grad_W_ee.1")
    ax.clear()
    assert message(plot_gradient_flow(ax, history(0))) == "no gradients yet"


def test_gradient_lines_have_the_colour_of_their_cells_and_are_limited(ax):
    names = [f"W_{kind}.{k}" for k in (0, 1) for kind in ("ff", "ee", "ei", "ie", "ii")]
    plot_gradient_flow(ax, history(1, grad_ratios={name: [1e-3] for name in names}))
    colours = {name: to_hex(the(ax, f"grad_{name}").get_color()).upper() for name in names[:5]}
    assert colours["W_ei.0"] == colours["W_ee.0"] == EXC
    assert colours["W_ie.0"] == INH
    assert len(ax.get_lines()) == 8
    assert "8 of 10" in ax.get_title(loc="center") + ax.get_title(loc="left")


def test_ticks_made_later_keep_the_style_of_the_panel(ax):
    with house_style():
        dress(ax, title="t")
    ax.set_xticks(range(40))  # made now, outside the house style
    ax.figure.canvas.draw()
    label = ax.get_xticklabels()[-1]
    assert label.get_fontsize() == 13.0
    assert to_hex(label.get_color()).upper() == GREY
    assert label.get_fontfamily() == ["DejaVu Sans Mono"]


def test_ordinals():
    given = (1, 2, 3, 4, 11, 12, 13, 21, 22, 112)
    assert [ordinal(n) for n in given] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "112th",
    ]  # fmt: skip
