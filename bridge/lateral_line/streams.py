"""What the afferents are shown: held positions in training, a sweep or held positions in the test.

Random draws come from numpy's PCG64 in the order of the published program, so that a seed gives
the published stimuli.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line import chance
from bridge.lateral_line.field import (
    AFFERENTS,
    drive,
    firing_rate,
    flow_velocity,
    neuromasts,
    noise_factor,
    ou_noise,
    snapshot_noise,
)
from bridge.lateral_line.params import MARGIN_CM, NetworkParams

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshots:
    """Some of the held positions, in order.

    Attributes
    ----------
    x_cm, distance_cm, direction : float64, shape (n,)
    rate_hz : float64, shape (n, n_ll)
        Before conversion to the drive.
    """

    x_cm: Array
    distance_cm: Array
    direction: Array
    rate_hz: Array


class SnapshotStream:
    """The sequence of held positions of a training run (or of a held test), read in order.

    Holds one random generator and draws as it goes, so that memory does not grow with the number
    of trials.

    Parameters
    ----------
    params : NetworkParams
    n_steps : int
        Length of the whole stream; the noise curriculum runs over it.
    seed : int or numpy.random.Generator
    stride : int
        Every so many positions of a sweep are used.
    factor : float64, shape (n_ll, n_ll), optional
        Cholesky factor of the noise correlation.
    """

    def __init__(
        self,
        params: NetworkParams,
        *,
        n_steps: int,
        seed: int | np.random.Generator,
        stride: int = 1,
        factor: Array | None = None,
    ) -> None:
        self.params = params
        self.n_steps = n_steps
        self.hold = params.hold_steps
        self.n_snapshots = -(-n_steps // self.hold)
        self.xi_cm = neuromasts(params.n_ll, params.ll_body_length_cm)
        self.factor = noise_factor(self.xi_cm)[0] if factor is None else factor
        self._rng = np.random.default_rng(seed)
        self.positions_cm = self._positions(stride)
        self._next = 0

    def read(self, first: int, last: int) -> Snapshots:
        """Return the snapshots from `first` up to before `last`; those skipped are drawn too.

        Raises
        ------
        ValueError
            If they have been read already: the generator does not go back.
        """
        if first < self._next:
            raise ValueError(f"snapshot {first} has been read already")
        while self._next < first:
            self._draw(min(first - self._next, 4096))
        return self._draw(last - first)

    def _draw(self, n: int) -> Snapshots:
        p = self.params
        first = self._next
        self._next += n
        distance_cm, z = self._normals(n)
        k = np.arange(first, first + n)
        begin = k * self.hold / max(1, self.n_steps - 1)
        early = begin < p.training_noise_switch_fraction
        scale = np.where(early, p.training_noise_scale_early, p.training_noise_scale_late)
        backward = p.training_bidirectional & (k % 2 == 1)
        direction = np.where(backward, -1.0, 1.0)
        x_cm = self.positions_cm[first : first + n]
        v_cm_s = flow_velocity(
            self.xi_cm, 0.0, x_cm[:, np.newaxis], distance_cm[:, np.newaxis],
            speed_cm_s=p.speed_cm_s, radius_cm=p.sphere_radius_cm,
            travel=(direction[:, np.newaxis], 0.0), flow_sign=p.flow_sign,
        )  # fmt: skip
        rate_hz = firing_rate(v_cm_s, snapshot_noise(z, self.factor, scale))
        return Snapshots(x_cm=x_cm, distance_cm=distance_cm, direction=direction, rate_hz=rate_hz)

    def _normals(self, n: int) -> tuple[Array, Array]:
        """Return distances and standard normals of the next `n` snapshots, in draw order."""
        p, a = self.params, AFFERENTS
        low, high = p.training_distance_min_cm, p.training_distance_max_cm
        if p.training_fixed_distance:
            return np.full(n, a.mu_distance_cm), self._rng.standard_normal((n, p.n_ll))
        if low < high:
            distance_cm, z = np.empty(n), np.empty((n, p.n_ll))
            for k in range(n):
                distance_cm[k] = self._rng.uniform(low, high)
                z[k] = self._rng.standard_normal(p.n_ll)
            return distance_cm, z
        drawn = self._rng.standard_normal((n, 1 + p.n_ll))
        around = a.mu_distance_cm + a.sigma_distance_cm * drawn[:, 0]
        return np.clip(around, low, high), drawn[:, 1:]

    def _positions(self, stride: int) -> Array:
        grid = self.xi_cm
        if self.params.training_ordered_sweeps:
            to_and_fro = np.concatenate([grid[::stride], grid[::stride][::-1]])
            return np.asarray(np.resize(to_and_fro, self.n_snapshots), dtype=np.float64)
        n_shuffles = -(-self.n_snapshots // len(grid))
        shuffled = [grid[self._rng.permutation(len(grid))] for _ in range(n_shuffles)]
        return np.concatenate([*shuffled, grid[:0]])[: self.n_snapshots]


def training_stream(params: NetworkParams) -> SnapshotStream:
    """Return the stream of held training positions."""
    n_steps = params.n_training_trials * params.trial_steps
    return SnapshotStream(params, n_steps=n_steps, seed=params.seed + chance.TRAINING_STREAM)


class TrainingDrive:
    """The training stream trial by trial: what the afferents get in each step.

    Trials are read in order; some may be skipped.
    """

    def __init__(self, params: NetworkParams) -> None:
        self.params = params
        self._stream = training_stream(params)
        self._first = 0
        self._held: Snapshots | None = None

    @property
    def positions_cm(self) -> Array:
        """Return x of every held position."""
        return self._stream.positions_cm

    def read(self, begin: int, end: int) -> tuple[list[Array], Array]:
        """Return the drives (Hz, shape (n_steps, n_ll)) of trials, and x (cm) in each step."""
        p = self.params
        steps = np.arange(begin * p.trial_steps, end * p.trial_steps)
        at = steps // p.hold_steps
        shown = self._snapshots(int(at[0]), int(at[-1]) + 1)
        drive_hz = drive(shown.rate_hz, p)
        at = at - at[0]
        cut = at.reshape(end - begin, p.trial_steps)
        return [drive_hz[one] for one in cut], shown.x_cm[at]

    def _snapshots(self, first: int, last: int) -> Snapshots:
        # A held position may go on over the end of a trial: the last one read is kept.
        held = self._held
        if held is not None and self._first <= first < self._first + len(held.x_cm):
            more = self._stream.read(self._first + len(held.x_cm), last)
            skip = first - self._first
            found = Snapshots(**{
                name: np.concatenate([getattr(held, name)[skip:], getattr(more, name)])
                for name in ("x_cm", "distance_cm", "direction", "rate_hz")
            })  # fmt: skip
        else:
            found = self._stream.read(first, last)
        self._first, self._held = first, found
        return found


def largest_drive(params: NetworkParams, n_trials: int) -> float:
    """Return the largest number of afferent spikes that any `n_trials` trials are expected to hold.

    Counted over the stretches of training that one run covers, from trial 0 on.
    """
    p = params
    stream = training_stream(p)
    steps_per_run = n_trials * p.trial_steps
    expected = np.zeros(-(-max(1, stream.n_steps) // steps_per_run))
    for first in range(0, stream.n_snapshots, 4096):
        last = min(first + 4096, stream.n_snapshots)
        shown = stream.read(first, last)
        # At most a spike per step, whatever the drive.
        per_step = np.minimum(drive(shown.rate_hz, p), 1.0 / p.dt_s).sum(axis=1) * p.dt_s
        begin = np.arange(first, last) * p.hold_steps
        run = begin // steps_per_run
        np.add.at(expected, run, per_step * p.hold_steps)
        # Where a position is held over the end of a run, the next run gets it too.
        over = (begin + p.hold_steps - 1) // steps_per_run
        more = (over > run) & (over < len(expected))
        np.add.at(expected, over[more], per_step[more] * p.hold_steps)
    return float(expected.max())


@dataclass(frozen=True, kw_only=True, eq=False)
class TestStimulus:
    """The test: trace of the sphere and drive of the afferents, step by step.

    Attributes
    ----------
    t_s, x_cm, y_cm : float64, shape (n_steps,)
    rate_hz : float64, shape (n_steps, n_ll)
        Noise included, before conversion.
    drive_hz : float64, shape (n_steps, n_ll)
        What the Poisson afferents get.
    v_cm_s, noise_hz : float64, shape (n_steps, n_ll), or None for held positions
    direction : float
    """

    __test__ = False  # pytest looks for classes whose name begins with Test

    t_s: Array
    x_cm: Array
    y_cm: Array
    rate_hz: Array
    drive_hz: Array
    direction: float
    v_cm_s: Array | None = None
    noise_hz: Array | None = None

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return len(self.t_s)


def stimulus_of_test(
    params: NetworkParams, *, factor: Array | None = None, repeat: int = 0
) -> TestStimulus:
    """Return the stimulus of the test: a sweep past the body, or held positions.

    `factor` replaces the Cholesky factor of the noise correlation, whose last columns depend on
    the linear algebra library (the matrix is nearly singular). `repeat` 0 is the test of the seed,
    1, 2, ... have other noise.
    """
    p = params
    t_s: Array = np.arange(0.0, p.test_s, p.dt_s, dtype=np.float64)
    noise: int | np.random.Generator = p.seed + chance.TEST_STREAM
    white = chance.published_rng(p.seed, chance.TEST_WHITE_NOISE)
    if repeat:
        noise = chance.repeat_rng(p.seed, repeat, chance.NOISE)
        white = chance.repeat_rng(p.seed, repeat, chance.WHITE_NOISE)
    direction = 1.0 if p.direction >= 0 else -1.0
    if p.test_using_held_snapshots:
        n_positions = -(-len(t_s) // p.hold_steps)
        stride = -(-p.n_ll // n_positions) if p.held_test_spread else 1
        stream = SnapshotStream(
            p, n_steps=len(t_s), seed=noise, stride=stride, factor=factor
        )  # fmt: skip
        shown = stream.read(0, stream.n_snapshots)
        at = np.arange(len(t_s)) // p.hold_steps
        x_cm, y_cm, rate_hz = shown.x_cm[at], shown.distance_cm[at], shown.rate_hz[at]
        v_cm_s = noise_hz = None
    else:
        swept = simulate(
            len(t_s), p.dt_s, neuromasts(p.n_ll, p.ll_body_length_cm),
            rng=np.random.default_rng(noise), distance_cm=p.distance_cm,
            direction=direction, speed_cm_s=p.test_speed_cm_s,
            x0_cm=-MARGIN_CM if direction > 0 else p.ll_body_length_cm + MARGIN_CM,
            radius_cm=p.sphere_radius_cm, flow_sign=p.flow_sign, factor=factor,
        )  # fmt: skip
        x_cm, y_cm, rate_hz = swept.x_cm, swept.y_cm, swept.rate_hz
        v_cm_s, noise_hz = swept.v_cm_s, swept.noise_hz
    if p.test_ll_noise_hz > 0:
        rate_hz = add_white_noise(rate_hz, p.test_ll_noise_hz, white)
    return TestStimulus(
        t_s=t_s, x_cm=x_cm, y_cm=y_cm, rate_hz=rate_hz, drive_hz=drive(rate_hz, p),
        direction=direction, v_cm_s=v_cm_s, noise_hz=noise_hz,
    )  # fmt: skip


def add_white_noise(rate_hz: Array, sd_hz: float, rng: np.random.Generator) -> Array:
    """Return rates (Hz) with independent noise on every cell and step, clipped below at 0."""
    return np.maximum(0.0, rate_hz + rng.normal(0.0, sd_hz, size=rate_hz.shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """A sphere that moves past the body: trace, flow, noise, rates; shapes as in TestStimulus."""

    t_s: Array
    xi_cm: Array
    x_cm: Array
    y_cm: Array
    speed_cm_s: float
    distance_cm: float
    direction: float
    v_cm_s: Array
    noise_hz: Array
    rate_hz: Array


def simulate(
    n_steps: int,
    dt_s: float,
    xi_cm: Array,
    *,
    rng: np.random.Generator,
    distance_cm: float | None = None,
    direction: float | None = None,
    speed_cm_s: float | None = None,
    x0_cm: float | None = None,
    radius_cm: float = 0.5,
    flow_sign: int = 1,
    factor: Array | None = None,
) -> Sweep:
    """Return a sweep; speed, distance and direction are drawn in this order where not given.

    Parameters
    ----------
    n_steps : int
    dt_s : float, s
    xi_cm : float64, shape (n_ll,), cm
        Neuromasts.
    rng : numpy.random.Generator
        Then also draws the noise, `n_ll` normals for each step.
    distance_cm, direction, speed_cm_s : float, optional
    x0_cm : float, optional
        Start; default 1 cm before the end of the body that the sphere comes from.
    radius_cm : float, cm
    flow_sign : {1, -1}
    factor : float64, shape (n_ll, n_ll), optional
        Cholesky factor of the noise correlation.
    """
    a = AFFERENTS
    if speed_cm_s is None:
        speed_cm_s = max(a.min_speed_cm_s, rng.normal(a.mu_speed_cm_s, a.sigma_speed_cm_s))
    if distance_cm is None:
        distance_cm = rng.normal(a.mu_distance_cm, a.sigma_distance_cm)
    if direction is None:
        direction = 1.0 if rng.random() < 0.5 else -1.0
    if x0_cm is None:
        x0_cm = -1.0 if direction > 0 else xi_cm[-1] + 1.0
    t_s: Array = np.arange(n_steps, dtype=np.float64) * dt_s
    x_cm: Array = np.asarray(x0_cm + direction * speed_cm_s * t_s, dtype=np.float64)
    v_cm_s = flow_velocity(
        xi_cm, 0.0, x_cm[:, np.newaxis], distance_cm, speed_cm_s=speed_cm_s, radius_cm=radius_cm,
        travel=(direction, 0.0), flow_sign=flow_sign,
    )  # fmt: skip
    factor = noise_factor(xi_cm)[0] if factor is None else factor
    noise_hz = ou_noise(rng.standard_normal((n_steps, len(xi_cm))), factor, dt_s)
    return Sweep(
        t_s=t_s, xi_cm=xi_cm, x_cm=x_cm, y_cm=np.full(n_steps, distance_cm),
        speed_cm_s=speed_cm_s, distance_cm=distance_cm, direction=direction, v_cm_s=v_cm_s,
        noise_hz=noise_hz, rate_hz=firing_rate(v_cm_s, noise_hz),
    )  # fmt: skip
