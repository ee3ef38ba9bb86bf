"""Training and test of one network: compiled runs from one saved state to the next.

A run of the engine covers all trials up to the next state on disk; no Python runs between them.
Weights at the checkpoints come from a monitor of their own clock, homeostasis happens inside, and
the spikes of chance depend on seed and trial alone: cut differently, or killed and resumed, the
same training gives the same bits.
"""

from __future__ import annotations

import dataclasses
import itertools
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line import homeostasis, poisson
from bridge.lateral_line.comparison import MATCH_TRIES, Match, match_rate
from bridge.lateral_line.evaluation import evaluate
from bridge.lateral_line.field import neuromasts, noise_factor
from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.record import (
    RepeatedTest,
    SeedResult,
    Spikes,
    TestOutcome,
    TrainingRecord,
    no_tail,
    tracked_synapses,
)
from bridge.lateral_line.streams import (
    TestStimulus,
    TrainingDrive,
    largest_drive,
    stimulus_of_test,
)
from bridge.lateral_line.training_state import TrainingState
from bridge.lateral_line.wiring import Wiring, draw_wiring
from sim_brian.engine.circuit import RawRun
from sim_brian.engine.program import EngineOptions, Program, choose_target
from sim_brian.lateral_line.checkpoints import after_run
from sim_brian.lateral_line.model import LateralLineModel, Tables, initial_state
from sim_brian.lateral_line.progress import Progress

Weights = tuple[NDArray[np.float64], NDArray[np.float64]]
"""LL to MON (mV) and MON to TS."""

Report = Callable[[Progress], None]
Save = Callable[[TrainingState], None]


def run_network(
    params: NetworkParams,
    *,
    engine: EngineOptions | None = None,
    plastic: bool = True,
    start: TrainingState | None = None,
    weights: Weights | None = None,
    distances_cm: tuple[float, ...] = (),
    n_repeats: int = 1,
    report: Report | None = None,
    save: Save | None = None,
) -> tuple[SeedResult, dict[float, TestOutcome]]:
    """Train a network and test it.

    Parameters
    ----------
    params : NetworkParams
    engine : EngineOptions, optional
    plastic : bool
        False: no weight moves, in training or test (the control).
    start : TrainingState, optional
        Go on from here.
    weights : (LL to MON in mV, MON to TS), optional
        Test these weights, without any training.
    distances_cm : tuple of float
        Further test distances.
    n_repeats : int
        Tests, each with other noise; the first is that of a run with one.
    report : callable, optional
        Told how far training is.
    save : callable, optional
        Given the state at the end of each compiled run.

    Returns
    -------
    result : SeedResult
    tests : dict of float to TestOutcome
        By further test distance.
    """
    with Session(
        params, engine or EngineOptions(), distances_cm=distances_cm, n_repeats=n_repeats,
        train=weights is None, plastic=plastic,
    ) as session:  # fmt: skip
        now = start or session.begin(weights)
        if weights is None:
            now = session.train(now, report=report, save=save)
        return session.finish(now)


def run_control(
    params: NetworkParams, *, n_trials: int, n_repeats: int = 1,
    engine: EngineOptions | None = None,
) -> SeedResult:  # fmt: skip
    """Return what becomes of a network that does not learn.

    Its weights stand still and its cells forget within a trial, so that the last `n_trials` of a
    training lead to the same test as all of them. It runs the program of the training itself.
    """
    with Session(
        params, engine or EngineOptions(), plastic=False, n_repeats=n_repeats
    ) as session:  # fmt: skip
        begin = session.begin(n_before=max(0, params.n_training_trials - n_trials))
        return session.finish(session.train(begin))[0]


def run_matched_control(
    params: NetworkParams, *, target_hz: float, n_trials: int, n_repeats: int = 1,
    engine: EngineOptions | None = None,
) -> tuple[SeedResult, Match]:  # fmt: skip
    """Return a network that does not learn and whose TS fires like that of one that did.

    All its MON to TS weights are those of the start times one factor, which a few runs of the last
    `n_trials` and the tests find: a difference to the trained network is then none of the rate.

    Parameters
    ----------
    params : NetworkParams
    target_hz : float
        Rate of TS in the tests of the trained network, mean over them, Hz per cell.
    n_trials, n_repeats : int
    engine : EngineOptions, optional

    Raises
    ------
    ValueError
        If `target_hz` is 0.
    """
    found: dict[float, SeedResult] = {}
    with Session(
        params, engine or EngineOptions(), plastic=False, n_repeats=n_repeats, n_times=MATCH_TRIES
    ) as session:  # fmt: skip
        wiring, n_before = session.wiring, max(0, params.n_training_trials - n_trials)

        def rate_at(scale: float) -> float:
            weights = (wiring.ll_mon_w_mv, scale * wiring.mon_ts_w)
            now = session.train(session.begin(weights, n_before=n_before))
            result = session.finish(now)[0]
            found[scale] = dataclasses.replace(result, mon_ts_w_before=weights[1])
            return result.mean_test_rate_hz("ts")

        match = match_rate(rate_at, target_hz)
    return found[match.scale], match


class Session:
    """The program of one network, open for training and tests; a context manager."""

    def __init__(
        self,
        params: NetworkParams,
        engine: EngineOptions,
        *,
        distances_cm: tuple[float, ...] = (),
        n_repeats: int = 1,
        n_times: int = 1,
        train: bool = True,
        plastic: bool = True,
        homeostasis_inside: bool | None = None,
    ) -> None:
        # On a GPU the sums of incoming weights would race: there runs are cut where it is due.
        self._inside = engine.target != "cuda" if homeostasis_inside is None else homeostasis_inside
        self.params = params
        self.plastic = plastic and params.plastic
        self.wiring: Wiring = draw_wiring(params)
        self._engine = engine
        self._begin = (time.perf_counter(), _cpu_s())
        self._prepared_s = 0.0
        self._n_repeats = n_repeats
        self._factor = noise_factor(neuromasts(params.n_ll, params.ll_body_length_cm))[0]
        self.tests: dict[float | None, TestStimulus] = {None: self._stimulus(0)}
        for distance in distances_cm:
            self.tests[distance] = stimulus_of_test(
                dataclasses.replace(params, distance_cm=distance), factor=self._factor
            )
        self._tables = self._table_lengths(train)
        self._n_runs = n_repeats + len(distances_cm)
        if train:
            self._n_runs += -(-params.n_training_trials // params.save_trials)
        self._n_runs *= n_times
        self._program: Program | None = None
        self._tracked = tracked_synapses(params, len(self.wiring.mon_ts_w))
        self._report: Report | None = None
        self._running: tuple[int, int, TrainingRecord, float, int] | None = None

    def __enter__(self) -> Session:
        """Return the session; the program is made with the first run."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Give back what the program holds on disk."""
        if self._program is not None:
            self._program.close()

    @property
    def _recorded(self) -> NetworkParams:
        """Parameters that say what ran: without increments where plasticity is off."""
        return self.params if self.plastic else self.params.without_plasticity()

    # ---- training ----

    def begin(
        self, weights: Weights | None = None, *,
        n_before: int = 0,
    ) -> TrainingState:  # fmt: skip
        """Return the state at the start; `n_before` trials are left out."""
        state = initial_state(self.params, self.wiring)
        if weights is not None:
            state |= {"ll_mon.w": weights[0], "mon_ts.w": weights[1]}
        record = TrainingRecord()
        w = state["mon_ts.w"]
        record.add_weights(n_before * self.params.trial_duration_s, w, w, self._tracked)
        nothing = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        return TrainingState(
            params=self._recorded, n_done=n_before, state=state, record=record, spikes_ts=nothing,
            tail=no_tail(n_before * self.params.trial_steps),
            mon_ts_w_before=self.wiring.mon_ts_w, ll_mon_w_before_mv=self.wiring.ll_mon_w_mv,
        )  # fmt: skip

    def train(
        self, now: TrainingState, *, report: Report | None = None, save: Save | None = None
    ) -> TrainingState:
        """Return the state after the last trial, homeostasis included."""
        p = self.params
        now = dataclasses.replace(now, params=self._recorded)
        source = TrainingDrive(p)
        self._report = report
        begin_s, begin_done = time.perf_counter(), now.n_done
        while now.n_done < p.n_training_trials:
            if not self._inside:
                now = self._settled(now)
            end = self._end_of_run(now.n_done)
            drives, x_cm = source.read(now.n_done, end)
            spikes = poisson.draw_spikes(p, drives, list(range(now.n_done, end)))
            self._running = (now.n_done, end, now.record, begin_s, begin_done)
            raw = self._run(now.state, spikes, (end - now.n_done) * p.trial_steps, now.n_done)
            now = after_run(now, end, raw, spikes, x_cm)
            if save is not None:
                save(now)
            self._tell(end, now.record, begin_s, begin_done, running=False)
        self._running = None
        return self._settled(now)

    def _settled(self, now: TrainingState) -> TrainingState:
        """Return the state after the homeostasis that is due now."""
        state = dict(now.state)
        if self.plastic:
            for name in ("ll_mon", "mon_ts"):
                state[f"{name}.w"] = homeostasis.after_trial(
                    self.params, self.wiring, name, state[f"{name}.w"], now.n_done
                )
        return dataclasses.replace(now, state=state)

    def _end_of_run(self, begin: int) -> int:
        """Return the trial up to which the run that begins now goes."""
        p = self.params
        periods = [p.save_trials]
        if not self._inside or begin % p.checkpoint_trials:
            periods.append(p.checkpoint_trials)  # weights are then read where the run ends
        if not self._inside:
            found = [homeostasis.rate_and_period(p, name) for name in ("ll_mon", "mon_ts")]
            periods += [every for eta, every in found if eta > 0]
        return min(p.n_training_trials, *((begin // n + 1) * n for n in periods))

    # ---- test ----

    def finish(self, now: TrainingState) -> tuple[SeedResult, dict[float, TestOutcome]]:
        """Test the network; return everything."""
        begin_s = time.perf_counter()
        # What the program has cost so far: without any training it is made for the test.
        train_wall_s = begin_s - self._begin[0] - self._prepared_s
        train_cpu_s, prepared_s = _cpu_s() - self._begin[1], self._prepared_s
        first, state = self.test(now.state, None)
        others = {d: self.test(now.state, d)[0] for d in self.tests if d is not None}
        repeats = [first, *(self.test(now.state, None, repeat=k)[0]
                            for k in range(1, self._n_repeats))]  # fmt: skip
        test_wall_s = time.perf_counter() - begin_s - (self._prepared_s - prepared_s)
        assert self._program is not None
        result = SeedResult(
            params=self._recorded,
            wiring=self.wiring,
            record=now.record,
            tail=now.tail,
            mon_ts_w_before=now.mon_ts_w_before,
            ll_mon_w_before_mv=now.ll_mon_w_before_mv,
            mon_ts_w=state["mon_ts.w"],
            ll_mon_w_mv=state["ll_mon.w"],
            test=first,
            seconds={
                "prepare_wall": self._prepared_s,
                "train_wall": train_wall_s,
                "train_cpu": train_cpu_s,
                "test_wall": test_wall_s,
            },
            target=self._program.target,
            # The stimuli are not kept: they are the larger part of a test.
            repeats=tuple(
                RepeatedTest(numbers=one.to_json(), spikes=one.spikes) for one in repeats
            ) if len(repeats) > 1 else (),
        )  # fmt: skip
        return result, others

    def test(
        self, state: dict[str, NDArray[Any]], distance_cm: float | None, *, repeat: int = 0
    ) -> tuple[TestOutcome, dict[str, NDArray[Any]]]:
        """Test the network in a state; return the outcome and the state after it."""
        p = self.params
        stimulus = self._stimulus(repeat) if repeat else self.tests[distance_cm]
        spikes = poisson.draw_spikes(p, [stimulus.drive_hz], [poisson.TEST_TRIAL], repeat=repeat)
        raw = self._run(state, spikes, stimulus.n_steps, 0, testing=True)
        found: dict[str, Spikes] = {
            "ll": (spikes.ll.cell.astype(np.int64), spikes.ll.step.astype(np.int64)),
            "mon": raw.spikes["mon"],
            "ts": raw.spikes["ts"],
        }
        return evaluate(p, stimulus, found), dict(raw.finals)

    def _stimulus(self, repeat: int) -> TestStimulus:
        return stimulus_of_test(self.params, factor=self._factor, repeat=repeat)

    # ---- runs ----

    def _run(
        self, state: dict[str, NDArray[Any]], spikes: poisson.InputSpikes, n_steps: int,
        first_trial: int, *, testing: bool = False,
    ) -> RawRun:  # fmt: skip
        model = LateralLineModel(
            params=self.params, wiring=self.wiring, tables=self._tables, state=state,
            spikes=spikes, n_steps=n_steps, plastic=self.plastic, testing=testing,
            homeostasis_inside=self._inside, first_trial=first_trial,
        )  # fmt: skip
        if self._program is None:
            begin = time.perf_counter(), _cpu_s()
            options = dataclasses.replace(
                self._engine, n_runs=self._n_runs, progress=self._progress
            )
            self._program = Program(model, choose_target(model, options), options)
            self._prepared_s = time.perf_counter() - begin[0]
            # Compiling is accounted for by itself.
            self._begin = (self._begin[0], self._begin[1] + _cpu_s() - begin[1])
        return self._program.run(model.values(), n_steps=n_steps)

    def _progress(self, fraction: float) -> None:
        if self._running is not None:
            begin, end, record, begin_s, begin_done = self._running
            done = begin + int(fraction * (end - begin))
            self._tell(done, record, begin_s, begin_done, running=True)

    def _tell(
        self, n_done: int, record: TrainingRecord, begin_s: float, begin_done: int, *,
        running: bool,
    ) -> None:  # fmt: skip
        if self._report is None:
            return
        seconds = max(time.perf_counter() - begin_s - self._prepared_s, 1e-9)
        self._report(Progress(
            seed=self.params.seed, n_done=n_done, n_trials=self.params.n_training_trials,
            trials_per_s=(n_done - begin_done) / seconds,
            sigma_theta_rad=record.pv_sigma_theta[-1] if record.pv_sigma_theta else None,
            valid_fraction=record.pv_valid[-1] if record.pv_valid else None,
            running=running,
        ))  # fmt: skip

    def _table_lengths(self, train: bool) -> Tables:
        p = self.params
        n_steps = max(one.n_steps for one in self.tests.values())
        repeats = (self._stimulus(k) for k in range(1, self._n_repeats))
        # At most a spike per step, whatever the drive.
        ll = max(
            float(np.minimum(one.drive_hz, 1.0 / p.dt_s).sum()) * p.dt_s
            for one in itertools.chain(self.tests.values(), repeats)
        )
        if train and p.n_training_trials:
            n_trials = min(p.save_trials, p.n_training_trials)
            n_steps = max(n_steps, n_trials * p.trial_steps)
            ll = max(ll, largest_drive(p, p.save_trials))
        return Tables(
            ll=poisson.table_length(ll, p.n_ll),
            mon=poisson.table_length(n_steps * p.dt_s * p.bg_rate_mon_hz * p.n_mon, p.n_mon),
            ts=poisson.table_length(n_steps * p.dt_s * p.bg_rate_ts_hz * p.n_ts, p.n_ts),
        )


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
