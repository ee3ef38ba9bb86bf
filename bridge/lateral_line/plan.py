"""What a `lateral-line` run does: its options, worked out, and the parameters of every seed."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.lateral_line.options import PARAM_GROUPS
from bridge.lateral_line.params import PRESETS, NetworkParams
from bridge.lateral_line.run_options import LateralLineOptions
from bridge.runs.groups_scan import WorkerOptions
from bridge.runs.options import by_key, parameters, to_json
from bridge.runs.resolve import Resolved

log = logging.getLogger("pingbridge")

_RESUMED = frozenset({
    "save_tag", "save_weights_dir", "with_control", "control_matched", "test_repeats",
    "test_distances", "figures", "fast_math",
})  # fmt: skip
"""Options that a resumed run takes over, besides those that name network, seeds and folder. How it
executes belongs to the machine."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does, or did.

    Attributes
    ----------
    options : LateralLineOptions
        As worked out: preset, seeds, name and everything inherited stand in it.
    params : NetworkParams
        Of the first seed.
    workers : WorkerOptions
    """

    options: LateralLineOptions
    params: NetworkParams
    workers: WorkerOptions = dataclasses.field(default_factory=WorkerOptions)

    @property
    def seeds(self) -> list[int]:
        """Return all seeds."""
        return list(range(self.params.seed, self.params.seed + self.options.multi_seed))

    @property
    def run_name(self) -> str:
        """Return the name of the run folder."""
        assert self.options.run_name is not None
        return self.options.run_name

    @property
    def folder(self) -> Path:
        """Return the run folder."""
        return self.options.runs_dir / self.run_name

    def of_seed(self, seed: int) -> NetworkParams:
        """Return the parameters of a seed."""
        return dataclasses.replace(self.params, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """Return what params.json holds: names and keys of the published program."""
        return {
            "mode": self.options.preset,
            "seed_start": self.params.seed,
            "multi_seed": self.options.multi_seed,
            "run_folder": self.run_name,
            "network_params": self.params.to_json(),
        }

    def to_config(self) -> dict[str, Any]:
        """Return what config.json holds: every option as it was worked out, by its key."""
        return {**to_json(self.options), **by_flag(self.params.to_json()), **to_json(self.workers)}


def by_flag(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return network parameters under their keys of config.json; None and the seed are left out."""
    keys = {p.name: key for key, (_, p) in by_key(PARAM_GROUPS).items()}
    return {keys[name]: value for name, value in fields.items()
            if name in keys and value is not None}  # fmt: skip


def make_plan(resolved: Resolved, earlier: Plan | None = None) -> Plan:
    """Return what the options ask for: default < preset < earlier run < recipe < typed.

    Parameters
    ----------
    resolved : Resolved
        Nothing inherited yet.
    earlier : Plan, optional
        Of the run that --resume-from or --evaluate names.

    Raises
    ------
    ValueError
        If options contradict each other or the earlier run.
    """
    options = resolved[LateralLineOptions]
    _check(options)
    set_here = resolved.explicit
    if earlier is None:
        below = by_flag(PRESETS[options.preset])
    else:
        _check_earlier(options, earlier, set_here)
        below = _inherited(earlier, resuming=options.resume_from is not None)
    options, params = _with(resolved, below)
    if "run_name" in set_here or options.run_name is None:
        options = dataclasses.replace(options, run_name=_run_name(options.run_name))
    if options.disable_all_stdp:
        for name in ("with_control", "control_matched"):
            if getattr(options, name):
                raise ValueError(
                    f"--disable-all-stdp is the control itself; leave {_flag(name)} out"
                )
        params = params.without_plasticity()
    _check_effect(params, set_here, evaluates=options.evaluate is not None)
    options = dataclasses.replace(options, disable_all_stdp=not params.plastic)
    return Plan(options=options, params=params, workers=resolved[WorkerOptions])


def _check(options: LateralLineOptions) -> None:
    if options.resume_from is not None and options.evaluate is not None:
        raise ValueError("--resume-from goes on training, --evaluate does not train: give one")
    if options.restore_initial_ll_mon and options.evaluate is None:
        raise ValueError("--restore-initial-ll-mon applies to --evaluate only")
    for_training = ("with_control", "control_matched", "disable_all_stdp")
    given = [_flag(name) for name in for_training if getattr(options, name)]
    if options.evaluate is not None and given:
        raise ValueError(f"--evaluate tests saved weights: {given[0]} is for training")
    name = options.save_tag
    if not name.strip() or "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"--save-tag {name!r} must be the start of a file name")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_earlier(options: LateralLineOptions, earlier: Plan, set_here: frozenset[str]) -> None:
    resuming = options.resume_from is not None
    named = f"--resume-from {options.resume_from}" if resuming else f"--evaluate {options.evaluate}"
    preset = earlier.options.preset
    if "preset" in set_here and options.preset != preset:
        raise ValueError(f"{named} is of --mode {preset}, not {options.preset}; leave --mode out")
    differs = options.disable_all_stdp == earlier.params.plastic
    if resuming and differs and "disable_all_stdp" in set_here:
        raise ValueError(f"{named} and this run differ in --disable-all-stdp")


def _inherited(earlier: Plan, *, resuming: bool) -> dict[str, Any]:
    """Return what a run takes over from an earlier one, by key."""
    before = to_json(earlier.options)
    taken = {"preset", "multi_seed", "seed_start"}
    if resuming:
        taken |= _RESUMED | {"disable_all_stdp", "run_name", "runs_dir"}
    return by_flag(earlier.params.to_json()) | {k: v for k, v in before.items() if k in taken}


def _with(resolved: Resolved, below: Mapping[str, Any]) -> tuple[LateralLineOptions, NetworkParams]:
    """Return run options and parameters with the values `below` where nobody set one."""
    found: dict[str, Any] = {}
    for group in (LateralLineOptions, *PARAM_GROUPS):
        changes = {
            p.name: below[p.key] for p in parameters(group)
            if p.key in below and resolved.origin[p.key] == "default"
        }  # fmt: skip
        found |= vars(dataclasses.replace(resolved.options[group], **changes))
    names = {p.name for p in parameters(LateralLineOptions)}
    options = LateralLineOptions(**{name: found.pop(name) for name in names})
    return options, NetworkParams(seed=options.seed_start, **found)


def _check_effect(params: NetworkParams, set_here: frozenset[str], *, evaluates: bool) -> None:
    """Refuse flags that would be without effect."""
    if params.training_fixed_distance and not evaluates:
        for name in ("training_distance_min_cm", "training_distance_max_cm"):
            if name in set_here:
                raise ValueError(
                    f"--{name.replace('_', '-')} has no effect with --training-fixed-distance "
                    "(always 1.5 cm); add --no-training-fixed-distance"
                )
    for name in ("keep_mon_ts_stdp_during_test", "keep_ll_mon_stdp_during_test"):
        if name in set_here and getattr(params, name) and not params.plastic:
            raise ValueError(
                f"--{name.replace('_', '-')} has no effect: no weight of this network learns"
            )


def _run_name(given: str | None) -> str:
    if given is None:
        return time.strftime("%Y%m%d_%H%M%S")
    name = given.strip()
    if not name or os.path.isabs(name) or {".", ".."} & set(name.replace("\\", "/").split("/")):
        raise ValueError(
            f"--run-name {given!r} must be the name of a folder; --runs-dir says where it lies"
        )
    plain = name.replace("/", "_").replace("\\", "_")
    if plain != name:
        log.warning("--run-name %s: the folder is called %s", given, plain)
    return plain
