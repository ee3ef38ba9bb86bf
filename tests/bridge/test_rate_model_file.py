"""Model files: those of the published package, ours, broken ones; writing that can be killed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.io
from rate_models import fields, model_file

from bridge.rate_to_spike import RateModel, load_rate_model, save_rate_model, update_rate_model


def test_a_published_file_loads(reference):
    path = reference / "rate_to_spike_model.mat"
    model = RateModel.load(path)
    assert (model.n, model.n_in, model.dales_law) == (50, 1, True)
    assert model.b_out == pytest.approx(0.0220866, rel=1e-5)
    tau = model.tau_steps()
    assert tau.min() > 4
    assert tau.max() < 20
    raw = scipy.io.loadmat(path)
    share = np.mean(raw["w"][raw["w"] != 0] < 0)
    assert 0.3 < share < 0.5  # the leftovers that must not be converted
    signed = model.signed_w()
    assert np.all(signed[:, model.inh] <= 0)
    assert np.all(signed[:, ~model.inh] >= 0)
    assert not np.all(model.signed_w(rectify=False)[:, model.inh] <= 0)


def test_a_file_of_ours_has_what_the_original_reads(tmp_path):
    path = model_file(tmp_path / "m.mat")
    raw = scipy.io.loadmat(path)
    assert raw["w"].shape == (20, 20)
    assert raw["inh"].shape == (20, 1)
    assert raw["N"].item() == 20
    assert raw["task"].item() == "go_nogo"


def test_the_tutorial_file_is_enough(tmp_path):
    given = fields(taus=(10.0,))
    for name in ("w", "w_in", "w_out", "w0", "m", "som_m"):
        given[name] = given[name].astype(np.float32)
    path = tmp_path / "m.mat"
    scipy.io.savemat(path, given)
    model = RateModel.load(path)
    assert model.inh.tolist() == given["inh"].ravel().tolist()
    np.testing.assert_array_equal(model.w, given["w"].astype(np.float64))
    np.testing.assert_array_equal(model.tau_steps(), np.full(20, 10.0))


def test_an_update_keeps_every_other_field(reference, tmp_path):
    path = tmp_path / "m.mat"
    path.write_bytes((reference / "rate_to_spike_model.mat").read_bytes())
    before = load_rate_model(path)
    update_rate_model(path, {"opt_scaling_factor": 25.0, "all_perfs": np.array([0.5, 1.0])})
    after = load_rate_model(path)
    assert set(after) == {*before, "opt_scaling_factor", "all_perfs"}
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
        assert after[name].shape == value.shape, name
    assert after["opt_scaling_factor"].shape == (1, 1)
    assert RateModel.load(path).number("opt_scaling_factor") == 25.0


def test_the_busy_mark_of_the_original_counts_as_absent(tmp_path):
    path = model_file(tmp_path / "m.mat")
    update_rate_model(path, {"opt_scaling_factor": np.nan})
    assert RateModel.load(path).number("opt_scaling_factor") is None


def test_the_callers_fields_are_not_changed():
    given = fields(w_out=np.ones((20, 1)))
    kept = {name: np.copy(value) for name, value in given.items()}
    model = RateModel.from_fields(given)
    model.signed_w()
    assert model.w_out.shape == (1, 20)
    for name, value in kept.items():
        np.testing.assert_array_equal(given[name], value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": None}, "w missing; a model needs w, w_in"),
        ({"w": np.ones((3, 3))}, r"w has shape \(3, 3\); needed is \(20, 20\)"),
        ({"w_out": np.ones((1, 7))}, r"w_out has shape \(1, 7\)"),
        ({"w_in": np.ones((7, 2))}, r"w_in has shape \(7, 2\)"),
        ({"inh": np.ones((7, 1))}, r"inh has shape \(7, 1\)"),
        ({"taus": np.array([4.0, 5.0, 6.0])}, "one value > 0, or a range"),
        ({"taus": np.array([-1.0])}, "one value > 0, or a range"),
        ({"taus_gaus": None}, "taus_gaus missing"),
        ({"w": np.full((20, 20), np.nan)}, "w has entries that are not finite"),
        ({"w_in": "text"}, "w_in is not numeric"),
        ({"w": np.full((20, 20), 1j)}, "w is complex"),
        ({"N": np.array([20, 20])}, "needed is a number"),
        ({"N": 0}, "must be at least 1"),
    ],
)
def test_a_file_that_lacks_something(tmp_path, change, message):
    path = tmp_path / "m.mat"
    save_rate_model(path, {**fields(), **change})
    with pytest.raises(ValueError, match=message) as error:
        RateModel.load(path)
    assert "m.mat" in str(error.value)


def test_what_is_no_model_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such model file"):
        load_rate_model(tmp_path / "m.mat")
    (tmp_path / "m.pth").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"\.pth file can't be converted"):
        load_rate_model(tmp_path / "m.pth")
    broken = tmp_path / "broken.mat"
    broken.write_bytes(b"not a mat file")
    with pytest.raises(ValueError, match=r"not a usable \.mat file"):
        load_rate_model(broken)
    hdf5 = tmp_path / "new.mat"
    hdf5.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + b"\0" * 600)
    with pytest.raises(ValueError, match=r"not a usable \.mat file"):
        load_rate_model(hdf5)
    half = tmp_path / "half.mat"
    half.write_bytes(model_file(tmp_path / "m.mat").read_bytes()[:900])
    with pytest.raises(ValueError, match=r"not a usable \.mat file"):
        load_rate_model(half)


def test_missing_fields_are_named_in_a_warning(tmp_path):
    path = tmp_path / "m.mat"
    save_rate_model(path, {**fields(), "w_in": None, "taus": None})
    with pytest.warns(UserWarning, match="w_in, taus missing"):
        load_rate_model(path)


def test_initial_weights_are_asked_for_only_where_needed():
    model = RateModel.from_fields({k: v for k, v in fields().items() if k != "w0"})
    model.signed_w()
    with pytest.raises(ValueError, match="w0 missing"):
        model.signed_w(initial=True)


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = model_file(tmp_path / "m.mat")
    before = path.read_bytes()
    code = f"""
import os
from bridge import atomic
from bridge.rate_to_spike.model_file import update_rate_model
def killed(partial, path):
    os.truncate(partial, 500)
    os._exit(9)
atomic.os.replace = killed
update_rate_model({str(path)!r}, {{"opt_scaling_factor": 3.0}})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert path.read_bytes() == before
    assert RateModel.load(path).n == 20
