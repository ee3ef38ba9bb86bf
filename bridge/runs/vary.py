"""How a run is varied by the scan variables.

Everything that is not swept stays as it is: the network drawn with the run's seed, and the input
drawn with it. A job varied by a value is the job that the flag itself would have made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bridge.datasets import catalog as datasets
from bridge.network.encoders import noise_spikes
from bridge.network.spec import CubaSpec, NetworkSpec, PingSpec
from bridge.network.steps import count_steps, step_constants
from bridge.network.weights import Weights
from bridge.runs.groups import InputOptions, NetworkOptions, WeightOptions
from bridge.runs.job import Job, redraw_weights
from bridge.runs.options import Options
from bridge.runs.stimuli import make_stimulus
from bridge.runs.variables import VARIABLES, at_values

_LOOP = {"w_ei_mean": "W_ei_", "w_ie_mean": "W_ie_"}
_NEW_INPUT = frozenset({"stim-overdrive", "spike_rate", "bias", "dt", "digit", "noise"})


def vary(job: Job, values: Mapping[str, float]) -> Job:
    """Return a job with some scan variables at other values.

    Parameters
    ----------
    job : Job
    values : dict of str to float
        By name, in natural units; empty for the job as it is.

    Raises
    ------
    ValueError
        If a variable can't apply to this job, or a value makes it invalid; names both.
    """
    for name, value in values.items():
        VARIABLES[name].check(value)
        _refuse_what_cannot_vary(job, name)
    try:
        return _varied(job, values)
    except ValueError as error:
        if not values:
            raise
        raise ValueError(f"{at_values(values)}: {error}") from None


def check_dt(job: Job, dt_ms: float) -> None:
    """Refuse a time step that does not divide the trial, or is too coarse for the network.

    Raises
    ------
    ValueError
        Naming it.
    """
    VARIABLES["dt"].check(dt_ms)
    count_steps(job.resolved[NetworkOptions].t_ms, dt_ms)
    step_constants(job.spec, dt_ms)


def _refuse_what_cannot_vary(job: Job, name: str) -> None:
    kind, dataset = job.plan.kind, job.plan.dataset
    coded = kind == "synthetic-spikes" or (kind == "dataset" and dataset != "shd")
    conductance_based = isinstance(job.spec, PingSpec)
    reason = None
    if name in ("tau_gaba", "tau_ampa", "bias") and not conductance_based:
        reason = f"--model {job.spec.model} has no conductances"
    elif name in (*_LOOP, "ei_strength") and not job.spec.ei_layers:
        reason = f"--model {job.spec.model} has no I cells"
    elif name == "digit" and kind != "dataset":
        reason = "it needs --input dataset"
    elif name == "spike_rate" and not coded:
        reason = "the input is not coded by a rate"
    elif name == "stim-overdrive" and not (
        kind.startswith("synthetic") or dataset in ("scikit", "mnist")
    ):
        reason = "the input has no stimulus window"
    elif name == "dt" and (kind == "file" or dataset == "smnist"):
        reason = "this input is tied to its own time grid"
    elif name == "ei_strength":
        weights = job.resolved[WeightOptions]
        given = [f for f, w in (("w-ei", weights.w_ei), ("w-ie", weights.w_ie)) if w is not None]
        if given:
            reason = f"--{given[0]} already gives the matrix"
    if reason is not None:
        raise ValueError(f"--scan-var {name} can't apply: {reason}")


def _varied(job: Job, values: Mapping[str, float]) -> Job:
    network, given = job.resolved[NetworkOptions], job.resolved[InputOptions]
    changes: dict[type[Options], dict[str, Any]] = {NetworkOptions: {}, InputOptions: {}}
    fields = {
        "tau_gaba": (NetworkOptions, "tau_gaba_ms"), "tau_ampa": (NetworkOptions, "tau_syn_ms"),
        "dt": (NetworkOptions, "dt_ms"), "ei_strength": (NetworkOptions, "ei_strength"),
        "stim-overdrive": (InputOptions, "stim_overdrive"),
        "spike_rate": (InputOptions, "input_rate_hz"), "bias": (InputOptions, "bias_us"),
        "digit": (InputOptions, "digit"),
    }  # fmt: skip
    drawn_loop = _loop_is_drawn(job)
    for name, value in values.items():
        if name in fields and (name != "ei_strength" or drawn_loop):
            group, field = fields[name]
            changes[group][field] = int(value) if name == "digit" else float(value)
    options = dict(job.resolved.options)
    options[NetworkOptions] = dataclasses.replace(network, **changes[NetworkOptions])
    options[InputOptions] = dataclasses.replace(given, **changes[InputOptions])
    resolved = dataclasses.replace(job.resolved, options=options)
    spec = _varied_spec(job.spec, values)
    plan = job.plan
    if "digit" in values:
        sample = datasets.select(given.dataset, int(values["digit"]), given.sample)
        plan = dataclasses.replace(plan, sample=sample)
    stimulus = job.stimulus
    if _NEW_INPUT & values.keys():
        if plan.file is None or "bias" in values:
            stimulus = make_stimulus(resolved, plan, spec)
        if values.get("noise"):
            stimulus = noise_spikes(stimulus, rate_hz=values["noise"], seed=job.seed)
    varied = dataclasses.replace(job, resolved=resolved, spec=spec, plan=plan, stimulus=stimulus)
    weights = _varied_weights(varied, job, values, drawn_loop)
    step_constants(spec, stimulus.dt_ms)
    return dataclasses.replace(varied, weights=weights)


def _varied_spec(spec: NetworkSpec, values: Mapping[str, float]) -> NetworkSpec:
    if isinstance(spec, CubaSpec) or not {"tau_gaba", "tau_ampa"} & values.keys():
        return spec
    synapses = dataclasses.replace(
        spec.synapses,
        tau_gaba_ms=float(values.get("tau_gaba", spec.synapses.tau_gaba_ms)),
        tau_ampa_ms=float(values.get("tau_ampa", spec.synapses.tau_ampa_ms)),
    )
    return dataclasses.replace(spec, synapses=synapses)


def _loop_is_drawn(job: Job) -> bool:
    """Tell whether the E-I loop was drawn for this run, not loaded."""
    network, weights = job.resolved[NetworkOptions], job.resolved[WeightOptions]
    asked = (network.ei_strength, network.ei_ratio, weights.w_ei, weights.w_ie)
    return job.weights_from is None or any(one is not None for one in asked)


def _varied_weights(
    varied: Job, job: Job, values: Mapping[str, float], drawn_loop: bool
) -> Weights:
    weights = job.weights
    if "ei_strength" in values and drawn_loop:
        # Drawn again with the same seed: what the flag does, and the same matrix but for its scale.
        drawn = redraw_weights(varied, varied.resolved)
        weights = weights.replace(
            **{n: drawn[n] for n in drawn if n.startswith(("W_ei_", "W_ie_"))}
        )
    elif "ei_strength" in values:
        # A loaded loop keeps its shape: its W_EI gets this mean, W_IE the same factor.
        base = loop_mean(job, "W_ei_")
        weights = _scaled(weights, "W_ei_", values["ei_strength"], base, job)
        weights = _scaled(weights, "W_ie_", values["ei_strength"], base, job)
    for name, prefix in _LOOP.items():
        if name in values:
            base = loop_mean(dataclasses.replace(varied, weights=weights), prefix)
            weights = _scaled(weights, prefix, values[name], base, job)
    return weights


def _scaled(weights: Weights, prefix: str, value: float, base: float, job: Job) -> Weights:
    if base == 0:
        hint = "put a fresh loop in with --ei-strength 1" if job.weights_from else (
            "draw the loop with --ei-strength 1 or more"
        )  # fmt: skip
        raise ValueError(f"{prefix.rstrip('_')} is zero and cannot be scaled; {hint}")
    for name in weights:
        if name.startswith(prefix) and value != base:
            weights = weights.scaled(name, value / base)
    return weights


def loop_mean(job: Job, prefix: str) -> float:
    """Return the mean with which W_EI or W_IE was drawn; of a loaded matrix, the mean it has.

    In the unit of ``--w-ei``: the total that a cell receives if every presynaptic cell fires once
    (conductance-based), or the mean entry (current-based). Of several layers, the first.
    """
    network, options = job.resolved[NetworkOptions], job.resolved[WeightOptions]
    if _loop_is_drawn(job):
        explicit = options.w_ei if prefix == "W_ei_" else options.w_ie
        if explicit is not None:
            return float(explicit[0])
        strength, ratio = network.ei_strength, network.ei_ratio
        if strength is not None and ratio is not None:
            return strength if prefix == "W_ei_" else strength * ratio
    matrix = next(job.weights[n] for n in job.weights if n.startswith(prefix))
    mean = float(matrix.mean())
    return mean * len(matrix) if isinstance(job.spec, PingSpec) else mean
