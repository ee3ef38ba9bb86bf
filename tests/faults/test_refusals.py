"""What is refused is refused before a byte has changed: with --wipe-dir, too, however late."""

from __future__ import annotations

import pytest
from faults import BY_NAME, COMMANDS, changes, contents, typed

NOBODY = ("--scheduler", "tcp://127.0.0.1:1")
CUDA = ("--codegen", "cuda")
DASK = ("--parallel", "--executor", "dask", *NOBODY)

_NETWORK = (
    ("--config", "nowhere"), ("--config", "damaged.npz"), ("--from-dir", "nowhere"),
    ("--load-weights", "nowhere.npz"), ("--load-weights", "damaged.npz"),
    ("--weights-file", "tiny.yaml"), ("--input-file", "damaged.npz"), ("--n-hidden", "1000000000"),
    ("--trials", "100000", "--n-hidden", "100000"), ("--t-ms", "1e300"), ("--dt", "1e-300"),
    ("--dt", "7"), ("--seed", "-1"), ("--model", "cuba-noping"), ("--burn-in", "1e9"),
    ("--digit", "19"), ("--sample", "10000000"), ("--dataset", "mnist"), ("--dataset", "shd"),
    ("--modal",),
)  # fmt: skip
_BRIAN = (CUDA, ("--device", "cuda"), ("--compute-capability", "9.0x"))
_ONE_RUN = (
    ("--program", "nowhere"), ("--save-recording", "nowhere/x.npz"), ("--save-recording", "x.txt"),
    ("--backend", "torch", "--device", "mps"),
)  # fmt: skip
_SWEEP = (NOBODY, ("--scheduler", "typo"), ("--scheduler", "tiny.yaml"), ("--scan-values", "-5"),
          ("--save-recording", "x.npz"))  # fmt: skip
_MODEL = (
    CUDA, ("--model", "nowhere.mat"), ("--model", "tiny.yaml"), ("--model", "damaged.mat"),
    ("--task", "xor"), ("--task", "nowhere:Nothing"), ("--trial-steps", "1000000000000"),
    ("--stim-on", "100"), ("--config", "nowhere"),
)  # fmt: skip
_SPIKING = (NOBODY, ("--n-trials", "1000000000000000000"), ("--t-ref", "1e300"), ("--batch", "0"))
_CLUSTERED = (
    DASK, ("--config", "nowhere"), ("--config", "damaged.npz"), ("--seeds-file", "seeds.txt"),
    ("--seeds-file", "nowhere"), ("--executor", "process"), ("--duration-sec", "1e308"),
    ("--duration-sec", "1e-9"), ("--n-repeats", "2147483647"), ("--kernel-ms", "1e308"),
    ("--minimal-life-span", "1e308"), ("--load-saved-seeds", "--n-repeats", "7"),
)  # fmt: skip
_VALUES = (
    ("--values", "0.1", "0.1"), ("--values", "nan"), ("--param", "nowhere"), ("--param-idx", "3"),
    ("--param", "init_params.delta_t", "--values", "-1"),
    ("--param", "init_params.n_neurons", "--values", "7.5"),
)  # fmt: skip
_THEORY = (("--config", "nowhere"), ("--config", "damaged.npz"))

IMPOSSIBLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "sim": (*_NETWORK, *_BRIAN, *_ONE_RUN, ("--record-traces",)),
    "image": (*_NETWORK, *_BRIAN, *_ONE_RUN),
    "train": (
        *(one for one in _NETWORK if one[0] != "--sample"), ("--device", "cuda"),
        ("--max-samples", "1"), ("--val-fraction", "0.999"), ("--lr", "0"), ("--batch-size", "0"),
        ("--codegen", "cpp"), ("--train-kernel", "eager", "--checkpoint-steps", "5"),
        ("--n-hidden", "100000", "--t-ms", "100000"),
    ),
    "infer": (
        ("--load-weights", "nowhere.npz"), ("--load-weights", "damaged.npz"), ("--n-hidden", "9"),
        ("--device", "cuda"), ("--dataset", "mnist"), ("--max-samples", "0"),
        ("--dt-sweep", "0.3"), ("--frozen-inputs-mode", "upsample"), ("--observe", "video"),
        ("--dt-sweep", "1", *CUDA), ("--backend", "both", *CUDA),
    ),
    "video": (*_NETWORK, *_BRIAN, *_SWEEP, ("--frames", "1000000"), ("--frame-rate", "0")),
    "scan": (
        *_NETWORK, *_BRIAN, *_SWEEP, ("--scan-var2", "dt", "--scan-values2", "3"),
        ("--scan-min2", "3"), (*NOBODY, "--batch", "2"),
    ),
    "crosscheck": (
        *_NETWORK, CUDA, ("--dt", "0.5", "0.5"), ("--backend", "brian"), ("--window", "-1"),
    ),
    "rate train": (
        ("--decay-taus", "1", "1"), ("--decay-taus", "20", "4"), ("--device", "cuda"),
        ("--som-units", "40"), ("--no-apply-dale", "--p-inh", "0.1"), ("--delay", "3"),
        ("--trial-steps", "1000000000000"), ("--stim-on", "100"), ("--task", "nowhere:Nothing"),
        ("--task", "xyz"), ("--config", "nowhere"), ("--n-trials", "9223372036854775807"),
        ("--batch-size", "2147483648"), ("--eval-trials", "2147483648"), ("--n-units", "1000000"),
    ),
    "rate search": (
        *_MODEL, *_SPIKING, ("--scaling-factors", "0"), ("--scaling-factors", "x"),
        ("--scaling-factors", "10", "10"), ("--model-dir", "."), ("--tau-rise", "1e300"),
    ),
    "rate convert": (*_MODEL, *_SPIKING, ("--scaling-factor", "0")),
    "rate eval": (*_MODEL, *_SPIKING, ("--scaling-factor", "-1")),
    "rate plot": (*_MODEL, ("--start", "1e9")),
    "lateral-line": (
        NOBODY, CUDA, ("--n-ll", "9223372036854775807"), ("--trial-duration-s", "1e308"),
        ("--bg-rate-mon-hz", "1e9"), ("--n-training-trials", "9223372036854775807"),
        ("--evaluate", "nowhere"), ("--resume-from", "nowhere"), ("--config", "nowhere"),
        ("--save-weights-dir", "tiny.yaml"), ("--multi-seed", "0"), ("--save-tag", "a/b"),
        ("--checkpoint-save-every-n", "9223372036854775807"),
    ),
    "clustered run": _CLUSTERED,
    "clustered perturb": (*_CLUSTERED, ("--config", "tiny.yaml")),
    "clustered sweep": (*_CLUSTERED, *_VALUES),
    "clustered compare": (*_CLUSTERED, *_VALUES),
    "clustered analyze": (
        ("--spikes", "nowhere"), ("--spikes", "damaged.npz"), ("--clusters", "nowhere"),
        ("--clusters", "damaged.npz"), ("--n-clusters", "99"), ("--dt", "-1"),
        ("--export", "nowhere/x.csv"), ("--kernel-ms", "1e308"), ("--minimal-life-span", "1e308"),
    ),
    "meanfield solve": (*_THEORY, ("--active-clusters", "99"), ("--random-seed", "-1")),
    "meanfield landscape": (
        *_THEORY, ("--grid-density", "1e-9"), ("--grid-lims", "1"), ("--focus-pops", "99"),
        ("--focus-pops", "0", "0"), ("--grid-lims", "5", "1"),
    ),
    "meanfield bifurcation": (
        *_THEORY, ("--param", "nowhere"), ("--from", "3", "--to", "1"), ("--populations", "99"),
        ("--param", "arousal.level"), ("--tolerance", "0"), ("--from", "nan", "--to", "3"),
        ("--param", "init_params.n_neurons", "--from", "1", "--to", "2"), ("--param-idx", "99"),
    ),
}  # fmt: skip
"""Flags that make a command impossible here; all of them are known before anything runs."""

assert set(IMPOSSIBLE) == {one.name for one in COMMANDS if not one.compiles}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_impossible_changes_nothing(name, finished, place):
    """One line, exit code 2, and the earlier run as it was."""
    (place / "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    (place / "damaged.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(128) + b"\1" * 99)
    (place / "seeds.txt").write_text("1\nx\n")
    command = BY_NAME[name]
    folder = finished(command)
    wipe = ("--wipe-dir",) if command.wipes else ()
    before, wrong = contents(place), []
    for more in IMPOSSIBLE[name]:
        said = typed(command.argv(folder, *wipe, *more))
        where = f"{name} {' '.join(more)}"
        if said.code != 2 or said.err.count("\n") != 1:
            wrong.append(f"{where}: exit code {said.code}: {said.err or said.out[-300:]}")
        changed = changes(before, contents(place))
        if changed:
            wrong.append(f"{where}: changed {', '.join(changed[:5])}")
            before = contents(place)
    assert not wrong, "\n".join(wrong)
