import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from bridge.network.event_times import (
    bin_events,
    step_of_time,
    trial_seed,
    uniform_events,
    window_events,
)

DTS_MS = (0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 1.0, 1 / 3)


def pixels_of(n_in=30):
    return np.clip(np.random.default_rng(0).random(n_in) - 0.3, 0.0, 1.0)


@given(n=st.integers(0, 100_000), dt_ms=st.sampled_from(DTS_MS), inside=st.floats(0.001, 0.999))
def test_an_edge_opens_its_bin_whatever_the_rounding(n, dt_ms, inside):
    assert step_of_time(n * dt_ms, dt_ms) == n
    assert step_of_time((n + inside) * dt_ms, dt_ms) == n


def test_trial_seeds():
    assert trial_seed(42, 0) == 42
    seeds = {trial_seed(seed, trial) for seed in (42, 43) for trial in range(500)}
    assert len(seeds) == 1000
    with pytest.raises(ValueError, match="seed = -1"):
        trial_seed(-1, 0)


def test_window_events_replay_one_legacy_stream_per_pixel_and_section():
    pixels = pixels_of()
    channel, times = window_events(
        pixels, rate_hz=80.0, overdrive=4.0, t_ms=450.0, seed=9, stream="published"
    )
    for i in range(len(pixels)):
        expected = []
        sections = ((0.0, 200.0, 80.0), (200.0, 300.0, 320.0), (300.0, 450.0, 80.0))
        for k, (start, stop, rate_hz) in enumerate(sections):
            rng = np.random.RandomState(9 + 3 * i + k)
            n = rng.poisson(pixels[i] * rate_hz * (stop - start) / 1000.0)
            expected.extend(start + (stop - start) * rng.rand(n))
        assert_allclose(times[channel == i], expected, rtol=1e-15)


def test_overdrive_leaves_the_sections_outside_the_window_untouched():
    def split(overdrive):
        channel, t_ms = window_events(
            pixels_of(), rate_hz=50.0, overdrive=overdrive, t_ms=600.0, seed=1
        )
        inside = (t_ms >= 200.0) & (t_ms < 300.0)
        return (channel[~inside], t_ms[~inside]), int(inside.sum())

    quiet, n_quiet = split(1.0)
    loud, n_loud = split(20.0)
    assert_array_equal(quiet[0], loud[0])
    assert_array_equal(quiet[1], loud[1])
    assert n_loud > 10 * n_quiet > 0


@pytest.mark.parametrize("t_ms", [150.0, 200.0, 250.0, 300.0, 320.0])
def test_a_trial_may_end_before_the_window_does(t_ms):
    _, times = window_events(np.ones(200), rate_hz=50.0, overdrive=6.0, t_ms=t_ms, seed=0)
    assert times.max() < t_ms
    # 50 Hz * 200 channels = 10 per ms outside, 60 inside; bound 5 standard deviations.
    expected = 10 * min(t_ms, 200) + 60 * np.clip(t_ms - 200, 0, 100) + 10 * max(t_ms - 300, 0)
    assert abs(len(times) - expected) < 5 * np.sqrt(expected)


def test_uniform_events_replay_one_legacy_stream_per_channel():
    channel, t_ms = uniform_events(12, 25.0, 400.0, 42, stream="published")
    for i in range(12):
        rng = np.random.RandomState(42 + 3 * i)
        assert_allclose(t_ms[channel == i], 400.0 * rng.rand(rng.poisson(10.0)), rtol=1e-15)


def test_binning_drops_late_events_and_keeps_the_count_of_each_step():
    channel = np.array([2, 2, 2, 0, 1, 1])
    t_ms = np.array([0.30, 0.31, 0.45, 0.999, 1.0, 7.0])  # 0.3 / 0.1 is just below 3
    made = bin_events(channel, t_ms, dt_ms=0.1, n_steps=10, n_in=3)
    assert made.events.tolist() == [[3, 0, 2], [3, 0, 2], [4, 0, 2], [9, 0, 0]]
    one = bin_events(channel, t_ms, dt_ms=0.1, n_steps=10, n_in=3, collapse=True)
    assert one.events.tolist() == [[3, 0, 2], [4, 0, 2], [9, 0, 0]]  # as published


def trains(seed, n=64, **more):
    channel, t_ms = uniform_events(n, 25.0, 600.0, seed, **more)
    return {tuple(np.sort(t_ms[channel == c])) for c in range(n)}


@pytest.mark.parametrize("other", [43, 44, 45, 48, 51])
def test_seeds_share_no_train(other):
    assert not trains(42) & trains(other)
    window = {"rate_hz": 40.0, "overdrive": 3.0, "t_ms": 400.0}
    one, two = (window_events(np.ones(40), seed=seed, **window)[1] for seed in (42, other))
    assert not set(one.tolist()) & set(two.tolist())


def test_the_published_stream_shares_all_but_one_train_between_seeds_three_apart():
    assert len(trains(42, stream="published") & trains(45, stream="published")) == 63
    with pytest.raises(ValueError, match="use independent or published"):
        uniform_events(2, 25.0, 100.0, 0, stream="other")


def test_a_channel_has_its_own_stream_whatever_the_others_do():
    bright, dim = np.ones(20), np.ones(20)
    dim[:7] = 0.1
    window = {"rate_hz": 50.0, "overdrive": 2.0, "t_ms": 500.0, "seed": 3}
    (c1, t1), (c2, t2) = window_events(bright, **window), window_events(dim, **window)
    assert_array_equal(t1[c1 >= 7], t2[c2 >= 7])
    (c3, t3) = window_events(np.ones(33), **window)  # nor how many there are
    assert_array_equal(t1, t3[c3 < 20])
    sections = [t1[(c1 == 0) & (t1 >= a) & (t1 < b)] for a, b in ((0, 200), (200, 300), (300, 500))]
    # Were the sections one stream, their first draws would lie at the same share of each.
    shares = [(s[0] - a) / d for s, (a, d) in zip(sections, ((0, 200), (200, 100), (300, 200)),
                                                  strict=True)]  # fmt: skip
    assert len({round(x, 9) for x in shares}) == 3


def test_independent_events_are_poisson():
    channel, t_ms = uniform_events(4000, 25.0, 400.0, 7)
    counts = np.bincount(channel, minlength=4000)
    # 4000 channels of mean 10: 5 standard errors of the mean and of the variance (fourth moment).
    assert abs(counts.mean() - 10) < 5 * np.sqrt(10 / 4000)
    assert abs(counts.var() - 10) < 5 * np.sqrt((10 + 2 * 100) / 4000)
    quarters = np.histogram(t_ms, bins=4, range=(0, 400))[0]
    assert (np.abs(quarters - 10_000) < 5 * np.sqrt(10_000)).all()


@pytest.mark.parametrize(
    ("channel", "t_ms", "message"),
    [(3, 0.5, "cell 3"), (-1, 0.5, "cell -1"), (0, -0.5, "step -5"), (0, np.nan, "finite")],
)
def test_binning_refuses_events_from_elsewhere(channel, t_ms, message):
    with pytest.raises(ValueError, match=message):
        bin_events(np.array([channel]), np.array([t_ms]), dt_ms=0.1, n_steps=10, n_in=3)


@pytest.mark.parametrize("case", ["coba_case1", "coba_case2", "coba_case3", "cuba_case1"])
def test_binning_gives_the_reference_rasters(reference, case):
    with np.load(reference / f"ping_{case}.npz") as data:
        tags = [name.removesuffix("__in_spk") for name in data.files if name.endswith("__in_spk")]
        assert tags
        for tag in tags:
            dt_ms = float(data[f"{tag}__dt"])
            made = bin_events(
                data["event_ch"], data["event_t_ms"], dt_ms=dt_ms, n_steps=round(200 / dt_ms),
                n_in=int(data["N_IN"]), trial=data["event_b"], n_trials=int(data["B"]),
                collapse=True,
            )  # fmt: skip
            assert_array_equal(made.events, data[f"{tag}__in_spk"])
