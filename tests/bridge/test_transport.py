import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from bridge.network.encoders import dataset_rate
from bridge.network.stimulus import Stimulus
from bridge.network.transport import downsample, resample, transport, upsample

DT_REF_MS = 0.1


@st.composite
def stimuli(draw):
    """Return spike counts of 0 to 2 on a small grid at the reference dt."""
    n_trials, n_steps, n_in = draw(st.integers(1, 3)), draw(st.integers(1, 24)), 3
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    raster = rng.integers(0, 3, (n_trials, n_steps, n_in))
    return Stimulus.from_raster(raster, dt_ms=DT_REF_MS, bias_us=0.0002)


@settings(max_examples=60, deadline=None)
@given(stimulus=stimuli(), ratio=st.integers(1, 9))
def test_upsampling_moves_each_spike_to_the_first_step_of_its_old_one(stimulus, ratio):
    moved = upsample(stimulus, DT_REF_MS / ratio)
    expected = np.zeros((stimulus.n_trials, stimulus.n_steps * ratio, stimulus.n_in))
    expected[:, ::ratio] = stimulus.counts()
    assert_array_equal(moved.counts(), expected)
    assert_allclose(moved.t_ms, stimulus.t_ms)


@settings(max_examples=60, deadline=None)
@given(stimulus=stimuli(), ratio=st.integers(1, 9))
def test_downsampling_sums_whole_groups_and_drops_the_rest(stimulus, ratio):
    n_steps = stimulus.n_steps // ratio
    if n_steps == 0:
        with pytest.raises(ValueError, match="longer than the trial"):
            downsample(stimulus, DT_REF_MS * ratio)
        return
    moved = downsample(stimulus, DT_REF_MS * ratio)
    kept = stimulus.counts()[:, : n_steps * ratio]
    groups = kept.reshape(stimulus.n_trials, n_steps, ratio, stimulus.n_in)
    assert_array_equal(moved.counts(), groups.sum(axis=2))


@settings(max_examples=30, deadline=None)
@given(stimulus=stimuli(), ratio=st.integers(2, 9))
def test_up_and_down_again_is_the_identity(stimulus, ratio):
    back = downsample(upsample(stimulus, DT_REF_MS / ratio), DT_REF_MS)
    assert_array_equal(back.events, stimulus.events)
    assert_allclose(back.bias_us, stimulus.bias_us, rtol=1e-12)


def spikes(**changed):
    events = np.array([[0, 0, 1], [4, 0, 0]], dtype=np.int32)
    given = {"dt_ms": 0.25, "n_steps": 8, "n_trials": 1, "n_in": 2, "events": events}
    return Stimulus(**given | changed)


@pytest.mark.parametrize("mode", ["upsample", "downsample", "resample"])
def test_every_mode_is_the_identity_at_the_reference_dt(mode):
    def never(dt_ms):
        raise AssertionError("nothing is to be drawn")

    given = spikes(g_ext_us=np.ones((1, 8, 3)))
    assert transport(given, 0.25, mode, encode=never) is given
    assert transport(given, 0.25 * (1 + 1e-9), mode, encode=never) is given


def test_bias_keeps_the_level_at_which_it_settles():
    def level_us(stimulus):
        return stimulus.bias_us / -np.expm1(-stimulus.dt_ms / 2.0)

    given = spikes(bias_us=0.0005)
    for moved in (upsample(given, 0.05), downsample(given, 1.0)):
        assert moved.bias_us != given.bias_us
        assert_allclose(level_us(moved), level_us(given), rtol=1e-12)


@pytest.mark.parametrize(
    ("mode", "dt_ms", "message"),
    [
        ("upsample", 0.5, r"dt = 0\.5 ms cannot be reached from dt = 0\.25 ms .* use downsample"),
        ("downsample", 0.05, r"dt = 0\.05 ms cannot be reached .* use upsample"),
        ("upsample", 0.1, r"dt = 0\.1 ms is not an integer fraction of dt = 0\.25 .*ratio 2\.5"),
        ("downsample", 0.6, r"dt = 0\.6 ms is not an integer multiple of dt = 0\.25 .*ratio 2\.4"),
        ("downsample", 0.5 * (1 + 2e-6), "not an integer multiple"),
        ("downsample", 2.5, r"dt = 2\.5 ms is longer than the trial of 2 ms"),
        ("upsample", 0.0, "dt = 0 ms must be a positive number"),
        ("resample", 0.1, r"dt = 0\.1 ms needs the encoder"),
        ("sideways", 0.1, "'sideways' is unknown; use one of upsample, downsample, resample"),
    ],
)
def test_impossible_moves_name_the_dt(mode, dt_ms, message):
    with pytest.raises(ValueError, match=message):
        transport(spikes(), dt_ms, mode)


def test_a_ratio_within_rounding_of_an_integer_is_taken():
    assert downsample(spikes(), 0.5 * (1 + 1e-8)).n_steps == 4
    assert upsample(spikes(dt_ms=0.3), 0.1).n_steps == 24  # 0.3 / 0.1 is 2.9999999999999996


def test_conductance_is_not_moved():
    given = spikes(g_ext_us=np.ones((1, 8, 3)))
    with pytest.raises(ValueError, match=r"conductance drive cannot be moved to dt = 0\.125 ms"):
        upsample(given, 0.125)


def test_resampling_draws_the_same_rate_with_the_same_seeds():
    pixels, asked = np.full((2, 50), 0.5), []

    def encode(dt_ms):
        asked.append(dt_ms)
        n_steps = round(200 / dt_ms)
        return dataset_rate(pixels, rate_hz=100.0, dt_ms=dt_ms, n_steps=n_steps, seeds=[42, 43])

    given = encode(0.5)
    drawn = resample(given, 1.0, encode=encode)
    assert asked == [0.5, 1.0]
    assert (drawn.dt_ms, drawn.n_steps) == (1.0, 200)
    # 50 Hz on 100 channels for 0.2 s are 1000 spikes; bound 5 standard deviations.
    assert abs(len(drawn.events) - 1000) < 5 * np.sqrt(1000)
    assert_array_equal(encode(0.5).events, given.events)
    with pytest.raises(ValueError, match=r"the encoder returned dt = 0\.5 ms"):
        resample(given, 1.0, encode=lambda dt_ms: given)
    with pytest.raises(ValueError, match=r"returned \(trials, channels\) = \(1, 2\)"):
        resample(given, 0.25, encode=lambda dt_ms: spikes())
