"""The summary: one line, JSON, and what is undefined."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scope_recordings import ping_recording, recording_of

from scope.measure.metrics import rate_e
from scope.measure.spectra import f_gamma
from scope.measure.summary import Summary, summarise


def silent(sizes=None, **given):
    return recording_of({}, n_cells=sizes or {"e1": 5, "i1": 2}, t_ms=600.0, **given)


def test_a_rhythm_is_summarised_as_one():
    recording = ping_recording(f_hz=40.0, t_ms=600.0, seed=1)
    summary = summarise(recording, burn_in_ms=100.0, model="ping")
    assert summary.rate_e_hz == rate_e(recording, burn_in_ms=100.0)
    assert summary.rate_i_hz == pytest.approx(40.0, rel=0.02)  # once per cycle
    assert summary.f_gamma_hz == f_gamma(recording, window_ms=(100.0, 600.0)).f_hz
    assert summary.f_gamma_hz == pytest.approx(40.0, abs=0.25)
    assert summary.f_gamma_valid
    assert summary.f0_hz == pytest.approx(40.0)
    assert summary.cv > 1.0
    assert summary.lobe_to_trough > 3.0
    assert summary.participation * summary.f_gamma_hz == pytest.approx(summary.rate_e_hz, rel=0.1)


def test_one_trial_or_all():
    recording = ping_recording(n_trials=3, seed=2)
    one = [summarise(recording, burn_in_ms=0.0, model="ping", trial=k) for k in range(3)]
    every = summarise(recording, burn_in_ms=0.0, model="ping")
    assert every.n_trials == 3
    assert one[0].n_trials == 1
    for name in ("rate_e_hz", "rate_i_hz", "cv", "act"):
        mean = np.mean([getattr(s, name) for s in one])
        assert getattr(every, name) == pytest.approx(mean), name
    assert every.f_gamma_hz == pytest.approx(np.median([s.f_gamma_hz for s in one]))


@pytest.mark.parametrize("model", ["cuba-ping", "cuba-noping"])
def test_f0_is_zero_for_other_models(model):
    summary = summarise(ping_recording(), burn_in_ms=0.0, model=model)
    assert summary.f0_hz == 0.0
    assert "f0" not in summary.one_line()


def test_the_line_has_the_published_format():
    summary = summarise(ping_recording(seed=1), burn_in_ms=0.0, model="ping")
    fixed = dataclasses.replace(
        summary, rate_e_hz=7.6, rate_i_hz=123.4, cv=1.666, act=0.98, f0_hz=40.0, ie_ratio=16.24
    )
    assert fixed.one_line() == "E=  8 I=123 CV=1.67 act=  98% f0= 40"
    assert fixed.one_line(with_ie_ratio=True).endswith("f0= 40 I/E=16.24")


def test_silence_is_dashes_and_nulls():
    summary = summarise(silent({"e1": 5}), burn_in_ms=100.0, model="ping")
    assert summary.one_line() == "E=  0 I=  - CV=   - act=   0% f0=  0"
    plain = summary.to_json()
    json.dumps(plain, allow_nan=False)  # raises on a NaN
    for name in ("rate_i_hz", "cv", "f_gamma_hz", "participation", "lobe_to_trough", "ie_ratio"):
        assert plain[name] is None, name
    assert plain["rate_e_hz"] == 0.0
    assert plain["windows"]["pre"] == {"rate_e_hz": 0.0, "rate_i_hz": None}


def test_json_holds_every_field():
    summary = summarise(ping_recording(t_ms=200.0), burn_in_ms=20.0, model="ping")
    plain = summary.to_json()
    assert set(plain) == {field.name for field in dataclasses.fields(Summary)}
    assert plain["windows"]["stim"] is None
    assert plain["f_gamma_valid"] is True
    json.dumps(plain, allow_nan=False)


def test_the_five_metrics_of_training_files():
    summary = summarise(silent(), burn_in_ms=0.0, model="ping")
    metrics = summary.reference_metrics()
    assert metrics == {"rate_e": 0.0, "rate_i": 0.0, "cv": None, "act": 0.0, "f0": 0.0}


def test_the_windows_line_leaves_out_what_does_not_exist():
    rows = {"e1": np.array([[0, 0, 0], [850, 0, 0]]), "i1": np.array([[850, 0, 0]])}
    recording = recording_of(rows, n_cells={"e1": 1, "i1": 1}, t_ms=250.0)
    line = summarise(recording, burn_in_ms=0.0, model="ping").window_line()
    assert line == "E/I Hz: pre 5.0/0.0  stim 20.0/20.0"


def test_a_summary_refuses_a_burn_in_as_long_as_the_trial():
    with pytest.raises(ValueError, match=r"burn_in_ms = 600 ms.*600 ms"):
        summarise(silent(), burn_in_ms=600.0, model="ping")


def test_a_summary_is_frozen_and_comparable():
    recording = ping_recording()
    one, other = (summarise(recording, burn_in_ms=100.0, model="ping") for _ in range(2))
    assert one == other
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.cv = 0.0


@pytest.mark.parametrize("t_ms", [0.25, 1.0, 3.0, 11.0])
def test_trials_too_short_for_anything_still_have_a_summary(t_ms):
    rows = {"e1": np.array([[0, 0, 0]])}
    recording = recording_of(rows, n_cells={"e1": 1, "i1": 1}, t_ms=t_ms)
    summary = summarise(recording, burn_in_ms=0.0, model="ping")
    assert summary.rate_e_hz == pytest.approx(1000.0 / t_ms)
    assert not summary.f_gamma_valid
    assert not math.isnan(summary.f0_hz)
