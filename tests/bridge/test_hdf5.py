"""Datasets that are unpacked here against HDF5's own reading."""

from __future__ import annotations

import itertools

import h5py
import numpy as np
import pytest

from bridge.files.hdf5 import attribute, new_hdf5, open_hdf5, put, take
from bridge.files.reading import Allowance

SHAPES = {(7,): (3,), (5, 9): (2, 4), (4, 3, 5): (4, 3, 5), (1, 257): (1, 100)}
DTYPES = ["<f8", ">f8", "<f4", "<i2", ">i4", "u1", "i1", "<u8", "?"]
FILTERS = [
    {"compression": "gzip"}, {"compression": "gzip", "shuffle": True},
    {"compression": "gzip", "shuffle": True, "fletcher32": True}, {"fletcher32": True},
    {"shuffle": True, "fletcher32": True}, {"compression": "lzf"}, {},
    {"compression": "lzf", "shuffle": True, "fletcher32": True},
]  # fmt: skip


def arrays(dtype):
    """Return numbers that pack well and numbers that do not, in several shapes."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        noise = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
        found = noise[..., 0] > 127 if dtype == "?" else noise.view(dtype)[..., 0]
        yield np.nan_to_num(found) if found.dtype.kind == "f" else found
        yield np.zeros(shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_packing_reads_as_hdf5_reads_it(tmp_path, dtype):
    path = tmp_path / "a.h5"
    expected = {}
    with h5py.File(path, "w") as file:
        for k, (array, how) in enumerate(itertools.product(arrays(dtype), FILTERS)):
            expected[str(k)] = array
            file.create_dataset(str(k), data=array, chunks=SHAPES[array.shape], **how)
    with open_hdf5(path) as file:
        for name, array in expected.items():
            found = take(file, name)
            np.testing.assert_array_equal(found, array)
            assert found.dtype == file[name].dtype
            np.testing.assert_array_equal(found, file[name][()])


def test_chunks_that_were_never_written_hold_the_fill_value(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset(
            "x", (6, 6), "<f8", chunks=(2, 2), compression="gzip", fillvalue=7
        )
        made[2:4, 0:2] = 1.0
        file.create_dataset(
            "long", data=np.arange(2.0**20) % 1000, chunks=(2**19,), fletcher32=True
        )
    with open_hdf5(path) as file:
        found = take(file, "x")
        assert found.sum() == 7 * 32 + 4
        assert (found[2:4, 0:2] == 1.0).all()
        np.testing.assert_array_equal(take(file, "long"), np.arange(2.0**20) % 1000)


def test_a_number_that_numpy_does_not_have_is_read_by_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_precision(17)
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_deflate(4)
        space = h5py.h5s.create_simple((4,))
        made = h5py.Dataset(h5py.h5d.create(file.id, b"x", kind, space, plist))
        made[...] = [1, -2, 3, 65535]
    with open_hdf5(path) as file:
        assert take(file, "x").tolist() == [1, -2, 3, 65535]


@pytest.mark.parametrize("packing", [{"fletcher32": True}, {"compression": "gzip"}])
def test_a_chunk_with_another_content_is_noticed(tmp_path, packing):
    path = tmp_path / "a.h5"
    numbers = np.arange(1000.0)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", data=numbers, chunks=(1000,), **packing)
        begin = made.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[begin + 50] ^= 4
    path.write_bytes(content)
    with (
        pytest.raises(ValueError, match=r"checksum|incorrect data check|invalid"),
        open_hdf5(path) as file,
    ):
        take(file, "x")


def test_ours_are_packed_summed_and_dateless(tmp_path):
    paths = tmp_path / "a.h5", tmp_path / "b.h5"
    for path in paths:
        with new_hdf5(path) as file:
            put(file, "x", np.arange(12.0).reshape(3, 4), unit="ms")
            put(file, "one", 3.5)
            put(file, "none", np.zeros((0, 3)))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with open_hdf5(paths[0]) as file:
        assert attribute(file["x"], "unit") == "ms"
        assert (file["x"].fletcher32, file["x"].compression) == (True, "gzip")
        assert take(file, "one") == 3.5
        assert take(file, "none").shape == (0, 3)


def test_several_datasets_share_what_a_file_may_take(tmp_path, monkeypatch):
    monkeypatch.setenv("PINGBRIDGE_READ_LIMIT_GIB", str(100_000 / 2**30))
    path = tmp_path / "a.h5"
    with new_hdf5(path) as file:
        for name in "abc":
            put(file, name, np.zeros(5000))
    with open_hdf5(path) as file:
        take(file, "a")
        take(file, "b")
    with pytest.raises(ValueError, match=r"a\.h5: with /c \(39\.06 KiB\) it would take more than"):
        read_all(path)


def read_all(path):
    """Read three datasets out of one allowance."""
    with open_hdf5(path) as file:
        allowance = Allowance(path)
        for name in "abc":
            take(file, name, allowance)


@pytest.mark.parametrize("value", [["a", "b"], [1, 2]])
def test_an_attribute_is_one_value(tmp_path, value):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["x"] = value
        with pytest.raises(ValueError, match="x must be a single value"):
            attribute(file, "x")
        with pytest.raises(ValueError, match="y is missing"):
            attribute(file, "y")
