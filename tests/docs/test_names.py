"""Names of modules, attributes and files in prose are names of what is there.

Prose is every docstring and comment of the project, and every page of its documentation. What names
used to be is the business of CHANGELOG.md alone.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib
import importlib.util
import io
import re
import tokenize
from pathlib import Path

import pytest

from bridge.runs.recipes import find_recipe

ROOT = Path(__file__).parents[2]
ROOMS = ("bridge", "scope", "sim_brian", "studies", "train_torch")
SHELVES = (*ROOMS, "benchmarks", "configs", "docs", "tests")
DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join(ROOMS)})(?:\.[A-Za-z_]\w*)+(?![\w/])")
BRACED = re.compile(rf"(?<![\w./-])((?:{'|'.join(ROOMS)})(?:\.\w+)*)\.\{{([\w, ]+)\}}")
PLACED = re.compile(
    rf"(?<![\w./-])(?:{'|'.join(SHELVES)})(?:/[\w.-]+)+\.(?:py|md|yaml|toml|png|h|cpp|npz|mat)\b"
)
ROLE = re.compile(r":(?:func|class|meth|data|mod|attr):`~?([A-Za-z_][\w.]*)`")
IMPORTED = re.compile(rf"from ((?:{'|'.join(ROOMS)})(?:\.\w+)*) import (\([^)]*\)|[\w, ]+)")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def sources() -> list[Path]:
    shelves = [ROOT / name for name in (*ROOMS, "benchmarks", "tests", "pingbridge")]
    found = [path for shelf in shelves for path in sorted(shelf.rglob("*.py"))]
    return [ROOT / "cli.py", *found]


def comments(text: str) -> list[tuple[int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]


def docstrings(tree: ast.Module) -> list[tuple[int, str, str | None]]:
    """Return line, text and enclosing class of each string that stands as a statement."""
    found: list[tuple[int, str, str | None]] = []

    def walk(node: ast.AST, owner: str | None) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                if isinstance(child.value.value, str):
                    found.append((child.lineno, child.value.value, owner))
            else:
                walk(child, child.name if isinstance(child, ast.ClassDef) else owner)

    walk(tree, None)
    return found


@functools.cache
def resolves(name: str) -> bool:
    """Return whether a dotted name leads to a module, or to what one holds."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            there = importlib.util.find_spec(".".join(parts[:n])) is not None
        except ModuleNotFoundError:
            there = False
        if there:
            return n == len(parts) or holds(importlib.import_module(".".join(parts[:n])), parts[n:])
    return False


def holds(owner: object, names: list[str]) -> bool:
    for name in names:
        if not hasattr(owner, name):
            fields = {k for kind in getattr(owner, "__mro__", ()) for k in
                      getattr(kind, "__annotations__", ())}  # fmt: skip
            return name in fields and name == names[-1]
        owner = getattr(owner, name)
    return True


def lost_in(text: str) -> list[str]:
    """Return the names of modules, attributes and files in a text that lead nowhere."""
    dotted = {name.rstrip(".") for name in DOTTED.findall(BRACED.sub("", text))}
    for pattern in (BRACED, IMPORTED):
        for package, names in pattern.findall(text):
            dotted |= {f"{package}.{name}" for name in re.findall(r"\w+", names)}
    lost = [name for name in dotted if not name.endswith(".py") and not resolves(name)]
    return sorted([*lost, *(name for name in PLACED.findall(text) if not is_file(name))])


def is_file(name: str) -> bool:
    """Return whether a path leads to a file; TASK.yaml stands for any, as do names of recipes."""
    if re.search(r"/[A-Z]+\.\w+$", name) or (ROOT / name).is_file():
        return True
    with contextlib.suppress(FileNotFoundError):
        return name.startswith("configs/") and find_recipe(name).is_file()
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_names_in_the_documentation_lead_somewhere(page):
    assert lost_in(page.read_text()) == []


@pytest.mark.parametrize("room", [*ROOMS, "benchmarks", "tests", "pingbridge", "cli.py"])
def test_names_in_docstrings_and_comments_lead_somewhere(room):
    lost = []
    for path in sources():
        where = path.relative_to(ROOT)
        if where.parts[0] != room:
            continue
        text = path.read_text()
        prose = [(line, doc) for line, doc, _ in docstrings(ast.parse(text))] + comments(text)
        lost += [f"{where}:{line}: {name}" for line, one in prose for name in lost_in(one)]
    assert lost == []


def names_for_checkers(tree: ast.Module) -> set[str]:
    """Return the names that a module imports anywhere or defines for type checkers alone."""
    kinds = ast.Import | ast.ImportFrom
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    found = {alias.asname or alias.name.split(".")[0] for node in nodes for alias in node.names}
    for block in tree.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            assigned = [node for node in block.body if isinstance(node, ast.Assign)]
            found |= {ast.unparse(target) for node in assigned for target in node.targets}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_cross_references_lead_somewhere(room):
    lost = []
    for path in sources():
        where = path.relative_to(ROOT)
        if where.parts[0] != room:
            continue
        tree = ast.parse(path.read_text())
        prose = docstrings(tree)
        if not any(ROLE.search(doc) for _, doc, _ in prose):
            continue
        dotted = ".".join(where.with_suffix("").parts)
        module = importlib.import_module(dotted.removesuffix(".__init__"))
        known = names_for_checkers(tree) | set(dir(builtins))
        for line, doc, owner in prose:
            homes = [module, *([vars(module)[owner]] if owner in vars(module) else [])]
            for target in ROLE.findall(doc):
                first, *rest = target.split(".")
                fine = (
                    resolves(target) if first in ROOMS
                    else first in known or any(holds(home, [first, *rest]) for home in homes)
                )  # fmt: skip
                if not fine:
                    lost.append(f"{where}:{line}: {target}")
    assert lost == []


@pytest.mark.parametrize("room", [*ROOMS, "benchmarks"])
def test_no_module_takes_what_another_calls_its_own(room):
    taken = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {alias.name}"
        for path in sources() if path.relative_to(ROOT).parts[0] == room
        for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
        for alias in node.names if re.match(r"_[a-z]", alias.name)
    ]  # fmt: skip
    assert taken == []


def test_published_names_are_where_the_table_says():
    page = (ROOT / "docs" / "rate_to_spike.md").read_text()
    rows = re.search(r"(?s)\| published name \| import \|\n\| --- \| --- \|\n(.*?)\n\n", page)[1]
    n_names = 0
    for names, homes in re.findall(r"(?m)^\| (.*) \| (.*) \|$", rows):
        for home in re.findall(r"`([\w.]+)`", homes):
            for name in re.findall(r"`(\w+)`", names):
                assert resolves(f"{home}.{name}"), (home, name)
                n_names += 1
    assert n_names > 30


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("see :mod:`bridge.network.spec` and bridge/network/spec.py", []),
        ("train_torch.compiled builds it.", ["train_torch.compiled"]),
        ("bridge.network.spec.PingSpec.layers", []),
        ("bridge.network.spec.PingSpec.wings", ["bridge.network.spec.PingSpec.wings"]),
        ("`studies.clustered.{runs,walks}`", ["studies.clustered.walks"]),
        ("from bridge.runs import (\n    job, trade)", ["bridge.runs.trade"]),
        ("measured, benchmarks/gone.py; docs/files.md", ["benchmarks/gone.py"]),
        ("configs/snn_test_run.yaml, configs/rate/TASK.yaml", []),
        ("configs/none.yaml", ["configs/none.yaml"]),
        ("https://x.org/docs/files/none.md, ./scope.txt, cli.py", []),
    ],
)  # fmt: skip
def test_what_is_lost_is_seen(text, lost):
    assert lost_in(text) == lost
