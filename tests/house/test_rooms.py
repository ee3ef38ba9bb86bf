"""The plan of the house: rooms, arrows, no circles; and that the linter would notice."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("bridge", "scope", "sim_brian", "studies", "train_torch")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of the house: every room, the door and the linter's contracts."""
    folder = tmp_path_factory.mktemp("house")
    for room in ROOMS:
        shutil.copytree(
            ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", "*.cpp", "*.h")
        )
    for name in ("cli.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def lint(folder):
    """Return exit code and output of the linter in a folder."""
    words = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as f; f()"]
    done = subprocess.run(
        [*words, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_contracts_hold(copy):
    code, said = lint(copy)
    assert code == 0, said
    assert "0 broken" in said


PLANTED = {
    "at the top of a file": {
        ("bridge/network/spec.py", "import scope.style"): "Arrows",
        ("bridge/network/stimulus.py", "import bridge.network.encoders"): "circles",
        ("studies/common.py", "import cli"): "door",
        ("scope/measure/metrics.py", "import torch"): "no backend",
        ("train_torch/network/base.py", "import brian2"): "no Brian2",
        ("sim_brian/ping/run.py", "import torch"): "no torch",
    },
    "hidden in a function": {
        ("bridge/recording.py", "def f():\n    from sim_brian import engine"): "Arrows",
        ("sim_brian/engine/cost.py", "def f():\n    import sim_brian.ping.run"): "circles",
    },
    "from what people look at": {("scope/style.py", "from studies import common"): "Arrows"},
    "between two rooms of a floor": {
        ("sim_brian/ping/run.py", "import train_torch.network"): "Arrows"
    },
}


@pytest.mark.parametrize("where", PLANTED)
def test_a_planted_import_is_found(copy, where):
    before = {copy / file: (copy / file).read_text() for file, _ in PLANTED[where]}
    try:
        for file, line in PLANTED[where]:
            (copy / file).write_text(f"{before[copy / file]}\n\n{line}\n")
        code, said = lint(copy)
    finally:
        for path, text in before.items():
            path.write_text(text)
    assert code == 1, said
    broken = [row for row in said.splitlines() if row.endswith("BROKEN")]
    for name in PLANTED[where].values():
        assert any(name in row for row in broken), said


def sources(*rooms):
    """Return the files of rooms."""
    found = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    assert found
    return found


def imported(node):
    """Return the packages that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        return {node.module.split(".")[0]}
    return set()


def test_bridge_reaches_up_in_no_other_form():
    """No module by its name, but for those of users and those that a package hands on itself."""
    allowed = {
        "bridge/rate_to_spike/task_factory.py", "bridge/runs/content.py", "bridge/lazy.py",
    }  # fmt: skip
    for path in sources("bridge"):
        text = path.read_text()
        if re.search(r"import_module|__import__|find_spec\(", text):
            assert str(path.relative_to(ROOT)) in allowed, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.fullmatch(rf"({'|'.join(ROOMS[1:])})(\.\w+)+(:\w+)?", node.value), (
                    path
                )


def test_heavy_packages_load_inside_the_commands_that_need_them():
    """What only some need is no price of `--help`."""
    foreign = {
        "bridge": {"brian2", "torch", "matplotlib"},
        "sim_brian": {"torch"},
        "train_torch": {"brian2"},
        "scope": {"brian2", "torch"},
        "studies": {"brian2", "torch"},
    }
    for room, heavy in foreign.items():
        for path in sources(room):
            at_once = {name for node in ast.parse(path.read_text()).body for name in imported(node)}
            assert not heavy & at_once, f"{path} imports {heavy & at_once}"
    code = (
        "import sys, cli; cli.build_parser(); "
        "sys.exit(str({'brian2', 'torch', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


def rooms_of_the_tree():
    """Return every folder of the house that holds modules or recipes."""
    found = {"cli.py", "configs"}
    for path in sources(*ROOMS):
        found.add(str(path.parent.relative_to(ROOT)))
    return found


def test_the_rooms_of_the_guide_are_those_of_the_tree():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    table = re.search(r"\| room \|.*?\n\n", guide, re.DOTALL)[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == rooms_of_the_tree()


def test_the_files_that_the_guide_names_are_there():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:[a-z_]+/)+[\w*]*(?:\.\w+)?)`", guide)
    assert len(named) > 30
    for name in named:
        assert list(ROOT.glob(name.rstrip("/"))), name


def test_every_room_says_what_it_is():
    for room in sorted(rooms_of_the_tree() - {"cli.py", "configs"}):
        assert ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())), room
