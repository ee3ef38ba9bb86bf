"""NumPy's files against NumPy's own reading."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from bridge.files.npz import is_npz, read_npy, read_npz, write_npz

ARRAYS = {
    "a": np.arange(5.0), "text": np.array("text"), "words": np.array(["a", "bb"]),
    "by_column": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "none": np.zeros((0, 3)),
    "truth": np.array(True), "other_order": np.array([1, 2], dtype=">i4"), "ä": np.arange(3),
    "table": np.array([(1, 2.0)], dtype=[("x", "i4"), ("y", "f8")]), "empty_text": np.array(""),
    "long": np.arange(2.0**18),
}  # fmt: skip


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed, write_npz])
def test_every_array_reads_as_numpy_reads_it(tmp_path, write):
    path = tmp_path / "a.npz"
    if write is write_npz:
        write_npz(path, ARRAYS)
    else:
        write(path, **ARRAYS)
    found = read_npz(path)
    with np.load(path) as expected:
        assert set(found) == set(expected.files)
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name])
            assert (found[name].dtype, found[name].strides) == (
                expected[name].dtype, expected[name].strides,
            )  # fmt: skip
    assert set(read_npz(path, lambda name: name == "a")) == {"a"}
    assert is_npz(path)


def test_single_arrays(tmp_path):
    path = tmp_path / "a.npy"
    for name, array in ARRAYS.items():
        np.save(path, array)
        np.testing.assert_array_equal(read_npy(path), array, err_msg=name)
    assert not is_npz(path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="does not hold as many bytes"):
        read_npy(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_packings_that_numpy_does_not_write_are_refused(tmp_path, method):
    plain, path = tmp_path / "plain.npz", tmp_path / "a.npz"
    np.savez(plain, a=np.zeros(1000))
    with zipfile.ZipFile(plain) as one, zipfile.ZipFile(path, "w", method) as other:
        other.writestr("a.npy", one.read("a.npy"))
    with pytest.raises(ValueError, match="entry 'a' is packed by method"):
        read_npz(path)


def test_objects_and_other_entries_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="entry 'a' holds Python objects") as caught:
        read_npz(path)
    assert "allow_pickle" not in str(caught.value)  # no advice to load it anyway
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.npy", b"hello")
    with pytest.raises(ValueError, match="entry 'b' is not an array"):
        read_npz(path)
    assert read_npz(path, lambda name: name != "b") == {}


def test_a_shape_is_looked_at_before_the_numbers(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros((3, 4)), b=np.zeros(2))
    seen = {}
    read_npz(path, check=seen.__setitem__)
    assert seen == {"a": (3, 4), "b": (2,)}

    def refuse(name, shape):
        raise ValueError(f"{name} has {len(shape)} axes")

    with pytest.raises(ValueError, match=r"a\.npz .*a has 2 axes"):
        read_npz(path, check=refuse)
