"""Model files (.mat): a rate network as the package spikeRNN stores it, both ways.

Files of MATLAB 4 to 7.3 load; ours are of version 7. Nothing in a file is executed: a task that a
file names must be known here. Writing is atomic: a killed search leaves the file as it was.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.files.mat import MatField, list_mat, read_mat, update_mat, write_mat
from bridge.files.reading import FileContentError

REQUIRED = ("w", "w_in", "w_out", "N", "inh", "exc", "taus")
"""Fields without which a network can't be converted."""
RATE_STEP_MS = 5.0
"""One step of the rate network (Source: Kim et al. 2019)."""
FORMAT_VERSION = 1
LEAST_TAU_STEPS = 0.5
"""Shortest time constant, rate steps: the Euler steps of the rate network diverge below it."""
LARGEST_WEIGHT = 1e12
"""Trained weights are below 100; products of much larger ones are not finite."""

SEARCHED = frozenset({
    "opt_scaling_factor", "all_perfs", "all_perfs_strict", "scaling_factors",
    "n_trials_per_factor", "search_seed",
})  # fmt: skip
"""Fields that a search of the scaling factor adds."""

_SQUARE = ("w", "m", "som_m", "w0")
_PER_UNIT = ("w_out", "inh", "exc", "taus_gaus", "taus_gaus0")
_SMALL_BYTES = 2**20  # of any field: texts, timings, curves


def load_rate_model(path: str | Path) -> dict[str, Any]:
    """Return the fields of a model file as loadmat gives them (scalars (1, 1), vectors (1, n)).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no .mat file, or can't be read.

    Warns
    -----
    UserWarning
        If fields that a conversion needs are missing.
    """
    path = _mat_path(path)
    fields = read_mat(path)
    missing = [name for name in REQUIRED if name not in fields]
    if missing:
        warnings.warn(
            f"{path}: {', '.join(missing)} missing; it can't be converted", UserWarning,
            stacklevel=2,
        )  # fmt: skip
    return fields


def save_rate_model(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write a model file, whole or not at all; what is None is left out."""
    path = Path(path)
    if path.suffix != ".mat":
        raise ValueError(f"{path}: a model file ends in .mat")
    write_mat(path, fields)


def update_rate_model(path: str | Path, extra: Mapping[str, Any]) -> None:
    """Add fields to a model file; all others stay as they are."""
    update_mat(_mat_path(path), extra)


def _mat_path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".mat":
        hint = "; a .pth file can't be converted, use the .mat beside it"
        raise ValueError(f"{path}: a model is a .mat file{hint if path.suffix == '.pth' else ''}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file")
    return path


@dataclass(frozen=True, kw_only=True, eq=False)
class RateModel:
    """A rate network, checked.

    Attributes
    ----------
    w : float64, shape (n, n)
        Recurrent weights as stored (columns: presynaptic), unsigned under Dale's law.
    w_in : float64, shape (n, n_in)
    w_out : float64, shape (1, n)
    m, som_m : float64, shape (n, n)
        Diagonal matrix of signs; mask of SOM units.
    inh : bool, shape (n,)
    taus : float64, shape (1,) or (2,), rate steps
    taus_gaus, taus_gaus0 : float64, shape (n,), or None
        Where in the range of `taus` each unit lies, trained and at first.
    w0 : float64, shape (n, n), or None
        Weights before training.
    b_out : float
    som_n : int
    dales_law : bool
    fields : dict
        Everything that the file holds.
    source : str
        Where it comes from, for messages.
    """

    w: NDArray[np.float64]
    w_in: NDArray[np.float64]
    w_out: NDArray[np.float64]
    m: NDArray[np.float64]
    som_m: NDArray[np.float64]
    inh: NDArray[np.bool_]
    taus: NDArray[np.float64]
    taus_gaus: NDArray[np.float64] | None
    taus_gaus0: NDArray[np.float64] | None
    w0: NDArray[np.float64] | None
    b_out: float
    som_n: int
    dales_law: bool
    fields: Mapping[str, Any]
    source: str = "model"

    @classmethod
    def load(cls, path: str | Path) -> RateModel:
        """Return the network of a file.

        Raises
        ------
        FileNotFoundError, ValueError
            If it is not there, no .mat file, or lacks something; see :meth:`from_fields`.
        """
        path = _mat_path(path)
        _check_sizes(path)
        known = {*REQUIRED, *_SQUARE, *_PER_UNIT}
        fields = read_mat(path, lambda field: field.name in known or _is_small(field))
        return cls.from_fields(fields, source=str(path))

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], *, source: str = "model") -> RateModel:
        """Return the network of loaded fields, which are not changed.

        Raises
        ------
        ValueError
            If a field is missing, not numeric, not finite or of the wrong shape.
        """
        missing = [name for name in REQUIRED if name not in fields]
        if missing:
            raise ValueError(
                f"{source}: {', '.join(missing)} missing; a model needs {', '.join(REQUIRED)}"
            )
        read = _Reader(fields, source)
        n = read.count("N")
        if n < 1:
            raise ValueError(f"{source}: N = {n} must be at least 1")
        square = (n, n)
        inh, exc = read.mask("inh", n), read.mask("exc", n)
        if np.any(inh == exc):
            unit = int(np.flatnonzero(inh == exc)[0])
            what = "both" if inh[unit] else "neither"
            raise ValueError(f"{source}: inh and exc disagree: unit {unit} is {what}")
        taus = read.array("taus").ravel()
        if taus.size not in (1, 2) or taus.min() <= 0 or (taus.size == 2 and taus[0] >= taus[1]):
            raise ValueError(f"{source}: taus = {taus.tolist()} must be one value > 0, or a range")
        step = read.scalar("DeltaT", 1.0)
        if not (step > 0 and taus.min() >= LEAST_TAU_STEPS * step):
            raise ValueError(
                f"{source}: taus = {taus.tolist()} must be at least {LEAST_TAU_STEPS} DeltaT "
                f"(DeltaT = {step:g}), or the rate network diverges"
            )
        taus_gaus = read.vector("taus_gaus", n) if "taus_gaus" in fields else None
        if taus.size == 2 and taus_gaus is None:
            raise ValueError(f"{source}: taus_gaus missing; taus is a range, so it is needed")
        w_in = read.weights("w_in")
        w_in = w_in.reshape(n, -1) if w_in.size == n else w_in
        if w_in.ndim != 2 or w_in.shape[0] != n:
            raise ValueError(f"{source}: w_in has shape {w_in.shape}; needed is ({n}, n_in)")
        dale = read.scalar("apply_dale", float(inh.any())) != 0
        signs = np.where(inh, -1.0, 1.0)
        if "m" in fields:
            signs = read.signs("m", n, inh if dale else None)
        som_m: NDArray[np.float64] = np.ones(square)
        if "som_m" in fields:
            som_m = read.matrix("som_m", square)
            if not np.isin(som_m, (0.0, 1.0)).all():
                raise ValueError(f"{source}: som_m must hold 0 and 1 only")
        if dale and inh.all():
            warnings.warn(f"{source}: inh: all {n} units are inhibitory", UserWarning, stacklevel=2)
        return cls(
            w=read.weights("w", square),
            w_in=w_in,
            w_out=read.weights("w_out").reshape(1, n),
            m=np.diag(signs),
            som_m=som_m,
            inh=inh,
            taus=taus,
            taus_gaus=taus_gaus,
            taus_gaus0=read.vector("taus_gaus0", n) if "taus_gaus0" in fields else None,
            w0=read.weights("w0", square) if "w0" in fields else None,
            b_out=read.scalar("b_out", 0.0),
            som_n=read.count("som_N", 0),
            dales_law=bool(dale),
            fields=dict(fields),
            source=source,
        )

    @property
    def n(self) -> int:
        """Return the number of units."""
        return len(self.inh)

    @property
    def n_in(self) -> int:
        """Return the number of input channels."""
        return self.w_in.shape[1]

    def tau_steps(self, *, initial: bool = False) -> NDArray[np.float64]:
        """Return the time constant of each unit, shape (n,), in rate steps."""
        if self.taus.size == 1:
            return np.full(self.n, self.taus[0])
        gaus = self.taus_gaus0 if initial else self.taus_gaus
        if gaus is None:
            raise ValueError(f"{self.source}: taus_gaus0 missing")
        low, high = self.taus
        return np.asarray((1.0 / (1.0 + np.exp(-gaus))) * (high - low) + low)

    def signed_w(
        self, *, rectify: bool | str = "auto", initial: bool = False
    ) -> NDArray[np.float64]:
        """Return the signed weights, shape (post, pre), before scaling.

        Parameters
        ----------
        rectify : "auto" or bool
            Take negative entries of `w` as absent; auto: if the network obeys Dale's law. Trained
            files of the published package hold leftovers of the wrong sign.
        initial : bool
            Those before training.

        Raises
        ------
        ValueError
            If they are asked for and not in the file.
        """
        if rectify not in ("auto", True, False):
            raise ValueError(f"rectify = {rectify!r} must be 'auto', True or False")
        w = self.w0 if initial else self.w
        if w is None:
            raise ValueError(f"{self.source}: w0 missing; the initial weights were not kept")
        if self.dales_law if rectify == "auto" else rectify:
            w = np.maximum(w, 0.0)
        return np.asarray((w @ self.m) * self.som_m)

    def text(self, name: str) -> str | None:
        """Return a field that holds text, or None."""
        value = np.asarray(self.fields.get(name, ""))
        return str(value.ravel()[0]).strip() if value.size and str(value.ravel()[0]) else None

    def number(self, name: str) -> float | None:
        """Return a field that holds a number, or None if it is missing, empty or NaN.

        Raises
        ------
        ValueError
            If it is no number, or several.
        """
        if name not in self.fields:
            return None
        try:
            value = np.asarray(_dense(self.fields[name]), dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise ValueError(f"{self.source}: {name} is not numeric") from None
        if value.size > 1:
            raise ValueError(f"{self.source}: {name} holds {value.size} values; needed is one")
        return float(value[0]) if value.size and np.isfinite(value[0]) else None

    def whole(self, name: str) -> int | None:
        """Return a field that holds a whole number, or None if it is missing or empty.

        Raises
        ------
        ValueError
            If it is no whole number; NaN is none.
        """
        if name not in self.fields or not np.size(self.fields[name]):
            return None
        value = self.number(name)
        if value is None or value != int(value):
            given = np.ravel(_dense(self.fields[name]))[0]
            raise ValueError(f"{self.source}: {name} = {given:g} must be a whole number")
        return int(value)


def _is_small(field: MatField) -> bool:
    return field.n_bytes <= _SMALL_BYTES


def _dense(value: Any) -> Any:
    """Return a matrix that MATLAB keeps as a sparse one as it is in full."""
    return value.toarray() if hasattr(value, "toarray") else value


def _check_sizes(path: Path) -> None:
    """Refuse matrices of other sizes than N says, before they are read."""
    there = {field.name: field for field in list_mat(path)}
    if "N" not in there:
        return
    if math.prod(there["N"].shape) != 1:
        raise FileContentError(f"{path}: N has shape {there['N'].shape}; needed is a number")
    n = _Reader(read_mat(path, lambda field: field.name == "N"), str(path)).count("N")
    if n < 1:
        raise FileContentError(f"{path}: N = {n} must be at least 1")
    for name, field in there.items():
        square, per_unit = name in _SQUARE, name in _PER_UNIT
        if (square and field.shape != (n, n)) or (per_unit and math.prod(field.shape) != n):
            needed = (n, n) if square else f"({n},)"
            raise FileContentError(f"{path}: {name} has shape {field.shape}; needed is {needed}")


class _Reader:
    def __init__(self, fields: Mapping[str, Any], source: str) -> None:
        self._fields, self._source = fields, source

    def array(self, name: str) -> NDArray[np.float64]:
        given = _dense(self._fields[name])
        if np.iscomplexobj(given):
            raise ValueError(f"{self._source}: {name} is complex; needed are real numbers")
        try:
            found = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{self._source}: {name} is not numeric") from None
        if not np.isfinite(found).all():
            raise ValueError(f"{self._source}: {name} has entries that are not finite")
        return found

    def weights(self, name: str, shape: tuple[int, int] | None = None) -> NDArray[np.float64]:
        found = self.array(name) if shape is None else self.matrix(name, shape)
        largest = np.abs(found).max(initial=0.0)
        if largest > LARGEST_WEIGHT:
            raise ValueError(
                f"{self._source}: {name} has entries up to {largest:.3g}; sums of them are not "
                "finite"
            )
        return found

    def mask(self, name: str, n: int) -> NDArray[np.bool_]:
        found = self.vector(name, n)
        if not np.isin(found, (0.0, 1.0)).all():
            raise ValueError(f"{self._source}: {name} must hold 0 and 1 only")
        return found != 0

    def signs(self, name: str, n: int, inh: NDArray[np.bool_] | None) -> NDArray[np.float64]:
        """Return the diagonal of a matrix of signs, which must be that of `inh`."""
        found = self.matrix(name, (n, n))
        signs = np.diagonal(found).copy()
        if np.count_nonzero(found) != n or not np.isin(signs, (-1.0, 1.0)).all():
            raise ValueError(f"{self._source}: {name} must be a diagonal matrix of 1 and -1")
        if inh is not None and np.any((signs < 0) != inh):
            unit = int(np.flatnonzero((signs < 0) != inh)[0])
            raise ValueError(f"{self._source}: {name} and inh disagree about unit {unit}")
        return signs

    def matrix(self, name: str, shape: tuple[int, int]) -> NDArray[np.float64]:
        found = self.array(name)
        if found.shape != shape:
            raise ValueError(f"{self._source}: {name} has shape {found.shape}; needed is {shape}")
        return found

    def vector(self, name: str, n: int) -> NDArray[np.float64]:
        found = self.array(name)
        if found.size != n:
            raise ValueError(f"{self._source}: {name} has shape {found.shape}; needed is ({n},)")
        return found.reshape(n)

    def scalar(self, name: str, default: float) -> float:
        if name not in self._fields:
            return default
        found = self.array(name)
        if found.size != 1:
            raise ValueError(f"{self._source}: {name} has shape {found.shape}; needed is a number")
        return float(found.ravel()[0])

    def count(self, name: str, default: int | None = None) -> int:
        found = self.scalar(name, math.nan if default is None else default)
        if found != int(found):
            raise ValueError(f"{self._source}: {name} = {found:g} must be a whole number")
        return int(found)
