"""From options to what a `lateral-line` run does: parameters of every seed, what it starts from."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.lateral_line.options import PARAM_GROUPS
from bridge.lateral_line.params import PRESETS, NetworkParams, from_json
from bridge.lateral_line.run_options import LateralLineOptions
from bridge.runs.options import parameters
from bridge.runs.resolve import Resolved


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes
    ----------
    options : LateralLineOptions
    mode : str
        The preset; with --resume-from and --evaluate that of the earlier run.
    params : NetworkParams
        Of the first seed.
    run_name : str
    """

    options: LateralLineOptions
    mode: str
    params: NetworkParams
    run_name: str

    @property
    def seeds(self) -> list[int]:
        """Return all seeds."""
        return list(range(self.params.seed, self.params.seed + self.options.multi_seed))

    @property
    def folder(self) -> Path:
        """Return the run folder."""
        return self.options.runs_dir / self.run_name

    def of_seed(self, seed: int) -> NetworkParams:
        """Return the parameters of a seed."""
        return dataclasses.replace(self.params, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """Return what params.json holds."""
        return {
            "mode": self.mode,
            "seed_start": self.params.seed,
            "multi_seed": self.options.multi_seed,
            "run_folder": self.run_name,
            "network_params": self.params.to_json(),
        }


def make_plan(resolved: Resolved) -> Plan:
    """Return what the options ask for.

    Raises
    ------
    ValueError, FileNotFoundError
        If options contradict each other or an earlier run can't be read.
    """
    options = resolved[LateralLineOptions]
    _check(options)
    explicit = _explicit(resolved)
    earlier = options.resume_from or options.evaluate
    mode, multi_seed = options.mode, options.multi_seed
    if earlier is not None:
        there = read_params(earlier)
        base = there["network_params"]
        if "preset" in resolved.explicit and options.mode != there["mode"]:
            flag = "--resume-from" if options.resume_from else "--evaluate"
            raise ValueError(
                f"{flag} {earlier} is of --mode {there['mode']}, not {options.mode}; leave --mode "
                "out"
            )
        mode = there["mode"]
        if "multi_seed" not in resolved.explicit:
            multi_seed = int(there.get("multi_seed", 1))
    else:
        base = dict(PRESETS[mode])
        base["seed"] = options.seed_start
    if "seed_start" in resolved.explicit:
        base["seed"] = options.seed_start
    params = from_json({**base, **explicit})
    if params.training_fixed_distance and options.evaluate is None:
        for name in ("training_distance_min_cm", "training_distance_max_cm"):
            if name in explicit:
                raise ValueError(
                    f"--{name.replace('_', '-')} has no effect with --training-fixed-distance "
                    "(always 1.5 cm); add --no-training-fixed-distance"
                )
    return Plan(
        options=dataclasses.replace(options, multi_seed=multi_seed),
        mode=mode,
        params=params,
        run_name=_run_name(options.run_name),
    )


def _check(options: LateralLineOptions) -> None:
    if options.resume_from is not None and options.evaluate is not None:
        raise ValueError("--resume-from goes on training, --evaluate does not train: give one")
    if options.restore_initial_ll_mon and options.evaluate is None:
        raise ValueError("--restore-initial-ll-mon applies to --evaluate only")
    if options.evaluate is not None and (options.with_control or options.disable_all_stdp):
        raise ValueError(
            "--evaluate tests saved weights: --with-control and --disable-all-stdp are for training"
        )
    if options.with_control and options.disable_all_stdp:
        raise ValueError("--disable-all-stdp is the control itself; leave --with-control out")
    name = options.save_tag
    if not name.strip() or "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"--save-tag {name!r} must be the start of a file name")


def _explicit(resolved: Resolved) -> dict[str, Any]:
    """Return the network parameters that somebody set, by field."""
    return {
        parameter.name: getattr(resolved[group], parameter.name)
        for group in PARAM_GROUPS
        for parameter in parameters(group)
        if parameter.key in resolved.explicit
    }


def _run_name(given: str | None) -> str:
    name = (given or "").strip().replace("/", "_").replace("\\", "_")
    if name in (".", ".."):
        raise ValueError(f"--run-name {given!r} must be the name of a folder")
    return name or time.strftime("%Y%m%d_%H%M%S")


def run_folder_of(earlier: Path) -> Path:
    """Return the run folder that a path means: itself, or the one that a weight file lies in."""
    return earlier.parent.parent if earlier.suffix == ".npz" else earlier


def read_params(earlier: Path) -> dict[str, Any]:
    """Return params.json of an earlier run.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If it is not what a run writes.
    """
    path = run_folder_of(earlier) / "params.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; name the folder of a lateral-line run (or a weight file inside)"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["mode"] not in PRESETS or not isinstance(found["network_params"], dict):
            raise ValueError("not written by lateral-line")
        from_json(found["network_params"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the parameters of a lateral-line run ({error})") from None
    return dict(found)
