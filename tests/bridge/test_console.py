"""The logger: colour on a terminal, plain text elsewhere, everything in output.log."""

import logging
import sys
from pathlib import Path

import pytest

from bridge.runs.console import LOG, configure_logging, strip_ansi, style
from bridge.runs.folder import RunFolder

BLOCK = {"tool": "pingbridge", "run_id": "r-20260102-030405", "started_at": "2026-01-02T03:04:05"}


def open_run(folder: Path, **settings) -> RunFolder:
    settings = {"mode": "sim", "config": {"seed": 3}, "argv": ["sim"], "repeat": "same", **settings}
    return RunFolder(folder, provenance_block=BLOCK, **settings)


@pytest.fixture(autouse=True)
def plain_logger():
    handlers, level = list(LOG.handlers), LOG.level
    yield
    LOG.handlers[:] = handlers
    LOG.setLevel(level)


class Terminal:
    """Stands for stdout on a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_and_output_log_is_plain(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    configure_logging("info")
    with open_run(tmp_path):
        LOG.info("%s rate", style("E", "bold", "red"))
        LOG.warning("low \x1b]8;;http://x\x07link\x1b]8;;\x07")
        LOG.debug("not wanted")
    assert "\x1b[1;31mE\x1b[0m rate\n" in terminal.text
    assert "\x1b[33mwarning:\x1b[0m low" in terminal.text
    log = (tmp_path / "output.log").read_text()
    assert " INFO E rate\n" in log
    assert " WARNING low link\n" in log
    assert "\x1b" not in log
    assert "not wanted" not in terminal.text + log


def test_colour_is_off_elsewhere(monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert style("x", "red") == "x"
    configure_logging()
    LOG.error("\x1b[31mplain\x1b[0m")
    assert capsys.readouterr().out == "error: plain\n"
    assert style("x", "red", stream=Terminal()) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert style("x", "red", stream=Terminal()) == "x"
    with pytest.raises(ValueError, match="unknown style 'pink'; legal are bold"):
        style("x", "pink")


def test_a_quiet_console_still_has_a_full_log(tmp_path, capsys):
    configure_logging("warning")
    with open_run(tmp_path):
        LOG.info("detail")
    assert capsys.readouterr().out == ""
    assert " INFO detail\n" in (tmp_path / "output.log").read_text()


def test_configuring_twice_says_things_once(capsys):
    configure_logging("debug")
    configure_logging("info")
    LOG.info("once")
    LOG.debug("never")
    assert capsys.readouterr().out == "once\n"
    with pytest.raises(ValueError, match="unknown log level 'loud'"):
        configure_logging("loud")


def test_without_configuring_the_level_is_put_back(tmp_path):
    LOG.setLevel(logging.NOTSET)
    with open_run(tmp_path):
        LOG.info("kept")
    assert "kept" in (tmp_path / "output.log").read_text()
    assert LOG.level == logging.NOTSET


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2K\x1b[1Gline", "line"),
        ("\x1b]0;title\x1b\\x", "x"),
        ("a[0m b", "a[0m b"),
    ],
)
def test_escape_sequences_are_taken_out(text, plain):
    assert strip_ansi(text) == plain
    assert strip_ansi(plain) == plain
