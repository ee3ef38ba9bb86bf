"""Every command that leaves a run folder, at toy size, and what a folder holds."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import yaml
from clustered import tiny
from lateral import SMALL_FLAGS
from rate_models import model_file

import cli

NETWORK = ("--n-hidden", "8", "--t-ms", "20", "--dt", "1", "--input-rate", "100", "--w-in", "2",
           "0.4")  # fmt: skip
NUMPY = ("--codegen", "numpy")
LEARNED = ("--max-samples", "60", "--device", "cpu", "--train-kernel", "function")
MODEL = ("--model", "model.mat", *NUMPY)
TRIALS = ("--n-trials", "2", "--jobs", "1")
STEPS = ("--config", "tiny.yaml", "--n-repeats", "1", "--backend", "numpy")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command at toy size; it reads the files of :func:`make_inputs` from the working folder.

    Attributes
    ----------
    name : str
        What is typed.
    flags : tuple of str
        Of a run that takes a moment.
    other : tuple of str
        Flags that make another run of it.
    folder_flag : str
        What names its folder, as its messages have it.
    again : {"same", "resume", "goes on"}
        What the same command does in the folder of its finished run: write the same files, refuse
        unless it is to resume, find nothing to do.
    wipes : bool
        It has ``--wipe-dir``.
    compiles : bool
        It always needs a compiler.
    """

    name: str
    flags: tuple[str, ...]
    other: tuple[str, ...]
    folder_flag: str = "--out-dir"
    again: str = "same"
    wipes: bool = True
    compiles: bool = False

    def argv(self, folder: Path, *more: str) -> list[str]:
        """Return what is typed for a run into a folder."""
        where = [self.folder_flag, str(folder)]
        if self.name == "lateral-line":
            where = ["--runs-dir", str(folder.parent), "--run-name", folder.name]
        return [*self.name.split(), *self.flags, *where, *more]

    def __str__(self) -> str:
        return self.name


def _clustered(name: str, *flags: str, other: tuple[str, ...]) -> Command:
    return Command(name=name, flags=flags, other=other, folder_flag="--save-dir")


COMMANDS = (
    Command(name="sim", flags=(*NETWORK, *NUMPY), other=("--seed", "1")),
    Command(name="image", flags=(*NETWORK, *NUMPY), other=("--seed", "1")),
    Command(
        name="train", flags=(*NETWORK, *LEARNED, "--epochs", "1", "--batch-size", "32",
                             "--observe", "none"), other=("--lr", "0.001"), again="resume",
    ),
    Command(
        name="infer", flags=("--load-weights", "weights.npz", *NETWORK[2:8], *LEARNED),
        other=("--input-rate", "50"),
    ),
    Command(
        name="video", flags=(*NETWORK, *NUMPY, "--scan-values", "1", "2", "--jobs", "1"),
        other=("--seed", "1"),
    ),
    Command(
        name="scan", flags=(*NETWORK, *NUMPY, "--scan-values", "1", "2", "--jobs", "1"),
        other=("--scan-values", "1", "3"),
    ),
    Command(name="crosscheck", flags=(*NETWORK, *NUMPY), other=("--seed", "1")),
    Command(name="build", flags=NETWORK, other=("--seed", "1"), compiles=True),
    Command(
        name="rate train", flags=("--n-units", "10", "--trial-steps", "12", "--stim-on", "2",
                                  "--stim-dur", "4", "--n-trials", "2", "--eval-trials", "2"),
        other=("--lr", "0.001"), again="resume",
    ),
    Command(
        name="rate search", flags=(*MODEL, *TRIALS, "--scaling-factors", "10", "20"),
        other=("--seed", "9"),
    ),
    Command(
        name="rate convert", flags=(*MODEL, *TRIALS, "--scaling-factor", "10"),
        other=("--scaling-factor", "11"),
    ),
    Command(
        name="rate eval", flags=(*MODEL, *TRIALS, "--scaling-factor", "10", "--no-plots"),
        other=("--plots",),
    ),
    Command(
        name="rate plot", flags=(*MODEL, "--scaling-factor", "10"), other=("--start", "10"),
    ),
    Command(
        name="lateral-line", flags=(*SMALL_FLAGS, "--n-training-trials", "1", "--no-figures"),
        other=("--speed-cm-s", "10"), folder_flag="--run-name", again="goes on", wipes=False,
    ),
    _clustered("clustered run", *STEPS, other=("--threshold-rule", "stop_before_update")),
    _clustered("clustered perturb", *STEPS, "--config", "perturbed.yaml", other=("--seed", "1")),
    _clustered("clustered sweep", *STEPS, "--values", "0.3", other=("--values", "0.4")),
    _clustered("clustered compare", *STEPS, "--values", "0.3", other=("--values", "0.4")),
    _clustered("clustered analyze", "--spikes", "spikes/data", other=("--kernel-ms", "20")),
    _clustered("meanfield solve", "--n-runs", "2", other=("--n-runs", "3")),
    _clustered(
        "meanfield landscape", "--grid-density", "30", other=("--config", "other_field.yaml")
    ),
    _clustered(
        "meanfield bifurcation", "--n-runs", "1", "--n-values", "2", "--tolerance", "0.1",
        other=("--n-values", "3"),
    ),
)  # fmt: skip
"""All commands that leave a run folder."""

BY_NAME = {command.name: command for command in COMMANDS}


def make_inputs(folder: Path) -> None:
    """Write everything that `COMMANDS` read into a folder."""
    from bridge.formats.weight_files import save_weights
    from bridge.home import CONFIGS
    from bridge.network.spec import PingSpec, ei_layer
    from bridge.network.weights import DrawRule, WeightDraw, draw_weights

    spec = PingSpec(n_in=64, layers=(ei_layer(8),))
    draw = WeightDraw(w_in=DrawRule(2, 0.4), w_ei=DrawRule(0.5, 0.1), w_ie=DrawRule(1, 0.1))
    save_weights(draw_weights(spec, draw, seed=3), folder / "weights.npz")
    model_file(folder / "model.mat")
    short = {"init_params": {"duration_sec": 0.05}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny(**short)))
    perturbed = tiny(**short) | {
        "perturbation": {"rate": {"vectors": [[1.0] * 8], "params": [0.5]}}
    }
    (folder / "perturbed.yaml").write_text(yaml.safe_dump(perturbed))
    theory = (CONFIGS / "clustered" / "2_cluster_mf.yaml").read_text()
    (folder / "other_field.yaml").write_text(theory.replace("level: 0.275", "level: 0.3"))
    (folder / "spikes" / "data").mkdir(parents=True)
    rng = np.random.default_rng(0)
    np.save(folder / "spikes" / "data" / "spikes_0.npy", rng.random((200, 20)) < 0.02)
    np.save(
        folder / "spikes" / "clusters.npy", np.repeat(np.arange(1, 9), [3, 3, 3, 1, 3, 3, 3, 1])
    )


@dataclass(frozen=True)
class Said:
    """What a call of the command line came to."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


_parser = functools.cache(cli.build_parser)


def typed(words: Iterable[object]) -> Said:
    """Call the command line in this process, with one parser for all calls."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        mock.patch.object(cli, "build_parser", _parser),
    ):  # fmt: skip
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def contents(folder: Path) -> dict[str, str]:
    """Return what lies below a folder: a hash of every file, where every link leads, folders."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            if path.is_symlink():
                found[str(path.relative_to(folder))] = f"link to {os.readlink(path)}"
            elif path.is_dir():
                found[str(path.relative_to(folder))] = "folder"
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(folder))] = digest
    return found


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names that are not as they were."""
    return sorted(name for name in before.keys() | after.keys()
                  if before.get(name) != after.get(name))  # fmt: skip
