"""What the documentation says is what the program does."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_table_of_flags_is_current():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FLAGS.read_text() == module.flags_page(), "run: python docs/generate.py"


def readme_commands():
    block = re.search(r"```sh\nsource.*?```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    return [
        line.split("#")[0].strip() for line in block.splitlines() if line.startswith("pingbridge")
    ]


def test_the_readme_has_commands():
    assert len(readme_commands()) >= 5


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, marks=[pytest.mark.compiler] if "--codegen cpp" in line else [])
     for line in readme_commands()],
)  # fmt: skip
def test_a_command_of_the_readme_runs(line, tmp_path, monkeypatch, capsys):
    from cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    words = shlex.split(line)[1:]
    if "artifacts/demo" in words:
        demo = ["image", "--config", "configs/ping/demo.yaml", "--out-dir", "artifacts/demo",
                "--n-hidden", "32", "--t-ms", "150"]  # fmt: skip
        assert main(demo) == 0
    if "artifacts/trained" in words and words[0] != "train":
        assert main([*LEARN, "--observe", "none"]) == 0
    # As written, but for a small network: the point is that the line is accepted and runs.
    small = {
        "train": ["--n-hidden", "16", "--max-samples", "150", "--observe", "none"],
        "infer": ["--codegen", "numpy"],
    }
    inherits = "artifacts/trained" in words
    assert main([*words, *small.get(words[0], [] if inherits else ["--n-hidden", "32"])]) == 0
    told = capsys.readouterr().out
    assert {"train": "best epoch", "infer": "trained here"}.get(words[0], "E=") in told


LEARN = ("train", "--dataset", "scikit", "--epochs", "1", "--dt", "1", "--n-hidden", "16",
         "--max-samples", "150", "--out-dir", "artifacts/trained")  # fmt: skip


def test_the_python_example_of_the_readme_runs(capsys):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), {})
    assert "E=" in capsys.readouterr().out


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
