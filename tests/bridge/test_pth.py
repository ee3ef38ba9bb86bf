"""State dicts of torch: published names understood, hostile and broken files refused unexecuted."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from bridge.formats.pth import canonical_names
from bridge.formats.weight_files import load_weight_matrices
from bridge.network.spec import CubaSpec, PingSpec, ei_layer
from bridge.network.weights import CUBA_DRAW, DrawRule, WeightDraw, Weights, draw_weights

torch = pytest.importorskip("torch")

PING = PingSpec(n_in=6, layers=(ei_layer(8, 2), ei_layer(4, 3)), n_classes=5)
CUBA = CubaSpec(n_in=6, n_exc=8, n_inh=2, n_classes=5)
DRAW = WeightDraw(
    w_in=DrawRule(0.3, 0.06), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2),
    w_ee=DrawRule(0.1, 0.1), w_ii=DrawRule(0.1, 0.1),
)  # fmt: skip


class Hostile:
    """Creates a file when unpickled."""

    def __init__(self, bait: Path) -> None:
        self.bait = bait

    def __reduce__(self):
        return os.mkdir, (str(self.bait),)


def one_line(caught, path):
    """Return the message of a caught error, which must be one line that names the file."""
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def published_ping():
    """Return a two-layer state dict under the published names, and the same under ours."""
    w = draw_weights(PING, DRAW, seed=1)
    names = {
        "W_ff.0": "W_in", "W_ff.1": "W_ff_1to2", "W_ff.2": "W_out",
        "W_ee.1": "W_ee_1", "W_ei.1": "W_ei_1", "W_ie.1": "W_ie_1", "W_ii.1": "W_ii_1",
        "W_ee.2": "W_ee_2", "W_ei.2": "W_ei_2", "W_ie.2": "W_ie_2", "W_ii.2": "W_ii_2",
    }  # fmt: skip
    return {theirs: torch.tensor(w[ours]) for theirs, ours in names.items()}, w


@pytest.mark.parametrize("wrap", ["", "state_dict", "model", "prefix"])
@pytest.mark.parametrize("legacy", [False, True])
def test_published_state_dict(tmp_path, wrap, legacy):
    state, expected = published_ping()
    if wrap == "prefix":
        state = {f"_orig_mod.{name}": tensor for name, tensor in state.items()}
    content = {wrap: state, "epoch": 3} if wrap in ("state_dict", "model") else state
    path = tmp_path / "weights.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert Weights.for_spec(PING, load_weight_matrices(path)) == expected


def test_float32_parameters_come_out_exactly(tmp_path):
    w = torch.rand(3, 4, generator=torch.Generator().manual_seed(1))
    torch.save({"W_ff.0": torch.nn.Parameter(w), "W_ff.1": torch.ones(4, 2)}, tmp_path / "w.pth")
    loaded = load_weight_matrices(tmp_path / "w.pth")["W_in"]
    np.testing.assert_array_equal(loaded, w.numpy().astype(np.float64))


@pytest.mark.parametrize("naming", ["published", "plain", "ours"])
def test_current_network_state_dict(tmp_path, naming):
    w = draw_weights(CUBA, CUBA_DRAW, seed=1).replace(b_out=np.arange(5.0))
    theirs = {
        "published": ("W_ff.0", "W_ff.1", "b_ff.0", "W_ei.1", "W_ie.1", "W_ee.1"),
        "plain": ("W_in", "W_out", "b_out", "W_ei", "W_ie", "W_ee"),
        "ours": ("W_in", "W_out", "b_out", "W_ei_1", "W_ie_1", "W_ee_1"),
    }[naming]
    matrices = [w[n] for n in ("W_in", "W_out", "b_out", "W_ei_1", "W_ie_1")] + [np.zeros((8, 8))]
    state = {n: torch.tensor(m) for n, m in zip(theirs, matrices, strict=True)}
    torch.save(state, tmp_path / "w.pth")
    assert Weights.for_spec(CUBA, load_weight_matrices(tmp_path / "w.pth")) == w
    state[theirs[-1]] = torch.ones(8, 8)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="uses no W_ee, yet it is not 0"):
        load_weight_matrices(tmp_path / "w.pth")


def test_hostile_pickle_is_not_executed(tmp_path):
    bait = tmp_path / "created"
    paths = [tmp_path / "new.pth", tmp_path / "legacy.pth", tmp_path / "bare.pth"]
    torch.save({"W_in": Hostile(bait)}, paths[0])
    torch.save({"W_in": Hostile(bait)}, paths[1], _use_new_zipfile_serialization=False)
    paths[2].write_bytes(pickle.dumps({"W_in": Hostile(bait)}, protocol=2))
    for path in paths:
        with pytest.raises(ValueError, match="nothing in it was executed or loaded") as caught:
            load_weight_matrices(path)
        told = one_line(caught, path)
        assert "mkdir" in told
        assert "weights_only" not in told  # no advice to load it anyway
    assert not bait.exists()
    pickle.loads(paths[2].read_bytes())
    assert bait.exists()  # the trap was armed


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_state_dict_is_one_line(tmp_path, share, legacy):
    path = tmp_path / "w.pth"
    torch.save(published_ping()[0], path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"nothing .*was .*loaded") as caught:
        load_weight_matrices(path)
    one_line(caught, path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"W_in": [1.0, 2.0]}, "entry 'W_in' is a list, not a tensor"),
        (lambda: {"W_in": torch.ones(2, 2, dtype=torch.int64)}, "torch.int64"),
        (lambda: {"W_in": torch.ones(2, 2).to_sparse()}, "sparse_coo"),
        (lambda: {0: torch.ones(2, 2)}, "entry named 0"),
        (lambda: torch.ones(2, 2), "holds no state dict but a Tensor"),
        (lambda: {}, "holds no state dict"),
        (lambda: {"W_ff.0": torch.ones(2, 2)}, "numbered 0; expected"),
        (lambda: {"W_ff.0": torch.ones(2, 2), "W_ff.2": torch.ones(2, 2)}, "numbered 0, 2"),
    ],
)
def test_state_dicts_of_something_else(tmp_path, make, message):
    path = tmp_path / "w.pth"
    torch.save(make(), path)
    with pytest.raises(ValueError, match=message) as caught:
        load_weight_matrices(path)
    one_line(caught, path)


def test_unknown_parameters_reach_the_network_and_are_refused(tmp_path):
    state, _ = published_ping()
    torch.save(state | {"b_ff.3": torch.ones(5)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"no matrix 'b_ff\.3'"):
        Weights.for_spec(PING, load_weight_matrices(tmp_path / "w.pth"))


def test_two_names_for_one_matrix():
    with pytest.raises(ValueError, match="two entries mean the matrix W_ei_1"):
        canonical_names({"W_ei.1": np.ones(1), "W_ei_1": np.ones(1)})
