"""The whole figure: layout, every preset, nothing overlapping, the same bytes twice."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from legible import check_legible
from scope_recordings import ping_recording, poisson_rows, recording_of

from bridge.network.spec import LayerSpec, PingSpec
from bridge.network.stimulus import Stimulus
from scope.files import png_bytes
from scope.oscilloscope.figure import (
    PRESETS,
    draw_oscilloscope,
    draw_panels,
    make_axes,
    panel_boxes,
)
from scope.oscilloscope.view import OscilloscopeView, SweepState, TrainingHistory
from scope.style import new_figure

RASTERS = ("scatter", "imshow")


def weights_of(n_in, n_exc, n_inh, *, signed=False):
    rng = np.random.default_rng(0)

    def draw(pre, post):
        w = rng.normal(1.0, 0.6, (pre, post)) / pre
        return w if signed else np.maximum(w, 0.0)

    weights = {"W_in": draw(n_in, n_exc), "W_out": draw(n_exc, 10)}
    if n_inh:
        weights |= {"W_ee_1": np.zeros((n_exc, n_exc)), "W_ei_1": draw(n_exc, n_inh),
                    "W_ie_1": draw(n_inh, n_exc)}  # fmt: skip
    return weights


def view_of(case="ping", **given):
    """A view of each kind that there is."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(1, 10))
    n_exc, n_inh = {"no_i": (40, 0), "one_cell": (1, 1), "silent": (300, 75)}.get(case, (300, 75))
    recording = ping_recording(n_exc=n_exc, n_inh=max(n_inh, 1), logits=logits, background_hz=5.0)
    if case in ("no_i", "silent"):
        rows = {} if case == "silent" else {"e1": recording.spikes["e1"]}
        sizes = {"e1": n_exc} | ({"i1": n_inh} if n_inh else {})
        recording = recording_of(rows, n_cells=sizes, t_ms=600.0, logits=logits)
    events = poisson_rows(rng, n_cells=64, rate_hz=30.0, t_ms=600.0)
    events = events[:0] if case == "silent" else events
    base = {
        "recording": recording,
        "burn_in_ms": 100.0,
        "stimulus": Stimulus(dt_ms=0.25, n_steps=2400, n_trials=1, n_in=64, events=events),
        "stim_window_ms": (200.0, 300.0),
        "spec": PingSpec(n_in=64, layers=(LayerSpec(n_exc=n_exc, n_inh=n_inh),)),
        "weights": weights_of(64, n_exc, n_inh, signed=case == "signed"),
        "input_rate_hz": 30.0,
        "stim_overdrive": 10.0,
        "digit": 3,
        "image": rng.random((8, 8)),
    }
    return OscilloscopeView(**{**base, **given})


def for_preset(preset):
    """What a preset shows beyond the network: a sweep under way, a training, a prediction."""
    if preset == "sweep_video":
        n = 20
        sweep = SweepState(
            variable="stim-overdrive",
            unit="\N{MULTIPLICATION SIGN}",
            values=np.linspace(1, 50, 30),
            index=n - 1,
            rate_e_hz=np.linspace(3, 9, n),
            rate_i_hz=np.linspace(0, 40, n),
            f0_hz=np.where(np.arange(n) > 5, 40.0, 0.0),
        )
        return {"sweep": sweep}
    if preset == "train":
        n = 30
        names = ("W_ff.0", "W_ff.1", "W_ee.1", "W_ei.1", "W_ie.1")
        history = TrainingHistory(
            epochs=range(1, n + 1),
            acc_percent=np.linspace(10, 90, n),
            loss=np.geomspace(2, 0.1, n),
            lr=np.full(n, 0.01),
            rate_e_hz=np.linspace(5, 9, n),
            rate_i_hz=np.full(n, 40.0),
            grad_ratios={name: np.geomspace(1e-4 * 4**k, 2e-3, n) for k, name in enumerate(names)},
        )
        return {"history": history}
    return {"pred": 3} if preset == "dataset" else {}


@pytest.mark.parametrize("preset", PRESETS)
def test_panels_fill_the_grid_without_gap_or_overlap(preset):
    boxes = panel_boxes(preset)
    assert list(boxes) == ["e_raster", *[n for n in PRESETS[preset] if n != "e_raster"]]
    cells = [
        (row, column)
        for left, bottom, width, height in boxes.values()
        for row in range(bottom - height, bottom)
        for column in range(left, left + width)
    ]
    n_rows = max(row for row, _ in cells) + 1
    assert sorted(cells) == [(row, column) for row in range(n_rows) for column in range(3)]
    assert boxes["e_raster"] == (0, 2, 2, 2)


def test_panels_stand_in_row_major_order():
    boxes = panel_boxes("dataset")
    rest = [boxes[name] for name in PRESETS["dataset"] if name != "e_raster"]
    assert rest == sorted(rest, key=lambda box: (box[1], box[0]))


def test_axes_of_a_column_line_up():
    axes = make_axes(new_figure(22.0, 12.375, 120), "train")
    lefts = {round(ax.get_position().x0, 9) for ax in axes.values()}
    assert len(lefts) == 3
    assert axes["e_raster"].get_position().x1 == pytest.approx(
        axes["participation"].get_position().x1
    )
    assert axes["header"].get_position().y0 > axes["e_raster"].get_position().y1


@pytest.mark.parametrize("raster", RASTERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_drawn_legibly(preset, raster):
    figure = draw_oscilloscope(view_of(**for_preset(preset)), preset=preset, raster=raster)
    assert tuple(figure.canvas.get_width_height()) == (2640, 1485)
    check_legible(figure)


@pytest.mark.parametrize(
    ("case", "preset"),
    [("no_i", "sweep_video"), ("one_cell", "video"), ("silent", "sweep_video"),
     ("signed", "train"), ("silent", "train")],
)  # fmt: skip
@pytest.mark.parametrize("raster", RASTERS)
def test_odd_networks_are_drawn_legibly(case, preset, raster):
    check_legible(draw_oscilloscope(view_of(case), preset=preset, raster=raster))


def test_a_bare_recording_can_be_drawn():
    recording = recording_of({}, n_cells={"e1": 1}, t_ms=10.0)
    figure = draw_oscilloscope(OscilloscopeView(recording=recording), preset="train")
    check_legible(figure)


def panel(figure, name):
    return next(ax for ax in figure.axes if ax.get_label() == name)


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_without_an_i_population_the_panel_says_so():
    figure = draw_oscilloscope(view_of("no_i"))
    assert texts_of(panel(figure, "i_raster")) == ["no I population"]


def test_a_feed_forward_network_of_two_layers_shows_both():
    rng = np.random.default_rng(0)
    rows = {"e1": poisson_rows(rng, n_cells=8, rate_hz=50.0, t_ms=50.0)}
    recording = recording_of(rows, n_cells={"e1": 8, "e2": 4}, t_ms=50.0)
    figure = draw_oscilloscope(OscilloscopeView(recording=recording))
    assert panel(figure, "e_raster").title.get_text() + panel(figure, "e_raster").get_title(
        loc="left"
    ) == "Hidden 1 (8)"  # fmt: skip
    assert panel(figure, "i_raster").get_title(loc="left") == "Hidden 2 (4)"


def test_the_header_states_the_run_and_dashes_what_is_undefined():
    header = texts_of(panel(draw_oscilloscope(view_of(frame=1, pred=5)), "header"))
    assert header[0].startswith("/ PING   dt=0.25 ms   N=300 E + 75 I   input=30 Hz")
    assert header[1] == "digit=3 pred=5 ✗"
    silent = texts_of(panel(draw_oscilloscope(view_of("silent")), "header"))
    assert silent[-7:-2] == [
        "E 0.0 Hz",
        "I 0.0 Hz",
        "f₀ -",
        "f\N{GREEK SMALL LETTER GAMMA} -",
        "CV -",
    ]


def test_a_still_with_the_sweep_panel_shows_drive_against_threshold():
    figure = draw_oscilloscope(view_of(), preset="video")
    assert panel(figure, "sweep").get_title(loc="left") == "Drive against threshold"


def test_burn_in_moves_the_axis_but_not_the_spectrum():
    titles = set()
    for burn_in_ms in (0.0, 100.0):
        figure = draw_oscilloscope(view_of(burn_in_ms=burn_in_ms))
        for name in ("e_raster", "i_raster", "drive", "participation"):
            assert panel(figure, name).get_xlim() == (burn_in_ms, 600.0)
        titles.add(panel(figure, "psd").get_title(loc="left"))
    assert titles == {"E spectrum of 200 to 300 ms (maximum 1)"}


def test_panels_are_redrawn_in_place():
    figure = new_figure(22.0, 12.375, 120)
    axes = make_axes(figure, "full")
    draw_panels(axes, view_of())
    before = axes["e_raster"].collections[-1].get_offsets()
    draw_panels(axes, view_of("silent"), only=["header", "i_raster"])
    assert axes["e_raster"].collections[-1].get_offsets() is before
    assert texts_of(axes["i_raster"]) == ["no spikes"]
    draw_panels(axes, view_of("silent"))
    assert png_bytes(figure) == png_bytes(draw_oscilloscope(view_of("silent")))


def test_the_same_view_gives_the_same_bytes_under_any_user_style():
    first = png_bytes(draw_oscilloscope(view_of(), preset="video"))
    with matplotlib.rc_context(
        {"font.size": 30, "axes.facecolor": "red", "font.family": "serif", "savefig.dpi": 50,
         "lines.linewidth": 9, "xtick.labelsize": 3, "axes.unicode_minus": False}
    ):  # fmt: skip
        second = png_bytes(draw_oscilloscope(view_of(), preset="video"))
    assert first == second


def test_drawing_leaves_the_global_style_alone():
    before = dict(matplotlib.rcParams)
    png_bytes(draw_oscilloscope(view_of("one_cell")))
    assert dict(matplotlib.rcParams) == before


def test_unknown_names_are_errors():
    with pytest.raises(ValueError, match=r"'tiny'.*full, video"):
        draw_oscilloscope(view_of(), preset="tiny")
    with pytest.raises(ValueError, match="'dots'"):
        draw_oscilloscope(view_of(), raster="dots")


def test_importing_scope_loads_neither_backends_nor_pyplot():
    code = (
        "import sys, scope\n"
        "heavy = {'matplotlib.pyplot', 'brian2', 'torch', 'scipy.signal', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
