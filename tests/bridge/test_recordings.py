"""Recordings and input files: exact both ways, same bytes, and damage told in one line."""

from __future__ import annotations

import json
import time

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.formats.recordings import load_recording, load_stimulus, save_recording
from bridge.network.stimulus import Stimulus
from bridge.recording import Recording

ENDINGS = [".npz", ".h5", ".hdf5"]


def make_recording(draw=0, *, n_trials=2, n_steps=20, n_spikes=30, **changes):
    rng = np.random.default_rng(draw)
    n_cells = {"e1": 5, "i1": 2, "e2": 3}
    rows = {
        name: np.stack([rng.integers(0, k, n_spikes) for k in (n_steps, n_trials, n)], axis=1)
        for name, n in n_cells.items()
    }
    given_fields = {
        "dt_ms": 0.1,
        "n_steps": n_steps,
        "n_trials": n_trials,
        "n_cells": n_cells,
        "spikes": rows,
        "traces": {
            "v_e_1": rng.normal(size=(n_trials, n_steps, 5)),
            "gi_e_1": rng.normal(size=(n_trials, n_steps, 5)).astype(np.float32),
            "v_i_1": rng.normal(size=(n_trials, n_steps, 2)),
        },
        "logits": rng.normal(size=(n_trials, 4)),
        "output": rng.normal(size=(n_trials, n_steps, 4)),
        "backend": "brian:numpy µ",
        "seed": 42,
        "config": {"model": "ping", "w_in": [0.3, 0.06], "note": "µS", "none": None},
    }
    return Recording(**(given_fields | changes))


def assert_same(a: Recording, b: Recording) -> None:
    for name in ("dt_ms", "n_steps", "n_trials", "backend", "seed"):
        assert getattr(a, name) == getattr(b, name), name
    assert list(a.n_cells.items()) == list(b.n_cells.items())
    assert dict(a.config) == dict(b.config)
    for kind in ("spikes", "traces"):
        mine, theirs = getattr(a, kind), getattr(b, kind)
        assert set(mine) == set(theirs)
        for name in mine:
            assert mine[name].dtype == theirs[name].dtype
            np.testing.assert_array_equal(mine[name], theirs[name])
    for name in ("logits", "output"):
        mine, theirs = getattr(a, name), getattr(b, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_array_equal(mine, theirs)


def one_line(caught, path):
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message


# ---- round trips -----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    draw=st.integers(0, 2**32),
    n_trials=st.integers(1, 3),
    n_steps=st.integers(1, 9),
    n_spikes=st.integers(0, 12),
    dt_ms=st.floats(1e-3, 10),
    seed=st.none() | st.integers(0, 2**63 - 1),
    ending=st.sampled_from(ENDINGS),
)
def test_any_recording_survives_the_round_trip(
    tmp_path_factory, draw, n_trials, n_steps, n_spikes, dt_ms, seed, ending
):
    recording = make_recording(
        draw, n_trials=n_trials, n_steps=n_steps, n_spikes=n_spikes, dt_ms=dt_ms, seed=seed
    )
    path = tmp_path_factory.mktemp("r") / f"run{ending}"
    save_recording(recording, path)
    assert_same(load_recording(path), recording)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {"logits": None, "output": None, "traces": {}, "seed": None, "config": {}},
        {"seed": 2**63 - 1},
        {"logits": np.array([[np.nan, np.inf], [0.1, -0.0]])},
        {
            "n_cells": {f"e{k}": 2 for k in range(12, 0, -1)},  # order is not the alphabet's
            "spikes": {f"e{k}": np.zeros((0, 3), np.int32) for k in range(1, 13)},
            "traces": {},
        },
    ],
)
def test_what_is_absent_stays_absent(tmp_path, ending, changes):
    recording = make_recording(**changes)
    save_recording(recording, tmp_path / f"run{ending}")
    assert_same(load_recording(tmp_path / f"run{ending}"), recording)


@pytest.mark.parametrize("ending", ENDINGS)
def test_same_content_same_bytes(tmp_path, ending):
    recording = make_recording()
    turned = make_recording(traces=dict(reversed(recording.traces.items())))
    first, second = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    save_recording(recording, first)
    time.sleep(1.1)  # dates in files count in seconds
    save_recording(turned, second)
    assert first.read_bytes() == second.read_bytes()
    save_recording(make_recording(draw=1), second)
    assert first.read_bytes() != second.read_bytes()


def test_hdf5_layout(tmp_path):
    recording = make_recording()
    save_recording(recording, tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        head = dict(file.attrs)
        assert (head["format"], head["format_version"]) == ("ping-recording", 1)
        assert (head["dt_ms"], head["t_ms"], head["seed"]) == (0.1, recording.t_ms, 42)
        assert json.loads(head["config"])["w_in"] == [0.3, 0.06]
        group = file["spikes/e1"]
        assert (group.attrs["n_cells"], group.attrs["n_trials"]) == (5, 2)
        columns = np.stack([group[n][()] for n in ("trial", "t_step", "i")], axis=1)
        assert columns.dtype == np.int32
        assert columns.tolist() == sorted(columns.tolist())
        expected = recording.spikes["e1"][:, [1, 0, 2]].tolist()
        assert columns.tolist() == sorted(expected)
        assert file["traces/e1/v"].shape == (2, 20, 5)
        assert file["traces/e1/v"].attrs["unit"] == "mV"
        assert file["traces/e1/gi"].attrs["unit"] == "uS"


def test_traces_of_current_networks_have_no_unit(tmp_path):
    save_recording(make_recording(config={"model": "cuba-ping"}), tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["traces/e1/v"].attrs["unit"] == "1"


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_flat_names(tmp_path, ending):
    recording = make_recording()
    path = tmp_path / f"run{ending}"
    save_recording(recording, path)
    flat = np.load(path, allow_pickle=False) if ending == ".npz" else h5py.File(path)
    with flat:
        assert (float(flat["dt"][()]), int(flat["T_steps"][()]), int(flat["B"][()])) == (0.1, 20, 2)
        np.testing.assert_array_equal(flat["i1_spk"][()], recording.spikes["i1"])
        np.testing.assert_array_equal(flat["logits"][()], recording.logits)
        if ending == ".npz":
            assert int(flat["n_e2"]) == 3
            np.testing.assert_array_equal(flat["v_e_1"], recording.traces["v_e_1"])


# ---- recordings that cannot be stored --------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"traces": {"v": np.zeros((2, 20, 5))}}, "trace 'v' names no population"),
        ({"traces": {"v_e_7": np.zeros((2, 20, 5))}}, "trace 'v_e_7' names no population"),
        ({"traces": {"v_e_1": np.zeros((20, 2, 5))}}, r"expected .* \(2, 20, 5\)"),
        ({"traces": {"v_e_1": np.zeros((2, 20, 5), int)}}, "type int64"),
        ({"logits": np.zeros(4)}, r"logits has shape \(4,\); expected \(2, n_classes\)"),
        ({"seed": 2**64}, "does not fit in 64 bits"),
        ({"n_cells": {"in": 1}, "spikes": {"in": np.zeros((0, 3))}, "traces": {}}, "'in' cannot"),
    ],
)
@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_what_would_not_come_back_is_refused(tmp_path, ending, changes, message):
    with pytest.raises(ValueError, match=message):
        save_recording(make_recording(**changes), tmp_path / f"run{ending}")
    assert list(tmp_path.iterdir()) == []


def test_other_endings_and_folders(tmp_path):
    with pytest.raises(ValueError, match="must end in"):
        save_recording(make_recording(), tmp_path / "run.mat")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save_recording(make_recording(), tmp_path / "none" / "run.h5")


# ---- damaged recordings ----------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".npz", ".h5"])
@pytest.mark.parametrize("share", [0.01, 0.4, 0.8, 0.999])
def test_truncated_recordings_are_one_line(tmp_path, ending, share):
    path = tmp_path / f"run{ending}"
    save_recording(make_recording(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        load_recording(path)
    one_line(caught, path)


def edit_npz(path, **changes):
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **{n: a for n, a in (arrays | changes).items() if a is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 7}, "version 7 of the format ping-recording; .* reads version 1"),
        ({"format": "ping-weights"}, "'ping-weights'; expected 'ping-recording'"),
        ({"format": None}, "does not say what format"),
        ({"e1_spk": None}, "e1_spk is missing"),
        ({"e1_spk": np.array([[0, 0, 5]])}, "cell 5 lies outside 0 to 4"),
        ({"e1_spk": np.array([[0, 0]])}, r"shape \(1, 2\)"),
        ({"e1_spk": np.array([[0.0, 0, 1]])}, "float64; integer rows"),
        ({"v_e_1": np.zeros((2, 20, 4))}, "trace v_e_1 has shape"),
        ({"T_steps": 19}, "has shape|lies outside 0 to 18"),
        ({"config": "{"}, "usable recording"),
        ({"config": np.array([{}])}, "nothing was loaded"),
    ],
)
def test_inconsistent_npz_recordings_are_one_line(tmp_path, changes, message):
    path = tmp_path / "run.npz"
    save_recording(make_recording(), path)
    edit_npz(path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_recording(path)
    one_line(caught, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.attrs.update(format_version=7), "version 7 .* reads version 1"),
        (lambda f: f.__delitem__("spikes/e1/i"), "/spikes/e1/i is missing"),
        (lambda f: f["spikes/e1/i"].__setitem__(0, 5), "cell 5 lies outside 0 to 4"),
        (lambda f: f.__delitem__("spikes"), "/spikes is missing"),
        (lambda f: f.attrs.__delitem__("config"), "config is missing"),
        (lambda f: f["spikes/e1"].attrs.update(n_cells="five"), "usable recording|HDF5"),
    ],
)
def test_inconsistent_hdf5_recordings_are_one_line(tmp_path, damage, message):
    path = tmp_path / "run.h5"
    save_recording(make_recording(), path)
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(ValueError, match=message) as caught:
        load_recording(path)
    one_line(caught, path)


# ---- input files -----------------------------------------------------------------------------


def make_stimulus(**changes):
    rng = np.random.default_rng(5)
    events = np.stack([rng.integers(0, n, 40) for n in (20, 2, 7)], axis=1)
    fields = {"dt_ms": 0.1, "n_steps": 20, "n_trials": 2, "n_in": 7, "events": events}
    return Stimulus(**(fields | changes))


@pytest.mark.parametrize("ending", ENDINGS)
def test_recording_with_its_stimulus_is_an_input_file(tmp_path, ending):
    path = tmp_path / f"run{ending}"
    stimulus = make_stimulus(g_ext_us=np.random.default_rng(1).random((2, 20, 5)), bias_us=0.0002)
    save_recording(make_recording(), path, stimulus)
    loaded = load_stimulus(path)
    for name in ("dt_ms", "n_steps", "n_trials", "n_in", "bias_us"):
        assert getattr(loaded, name) == getattr(stimulus, name)
    np.testing.assert_array_equal(loaded.events, stimulus.events)
    np.testing.assert_array_equal(loaded.g_ext_us, stimulus.g_ext_us)
    assert_same(load_recording(path), make_recording())


def test_stimulus_of_another_grid_is_refused(tmp_path):
    with pytest.raises(ValueError, match="they must agree"):
        save_recording(make_recording(), tmp_path / "run.h5", make_stimulus(dt_ms=0.2))


def input_arrays(**changes):
    rows = np.array([[3, 1, 6], [0, 0, 2], [3, 1, 6]])
    arrays = {"in_spk": rows, "dt": 0.25, "T_steps": 10, "B": 2, "N_IN": 7} | changes
    return {name: array for name, array in arrays.items() if array is not None}


def write_input(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_input_written_by_others(tmp_path, ending):
    path = tmp_path / f"input{ending}"
    write_input(path, input_arrays(labels=np.array([3, 4])))
    stimulus = load_stimulus(path)
    assert (stimulus.dt_ms, stimulus.n_steps, stimulus.n_trials, stimulus.n_in) == (0.25, 10, 2, 7)
    assert stimulus.events.tolist() == [[0, 0, 2], [3, 1, 6], [3, 1, 6]]
    assert stimulus.g_ext_us is None
    assert stimulus.bias_us == 0


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_whole_numbers_that_matlab_holds_as_floats(tmp_path, ending):
    path, plain = tmp_path / f"floats{ending}", tmp_path / f"plain{ending}"
    arrays = input_arrays()
    write_input(plain, arrays)
    floats = {n: np.atleast_2d(np.asarray(a, dtype=np.float64)) for n, a in arrays.items()}
    write_input(path, floats)
    one, other = load_stimulus(path), load_stimulus(plain)
    np.testing.assert_array_equal(one.events, other.events)
    assert (one.dt_ms, one.n_steps, one.n_trials, one.n_in) == (
        other.dt_ms, other.n_steps, other.n_trials, other.n_in,
    )  # fmt: skip


@pytest.mark.parametrize("ending", [".npz", ".h5"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"N_IN": None, "dt": None}, r"lacks dt \(time step in ms\), N_IN"),
        ({"in_spk": np.zeros((3, 2), int)}, r"shape \(3, 2\); rows \(step, trial, cell\)"),
        ({"in_spk": np.full((3, 3), 0.5)}, "float64; integer rows"),
        ({"in_spk": np.full((3, 3), np.nan)}, "float64; integer rows"),
        ({"in_spk": np.array([[2.0**53, 0, 0]])}, "float64; integer rows"),
        ({"in_spk": np.array([[10, 0, 0]])}, "step 10 lies outside 0 to 9"),
        ({"in_spk": np.array([[0, 2, 0]])}, "trial 2 lies outside 0 to 1"),
        ({"in_spk": np.array([[0, 0, 7]])}, "cell 7 lies outside 0 to 6"),
        ({"in_spk": np.array([[0, -1, 0]])}, "indices from 0"),
        ({"in_spk": np.array([[2**32, 0, 0]])}, "hold 0 to 4294967296"),
        ({"dt": 0.0}, "dt = 0 must be a positive"),
        ({"dt": np.nan}, "dt = nan must be a positive"),
        ({"dt": np.array([0.1, 0.2])}, r"dt = \[0.1, 0.2\] must be one number"),
        ({"T_steps": 10.5}, "T_steps = 10.5 must be one whole number"),
        ({"B": 0}, "B = 0 must be one whole number >= 1"),
        ({"bias_us": -1.0}, "bias = -1"),
        ({"g_ext_us": np.zeros((1, 1, 1))}, "g_ext_us has shape"),
    ],
)
def test_wrong_input_files_are_one_line(tmp_path, ending, changes, message):
    path = tmp_path / f"input{ending}"
    write_input(path, input_arrays(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        load_stimulus(path)
    one_line(caught, path)


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_recording_without_stimulus_is_no_input_file(tmp_path, ending):
    save_recording(make_recording(), tmp_path / f"run{ending}")
    with pytest.raises(ValueError, match="lacks in_spk"):
        load_stimulus(tmp_path / f"run{ending}")


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_truncated_and_missing_input_files(tmp_path, ending):
    path = tmp_path / f"input{ending}"
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_stimulus(path)
    write_input(path, input_arrays())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        load_stimulus(path)
    one_line(caught, path)


def test_object_arrays_in_input_files_are_refused(tmp_path):
    np.savez(tmp_path / "in.npz", **input_arrays(in_spk=np.array([[0, 0, 1]], dtype=object)))
    with pytest.raises(ValueError, match="nothing was loaded"):
        load_stimulus(tmp_path / "in.npz")
