"""The tutorial runs as written, at small size: all its code, in its order."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

SMALL = {
    "N=200,": "N=24,",
    '"T": 200,': '"T": 12,',
    '"stim_on": 50,': '"stim_on": 2,',
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
    assert names["spk_go"].shape == (24, 1200)
    assert names["best"] in (20, 25, 30)
    assert names["result"]["Total trials"] == 2
    assert names["model"]["w"].min() == 0
    assert not np.array_equal(names["model"]["w"], names["model"]["w0"])
    page = tutorial.PAGE.read_text()
    # What the code prints at full size stands in the page.
    printed = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert [text.split()[0] for text in printed] == ["rate", "Analyzing", "mean", "spiking"]
    assert "OUTPUT" not in page
    drawn = sorted(p.name for p in tmp_path.glob("*.png"))
    assert len(drawn) == 5
    for name in drawn:
        assert f"(images/{name})" in page
        assert (ROOT / "docs" / "images" / name).is_file(), "run: python docs/tutorial.py"


def test_the_task_of_the_documentation_can_be_trained_and_judged(monkeypatch):
    from bridge.rate_to_spike import TaskFactory
    from train_torch.rate_rnn import make_network, train_rate_rnn

    monkeypatch.setattr(TaskFactory, "_registry", {**TaskFactory._registry})
    page = (ROOT / "docs" / "rate_to_spike.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "rate_to_spike.md", "exec"), {"__name__": "docs"})
    task = TaskFactory.create_task("hold")
    stimulus, target, label = task.simulate_trial("down", seed=1)
    assert label == "down"
    assert stimulus.min() == target.min() == -1.0
    assert task.is_correct(target, label)
    assert not task.is_correct(-target, label)
    net = make_network(n_units=40, n_in=1, rng=np.random.default_rng(0))
    result = train_rate_rnn(net, task, [4, 20], {"eval_tr": 10}, 30, 0, batch_size=4)
    assert np.mean(result.losses[-5:]) < np.mean(result.losses[:5])
