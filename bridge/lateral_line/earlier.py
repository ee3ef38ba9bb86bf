"""What an earlier run was, from the files that it left: its plan once more."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.files.json_text import read_json_object
from bridge.lateral_line.params import PRESETS, NetworkParams, from_json
from bridge.lateral_line.plan import Plan
from bridge.lateral_line.run_options import LateralLineOptions
from bridge.runs.options import by_key
from bridge.runs.options import from_json as options_from_json

COMMAND = "lateral-line"
PARAMS_FILE = "params.json"


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run of this command, or of the published program."""
    return (folder / PARAMS_FILE).is_file()


def read_earlier(path: Path) -> Plan:
    """Return the plan of the run that made a folder, or a weight file.

    Parameters
    ----------
    path : Path
        A run folder, or an ``.npz``: then the plan has the one seed of that file.

    Raises
    ------
    FileNotFoundError
        If there is nothing that says what the run was.
    ValueError
        If that is not what a run writes.
    """
    return _of_weights(path) if path.suffix == ".npz" else _of_folder(path)


def _of_folder(folder: Path) -> Plan:
    path = folder / PARAMS_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; name the folder of a lateral-line run (or a weight file)"
        )
    with_names = Path(os.path.abspath(folder)) if folder.name in ("", "..") else folder
    there = _read_json(path)
    return _plan(path, there, there, run_options(folder), with_names)


def _of_weights(path: Path) -> Plan:
    """Return the plan of a weight file: from its sidecar, else from the run that it lies in."""
    sidecar = path.with_name(f"{path.name.removesuffix('.npz')}_params.json")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; name a run folder or a weight file")
    described = _read_json(sidecar) if sidecar.is_file() else {}
    run = path.parent.parent / PARAMS_FILE
    source, there = sidecar, described
    if "network_params" not in described:  # an earlier version's, or the published program's
        if not run.is_file():
            raise FileNotFoundError(
                f"{path}: neither {sidecar.name} beside it nor {run} says what network it is of"
            )
        source, there = run, _read_json(run)
    options = {"disable_all_stdp": not described.get("plastic", True)}
    seed = described.get("seed", there.get("seed_start"))
    return _plan(source, there, {"seed_start": seed}, options, path)


def _plan(
    path: Path, there: Mapping[str, Any], seeds: Mapping[str, Any], run: Mapping[str, Any],
    name: Path,
) -> Plan:  # fmt: skip
    """Return a plan.

    Parameters
    ----------
    path : Path
        What was read, for messages.
    there : mapping
        Preset (``mode``) and ``network_params``.
    seeds : mapping
        ``seed_start`` and ``multi_seed``.
    run : mapping
        Other run options.
    name : Path
        Run folder, or weight file.
    """
    try:
        if there["mode"] not in PRESETS or not isinstance(there["network_params"], dict):
            raise ValueError("not written by lateral-line")
        params: NetworkParams = from_json(there["network_params"])
        first = params.seed if seeds.get("seed_start") is None else seeds["seed_start"]
        options = options_from_json(LateralLineOptions, {
            **run, "preset": there["mode"], "seed_start": first, "run_name": name.name,
            "multi_seed": seeds.get("multi_seed", 1), "runs_dir": str(name.parent),
        })  # fmt: skip
        params = dataclasses.replace(params, seed=options.seed_start)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the parameters of a lateral-line run ({error})") from None
    # Runs without plasticity once left the increments in their parameters.
    return Plan(
        options=options,
        params=params.without_plasticity() if options.disable_all_stdp else params,
    )


def run_options(folder: Path, *, instead: str = "name another folder") -> dict[str, Any]:
    """Return the run options in config.json; none where another program made the folder.

    Parameters
    ----------
    folder : Path
    instead : str
        What is to be done about the folder of another command.

    Raises
    ------
    ValueError
        If another command of this program made it.
    """
    path = folder / "config.json"
    if not path.is_file():
        return {}
    config = _read_json(path)
    if config.get("mode") != COMMAND:
        raise ValueError(
            f"{folder} holds a run of {config.get('mode')}, not of {COMMAND}; {instead}"
        )
    return {key: config[key] for key in by_key([LateralLineOptions]) if key in config}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not the parameters of a lateral-line run ({error})") from None
