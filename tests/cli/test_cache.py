"""``cache``: what is kept is told and removed; what is in use stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bridge import cache
from cli import main


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Return a cache with a program that was used today and one of ten days ago."""
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(tmp_path / "cache"))
    built = tmp_path / "built"
    built.write_bytes(bytes(2_000_000))
    for age_days, key in ((0, "a"), (10, "b")):
        target = cache.program_path(key)
        cache.put(built, target)
        moment = time.time() - age_days * 24 * 3600 - 1
        os.utime(target, (moment, moment))
    return tmp_path / "cache"


def programs(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("programs/*/main"))


def test_show(own_cache, capsys, monkeypatch):
    monkeypatch.setenv("PINGBRIDGE_CACHE_MAX_MB", "50")
    assert main(["cache", "show"]) == 0
    first, line = capsys.readouterr().out.splitlines()
    assert first == f"{own_cache}: 4.0 MB of at most 50.0 MB (PINGBRIDGE_CACHE_MAX_MB)"
    ten_days_ago = time.strftime("%Y-%m-%d", time.localtime(time.time() - 10 * 24 * 3600 - 1))
    assert line.split() == [
        "2", "programs", "of", "Brian2", "(--codegen", "cpp,", "cuda)", "4.0", "MB,", "used",
        ten_days_ago, "to", time.strftime("%Y-%m-%d", time.localtime(time.time() - 1)),
    ]  # fmt: skip


def test_clear(own_cache, capsys):
    assert main(["cache", "clear", "--older-than-days", "9", "--dry-run"]) == 0
    assert capsys.readouterr().out == "would remove 1 program (2.0 MB)\n"
    assert programs(own_cache) == ["a", "b"]
    assert main(["cache", "clear", "--older-than-days", "9"]) == 0
    assert capsys.readouterr().out == "removed 1 program (2.0 MB)\n"
    assert programs(own_cache) == ["a"]
    lock = cache.hold(cache.program_path("a"))
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == (
        "removed nothing (0.0 MB)\nin use, and left there: 1 program (2.0 MB)\n"
    )
    assert programs(own_cache) == ["a"]
    os.close(lock)
    assert main(["cache", "clear"]) == 0
    assert not list((own_cache / "programs").iterdir())


def test_what_can_not_be(own_cache, capsys, monkeypatch):
    assert main(["cache", "clear", "--older-than-days", "-1"]) == 2
    assert "--older-than-days = -1 days must be >= 0" in capsys.readouterr().err
    monkeypatch.setenv("PINGBRIDGE_CACHE_MAX_MB", "much")
    assert main(["cache", "show"]) == 2
    assert "PINGBRIDGE_CACHE_MAX_MB = 'much' must be a whole number" in capsys.readouterr().err
    assert programs(own_cache) == ["a", "b"]
