"""Configuration of clustered networks: YAML sections as option groups, every key validated.

Times in seconds, rates in Hz, voltages and couplings dimensionless. Lists of four are ordered E to
E, E to I, I to E, I to I (sending to receiving); lists of two are [E, I].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

import numpy as np

from bridge.clustered.perturbation import PerturbationBlock, read_perturbations
from bridge.clustered.yaml_tree import dump_tree, load_tree
from bridge.runs.options import Options, from_json, option, parameters
from bridge.runs.parameter import nearest

_MOST_STEPS = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class InitParams(Options):
    """Size and steps."""

    delta_t_s: float | None = option(
        None, "time step (spiking)", unit="s", key="delta_t", flag="delta-t", above=0
    )
    duration_s: float | None = option(
        None, "length of a run (spiking)", unit="s", key="duration_sec", flag="duration-sec",
        above=0,
    )  # fmt: skip
    mechanism: str = option(
        "analytic", "exact propagators or forward Euler", choices=("analytic", "euler")
    )
    n_neurons: int | None = option(None, "neurons", at_least=2)
    n_excitatory: int | None = option(None, "excitatory neurons", at_least=1)
    n_inhibitory: int | None = option(None, "inhibitory neurons", at_least=0)


@dataclass(frozen=True, kw_only=True)
class NetworkParams(Options):
    """Cells: a number, a pair [E, I] or one value per neuron."""

    tau_membrane: tuple[float, ...] | None = option(None, "membrane", unit="s", above=0)
    tau_synaptic: tuple[float, ...] | None = option(None, "synapse", unit="s", above=0)
    tau_refractory: tuple[float, ...] | None = option(None, "refractory", unit="s", at_least=0)
    threshold: tuple[float, ...] | None = option(None, "threshold")
    reset_voltage: tuple[float, ...] | None = option(None, "reset")
    j_ext: tuple[float, ...] | None = option(
        None, "external weights before 1/sqrt(N): exc to E, to I, inh to E, to I", nargs=(2, 4)
    )


@dataclass(frozen=True, kw_only=True)
class ClusterParams(Options):
    """Clusters and couplings."""

    n_excitatory_background: int | None = option(None, "E cells outside clusters", at_least=0)
    n_inhibitory_background: int | None = option(None, "I cells outside clusters", at_least=0)
    n_clusters: int | None = option(None, "clusters of each type", at_least=1)
    total_pops: int | None = option(None, "2 * n_clusters + 2, checked")
    connectivity_fraction_probs: tuple[float, ...] | None = option(
        None, "connection probabilities", nargs=4, at_least=0, at_most=1
    )
    j_baseline: tuple[float, ...] | None = option(None, "couplings before 1/sqrt(N)", nargs=4)
    j_potentiated: tuple[float, ...] | None = option(
        None, "factors within a cluster (J+)", nargs=4, at_least=0
    )
    potentiate: bool = option(True, "weaken couplings between clusters accordingly")


@dataclass(frozen=True, kw_only=True)
class ExternalParams(Options):
    """External drive: exc to E, exc to I, inh to E, inh to I."""

    c_ext: tuple[float, ...] | None = option(
        None, "external synapses per neuron", nargs=(2, 4), at_least=0
    )
    nu_ext_baseline: tuple[float, ...] | None = option(
        None, "rate per external synapse", unit="Hz", nargs=(2, 4), at_least=0
    )


@dataclass(frozen=True, kw_only=True)
class StimulusParams(Options):
    """Stimulus of a subset of E-cluster neurons."""

    stimulus_shape: str = option(
        "diff2exp", "waveform (1, 2, 3 are accepted)", choices=("box", "linear", "diff2exp")
    )
    onsets: tuple[float, ...] | None = option(None, "times of events", unit="s", at_least=0)
    duration: float | None = option(None, "length of an event; default the run", unit="s", above=0)
    amplitude: float = option(0.0, "amplitude", unit="1/s")
    stimulated_clusters_prob: float = option(
        0.5, "fraction of clusters that are stimulated", at_least=0, at_most=1
    )
    stimulated_neuron_prob: float = option(
        0.5, "fraction of their neurons that are stimulated", at_least=0, at_most=1
    )
    tau_rise: float = option(0.075, "rise of diff2exp", unit="s", above=0)
    tau_decay: float = option(0.1, "decay of diff2exp", unit="s", above=0)


@dataclass(frozen=True, kw_only=True)
class SettingsParams(Options):
    """What `execute` writes, and the seed."""

    save: bool = option(False, "write outputs")
    plot: bool = option(False, "draw a figure")
    save_dir: Path = option(Path("simulations"), "folder of output folders")
    sim_name: str = option("test_sim", "name of the output folder")
    random_seed: int | None = option(
        256, "seed where none is passed; null draws one and records it", at_least=0
    )


@dataclass(frozen=True, kw_only=True)
class ArousalParams(Options):
    """Arousal: gain of E to E couplings and external rate."""

    level: float = option(1e-6, "level of arousal", at_least=0, at_most=1)
    big_l: float = option(0.75, "largest relative reduction of E to E couplings", key="L", flag="L")
    x_0: float = option(0.2, "gain at half arousal", above=0, below=1)
    k: float = option(1.25, "steepness", above=0)
    big_m: float = option(13.125, "scale of the extra external rate", unit="Hz", key="M", flag="M")


_SECTIONS: dict[tuple[str, ...], type[Options]] = {
    ("init_params",): InitParams,
    ("architecture", "network"): NetworkParams,
    ("architecture", "clusters"): ClusterParams,
    ("external_currents",): ExternalParams,
    ("stimulus",): StimulusParams,
    ("settings",): SettingsParams,
    ("arousal",): ArousalParams,
}
_OPTIONAL_KEYS = {"total_pops", "potentiate", "mechanism"}
_SPIKING_KEYS = {"delta_t", "duration_sec"}
_SHAPE_NUMBERS = {1: "box", 2: "linear", 3: "diff2exp"}

OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True, eq=False)
class ClusteredConfig:
    """A configuration, checked.

    Attributes
    ----------
    init, network, clusters, external, stimulus, settings, arousal
        The sections.
    perturbation : dict of str to PerturbationBlock
        By target.
    tree : dict
        The mapping it was read from.
    content : bytes
        Its text.
    """

    init: InitParams
    network: NetworkParams
    clusters: ClusterParams
    external: ExternalParams
    stimulus: StimulusParams
    settings: SettingsParams
    arousal: ArousalParams
    perturbation: Mapping[str, PerturbationBlock]
    tree: Mapping[str, Any]
    content: bytes = field(repr=False)

    @property
    def n_populations(self) -> int:
        """Return 2 Q + 2."""
        assert self.clusters.n_clusters is not None
        return 2 * self.clusters.n_clusters + 2


def read_config(source: Any, *, spiking: bool = True) -> ClusteredConfig:
    """Return the configuration in a YAML file, bytes of YAML, or a mapping.

    Parameters
    ----------
    source : path, bytes, mapping or ClusteredConfig
        Mappings may hold numbers and arrays of numpy, and paths.
    spiking : bool
        Whether time step and duration are required.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        For unknown keys (names the nearest), missing keys (all of them), impossible values.
    """
    if isinstance(source, ClusteredConfig):
        source = source.tree
    if isinstance(source, Mapping):
        tree = plain_tree(source)
        content, name = dump_tree(tree).encode(), "the configuration"
    else:
        tree, content, name = load_tree(source)
    try:
        return _from_tree(tree, content, spiking)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def plain_tree(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a configuration in the words of YAML.

    Arrays and tuples become lists, numbers of numpy those of Python, paths text.

    Raises
    ------
    TypeError
        For anything else that YAML has no word for; names the entry.
    """
    return {str(key): _plain(value, str(key)) for key, value in tree.items()}


def _plain(value: Any, name: str) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(one, f"{name}.{key}") for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, f"{name}[{k}]") for k, one in enumerate(value)]
    if isinstance(value, np.longdouble):
        return float(value)
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), name)
    if isinstance(value, PurePath):
        return str(value)
    for kind in (bool, int, float, str):  # an enum of whole numbers, say
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(
        f"the configuration: {name} is a {type(value).__name__}; use numbers, text, lists, arrays "
        "and mappings of those"
    )


def _from_tree(tree: Mapping[str, Any], content: bytes, spiking: bool) -> ClusteredConfig:
    _check_names(tree)
    missing: list[str] = []
    sections = {path: _section(tree, path, spiking, missing) for path in _SECTIONS}
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    names = ("init", "network", "clusters", "external", "stimulus", "settings", "arousal")
    parts: dict[str, Any] = dict(zip(names, sections.values(), strict=True))
    config = ClusteredConfig(
        **parts,
        perturbation=read_perturbations(_mapping(tree, ("perturbation",))),
        tree=tree,
        content=content,
    )
    _check_sizes(config)
    return config


def _section(
    tree: Mapping[str, Any], path: tuple[str, ...], spiking: bool, missing: list[str]
) -> Options:
    group = _SECTIONS[path]
    given = dict(_mapping(tree, path))
    if path == ("stimulus",) and given.get("stimulus_shape") in _SHAPE_NUMBERS:
        given["stimulus_shape"] = _SHAPE_NUMBERS[given["stimulus_shape"]]
    name = ".".join(path)
    # An empty value is a missing one, but for what may be empty.
    known = {parameter.key: parameter for parameter in parameters(group)}
    given = {
        key: value for key, value in given.items()
        if value is not None or key not in known or known[key].optional
    }  # fmt: skip
    required = [
        key for key, parameter in known.items()
        if parameter.default is None and key not in _OPTIONAL_KEYS and group in _REQUIRED
        and (spiking or key not in _SPIKING_KEYS)
    ]  # fmt: skip
    missing += [f"{name}.{key}" for key in required if given.get(key) is None]
    try:
        return from_json(group, given)
    except (TypeError, ValueError) as error:
        text = str(error).replace("; see --help for the flags; a key is a flag with _ for -", "")
        for parameter in known.values():  # a configuration has keys, not flags
            text = text.replace(f"--{parameter.flag} ", f"{parameter.key} ")
        raise type(error)(f"{name}: {text}") from None


_REQUIRED = (InitParams, NetworkParams, ClusterParams, ExternalParams)


def _mapping(tree: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    node: Any = tree
    for word in path:
        node = node.get(word)
        if node is None:
            return {}
        if not isinstance(node, Mapping):
            raise ValueError(f"{'.'.join(path)} must be a mapping of keys")
    found: Mapping[str, Any] = node
    return found


def _check_names(tree: Mapping[str, Any]) -> None:
    legal = [*dict.fromkeys(path[0] for path in _SECTIONS), "perturbation"]
    for words, prefix in ((tree, ""), (_mapping(tree, ("architecture",)), "architecture.")):
        names = legal if not prefix else ["network", "clusters"]
        for word in words:
            if word not in names:
                near = nearest(str(word), names)
                hint = f"did you mean {near}?" if near else f"legal are {', '.join(names)}"
                raise ValueError(f"unknown section {prefix}{word}; {hint}")


def _check_sizes(config: ClusteredConfig) -> None:
    init, clusters = config.init, config.clusters
    n, n_exc, n_inh = init.n_neurons, init.n_excitatory, init.n_inhibitory
    assert n is not None
    assert n_exc is not None
    assert n_inh is not None
    assert clusters.n_clusters is not None
    if n_exc + n_inh != n:
        raise ValueError(
            f"init_params: n_excitatory + n_inhibitory = {n_exc + n_inh} must be n_neurons = {n}"
        )
    q = clusters.n_clusters
    if clusters.total_pops not in (None, 2 * q + 2):
        raise ValueError(
            f"architecture.clusters: total_pops = {clusters.total_pops} must be 2 * n_clusters + 2 "
            f"= {2 * q + 2}; it may be left out"
        )
    for name, whole, background in (
        ("excitatory", n_exc, clusters.n_excitatory_background),
        ("inhibitory", n_inh, clusters.n_inhibitory_background),
    ):
        assert background is not None
        if background > whole:
            raise ValueError(
                f"architecture.clusters: n_{name}_background = {background} is more than the "
                f"{whole} {name} neurons"
            )
        if 0 < whole - background < q:
            raise ValueError(
                f"architecture.clusters: {whole - background} clustered {name} neurons do not "
                f"fill {q} clusters"
            )
    stimulus = config.stimulus
    if stimulus.stimulus_shape == "diff2exp" and stimulus.tau_rise == stimulus.tau_decay:
        raise ValueError(
            f"stimulus: tau_rise and tau_decay = {stimulus.tau_rise:g} s must differ for diff2exp"
        )
    if init.delta_t_s is not None and init.duration_s is not None:
        n_steps = init.duration_s / init.delta_t_s
        if n_steps >= _MOST_STEPS:
            raise ValueError(
                f"init_params: duration_sec = {init.duration_s:g} s is {n_steps:.3g} steps of "
                f"delta_t; at most {_MOST_STEPS:.3g} can be counted"
            )
        if round(n_steps) < 1:
            raise ValueError("init_params: duration_sec is shorter than one delta_t")
    for target, block in config.perturbation.items():
        block.check_length(target, config.n_populations)
