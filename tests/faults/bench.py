"""The bench of faults: thousands of hostile command lines, recipes and files, counted.

    python tests/faults/bench.py                     # 3000 cases, half an hour on two cores
    python tests/faults/bench.py --quick             # 150 cases
    python tests/faults/bench.py --only files --cases 500 --seed 7 --json bench.json

Every case is a command line in a process of its own, in a folder with finished runs and files of
somebody else, with 2 GB of memory, 20 s of processor time and 30 s. What may come of it: exit code
0; or one line and exit code 2 (the input) or 1 (the run). What must not: a traceback or "this is a
bug", a hang, all of the memory, code out of a file, a byte of what was there before that is lost,
or a run whose files are those of two. A case is repeated by its kind and number (``--case K``).
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pickle
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2])]
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PINGBRIDGE_GIT_SHA", "unknown")

from apart import Ended, Limits, begin  # noqa: E402  # the folders above come first
from faults import BY_NAME, COMMANDS, Command, contents, make_inputs, typed  # noqa: E402

from bridge.runs.options import by_key  # noqa: E402
from bridge.runs.ownership import RECORDS, read_config  # noqa: E402
from bridge.runs.parameter import Parameter  # noqa: E402
from studies.commands import COMMAND_GROUPS  # noqa: E402
from studies.commands import COMMANDS as SINGLE  # noqa: E402

MEMORY_BYTES = 2 * 2**30
CPU_S, WALL_S = 20, 30.0
KINDS = ("flags", "recipes", "configs", "files")
RUNNABLE = tuple(one for one in COMMANDS if not one.compiles)
LONG = "out of time"
"""An honest long job, or one that hangs: somebody has to look."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A command line, by its kind and number."""

    kind: str
    number: int
    argv: list[str]

    @property
    def wipe(self) -> bool:
        """It asks for its folder to be cleared."""
        return "--wipe-dir" in self.argv

    def last(self, *flags: str) -> str | None:
        """Return the last value that is typed for one of some flags."""
        found = None
        for k, word in enumerate(self.argv):
            name, sign, value = word.partition("=")
            if name in flags:
                found = value if sign else next(iter(self.argv[k + 1 : k + 2]), None)
        return found

    def folder(self, place: Path) -> str | None:
        """Return the folder that it is aimed at, as a name inside the working folder."""
        if self.argv[0] == "lateral-line":
            named = self.last("--run-name") or (self.last("--resume-from") or "").rpartition("/")[2]
            where = self.last("--runs-dir")
            named = str(Path(where or "Runs") / named) if named else None
        else:
            named = self.last("--out-dir", "--save-dir")
        if not named or "\0" in named:
            return None
        return os.path.relpath(os.path.realpath(place / named), os.path.realpath(place))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a case came to."""

    case: Case
    outcome: str
    faults: tuple[str, ...]
    detail: str
    wall_s: float


# ---- hostile values ------------------------------------------------------------------------------


ABSURD = (
    "0", "-1", "1", "2", "3", "0.5", "1e308", "-1e308", "1e-308", "1e-12", "nan", "inf", "-inf",
    "1e400", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "2147483648",
    "65536", "0x10", "1_0", "1,5", "٣", "²", "", " ", "None", "null", "true", "[]", "{}", "--", "-",
    ".", "..", "/", "~", "nowhere", "nowhere/x", "tiny.yaml", "model.mat", "weights.npz",
    "spikes/data", "victims", "mine.txt", "/dev/null", "/etc/passwd", "/proc/self/mem", "a b",
    "a\nb", "a;touch PWNED", "$(touch PWNED)", "`touch PWNED`", "%s%n", "\x1b[31m", "é", "\udcff",
    "x"*5000, "evil_task:Task", "os:system", "evil", "tcp://127.0.0.1:1", "http://127.0.0.1:1",
    "10:1:1", "1:2:0", "0:1e9:1",
)  # fmt: skip


def groups_of(name: str) -> tuple[Any, ...]:
    """Return the option groups of a command."""
    first, _, second = name.partition(" ")
    for one in SINGLE if not second else COMMAND_GROUPS[first].commands:
        if one.function.__name__.rstrip("_").replace("_", "-") == (second or first):
            return one.groups
    raise ValueError(name)


ORDINARY = {
    int: ("1", "2", "3", "5", "8", "10", "20", "50", "100", "1000", "100000"),
    float: ("0.001", "0.01", "0.1", "0.25", "0.5", "1", "2", "3", "5", "10", "20", "50", "100",
            "1000", "1e5", "1e9"),
    Path: ("tiny.yaml", "perturbed.yaml", "model.mat", "weights.npz", "weights.h5", "weights.pth",
           "rec.npz", "rec.h5", "spikes/data", "spikes/clusters.npy", "seeds.txt", "mine.txt",
           "nowhere", "new", "prog", *(f"victims/{one}" for one in ("train", "sim", "scan",
           "rate_train", "lateral-line", "clustered_run", "clustered_run/data"))),
}  # fmt: skip
"""Values that people type, by kind of option."""


def value_of(rng: random.Random, parameter: Parameter) -> str:
    """Return something that could be, or could not be, a value of an option."""
    if rng.random() < 0.15:
        return rng.choice(ABSURD)
    if parameter.choices is not None:
        return str(rng.choice(parameter.choices))
    told = parameter.declared
    edges = [one for one in (told.above, told.at_least, told.below, told.at_most)
             if one is not None]  # fmt: skip
    if edges and rng.random() < 0.3:
        edge = rng.choice(edges) + rng.choice((-1, 0, 0, 1))
        return f"{edge:.17g}" if parameter.kind is float else str(int(edge))
    default = parameter.default
    if isinstance(default, int | float) and not isinstance(default, bool) and rng.random() < 0.3:
        scaled = default * rng.choice((0.1, 0.5, 1, 2, 10))
        return str(int(scaled)) if parameter.kind is int else f"{scaled:g}"
    return rng.choice(ORDINARY.get(parameter.kind, ABSURD))


def some_flags(rng: random.Random, name: str) -> list[str]:
    """Return up to four options of a command, with values that may be none."""
    known = list(by_key(groups_of(name)).values())
    words: list[str] = []
    for _ in range(rng.randint(1, 4)):
        _, parameter = rng.choice(known)
        if parameter.key in ("modal", "modal_gpu", "scheduler") and rng.random() < 0.8:
            continue
        flag = f"--{parameter.flag}"
        chance = rng.random()
        if chance < 0.04:
            flag = flag[:-1] if rng.random() < 0.5 else flag + "x"
        if parameter.kind is bool:
            words.append(flag if rng.random() < 0.5 else f"--no-{parameter.flag}")
            continue
        n = rng.choice((0, 1, 1, 1, 1, 1, 2, 3)) if parameter.many else rng.choice((1,) * 19 + (0,))
        values = [value_of(rng, parameter) for _ in range(n)]
        words += [f"{flag}={values[0]}"] if n == 1 and rng.random() < 0.2 else [flag, *values]
    return words


def flag_case(rng: random.Random, number: int, place: Path) -> Case:
    """A command with some flags that nobody would type, aimed at a folder that may be taken."""
    command = rng.choice(COMMANDS)
    taken = rng.choice((None, None, command, rng.choice(RUNNABLE)))
    folder = "new" if taken is None or taken.compiles else f"victims/{file_of(taken)}"
    words = some_flags(rng, command.name)
    if rng.random() < 0.1:
        command = dataclasses.replace(
            command, flags=tuple(w for w in command.flags if rng.random() < 0.8)
        )
    wipe = ("--wipe-dir",) if command.wipes and rng.random() < 0.3 else ()
    argv = command.argv(place / folder, *words, *wipe)
    return Case(kind="flags", number=number, argv=argv)


# ---- hostile recipes -----------------------------------------------------------------------------


YAML_VALUES = (
    "1", "-1", "0.5", ".nan", ".inf", "1e999", "010", "1:30", "yes", "no", "~", "null", "[]",
    "[1, 2]", "{}", "{a: 1}", '"text"', "!!python/object/apply:os.system ['touch PWNED']",
    "!!python/name:os.system", "!!binary aGk=", "2020-01-01", "*a", "&a [*a]", "&a 1",
    "[[[[[[[1]]]]]]]", "nowhere", "prog", "evil_task:Task", "18446744073709551616", "'\\x00'",
    "!!set {1}", "<<", "|\n  a\n  b", "'a'",
)  # fmt: skip


def recipe_case(rng: random.Random, number: int, place: Path) -> Case:
    """A command with a recipe that somebody made to do harm."""
    command = rng.choice([one for one in COMMANDS if "config" in by_key(groups_of(one.name))])
    recipe = place / "recipe.yaml"
    tree = command.name.split()[0] in ("clustered", "meanfield")
    if tree:
        text = mutated_text(rng, (place / "tiny.yaml").read_text())
    else:
        keys = [parameter.key for _, parameter in by_key(groups_of(command.name)).values()]
        keys = [key if rng.random() < 0.5 else key.replace("_", "-") for key in keys]
        extra = ["task", "program", "config", "command", "provenance", "x" * 3000, "é"]
        chosen = [rng.choice(keys + extra) for _ in range(rng.randint(0, 6))]
        text = "".join(f"{key}: {rng.choice(YAML_VALUES)}\n" for key in chosen)
        if rng.random() < 0.2:
            text = mutated_text(rng, text or "a: 1\n")
    recipe.write_bytes(text.encode(errors="surrogateescape"))
    return Case(
        kind="recipes", number=number, argv=command.argv(place / "new", "--config", "recipe.yaml")
    )


def mutated_text(rng: random.Random, text: str) -> str:
    """Return a text of which some lines are other ones."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        if not lines:
            break
        k = rng.randrange(len(lines))
        how = rng.random()
        if how < 0.4:
            head = lines[k].partition(":")[0]
            lines[k] = f"{head}: {rng.choice(YAML_VALUES + ABSURD[:40])}"
        elif how < 0.55:
            del lines[k]
        elif how < 0.7:
            lines.insert(k, lines[k])
        elif how < 0.85:
            lines[k] = " " * rng.randint(0, 9) + lines[k].strip()
        else:
            lines.insert(k, rng.choice(YAML_VALUES))
    return "\n".join(lines) + "\n"


# ---- hostile config.json -------------------------------------------------------------------------


JSON_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 2**70, "", "nowhere", "x"*2000, [], [1, 2], {}, {"a": 1}, [[[1]]],
    "os:system", float("nan"), "../..", "tcp://127.0.0.1:1",
)  # fmt: skip


def config_case(rng: random.Random, number: int, place: Path) -> Case:
    """A run that takes over, goes on with, or comes after one whose config.json is another's."""
    how = rng.choice(("from-dir", "resume", "after", "lateral"))
    name = {"resume": rng.choice(("train", "rate train")), "lateral": "lateral-line"}.get(
        how, rng.choice(("sim", "train", "scan", "image", "infer"))
    )
    victim = place / "victims" / file_of(BY_NAME[name])
    copy = place / "old"
    shutil.copytree(victim, copy)
    path = copy / rng.choice(
        ("config.json", "params.json") if how == "lateral" else ("config.json",)
    )
    raw = json.loads(path.read_text())
    for _ in range(rng.randint(1, 4)):
        at = raw
        while True:
            key = rng.choice(list(at)) if at else "x"
            if isinstance(at.get(key), dict) and rng.random() < 0.7:
                at = at[key]
                continue
            break
        if rng.random() < 0.2:
            at.pop(key, None)
        else:
            at[key] = rng.choice(JSON_VALUES)
    text = json.dumps(raw)
    if rng.random() < 0.15:
        text = text[: rng.randrange(len(text))]
    if rng.random() < 0.05:
        text = "[" * 5000 + text
    path.write_text(text)
    command = BY_NAME[name]
    argv = {
        "from-dir": [rng.choice(("sim", "image", "infer")), "--from-dir", "old",
                     "--out-dir", "new"],
        "resume": [*command.name.split(), "--resume", "--out-dir", "old"],
        "after": command.argv(copy),
        "lateral": ["lateral-line", rng.choice(("--resume-from", "--evaluate")), "old",
                    "--run-name", "new", "--runs-dir", "."],
    }[how]  # fmt: skip
    if name == "rate train" and how == "resume":
        argv = [*command.argv(copy), "--resume"]
    return Case(kind="configs", number=number, argv=argv)


# ---- damaged files -------------------------------------------------------------------------------


class Pwn:
    """What runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch PWNED",))


def damaged(rng: random.Random, content: bytes, suffix: str) -> bytes:
    """Return the bytes of a file after an accident, or of one that somebody made."""
    how = rng.choice(("cut", "flip", "flip", "flips", "zeros", "noise", "empty", "pickle", "other"))
    if how == "cut":
        return content[: rng.randrange(len(content))]
    if how in ("flip", "flips"):
        changed = bytearray(content)
        for _ in range(1 if how == "flip" else 20):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if how == "zeros":
        return bytes(len(content))
    if how == "noise":
        return rng.randbytes(len(content))
    if how == "empty":
        return b""
    if how == "pickle":
        return pickled(rng, suffix)
    return rng.choice(
        (b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY\x01\x00", b"MATLAB 5.0", b"{}")
    )


def pickled(rng: random.Random, suffix: str) -> bytes:
    """Return a file of a kind that holds a pickle with a program in it."""
    import io

    buffer = io.BytesIO()
    array = np.array([Pwn()], dtype=object)
    if suffix == ".npz":
        np.savez(buffer, allow_pickle=True, W_in=array, spikes=array, step=array, in_spk=array)
    elif suffix == ".npy":
        np.save(buffer, array, allow_pickle=True)
    elif suffix == ".pth":
        import torch

        torch.save({"W_ff.0": Pwn(), "version": 1}, buffer)
    else:
        return pickle.dumps(Pwn())
    return buffer.getvalue()


def consumers() -> list[tuple[str, str | None, list[str]]]:
    """Return every kind of file with every command that reads it.

    Each as file, the finished run that is copied to ``old`` first, and what is typed.
    """
    net = " ".join(w for w in BY_NAME["infer"].flags if w not in ("--load-weights", "weights.npz"))

    def again(name: str, folder: str = "new", more: str = "") -> str:
        return " ".join([*BY_NAME[name].argv(Path(folder)), more])

    lateral = "lateral-line --run-name new --runs-dir ."
    rows: list[tuple[str, str | None, str]] = [
        ("weights.npz", None, f"sim --load-weights weights.npz {net} --out-dir new"),
        ("weights.h5", None, "sim --weights-file weights.h5 --t-ms 20 --dt 1 --out-dir new"),
        ("weights.pth", None, f"infer --load-weights weights.pth {net} --out-dir new"),
        ("rec.npz", None, "sim --input-file rec.npz --n-hidden 8 --out-dir new"),
        ("rec.h5", None, "sim --input-file rec.h5 --n-hidden 8 --out-dir new"),
        ("tiny.yaml", None, again("clustered sweep")),
        ("tiny.yaml", None, "meanfield solve --config tiny.yaml --n-runs 2 --save-dir new"),
        ("seeds.txt", None, again("clustered run", more="--seeds-file seeds.txt")
         .replace("--n-repeats 1", "")),
        ("spikes/data/spikes_0.npy", None, again("clustered analyze")),
        ("spikes/clusters.npy", None, again("clustered analyze")),
        ("old/analysis/attractors.npy", "clustered_run",
         "clustered analyze --analysis-dir old/analysis"),
        ("old/analysis/analysis_config.json", "clustered_run",
         "clustered analyze --analysis-dir old/analysis --verbose"),
        ("old/data/spikes_0.npy", "clustered_run", "clustered analyze --spikes old/data"),
        ("old/metadata/owner.json", "clustered_run", again("clustered run", "old")),
        ("old/checkpoint.pth", "train", "train --resume --out-dir old"),
        ("old/metrics.jsonl", "train", "train --resume --epochs 2 --out-dir old"),
        ("old/weights.pth", "train", "image --from-dir old --out-dir new"),
        ("old/checkpoint.pth", "rate_train", again("rate train", "old", "--resume")),
        ("old/params.json", "lateral-line", f"{lateral} --resume-from old"),
        ("old/artifacts/seed_123_checkpoint.npz", "lateral-line",
         "lateral-line --resume-from old --n-training-trials 2"),
        ("old/artifacts/seed_123_results.json", "lateral-line", "lateral-line --resume-from old"),
        ("old/artifacts/latest_seed_123.npz", "lateral-line", f"{lateral} --evaluate old"),
        ("old/.running", "sim", again("sim", "old")),
        ("old/config.json", "scan", again("scan", "old")),
        *(("model.mat", None, again(f"rate {name}"))
          for name in ("search", "convert", "eval", "plot")),
    ]  # fmt: skip
    return [(file, copied, words.split()) for file, copied, words in rows]


def file_case(rng: random.Random, number: int, place: Path) -> Case:
    """A command that reads a damaged file."""
    file, copied, argv = rng.choice(consumers())
    if copied is not None:
        shutil.copytree(place / "victims" / copied, place / "old")
    path = place / file
    content = path.read_bytes() if path.exists() else b'{"pid": 1, "host": null, "run_id": "r"}'
    path.write_bytes(damaged(rng, content, path.suffix))
    return Case(kind="files", number=number, argv=argv)


MAKERS: dict[str, Callable[[random.Random, int, Path], Case]] = {
    "flags": flag_case, "recipes": recipe_case, "configs": config_case, "files": file_case,
}  # fmt: skip


# ---- the place and the verdict -------------------------------------------------------------------


def file_of(command: Command) -> str:
    """Return the name of the folder of a finished run."""
    return command.name.replace(" ", "_")


def prepare(place: Path) -> None:
    """Fill a folder with inputs, finished runs, and files of somebody else."""
    os.environ["PINGBRIDGE_CACHE_DIR"] = str(place.parent / "cache")
    make_inputs(place)
    before = Path.cwd()
    os.chdir(place)
    try:
        for command in RUNNABLE:
            said = typed(command.argv(place / "victims" / file_of(command)))
            assert said.code == 0, said.err
        rec = BY_NAME["sim"].argv(place / "scratch")
        for ending in ("npz", "h5"):
            said = typed([*rec, "--save-recording", f"rec.{ending}", "--wipe-dir"])
            assert said.code == 0, said.err
    finally:
        os.chdir(before)
    shutil.rmtree(place / "scratch")
    for ending in ("h5", "pth"):
        shutil.copy(place / "victims" / "train" / f"weights.{ending}", place)
    (place / "seeds.txt").write_text("1\n2\n")
    (place / "mine.txt").write_text("ten years")
    (place / "evil_task.py").write_text("open('PWNED', 'w')\nclass Task: pass\n")
    for name in ("evil", "prog"):
        program = place / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\ntouch PWNED\n")
        program.chmod(0o755)
    (place / "prog").mkdir()
    shutil.copy(place / "bin" / "prog", place / "prog" / "main")
    (place / "prog" / "program.json").write_text('{"format": "pingbridge-program"}')


def run_case(kind: str, number: int, seed: int, ready: Path) -> Verdict:
    """Run a case in a copy of what was prepared, and judge it."""
    place = Path(tempfile.mkdtemp(prefix="bench-")) / "place"
    try:
        shutil.copytree(ready, place, symlinks=True)
        rng = random.Random(f"{seed} {kind} {number}")
        case = MAKERS[kind](rng, number, place)
        before, owners = contents(place), owners_of(place)
        try:
            running = begin(
                case.argv, cwd=place, limits=Limits(memory_bytes=MEMORY_BYTES, cpu_s=CPU_S),
                env={"HOME": str(place), "TMPDIR": str(place.parent), "TERM": "dumb",
                     "PINGBRIDGE_CACHE_DIR": str(ready.parent / "cache"),
                     "PYTHONPATH": str(place)},
            )  # fmt: skip
        except (UnicodeError, ValueError):  # no system hands such a word on
            return Verdict(case=case, outcome="no such word", faults=(), detail="", wall_s=0.0)
        ended = running.result(WALL_S)
        return judged(case, ended, place, before, owners)
    finally:
        shutil.rmtree(place.parent, ignore_errors=True)


def owners_of(place: Path) -> dict[str, tuple[Any, Any]]:
    """Return command and settings of every run folder."""
    found = {}
    for path in place.rglob("config.json"):
        config = read_config(path.parent)
        if config is not None and isinstance(config.get("provenance"), dict):
            key = config["provenance"].get("settings_key")
            found[str(path.parent.relative_to(place))] = (str(config.get("mode")), str(key))
    return found


def judged(
    case: Case, ended: Ended, place: Path, before: dict[str, str],
    owners: dict[str, tuple[Any, Any]],
) -> Verdict:  # fmt: skip
    """Return what a case came to, and what must not have happened."""
    found, detail = [], ended.err.strip()[-400:]
    lines = [line for line in ended.err.splitlines() if line.strip()]
    if "Traceback (most recent call last)" in ended.err + ended.out or ended.code == 99:
        found.append("traceback")
    elif ended.code == 70 or "this is a bug" in ended.err:
        found.append("bug")
    if ended.code is None or ended.code in (-24, -9):
        found.append(LONG)
    elif ended.code < 0:
        found.append("traceback")
    if any(words in ended.err for words in ("not enough memory", "Unable to alloc", "MemoryErr")):
        found.append("memory")
    if ended.code in (1, 2) and (len(lines) != 1 or not lines[0].startswith("error: ")):
        found.append("many lines")
    if any(place.rglob("PWNED")):
        found.append("code executed")
    lost = lost_files(case, ended, place, before, contents(place))
    if lost:
        found.append("lost")
        detail += f" | changed: {', '.join(lost[:5])}"
    mixed = [name for name, owner in owners_of(place).items() if owners.get(name, owner) != owner]
    mixed = [] if case.wipe or "--resume" in case.argv or case.kind == "configs" else mixed
    if [name for name in mixed if owners[name][0] != "lateral-line"]:
        found.append("mixed")
        detail += f" | another owner: {', '.join(mixed)}"
    outcome = {0: "ran", 1: "failed in one line", 2: "refused in one line"}.get(
        -1 if ended.code is None else ended.code, f"exit code {ended.code}"
    )
    return Verdict(
        case=case, outcome=outcome, faults=tuple(found), detail=detail, wall_s=ended.wall_s
    )


def lost_files(
    case: Case, ended: Ended, place: Path, before: dict[str, str], after: dict[str, str]
) -> list[str]:
    """Return what is gone or another, and should not be."""
    folder = case.folder(place)
    lost = []
    for name in [name for name, content in before.items() if after.get(name) != content]:
        own = folder is not None and (name == folder or name.startswith(f"{folder}/"))
        if name.startswith("old") and case.kind in ("configs", "files"):
            continue  # the run that goes on
        if name == case.last("--model") and case.argv[:2] == ["rate", "search"]:
            continue  # gets the factor that was found
        if own and ended.code == 0:
            continue  # written again, or cleared as it was asked to
        if own and ended.code in (1, None) and (case.wipe or name.rpartition("/")[2] in RECORDS):
            continue  # a run that had begun
        if any(name == word or name.startswith(f"{word}/") for word in outputs(case)):
            continue  # a file that was named to be written
        lost.append(name)
    return lost


def outputs(case: Case) -> list[str]:
    """Return what a command line names as its output besides the run folder."""
    named = (case.last(flag) for flag in ("--save-recording", "--export", "--save-weights-dir"))
    return [os.path.normpath(one) for one in named if one]


# ---- the whole -----------------------------------------------------------------------------------


def run_all(cases: list[tuple[str, int]], *, seed: int, jobs: int) -> Iterator[Verdict]:
    """Yield the verdict of every case, as they come."""
    with tempfile.TemporaryDirectory(prefix="bench-ready-") as folder:
        ready = Path(folder) / "place"
        ready.mkdir()
        prepare(ready)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(run_case, kind, k, seed, ready) for kind, k in cases]
            for future in concurrent.futures.as_completed(futures):
                yield future.result()


def main() -> int:
    """Run the bench; the exit code is 1 if something happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3000, help="number of cases, of all kinds")
    parser.add_argument("--only", choices=KINDS, help="one kind")
    parser.add_argument("--case", type=int, help="one case, by its number; needs --only")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first case of each kind"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="150 cases")
    parser.add_argument("--json", type=Path, help="write the counts and every fault")
    given = parser.parse_args()
    kinds = (given.only,) if given.only else KINDS
    share = {"flags": 0.5, "recipes": 0.15, "configs": 0.15, "files": 0.2}
    total = 150 if given.quick else given.cases
    cases = [
        (kind, given.first + k) for kind in kinds
        for k in range(total if given.only else round(total * share[kind]))
    ]  # fmt: skip
    if given.case is not None:
        cases = [(given.only, given.case)]
    counts: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in kinds}
    bad, slowest = [], 0.0
    for done, verdict in enumerate(run_all(cases, seed=given.seed, jobs=given.jobs), 1):
        counts[verdict.case.kind][verdict.outcome] += 1
        slowest = max(slowest, verdict.wall_s)
        for fault in verdict.faults:
            counts[verdict.case.kind][fault] += 1
        if verdict.faults or given.case is not None:
            bad.append(verdict)
            print(f"{verdict.case.kind} {verdict.case.number}: {', '.join(verdict.faults)} "
                  f"({verdict.outcome}): {' '.join(map(repr, verdict.case.argv))[:700]}\n    "
                  f"{verdict.detail}", flush=True)  # fmt: skip
        if done % 100 == 0:
            print(f"{done} of {len(cases)}", flush=True)
    for kind, counter in counts.items():
        print(f"{kind}: {sum(1 for k, _ in cases if k == kind)} cases; {dict(counter)}")
    print(f"slowest {slowest:.1f} s; {len(bad)} cases with something that must not happen")
    if given.json is not None:
        rows = [
            {"case": kind, "what": what, "value": n, "unit": "cases"}
            for kind, counter in counts.items()
            for what, n in sorted(counter.items())
        ]
        faults = [dataclasses.asdict(one) for one in bad]
        given.json.write_text(json.dumps({"rows": rows, "faults": faults}, indent=1))
    return 1 if any(set(one.faults) - {LONG} for one in bad) else 0


if __name__ == "__main__":
    sys.exit(main())
