"""``scan``: tables, figures, grids, time steps, and going on after a kill."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import SMALL
from killed import kill_after

from bridge.formats.tables import read_table_hdf5
from scope.measure.scan_metrics import spike_hash

ROOT = Path(__file__).parents[2]
SCAN = ("--dataset", "scikit", *SMALL, "--jobs", "1")


def rows_of(folder):
    with (folder / "scan.csv").open() as file:
        return list(csv.DictReader(file))


def test_one_parameter(call):
    done = call("scan", *SCAN, "--scan-var", "ei_strength", "--scan-min", "0", "--scan-max", "2",
                "--frames", "2", record=False)  # fmt: skip
    assert done.code == 0, done.err
    rows = rows_of(done.folder)
    assert [float(row["ei_strength"]) for row in rows] == [0.0, 2.0]
    for row in rows:
        alone = call("sim", "--dataset", "scikit", *SMALL, "--encoder", "events", "--ei-strength",
                     row["ei_strength"], name=f"sim{row['frame']}")  # fmt: skip
        assert spike_hash(alone.recording) == row["spikes_sha256"]
        assert f"E={float(row['rate_e_hz']):3.0f}" in alone.out
    names = {path.name for path in done.folder.iterdir()}
    assert names == {"config.json", "run.sh", "output.log", "scan.csv", "scan.h5", "scan.png"}
    assert (done.folder / "scan.png").stat().st_size > 10_000


def test_from_dir_and_loaded_weights_are_swept(call, weight_files):
    _, path = weight_files
    first = call("sim", "--n-hidden", "32", "--dt", "0.5", "--t-ms", "240", "--input-rate", "200",
                 "--load-weights", path, "--tau-gaba", "7", "--codegen", "numpy",
                 record=False)  # fmt: skip
    assert first.code == 0, first.err
    folder = first.folder / "scan"
    done = call("scan", "--from-dir", first.folder, "--codegen", "numpy", "--jobs", "1",
                "--scan-var", "w_ie_mean", "--scan-values", "0.5", "4", "--out-dir", folder,
                record=False)  # fmt: skip
    assert done.code == 0, done.err
    config = json.loads((folder / "config.json").read_text())
    assert config["tau_gaba"] == 7
    weak, strong = rows_of(folder)
    assert float(weak["rate_e_hz"]) > 1.2 * float(strong["rate_e_hz"])


def test_a_grid_of_two(call):
    done = call("scan", *SCAN, "--scan-var", "ei_strength", "--scan-values", "0", "1",
                "--scan-var2", "tau_gaba", "--scan-min2", "6", "--scan-max2", "18", "--frames2",
                "3", record=False)  # fmt: skip
    assert done.code == 0, done.err
    rows = rows_of(done.folder)
    found = [(float(row["ei_strength"]), float(row["tau_gaba"])) for row in rows]
    assert found == [(s, t) for s in (0.0, 1.0) for t in (6.0, 12.0, 18.0)]
    open_loop = {row["spikes_sha256"] for row in rows[:3]}
    assert len(open_loop) == 1  # without a loop GABA decay means nothing
    assert len({row["spikes_sha256"] for row in rows[3:]}) == 3
    table = read_table_hdf5(done.folder / "scan.h5")
    np.testing.assert_array_equal(table["tau_gaba"], [float(row["tau_gaba"]) for row in rows])


def test_a_scan_of_classes_takes_each_class_once(call):
    done = call("scan", *SCAN, "--scan-var", "digit", "--scan-min", "3", "--scan-max", "4",
                "--frames", "7", record=False)  # fmt: skip
    assert done.code == 0, done.err
    assert [float(row["digit"]) for row in rows_of(done.folder)] == [3.0, 4.0]
    assert "one frame for each class, 2 here" in done.out


def test_a_dt_scan_reports_its_ceiling(call):
    done = call("scan", *SCAN, "--t-ms", "300", "--scan-var", "dt", "--scan-min", "0.25",
                "--scan-max", "2", "--frames", "4", record=False)  # fmt: skip
    assert done.code == 0, done.err
    assert "dt ceiling" in done.out
    assert "moved to the nearest one that divides the trial" in done.out
    rows = rows_of(done.folder)
    for row, wanted in zip(rows, np.linspace(0.25, 2, 4), strict=True):
        n_steps = 300 / float(row["dt"])
        assert abs(n_steps - round(n_steps)) < 1e-6
        assert abs(float(row["dt"]) / wanted - 1) < 0.005
    said = json.loads((done.folder / "dt_ceiling.json").read_text())
    onset = [float(r["dt_ms"]) for r in rows if float(r["i_doublets"] or 0) > 0.1]
    assert said["double_fires_from_ms"] == (onset[0] if onset else None)


KILLED = ("scan", "--dataset", "scikit", *SMALL, "--scan-var", "tau_gaba", "--scan-min", "4",
          "--scan-max", "20", "--frames", "6", "--jobs")  # fmt: skip


def test_a_killed_scan_goes_on(tmp_path, call):
    """Kill -9 in the middle; the second run computes only the rest, and the table is the same."""
    whole = call(*KILLED, "1", name="whole", record=False)
    assert whole.code == 0, whole.err
    folder = tmp_path / "killed"
    kill_after("bridge.runs.store:ResultStore.put", 2, [*KILLED, "1", "--out-dir", str(folder)])
    held = list(folder.glob("unfinished/0*.npz"))
    assert len(held) == 2
    assert (folder / ".running").exists()
    assert not (folder / "scan.csv").exists()
    # Another configuration does not take these points for its own, and changes nothing.
    before = snapshot(folder)
    other = call(*KILLED, "1", "--seed", "7", name="killed", record=False)
    assert other.code == 2
    assert "another configuration" in other.err
    assert "--wipe-dir" in other.err
    assert snapshot(folder) == before
    shutil.copytree(folder, tmp_path / "wiped")
    done = call(*KILLED, "1", name="killed", record=False)
    assert done.code == 0, done.err
    assert "resuming: 2 of 6 runs are there already" in done.out
    assert (folder / "scan.csv").read_bytes() == (whole.folder / "scan.csv").read_bytes()
    assert not (folder / "unfinished").exists()
    anew = call(*KILLED, "1", "--wipe-dir", name="wiped", record=False)
    assert anew.code == 0, anew.err
    assert "resuming" not in anew.out
    assert (anew.folder / "scan.csv").read_bytes() == (folder / "scan.csv").read_bytes()


def snapshot(folder):
    """Return all files of a folder, their bytes and times."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def test_a_point_that_fails_takes_no_other_down(call, monkeypatch):
    """What is there is not computed again, unless it is damaged."""
    import sim_brian.ping.scan

    words = (*SCAN, "--scan-var", "tau_gaba", "--scan-values", "5", "9", "13")
    real = sim_brian.ping.scan.ScanTask.__call__
    ran = []

    def fragile(self, values):
        ran.append(values["tau_gaba"])
        if ran == [5.0, 9.0]:
            raise RuntimeError("power cut")
        return real(self, values)

    monkeypatch.setattr(sim_brian.ping.scan.ScanTask, "__call__", fragile)
    first = call("scan", *words, record=False)
    assert first.code == 1
    assert "1 of 3 runs failed (the others are done and kept)" in first.err
    assert "run 2 (tau_gaba=9): RuntimeError: power cut" in first.err
    assert ran == [5.0, 9.0, 13.0]
    assert "in fragile" in (first.folder / "output.log").read_text(), "where it failed"
    path = first.folder / "unfinished" / "000002.npz"
    path.write_bytes(path.read_bytes()[:-40])
    ran.clear()
    second = call("scan", *words, record=False)
    assert second.code == 0, second.err
    assert ran == [9.0, 13.0]
    assert [float(row["tau_gaba"]) for row in rows_of(second.folder)] == [5.0, 9.0, 13.0]


def test_a_cluster_gives_the_same_table(call, cluster):
    words = ("scan", "--dataset", "scikit", *SMALL, "--scan-var", "tau_gaba", "--scan-values",
             "5", "13")  # fmt: skip
    here = call(*words, "--jobs", "1", name="here", record=False)
    there = call(*words, "--scheduler", cluster, name="there", record=False)
    assert there.code == 0, there.err
    assert (here.folder / "scan.csv").read_bytes() == (there.folder / "scan.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--scan-var", "tau_gaba", "--scan-var2", "tau_gaba"], "both tau_gaba"),
        (["--scan-min2", "3"], "--scan-min2 needs --scan-var2"),
        (["--scan-var2", "dt", "--scan-values2", "0.7"], "dt = 0.7 ms does not divide"),
        (["--scan-var2", "noise", "--scan-min2", "9", "--scan-max2", "3"], "--scan-min2 9"),
        (["--frames", "2000", "--scan-var2", "noise", "--frames2", "2000"], "4000000 points"),
        (["--scan-var", "spike_rate", "--scan-values", "9", "--scan-var2", "tau_ampa",
          "--scan-values2", "0"], "tau_ampa: the value 0 ms must be > 0"),
        (["--scheduler", "tcp://127.0.0.1:9", "--scan-values", "2"], "no Dask scheduler there"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, words, told, monkeypatch):
    monkeypatch.setattr("bridge.runs.cluster.CONNECT_S", 0.5)
    done = call("scan", *SCAN, *words, record=False)
    assert done.code == 2
    assert told in done.err
    assert not (done.folder / "scan.csv").exists()
