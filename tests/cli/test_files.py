"""Runs from files and to files: explicit weights and input, recordings, run folders."""

from __future__ import annotations

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from command_line import SMALL, same
from shadows import make_shadows

from bridge.formats.recordings import load_recording
from bridge.formats.weight_files import save_weights
from bridge.network.spec import PingSpec, SynapseSpec, ei_layer
from bridge.network.weights import Weights
from sim_brian.engine.program import EngineOptions
from sim_brian.ping.run import simulate


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_a_recording_serves_as_input_file(call, tmp_path, weight_files, ending):
    _, path = weight_files
    first = call(
        "sim", "--weights-file", path, "--dt", "0.5", "--t-ms", "150", "--input-rate", "100",
        "--trials", "2", "--codegen", "numpy", "--bias", "0",
        "--save-recording", tmp_path / f"first.{ending}", name="first",
    )  # fmt: skip
    assert first.code == 0, first.err
    second = call(
        "sim", "--weights-file", path, "--input-file", tmp_path / f"first.{ending}",
        "--codegen", "numpy", name="second",
    )  # fmt: skip
    assert second.code == 0, second.err
    recording = load_recording(tmp_path / f"first.{ending}")
    assert same(recording, second.recording)
    assert recording.n_trials == 2
    assert second.config["dt"] == 0.5
    assert second.config["t_ms"] == 150.0


def test_explicit_run_has_the_documented_names(call, tmp_path, weight_files):
    _, path = weight_files
    outcome = call(
        "sim", *SMALL[2:8], "--weights-file", path, "--record-traces", "--codegen", "numpy",
        "--save-recording", tmp_path / "out.npz",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    with np.load(tmp_path / "out.npz", allow_pickle=False) as data:
        assert data["e1_spk"].dtype.kind == "i"
        assert data["e1_spk"].shape[1] == 3
        assert len(data["i1_spk"])
        assert float(data["dt"]) == 0.5
        assert data["logits"].shape == (1, 10)
        assert {"v_e_1", "ge_e_1", "gi_e_1", "v_i_1", "ge_i_1", "in_spk", "N_IN"} <= set(data)
        order = np.lexsort(data["e1_spk"].T[::-1])
        np.testing.assert_array_equal(order, np.arange(len(order)))


def test_golden_two_layer_run_from_files(call, tmp_path, reference):
    """The reference's case 3 through the command line, as a user would replay it."""
    with np.load(reference / "ping_coba_case3.npz", allow_pickle=False) as data:
        tag = "dt0p25"
        np.savez(tmp_path / "w.npz", **{n: data[n] for n in data if n.startswith("W_")})
        with h5py.File(tmp_path / "in.h5", "w") as file:
            file["in_spk"] = data[f"{tag}__in_spk"]
            file["dt"], file["T_steps"] = 0.25, data[f"{tag}__T_steps"]
            file["B"], file["N_IN"] = data["B"], data["N_IN"]
        outcome = call(
            "sim", "--weights-file", tmp_path / "w.npz", "--input-file", tmp_path / "in.h5",
            "--synapse-order", "kick-decay", "--readout", "spike-count", "--readout-tau-out", "2",
            "--codegen", "numpy",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        for population in ("e1", "i1", "e2", "i2"):
            np.testing.assert_array_equal(
                outcome.recording.spikes[population], data[f"{tag}__{population}_spk"]
            )
        np.testing.assert_allclose(
            outcome.recording.logits, data[f"{tag}__logits_spike_count_f64"], rtol=1e-9
        )


def test_golden_current_based_run_from_files(call, tmp_path, reference):
    with np.load(reference / "ping_cuba_case1.npz", allow_pickle=False) as data:
        tag = "dt1"
        names = ("W_in", "W_out", "b_out", "W_ei_1", "W_ie_1")
        np.savez(tmp_path / "w.npz", **{n: data[n] for n in names})
        np.savez(
            tmp_path / "in.npz", in_spk=data[f"{tag}__in_spk"], dt=1.0,
            T_steps=data[f"{tag}__T_steps"], B=data["B"], N_IN=data["N_IN"],
        )  # fmt: skip
        outcome = call(
            "sim", "--model", "cuba-ping", "--weights-file", tmp_path / "w.npz",
            "--input-file", tmp_path / "in.npz", "--codegen", "numpy",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        for population in ("e1", "i1"):
            np.testing.assert_array_equal(
                outcome.recording.spikes[population], data[f"{tag}__{population}_spk"]
            )
        np.testing.assert_allclose(
            outcome.recording.logits, data[f"{tag}__logits_mem_mean_f64"], rtol=1e-9
        )


def test_absent_recurrent_matrices_are_zero(call, tmp_path, weight_files):
    weights, _ = weight_files
    np.savez(tmp_path / "open.npz", W_in=weights["W_in"], W_out=weights["W_out"])
    outcome = call(
        "sim", *SMALL[2:8], "--weights-file", tmp_path / "open.npz", "--codegen", "numpy"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.recording.n_cells == {"e1": 32, "i1": 8}
    assert len(outcome.recording.spikes["e1"])
    assert not len(outcome.recording.spikes["i1"])


def test_pth_weights(call, tmp_path, weight_files):
    torch = pytest.importorskip("torch")
    weights, path = weight_files
    state = {
        "W_ff.0": torch.tensor(weights["W_in"]), "W_ff.1": torch.tensor(weights["W_out"]),
        "W_ee.1": torch.zeros(32, 32), "W_ei.1": torch.tensor(weights["W_ei_1"]),
        "W_ie.1": torch.tensor(weights["W_ie_1"]),
    }  # fmt: skip
    torch.save(state, tmp_path / "weights.pth")
    base = (*SMALL[2:8], "--codegen", "numpy")
    by_name = call("sim", *base, "--weights-file", path, name="npz")
    loaded = call("image", *base, "--load-weights", tmp_path / "weights.pth", name="pth")
    assert loaded.code == 0, loaded.err
    assert same(by_name.recording, loaded.recording)
    save_weights(weights, tmp_path / "weights.h5")
    h5 = call("sim", *base, "--load-weights", tmp_path / "weights.h5", name="h5")
    assert same(by_name.recording, h5.recording)


def test_a_fresh_loop_in_loaded_weights(call, weight_files):
    _, path = weight_files
    base = (*SMALL[2:8], "--codegen", "numpy", "--weights-file", path)
    closed = call("sim", *base, name="closed")
    opened = call("sim", *base, "--ei-strength", "0", name="open")
    assert "E-I loop is drawn anew" in opened.out
    assert len(closed.recording.spikes["i1"])
    assert not len(opened.recording.spikes["i1"])


def test_the_run_folder_of_sim_and_image(call, tmp_path):
    sim = call("sim", *SMALL, name="sim", record=False)
    assert {p.name for p in sim.folder.iterdir()} == {"config.json", "run.sh", "output.log"}
    image = call("image", *SMALL, name="image", record=False)
    assert {p.name for p in image.folder.iterdir()} == {
        "config.json", "run.sh", "output.log", "snapshot.png", "snapshot.npz", "diagnostics.png",
        "metrics.json",
    }  # fmt: skip
    assert image.config["provenance"]["tool"] == "pingbridge"
    assert image.config["derived"]["populations"] == {"e1": 32, "i1": 8}
    with np.load(image.folder / "snapshot.npz", allow_pickle=False) as data:
        assert data["spk_e"].shape == (480, 32)
        assert data["spk_i"].shape == (480, 8)
        assert (float(data["dt"]), int(data["n_e"]), int(data["n_i"])) == (0.5, 32, 8)
    log = (sim.folder / "output.log").read_text()
    assert "E=" in log
    assert "\x1b" not in log


def test_image_draws_the_same_bytes_again(call):
    first = call("image", *SMALL, name="first", record=False)
    second = call("image", *SMALL, name="second", record=False)
    for name in ("snapshot.png", "diagnostics.png", "snapshot.npz"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_the_raster_style_changes_the_picture_and_nothing_else(call):
    ticks = call("image", *SMALL, name="scatter")
    pixels = call("image", *SMALL, "--raster", "imshow", name="imshow")
    assert same(ticks.recording, pixels.recording)
    pictures = [(o.folder / "snapshot.png").read_bytes() for o in (ticks, pixels)]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize(
    "flags",
    [
        ("--digit", "3", "--n-hidden", "32"),
        ("--digit", "3", "--n-hidden", "32", "--stim-overdrive", "3", "--raster", "imshow"),
        ("--input", "synthetic-conductance", "--stim-overdrive", "20", "--n-hidden", "32"),
        ("--n-hidden", "32", "16", "--ei-layers", "1"),
        ("--model", "cuba-ping", "--digit", "2", "--n-hidden", "32", "--w-in", "0", "3"),
        ("--model", "cuba-noping", "--no-dales-law", "--digit", "2", "--raster", "imshow"),
    ],
)
def test_image_of_every_kind_of_input_and_model(call, flags):
    outcome = call("image", "--dt", "0.5", "--t-ms", "320", "--codegen", "numpy", *flags)
    assert outcome.code == 0, outcome.err
    assert (outcome.folder / "snapshot.png").stat().st_size > 20_000
    assert (outcome.folder / "diagnostics.png").stat().st_size > 5_000
    assert "warning" not in outcome.out


def test_wipe_dir_clears_a_folder_of_ours(call):
    call("image", *SMALL, record=False)
    again = call("sim", *SMALL, "--wipe-dir", record=False)
    assert again.code == 0, again.err
    assert {p.name for p in again.folder.iterdir()} == {"config.json", "run.sh", "output.log"}


def test_run_sh_runs_again_whatever_lies_in_the_working_folder(call, tmp_path):
    make_shadows(tmp_path)
    call("sim", *SMALL, name="it's a run")
    folder = tmp_path / "it's a run"
    script = folder / "run.sh"
    assert os.access(script, os.X_OK)
    recording = load_recording(tmp_path / "it's a run.npz")
    (tmp_path / "it's a run.npz").unlink()
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert same(recording, load_recording(tmp_path / "it's a run.npz"))


def test_the_installed_command_and_the_module_agree(tmp_path):
    base = [sys.executable, "-m", "cli"]
    bare = subprocess.run(base, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert bare.returncode == 0
    assert "sim" in bare.stdout
    assert "image" in bare.stdout
    wrong = subprocess.run(
        [*base, "sim", "--t-ms", "-5"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_reader_that_leaves_early_does_not_disturb_the_run(tmp_path):
    command = [sys.executable, "-m", "cli", "sim", *SMALL, "--out-dir", str(tmp_path / "run"),
               "--save-recording", str(tmp_path / "run.npz")]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    process.stdout.readline()
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert not complaints
    assert (tmp_path / "run.npz").is_file()
    assert "E=" in (tmp_path / "run" / "output.log").read_text()


def test_the_command_line_runs_what_the_library_runs(call, tmp_path, weight_files):
    weights, path = weight_files
    first = call(
        "sim", *SMALL[2:8], "--weights-file", path, "--codegen", "numpy", "--synapse-order",
        "kick-decay", "--tau-gaba", "7", "--tau-syn", "3",
    )  # fmt: skip
    from bridge.formats.recordings import load_stimulus

    spec = PingSpec(
        n_in=32, layers=(ei_layer(32),),
        synapses=SynapseSpec(tau_ampa_ms=3.0, tau_gaba_ms=7.0, order="kick-decay"),
    )  # fmt: skip
    stimulus = load_stimulus(tmp_path / "run.npz")
    recording, _ = simulate(
        spec, Weights.for_spec(spec, dict(weights)), stimulus,
        engine=EngineOptions(target="numpy"),
    )  # fmt: skip
    assert same(first.recording, recording)
