import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from bridge.network.encoders import (
    dataset_rate,
    dataset_window,
    noise_spikes,
    sample_seeds,
    shd_bins,
    smnist_rows,
    smnist_steps,
    trial_seed,
    window_events,
)
from bridge.network.stimulus import Stimulus


def images(n, n_in=40, seed=0):
    rng = np.random.default_rng(seed)
    return np.clip(rng.random((n, n_in)) - 0.3, 0.0, 1.0)


def test_sample_seeds_depend_on_sample_and_epoch_alone():
    assert sample_seeds(7, [5, 3]) == [sample_seeds(7, [5])[0], sample_seeds(7, [3])[0]]
    drawn = {s for epoch in range(3) for s in sample_seeds(7, range(100), epoch=epoch)}
    assert len(drawn) == 300


# Rate coding


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(5)), kept=st.integers(1, 5))
def test_a_sample_does_not_depend_on_its_batch(order, kept):
    pixels, seeds = images(5), sample_seeds(3, range(5))
    options = {"rate_hz": 300.0, "dt_ms": 0.5, "n_steps": 60}
    whole = dataset_rate(pixels, seeds=seeds, **options).counts()
    chosen = list(order[:kept])
    part = dataset_rate(pixels[chosen], seeds=[seeds[k] for k in chosen], **options).counts()
    assert_array_equal(part, whole[chosen])


def test_rate_coding_is_bernoulli_of_the_pixel():
    # Fixed seeds; each bound is 4.5 standard deviations, false alarm below 1e-4 together.
    pixels = np.repeat(np.linspace(0.0, 1.0, 9)[None, :], 60, axis=0)
    p = pixels[0] * 400.0 * 0.5 / 1000.0
    n_steps = 500
    made = dataset_rate(
        pixels, rate_hz=400.0, dt_ms=0.5, n_steps=n_steps, seeds=sample_seeds(1, range(60))
    )
    spikes = made.counts()
    assert spikes.max() == 1
    n = 60 * n_steps
    assert (np.abs(spikes.sum(axis=(0, 1)) - n * p) <= 4.5 * np.sqrt(n * p * (1 - p))).all()
    # Independent in time and over channels: coincidences are products.
    for both, expected in (
        (spikes[:, 1:] & spikes[:, :-1], p**2),
        (spikes[:, :, 1:] & spikes[:, :, :-1], p[1:] * p[:-1]),
    ):
        found = both.mean(axis=(0, 1))
        assert (np.abs(found - expected) <= 4.5 * np.sqrt(expected / n) + 1e-12).all()
    # Counts of a trial have binomial variance (relative standard error of 8 x 60 values: 7 %).
    z = (spikes.sum(axis=1)[:, 1:] - n_steps * p[1:]) / np.sqrt(n_steps * p[1:] * (1 - p[1:]))
    assert abs(z.var() - 1) < 4.5 * 0.07


def test_certain_and_impossible_spikes():
    made = dataset_rate(
        np.array([[1.0, 0.0], [0.0, 0.0]]), rate_hz=1000.0, dt_ms=1.0, n_steps=20, seeds=[1, 2]
    ).counts()
    assert made[0, :, 0].tolist() == [1] * 20
    assert made.sum() == 20


def test_the_end_of_a_trial_fires_as_its_beginning():
    # p = 0.5, 3000 places at each end: bound 4.5 standard deviations.
    spikes = dataset_rate(
        np.ones((600, 1)), rate_hz=500.0, dt_ms=1.0, n_steps=40, seeds=list(range(600))
    ).counts()
    for end in (spikes[:, :5], spikes[:, -5:]):
        assert abs(end.mean() - 0.5) < 4.5 * np.sqrt(0.25 / 3000)


def test_rate_coding_refuses_wrong_input():
    options = {"rate_hz": 25.0, "dt_ms": 0.1, "n_steps": 5}
    with pytest.raises(ValueError, match="pixels run from 0 to 16"):
        dataset_rate(np.array([[0.0, 16.0]]), seeds=[1], **options)
    with pytest.raises(ValueError, match="pixels run from nan"):
        dataset_rate(np.array([[np.nan]]), seeds=[1], **options)
    with pytest.raises(ValueError, match="2 dimensions"):
        dataset_rate(np.zeros(4), seeds=[1], **options)
    with pytest.raises(ValueError, match="1 seeds for 2 samples"):
        dataset_rate(np.zeros((2, 4)), seeds=[1], **options)


# Stimulus window


def pixels_of(n_in=30):
    return images(1, n_in)[0]


@pytest.mark.parametrize("dt_ms", [0.05, 0.1, 0.25, 0.5, 1.0])
def test_another_dt_bins_the_same_events(dt_ms):
    n_steps = round(600 / dt_ms)
    options = {"rate_hz": 50.0, "overdrive": 10.0}
    channel, t_ms = window_events(pixels_of(), t_ms=600.0, seed=42, **options)
    made = dataset_window(pixels_of(), dt_ms=dt_ms, n_steps=n_steps, seed=42, **options)
    expected = sorted((int(t / dt_ms), 0, c) for t, c in zip(t_ms, channel.tolist(), strict=True))
    assert [tuple(row) for row in made.events.tolist()] == expected  # each of them, at every dt
    published = dataset_window(
        pixels_of(), dt_ms=dt_ms, n_steps=n_steps, seed=42, stream="published", **options
    )
    channel, t_ms = window_events(pixels_of(), t_ms=600.0, seed=42, stream="published", **options)
    once = {(int(t / dt_ms), 0, c) for t, c in zip(t_ms, channel.tolist(), strict=True)}
    assert [tuple(row) for row in published.events.tolist()] == sorted(once)


def test_the_input_does_not_depend_on_dt():
    """25 Hz x 10 in the window of 100 ms are 25 spikes of a channel at every dt."""
    window = {"rate_hz": 25.0, "overdrive": 10.0, "seed": 42}
    found = {}
    for stream in ("independent", "published"):
        for dt_ms in (0.05, 0.5, 2.0):
            made = dataset_window(
                np.ones(784), dt_ms=dt_ms, n_steps=round(600 / dt_ms), stream=stream, **window
            )
            t_ms = made.events[:, 0] * dt_ms
            found[stream, dt_ms] = ((t_ms >= 200) & (t_ms < 300)).sum() / 784
    assert len({found["independent", dt] for dt in (0.05, 0.5, 2.0)}) == 1
    assert abs(found["independent", 2.0] - 25) < 5 * np.sqrt(25 / 784)
    assert found["published", 2.0] < 20  # what the published stream loses


def test_trials_of_a_window_differ_and_the_first_is_that_of_the_seed():
    options = {"rate_hz": 50.0, "overdrive": 2.0, "dt_ms": 0.5, "n_steps": 700, "seed": 42}
    one = dataset_window(pixels_of(), **options)
    three = dataset_window(pixels_of(), n_trials=3, **options)
    assert_array_equal(three.trial_events(0), one.events)
    second = dataset_window(pixels_of(), **options | {"seed": trial_seed(42, 1)})
    assert_array_equal(three.trial_events(1)[:, [0, 2]], second.events[:, [0, 2]])
    assert not np.array_equal(three.counts()[1], three.counts()[2])


def test_a_window_that_never_opens_is_warned_about():
    options = {"rate_hz": 1.0, "dt_ms": 0.1, "n_steps": 1000, "seed": 0}
    with pytest.warns(UserWarning, match="t_ms = 100 ms ends before"):
        dataset_window(np.ones(2), overdrive=5.0, **options)
    dataset_window(np.ones(2), overdrive=1.0, **options)


# Added noise


def stimulus(n_trials=2):
    return dataset_rate(
        images(n_trials), rate_hz=100.0, dt_ms=0.5, n_steps=200, seeds=list(range(n_trials))
    )


def test_noise_adds_to_the_input_and_clips_to_one():
    quiet = stimulus()
    noisy = noise_spikes(quiet, rate_hz=200.0, seed=1)
    assert (noisy.counts() >= quiet.counts()).all()
    assert noisy.counts().max() == 1
    # Free places fire with p = 0.1; bound 5 standard deviations.
    n_free = quiet.counts().size - len(quiet.events)
    n_added = len(noisy.events) - len(quiet.events)
    assert abs(n_added - 0.1 * n_free) < 5 * np.sqrt(0.09 * n_free)
    assert_array_equal(noise_spikes(quiet, rate_hz=0.0, seed=1).events, quiet.events)
    full = noise_spikes(quiet, rate_hz=2000.0, seed=1)
    assert (full.counts() == 1).all()


def test_noise_of_a_trial_does_not_depend_on_the_others():
    silent = [Stimulus(dt_ms=1.0, n_steps=50, n_trials=n, n_in=9) for n in (1, 3)]
    one, three = (noise_spikes(s, rate_hz=100.0, seed=4).counts() for s in silent)
    assert_array_equal(three[0], one[0])
    assert not np.array_equal(three[0], three[1])


def test_noise_keeps_the_rest_of_the_stimulus():
    g = np.full((1, 5, 2), 0.25)
    given = Stimulus(dt_ms=1.0, n_steps=5, n_trials=1, n_in=2, g_ext_us=g, bias_us=0.125)
    noisy = noise_spikes(given, rate_hz=500.0, seed=0)
    assert noisy.bias_us == 0.125
    assert_array_equal(noisy.g_ext_us, g)
    with pytest.raises(ValueError, match="1001 Hz at dt = 1 ms"):
        noise_spikes(given, rate_hz=1001.0, seed=0)


# Rows and recorded events


@pytest.mark.parametrize(
    ("dt_ms", "steps"),
    [(0.1, 100), (0.25, 40), (0.3, 33), (0.6, 17), (1.0, 10), (4.0, 2), (10.0, 1)],
)
def test_rows_follow_each_other_every_ten_ms(dt_ms, steps):
    image = np.zeros((28, 28))
    image[3, 5] = image[27, 0] = image[0, 27] = 1.0
    made = smnist_rows(image[None], rate_hz=1000.0 / dt_ms, dt_ms=dt_ms, seeds=[0])
    assert smnist_steps(dt_ms) == steps
    assert made.n_steps == 28 * steps
    expected = np.repeat(image, steps, axis=0)
    assert_array_equal(made.counts()[0], expected)


def test_rows_fire_at_the_rate_of_their_pixels():
    image = np.tile(np.linspace(0.1, 1.0, 28), (28, 1))
    made = smnist_rows(
        np.stack([image, image.T]), rate_hz=200.0, dt_ms=0.5, seeds=sample_seeds(0, [0, 1])
    ).counts()
    expected = np.linspace(0.1, 1.0, 28) * 0.1 * made.shape[1]  # p = 0.1 per step
    assert (np.abs(made[0].sum(axis=0) - expected) < 5 * np.sqrt(expected)).all()
    by_row = made[1].reshape(28, -1).sum(axis=1)
    assert (np.abs(by_row - expected) < 5 * np.sqrt(expected)).all()
    with pytest.raises(ValueError, match="dt = 25 ms is too coarse"):
        smnist_rows(image[None], rate_hz=1.0, dt_ms=25.0, seeds=[0])


def test_recorded_events_are_binned_dropped_and_counted():
    times_s = [np.array([0.0, 0.0021, 0.0029, 0.5], dtype=np.float16), np.array([0.0089])]
    units = [np.array([699, 3, 3, 1], dtype=np.uint16), np.array([0])]
    made = shd_bins(times_s, units, dt_ms=1.0, n_steps=10)
    assert made.events.tolist() == [[0, 0, 699], [2, 0, 3], [2, 0, 3], [8, 1, 0]]
    once = shd_bins(times_s, units, dt_ms=1.0, n_steps=10, collapse=True)
    assert once.events.tolist() == [[0, 0, 699], [2, 0, 3], [8, 1, 0]]
    assert (made.n_trials, made.n_in) == (2, 700)
    late = shd_bins([np.array([0.5], dtype=np.float16)], [np.array([1])], dt_ms=0.5, n_steps=1001)
    assert late.events.tolist() == [[1000, 0, 1]]


def test_recorded_events_refuse_wrong_input():
    with pytest.raises(ValueError, match="cell 700"):
        shd_bins([np.array([0.0])], [np.array([700])], dt_ms=1.0, n_steps=3)
    with pytest.raises(ValueError, match="as many units as times"):
        shd_bins([np.array([0.0])], [np.array([1, 2])], dt_ms=1.0, n_steps=3)
    with pytest.raises(ValueError, match="1 samples of times but 0"):
        shd_bins([np.array([0.0])], [], dt_ms=1.0, n_steps=3)
