"""``video``: what it writes, flag by flag, and what it refuses."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from command_line import SMALL

from bridge.formats.tables import read_table_hdf5
from scope.film.video import read_video
from scope.measure.scan_metrics import spike_hash

SWEEP = ("--dataset", "scikit", *SMALL, "--jobs", "1")


def rows_of(folder):
    with (folder / "scan.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_sweep_of_a_dataset(call):
    done = call("video", *SWEEP, "--scan-var", "ei_strength", "--scan-min", "0", "--scan-max", "1",
                "--frames", "3", "--frame-rate", "5", "--keep-frames", record=False)  # fmt: skip
    assert done.code == 0, done.err
    frames = read_video(done.folder / "scan_ei_strength.mp4")
    assert frames.shape == (3, 1080, 1920, 3)
    assert (np.abs(frames[0].astype(int) - frames[2]) > 60).any(axis=2).sum() > 1000
    kept = sorted(path.name for path in (done.folder / "frames").iterdir())
    assert kept == ["frame_0001.png", "frame_0002.png", "frame_0003.png"]
    assert (done.folder / "init_d0s0.png").stat().st_size > 10_000
    rows = rows_of(done.folder)
    assert [float(row["ei_strength"]) for row in rows] == [0.0, 0.5, 1.0]
    assert [int(row["frame"]) for row in rows] == [1, 2, 3]
    assert int(rows[0]["n_spikes_i"]) == 0
    assert int(rows[2]["n_spikes_i"]) > 0
    table = read_table_hdf5(done.folder / "scan.h5")
    for name in ("rate_e_hz", "rate_i_hz", "lobe_to_trough"):
        texts = [float(row[name] or "nan") for row in rows]
        np.testing.assert_array_equal(table[name], texts)
    for row in rows:  # a frame is the run of its value
        alone = call("sim", "--dataset", "scikit", *SMALL, "--encoder", "events", "--ei-strength",
                     row["ei_strength"], name=f"sim{row['frame']}")  # fmt: skip
        assert spike_hash(alone.recording) == row["spikes_sha256"]
    lines = [line for line in done.out.splitlines() if line.startswith("frame ")]
    assert len(lines) == 3
    assert all("E=" in line and "I/E=" in line and "f0=" in line for line in lines)
    assert done.config["mode"] == "video"
    assert done.config["scan_var"] == "ei_strength"
    names = {path.name for path in done.folder.iterdir()}
    assert names == {"config.json", "run.sh", "output.log", "scan.csv", "scan.h5", "frames",
                     "init_d0s0.png", "scan_ei_strength.mp4"}  # fmt: skip


def test_synthetic_input_and_the_published_defaults(call):
    """Default variable stim-overdrive; no still, since there is no sample to show."""
    done = call("video", *SMALL, "--jobs", "1", "--frames", "2", "--scan-max", "4", "--t-ms", "320",
                "--dt", "1", record=False)  # fmt: skip
    assert done.code == 0, done.err
    assert (done.folder / "scan_stim-overdrive.mp4").is_file()
    assert not (done.folder / "init_d0s0.png").exists()
    assert not (done.folder / "frames").exists()
    rows = rows_of(done.folder)
    assert [float(r["stim-overdrive"]) for r in rows] == [1.0, 4.0]
    assert [float(r["dt_ms"]) for r in rows] == [1.0, 1.0]  # the reference ignored --dt here
    assert float(rows[1]["stim_e_hz"]) > float(rows[0]["stim_e_hz"])
    assert rows[1]["pre_e_hz"] == rows[0]["pre_e_hz"]  # the input before the window is the same


def test_a_frame_that_fails_loses_no_recording(call, monkeypatch):
    """No film with a gap: the other recordings are kept, and the next try draws them all."""
    import sim_brian.ping.scan

    words = ("video", *SMALL, "--jobs", "1", "--scan-var", "tau_gaba", "--scan-values", "9", "5",
             "--t-ms", "320", "--dt", "1")  # fmt: skip
    real = sim_brian.ping.scan.keep_spikes

    def fragile(parts, recording):
        if parts.spec.synapses.tau_gaba_ms == 9:
            raise RuntimeError("power cut")
        return real(parts, recording)

    with monkeypatch.context() as patch:
        patch.setattr(sim_brian.ping.scan, "keep_spikes", fragile)
        first = call(*words, record=False)
    assert first.code == 1
    assert "1 of 2 runs failed" in first.err
    assert "run 1 (tau_gaba=9): RuntimeError: at tau_gaba = 9: power cut" in first.err
    assert not list(first.folder.glob("*.mp4"))
    held = sorted(path.stem for path in (first.folder / "unfinished").glob("0*.npz"))
    assert held == ["000001"]
    second = call(*words, record=False)
    assert second.code == 0, second.err
    assert "resuming: 1 of 2 runs" in second.out
    assert read_video(second.folder / "scan_tau_gaba.mp4").shape[0] == 2
    assert not (second.folder / "unfinished").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--scan-var", "tau_gabba"], "tau_gabba"),
        (["--scan-min", "5", "--scan-max", "2"], "--scan-min 5 is above --scan-max 2"),
        (["--frames", "0"], "0 must be >= 1"),
        (["--frame-rate", "0"], "0 1/s must be > 0"),
        (["--scan-var", "tau_gaba", "--scan-min", "-3"], "value -3 ms must be > 0"),
        (["--scan-var", "dt", "--scan-min", "0.07", "--scan-max", "1"], "dt = 0.07 ms does not"),
        (["--scan-var", "dt", "--scan-values", "0.5", "0.7"], "dt = 0.7 ms does not divide"),
        (["--scan-var", "digit", "--scan-max", "12"], "value 12 is no class of scikit"),
        (["--scan-var", "digit", "--scan-values", "1.5"], "value 1.5 must be a whole number"),
        (["--scan-var", "spike_rate", "--scan-values", "-1"], "value -1 Hz must be >= 0"),
        (["--scan-var", "bias", "--scan-values", "nan"], "nan"),
        (["--scan-values", "2", "--frames", "4"], "--frames and --scan-values"),
        (["--jobs", "0"], "0 must be >= 1"),
        (["--save-recording", "x.npz"], "--save-recording can't apply to video"),
        (["--scan-var", "dt", "--encoder", "steps", "--scan-values", "0.5"], "--encoder steps"),
        (["--scan-var", "ei_strength", "--w-ei", "1", "0.1"], "--w-ei already gives"),
        (["--scan-var", "tau_gaba", "--model", "cuba-ping"], "has no conductances"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(call, words, told):
    done = call("video", *SWEEP, *words, record=False)
    assert done.code == 2
    assert told in done.err
    assert len(done.err.strip().splitlines()) == 1 or "usage" in done.err
    assert not done.folder.exists()
    assert "Traceback" not in done.err


def test_without_ffmpeg_nothing_runs(call, monkeypatch):
    import scope.film.video

    scope.film.video.find_ffmpeg.cache_clear()
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    done = call("video", *SWEEP, record=False)
    scope.film.video.find_ffmpeg.cache_clear()
    assert done.code == 2
    assert "install ffmpeg" in done.err
    assert not done.folder.exists()
