"""Homeostasis inside the running network: incoming weights are scaled between two trials.

A clock that ticks at the start of each trial sums the incoming weights of every cell and, where
homeostasis is due, scales them: no Python runs in between. The numbers are those of
:func:`bridge.lateral_line.homeostasis.scaled`.
"""

from __future__ import annotations

from typing import Any

from bridge.lateral_line.homeostasis import (
    MIN_SUM,
    SCALE_LIMITS,
    rate_and_period,
    target_sum,
)
from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.wiring import Wiring

POST = {"ll_mon": "mon", "mon_ts": "ts"}
"""Group onto which each projection goes."""

_BOOK = """
incoming_{p} : 1
scale_{p} : 1
trial_{p} : integer
mean_{p} : 1
number_{p} : 1
total_{p} : 1
count_{p} : 1
every_{p} : integer (shared, constant)
eta_{p} : 1 (shared, constant)
"""
_BEGIN = "incoming_{p} = 0\n"
_BEGIN_MEAN = "total_{p} = 0\ncount_{p} = 0\nmean_{p} = 0\nnumber_{p} = 0\n"
_SUM = "incoming_{p}_post += w\n"
_SUM_ALL = """
total_{p}_post += incoming_{p}_pre
count_{p}_post += int(incoming_{p}_pre > {min_sum})
"""
# The first cell of the group keeps the book of all: the others read its sum through synapses.
_SHARE = """
mean_{p}_post += total_{p}_pre
number_{p}_post += count_{p}_pre
"""
_SCALE = """
_has = int(incoming_{p} > {min_sum})
_sum = incoming_{p} + 1 - _has
_aim = mean_{p} / (number_{p} + int(number_{p} < 0.5))
_due = int(trial_{p} > 0) * int(trial_{p} % every_{p} == 0) * _has
scale_{p} = 1 + _due * (clip(1 + eta_{p} * (_aim / _sum - 1), {low}, {high}) - 1)
trial_{p} = trial_{p} + 1
"""
_APPLY = "w = plastic * clip(w * scale_{p}_post, 0, wmax) + (1 - plastic) * w"


_CONSTANTS = {"min_sum": MIN_SUM, "low": SCALE_LIMITS[0], "high": SCALE_LIMITS[1]}


def _of(equations: str, projection: str) -> str:
    """Return equations for a projection, the constants of the formula filled in."""
    return equations.format(p=projection, **_CONSTANTS)


def book(projections: tuple[str, ...], group: str) -> str:
    """Return the equations that homeostasis adds to a group."""
    return "".join(_of(_BOOK, p) for p in projections if POST[p] == group)


def add_homeostasis(
    projections: tuple[str, ...], objects: dict[str, Any], params: NetworkParams
) -> list[Any]:
    """Return the further objects that homeostasis needs.

    Parameters
    ----------
    projections : tuple of {"ll_mon", "mon_ts"}
    objects : dict
        The network's objects by name.
    params : NetworkParams
    """
    import brian2

    made: list[Any] = []
    if not projections:
        return made
    clock = brian2.Clock(dt=params.trial_steps * brian2.second, name="trials")
    for p in projections:
        post, synapses = objects[POST[p]], objects[p]
        current = p == "mon_ts" and params.mon_ts_homeo_target == "current"
        begin = _BEGIN + (_BEGIN_MEAN if current else "")
        post.run_regularly(_of(begin, p), clock=clock, when="start", order=-9,
                           name=f"{p}_begin")  # fmt: skip
        synapses.run_regularly(_of(_SUM, p), clock=clock, when="start", order=-8,
                               name=f"{p}_sum")  # fmt: skip
        if current:
            made += _mean_over_cells(p, post, clock)
        post.run_regularly(_of(_SCALE, p), clock=clock, when="start", order=-5,
                           name=f"{p}_scale")  # fmt: skip
        synapses.run_regularly(_of(_APPLY, p), clock=clock, when="start", order=-4,
                               name=f"{p}_apply")  # fmt: skip
    return made


def _mean_over_cells(p: str, post: Any, clock: Any) -> list[Any]:
    import brian2
    import numpy as np

    n = len(post)
    first = np.zeros(n, dtype=np.int32)
    gather = brian2.Synapses(post, post, "", clock=clock, name=f"{p}_gather")
    gather.connect(i=np.arange(n), j=first)
    gather.run_regularly(_of(_SUM_ALL, p), clock=clock, when="start", order=-7,
                         name=f"{p}_sum_all")  # fmt: skip
    spread = brian2.Synapses(post, post, "", clock=clock, name=f"{p}_spread")
    spread.connect(i=first, j=np.arange(n))
    spread.run_regularly(_of(_SHARE, p), clock=clock, when="start", order=-6,
                         name=f"{p}_share")  # fmt: skip
    return [gather, spread]


def homeostasis_values(
    projections: tuple[str, ...], params: NetworkParams, wiring: Wiring, *, first_trial: int
) -> dict[str, Any]:
    """Return the run-time values of homeostasis.

    `first_trial` is the number of trials that are over when the run starts.
    """
    given: dict[str, Any] = {}
    for p in projections:
        eta, every = rate_and_period(params, p)
        group, target = POST[p], target_sum(params, wiring, p)
        given |= {
            f"{group}.every_{p}": every,
            f"{group}.eta_{p}": eta,
            f"{group}.trial_{p}": first_trial,
        }
        if target is not None:
            given |= {f"{group}.mean_{p}": target, f"{group}.number_{p}": 1.0}
    return given
