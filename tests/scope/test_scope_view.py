"""Views: what they refuse, and their headlines."""

from __future__ import annotations

import numpy as np
import pytest
from scope_recordings import ping_recording, recording_of

from bridge.network.stimulus import Stimulus
from scope.oscilloscope.view import OscilloscopeView, SweepState, TrainingHistory


@pytest.fixture(scope="module")
def recording():
    return ping_recording(t_ms=200.0, n_exc=20, n_inh=5, n_trials=2, logits=np.eye(2, 10))


def test_a_view_refuses_what_cannot_be_drawn(recording):
    with pytest.raises(ValueError, match=r"burn_in_ms = 200 ms.*200 ms"):
        OscilloscopeView(recording=recording, burn_in_ms=200.0)
    with pytest.raises(ValueError, match="trial 2"):
        OscilloscopeView(recording=recording, trial=2)
    with pytest.raises(ValueError, match="image has shape"):
        OscilloscopeView(recording=recording, image=np.zeros(64))
    stimulus = Stimulus(dt_ms=0.25, n_steps=800, n_trials=1, n_in=4)
    with pytest.raises(ValueError, match="trial 1 has no stimulus"):
        OscilloscopeView(recording=recording, trial=1, stimulus=stimulus)


def test_the_summary_is_of_the_drawn_trial(recording):
    view = OscilloscopeView(recording=recording, trial=1, burn_in_ms=20.0)
    n_late = np.count_nonzero(recording.trial_spikes("e1", 1)[:, 0] >= 80)
    assert view.summary.rate_e_hz == pytest.approx(n_late / (20 * 0.18))
    assert view.summary is view.summary


def test_the_spinner_turns(recording):
    turned = [OscilloscopeView(recording=recording, frame=k).spinner for k in range(5)]
    assert turned == ["|", "/", "-", "\\", "|"]


def test_logits_are_those_given_or_of_the_trial(recording):
    assert OscilloscopeView(recording=recording, trial=1).final_logits[1] == 1.0
    given = OscilloscopeView(recording=recording, logits=np.arange(3.0))
    assert given.final_logits.tolist() == [0.0, 1.0, 2.0]
    silent = recording_of({}, n_cells={"e1": 1}, t_ms=10.0)
    assert OscilloscopeView(recording=silent).final_logits is None


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({}, "ping"),
        ({"digit": 3}, "digit=3"),
        ({"digit": 3, "stim_overdrive": 5.0}, "digit=3  overdrive=5\N{MULTIPLICATION SIGN}"),
        ({"digit": 3, "pred": 3}, "digit=3 pred=3 ✓"),
        ({"digit": 3, "pred": 5}, "digit=3 pred=5 ✗"),
        ({"digit": 3, "pred": 5, "part": "test sample"}, "digit=3 pred=5 ✗  (test sample)"),
        ({"digit": 3, "label": 5, "pred": 5}, "digit=5 pred=5 ✓"),
        (
            {
                "history": TrainingHistory(
                    epochs=[1, 2], acc_percent=[10.0, 88.25], loss=[2.3, 0.4567], lr=[0.1, 0.1],
                    rate_e_hz=[1.0, 2.0], rate_i_hz=[3.0, 4.0],
                )
            },
            "Epoch 2  acc 88.2 %  loss 0.457",
        ),
    ],
)  # fmt: skip
def test_headlines(recording, given, title):
    assert OscilloscopeView(recording=recording, **given).title == title


def test_a_sweep_knows_how_far_it_is():
    with pytest.raises(ValueError, match="frame 3"):
        SweepState(variable="dt", unit="ms", values=[0.1, 0.2, 0.5], index=3)
    with pytest.raises(ValueError, match=r"f0_hz holds 1 frames; frame 1 needs 2"):
        SweepState(variable="dt", unit="ms", values=[0.1, 0.2], index=1, f0_hz=[40.0])


def test_a_history_has_one_value_for_each_epoch():
    with pytest.raises(ValueError, match="W_in holds 1 values for 2 epochs"):
        TrainingHistory(
            epochs=[1, 2], acc_percent=[0, 0], loss=[0, 0], lr=[0, 0], rate_e_hz=[0, 0],
            rate_i_hz=[0, 0], grad_ratios={"W_in": [1.0]},
        )  # fmt: skip


def test_a_history_is_read_from_epoch_records():
    records = [
        {"ep": 1, "acc": 10.0, "loss": 2.0, "lr": 0.01, "rate_e": 5.0, "rate_i": None},
        {"ep": 2, "acc": 20.0, "loss": None, "lr": 0.01, "rate_e": 6.0, "rate_i": 30.0,
         "grad_ratios": {"W_ff.0": 0.001}},
    ]  # fmt: skip
    history = TrainingHistory.from_records(records)
    assert history.epochs == [1, 2]
    assert history.acc_percent == [10.0, 20.0]
    np.testing.assert_array_equal(history.loss, [2.0, np.nan])
    np.testing.assert_array_equal(history.rate_i_hz, [np.nan, 30.0])
    np.testing.assert_array_equal(history.grad_ratios["W_ff.0"], [np.nan, 0.001])
