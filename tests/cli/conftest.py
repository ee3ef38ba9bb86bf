"""The command line, called in this process and told what it did."""

from __future__ import annotations

import pytest
from command_line import Outcome

from cli import main


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Call the command line: ``call("sim", ..., name="a")`` runs into the folder ``a``."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *words: object, name: str = "run", record: bool = True) -> Outcome:
        argv = [command, *map(str, words)]
        if "--out-dir" not in argv:
            argv += ["--out-dir", str(tmp_path / name)]
        if record and "--save-recording" not in argv:
            argv += ["--save-recording", str(tmp_path / f"{name}.npz")]
        try:
            code = main(argv)
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return Outcome(code, told.out, told.err, tmp_path / name)

    return run


@pytest.fixture
def weight_files(tmp_path):
    """Return explicit weights of a 32-cell network with 32 input channels, and their file."""
    from bridge.formats.weight_files import save_weights
    from bridge.network.spec import PingSpec, ei_layer
    from bridge.network.weights import DrawRule, WeightDraw, draw_weights

    spec = PingSpec(n_in=32, layers=(ei_layer(32),))
    draw = WeightDraw(w_in=DrawRule(2.5, 0.5), w_ei=DrawRule(1, 0.1), w_ie=DrawRule(2, 0.2))
    weights = draw_weights(spec, draw, seed=9)
    path = tmp_path / "weights.npz"
    save_weights(weights, path)
    return weights, path
