"""Each flag changes something: what it does, or what is recorded for those who need it."""

from __future__ import annotations

import pytest
from command_line import SMALL, Outcome, same

from bridge.runs.groups import PING_GROUPS
from bridge.runs.options import by_key
from sim_brian.engine import build_cache
from sim_brian.engine.cuda import toolkit as cuda_toolkit

CUBA = ("--model", "cuba-ping", "--w-in", "0", "3", "--w-in-sparsity", "0.5")
DIGIT = ("--digit", "0")
# key: (flags of both runs, flags of the second run, where the change shows)
FLIPS = {
    "model": ((), ("--model", "cuba-ping"), "result"),
    "n_hidden": ((), ("--n-hidden", "24"), "result"),
    "n_inh": ((), ("--n-inh", "4"), "result"),
    "ei_layers": (("--n-hidden", "32", "16"), ("--ei-layers", "2"), "result"),
    "readout": ((), ("--readout", "mem-mean"), "result"),
    "dales_law": ((), ("--no-dales-law",), "result"),
    "ei_strength": ((), ("--ei-strength", "2"), "result"),
    "ei_ratio": ((), ("--ei-ratio", "5"), "result"),
    "w_in_sparsity": ((), ("--w-in-sparsity", "0.5"), "result"),
    "ei_sparsity": ((), ("--ei-sparsity", "0.5"), "result"),
    "synapse_order": ((), ("--synapse-order", "kick-decay"), "result"),
    "dt": ((), ("--dt", "0.25"), "result"),
    "t_ms": ((), ("--t-ms", "260"), "result"),
    "tau_mem": (("--readout", "li"), ("--tau-mem", "30"), "result"),
    "tau_syn": ((), ("--tau-syn", "4"), "result"),
    "tau_gaba": ((), ("--tau-gaba", "4"), "result"),
    "readout_tau_out": (("--readout", "mem-mean"), ("--readout-tau-out", "20"), "result"),
    "v_init": ((), ("--v-init", "uniform"), "result"),
    "surrogate_slope": ((), ("--surrogate-slope", "5"), "config"),
    "grad_clip": ((), ("--grad-clip", "1e6"), "config"),
    "tbptt_window": (CUBA, ("--tbptt-window", "20"), "config"),
    "readout_w_out_scale": ((), ("--readout-w-out-scale", "10"), "result"),
    "trainable_w_ee": ((), ("--trainable-w-ee",), "config"),
    "trainable_w_ei": ((), ("--trainable-w-ei",), "config"),
    "trainable_w_ie": ((), ("--trainable-w-ie",), "config"),
    "input": ((), ("--input", "dataset"), "result"),
    "input_rate": ((), ("--input-rate", "300"), "result"),
    "stim_overdrive": ((), ("--stim-overdrive", "2"), "result"),
    "bias": ((), ("--bias", "0.001"), "result"),
    "encoder": (DIGIT, ("--encoder", "events"), "result"),
    "event_stream": ((*DIGIT, "--encoder", "events"), ("--event-stream", "published"), "result"),
    "digit": (DIGIT, ("--digit", "3"), "result"),
    "sample": (DIGIT, ("--sample", "1"), "result"),
    "trials": ((), ("--trials", "2"), "result"),
    "w_in": ((), ("--w-in", "4"), "result"),
    "w_ei": ((), ("--w-ei", "2", "0.1"), "result"),
    "w_ie": ((), ("--w-ie", "4", "0.1"), "result"),
    "weight_draw": ((), ("--weight-draw", "torch"), "result"),
    "raster": ((), ("--raster", "imshow"), "config"),
    "seed": ((), ("--seed", "7"), "result"),
}
ELSEWHERE = {
    # it flips the input: below; the other datasets need files: test_other_datasets.py
    "dataset",
    # files and folders: test_files.py, test_from_dir.py
    "input_file", "weights_file", "load_weights", "from_dir", "config", "out_dir", "wipe_dir",
    "save_recording", "record_traces",
    # printed: below
    "burn_in",
    # where it runs: below, and test_backend.py
    "backend", "dtype", "train_kernel", "codegen", "device", "fast_math", "modal", "modal_gpu",
    # test_build.py, tests/train_torch/test_on_a_gpu.py
    "compute_capability", "deterministic",
}  # fmt: skip


def test_every_flag_is_tested():
    assert set(FLIPS) | ELSEWHERE == set(by_key(PING_GROUPS))
    assert not set(FLIPS) & ELSEWHERE


def without(base, flags):
    """Return the base flags except those given anew."""
    words = list(base)
    for flag in [w for w in flags if w.startswith("--")]:
        if flag in words:
            start = words.index(flag)
            stop = start + 1
            while stop < len(words) and not words[stop].startswith("--"):
                stop += 1
            del words[start:stop]
    return words


UNFLIPPED: dict[tuple[str, ...], Outcome] = {}
"""Runs that several flags are compared with."""


@pytest.mark.filterwarnings("ignore:.*weight_draw")
@pytest.mark.parametrize("key", FLIPS)
def test_a_flag_changes_something(call, key):
    both, flip, where = FLIPS[key]
    if key == "weight_draw":
        pytest.importorskip("torch")
    base = [*without(SMALL, both), *both]
    first = UNFLIPPED.get(tuple(base)) or call("sim", *base, name="first")
    UNFLIPPED[tuple(base)] = first
    second = call("sim", *without(base, flip), *flip, name="second")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    if where == "result":
        assert not same(first.recording, second.recording)
    else:
        assert same(first.recording, second.recording)
    assert first.config.get(key) != second.config.get(key)


@pytest.mark.parametrize("key", ["dataset", "digit", "sample"])
def test_a_dataset_flag_flips_the_input(call, key):
    flag = {"dataset": "scikit", "digit": "3", "sample": "2"}[key]
    flipped = call("sim", *SMALL, f"--{key}={flag}")
    assert "input: dataset" in flipped.out
    assert flipped.config["input"] == "dataset"
    kept = call("sim", *SMALL, f"--{key}", flag, "--input", "synthetic-spikes", name="kept")
    assert kept.config["input"] == "synthetic-spikes"
    assert f"--{key} has no effect" in kept.out


def test_burn_in_changes_the_printed_rates(call):
    late = call("sim", *SMALL)
    early = call("sim", *SMALL, "--burn-in", "0", name="early")
    line = [o.out.splitlines()[1] for o in (late, early)]
    assert all(text.startswith("E=") for text in line)
    assert line[0] != line[1]


@pytest.mark.compiler
def test_codegen_and_fast_math(call, monkeypatch):
    keys = []
    plain = build_cache.get_or_compile

    def noted(key, project, *, jobs):
        keys.append(key)
        return plain(key, project, jobs=jobs)

    monkeypatch.setattr(build_cache, "get_or_compile", noted)
    interpreted = call("sim", *SMALL, name="a")
    compiled = call("sim", *without(SMALL, ["--codegen"]), "--codegen", "cpp", name="b")
    fast = call("sim", *without(SMALL, ["--codegen"]), "--codegen", "cpp", "--fast-math", name="c")
    assert [o.config["execution"]["codegen"] for o in (interpreted, compiled, fast)] == [
        "numpy", "cpp", "cpp"
    ]  # fmt: skip
    assert same(interpreted.recording, compiled.recording)
    assert [o.config["fast_math"] for o in (compiled, fast)] == [False, True]
    assert len(set(keys)) == len(keys) == 2  # other flags: another program


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--device", "mps"), "Brian2 has no target for it"),
        (("--device", "cpu", "--codegen", "cuda"), "contradict each other"),
        (("--device", "cuda", "--codegen", "cpp"), "contradict each other"),
        (("--fast-math", "--codegen", "numpy"), "can't apply to --codegen numpy"),
        (("--modal",), "not available in this version"),
        (("--modal-gpu", "A100"), "applies to a --modal run only"),
    ],
)
def test_what_this_version_cannot_do(call, flags, message):
    outcome = call("sim", "--n-hidden", "32", *flags)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not outcome.folder.exists()


def test_cuda_without_a_gpu(call, monkeypatch):
    monkeypatch.setattr(cuda_toolkit, "gpus", lambda: ())
    for flags in (("--codegen", "cuda"), ("--device", "cuda")):
        outcome = call("sim", "--n-hidden", "32", *flags)
        assert outcome.code == 2
        assert "--codegen cuda needs" in outcome.err


# ---- flags that can't apply ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--model", "cuba-ping", "--tau-gaba", "4"), "--tau-gaba applies to the conductance"),
        (("--model", "cuba-ping", "--synapse-order", "kick-decay"), "--synapse-order applies"),
        (("--model", "cuba-ping", "--ei-layers", "1"), "--ei-layers applies"),
        (("--model", "cuba-ping", "--trainable-w-ei"), "--trainable-w-ei applies"),
        (("--model", "cuba-ping", "--bias", "0.1"), "--bias applies"),
        (("--model", "cuba-ping", "--readout", "rate"), "its only readout is mem-mean"),
        (("--model", "cuba-ping", "--n-hidden", "8", "4"), "a single hidden layer"),
        (("--model", "cuba-ping", "--input", "synthetic-conductance"), "has no conductances"),
        (
            (
                "--model",
                "cuba-noping",
            ),
            "requires --no-dales-law",
        ),
        (("--model", "cuba-noping", "--no-dales-law", "--ei-strength", "1"), "has no I cells"),
        (("--tbptt-window", "5"), "--tbptt-window applies to --model cuba"),
        (("--tau-mem", "20"), "--tau-mem applies to --model cuba-* and to --readout li"),
        (("--readout-tau-out", "2"), "applies to --readout spike-count and mem-mean"),
        (("--input", "synthetic-conductance", "--input-rate", "9"), "--input-rate applies to"),
        (("--input", "synthetic-conductance", "--w-in", "9"), "which has no input spikes"),
        (("--ei-strength", "1", "--w-ei", "1", "0", "--w-ie", "1", "0"), "contradict each other"),
        (("--ei-ratio", "1", "--w-ie", "1", "0"), "contradict each other"),
        (("--n-hidden", "8", "--ei-layers", "2"), "the network has 1 hidden layer"),
        (("--n-hidden", "8", "--n-inh", "2", "3"), "gives 2 sizes for 1 E-I layers"),
        (("--burn-in", "200"), "leaves nothing of a trial of 200 ms"),
    ],
)
def test_a_flag_that_cannot_apply_is_refused(call, flags, message):
    outcome = call("sim", *flags)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not outcome.folder.exists()
