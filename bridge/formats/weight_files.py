"""Weight files: NPZ, HDF5 and torch state dicts in, NPZ and HDF5 out; sizes read off matrices."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.files import hdf5
from bridge.files.npz import read_npz, write_npz
from bridge.files.reading import Allowance, FileContentError
from bridge.formats.kinds import check_format, file_kind
from bridge.formats.pth import canonical_names, load_state_dict
from bridge.network.weights import Weights

FORMAT = "ping-weights"
FORMAT_VERSION = 1

AttributeValue = str | int | float | bool
_RESERVED = ("format", "format_version", "unit")


def load_weight_matrices(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Return the weight matrices of a file, named as in `NetworkSpec.matrix_shapes`.

    The kind of file is told by its content: NPZ (names ``W_in`` ...), HDF5 (``/weights/W_in`` of
    `save_weights`, or ``/W_in`` at the root), or a torch state dict. Published names such as
    ``W_ff.0`` are understood in each. Entries of an NPZ or a flat HDF5 that do not begin with
    ``W_`` or ``b_`` are left aside.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        For a torch file, without torch.
    ValueError
        If the file is damaged, unsafe, of an unknown version, or holds no weights; the message is
        one line that names the file.
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "torch":
        raw = load_state_dict(path)
    elif kind == "hdf5":
        raw = _read_hdf5(path)
    else:
        raw = read_npz(path, lambda name: _is_weight(name) or name in _RESERVED)
        if "format" in raw:
            check_format(raw, path, name=FORMAT, version=FORMAT_VERSION)
        raw = {name: array for name, array in raw.items() if _is_weight(name)}
    if not raw:
        raise FileContentError(f"{path} holds no weights; matrices have names such as W_in")
    for name, array in raw.items():
        if array.dtype.kind not in "fiu":
            raise FileContentError(f"{path}: {name} is of type {array.dtype}, not real numbers")
    try:
        matrices = canonical_names(raw)
    except ValueError as error:
        raise FileContentError(f"{path}: {error}") from error
    return {name: np.asarray(array, dtype=np.float64) for name, array in matrices.items()}


def save_weights(
    weights: Weights,
    path: str | Path,
    *,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> None:
    """Write weights to ``.h5``/``.hdf5`` or ``.npz``; the same content gives the same bytes.

    HDF5: ``/weights/<name>`` float64 (pre, post) with the attribute ``unit``; `attributes` stand
    at the root. NPZ: the matrices under their names, ``unit``, and `attributes` as JSON text.

    Parameters
    ----------
    attributes : mapping of str to text or number
        For example ``dt_ms``, ``seed``, ``model``.

    Raises
    ------
    ValueError
        For another ending, or an attribute that is reserved or neither text nor number.
    FileNotFoundError
        If the folder does not exist.
    """
    path = Path(path)
    attributes = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in sorted((attributes or {}).items())
    }
    for name, value in attributes.items():
        if name in _RESERVED:
            raise ValueError(f"attribute {name!r} is set by the file format; choose another name")
        if not isinstance(value, str | int | float | bool):
            raise ValueError(f"attribute {name} = {value!r} must be text or a number")
    if path.suffix == ".npz":
        head: dict[str, ArrayLike] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "unit": weights.unit,
            "attributes": json.dumps(attributes, sort_keys=True),
        }
        write_npz(path, head | {name: weights[name] for name in sorted(weights)})
    elif path.suffix in (".h5", ".hdf5"):
        with hdf5.new_hdf5(path) as file:
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = FORMAT_VERSION
            for name, value in attributes.items():
                file.attrs[name] = value
            group = file.create_group("weights")
            for name in sorted(weights):
                hdf5.put(group, name, weights[name], unit=weights.unit)
    else:
        raise ValueError(f"{path} must end in .npz, .h5 or .hdf5 to hold weights")


@dataclass(frozen=True, kw_only=True)
class NetworkSizes:
    """The sizes of a network; `n_inh` is 0 for a layer without I cells."""

    n_in: int
    hidden_sizes: tuple[int, ...]
    n_inh: tuple[int, ...]
    n_classes: int


def infer_sizes(matrices: Mapping[str, NDArray]) -> NetworkSizes:
    """Return the sizes that the shapes of weight matrices imply.

    Raises
    ------
    ValueError
        If ``W_in`` or ``W_out`` is missing, a layer is, a name is unknown, or two shapes
        contradict each other.
    """
    for name in ("W_in", "W_out"):
        if name not in matrices:
            raise ValueError(f"weights lack {name}; they hold {', '.join(sorted(matrices))}")
    for name, matrix in matrices.items():
        if not re.fullmatch(r"W_in|W_out|W_ff_\d+to\d+|W_(ee|ei|ie|ii)_\d+|b_out", name):
            raise ValueError(f"weights hold {name!r}, which is no matrix of a known network")
        n_axes = 1 if name == "b_out" else 2
        if np.ndim(matrix) != n_axes or 0 in np.shape(matrix):
            raise ValueError(f"{name} has shape {np.shape(matrix)}; expected {n_axes} axes, not 0")
    n_in, n_exc = matrices["W_in"].shape
    hidden = [n_exc]
    while (name := f"W_ff_{len(hidden)}to{len(hidden) + 1}") in matrices:
        hidden.append(matrices[name].shape[1])
    n_inh = [_n_inh(matrices, k) for k in range(1, len(hidden) + 1)]
    n_classes = matrices["W_out"].shape[1]
    expected = {"W_in": (n_in, hidden[0]), "W_out": (hidden[-1], n_classes), "b_out": (n_classes,)}
    for k, (n_e, n_i) in enumerate(zip(hidden, n_inh, strict=True), 1):
        expected |= {f"W_ee_{k}": (n_e, n_e), f"W_ei_{k}": (n_e, n_i)}
        expected |= {f"W_ie_{k}": (n_i, n_e), f"W_ii_{k}": (n_i, n_i)}
        if k < len(hidden):
            expected[f"W_ff_{k}to{k + 1}"] = (n_e, hidden[k])
    orphans = [name for name in matrices if name not in expected]
    if orphans:
        raise ValueError(
            f"{orphans[0]} belongs to no layer: the chain of W_ff gives {len(hidden)} hidden "
            f"layer{'s' if len(hidden) > 1 else ''}"
        )
    for name, matrix in matrices.items():
        if matrix.shape != expected[name]:
            raise ValueError(
                f"{name} has shape {matrix.shape}, but the other matrices ask for {expected[name]}"
                f" (sizes: {n_in} inputs, hidden {hidden}, I cells {n_inh}, {n_classes} classes)"
            )
    return NetworkSizes(
        n_in=n_in, hidden_sizes=tuple(hidden), n_inh=tuple(n_inh), n_classes=n_classes
    )


def _n_inh(matrices: Mapping[str, NDArray], layer: int) -> int:
    for name, axis in ((f"W_ei_{layer}", 1), (f"W_ie_{layer}", 0), (f"W_ii_{layer}", 0)):
        if name in matrices:
            return int(matrices[name].shape[axis])
    if f"W_ee_{layer}" in matrices:
        raise ValueError(
            f"W_ee_{layer} is there but W_ei_{layer} and W_ie_{layer} are not: the number of I "
            f"cells of layer {layer} cannot be told"
        )
    return 0


def _is_weight(name: str) -> bool:
    return name.startswith(("W_", "b_"))


def _read_hdf5(path: Path) -> dict[str, NDArray]:
    with hdf5.open_hdf5(path) as file:
        allowance = Allowance(path)
        declared = hdf5.attributes(file, "format", "format_version")
        if "format" in declared or "weights" in file:
            check_format(declared, path, name=FORMAT, version=FORMAT_VERSION)
            group = hdf5.child(file, "weights")
            if not isinstance(group, h5py.Group):
                raise FileContentError(f"{path}: /weights must be a group of matrices")
            return {name: hdf5.take(group, name, allowance, whole=True) for name in group}
        return {name: hdf5.take(file, name, allowance) for name in file if _is_weight(name)}
