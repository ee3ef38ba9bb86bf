"""Recordings and input spikes as files: HDF5 and NPZ, exact both ways.

HDF5 holds each population as ``/spikes/<population>/{trial,i,t_step}`` and each trace as
``/traces/<population>/<variable>``. Both formats hold the flat names that input files have as well
(`STIMULUS_NAMES`; tables of int32 rows step, trial, cell), so that a recording saved with its
stimulus is an input file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.files import hdf5
from bridge.files.json_text import parse_json
from bridge.files.npz import CheckShape, read_npz, write_npz
from bridge.files.reading import Allowance, FileContentError, cause, reading
from bridge.formats.kinds import check_format, file_kind, text
from bridge.network.stimulus import EventRows, Stimulus, sort_rows
from bridge.recording import TRACE_UNITS, Recording

FORMAT = "ping-recording"
FORMAT_VERSION = 1

STIMULUS_NAMES = {
    "in_spk": "integer rows (step, trial, channel)",
    "dt": "time step in ms",
    "T_steps": "number of steps",
    "B": "number of trials",
    "N_IN": "number of input channels",
}
"""What an input file holds, by name. ``g_ext_us`` and ``bias_us`` (µS) may be there too."""

_HEAD = ("format", "format_version", "populations", "backend", "seed", "config")
_READOUT = ("logits", "output")
_MANY = 1000
_TRACE_NAME = re.compile(r"[A-Za-z]\w*_[a-z]_\d+")


def save_recording(
    recording: Recording, path: str | Path, stimulus: Stimulus | None = None
) -> None:
    """Write a recording: HDF5 for ``.h5``/``.hdf5``, NPZ for ``.npz``; same content, same bytes.

    Parameters
    ----------
    stimulus : Stimulus, optional
        The input of the run, written beside its outcome; `load_stimulus` reads it back.

    Raises
    ------
    ValueError
        For another ending, a trace whose name does not end in a population (as ``v_e_1`` does),
        or a stimulus on another grid than the recording.
    FileNotFoundError
        If the folder does not exist.
    """
    path = Path(path)
    if path.suffix not in (".h5", ".hdf5", ".npz"):
        raise ValueError(f"{path} must end in .h5, .hdf5 or .npz to hold a recording")
    _check_names(recording)
    _check_arrays(recording)
    traces = {name: recording.traces[name] for name in sorted(recording.traces)}
    flat = _flat_tables(recording) | _stimulus_arrays(recording, stimulus)
    if path.suffix == ".npz":
        write_npz(path, _npz_head(recording) | flat | traces)
        return
    with hdf5.new_hdf5(path) as file:
        for name, value in _attributes(recording).items():
            file.attrs[name] = value
        spikes = file.create_group("spikes")
        for population, n_cells in recording.n_cells.items():
            _put_spikes(
                spikes.create_group(population), recording.spikes[population],
                n_cells, recording.n_trials,
            )  # fmt: skip
        groups = file.create_group("traces")
        for name, trace in traces.items():
            variable, population = _split_trace(name)
            group = groups.require_group(population)
            hdf5.put(group, variable, trace, unit=_trace_unit(recording, variable))
        for name, array in flat.items():
            hdf5.put(file, name, array)


def load_recording(path: str | Path) -> Recording:
    """Read a recording that `save_recording` wrote, told apart by content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, damaged, of an unknown version, or inconsistent; one line that names
        the file.
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "torch":
        raise FileContentError(f"{path} is a torch file, not a recording (NPZ or HDF5)")
    with reading(path, "recording"):
        return _from_npz(path) if kind == "npz" else _from_hdf5(path)


def load_stimulus(path: str | Path) -> Stimulus:
    """Read input spikes from an NPZ or HDF5 file with the names of `STIMULUS_NAMES`.

    Rows may come in any order; a repeated row is a second spike of that step.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a name is missing, has a wrong shape or type, a row lies outside the trial, the batch
        or the channels, or the file is damaged; one line that names the file.
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "torch":
        raise FileContentError(f"{path} is a torch file, not input spikes (NPZ or HDF5)")
    read = read_npz if kind == "npz" else hdf5.read_flat_hdf5
    sizes = ("dt", "T_steps", "B", "N_IN", "bias_us")
    found = read(path, lambda name: name in sizes, _single)

    def check(name: str, shape: tuple[int, ...]) -> None:
        if name == "g_ext_us" and len(shape) > 1 and "B" in found and "T_steps" in found:
            grid = (_count(found, "B"), _count(found, "T_steps"))
            if shape[:2] != grid:
                raise FileContentError(
                    f"{path}: g_ext_us has shape {shape}; expected ({grid[0]}, {grid[1]}, n_exc)"
                )

    found |= read(path, lambda name: name in ("in_spk", "g_ext_us"), check)
    missing = [name for name in STIMULUS_NAMES if name not in found]
    if missing:
        raise FileContentError(
            f"{path} lacks {', '.join(f'{n} ({STIMULUS_NAMES[n]})' for n in missing)}; an input "
            f"file holds {', '.join(STIMULUS_NAMES)}"
        )
    try:
        return Stimulus(
            dt_ms=_positive(found, "dt"),
            n_steps=_count(found, "T_steps"),
            n_trials=_count(found, "B"),
            n_in=_count(found, "N_IN"),
            events=_event_rows(_whole(found["in_spk"])),
            g_ext_us=found.get("g_ext_us"),
            bias_us=_number(found, "bias_us") if "bias_us" in found else 0.0,
        )
    except (ValueError, TypeError) as error:
        raise FileContentError(f"{path}: {cause(error)}") from error


def _flat_tables(recording: Recording) -> dict[str, ArrayLike]:
    flat: dict[str, ArrayLike] = {
        "dt": np.float64(recording.dt_ms),
        "T_steps": np.int64(recording.n_steps),
        "B": np.int64(recording.n_trials),
    }
    for population in recording.n_cells:
        flat[f"{population}_spk"] = recording.spikes[population]
    for name in _READOUT:
        array = getattr(recording, name)
        if array is not None:
            flat[name] = np.asarray(array, dtype=np.float64)
    return flat


def _stimulus_arrays(recording: Recording, stimulus: Stimulus | None) -> dict[str, ArrayLike]:
    if stimulus is None:
        return {}
    own = (recording.dt_ms, recording.n_steps, recording.n_trials)
    given = (stimulus.dt_ms, stimulus.n_steps, stimulus.n_trials)
    if own != given:
        raise ValueError(
            f"the stimulus has dt, steps, trials = {given}, the recording {own}; they must agree"
        )
    arrays: dict[str, ArrayLike] = {"in_spk": stimulus.events, "N_IN": np.int64(stimulus.n_in)}
    if stimulus.g_ext_us is not None:
        arrays["g_ext_us"] = stimulus.g_ext_us
    if stimulus.bias_us:
        arrays["bias_us"] = np.float64(stimulus.bias_us)
    return arrays


def _attributes(recording: Recording) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dt_ms": float(recording.dt_ms),
        "t_ms": float(recording.t_ms),
        "n_steps": int(recording.n_steps),
        "n_trials": int(recording.n_trials),
        "populations": json.dumps(list(recording.n_cells)),  # groups lose their order
        "backend": recording.backend,
        "config": recording.config_json(),
    }
    if recording.seed is not None:
        attributes["seed"] = int(recording.seed)
    return attributes


def _npz_head(recording: Recording) -> dict[str, ArrayLike]:
    head = _attributes(recording)
    for attribute in ("dt_ms", "t_ms", "n_steps", "n_trials"):  # stand there as dt, T_steps, B
        del head[attribute]
    return head | {f"n_{name}": np.int64(n) for name, n in recording.n_cells.items()}


def _put_spikes(group: h5py.Group, rows: EventRows, n_cells: int, n_trials: int) -> None:
    rows = rows[np.lexsort((rows[:, 2], rows[:, 0], rows[:, 1]))]  # by trial, step, cell
    for name, column in (("trial", 1), ("i", 2), ("t_step", 0)):
        hdf5.put(group, name, np.ascontiguousarray(rows[:, column]))
    group.attrs["n_cells"] = int(n_cells)
    group.attrs["n_trials"] = int(n_trials)


def _split_trace(name: str) -> tuple[str, str]:
    """Return variable and population of a trace name: ``ge_e_1`` is ``ge`` of ``e1``."""
    variable, kind, layer = name.rsplit("_", 2)
    return variable, f"{kind}{layer}"


def _check_names(recording: Recording) -> None:
    """Raise `ValueError` for names that would not survive the round trip."""
    for population in recording.n_cells:
        if not re.fullmatch(r"[A-Za-z]\w*", population) or population == "in":
            raise ValueError(f"population {population!r} cannot be stored; use names such as e1")
    for name in recording.traces:
        if not _TRACE_NAME.fullmatch(name) or _split_trace(name)[1] not in recording.n_cells:
            raise ValueError(
                f"trace {name!r} names no population; write v_e_1 for v of e1 (there are "
                f"{', '.join(recording.n_cells)})"
            )
    if recording.seed is not None and not -(2**63) <= recording.seed < 2**63:
        raise ValueError(f"seed = {recording.seed} does not fit in 64 bits")


def _check_arrays(recording: Recording) -> None:
    """Raise `ValueError` where a trace or the readout does not fit the grid of the run."""
    check = _fits(recording.n_trials, recording.n_steps, recording.n_cells)
    for name, trace in recording.traces.items():
        check(name, trace.shape)
        if trace.dtype.kind != "f":
            raise ValueError(
                f"trace {name} is of type {trace.dtype}; expected floating-point numbers"
            )
    for name in _READOUT:
        array = getattr(recording, name)
        if array is not None:
            check(name, array.shape)


def _fits(n_trials: int, n_steps: int, n_cells: Mapping[str, int]) -> CheckShape:
    """Return what raises `ValueError` for a shape that does not fit the grid of a run."""

    def check(name: str, shape: tuple[int, ...]) -> None:
        if name in _READOUT:
            lead = (n_trials,) if name == "logits" else (n_trials, n_steps)
            if len(shape) != len(lead) + 1 or shape[:-1] != lead:
                raise ValueError(
                    f"{name} has shape {shape}; expected ({', '.join(map(str, lead))}, n_classes)"
                )
        elif _TRACE_NAME.fullmatch(name) and _split_trace(name)[1] in n_cells:
            expected = (n_trials, n_steps, n_cells[_split_trace(name)[1]])
            if shape != expected:
                raise ValueError(
                    f"trace {name} has shape {shape}; expected numbers of shape {expected} "
                    "(trial, step, cell)"
                )
        elif not name.endswith("_spk"):
            raise ValueError(f"trace {name} names no population that is there")
        elif len(shape) != 2 or shape[1] != 3:
            raise ValueError(f"spikes have shape {shape}; rows (step, trial, cell) are needed")

    return check


def _trace_unit(recording: Recording, variable: str) -> str:
    if str(recording.config.get("model", "")).startswith("cuba"):
        return "1"
    return TRACE_UNITS.get(variable, "1")


def _from_hdf5(path: Path) -> Recording:
    with hdf5.open_hdf5(path) as file:
        head = hdf5.attributes(file, *_HEAD, "n_steps", "n_trials", "dt_ms")
        check_format(head, path, name=FORMAT, version=FORMAT_VERSION)
        spikes, traces = hdf5.child(file, "spikes"), hdf5.child(file, "traces")
        n_steps, n_trials = int(_need(head, "n_steps")), int(_need(head, "n_trials"))
        dt_ms = float(_need(head, "dt_ms"))
        allowance = Allowance(path)
        n_cells, rows = {}, {}
        for population in _populations(head):
            group = hdf5.child(spikes, population)
            n_cells[population] = int(hdf5.attribute(group, "n_cells"))
            columns = [
                hdf5.take(group, name, allowance, whole=True) for name in ("t_step", "trial", "i")
            ]
            rows[population] = _event_rows(np.stack(columns, axis=1))
        check = _fits(n_trials, n_steps, n_cells)
        found = {}
        for population in traces:
            group = hdf5.child(traces, population)
            for variable in group:
                name = f"{variable}_{population[0]}_{population[1:]}"
                check(name, hdf5.dataset(group, variable).shape)
                found[name] = hdf5.take(group, variable, allowance, whole=True)
        readout = {}
        for name in (name for name in file if name in _READOUT):
            check(name, hdf5.dataset(file, name).shape)
            readout[name] = hdf5.take(file, name, allowance, whole=True)
    return _assemble(head, dt_ms, n_steps, n_trials, n_cells, rows, found, readout)


def _from_npz(path: Path) -> Recording:
    sizes = (*_HEAD, "dt", "T_steps", "B")
    head = read_npz(path, lambda name: name in sizes or name.startswith("n_"), _single)
    check_format(head, path, name=FORMAT, version=FORMAT_VERSION)
    populations = _populations(head)
    n_cells = {name: _count(head, f"n_{name}") for name in populations}
    n_trials, n_steps = _count(head, "B"), _count(head, "T_steps")
    spikes = {f"{name}_spk" for name in populations}

    def is_trace(name: str) -> bool:
        return bool(_TRACE_NAME.fullmatch(name)) and _split_trace(name)[1] in n_cells

    flat = read_npz(
        path,
        lambda name: name in spikes or name in _READOUT or is_trace(name),
        _fits(n_trials, n_steps, n_cells),
    )
    rows = {name: _event_rows(_need(flat, f"{name}_spk")) for name in populations}
    traces = {name: array for name, array in flat.items() if is_trace(name)}
    readout = {name: array for name, array in flat.items() if name in _READOUT}
    return _assemble(head, _positive(head, "dt"), n_steps, n_trials, n_cells, rows, traces, readout)


def _populations(head: Mapping[str, Any]) -> list[str]:
    found = parse_json(text(_need(head, "populations")), "populations")
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        raise ValueError("populations must be a list of names")
    return found


def _single(name: str, shape: tuple[int, ...]) -> None:
    if math.prod(shape) > _MANY:  # fewer are shown when they are read
        raise ValueError(f"{name} has shape {shape}; one value is needed")


def _assemble(
    head: Mapping[str, Any],
    dt_ms: float,
    n_steps: int,
    n_trials: int,
    n_cells: dict[str, int],
    rows: dict[str, EventRows],
    traces: dict[str, NDArray],
    readout: dict[str, NDArray],
) -> Recording:
    recording = Recording(
        dt_ms=dt_ms,
        n_steps=n_steps,
        n_trials=n_trials,
        n_cells=n_cells,
        spikes=rows,
        traces=traces,
        logits=readout.get("logits"),
        output=readout.get("output"),
        backend=text(head.get("backend", "")),
        seed=int(head["seed"]) if "seed" in head else None,
        config=parse_json(text(_need(head, "config")), "config"),
    )
    _check_arrays(recording)
    return recording


def _whole(rows: NDArray) -> NDArray:
    """Return whole numbers as integers, exactly: MATLAB and data frames hold them as floats."""
    if rows.dtype.kind != "f" or not np.array_equal(rows, np.trunc(rows)):  # NaN is not equal
        return rows
    if np.abs(rows).max(initial=0.0) >= 2**53:
        return rows
    return rows.astype(np.int64)


def _event_rows(rows: NDArray) -> EventRows:
    if rows.dtype.kind not in "iu":
        raise ValueError(f"spikes are of type {rows.dtype}; integer rows are needed")
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise ValueError(f"spikes have shape {rows.shape}; rows (step, trial, cell) are needed")
    if rows.size and (rows.min() < 0 or rows.max() > np.iinfo(np.int32).max):
        raise ValueError(f"spikes hold {rows.min()} to {rows.max()}; indices from 0 are needed")
    return sort_rows(rows)


def _need(given: Mapping[str, Any], name: str) -> Any:
    if name not in given:
        raise ValueError(f"{name} is missing")
    return given[name]


def _count(flat: Mapping[str, NDArray], name: str) -> int:
    array = np.asarray(_need(flat, name))
    whole = array.size == 1 and array.dtype.kind in "fiu" and float(array.item()).is_integer()
    if not whole or int(array.item()) < 1:
        raise ValueError(f"{name} = {array.tolist()!r} must be one whole number >= 1")
    return int(array.item())


def _number(flat: Mapping[str, NDArray], name: str) -> float:
    array = np.asarray(_need(flat, name))
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} = {array.tolist()!r} must be one number")
    return float(array.item())


def _positive(flat: Mapping[str, NDArray], name: str) -> float:
    value = _number(flat, name)
    if not 0 < value < np.inf:
        raise ValueError(f"{name} = {value:g} must be a positive number")
    return value
