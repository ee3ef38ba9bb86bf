"""The weight file of a network and the description beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.files.npz import read_npz
from bridge.files.reading import FileContentError
from bridge.lateral_line.record import SeedResult
from bridge.lateral_line.wiring import Index, Wiring

SCHEMA_VERSION = 1


def weight_arrays(result: SeedResult) -> dict[str, NDArray[Any]]:
    """Return the arrays of a weight file: final weights under the published names, and more."""
    w = result.wiring
    return {
        "mon_ts_w": result.mon_ts_w,
        "mon_ts_i": w.mon_ts_i,
        "mon_ts_j": w.mon_ts_j,
        "ll_mon_i": w.ll_mon_i,
        "ll_mon_j": w.ll_mon_j,
        # The weights after training; the published program stored those of the start here.
        "ll_mon_w_mV": result.ll_mon_w_mv,
        "ll_mon_w_init_mV": result.ll_mon_w_before_mv,
        "mon_ts_w_init": result.mon_ts_w_before,
    }


def sidecar(result: SeedResult, *, preset: str, save_tag: str) -> dict[str, Any]:
    """Return the description that lies beside a weight file: enough to test it anywhere."""
    p = result.params
    names = (
        "n_ll", "n_mon", "n_ts", "speed_cm_s", "distance_cm", "direction",
        "training_noise_scale_early", "training_noise_scale_late", "mon_ts_apre", "mon_ts_apost",
        "mon_ts_wmax",
    )  # fmt: skip
    return {
        "mode": preset,
        **{name: getattr(p, name) for name in names},  # those that the published program writes
        "seed": p.seed,
        "save_tag": save_tag,
        "plastic": p.plastic,
        "schema_version": SCHEMA_VERSION,
        "network_params": p.to_json(),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedWeights:
    """Weights of a file, in the order of the synapses of a network.

    Attributes
    ----------
    ll_mon_w_mv, mon_ts_w : float64
    ll_mon_w_init_mv : float64 or None
        Before training; the published program does not write them.
    """

    ll_mon_w_mv: NDArray[np.float64]
    mon_ts_w: NDArray[np.float64]
    ll_mon_w_init_mv: NDArray[np.float64] | None


def read_weights(path: Path, wiring: Wiring) -> SavedWeights:
    """Return the weights of a file for a network; its synapses may stand in any order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or holds the weights of another network.
    """
    most = max(len(wiring.ll_mon_i), len(wiring.mon_ts_i))

    def check(name: str, shape: tuple[int, ...]) -> None:
        if math.prod(shape) > most:
            raise FileContentError(f"{path} holds another network: {name} has shape {shape}")

    known = {f"{projection}_{part}" for projection in ("ll_mon", "mon_ts") for part in "ij"}
    known |= {"ll_mon_w_mV", "ll_mon_w_init_mV", "mon_ts_w"}
    found = read_npz(path, lambda name: name in known, check)
    to_mon = _places(path, found, "ll_mon", wiring.ll_mon_i, wiring.ll_mon_j)
    to_ts = _places(path, found, "mon_ts", wiring.mon_ts_i, wiring.mon_ts_j)
    initial = "ll_mon_w_init_mV" in found
    return SavedWeights(
        ll_mon_w_mv=_weights(path, found, "ll_mon_w_mV", to_mon),
        mon_ts_w=_weights(path, found, "mon_ts_w", to_ts),
        ll_mon_w_init_mv=_weights(path, found, "ll_mon_w_init_mV", to_mon) if initial else None,
    )


def _places(
    path: Path, found: dict[str, NDArray], projection: str, i: Index, j: Index
) -> NDArray[np.int64]:
    """Return where in a file the weight of each synapse of the network stands.

    Both are sorted by source and target. Parallel synapses keep their order: of several between
    the same two cells it makes no difference which is which.
    """
    theirs = []
    for name in (f"{projection}_i", f"{projection}_j"):
        if name not in found:
            raise FileContentError(f"{path}: {name} is missing; not a lateral-line weight file")
        theirs.append(found[name])
    ours = np.lexsort((j, i))  # stable
    same = all(one.shape == i.shape and one.dtype.kind in "iu" for one in theirs)
    order = np.lexsort((theirs[1], theirs[0])) if same else ours
    for cells, mine in zip(theirs, (i, j), strict=True):
        same = same and np.array_equal(cells[order], mine[ours])
    if not same:
        raise FileContentError(
            f"{path} holds another network: its contacts ({projection}_i, {projection}_j) differ "
            "from those of these parameters and this seed"
        )
    places = np.empty(len(i), dtype=np.int64)
    places[ours] = order
    return places


def _weights(
    path: Path, found: dict[str, NDArray], name: str, places: NDArray[np.int64]
) -> NDArray[np.float64]:
    array = found.get(name)
    usable = array is not None and array.shape == places.shape and array.dtype.kind in "fiu"
    if array is None or not usable or not np.all(np.isfinite(array)):
        raise FileContentError(f"{path}: {name} must hold {len(places)} finite weights")
    weights: NDArray[np.float64] = array[places].astype(np.float64)
    return weights
