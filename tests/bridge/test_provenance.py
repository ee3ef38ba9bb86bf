"""The provenance block: which commit, which environment, when."""

import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest

from bridge.runs import provenance as provenance_module
from bridge.runs.provenance import git_sha, provenance, python_env_hash

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def no_override(monkeypatch):
    monkeypatch.delenv("PINGBRIDGE_GIT_SHA", raising=False)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*arguments: str) -> str:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        command = ["git", "-C", str(folder), "-c", "user.name=T", "-c", "user.email=t@example.org"]
        done = subprocess.run(
            [*command, *arguments], env=clean, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (folder / "code.py").write_text("x = 1\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "first", "--no-gpg-sign")
    return folder, git


def test_the_block_holds_what_is_needed_to_find_the_run_again(monkeypatch):
    monkeypatch.setenv("PINGBRIDGE_GIT_SHA", "feedbee")
    before = datetime.datetime.now().astimezone().replace(microsecond=0)
    block = provenance(device="cpu")
    after = datetime.datetime.now().astimezone()
    started = datetime.datetime.fromisoformat(block["started_at"])
    assert before <= started <= after
    assert block["run_id"] == f"r-{started:%Y%m%d-%H%M%S}"
    assert block["tool"] == "pingbridge"
    assert block["git_sha"] == "feedbee"
    assert block["device"] == "cpu"
    assert block["python"]["executable"] == sys.executable
    assert block["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert block["numpy_version"] == metadata.version("numpy")
    assert "device" not in provenance()


def test_packages_that_are_not_installed_are_said_to_be_so(monkeypatch):
    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    block = provenance()
    assert block["tool_version"] == "unknown"
    assert block["torch_version"] == "not installed"


@needs_git
def test_the_commit_is_that_of_the_folder_not_of_the_working_directory(
    repository, tmp_path, monkeypatch
):
    folder, git = repository
    monkeypatch.chdir(tmp_path)
    assert git_sha(folder) == git("rev-parse", "--short", "HEAD")
    git("tag", "-a", "v1", "-m", "a tag must not replace the commit")
    assert git_sha(folder) == git("rev-parse", "--short", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path))  # as inside a hook of another repository
    assert git_sha(folder) == git("rev-parse", "--short", "HEAD")


@needs_git
def test_changed_files_make_it_dirty_and_new_ones_do_not(repository):
    folder, git = repository
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "config.json").write_text("{}")
    assert re.fullmatch(r"[0-9a-f]{7,}", git_sha(folder))
    (folder / "code.py").write_text("x = 2\n")
    assert git_sha(folder) == git("rev-parse", "--short", "HEAD") + " (dirty)"


@needs_git
def test_outside_a_repository_the_commit_is_unknown(repository, tmp_path):
    folder, _ = repository
    assert git_sha(tmp_path) == "unknown"
    installed = folder / "environment" / "site-packages"  # not tracked by the repository around it
    installed.mkdir(parents=True)
    assert git_sha(installed) == "unknown"


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_sha() == "unknown"


def test_the_environment_hash_prefers_the_constraints(tmp_path):
    assert python_env_hash(tmp_path) == "unknown"
    (tmp_path / "pyproject.toml").write_bytes(b"abc")
    # SHA-256 of "abc": FIPS 180-2, appendix B.1.
    assert python_env_hash(tmp_path) == "pyproject.toml:ba7816bf8f01"
    (tmp_path / "constraints.txt").write_bytes(b"numpy==2.2.6\n")
    expected = hashlib.sha256(b"numpy==2.2.6\n").hexdigest()[:12]
    assert python_env_hash(tmp_path) == f"constraints.txt:{expected}"


def test_the_source_folder_is_the_one_of_this_project():
    assert (provenance_module.SOURCE_FOLDER / "bridge" / "runs" / "provenance.py").is_file()
