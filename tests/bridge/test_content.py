"""Hashes: equal for what gives equal results, in any process; other for anything that may not."""

from __future__ import annotations

import abc
import dataclasses
import enum
import functools
import importlib
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from bridge.runs.content import UnidentifiedError, content_hash
from studies.clustered import FullMeanFieldBaseSweepRunner, StageSNNSimulation
from studies.clustered.logger import Logger

ROOT = Path(__file__).parents[2]


def scaled(factor, *, offset=0.0):
    """Return a function with two free variables."""

    def step(item):
        return factor * item + offset

    return step


def helped(helper):
    return lambda item: helper(item) + 1


def runner(value, base=FullMeanFieldBaseSweepRunner, more=None):
    """Return a class whose method has a free variable."""

    class Runner(base):
        level = 0.5

        def _step(self, param, idx, sweep_param, **kwargs):
            return value

        @staticmethod
        def _aside(x):
            return x + 1

    for name, one in (more or {}).items():
        setattr(Runner, name, one)
    return Runner


class Named(enum.Enum):
    ONE = 1
    TWO = 2


@dataclasses.dataclass
class Settings:
    level: float = 0.5
    names: list = dataclasses.field(default_factory=list)


class Abstract(abc.ABC):
    @abc.abstractmethod
    def go(self): ...


LIMIT = 3.0


def limited(item):
    return min(item, LIMIT)


def calls_limited(item):
    return limited(item) + 1


def calls_itself(n):
    return n * calls_itself(n - 1) if n else 1


class Linked:
    def __init__(self, value):
        self.value, self.me = value, self

    def __call__(self, item):
        return self.value * item


SAME = {
    "function": (lambda: limited, lambda: limited),
    "closure": (lambda: scaled(2.0), lambda: scaled(2.0)),
    "lambda": (lambda: helped(scaled(2.0)), lambda: helped(scaled(2.0))),
    "class": (lambda: runner(1), lambda: runner(1)),
    "instance": (lambda: runner(1)(n=3), lambda: runner(1)(n=3)),
    "numpy numbers": (
        lambda: {"a": np.float64(0.1), "b": np.int64(3), "c": np.bool_(True), "d": np.str_("x")},
        lambda: {"d": "x", "c": True, "b": 3, "a": 0.1},
    ),
    "array": (
        lambda: np.array([[1.0, 2.0]]),
        lambda: np.array([[1.0, 2.0, 3.0], [0, 0, 0]])[:1, :2],
    ),
    "order of keys": (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
    "sets": (lambda: {"a", "b", "c"}, lambda: {"c", "b", "a"}),
    "tuple or list": (lambda: (1, 2), lambda: [1, 2]),
    "holds itself": (lambda: Linked(2), lambda: Linked(2)),
    "loggers": (lambda: Logger("a", file_path="one.log"), lambda: Logger("a")),
    "text in two places": (lambda: ["".join(["a", "b"]), "ab"], lambda: ["ab", "ab"]),
}
OTHER = {
    "free variable": (lambda: scaled(2.0), lambda: scaled(2.5)),
    "keyword of a closure": (lambda: scaled(2.0), lambda: scaled(2.0, offset=1.0)),
    "function in a closure": (lambda: helped(scaled(2.0)), lambda: helped(scaled(3.0))),
    "constant": (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    "operation": (lambda: lambda x: x + 1, lambda: lambda x: x - 1),
    "attribute asked for": (lambda: lambda x: x.real, lambda: lambda x: x.imag),
    "default": (lambda: lambda x, a=1: x * a, lambda: lambda x, a=2: x * a),
    "keyword default": (lambda: lambda x, *, a=1: x * a, lambda: lambda x, *, a=2: x * a),
    "inner function": (
        lambda: lambda x: [(lambda y: y + 1)(one) for one in x],
        lambda: lambda x: [(lambda y: y + 2)(one) for one in x],
    ),
    "partial, number": (
        lambda: functools.partial(limited, 1), lambda: functools.partial(limited, 2)
    ),
    "partial, dict": (
        lambda: functools.partial(limited, {"nu": [1.0, 7.0]}),
        lambda: functools.partial(limited, {"nu": [1.0, 7.5]}),
    ),
    "partial, array": (
        lambda: functools.partial(limited, item=np.zeros(3)),
        lambda: functools.partial(limited, item=np.array([0.0, 0.0, 1e-300])),
    ),
    "partial, path": (
        lambda: functools.partial(limited, Path("a")), lambda: functools.partial(limited, Path("b"))
    ),
    "partial of a closure": (
        lambda: functools.partial(scaled(1.0), 3), lambda: functools.partial(scaled(2.0), 3)
    ),
    "bound method": (lambda: Linked(1).__call__, lambda: Linked(2).__call__),
    "callable object": (lambda: Linked(1), lambda: Linked(2)),
    "method": (lambda: runner(1), lambda: runner(2)),
    "class constant": (lambda: runner(1), lambda: runner(1, more={"level": 0.6})),
    "static method": (
        lambda: runner(1), lambda: runner(1, more={"_aside": staticmethod(lambda x: x + 2)})
    ),
    "property": (
        lambda: runner(1, more={"p": property(lambda self: 1)}),
        lambda: runner(1, more={"p": property(lambda self: 2)}),
    ),
    "base of a user": (lambda: runner(1, runner(1)), lambda: runner(1, runner(2))),
    "base of this program": (lambda: runner(1), lambda: runner(1, StageSNNSimulation)),
    "settings of an instance": (lambda: runner(1)(n=3), lambda: runner(1)(n=4)),
    "cached function": (
        lambda: functools.cache(scaled(1.0)), lambda: functools.cache(scaled(2.0))
    ),
    "whole or broken number": (lambda: 1, lambda: 1.0),
    "last digit": (lambda: 0.1, lambda: np.nextafter(0.1, 1)),
    "precision": (lambda: np.float32(0.5), lambda: np.float64(0.5)),
    "dtype": (lambda: np.zeros(2, np.int32), lambda: np.zeros(2, np.int64)),
    "shape": (lambda: np.zeros((2, 3)), lambda: np.zeros((3, 2))),
    "array of objects": (
        lambda: np.array([1, "a"], object), lambda: np.array([1, "b"], object)
    ),
    "enum": (lambda: Named.ONE, lambda: Named.TWO),
    "dataclass": (lambda: Settings(), lambda: Settings(names=["a"])),
    "class of this program": (lambda: StageSNNSimulation, lambda: FullMeanFieldBaseSweepRunner),
    "path or text": (lambda: Path("a"), lambda: "a"),
    "nesting": (lambda: [[1], 2], lambda: [[1, 2]]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_equal_things_have_equal_keys(name):
    one, other = (make() for make in SAME[name])
    assert content_hash(one) == content_hash(other)
    assert content_hash({"in": [one]}) == content_hash({"in": [other]})


@pytest.mark.parametrize("name", OTHER)
def test_anything_that_may_decide_a_result_is_seen(name):
    one, other = (make() for make in OTHER[name])
    assert content_hash(one) != content_hash(other)
    assert content_hash(one) == content_hash(OTHER[name][0]())


def test_globals_and_helpers_count(monkeypatch):
    before = content_hash(calls_limited), content_hash(calls_itself)
    monkeypatch.setitem(globals(), "LIMIT", 4.0)
    assert content_hash(calls_limited) != before[0]
    assert content_hash(calls_itself) == before[1]


def test_modules_of_a_user_count_with_what_they_import(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "inner_of_key.py").write_text("RATE = 12.0\n")
    (tmp_path / "outer_of_key.py").write_text("import inner_of_key\ndef run(): return 1\n")
    outer = importlib.import_module("outer_of_key")

    def step(item):
        return outer.run()

    def late(item):
        import outer_of_key

        return outer_of_key.run()

    def library(item):
        return np.sin(item)

    before = content_hash(step), content_hash(late), content_hash(library)
    assert len(set(before)) == 3
    (tmp_path / "inner_of_key.py").write_text("RATE = 7.0\n")
    after = content_hash(step), content_hash(late), content_hash(library)
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert after[2] == before[2]
    for name in ("inner_of_key", "outer_of_key"):
        monkeypatch.delitem(sys.modules, name)


def test_code_without_a_source_counts_by_what_it_does():
    def made(text):
        space = {"__name__": "__main__"}
        exec(text, space)
        return space["step"]

    one = made("def step(x): return x + 1")
    assert content_hash(one) == content_hash(made("def step(x):\n\n    return x + 1  # the same"))
    assert content_hash(one) != content_hash(made("def step(x): return x + 3"))
    assert content_hash(len) != content_hash(max)
    assert content_hash(np.sin) != content_hash(np.cos)


@pytest.mark.parametrize(
    "thing",
    [threading.Lock(), (one for one in [1]), sys.stdout.buffer,
     functools.partial(limited, threading.Lock()), [[], {"a": threading.Lock()}]],
)  # fmt: skip
def test_what_nothing_identifies_is_said(thing):
    with pytest.raises(UnidentifiedError, match="can't be identified"):
        content_hash(thing)


def test_harmless_objects_are_identified():
    for thing in (logging.getLogger("a"), Abstract, np.random.default_rng(3), Settings, Named):
        assert content_hash(thing) == content_hash(thing)
    assert content_hash(np.random.default_rng(3)) == content_hash(np.random.default_rng(3))
    assert content_hash(np.random.default_rng(3)) != content_hash(np.random.default_rng(4))


PRINT = """
import sys
sys.path.insert(0, {folder!r})
import test_content as t
for name, (make, _) in sorted((t.SAME | t.OTHER).items()):
    print(name, t.content_hash(make()))
print(t.content_hash(t.calls_limited), t.content_hash(t.calls_itself))
"""


def test_another_process_finds_the_same_keys():
    """Whatever the order of sets and the addresses in memory."""
    code = PRINT.format(folder=str(Path(__file__).parent))
    found = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, text=True,
                              capture_output=True, check=True)  # fmt: skip
        found.append(done.stdout.splitlines())
    assert found[0] == found[1]
    assert len(found[0]) == len(SAME | OTHER) + 1
