"""Films: what goes in comes out, and a moving figure shows what a fresh one would."""

from __future__ import annotations

import dataclasses
import subprocess

import numpy as np
import pytest
from legible import check_legible
from scope_recordings import ping_recording

from bridge.network.spec import PingSpec, ei_layer
from bridge.network.synthetic import synthetic_conductance, synthetic_spikes
from bridge.network.weights import DrawRule, WeightDraw, draw_weights, ei_draw
from scope.film.animation import OscilloscopeAnimation
from scope.film.video import VideoWriter, find_ffmpeg, read_video, video_size
from scope.oscilloscope.figure import draw_oscilloscope
from scope.oscilloscope.view import OscilloscopeView, SweepState, TrainingHistory


def test_a_film_shows_the_frames_that_were_added(tmp_path):
    path = tmp_path / "film.mp4"
    levels = (0, 60, 120, 180, 240)
    with VideoWriter(path, size=(64, 48), fps=10) as video:
        for level in levels:
            video.add(np.full((48, 64, 4), level, dtype=np.uint8))
        assert video.n_frames == 5
    frames = read_video(path)
    assert frames.shape == (5, 48, 64, 3)
    # H.264 loses a little; grey of every frame within 4 of what it was.
    for frame, level in zip(frames, levels, strict=True):
        assert abs(frame.astype(int) - level).max() <= 4
    said = subprocess.run([find_ffmpeg(), "-i", str(path)], capture_output=True, text=True).stderr
    assert "h264" in said
    assert "yuv420p" in said
    assert "10 fps" in said
    assert list(tmp_path.iterdir()) == [path]


def test_an_odd_size_gains_a_white_edge(tmp_path):
    path = tmp_path / "odd.mp4"
    with VideoWriter(path, size=(65, 49), fps=5) as video:
        video.add(np.zeros((49, 65, 3), dtype=np.uint8))
    assert video_size(path) == (66, 50)
    frame = read_video(path)[0]
    assert frame[:40, :56].max() < 30
    assert frame[49].mean() > 150  # white, blurred by the codec


def test_the_same_frames_make_the_same_file(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (4, 48, 64, 4)).astype(np.uint8)
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, size=(64, 48), fps=10) as video:
            for frame in frames:
                video.add(frame)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_an_unfinished_film_leaves_the_old_one(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")

    def half_a_film():
        with VideoWriter(path, size=(64, 48), fps=10) as video:
            video.add(np.zeros((48, 64, 4), dtype=np.uint8))
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        half_a_film()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_bad_frames_and_films_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.mp4"):
        VideoWriter(tmp_path / "film.gif", size=(64, 48), fps=10)
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "film.mp4", size=(64, 48), fps=0)
    with pytest.raises(ValueError, match="at least one frame"):
        VideoWriter(tmp_path / "film.mp4", size=(64, 48), fps=1).__enter__().__exit__(
            None, None, None
        )
    with (
        pytest.raises(ValueError, match=r"\(48, 64, 4\)"),
        VideoWriter(tmp_path / "film.mp4", size=(64, 48), fps=10) as video,
    ):
        video.add(np.zeros((64, 48, 4), dtype=np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_failing_encoder_is_told(tmp_path):
    video = VideoWriter(tmp_path / "film.mp4", size=(64, 48), fps=10)
    video._program = "false"
    frame = np.zeros((48, 64, 4), dtype=np.uint8)

    def film():
        with video:
            for _ in range(100):
                video.add(frame)

    with pytest.raises(RuntimeError, match="ffmpeg"):
        film()
    assert not list(tmp_path.iterdir())


SPEC = PingSpec(n_in=64, layers=(ei_layer(200, 50),))
W_EI, W_IE = ei_draw(0.5, 2.0)
WEIGHTS = draw_weights(SPEC, WeightDraw(w_in=DrawRule(0.5, 0.1, 0.9), w_ei=W_EI, w_ie=W_IE), seed=1)
SPIKES = synthetic_spikes(64, rate_hz=50, overdrive=5, dt_ms=0.25, n_steps=2400, n_trials=1, seed=1)
VALUES = tuple(np.linspace(0.0, 2.0, 30))


def view(k, *, silent=False, stimulus=SPIKES, **more):
    rng = np.random.default_rng(k)
    recording = ping_recording(f_hz=30.0 + k, seed=k, logits=(1 + k) * rng.random((1, 10)))
    if silent:
        recording = dataclasses.replace(
            recording, spikes={p: rows[:0] for p, rows in recording.spikes.items()}
        )
    sweep = SweepState(
        variable="ei_strength", unit="", values=VALUES, index=k,
        rate_e_hz=tuple(10.0 + np.arange(k + 1.0)), rate_i_hz=tuple(40.0 - np.arange(k + 1.0)),
        f0_hz=tuple(np.where(np.arange(k + 1) < 2, 0.0, 40.0)),
    )  # fmt: skip
    strength = VALUES[k] / 0.5
    return OscilloscopeView(**{
        "recording": recording, "burn_in_ms": 100.0, "stimulus": stimulus,
        "stim_window_ms": (200.0, 300.0), "spec": SPEC, "input_rate_hz": 50.0,
        "stim_overdrive": 5.0, "digit": 0, "image": np.eye(8), "sweep": sweep, "frame": k,
        "weights": WEIGHTS.scaled("W_ei_1", strength).scaled("W_ie_1", strength),
    } | more)  # fmt: skip


SMALL = 880  # half the width of a video: quick, and still what a video draws


@pytest.mark.parametrize(("preset", "raster"), [("sweep_video", "scatter"), ("video", "imshow")])
def test_nothing_of_an_earlier_frame_stays(preset, raster):
    """The k-th frame is the picture that a figure shows which has drawn no other."""
    views = [view(0), view(29), view(7), view(8, silent=True), view(3)]
    moving = OscilloscopeAnimation(
        preset, references=[views[0], views[1]], raster=raster, width_px=SMALL
    )
    frames = [moving.frame(v) for v in views]
    assert moving.n_layouts == 1  # axes, ticks and labels were drawn once
    for v, frame in zip(views[3:], frames[3:], strict=True):
        fresh = OscilloscopeAnimation(
            preset, references=[views[0], views[1]], raster=raster, width_px=SMALL
        )
        np.testing.assert_array_equal(fresh.frame(v), frame)
    assert len({frame.tobytes() for frame in frames}) == len(frames)


def test_axes_stay_where_the_ends_of_the_sweep_put_them():
    ends = [view(0), view(29)]
    moving = OscilloscopeAnimation("sweep_video", references=ends, width_px=SMALL)
    moving.frame(view(1))
    limits = {n: (ax.get_xlim(), ax.get_ylim()) for n, ax in moving._axes.items()}
    for k in (5, 12, 29):
        moving.frame(view(k))
        assert {n: (ax.get_xlim(), ax.get_ylim()) for n, ax in moving._axes.items()} == limits
    inner = next(ax for ax in moving._axes["weights"].child_axes if ax.get_gid() == "W_ei_1")
    assert inner.get_xlim()[1] == pytest.approx(ends[1].weights["W_ei_1"].max())


def test_limits_grow_where_a_frame_does_not_fit():
    moving = OscilloscopeAnimation("sweep_video", references=[view(0), view(1)], width_px=SMALL)
    moving.frame(view(0))
    before = moving._axes["output"].get_xlim()[1]
    moving.frame(view(29))
    assert moving.n_layouts == 2
    grown = moving._axes["output"].get_xlim()[1]
    assert grown > before
    moving.frame(view(2))
    assert moving._axes["output"].get_xlim()[1] == grown  # and never shrink: no jumping axes


def test_a_conductance_drive_and_a_new_title_are_followed():
    def driven(k, dt_ms):
        stimulus = synthetic_conductance(
            200, overdrive=1.0 + k, dt_ms=dt_ms, n_steps=round(600 / dt_ms), n_trials=1, seed=1
        )
        recording = ping_recording(dt_ms=dt_ms, seed=k)
        return view(k, stimulus=stimulus, recording=recording)

    views = [driven(0, 0.25), driven(20, 0.3), driven(4, 0.25)]
    moving = OscilloscopeAnimation("video", references=views[:2], width_px=SMALL)
    frames = [moving.frame(v) for v in views]
    assert not np.array_equal(frames[0], frames[2])
    assert "1.8 ms" not in moving._axes["participation"].get_title(loc="left")
    moving.frame(views[1])
    assert "1.8 ms" in moving._axes["participation"].get_title(loc="left")
    title = moving._axes["drive"].get_title(loc="left")
    assert f"{1e3 * views[1].stimulus.g_ext_us[0, 400:].max():.2g} nS" in title


def test_the_training_preset_takes_any_number_of_epochs():
    def epoch(k):
        n = range(k + 1)
        history = TrainingHistory(
            epochs=list(n), acc_percent=[10.0 + 5 * j for j in n], loss=[2.0 / (1 + j) for j in n],
            lr=[0.01] * (k + 1), rate_e_hz=[10.0 + j for j in n], rate_i_hz=[40.0 - j for j in n],
            grad_ratios={"W_ff.0": [1e-3] * (k + 1)},
        )  # fmt: skip
        return view(k, sweep=None, history=history)

    moving = OscilloscopeAnimation("train", width_px=SMALL)
    frames = [moving.frame(epoch(k)) for k in range(4)]
    assert len({frame.tobytes() for frame in frames}) == 4
    assert "Epoch 3" in moving._axes["header"].texts[1].get_text()
    drawn = moving._axes["acc_curve"].findobj(lambda a: a.get_gid() == "curve_acc")
    assert len(drawn[0].get_xdata()) == 4


@pytest.mark.parametrize("preset", ["sweep_video", "video", "train"])
def test_frames_can_be_read(preset):
    history = TrainingHistory(epochs=[1], acc_percent=[50.0], loss=[1.0], lr=[0.01],
                              rate_e_hz=[5.0], rate_i_hz=[20.0])  # fmt: skip
    shown = view(12, history=history if preset == "train" else None)
    moving = OscilloscopeAnimation(preset, references=[view(0), view(29)])
    assert moving.size == (1920, 1080)
    assert moving.frame(shown).shape == (1080, 1920, 4)
    check_legible(moving._figure)


def test_a_frame_shows_what_the_still_shows():
    """Spikes, curves and bars hold the same data as the still figure of the same view."""
    shown = view(12)
    moving = OscilloscopeAnimation("sweep_video", references=[view(0), view(29)], width_px=SMALL)
    moving.frame(view(3))
    moving.frame(shown)
    still = {ax.get_label(): ax for ax in draw_oscilloscope(shown, preset="sweep_video").axes}

    def data(ax, gid):
        return ax.findobj(lambda a: a.get_gid() == gid)[0]

    for panel, gid in (("e_raster", "e1_spikes"), ("i_raster", "i1_spikes"),
                       ("drive", "input_spikes")):  # fmt: skip
        np.testing.assert_array_equal(
            data(moving._axes[panel], gid).get_offsets(), data(still[panel], gid).get_offsets()
        )
    for panel, gid in (("psd", "psd"), ("psd", "f_gamma"), ("sweep", "sweep_done")):
        np.testing.assert_array_equal(
            data(moving._axes[panel], gid).get_xydata(), data(still[panel], gid).get_xydata()
        )
    np.testing.assert_array_equal(
        data(moving._axes["participation"], "population_rate").get_data().values,
        data(still["participation"], "population_rate").get_data().values,
    )
    widths = [[p.get_width() for p in ax.patches[:10]] for ax in (moving._axes["output"],
                                                                  still["output"])]  # fmt: skip
    assert widths[0] == widths[1]
    assert [t.get_text() for t in moving._axes["header"].texts] == [
        t.get_text() for t in still["header"].texts
    ]
