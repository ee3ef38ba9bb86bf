"""What a reader should know of a run before its numbers: said on the console as it begins."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.lateral_line.field import AFFERENTS
from bridge.lateral_line.params import NetworkParams


def notes(params: NetworkParams, distances_cm: Sequence[float] = ()) -> list[str]:
    """Return what limits the meaning of the numbers of a run, in words; nothing as a rule.

    Parameters
    ----------
    params : NetworkParams
    distances_cm : sequence of float
        Further test distances.
    """
    return [*_inside(params, distances_cm), *_held(params), *_slow(params)]


def _inside(params: NetworkParams, distances_cm: Sequence[float]) -> list[str]:
    p = params
    nearest = p.training_distance_min_cm
    if p.training_fixed_distance:
        nearest = AFFERENTS.mu_distance_cm
    at = {"the test": p.distance_cm}
    at |= {"--test-distances": min(distances_cm)} if distances_cm else {}
    at |= {"training": nearest} if p.n_training_trials else {}
    found = [f"{where} ({cm:g} cm)" for where, cm in at.items() if cm < p.sphere_radius_cm]
    if not found:
        return []
    return [
        f"neuromasts lie inside the sphere (radius {p.sphere_radius_cm:g} cm) in "
        f"{', '.join(found)}: the law of the flow holds outside it only"
    ]


def _held(params: NetworkParams) -> list[str]:
    p = params
    low, high = p.test_range_cm
    if not p.test_using_held_snapshots or high >= p.ll_body_length_cm:
        return []
    return [
        f"the held test shows {low:g} to {high:.2f} cm of the body ({p.ll_body_length_cm:g} cm): "
        "its score is no map of the body; --held-test-spread spreads the positions over it"
    ]


def _slow(params: NetworkParams) -> list[str]:
    p = params
    if p.test_using_held_snapshots or p.speed_cm_s >= p.test_speed_cm_s:
        return []
    return [
        f"--speed-cm-s {p.speed_cm_s:g}: the sphere of the test moves at {p.test_speed_cm_s:g} "
        f"cm/s, the least that the model knows (a test of {p.test_s:g} s)"
    ]
