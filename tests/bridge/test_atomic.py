"""Files that are there whole or not at all, and survive a loss of power where they must."""

from __future__ import annotations

import errno
import os

import pytest

from bridge import atomic
from bridge.atomic import write_atomically, write_text


@pytest.fixture
def calls(monkeypatch):
    """Record what is flushed and renamed, in order."""
    found = []
    fsync, replace = os.fsync, os.replace

    def flush(handle):
        found.append(("flush", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def rename(source, target):
        found.append(("rename", str(target)))
        replace(source, target)

    monkeypatch.setattr(atomic.os, "fsync", flush)
    monkeypatch.setattr(atomic.os, "replace", rename)
    return found


def test_the_disk_has_the_content_before_the_name_and_the_name_at_the_end(tmp_path, calls):
    write_text(tmp_path / "a.txt", "content")
    (first, flushed), (second, renamed), (third, folder) = calls
    assert (first, second, third) == ("flush", "rename", "flush")
    assert os.path.basename(flushed).startswith(atomic.PARTIAL_PREFIX)
    assert (renamed, folder) == (str(tmp_path / "a.txt"), str(tmp_path))


def test_what_can_be_computed_again_does_not_wait_for_the_disk(tmp_path, calls):
    write_atomically(tmp_path / "a.txt", lambda path: path.write_text("x"), durable=False)
    assert [what for what, _ in calls] == ["rename"]


def test_a_disk_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(handle):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write_text(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_system_that_knows_no_flush_is_written_all_the_same(tmp_path, monkeypatch):
    def unknown(handle):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(atomic.os, "fsync", unknown)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_cannot_be_written_is_named(tmp_path):
    def no_room(partial):
        raise OSError(errno.ENOSPC, "No space left on device")

    def numpy_says(partial):
        raise OSError("60000 requested and 36736 written")

    def locked(partial):
        raise PermissionError(errno.EACCES, "Permission denied", str(partial))

    def elsewhere(partial):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/other")

    path = tmp_path / "a.txt"
    for writer, kind, message in (
        (no_room, OSError, f"No space left on device: '{path}'"),
        (numpy_says, OSError, f"{path} can't be written (60000 requested and 36736 written)"),
        (locked, PermissionError, f"Permission denied: '{path}'"),
        (elsewhere, FileNotFoundError, "No such file or directory: '/other'"),
    ):
        with pytest.raises(kind) as caught:
            write_atomically(path, writer)
        assert message in str(caught.value)
        assert atomic.PARTIAL_PREFIX not in str(caught.value)


def test_an_error_on_the_way_leaves_nothing(tmp_path):
    def half(partial):
        partial.write_text("half")
        raise KeyError

    with pytest.raises(KeyError):
        write_atomically(tmp_path / "a.txt", half)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="did not write"):
        write_atomically(tmp_path / "a.txt", lambda path: None)
