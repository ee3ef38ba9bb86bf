"""From resolved options to what a backend runs: network spec, weights, stimulus."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.formats.weight_files import infer_sizes, load_weight_matrices
from bridge.network.encoders import STEP_OFF_MS, STEP_ON_MS, late_events
from bridge.network.spec import CubaSpec, NetworkSpec
from bridge.network.steps import step_constants
from bridge.network.stimulus import Stimulus
from bridge.network.weights import DrawRule, WeightDraw, Weights, draw_weights, ei_draw
from bridge.runs.applies import (
    DATASET_MODES,
    Situation,
    asked_for,
    refuse_contradictions,
    refuse_for_datasets,
    refuse_what_cannot_apply,
)
from bridge.runs.groups import (
    ExecutionOptions,
    InputOptions,
    NetworkOptions,
    RunOptions,
    TrainingOptions,
    WeightOptions,
)
from bridge.runs.inherit import InheritedRun
from bridge.runs.options import by_key
from bridge.runs.resolve import Resolved
from bridge.runs.sizes import check_size, make_spec
from bridge.runs.stimuli import (
    StimulusPlan,
    encoder_of,
    fit_trial,
    make_stimulus,
    plan_stimulus,
    say_late,
)
from bridge.runs.trained_split import trained_split

log = logging.getLogger("pingbridge")

_EI_DEFAULT = {"ping": (0.5, 2.0), "cuba-ping": (1.0, 1.0), "cuba-noping": (0.0, 1.0)}
_W_IN_DEFAULT = {"ping": (0.3, 0.06), "cuba-ping": (0.0, 0.5), "cuba-noping": (0.0, 0.5)}
BURN_IN_MS = 100.0
SNAPSHOT_BURN_IN_MS = 20.0
"""Burn-in of the single trials that `train` and `infer` look at (Source: pinglab)."""
_TRAINED = ("train",)
"""Modes of runs whose weights are the outcome and can't be drawn again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """Everything that a backend needs for one run, and what its picture shows besides.

    Attributes
    ----------
    spec, weights, stimulus
        The network, its weights as stored, its input.
    seed : int
    plan : StimulusPlan
        Which input it is, with the dataset sample and its label.
    burn_in_ms : float, ms
    weights_from : Path or None
        File that the weights were loaded from.
    resolved : Resolved
        Options with everything worked out that depends on model, dataset and files.
    """

    spec: NetworkSpec
    weights: Weights
    stimulus: Stimulus
    seed: int
    plan: StimulusPlan
    burn_in_ms: float
    weights_from: Path | None
    resolved: Resolved

    @property
    def stim_window_ms(self) -> tuple[float, float] | None:
        """The window with overdrive, or None where the drive is the same throughout."""
        if self.resolved[InputOptions].stim_overdrive == 1.0 or self.plan.kind == "file":
            return None
        return STEP_ON_MS, STEP_OFF_MS

    def config(self) -> dict[str, Any]:
        """Return the options and derived sizes as config.json keeps them."""
        return self.resolved.to_json() | {"derived": self._derived()}

    def _derived(self) -> dict[str, Any]:
        path = self.weights_from
        return {
            "n_in": self.spec.n_in,
            "hidden_sizes": list(self.spec.hidden_sizes),
            "populations": dict(self.spec.populations),
            "n_classes": self.spec.n_classes,
            "n_steps": self.stimulus.n_steps,
            "n_trials": self.stimulus.n_trials,
            "n_input_spikes": len(self.stimulus.events),
            "encoder": encoder_of(self.plan, self.resolved[InputOptions]),
            "burn_in_ms": self.burn_in_ms,
            "bias_us_per_step": self.stimulus.bias_us,
            "weights_from": str(path.absolute()) if path else None,
        }


def make_job(
    resolved: Resolved, inherited: InheritedRun | None = None, *, mode: str = "sim"
) -> Job:
    """Return the job that resolved options describe; nothing is written, nothing is simulated.

    The input of ``train`` and ``infer`` is always a dataset: the job's stimulus is the sample at
    which they look.

    Raises
    ------
    ValueError, FileNotFoundError
        For anything that doesn't fit together; the message says what to type instead.
    """
    resolved = _drop_overruled(resolved, inherited)
    refuse_contradictions(resolved)
    if mode in DATASET_MODES:
        refuse_for_datasets(resolved, mode)
        steps = dataclasses.replace(resolved[InputOptions], encoder=None)  # an inherited one
        resolved = dataclasses.replace(resolved, options={**resolved.options, InputOptions: steps})
    network = resolved[NetworkOptions]
    path, loaded = _load_weights(resolved, inherited)
    sizes = infer_sizes(loaded) if loaded is not None else None
    plan = plan_stimulus(resolved, inherited, dataset_only=mode in DATASET_MODES)
    resolved = fit_trial(resolved, plan)
    network = resolved[NetworkOptions]
    plan = dataclasses.replace(plan, training=trained_split(path, inherited))
    readout = network.readout or ("rate" if network.model == "ping" else "mem-mean")
    refuse_what_cannot_apply(
        resolved,
        Situation(
            model=network.model,
            readout=readout,
            stimulus=plan.kind,
            dataset=plan.dataset,
            loaded=loaded is not None,
        ),
    )
    spec = make_spec(resolved, plan, sizes, readout)
    check_size(spec, plan.file.n_trials if plan.file else resolved[InputOptions].trials)
    stimulus = make_stimulus(resolved, plan, spec)
    if plan.sample is not None and plan.sample.times_s is not None and mode not in DATASET_MODES:
        late = late_events([plan.sample.times_s], dt_ms=stimulus.dt_ms, n_steps=stimulus.n_steps)
        say_late(*late, t_ms=stimulus.t_ms, what="shd")
    step_constants(spec, stimulus.dt_ms)  # refuses a dt that is too coarse, before anything runs
    stimulus.check_fits(spec.n_in, spec.hidden_sizes[0])
    fresh_loop = _loop_asked(resolved, inherited)
    weights = _make_weights(resolved, spec, loaded, fresh_loop)
    if loaded is None and plan.kind == "synthetic-conductance":
        weights = weights.replace(W_in=np.zeros(spec.matrix_shapes["W_in"]))  # no input spikes
    burn_in_ms = resolved[RunOptions].burn_in_ms
    if burn_in_ms is None:
        burn_in_ms = SNAPSHOT_BURN_IN_MS if mode in DATASET_MODES else BURN_IN_MS
    if burn_in_ms >= stimulus.t_ms:
        if asked_for(resolved, "burn_in"):
            raise ValueError(
                f"--burn-in = {burn_in_ms:g} ms leaves nothing of a trial of {stimulus.t_ms:g} ms"
            )
        log.info("trial of %g ms: the burn-in of %g ms is not cut", stimulus.t_ms, burn_in_ms)
        burn_in_ms = 0.0
    full = _worked_out(resolved, spec, plan, stimulus, readout, path, fresh_loop)
    return Job(
        spec=spec,
        weights=weights,
        stimulus=stimulus,
        seed=resolved[ExecutionOptions].seed,
        plan=plan,
        burn_in_ms=burn_in_ms,
        weights_from=path,
        resolved=full,
    )


def redraw_weights(job: Job, resolved: Resolved) -> Weights:
    """Return the weights that other options draw for the network of a job, with the same seed."""
    return _make_weights(resolved, job.spec, None, [])


_OVERRULES = {
    # what was asked for   makes these inherited values obsolete
    "model": ("n_inh", "ei_layers", "readout", "ei_strength", "ei_ratio", "w_in", "w_ei", "w_ie",
              "tau_mem", "readout_tau_out", "bias"),
    "n_hidden": ("n_inh", "ei_layers"),
    "ei_layers": ("n_inh",),
    "ei_strength": ("w_ei", "w_ie"),
    "ei_ratio": ("w_ie",),
    "dataset": ("input", "input_file"),
    "digit": ("input", "input_file"),
    "sample": ("input", "input_file"),
    "input": ("input_file", "bias"),
    "input_file": ("input",),
    "weights_file": ("load_weights", "n_hidden", "n_inh", "ei_layers"),
    "load_weights": ("weights_file", "n_hidden", "n_inh", "ei_layers"),
}  # fmt: skip


_RANK = {"default": 0, "from-dir": 1, "config": 2, "typed": 3}


def _drop_overruled(resolved: Resolved, inherited: InheritedRun | None) -> Resolved:
    """Set values back to their default where a setting of higher rank makes them obsolete.

    One that only repeats what was inherited overrules nothing.
    """
    known = by_key(resolved.options)
    handed_on = inherited.values if inherited is not None else {}
    obsolete = set()
    for asked, keys in _OVERRULES.items():
        if not asked_for(resolved, asked):
            continue
        group, parameter = known[asked]
        value = getattr(resolved.options[group], parameter.name)
        repeats = asked in handed_on and parameter.read(handed_on[asked]) == value
        for key in keys:
            rank = _RANK[resolved.origin[key]]
            if 0 < rank < _RANK[resolved.origin[asked]] and not (repeats and rank == 1):
                obsolete.add(key)
    options = dict(resolved.options)
    for key in obsolete:
        group, parameter = known[key]
        options[group] = dataclasses.replace(options[group], **{parameter.name: parameter.default})
    if obsolete:
        log.info("overruled, back to default: %s", ", ".join(sorted(obsolete)))
    origin = dict(resolved.origin) | dict.fromkeys(obsolete, "default")
    return dataclasses.replace(resolved, options=options, origin=origin)


def _load_weights(
    resolved: Resolved, inherited: InheritedRun | None
) -> tuple[Path | None, dict[str, NDArray[np.float64]] | None]:
    """Return where explicit weights come from, and the matrices."""
    options = resolved[WeightOptions]
    path = None
    if asked_for(resolved, "weights_file"):
        path = options.weights_file
    elif asked_for(resolved, "load_weights"):
        path = options.load_weights
    elif inherited is not None and inherited.weights_path is not None:
        path = inherited.weights_path
    elif inherited is not None and (inherited.mode in _TRAINED or inherited.mode is None):
        raise FileNotFoundError(
            f"{inherited.path} holds no weights.pth (nor weights.h5); name the weights with "
            "--load-weights"
        )
    else:
        path = options.load_weights or options.weights_file
    if path is None:
        return None, None
    return path, load_weight_matrices(path)


_LOOP = ("ei_strength", "ei_ratio", "w_ei", "w_ie")


def _loop_asked(resolved: Resolved, inherited: InheritedRun | None) -> list[str]:
    """Return the flags that ask for a fresh E-I loop in loaded weights.

    A training hands on the strength with which its loop was once drawn, wherever its weights lie
    now; any other run with loaded weights has these settings only if it put a fresh loop into them.
    Weights that are named here come with the loop that they have: nothing that is inherited
    touches them.
    """
    trained = inherited is not None and (
        inherited.weights_path is not None or inherited.mode in _TRAINED or inherited.mode is None
    )
    named = asked_for(resolved, "load_weights") or asked_for(resolved, "weights_file")
    return [
        key
        for key in _LOOP
        if asked_for(resolved, key)
        or (resolved.origin[key] == "from-dir" and not (trained or named))
    ]


def _make_weights(
    resolved: Resolved,
    spec: NetworkSpec,
    loaded: Mapping[str, NDArray[np.float64]] | None,
    loop_asked: list[str],
) -> Weights:
    network, options = resolved[NetworkOptions], resolved[WeightOptions]
    seed = resolved[ExecutionOptions].seed
    if loaded is not None and not loop_asked:
        for key in ("ei_sparsity", "weight_draw"):
            if asked_for(resolved, key):
                raise ValueError(
                    f"--{key.replace('_', '-')} shapes weights that are drawn, but these are "
                    "loaded from a file"
                )
        _warn_clamped(resolved, loaded)
        return Weights.for_spec(spec, loaded)
    draw = _draw_rules(network, options, plain_input=spec.n_in)
    drawn = draw_weights(
        spec,
        draw,
        seed=seed,
        source=options.weight_draw,  # type: ignore[arg-type]  # choices of the option
    )
    if loaded is None:
        scale = resolved[TrainingOptions].readout_w_out_scale
        return drawn if scale == 1.0 else drawn.scaled("W_out", scale)
    # A fresh loop in a loaded network: the rest stays as it was trained.
    log.info("the E-I loop is drawn anew (--%s)", loop_asked[0].replace("_", "-"))
    loop = {n: drawn[n] for n in spec.optional_matrices if n[:4] in ("W_ei", "W_ie")}
    return Weights.for_spec(spec, {**loaded, **loop})


def _warn_clamped(resolved: Resolved, loaded: Mapping[str, NDArray[np.float64]]) -> None:
    """Say which loaded matrices Dale's law changes when they are used."""
    network = resolved[NetworkOptions]
    if not network.dales_law:
        return
    for name, matrix in loaded.items():
        share = float(np.mean(matrix < 0)) if matrix.size else 0.0
        if share and (network.model == "ping" or name == "W_in"):
            log.warning(
                "%s: %.3g %% of the entries are negative and used as 0 (--dales-law is on)",
                name, 100.0 * share,
            )  # fmt: skip


def _draw_rules(network: NetworkOptions, options: WeightOptions, *, plain_input: int) -> WeightDraw:
    strength, ratio = _EI_DEFAULT[network.model]
    strength = strength if network.ei_strength is None else network.ei_strength
    ratio = ratio if network.ei_ratio is None else network.ei_ratio
    w_ei, w_ie = ei_draw(strength, ratio, sparsity=network.ei_sparsity)
    for flag, given in (("--w-ei", options.w_ei), ("--w-ie", options.w_ie)):
        if given is not None and given[0] < 0:
            raise ValueError(f"{flag} {given[0]:g}: the mean must be >= 0")
    if options.w_ei is not None:
        w_ei = DrawRule(options.w_ei[0], options.w_ei[1], network.ei_sparsity)
    if options.w_ie is not None:
        w_ie = DrawRule(options.w_ie[0], options.w_ie[1], network.ei_sparsity)
    mean, *rest = options.w_in or _W_IN_DEFAULT[network.model]
    w_in = DrawRule(mean, rest[0] if rest else 0.1 * abs(mean), network.w_in_sparsity)
    return WeightDraw(w_in=w_in, w_ei=w_ei, w_ie=w_ie)


def _worked_out(
    resolved: Resolved,
    spec: NetworkSpec,
    plan: StimulusPlan,
    stimulus: Stimulus,
    readout: str,
    loaded_from: Path | None,
    fresh_loop: list[str],
) -> Resolved:
    """Return the options with what a later run must inherit to be the same network."""
    network = resolved[NetworkOptions]
    drawn = loaded_from is None
    strength, ratio = _EI_DEFAULT[network.model]
    pools = tuple(n for name, n in spec.populations.items() if name.startswith("i"))
    worked: dict[str, Any] = {
        "n_hidden": spec.hidden_sizes,
        "n_inh": pools or None,
        "readout": readout,
        "dt_ms": stimulus.dt_ms,
        "t_ms": stimulus.t_ms,
    }
    if drawn and network.model != "cuba-noping":
        worked["ei_strength"] = strength if network.ei_strength is None else network.ei_strength
        worked["ei_ratio"] = ratio if network.ei_ratio is None else network.ei_ratio
    keeps_loop = not drawn and not fresh_loop
    if keeps_loop:
        worked |= {"ei_strength": None, "ei_ratio": None}
    if isinstance(spec, CubaSpec):
        worked["tau_mem_ms"] = spec.tau_mem_ms
        worked["readout_tau_out_ms"] = spec.tau_out_ms
    else:
        worked["ei_layers"] = spec.ei_layers or None
        if readout in ("mem-mean", "spike-count"):
            worked["readout_tau_out_ms"] = spec.readout.tau_out_ms
        if readout == "li":
            worked["tau_mem_ms"] = spec.readout.tau_li_ms
    weights, given = resolved[WeightOptions], resolved[InputOptions]
    options = dict(resolved.options)
    options[NetworkOptions] = dataclasses.replace(network, **worked)
    options[WeightOptions] = dataclasses.replace(
        weights,
        w_in=weights.w_in or _W_IN_DEFAULT[network.model] if drawn else weights.w_in,
        w_ei=None if keeps_loop else weights.w_ei,
        w_ie=None if keeps_loop else weights.w_ie,
        weights_file=_absolute(weights.weights_file),
        load_weights=None if weights.weights_file else _absolute(loaded_from),
    )
    options[InputOptions] = dataclasses.replace(
        given,
        input=given.input if plan.kind == "file" else plan.kind,
        input_file=_absolute(given.input_file),
    )
    return dataclasses.replace(resolved, options=options)


def _absolute(path: Path | None) -> Path | None:
    """Return a path that a later run understands from any folder."""
    return None if path is None else path.absolute()
