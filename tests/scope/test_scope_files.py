"""PNG files: free of dates, whole or absent."""

from __future__ import annotations

import io
import os

import pytest
from PIL import Image

from scope.files import png_bytes, save_figure
from scope.style import new_figure


@pytest.fixture
def figure():
    figure = new_figure(3.0, 2.0, 50)
    figure.add_subplot().plot([0, 1], [1, 0])
    return figure


def test_a_saved_figure_holds_the_pixels_and_nothing_else(figure, tmp_path):
    path = save_figure(figure, tmp_path / "a.png")
    assert path == tmp_path / "a.png"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with Image.open(path) as image:
        assert image.size == (150, 100)
        assert set(image.info) <= {"dpi", "gamma"}  # no Software, no date
    assert path.read_bytes() == png_bytes(figure)


def test_saving_twice_gives_the_same_bytes(figure):
    assert png_bytes(figure) == png_bytes(figure)


def test_a_failed_save_leaves_the_old_file(figure, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_only_png_is_written(figure, tmp_path):
    with pytest.raises(ValueError, match=r"'a.pdf' does not end in .png"):
        save_figure(figure, tmp_path / "a.pdf")
    with pytest.raises(FileNotFoundError):
        save_figure(figure, tmp_path / "missing" / "a.png")


def test_a_figure_is_opaque_and_white(figure):
    with Image.open(io.BytesIO(png_bytes(figure))) as image:
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
