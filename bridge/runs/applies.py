"""Which options can apply to what: a flag that can't is refused instead of being ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bridge.runs.groups import InputOptions, NetworkOptions, RunOptions
from bridge.runs.resolve import Resolved


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a run is about, as far as it decides which options can apply.

    Attributes
    ----------
    model, readout : str
    stimulus : str
        ``synthetic-spikes``, ``synthetic-conductance``, ``dataset`` or ``file``.
    dataset : str or None
        Set where the stimulus is a dataset.
    loaded : bool
        Weights come from a file.
    """

    model: str
    readout: str
    stimulus: str
    dataset: str | None
    loaded: bool

    @property
    def is_ping(self) -> bool:
        """Whether the network is conductance-based."""
        return self.model == "ping"


_Rule = tuple[tuple[str, ...], Callable[[Situation], bool], str]

_RULES: tuple[_Rule, ...] = (
    (
        ("ei_layers", "ei_sparsity", "synapse_order", "tau_syn", "tau_gaba", "v_init", "bias",
         "trainable_w_ee", "trainable_w_ei", "trainable_w_ie", "v_grad_dampen"),
        lambda s: s.is_ping,
        "applies to the conductance-based --model ping only",
    ),
    (("tbptt_window",), lambda s: not s.is_ping, "applies to --model cuba-* only"),
    (
        ("ei_strength", "ei_ratio", "w_ei", "w_ie", "n_inh"),
        lambda s: s.model != "cuba-noping",
        "can't apply to --model cuba-noping, which has no I cells",
    ),
    (
        ("tau_mem",),
        lambda s: not s.is_ping or s.readout == "li",
        "applies to --model cuba-* and to --readout li; the membranes of ping have 20 and 5 ms",
    ),
    (
        ("readout_tau_out",),
        lambda s: not s.is_ping or s.readout in ("spike-count", "mem-mean"),
        "applies to --readout spike-count and mem-mean only",
    ),
    (
        ("input_rate",),
        lambda s: s.stimulus in ("synthetic-spikes", "dataset") and s.dataset != "shd",
        "applies to Poisson-coded input only (synthetic-spikes, scikit, mnist, smnist)",
    ),
    (
        ("stim_overdrive",),
        lambda s: s.stimulus.startswith("synthetic") or s.dataset in ("scikit", "mnist"),
        "applies to synthetic input and to the datasets scikit and mnist only",
    ),
    (
        ("trials",),
        lambda s: s.stimulus != "file",
        "can't apply to --input-file, which holds its own trials",
    ),
    (
        ("trials",),
        lambda s: s.dataset != "shd",
        "can't apply to --dataset shd: its input has no noise, all trials would be equal",
    ),
    (
        ("dataset", "digit", "sample"),
        lambda s: s.stimulus != "file",
        "can't apply together with --input-file",
    ),
    (
        ("encoder",),
        lambda s: s.stimulus == "synthetic-spikes" or s.dataset in ("scikit", "mnist"),
        "applies to synthetic-spikes and to the datasets scikit and mnist only",
    ),
    (
        ("event_stream",),
        lambda s: s.stimulus == "synthetic-spikes" or s.dataset in ("scikit", "mnist", "shd"),
        "applies to synthetic-spikes and to the datasets scikit, mnist and shd only",
    ),
    (
        ("w_in", "w_in_sparsity"),
        lambda s: s.stimulus != "synthetic-conductance",
        "can't apply to --input synthetic-conductance, which has no input spikes",
    ),
    (
        ("w_in", "w_in_sparsity", "readout_w_out_scale"),
        lambda s: not s.loaded,
        "shapes weights that are drawn, but these are loaded from a file",
    ),
)  # fmt: skip


def refuse_what_cannot_apply(resolved: Resolved, situation: Situation) -> None:
    """Refuse flags that were asked for (typed or in a recipe) and can't apply.

    Inherited settings that don't apply are left aside: a run may be looked at in another way than
    it was made.

    Raises
    ------
    ValueError
        Naming the flag and where it does apply.
    """
    for keys, applies, reason in _RULES:
        for key in keys:
            if asked_for(resolved, key) and not applies(situation):
                raise ValueError(f"--{key.replace('_', '-')} {reason}")


def asked_for(resolved: Resolved, key: str) -> bool:
    """Return whether a key was typed or stands in the recipe; no, if the command has none such."""
    return resolved.origin.get(key) in ("typed", "config")


def refuse_contradictions(resolved: Resolved) -> None:
    """Refuse combinations of flags that exclude each other, whatever the model.

    Raises
    ------
    ValueError
        Naming both flags.
    """
    network = resolved[NetworkOptions]
    given, run = resolved[InputOptions], resolved[RunOptions]
    both = "--{} and --{} contradict each other: {}"
    origin = resolved.origin
    if asked_for(resolved, "weights_file") and asked_for(resolved, "load_weights"):
        raise ValueError(both.format("weights-file", "load-weights", "give the weights once"))
    if given.input_file is not None and asked_for(resolved, "input"):
        raise ValueError(both.format("input-file", "input", "the file is the input"))
    if asked_for(resolved, "ei_strength") and (
        origin["ei_strength"] == origin["w_ei"] == origin["w_ie"]
    ):
        raise ValueError(
            both.format("ei-strength", "w-ei/--w-ie", "the latter already give both matrices")
        )
    if asked_for(resolved, "ei_ratio") and origin["ei_ratio"] == origin["w_ie"]:
        raise ValueError(both.format("ei-ratio", "w-ie", "the latter already gives W_IE"))
    if asked_for(resolved, "modal_gpu") and "modal" not in resolved.explicit:
        raise ValueError("--modal-gpu applies to a --modal run only")
    if network.model != "ping" and network.n_hidden is not None and len(network.n_hidden) != 1:
        raise ValueError(
            f"--model {network.model} has a single hidden layer; --n-hidden gives "
            f"{len(network.n_hidden)}"
        )
    if network.model == "cuba-noping" and network.dales_law:
        raise ValueError(
            "--model cuba-noping requires --no-dales-law (its input weights change sign)"
        )
    if network.model != "ping" and network.readout not in (None, "mem-mean"):
        raise ValueError(
            f"--readout {network.readout} can't apply to --model {network.model}; "
            "its only readout is mem-mean"
        )
    if run.from_dir is not None and run.out_dir is not None and run.wipe_dir:
        source, target = run.from_dir.resolve(), run.out_dir.resolve()
        if source == target or target in source.parents:
            raise ValueError("--wipe-dir would clear the folder that --from-dir reads")


DATASET_MODES = ("train", "infer")
"""Commands whose input is a whole data set."""

_NOT_WITH_DATASETS = {
    "input_file": "its input is a dataset",
    "trials": "each sample of the dataset is a trial",
    "stim_overdrive": "its samples have no stimulus window",
    "save_recording": "it runs many trials; use sim or image with --from-dir",
    "record_traces": "it runs many trials; use sim or image with --from-dir",
    "v_init": "its cells start at rest",
    "encoder": "its samples are encoded step by step",
}


def refuse_for_datasets(resolved: Resolved, mode: str) -> None:
    """Refuse what `train` and `infer` can't do.

    Raises
    ------
    ValueError
        Naming the flag and the reason.
    """
    for key, reason in _NOT_WITH_DATASETS.items():
        if asked_for(resolved, key):
            raise ValueError(f"--{key.replace('_', '-')} can't apply to {mode}: {reason}")
    given = resolved[InputOptions]
    if asked_for(resolved, "event_stream") and given.dataset != "shd":
        raise ValueError(
            f"--event-stream can't apply to {mode} on {given.dataset}: its samples are encoded "
            "step by step"
        )
    if asked_for(resolved, "input") and given.input != "dataset":
        raise ValueError(f"--input {given.input} can't apply to {mode}: its input is a dataset")
