"""The tutorial runs as written, at small size: all its code, in its order."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

SMALL = {
    "N=200,": "N=24,",
    '"T": 200,': '"T": 24,',
    '"stim_on": 50,': '"stim_on": 4,',
    '"stim_dur": 25,': '"stim_dur": 4,',
    "num_updates = 1500": "num_updates = 3",
    "batch_size = 16": "batch_size = 2",
    "n_trials=100,\n    scaling": "n_trials=2,\n    scaling",
    "list(range(20, 76, 5))": "list(range(20, 31, 5))",
    "n_trials=100, seed=2": "n_trials=2, seed=2",
}


@pytest.mark.filterwarnings("ignore:.*edge of the grid", "ignore:.*of its trials")
def test_the_tutorial_runs(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("tutorial", ROOT / "docs" / "tutorial.py")
    tutorial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tutorial)

    def smaller(text):
        for old, new in SMALL.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        return text

    names = tutorial.run(tmp_path, smaller)
    assert len(names["losses"]) == 3
    assert names["spk_go"].shape == (24, 2400)
    assert names["best"] in (20, 25, 30)
    assert names["result"]["Total trials"] == 2
    assert names["model"]["w"].min() == 0
    assert not np.array_equal(names["model"]["w"], names["model"]["w0"])
    page = tutorial.PAGE.read_text()
    drawn = sorted(p.name for p in tmp_path.glob("*.png"))
    assert len(drawn) == 5
    for name in drawn:
        assert f"(images/{name})" in page
        assert (ROOT / "docs" / "images" / name).is_file(), "run: python docs/tutorial.py"
