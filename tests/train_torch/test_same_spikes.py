"""The network that is trained is the network that is simulated: torch and Brian2, spike for spike.

Random weights and input; the whole grid of networks, time steps and targets is
benchmarks/crosscheck.py, whose table stands in docs/crosscheck.md.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from networks import small_cuba, small_ping

from bridge.crosscheck import compare
from bridge.divergence import explain
from bridge.network.encoders import bin_events
from bridge.network.event_times import uniform_events
from bridge.network.spec import CubaSpec, ReadoutSpec
from bridge.network.steps import count_steps
from bridge.network.weights import Weights
from sim_brian.engine.program import EngineOptions
from sim_brian.ping import run as brian
from train_torch.network import simulate as mirror

DT_MS = (0.05, 0.1, 0.25, 0.5, 1.0)


def events(dt_ms, t_ms, *, n_in=40, n_trials=2, rate_hz=120.0):
    """Return the same events at every dt."""
    drawn = [uniform_events(n_in, rate_hz, t_ms, seed=500 * k) for k in range(n_trials)]
    return bin_events(
        np.concatenate([channel for channel, _ in drawn]),
        np.concatenate([times for _, times in drawn]),
        dt_ms=dt_ms, n_steps=count_steps(t_ms, dt_ms), n_in=n_in, n_trials=n_trials,
        trial=np.repeat(np.arange(n_trials), [len(times) for _, times in drawn]),
    )  # fmt: skip


def like_trained(weights):
    """Return weights as training leaves them: float32, recurrent ones moved, some clamped at 0."""
    rng = np.random.default_rng(11)
    moved = {}
    for name, matrix in weights.items():
        spread = 0.3 * np.abs(matrix).mean() + (2e-4 if name.startswith("W_ee") else 0.0)
        moved[name] = (matrix + spread * rng.standard_normal(matrix.shape)).astype(np.float32)
    return Weights(moved, unit=weights.unit)


def network(name):
    if name.startswith("cuba"):
        spec, weights = small_cuba(n_exc=24)
        if name == "cuba-noping":
            spec = CubaSpec(n_in=40, n_exc=24, n_inh=0, dales_law=False)
            weights = Weights.for_spec(spec, {n: weights[n] for n in spec.matrix_shapes})
        return spec, weights
    sizes = (20, 16) if "two" in name else (24,)
    order = "kick-decay" if "kick" in name else "decay-add"
    spec, weights = small_ping(sizes=sizes, order=order)
    if "open" in name:
        opened = [n for n in weights if n[:4] in ("W_ei", "W_ie")]
        weights = weights.replace(**{n: np.zeros(weights[n].shape) for n in opened})
    if "uniform" in name:
        spec = dataclasses.replace(spec, start="uniform")
    return spec, weights


def check_same(spec, weights, stimulus, *, target="numpy", kernel="auto", least=50):
    """Hold torch in float64 against Brian2; every spike is the same, or rounding decides."""

    def in_brian(x, traces):
        engine = EngineOptions(target=target)
        return brian.simulate(spec, weights, x, seed=3, record_traces=traces, engine=engine)[0]

    def in_torch(x, traces):
        loops = "eager" if traces else kernel
        return mirror.simulate(spec, weights, x, seed=3, record_traces=traces, kernel=loops)[0]

    recordings = in_brian(stimulus, False), in_torch(stimulus, False)
    report = compare(spec, *recordings, window_ms=1.0)
    report = explain(report, spec, weights, stimulus, recordings, (in_brian, in_torch))
    assert report.passed, "\n".join(report.lines())
    for population in spec.populations:
        if population.startswith("e"):
            assert len(recordings[0].spikes[population]) > least, "a silent network proves nothing"
    if report.identical:
        # Sums in another order: a few roundings of the largest logit.
        scale = float(np.abs(recordings[0].logits).max())
        assert report.logits_difference <= 1e-13 * max(scale, 1.0)
    return recordings


GRID = (
    ("ping", "drawn"), ("ping kick", "trained"), ("ping open", "trained"), ("ping two", "trained"),
    ("ping two kick", "drawn"), ("ping two open kick", "drawn"), ("ping uniform", "drawn"),
    ("cuba-ping", "drawn"), ("cuba-ping", "trained"), ("cuba-noping", "trained"),
)  # fmt: skip


# The whole grid is the benchmark's; here every network runs, and every step with two or three.
CHOSEN = [(name, kind, DT_MS[k % 5]) for k, (name, kind) in enumerate(GRID)]
CHOSEN += [("ping two", "drawn", 0.25), ("ping kick", "drawn", 1.0), ("cuba-noping", "drawn", 0.05)]


@pytest.mark.parametrize(("name", "kind", "dt_ms"), CHOSEN)
def test_float64_is_the_same_network(name, kind, dt_ms):
    spec, weights = network(name)
    weights = weights if kind == "drawn" else like_trained(weights)
    # 600 ms where steps are coarse: an eager loop costs 0.3 ms a step.
    t_ms = 600.0 if dt_ms >= 0.5 else 100.0
    recordings = check_same(spec, weights, events(dt_ms, t_ms))
    if not name.startswith("ping open") and "open" not in name and "i1" in spec.populations:
        assert len(recordings[0].spikes["i1"]), "no loop was closed"


def test_600_ms_at_a_fine_step():
    spec, weights = network("ping kick")
    check_same(spec, like_trained(weights), events(0.1, 600.0, n_trials=1), least=300)


@pytest.mark.parametrize(
    ("kernel", "mode"),
    [*(("cpp", mode) for mode in ("rate", "li", "spike-count", "mem-mean")),
     ("eager", "mem-mean"), ("eager", "rate"), ("function", "mem-mean"), ("function", "li")],
)  # fmt: skip
def test_every_kernel_and_all_readouts(kernel, mode):
    spec, weights = network("ping two")
    spec = dataclasses.replace(spec, readout=ReadoutSpec(mode=mode))
    weights = weights.scaled("W_out", 20.0)
    stimulus = events(0.5, 150.0, n_trials=3)
    first, second = check_same(spec, weights, stimulus, kernel=kernel)
    assert second.backend.endswith(kernel) is (kernel != "eager")
    assert np.ptp(first.logits) > 0
    np.testing.assert_allclose(second.output, first.output, rtol=1e-12)


@pytest.mark.parametrize("name", ["ping two kick", "ping uniform", "cuba-ping"])
def test_voltages_and_conductances(name):
    spec, weights = network(name)
    stimulus = events(0.5, 100.0)
    numpy = EngineOptions(target="numpy")
    one, _ = brian.simulate(spec, weights, stimulus, seed=3, record_traces=True, engine=numpy)
    two, _ = mirror.simulate(spec, weights, stimulus, seed=3, record_traces=True)
    assert one.traces.keys() == two.traces.keys()
    for trace, expected in one.traces.items():
        if trace.startswith("g"):  # sums of weights on the grid are exact
            np.testing.assert_array_equal(two.traces[trace], expected, err_msg=trace)
        else:  # exp() of two libraries may differ in the last bit
            np.testing.assert_allclose(two.traces[trace], expected, rtol=0, atol=1e-11)


def test_conductance_drive_and_bias():
    spec, weights = network("ping")
    stimulus = events(0.25, 200.0, n_trials=2, rate_hz=20.0)
    g = np.random.default_rng(1).random((2, stimulus.n_steps, 24)) * 4e-3
    check_same(spec, weights, dataclasses.replace(stimulus, g_ext_us=g, bias_us=2e-4))


@pytest.mark.compiler
def test_the_compiled_program_at_every_step_size():
    spec, weights = small_ping()  # compiled for tests/sim_brian/test_engine.py, too
    for dt_ms in DT_MS:  # one program: dt and input are values
        check_same(spec, weights, events(dt_ms, 100.0, n_trials=1), target="cpp")


@pytest.mark.compiler
@pytest.mark.slow
def test_cython(not_optimised):
    # The network of tests/sim_brian/test_engine.py: its loops are compiled once for both.
    spec, weights = small_ping()
    for dt_ms in (0.1, 1.0):
        check_same(spec, weights, events(dt_ms, 100.0, n_trials=3), target="cython")


def test_float32_departs_by_rounding_only():
    # 8 networks of 100 ms: a trial parts in about every fifth 600 ms run of this size.
    spec, weights = network("ping two")
    stimulus = events(0.25, 100.0, n_trials=8)
    first, _ = brian.simulate(spec, weights, stimulus, engine=EngineOptions(target="numpy"))
    second, _ = mirror.simulate(spec, weights, stimulus, dtype="float32")
    report = compare(spec, first, second, window_ms=1.0)
    for check in report.populations.values():
        assert check.coincidence_in_window > 0.95
        assert check.rate_hz[0] == pytest.approx(check.rate_hz[1], rel=0.02)
    assert sum(step is None for step in report.first_steps) >= 5
    assert report.logits_difference < 0.05 * np.abs(first.logits).max()
