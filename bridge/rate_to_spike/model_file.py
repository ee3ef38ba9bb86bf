"""Model files (.mat, MATLAB 5): a rate network as the package spikeRNN stores it, both ways.

Nothing in a file is executed. Writing is atomic: a killed search leaves the file as it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.atomic import write_atomically

REQUIRED = ("w", "w_in", "w_out", "N", "inh", "exc", "taus")
"""Fields without which a network can't be converted."""
RATE_STEP_MS = 5.0
"""One step of the rate network (Source: Kim et al. 2019)."""
FORMAT_VERSION = 1
_HDF5 = b"MATLAB 7.3"


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
    import scipy.io

    path = Path(path)
    if path.suffix != ".mat":
        hint = "; a .pth file can't be converted, use the .mat beside it"
        raise ValueError(f"{path}: a model is a .mat file{hint if path.suffix == '.pth' else ''}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    with path.open("rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            raise ValueError(f"{path} is a v7.3 (HDF5) file; save it with MATLAB's -v7")
    try:
        loaded = scipy.io.loadmat(str(path))
    except Exception as error:  # whatever a damaged file provokes is one line
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is no readable .mat file ({reason})") from None
    fields = {name: value for name, value in loaded.items() if not name.startswith("__")}
    missing = [name for name in REQUIRED if name not in fields]
    if missing:
        warnings.warn(
            f"{path}: {', '.join(missing)} missing; it can't be converted", UserWarning,
            stacklevel=2,
        )  # fmt: skip
    return fields


def save_rate_model(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write a model file, whole or not at all; what is None is left out."""
    import scipy.io

    path = Path(path)
    if path.suffix != ".mat":
        raise ValueError(f"{path}: a model file ends in .mat")
    kept = {name: value for name, value in fields.items() if value is not None}
    write_atomically(path, lambda partial: scipy.io.savemat(str(partial), kept))


def update_rate_model(path: str | Path, extra: Mapping[str, Any]) -> None:
    """Add fields to a model file; all others stay as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fields = load_rate_model(path)
    save_rate_model(path, {**fields, **extra})


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
        with warnings.catch_warnings():  # what is missing becomes an error below
            warnings.simplefilter("ignore", UserWarning)
            fields = load_rate_model(path)
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
        n = int(read.scalar("N", 0))
        if n < 1:
            raise ValueError(f"{source}: N = {n} must be at least 1")
        square = (n, n)
        inh = read.vector("inh", n) != 0
        taus = read.array("taus").ravel()
        if taus.size not in (1, 2) or taus.min() <= 0 or (taus.size == 2 and taus[0] >= taus[1]):
            raise ValueError(f"{source}: taus = {taus.tolist()} must be one value > 0, or a range")
        taus_gaus = read.vector("taus_gaus", n) if "taus_gaus" in fields else None
        if taus.size == 2 and taus_gaus is None:
            raise ValueError(f"{source}: taus_gaus missing; taus is a range, so it is needed")
        w_in = read.array("w_in")
        w_in = w_in.reshape(n, -1) if w_in.size == n else w_in
        if w_in.ndim != 2 or w_in.shape[0] != n:
            raise ValueError(f"{source}: w_in has shape {w_in.shape}; needed is ({n}, n_in)")
        dale = read.scalar("apply_dale", float(inh.any())) != 0
        return cls(
            w=read.matrix("w", square),
            w_in=w_in,
            w_out=read.vector("w_out", n)[np.newaxis],
            m=read.matrix("m", square) if "m" in fields else np.diag(np.where(inh, -1.0, 1.0)),
            som_m=read.matrix("som_m", square) if "som_m" in fields else np.ones(square),
            inh=inh,
            taus=taus,
            taus_gaus=taus_gaus,
            taus_gaus0=read.vector("taus_gaus0", n) if "taus_gaus0" in fields else None,
            w0=read.matrix("w0", square) if "w0" in fields else None,
            b_out=read.scalar("b_out", 0.0),
            som_n=int(read.scalar("som_N", 0.0)),
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
        """Return a field that holds a number, or None if it is missing or NaN."""
        if name not in self.fields:
            return None
        try:
            value = np.asarray(self.fields[name], dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise ValueError(f"{self.source}: {name} is not numeric") from None
        return float(value[0]) if value.size and np.isfinite(value[0]) else None


class _Reader:
    def __init__(self, fields: Mapping[str, Any], source: str) -> None:
        self._fields, self._source = fields, source

    def array(self, name: str) -> NDArray[np.float64]:
        if np.iscomplexobj(self._fields[name]):
            raise ValueError(f"{self._source}: {name} is complex; needed are real numbers")
        try:
            found = np.asarray(self._fields[name], dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{self._source}: {name} is not numeric") from None
        if not np.isfinite(found).all():
            raise ValueError(f"{self._source}: {name} has entries that are not finite")
        return found

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
