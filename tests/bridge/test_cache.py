"""The cache of compiled code: what is whole counts, what was used last stays."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from filelock import FileLock

from bridge import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINGBRIDGE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(key: str, *, age_s: float = 0.0, kb: int = 300) -> Path:
    built = cache.cache_root().parent / "built"
    built.write_bytes(key.encode() * (kb * 1000 // len(key)))
    target = cache.program_path(key)
    cache.put(built, target)
    moment = target.stat().st_mtime - age_s
    os.utime(target, (moment, moment))
    return target


def programs(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("programs/*/main"))


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one bit": lambda path: path.write_bytes(b"b" + path.read_bytes()[1:]),
    "not executable": lambda path: path.chmod(0o600),
    "gone": lambda path: path.unlink(),
    "no stamp": lambda path: path.with_name("main.stamp").unlink(),
    "cut stamp": lambda path: path.with_name("main.stamp").write_text("300000 ab"),
    "no text in the stamp": lambda path: path.with_name("main.stamp").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_not_whole_until_it_is_put_anew(damage):
    target = put("a")
    assert cache.is_whole(target)
    DAMAGE[damage](target)
    assert not cache.is_whole(target)
    put("a")
    assert cache.is_whole(target)


def test_what_was_used_last_stays_and_nothing_in_use_goes(own_cache, monkeypatch):
    for age, key in enumerate("abcd", start=1):
        put(key, age_s=1000 * age)
    assert cache.is_whole(cache.program_path("d"))  # used just now
    lock = cache.hold(cache.program_path("c"))
    monkeypatch.setenv("PINGBRIDGE_CACHE_MAX_MB", "1")  # three of 0.3 MB
    assert cache.prune() > 250_000
    assert programs(own_cache) == ["a", "c", "d"]  # b: c is older, and in use
    monkeypatch.setenv("PINGBRIDGE_CACHE_MAX_MB", "0")
    cache.prune()
    assert programs(own_cache) == ["c"]
    os.close(lock)
    cache.prune()
    assert not list((own_cache / "programs").iterdir())


def test_the_limit_counts_all_kinds_and_the_default_removes_nothing(own_cache, monkeypatch):
    cython, kernels, stamps = (own_cache / kind for kind in ("cython", "kernels", "stamps"))
    put("a", age_s=10)
    for folder in (cython, kernels, stamps):
        folder.mkdir()
    (cython / "_magic_1.so").write_bytes(bytes(400_000))
    (cython / "_magic_1.pyx").touch()
    (cython / "_magic_1.lock").touch()
    (kernels / "k.so").write_bytes(bytes(500_000))
    (stamps / "cpp-1").write_text("a")
    cache.prune()
    assert {entry.kind for entry in cache.entries()} == {"programs", "cython", "kernels", "stamps"}
    for path, age in ((cython / "_magic_1.so", 2000), (kernels / "k.so", 3000)):
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    monkeypatch.setenv("PINGBRIDGE_CACHE_MAX_MB", "1")
    with FileLock(str(kernels / "k.lock")):  # somebody is about to load it
        cache.prune()
    assert (kernels / "k.so").exists()
    assert not list(cython.iterdir())
    assert programs(own_cache) == ["a"]


@pytest.mark.parametrize("told", ["2 GB", "-1", "1e3", "٣"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, told):
    monkeypatch.setenv("PINGBRIDGE_CACHE_MAX_MB", told)
    with pytest.raises(ValueError, match=r"PINGBRIDGE_CACHE_MAX_MB = .* whole number of megabytes"):
        cache.limit_bytes()


def test_leftovers_of_killed_compilations_go_and_those_at_work_stay(own_cache):
    put("a")
    dead = textwrap.dedent(
        """
        import os, signal
        from bridge.cache import cache_root
        from bridge.scratch import Scratch
        folder = Scratch(cache_root() / "tmp")
        (folder.path / "main").write_bytes(bytes(1000))
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run([sys.executable, "-c", dead], check=False)
    assert len(list((own_cache / "tmp").glob("*/main"))) == 1
    partial = own_cache / "programs" / "a" / ".partial-1-abc-main.stamp"
    lock = own_cache / "programs" / "b.lock"
    fresh = own_cache / "programs" / "c.lock"
    for path in (partial, lock, fresh):
        path.touch()
    for path in (partial, lock):
        os.utime(path, (0, 0))
    cache.tidy()
    assert not list((own_cache / "tmp").iterdir())
    assert not partial.exists()
    assert not lock.exists()
    assert fresh.exists()
    assert cache.is_whole(cache.program_path("a"))


def test_a_cache_that_others_can_write_is_not_used(own_cache, monkeypatch, tmp_path):
    assert cache.cache_root() == own_cache
    (own_cache / "programs").chmod(0o777)
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    assert cache.cache_root().parent == tmp_path
