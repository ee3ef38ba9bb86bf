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

from bridge import home
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
    assert block["tool_version"] == declared_version()  # a checkout says it itself
    assert block["torch_version"] == "not installed"
    monkeypatch.setattr(home, "project", lambda: None)
    assert home.version() == "unknown"


def declared_version() -> str:
    return re.search(r'^version = "(.+)"$', (home.HOME / "pyproject.toml").read_text(), re.M)[1]


def test_the_version_is_that_of_the_code_that_runs(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda package: "99.9")  # another copy is installed
    assert home.version() == declared_version() != "99.9"
    monkeypatch.setattr(home, "project", lambda: None)
    assert home.version() == "99.9"


def test_only_our_own_project_file_makes_a_checkout(tmp_path):
    assert home.project(tmp_path) is None
    for text in ('[project]\nname = "scope"\n', "[tool.black]\n", "no toml ["):
        (tmp_path / "pyproject.toml").write_text(text)
        assert home.project(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "pingbridge"\nversion = "1.2"\n')
    assert home.project(tmp_path)["version"] == "1.2"


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


def test_the_environment_hash_of_a_checkout_prefers_the_constraints(tmp_path):
    content = b'[project]\nname = "pingbridge"\n'
    (tmp_path / "pyproject.toml").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()[:12]
    assert python_env_hash(tmp_path) == f"pyproject.toml:{expected}"
    (tmp_path / "constraints.txt").write_bytes(b"abc")
    # SHA-256 of "abc": FIPS 180-2, appendix B.1.
    assert python_env_hash(tmp_path) == "constraints.txt:ba7816bf8f01"
    own = hashlib.sha256((home.HOME / "constraints.txt").read_bytes()).hexdigest()[:12]
    assert python_env_hash() == f"constraints.txt:{own}"


def test_the_environment_hash_of_an_installed_copy_is_that_of_its_packages(tmp_path, monkeypatch):
    packages = tmp_path / "given with --target"  # where pingbridge itself lies
    (packages / "Zebra-1.0.dist-info").mkdir(parents=True)
    (packages / "Zebra-1.0.dist-info" / "METADATA").write_text("Name: Zebra\nVersion: 1.0\n")
    (packages / "ant-2.1.dist-info").mkdir()
    (packages / "ant-2.1.dist-info" / "METADATA").write_text("Name: ant\nVersion: 2.1\n")
    later = tmp_path / "site-packages"  # what is imported from the folder before is not seen here
    (later / "ant-9.dist-info").mkdir(parents=True)
    (later / "ant-9.dist-info" / "METADATA").write_text("Name: ant\nVersion: 9\n")
    (later / "setuptools" / "_vendor" / "bee-1.dist-info").mkdir(parents=True)
    (later / "setuptools" / "_vendor" / "bee-1.dist-info" / "METADATA").write_text("Name: bee\n")
    monkeypatch.setattr(
        sys, "path", [str(packages), str(later), str(later / "setuptools" / "_vendor"), ""]
    )
    expected = hashlib.sha256(b"ant==2.1\nzebra==1.0\n").hexdigest()[:12]
    (packages / "constraints.txt").write_text("of somebody else")
    assert python_env_hash(packages) == f"packages:{expected}"


def test_home_is_the_folder_of_the_rooms():
    assert (home.HOME / "bridge" / "home.py").is_file()
    assert (home.CONFIGS / "ping" / "demo.yaml").is_file()
