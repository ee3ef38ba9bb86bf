"""Weight files: exact round trips, and files that must be refused."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.atomic import atomic_path
from bridge.files.npz import write_npz
from bridge.formats.weight_files import (
    NetworkSizes,
    infer_sizes,
    load_weight_matrices,
    save_weights,
)
from bridge.network.spec import CubaSpec, LayerSpec, PingSpec, ei_layer
from bridge.network.weights import CUBA_DRAW, DrawRule, WeightDraw, Weights, draw_weights

PING = PingSpec(n_in=6, layers=(ei_layer(8, 2), ei_layer(4, 3)), n_classes=5)
CUBA = CubaSpec(n_in=6, n_exc=8, n_inh=2, n_classes=5)
DRAW = WeightDraw(
    w_in=DrawRule(0.3, 0.06), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2),
    w_ee=DrawRule(0.1, 0.1), w_ii=DrawRule(0.1, 0.1),
)  # fmt: skip
ENDINGS = [".npz", ".h5", ".hdf5"]


def ping_weights(seed=1):
    return draw_weights(PING, DRAW, seed=seed)


def one_line(caught, path):
    """Return the message of a caught error, which must be one line that names the file."""
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


# ---- round trips -----------------------------------------------------------------------------

layers = st.builds(LayerSpec, n_exc=st.integers(1, 5), n_inh=st.integers(0, 3))
pings = st.builds(
    PingSpec,
    n_in=st.integers(1, 5),
    layers=st.lists(layers, min_size=1, max_size=3).map(tuple),
    n_classes=st.integers(1, 4),
)
cubas = st.builds(
    CubaSpec, n_in=st.integers(1, 5), n_exc=st.integers(1, 5), n_inh=st.integers(0, 3)
)


@settings(max_examples=40, deadline=None)
@given(
    spec=pings | cubas,
    seed=st.integers(0, 2**32),
    ending=st.sampled_from(ENDINGS),
    exponent=st.integers(-300, 300),
)
def test_any_network_survives_the_round_trip(tmp_path_factory, spec, seed, ending, exponent):
    path = tmp_path_factory.mktemp("w") / f"weights{ending}"
    rng = np.random.default_rng(seed)
    weights = Weights.for_spec(
        spec, {n: rng.normal(size=s) * 10.0**exponent for n, s in spec.matrix_shapes.items()}
    )
    save_weights(weights, path)
    matrices = load_weight_matrices(path)
    assert Weights.for_spec(spec, matrices) == weights
    sizes = infer_sizes(matrices)
    assert (sizes.n_in, sizes.n_classes) == (spec.n_in, spec.n_classes)
    assert sizes.hidden_sizes == spec.hidden_sizes
    assert sizes.n_inh == tuple(
        spec.populations.get(f"i{k + 1}", 0) for k in range(len(sizes.n_inh))
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_same_content_same_bytes(tmp_path, ending):
    weights = ping_weights()
    backwards = Weights(dict(reversed([*weights.items()])))
    first, second = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    save_weights(weights, first, attributes={"dt_ms": 0.25, "seed": 1})
    time.sleep(1.1)  # dates in files count in seconds; those of ZIP in two
    save_weights(backwards, second, attributes={"seed": np.int64(1), "dt_ms": 0.25})
    assert first.read_bytes() == second.read_bytes()
    save_weights(ping_weights(seed=2), second, attributes={"dt_ms": 0.25, "seed": 1})
    assert first.read_bytes() != second.read_bytes()


def test_zip_entries_carry_no_date(tmp_path):
    save_weights(ping_weights(), tmp_path / "w.npz")
    with zipfile.ZipFile(tmp_path / "w.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_hdf5_layout(tmp_path):
    save_weights(ping_weights(), tmp_path / "w.h5", attributes={"dt_ms": 0.25, "model": "ping"})
    with h5py.File(tmp_path / "w.h5") as file:
        assert (file.attrs["format"], file.attrs["format_version"]) == ("ping-weights", 1)
        assert (file.attrs["dt_ms"], file.attrs["model"]) == (0.25, "ping")
        dataset = file["weights/W_ei_1"]
        assert dataset.dtype == np.float64
        assert dataset.attrs["unit"] == "uS"
        assert (dataset.compression, dataset.shuffle) == ("gzip", True)


def test_unit_of_current_networks_is_stored(tmp_path):
    save_weights(draw_weights(CUBA, CUBA_DRAW, seed=1), tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert file["weights/W_in"].attrs["unit"] == "1"


@pytest.mark.parametrize("ending", ENDINGS)
def test_content_decides_not_the_ending(tmp_path, ending):
    weights = ping_weights()
    save_weights(weights, tmp_path / f"w{ending}")
    misnamed = (tmp_path / f"w{ending}").rename(tmp_path / "weights.pth")
    assert Weights.for_spec(PING, load_weight_matrices(misnamed)) == weights


def test_flat_names_are_read_from_hdf5_and_npz(tmp_path):
    weights = ping_weights()
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["dt"] = 0.25
        for name, matrix in weights.items():
            file[name] = matrix
    np.savez(tmp_path / "flat.npz", dt=0.25, labels=np.array(["a"]), **weights)
    for name in ("flat.h5", "flat.npz"):
        assert Weights.for_spec(PING, load_weight_matrices(tmp_path / name)) == weights


def test_reference_weights_are_read(reference):
    matrices = load_weight_matrices(reference / "ping_coba_case3.npz")
    sizes = infer_sizes(matrices)
    assert sizes == NetworkSizes(n_in=32, hidden_sizes=(32, 24), n_inh=(8, 6), n_classes=10)


# ---- writing goes wrong ----------------------------------------------------------------------


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "w.npz"
    path.write_text("old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    with pytest.raises(ValueError, match="Python objects"):
        write_npz(path, {"a": np.zeros(3), "b": np.array([{}])})
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]


@pytest.mark.parametrize(
    ("name", "attributes", "error", "message"),
    [
        ("w.txt", {}, ValueError, "must end in .npz, .h5 or .hdf5"),
        ("w.h5", {"format": "x"}, ValueError, "'format' is set by the file format"),
        ("w.h5", {"layers": [1, 2]}, ValueError, "attribute layers = .* must be text or a number"),
        ("none/w.h5", {}, FileNotFoundError, "folder .*none does not exist"),
        ("none/w.npz", {}, FileNotFoundError, "folder .*none does not exist"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, attributes, error, message):
    with pytest.raises(error, match=message):
        save_weights(ping_weights(), tmp_path / name, attributes=attributes)
    assert list(tmp_path.iterdir()) == []


# ---- reading goes wrong ----------------------------------------------------------------------


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file") as caught:
        load_weight_matrices(tmp_path / "none.h5")
    one_line(caught, tmp_path / "none.h5")
    with pytest.raises(ValueError, match="is a folder"):
        load_weight_matrices(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"W_in = 3\n", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x80\x02}q\x00."]
)
def test_files_that_are_something_else(tmp_path, content):
    if content.startswith(b"\x80"):
        pytest.importorskip("torch")
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(ValueError, match="loaded") as caught:
        load_weight_matrices(tmp_path / "w.bin")
    one_line(caught, tmp_path / "w.bin")


@pytest.mark.parametrize("ending", [".npz", ".h5"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_one_line(tmp_path, ending, share):
    path = tmp_path / f"w{ending}"
    save_weights(ping_weights(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        load_weight_matrices(path)
    one_line(caught, path)


def test_flipped_bytes_of_an_npz_are_noticed(tmp_path):
    path = tmp_path / "w.npz"
    save_weights(ping_weights(), path)
    broken = bytearray(path.read_bytes())
    at = broken.index(b"W_in.npy") + 60  # in the compressed data of that entry
    broken[at] ^= 0xFF
    path.write_bytes(broken)
    with pytest.raises(ValueError, match="is damaged") as caught:
        load_weight_matrices(path)
    one_line(caught, path)


@pytest.mark.parametrize("ending", [".npz", ".h5"])
@pytest.mark.parametrize(("version", "format_"), [(2, "ping-weights"), (1, "ping-recording")])
def test_unknown_format_names_both(tmp_path, ending, version, format_):
    path = tmp_path / f"w{ending}"
    if ending == ".npz":
        np.savez(path, format=format_, format_version=version, W_in=np.ones((2, 2)))
    else:
        with h5py.File(path, "w") as file:
            file.attrs["format"], file.attrs["format_version"] = format_, version
            file["weights/W_in"] = np.ones((2, 2))
    told = "version 2 .* reads version 1" if version == 2 else "'ping-recording'.*'ping-weights'"
    with pytest.raises(ValueError, match=told) as caught:
        load_weight_matrices(path)
    one_line(caught, path)


class Hostile:
    """Creates a file when unpickled."""

    def __init__(self, bait: Path) -> None:
        self.bait = bait

    def __reduce__(self):
        return os.mkdir, (str(self.bait),)


def test_object_arrays_are_refused_and_not_unpickled(tmp_path):
    bait = tmp_path / "created"
    hostile = np.empty(1, dtype=object)
    hostile[0] = Hostile(bait)
    np.savez(tmp_path / "w.npz", W_in=hostile)
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        load_weight_matrices(tmp_path / "w.npz")
    one_line(caught, tmp_path / "w.npz")
    assert not bait.exists()


def test_hdf5_links_out_of_the_file_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones((2, 2))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["W_in"] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(ValueError, match="links are not followed"):
        load_weight_matrices(tmp_path / "w.h5")


def test_file_without_weights(tmp_path):
    np.savez(tmp_path / "w.npz", w_in=np.ones((2, 2)))
    with pytest.raises(ValueError, match="holds no weights"):
        load_weight_matrices(tmp_path / "w.npz")


@pytest.mark.parametrize("ending", [".npz", ".h5", ".pth"])
def test_nan_weights_are_named_when_a_network_gets_them(tmp_path, ending):
    matrices = {name: np.array(m) for name, m in ping_weights().items()}
    matrices["W_out"][3, 2] = np.nan
    path = tmp_path / f"w{ending}"
    if ending == ".npz":
        np.savez(path, **matrices)
    elif ending == ".h5":
        with h5py.File(path, "w") as file:
            for name, matrix in matrices.items():
                file[name] = matrix
    else:
        torch = pytest.importorskip("torch")
        torch.save({n: torch.tensor(m) for n, m in matrices.items()}, path)
    with pytest.raises(ValueError, match=r"W_out\[3, 2\] = nan"):
        Weights.for_spec(PING, load_weight_matrices(path))


# ---- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_in": None}, "lack W_in; they hold"),
        ({"W_ei_1": np.ones((7, 2))}, r"W_ei_1 has shape \(7, 2\).*ask for \(8, 2\)"),
        ({"W_ie_2": np.ones((2, 4))}, r"W_ie_2 has shape \(2, 4\).*ask for \(3, 4\)"),
        ({"W_out": np.ones((8, 5))}, r"W_out has shape \(8, 5\).*ask for \(4, 5\)"),
        ({"b_out": np.ones(4)}, r"b_out has shape \(4,\).*ask for \(5,\)"),
        ({"W_ff_1to2": None}, "W_e._2 belongs to no layer: .* 1 hidden layer$"),
        ({"W_ff_3to4": np.ones((4, 4))}, "W_ff_3to4 belongs to no layer"),
        ({"W_ei_1": None, "W_ie_1": None, "W_ii_1": None}, "number of I cells of layer 1"),
        ({"W_in": np.ones(6)}, r"W_in has shape \(6,\); expected 2 axes"),
        ({"W_in": np.ones((0, 8))}, r"W_in has shape \(0, 8\)"),
        ({"W_xy_1": np.ones((2, 2))}, "'W_xy_1', which is no matrix"),
    ],
)
def test_contradictory_sizes_are_refused(change, message):
    matrices = {n: m for n, m in (dict(ping_weights()) | change).items() if m is not None}
    with pytest.raises(ValueError, match=message):
        infer_sizes(matrices)
