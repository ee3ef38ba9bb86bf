"""What a later command takes over from an earlier run: ``--from-dir``.

Reads config.json of this program, and of the pinglab command line it follows, in the shapes its
versions have written: other names for the same thing, provenance in a block or spread out, models
under earlier names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.files.json_text import read_json_object
from bridge.runs.options import Group, parameters
from bridge.runs.parameter import Parameter
from bridge.runs.provenance import TOOL

NEVER_INHERIT = frozenset(
    {
        # where output goes, and which
        "out_dir",
        "wipe_dir",
        "save_recording",
        "record_traces",
        "observe",
        "frame_rate",
        "resume",
        # where input comes from: said anew by each command
        "from_dir",
        "config",
        "load_weights",
        "weights_file",
        # how it executes: belongs to the machine, not to the result
        "backend",
        "codegen",
        "device",
        "fast_math",
        "compute_capability",
        "program",
        "batch",
        "deterministic",
        "dtype",
        "train_kernel",
        "n_jobs",
        "jobs",
        "scheduler",
        "keep_frames",
        "threads",
        "modal",
        "modal_gpu",
        "log_level",
        "verbose",
        "quiet",
    }
)
"""Keys that stay with the run that was given them."""

ALIASES = {
    "hidden_sizes": "n_hidden",
    "sparsity": "ei_sparsity",
    "dt_ms": "dt",
    "tau_gaba_ms": "tau_gaba",
    "tau_ampa_ms": "tau_ampa",
    "tau_mem_ms": "tau_mem",
    "tau_syn_ms": "tau_syn",
    "tau_out": "readout_tau_out",
    "tau_out_ms": "readout_tau_out",
    "readout_tau_out_ms": "readout_tau_out",
    "readout_mode": "readout",
    "max_rate_hz": "input_rate",
    "input_rate_hz": "input_rate",
    "input_mode": "input",
}
"""Names that versions of the seed system gave to our keys."""

LEGACY_MODEL_NAMES = {
    "snntorch": "standard-snn",
    "snntorch-canonical": "standard-snn",
    "coba": "ping",
    "cobanet": "ping",
    "cuba_ping": "cuba-ping",
    "cuba_noping": "cuba-noping",
}
"""Earlier names of models."""

REFUSED_MODELS = frozenset({"standard-snn", "cuba", "snntorch-library"})
"""The old current-based family: recognised and refused."""

_PROVENANCE_KEYS = (
    "tool",
    "tool_version",
    "git_sha",
    "device",
    "run_id",
    "started_at",
    "python",
    "python_executable",
    "python_version",
    "platform",
    "torch_version",
    "numpy_version",
    "brian2_version",
    "python_env_hash",
)
_LATER = ("weight_decay", "state_clamp")
"""Keys that the published program has written since its synapse order changed."""
_PUBLISHED_TAU_OUT_MS = 2.0
# What a finished training run wrote about itself: results, not options.
_OUTCOMES = frozenset(
    {"n_params", "n_trainable", "burn_in_ms", "n_in", "n_inh", "command", "derived", "execution"}
)


@dataclass(frozen=True, kw_only=True)
class InheritedRun:
    """An earlier run, as far as a later one takes it over.

    Attributes
    ----------
    path : Path
        Its folder.
    mode : str or None
        The command that made it.
    values : dict
        Raw values by key; the option groups convert and check them.
    provenance : dict
        Who, when, with which versions.
    weights_path : Path or None
        ``weights.pth``, else ``weights.h5``, else None.
    notes, warnings : list of str
        Lines to show: what was renamed; what may be wrong.
    """

    path: Path
    mode: str | None
    values: Mapping[str, Any]
    provenance: Mapping[str, Any]
    weights_path: Path | None
    notes: list[str]
    warnings: list[str]


def read_run(
    directory: str | Path,
    groups: Iterable[Group] = (),
    *,
    never_inherit: Collection[str] = NEVER_INHERIT,
) -> InheritedRun:
    """Return what the run in `directory` hands on.

    Parameters
    ----------
    directory : path
        Its folder.
    groups : iterable of Options subclasses
        Groups of all commands: a key that one of them declares is handed on, others are named in
        one warning. Without groups every key is handed on.
    never_inherit : collection of str
        Keys that are not handed on.

    Raises
    ------
    FileNotFoundError
        If the folder or its config.json is missing.
    ValueError
        If config.json is malformed, or its model cannot be run here.
    """
    if not isinstance(directory, str | Path):  # of a recipe: 5, a list
        raise ValueError(f"--from-dir = {directory!r} must be a path")
    path = Path(directory)
    raw = _read_config(path)
    known = {parameter.key: parameter for group in groups for parameter in parameters(group)}
    notes: list[str] = []
    warnings: list[str] = []
    nested = raw.pop("provenance", None)
    spread = {key: raw[key] for key in _PROVENANCE_KEYS if raw.get(key) is not None}
    provenance = dict(nested) if isinstance(nested, Mapping) else spread
    mode = raw.pop("mode", None)
    values = _rename(raw, known)
    if isinstance(values.get("model"), str) and (not known or "model" in known):
        values["model"] = _model(path, values["model"], notes)
        if raw["model"] == "coba" and "ei_strength" not in values:
            warnings.append(
                f"{path}: model 'coba' without ei_strength; "
                "pass --ei-strength 0 if its E-I loop was open"
            )
    foreign = provenance.get("tool") != TOOL
    if known:
        warnings += _missing(path, values, known)
        notes += _event_stream(path, raw, values, known)
        if foreign:
            warnings += _of_its_time(path, raw, values, known)
        ours = set(known) | set(never_inherit) | set(_PROVENANCE_KEYS) | _OUTCOMES
        unknown = sorted(set(values) - ours)
        if unknown:
            warnings.append(f"{path}: not known here, not inherited: {', '.join(unknown)}")
        values = {key: value for key, value in values.items() if key in known}
    else:
        values = {key: value for key, value in values.items() if key not in _PROVENANCE_KEYS}
    if (path / ".running").exists():
        warnings.append(f"{path}: the run has not ended (.running is there); files may be missing")
    return InheritedRun(
        path=path,
        mode=mode if isinstance(mode, str) else None,
        values={key: value for key, value in values.items() if key not in never_inherit},
        provenance=provenance,
        weights_path=_find_weights(path),
        notes=notes,
        warnings=warnings,
    )


def require_weights(run: InheritedRun) -> Path:
    """Return the weights of an inherited run.

    Raises
    ------
    FileNotFoundError
        If it has none; names the folder and ``--load-weights``.
    """
    if run.weights_path is None:
        raise FileNotFoundError(
            f"{run.path} holds neither weights.pth nor weights.h5; "
            "name a file with --load-weights, or train with --epochs 1 or more"
        )
    return run.weights_path


def _read_config(path: Path) -> dict[str, Any]:
    config = path / "config.json"
    if not config.is_file():
        what = "no such folder" if not path.exists() else "no config.json in it"
        if path.is_file():
            what = f"a file; name its folder, {path.parent}"
        raise FileNotFoundError(f"--from-dir {path}: {what}; it takes the folder of a run")
    return read_json_object(config)


def _rename(raw: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the values that say something, under our keys.

    A name that is itself a key of ours (another system may well have a ``sparsity``) is no alias.
    """
    present = {key: value for key, value in raw.items() if value is not None}
    aliases = {old: key for old, key in ALIASES.items() if old in present and old not in known}
    values = {key: value for key, value in present.items() if key not in aliases}
    for old, key in aliases.items():
        # Beside hidden_sizes (all layers) the seed system writes n_hidden: the last layer only.
        if key not in values or old == "hidden_sizes":
            values[key] = present[old]
    return values


def _model(path: Path, written: str, notes: list[str]) -> str:
    name = LEGACY_MODEL_NAMES.get(written, written)
    if name in REFUSED_MODELS:
        alias = f" (written as {written!r})" if name != written else ""
        raise ValueError(
            f"{path}: its model {name!r}{alias} belongs to the old current-based family, which "
            "cannot be run here; legal are ping, cuba-ping, cuba-noping: train one anew"
        )
    if name != written:
        notes.append(f"{path}: model {written!r} is an earlier name of {name!r}")
    return name


def _missing(path: Path, values: Mapping[str, Any], known: Mapping[str, Parameter]) -> list[str]:
    found = []
    if "dales_law" in known and "dales_law" not in values:
        found.append(
            f"{path}: an old config.json that does not say dales_law; "
            "pass --dales-law or --no-dales-law, or train again"
        )
    return found


def _event_stream(
    path: Path, raw: Mapping[str, Any], values: dict[str, Any], known: Collection[str]
) -> list[str]:
    """Give a run that says no event stream the published one, the only one of its time."""
    derived = raw.get("derived")
    encoder = derived.get("encoder") if isinstance(derived, Mapping) else None
    of_events = "events" in (encoder, values.get("encoder")) or values.get("dataset") == "shd"
    if "event_stream" not in known or "event_stream" in values or not of_events:
        return []
    values["event_stream"] = "published"
    return [f"{path}: does not say --event-stream; its events are drawn and binned as published"]


def _of_its_time(
    path: Path, raw: Mapping[str, Any], values: dict[str, Any], known: Collection[str]
) -> list[str]:
    """Fill in what the published program of the time did without saying so; return what to tell.

    Source: pinglab, models.py: kicks decayed on arrival, and tau_out was 2 ms, until the order
    changed; configurations of after that hold one of `_LATER`.
    """
    if values.get("model") != "ping":
        return []
    found = []
    later = any(key in raw for key in _LATER)
    if "synapse_order" in known and "synapse_order" not in values:
        values["synapse_order"] = "decay-add" if later else "kick-decay"
        found.append(
            f"{path}: does not say the synapse order; {values['synapse_order']} is used, as in the "
            "published program of that time (--synapse-order for another)"
        )
    reads_out = values.get("readout") in ("mem-mean", "spike-count")
    if reads_out and "readout_tau_out" in known and "readout_tau_out" not in values:
        values["readout_tau_out"] = _PUBLISHED_TAU_OUT_MS
        found.append(
            f"{path}: does not say the output time constant; {_PUBLISHED_TAU_OUT_MS:g} ms is used, "
            "as in the published program (--readout-tau-out for another)"
        )
    return found


def _find_weights(path: Path) -> Path | None:
    candidates = (path / "weights.pth", path / "weights.h5")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
