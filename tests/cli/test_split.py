"""Which samples are "test" is decided by the training alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from bridge.datasets import catalog

NETWORK = ("--n-hidden", "16", "--dt", "2", "--t-ms", "60", "--input-rate", "100", "--burn-in", "0")
MORE = ("--max-samples", "600", *NETWORK, "--w-in", "2", "0.4", "--w-in-sparsity", "0.5",
        "--ei-ratio", "0.2", "--lr", "0.002", "--observe", "none")  # fmt: skip


def positions(folder, max_samples):
    """Return the places in the whole data set of the samples that were tested."""
    rows = json.loads((folder / "test_predictions.json").read_text())
    kept = catalog._cap(1797, max_samples)
    return [int(kept[row["idx"]]) for row in rows]


@pytest.fixture
def trained(call):
    done = call("train", *MORE, "--epochs", 1, name="trained", record=False)
    assert done.code == 0, done.err
    return done.folder


def test_a_cap_of_infer_takes_a_part_of_the_test_samples(call, trained, tmp_path):
    learned, tested, _ = catalog.part_positions("scikit", max_samples=600)
    source = {
        "run": ("--from-dir", trained),
        "weights": ("--from-dir", trained, "--load-weights", trained / "weights.h5"),
    }
    seen = {}
    for name, words in source.items():
        found = call("infer", *words, "--max-samples", 25, name=name, record=False)
        assert found.code == 0, found.err
        seen[name] = positions(found.folder, 600)
        assert len(seen[name]) == 25
        assert set(seen[name]) <= set(tested.tolist())
        assert not set(seen[name]) & set(learned.tolist())
        assert found.config["derived"]["split_of_training"]["max_samples"] == 600
    assert seen["run"] == seen["weights"]
    whole = call("infer", "--from-dir", trained, name="whole", record=False)
    assert positions(whole.folder, 600) == tested.tolist()
    assert (whole.folder / "test_predictions.json").read_bytes() == (
        trained / "test_predictions.json"
    ).read_bytes()
    # What inherits from the evaluation still tests on the same samples.
    again = call("infer", "--from-dir", tmp_path / "run", name="again", record=False)
    assert positions(again.folder, 600) == seen["run"]


def test_weights_by_their_name_bring_their_split(call, trained, tmp_path):
    named = call("infer", *NETWORK, "--load-weights", trained / "weights.h5", name="named",
                 record=False)  # fmt: skip
    assert named.code == 0, named.err
    tested = catalog.part_positions("scikit", max_samples=600)[1]
    assert positions(named.folder, 600) == tested.tolist()
    assert "may hold samples" not in named.out
    (tmp_path / "alone").mkdir()
    shutil.copy(trained / "weights.h5", tmp_path / "alone" / "weights.h5")
    alone = call("infer", *NETWORK, "--load-weights", tmp_path / "alone" / "weights.h5",
                 "--max-samples", 9, name="blind", record=False)  # fmt: skip
    assert alone.code == 0, alone.err
    assert "may hold samples that it was trained on" in alone.out
    assert set(positions(alone.folder, None)) < set(catalog.part_positions("scikit")[1].tolist())


@pytest.mark.parametrize(
    ("flag", "held"), [(("--max-samples", "200"), "600"), (("--val-fraction", "0.2"), "0.0")]
)
def test_going_on_with_another_split_is_refused(call, trained, flag, held):
    done = call("train", "--from-dir", trained, *flag, "--epochs", 1, "--observe", "none",
                name="more", record=False)  # fmt: skip
    assert done.code == 2
    assert done.err.count("\n") == 1
    for part in (*flag, str(trained), held, "would be tested on"):
        assert part in done.err
    assert not done.folder.exists()


def test_going_on_keeps_the_split_whatever_is_between(call, trained):
    seen = call("infer", "--from-dir", trained, "--max-samples", 20, name="seen", record=False)
    more = call("train", "--from-dir", seen.folder, "--epochs", 1, "--observe", "none", name="more",
                record=False)  # fmt: skip
    assert more.code == 0, more.err
    assert more.config["max_samples"] == 600
    assert positions(more.folder, 600) == positions(trained, 600)


def test_infer_refuses_another_split(call, trained):
    found = call("infer", "--from-dir", trained, "--split", "official", record=False)
    assert found.code == 2
    assert "--split official contradicts the training" in found.err


def test_a_picture_says_of_which_part_its_sample_is(call, trained, monkeypatch):
    from scope.oscilloscope import pictures

    titles = []
    draw = pictures.draw_oscilloscope

    def seen(view, **more):
        titles.append(view.title)
        return draw(view, **more)

    monkeypatch.setattr(pictures, "draw_oscilloscope", seen)
    learned, tested, _ = catalog.part_positions("scikit", max_samples=600)
    unused = np.setdiff1d(np.arange(1797), [*learned, *tested])
    labels = catalog.load("scikit").labels
    parts = {"training sample": learned, "test sample": tested, "unused sample": unused}
    for part, places in parts.items():
        place = int(places[0])
        number = int((labels[:place] == labels[place]).sum())
        shown = call("image", "--from-dir", trained, "--digit", labels[place], "--sample", number,
                     "--codegen", "numpy", name=part.split()[0], record=False)  # fmt: skip
        assert shown.code == 0, shown.err
        assert f"; {part} of the training" in shown.out
        assert titles[-1].endswith(f"({part})")
    drawn = call("sim", *NETWORK, "--digit", "3", "--codegen", "numpy", name="drawn", record=False)
    assert "of the training" not in drawn.out
