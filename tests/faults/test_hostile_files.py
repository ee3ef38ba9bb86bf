"""Files that somebody made to do harm: no code, no other file, no memory, no hanging."""

from __future__ import annotations

import gzip
import os
import re
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from bombs import (
    N_BYTES,
    add_hdf5,
    add_hdf5_bomb,
    add_lie,
    add_repeated,
    add_zeros,
    deflated,
    in_a_small_room,
    mat_element,
    npy_head,
)
from rate_models import fields, model_file

from bridge.clustered.yaml_tree import load_tree
from bridge.datasets.idx import read_idx
from bridge.datasets.shd import read_shd_labels, read_shd_samples
from bridge.files.json_text import read_json, read_json_object
from bridge.files.mat import list_mat, read_mat, update_mat, write_mat
from bridge.files.npz import write_npz
from bridge.files.reading import LIMIT_VARIABLE, FileContentError, limit_bytes
from bridge.formats.recordings import load_recording, load_stimulus, save_recording
from bridge.formats.tables import read_table_hdf5, write_table_hdf5
from bridge.formats.weight_files import load_weight_matrices, save_weights
from bridge.network.spec import PingSpec, ei_layer
from bridge.network.weights import DrawRule, WeightDraw, draw_weights
from bridge.rate_to_spike import RateModel, load_rate_model, save_rate_model, update_rate_model
from bridge.rate_to_spike.trials import task_of
from bridge.recording import Recording
from bridge.runs.inherit import read_run
from bridge.runs.marker import read_marker
from scope.measure.attractors.recordings import read_labels, read_spikes
from scope.measure.attractors.saved_analysis import load_saved
from sim_brian.engine.made_program import read_made

SPEC = PingSpec(n_in=30, layers=(ei_layer(40, 10),), n_classes=5)
DRAW = WeightDraw(w_in=DrawRule(0.3, 0.06), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2))
WEIGHTS = draw_weights(SPEC, DRAW, seed=1)


def recording():
    """Return a small recording with a trace."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(0, n, 30) for n in (20, 2, 5)], axis=1)
    return Recording(
        dt_ms=0.25, n_steps=20, n_trials=2, n_cells={"e1": 5}, backend="test", seed=3,
        spikes={"e1": rows}, traces={"v_e_1": rng.random((2, 20, 5))}, config={"model": "ping"},
    )  # fmt: skip


def one_line(caught, path):
    """Check that a caught error is one line that names the file."""
    message = str(caught.value)
    assert str(path) in message, message
    assert "\n" not in message
    return message


# ---- what unpacks itself -------------------------------------------------------------------------


IMPORTS = """
from pathlib import Path
from bridge.clustered.yaml_tree import load_tree
from bridge.datasets import catalog
from bridge.datasets.idx import read_idx
from bridge.datasets.shd import read_shd_labels, read_shd_samples
from bridge.files.json_text import read_json
from bridge.formats.recordings import load_recording, load_stimulus
from bridge.formats.tables import read_table_hdf5
from bridge.formats.weight_files import load_weight_matrices
from bridge.rate_to_spike import RateModel, load_rate_model
from scope.measure.attractors.recordings import read_labels, read_spikes
import h5py, scipy.io, scipy.sparse
"""
SMALL = "0.0625"
MANY = (10**6, 10**5)
LONG = (N_BYTES // 8,)
MORE = r"would take more than"


def weights_npz(path):
    """Write weights and return the path."""
    save_weights(WEIGHTS, path)
    return path


def flat_hdf5(path):
    """Write weights at the root of an HDF5 file."""
    with h5py.File(path, "w") as file:
        for name, matrix in WEIGHTS.items():
            file[name] = matrix
    return path


def made(path, write, *more):
    """Return `path` after `write` has made it."""
    write(path, *more)
    return path


def bomb_npz(path, *arguments):
    """Return weights with zeros added."""
    add_zeros(weights_npz(path), *arguments)
    return path


def bomb_recording(path, *arguments):
    """Return a recording, one entry of which is replaced by zeros or added."""
    save_recording(recording(), path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != arguments[0]}
    np.savez(path, **arrays)
    add_zeros(path, *arguments)
    return path


def bomb_input(path, *arguments):
    """Return input spikes with zeros added."""
    np.savez(path, in_spk=np.zeros((1, 3), int), dt=0.25, T_steps=10, B=1, N_IN=2)
    add_zeros(path, *arguments)
    return path


def bomb_spikes(path, *arguments):
    """Return spikes of a clustered network with zeros added."""
    np.savez(path, step=np.array([1]), neuron=np.array([2]), n_steps=5, n_neurons=4)
    add_zeros(path, *arguments)
    return path


def bomb_mat(path, *elements, **changes):
    """Return a model file with raw elements added."""
    given = {**fields(n=4), "task": "xor", **changes}
    scipy.io.savemat(path, {name: value for name, value in given.items() if value is not None})
    with path.open("ab") as file:
        for element in elements:
            file.write(element)
    return path


def bomb_idx(path, shape, content):
    """Return a packed IDX file that announces a shape."""
    head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    path.write_bytes(deflated(content, head=head, wbits=31))
    return path


def bomb_mnist(folder):
    """Return a folder whose images are many more than its labels."""
    folder.mkdir()
    (folder / "t10k-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1]) + struct.pack(">I", 20) + bytes(20)
    )
    bomb_idx(folder / "t10k-images-idx3-ubyte.gz", (N_BYTES // 784, 28, 28), N_BYTES)
    return folder


def bomb_text(path):
    """Return a table, a column of which holds the same long text many times."""
    add_repeated(path, "x", h5py.string_dtype(), "a" * 10**6, N_BYTES // 10**6)
    return path


def bomb_samples(path):
    """Return an SHD file whose samples are one and the same long list."""
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(64, int)
    for name in ("times", "units"):
        kind = h5py.vlen_dtype(np.dtype(np.uint8))
        add_repeated(path, f"spikes/{name}", kind, np.ones(10**6, np.uint8), 64)
    return path


def packed_otherwise(path):
    """Return weights in a filter whose own header says how much it unpacks to."""
    with h5py.File(path, "w") as file:
        file.create_dataset("W_in", data=np.zeros((30, 40), np.int32), scaleoffset=4, chunks=True)
    return path


def bomb_labels(path):
    """Return an SHD file whose labels are many."""
    with h5py.File(path, "w") as file:
        for name in ("times", "units"):
            file.create_dataset(f"spikes/{name}", (3,), dtype=h5py.vlen_dtype(np.float16))
    add_hdf5(path, "labels", (10**10,))
    return path


def bomb_yaml(path):
    """Return a configuration whose aliases grow by a factor of nine with each line."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 30)]
    path.write_text("\n".join(lines))
    return path


BOMBS = {
    # name: (how it is made, how it is read, allowance in GiB, what is said)
    "a matrix": (lambda p: bomb_npz(p / "a.npz", "W_more", LONG),
                 "load_weight_matrices(path)", SMALL, MORE),
    "a matrix nobody wants": (lambda p: bomb_npz(p / "b.npz", "junk", LONG),
                              "load_weight_matrices(path)", None, "read"),
    "a header that lies": (lambda p: made(weights_npz(p / "c.npz"), add_lie, "W_more", MANY),
                           "load_weight_matrices(path)", None, "does not hold as many bytes"),
    "an HDF5 matrix": (lambda p: made(flat_hdf5(p / "a.h5"), add_hdf5, "W_more", LONG),
                       "load_weight_matrices(path)", SMALL, MORE),
    "a huge HDF5 matrix": (lambda p: made(flat_hdf5(p / "b.h5"), add_hdf5, "W_more", MANY),
                           "load_weight_matrices(path)", None, MORE),
    "an HDF5 matrix nobody wants": (lambda p: made(flat_hdf5(p / "c.h5"), add_hdf5, "x", MANY),
                                    "load_weight_matrices(path)", None, "read"),
    "an HDF5 chunk": (lambda p: made(flat_hdf5(p / "d.h5"), add_hdf5_bomb, "W_more", (4, 4)),
                      "load_weight_matrices(path)", None, "unpacks to more than the 128 bytes"),
    "an HDF5 filter": (lambda p: packed_otherwise(p / "e.h5"),
                       "load_weight_matrices(path)", None, "packed by filters"),
    "a recording": (lambda p: bomb_recording(p / "d.npz", "e1_spk", (N_BYTES // 12, 3), "<i4"),
                    "load_recording(path)", SMALL, MORE),
    "a trace": (lambda p: bomb_recording(p / "e.npz", "v_e_1", (1, N_BYTES // 8, 1)),
                "load_recording(path)", None, "trace v_e_1 has shape"),
    "a recording's junk": (lambda p: bomb_recording(p / "f.npz", "junk", LONG),
                           "load_recording(path)", None, "read"),
    "a drive": (lambda p: bomb_input(p / "g.npz", "g_ext_us", (1, 11, N_BYTES // 88)),
                "load_stimulus(path)", None, "g_ext_us has shape"),
    "input's junk": (lambda p: bomb_input(p / "h.npz", "junk", LONG),
                     "load_stimulus(path)", None, "read"),
    "spikes' junk": (lambda p: bomb_spikes(p / "i.npz", "junk", LONG),
                     "read_spikes(path)", None, "read"),
    "labels": (lambda p: made(p / "l.npy", lambda f: f.write_bytes(npy_head(MANY) + bytes(80))),
               "read_labels(path)", None, "does not hold as many bytes"),
    "a table": (lambda p: made(p / "t.h5", add_hdf5, "x", MANY),
                "read_table_hdf5(path)", None, MORE),
    "a table of one text": (lambda p: bomb_text(p / "u.h5"),
                            "read_table_hdf5(path)", SMALL, MORE),
    "SHD samples": (lambda p: bomb_samples(p / "shd_samples.h5"),
                    "read_shd_samples(path, range(64))", "0.03", MORE),
    "SHD labels": (lambda p: bomb_labels(p / "shd.h5"),
                   "read_shd_labels(path)", None, "differ in length"),
    "weights of another N": (lambda p: bomb_mat(
        p / "a.mat", mat_element("w", (N_BYTES // 8, 1), b""), w=None),
        "RateModel.load(path)", None, r"w has shape \(16777216, 1\); needed is \(4, 4\)"),
    "a field nobody wants": (lambda p: bomb_mat(p / "b.mat", mat_element("x", (*LONG, 1), b"")),
                             "RateModel.load(path)", None, "read"),
    "every field": (lambda p: bomb_mat(p / "c.mat", mat_element("x", (*LONG, 1), b"")),
                    "load_rate_model(path)", SMALL, MORE),
    "a field that lies": (lambda p: bomb_mat(
        p / "d.mat", mat_element("task", (*LONG, 1), b"", announced=200)),
        "read_mat(path)", None, "does not unpack to the 208 bytes"),
    "a shape that lies": (lambda p: bomb_mat(p / "e.mat", lying_mat()),
                          "RateModel.load(path)", None, "read"),
    "a shape that lies, wanted": (lambda p: bomb_mat(p / "g.mat", lying_mat()),
                                  "load_rate_model(path)", None, MORE),
    "a cell of millions": (lambda p: bomb_mat(p / "f.mat", lying_mat(cls=1)),
                           "load_rate_model(path)", None, "read"),
    "images announced": (lambda p: bomb_idx(p / "a.gz", (10**8, 28, 28), 2**20),
                         "read_idx(path, n_dims=3)", None, "at most 1 GiB are read"),
    "images that follow": (lambda p: bomb_idx(p / "b.gz", (3, 28, 28), N_BYTES),
                           "read_idx(path, n_dims=3)", None, "or more where its header"),
    "images without labels": (lambda p: bomb_mnist(p / "mnist"),
                              "mnist(path)", None, "holds 171196 images but .* 20 labels"),
    "aliases": (lambda p: bomb_yaml(p / "a.yaml"), "load_tree(path)", None, "with its aliases"),
    "a text without end": (lambda p: made(
        p / "a.json", lambda f: f.write_bytes(b" " * (65 * 2**20))),
        "read_json(path)", None, "longer than 64 MiB"),
}  # fmt: skip


def lying_mat(*, cls=6):
    """Return a small field that announces 2^60 numbers or cells."""
    head = struct.pack("<IIII", 6, 8, cls, 0) + struct.pack("<IIii", 5, 8, 2**30, 2**30)
    head += struct.pack("<II", 1, 1) + b"x".ljust(8, b"\0") + struct.pack("<II", 9, 8) + bytes(8)
    return struct.pack("<II", 14, len(head)) + head


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return what became of every bomb, read in one process of its own."""
    folder = tmp_path_factory.mktemp("bombs")
    imports = IMPORTS + (
        "from bridge.files.mat import read_mat\n"
        "def mnist(path):\n"
        "    os.environ['PINGBRIDGE_MNIST_DIR'] = str(path)\n"
        "    catalog.select('mnist', 0, 0)\n"
        "import os\n"
        f"load_weight_matrices(Path({str(flat_hdf5(folder / 'warm.h5'))!r}))\n"
        f"RateModel.load(Path({str(model_file(folder / 'warm.mat'))!r}))\n"
    )
    cases = {
        name: (call, str(make(folder)), limit) for name, (make, call, limit, _) in BOMBS.items()
    }
    cases["armed"] = (*cases["a matrix"][:2], "1")
    return in_a_small_room(imports, cases)


def test_the_bombs_are_armed(outcomes):
    grown_mib, _, said = outcomes["armed"]
    assert (said, grown_mib > 120) == ("read", True)


@pytest.mark.parametrize("name", BOMBS)
def test_what_unpacks_itself_is_measured_first(outcomes, name):
    grown_mib, took_s, said = outcomes[name]
    _, _, limit, expected = BOMBS[name]
    if expected == "read":
        assert said == "read"
    else:
        assert re.search(expected, said), said
        assert said.startswith(("FileContentError", "ValueError"))
        assert "\n" not in said
    most_mib = 96 if limit else 40  # a reader may come up to its limit of 64 MiB
    assert grown_mib < most_mib, f"{grown_mib} MiB"
    assert took_s < 20


TORCH_BOMBS = {
    "an expanded tensor": ("torch.ones(1).expand(2**16, 2**16)", None, "more than the numbers"),
    "one tensor under many names": ("one", SMALL, MORE),
    "a packed archive": (None, None, "compressed, which torch never does"),
}


@pytest.fixture(scope="module")
def torch_outcomes(tmp_path_factory):
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("torch_bombs")
    one = torch.ones(1024, 1024)
    contents = {
        "an expanded tensor": {"W_in": torch.ones(1).expand(2**16, 2**16), "W_out": one},
        "one tensor under many names": {f"W_ff.{k}": one for k in range(40)},
        "a packed archive": {"W_in": torch.zeros(2**20, 16), "W_out": one},
    }
    cases = {}
    for k, (name, content) in enumerate(contents.items()):
        path = folder / f"{k}.pth"
        torch.save(content, path)
        if name == "a packed archive":
            with (
                zipfile.ZipFile(path) as given,
                zipfile.ZipFile(folder / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
            ):
                for entry in given.namelist():
                    packed.writestr(entry, given.read(entry))
            path = folder / "packed.pth"
        cases[name] = ("load_weight_matrices(path)", str(path), TORCH_BOMBS[name][1])
    torch.save({"W_ff.0": one, "W_ff.1": one}, folder / "warm.pth")
    warm = f"load_weight_matrices(Path({str(folder / 'warm.pth')!r}))\n"
    return in_a_small_room(IMPORTS + warm, cases)


@pytest.mark.parametrize("name", TORCH_BOMBS)
def test_what_torch_unpacks_is_measured_first(torch_outcomes, name):
    grown_mib, took_s, said = torch_outcomes[name]
    assert TORCH_BOMBS[name][2] in said
    assert grown_mib < 96, f"{grown_mib} MiB"
    assert took_s < 20


def test_the_limit_is_a_number(monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    assert limit_bytes() == 2**29
    for wrong in ("much", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(LIMIT_VARIABLE, wrong)
        with pytest.raises(ValueError, match=f"{LIMIT_VARIABLE} = '{wrong}'"):
            limit_bytes()


def test_a_file_that_is_large_itself_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.0001")  # 105 kB
    rng = np.random.default_rng(0)
    for ending in (".npz", ".h5"):
        path = tmp_path / f"w{ending}"
        matrix = rng.random((200, 200))
        if ending == ".npz":
            write_npz(path, {"W_in": matrix, "W_out": matrix})
        else:
            with h5py.File(path, "w") as file:
                file["W_in"] = file["W_out"] = matrix
        np.testing.assert_array_equal(load_weight_matrices(path)["W_in"], matrix)


# ---- what is no file -----------------------------------------------------------------------------


READERS = {
    "weights": load_weight_matrices, "recording": load_recording, "input": load_stimulus,
    "table": read_table_hdf5, "SHD labels": read_shd_labels,
    "SHD samples": lambda path: read_shd_samples(path, [0]),
    "IDX": lambda path: read_idx(path, n_dims=1), "spikes": read_spikes, "labels": read_labels,
    "JSON": read_json, "MATLAB": read_mat,
}  # fmt: skip


@pytest.fixture
def hurry():
    """Turn a reader that hangs into an error after ten seconds."""

    def ring(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", READERS)
def test_pipes_and_devices_are_refused_at_once(tmp_path, name, hurry):
    pipe = tmp_path / "pipe.mat"
    os.mkfifo(pipe)
    link = tmp_path / "link.mat"
    link.symlink_to("/dev/zero")
    for path in (pipe, link):
        with pytest.raises(ValueError, match="is a pipe or a device") as caught:
            READERS[name](path)
        one_line(caught, path)
    with pytest.raises(ValueError, match="folder"):
        READERS[name](tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        READERS[name](tmp_path / "nothing.mat")
    with pytest.raises(ValueError, match="name"):
        READERS[name](tmp_path / "a\0b.mat")


def test_pipes_in_place_of_records(tmp_path, hurry):
    for name in (".running", "config.json", "program.json", "main", "pipe.yaml", "seeds.txt"):
        os.mkfifo(tmp_path / name)
    marker = read_marker(tmp_path)
    assert marker is not None
    assert not marker.alive
    with pytest.raises(FileNotFoundError, match=r"no config\.json in it"):
        read_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no program in it"):
        read_made(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_tree(tmp_path / "pipe.yaml")
    os.mkfifo(tmp_path / "model.mat")
    with pytest.raises(ValueError, match="is a pipe or a device"):
        RateModel.load(tmp_path / "model.mat")


# ---- what leads out of the file ------------------------------------------------------------------


def external_link(group, name, secret):
    """Link to a dataset of another file."""
    group[name] = h5py.ExternalLink(secret.with_suffix(".h5"), "secret")


def soft_link(group, name, secret):
    """Link to another name."""
    group.file["elsewhere"] = np.ones((4, 4))
    group[name] = h5py.SoftLink("/elsewhere")


def raw_storage(group, name, secret):
    """Keep the data in a file that is no HDF5 file."""
    group.create_dataset(name, (4, 4), dtype="<f8", external=[(str(secret), 0, 128)])


def virtual(group, name, secret):
    """Map the data of another HDF5 file."""
    layout = h5py.VirtualLayout(shape=(4, 4), dtype="<f8")
    layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "secret", shape=(4, 4))
    group.create_virtual_dataset(name, layout)


OUTWARD = [external_link, soft_link, raw_storage, virtual]


@pytest.fixture
def secret(tmp_path):
    """Make two files that nobody may read."""
    path = tmp_path / "secret"
    path.write_bytes(b"root:x:0:0".ljust(128, b"!"))
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["secret"] = np.full((4, 4), 42.0)
    return path


def mat_73(path):
    """Give an HDF5 file the beginning that MATLAB writes."""
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize("lead", OUTWARD)
@pytest.mark.parametrize(
    "kind", ["weights", "recording", "input", "table", "labels", "times", "mat"]
)
def test_nothing_leads_out_of_an_hdf5_file(tmp_path, secret, lead, kind):
    path = tmp_path / "file.h5"
    if kind == "weights":
        save_weights(WEIGHTS, path)
        place, read = "weights/W_in", load_weight_matrices
    elif kind == "recording":
        save_recording(recording(), path)
        place, read = "traces/e1/v", load_recording
    elif kind == "input":
        with h5py.File(path, "w") as file:
            for name, value in {"dt": 0.25, "T_steps": 9, "B": 1, "N_IN": 4}.items():
                file[name] = value
        place, read = "in_spk", load_stimulus
    elif kind == "table":
        write_table_hdf5(path, [{"pw": 1.0, "name": "a"}])
        place, read = "pw", read_table_hdf5
    elif kind in ("labels", "times"):
        with h5py.File(path, "w") as file:
            for name in ("times", "units"):
                file.create_dataset(f"spikes/{name}", (4,), dtype=h5py.vlen_dtype(np.float16))
            file["labels"] = np.zeros(4, int)
        place, read = ("labels" if kind == "labels" else "spikes/times"), read_shd_labels
    else:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["N"] = np.array([[4.0]])
        place, read = "w", read_mat
    with h5py.File(path, "r+") as file:
        group = file.require_group(place.rpartition("/")[0] or "/")
        name = place.rpartition("/")[2]
        if name in group:
            del group[name]
        lead(group, name, secret)
        if kind == "mat" and lead in (raw_storage, virtual):
            group[name].attrs["MATLAB_class"] = np.bytes_("double")
    if kind == "mat":
        mat_73(path)
    with pytest.raises(ValueError, match=r"link|another file") as caught:
        read(path)
    assert "42" not in one_line(caught, path)


# ---- what names code -----------------------------------------------------------------------------


EVIL = "import pathlib\npathlib.Path({!r}).touch()\n"


def run(folder, *words):
    """Run the program for real, with the modules of `folder` within its reach."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words], cwd=folder, capture_output=True, text=True,
        check=False, env=os.environ | {"PYTHONPATH": os.pathsep.join([".", root])},
    )  # fmt: skip
    return done.returncode, done.stderr


def test_a_model_file_cannot_have_a_module_imported(tmp_path):
    bait = tmp_path / "ran"
    (tmp_path / "evil_task.py").write_text(EVIL.format(str(bait)))
    save_rate_model(tmp_path / "model.mat", {**fields(), "task": "evil_task:Task"})
    with pytest.raises(ValueError, match=r"model\.mat: task = 'evil_task:Task' names code"):
        task_of(RateModel.load(tmp_path / "model.mat"), None)
    words = ("rate", "eval", "--model", "model.mat", "--scaling-factor", "30", "--n-trials", "1")
    code, said = run(tmp_path, *words)
    assert (code, bait.exists()) == (2, False)
    assert said.count("\n") == 1
    assert "--task my_tasks:DMS" in said
    run(tmp_path, *words, "--task", "evil_task:Task")
    assert bait.exists()  # the trap was armed


@pytest.mark.parametrize("name", ["os:system", " this:x", "no such task", "a\nb:c"])
def test_task_names_of_files_are_looked_up(tmp_path, name):
    save_rate_model(tmp_path / "model.mat", {**fields(), "task": name})
    with pytest.raises(ValueError, match=r"names code|unknown task") as caught:
        task_of(RateModel.load(tmp_path / "model.mat"), None)
    one_line(caught, tmp_path / "model.mat")


def test_a_recipe_cannot_have_a_program_run(tmp_path):
    bait = tmp_path / "ran"
    (tmp_path / "evil_task.py").write_text(EVIL.format(str(bait)))
    program = tmp_path / "prog"
    program.mkdir()
    (program / "main").write_text(f"#!/bin/sh\ntouch {bait}\n")
    (program / "main").chmod(0o755)
    (program / "program.json").write_text("{}")
    (tmp_path / "p.yaml").write_text("n-hidden: [8]\nt-ms: 10\nburn-in: 0\nprogram: prog\n")
    (tmp_path / "t.yaml").write_text("command: rate train\ntask: 'evil_task:Task'\n")
    for words in (("sim", "--config", "p.yaml"), ("rate", "train", "--config", "t.yaml")):
        code, said = run(tmp_path, *words)
        assert (code, bait.exists()) == (2, False), said
        assert "must be typed" in said
        assert said.count("\n") == 1


# ---- what a flipped bit does ---------------------------------------------------------------------


def same(one, other):
    """Return whether two sets of arrays are the same."""
    return set(one) == set(other) and all(
        np.array_equal(one[name], other[name]) and one[name].shape == other[name].shape
        for name in one
    )


def model_arrays(path):
    """Return the numeric fields of a model file."""
    return {name: value for name, value in read_mat(path).items() if value.dtype.kind == "f"}


@pytest.mark.parametrize("ending", [".npz", ".h5", ".pth", ".mat"])
def test_a_flipped_bit_never_changes_a_weight_in_silence(tmp_path, ending):
    whole, path = tmp_path / f"whole{ending}", tmp_path / f"flipped{ending}"
    read = load_weight_matrices
    if ending == ".pth":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.tensor(matrix) for name, matrix in WEIGHTS.items()}, whole)
    elif ending == ".mat":
        write_mat(whole, dict(WEIGHTS.items()))
        read = model_arrays
    else:
        save_weights(WEIGHTS, whole)
    content, expected = whole.read_bytes(), read(whole)
    rng = np.random.default_rng(1)
    n_refused = 0
    for place in rng.integers(0, len(content), 250).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            found = read(path)
        except FileContentError:
            n_refused += 1
            continue
        assert same(found, expected), place
    assert n_refused > 100  # half of an HDF5 file is room for tables


def test_flipped_bits_in_the_tables_of_a_file(tmp_path):
    """What says where a chunk lies, or what a field is called, has no checksum of its own."""
    whole, path = tmp_path / "whole.h5", tmp_path / "flipped.h5"
    save_weights(WEIGHTS, whole)
    content, expected = whole.read_bytes(), load_weight_matrices(whole)
    tables = [found.start() for found in re.finditer(b"TREE", content)]
    assert len(tables) == len(WEIGHTS)
    cases = [(whole, path, load_weight_matrices, expected, tables, 104)]
    whole, path = tmp_path / "whole.mat", tmp_path / "flipped.mat"
    write_mat(whole, dict(WEIGHTS.items()))
    content, fields_at = whole.read_bytes(), [128]
    while fields_at[-1] < len(content):
        (stored,) = struct.unpack("<I", content[fields_at[-1] + 4 : fields_at[-1] + 8])
        fields_at.append(fields_at[-1] + 8 + stored)
    cases.append((whole, path, model_arrays, model_arrays(whole), fields_at[:-1], 48))
    rng = np.random.default_rng(2)
    for whole, path, read, expected, begins, length in cases:
        content = whole.read_bytes()
        for place in (begin + k for begin in begins for k in range(length)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            try:
                found = read(path)
            except FileContentError:
                continue
            assert same(found, expected), (path.suffix, place)


@pytest.mark.parametrize(("place", "bits"), [(16, 7), (40, 1), (56, 2)])
def test_a_field_whose_name_or_class_is_damaged_does_not_vanish(tmp_path, place, bits):
    """The head of a field is packed, and its checksum stands at its end."""
    plain, path = tmp_path / "plain.mat", tmp_path / "m.mat"
    scipy.io.savemat(plain, {"som_m": np.eye(20)})
    content = plain.read_bytes()
    packed = bytearray(zlib.compress(content[128:], 0))  # as it is, between head and checksum
    path.write_bytes(content[:128] + struct.pack("<II", 15, len(packed)) + packed)
    np.testing.assert_array_equal(read_mat(path)["som_m"], np.eye(20))
    packed[7 + place] ^= bits
    path.write_bytes(content[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(FileContentError):
        read_mat(path)


def test_every_array_in_our_hdf5_files_has_a_checksum(tmp_path):
    save_weights(WEIGHTS, tmp_path / "w.h5")
    save_recording(recording(), tmp_path / "r.h5")
    write_table_hdf5(
        tmp_path / "t.h5", [{"x": 1.5, "name": "a"}, {"x": 2.5, "name": "\u00e4\u00f6"}]
    )
    seen = []
    for path in tmp_path.glob("*.h5"):
        with h5py.File(path) as file:
            file.visititems(lambda name, item: seen.append((name, item)) and None)
            for name, item in seen:
                if isinstance(item, h5py.Dataset) and item.shape != () and item.size:
                    assert item.fletcher32, (path, name)
            seen.clear()
    table = read_table_hdf5(tmp_path / "t.h5")
    assert table["name"].tolist() == ["a", "\u00e4\u00f6"]
    assert table["x"].tolist() == [1.5, 2.5]


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path):
    torch = pytest.importorskip("torch")
    from train_torch.training.state_file import load_state, save_state

    path = tmp_path / "checkpoint.pth"
    save_state(path, {"w": torch.arange(5000.0), "epoch": 3}, version=1, settings="{}")
    load = {"version": 1, "settings": "{}", "what": "a training"}
    assert load_state(path, needed=["w"], **load)["epoch"] == 3
    with pytest.raises(ValueError, match=r"not a checkpoint of a training .optimiser missing"):
        load_state(path, needed=["w", "optimiser"], **load)
    content = bytearray(path.read_bytes())
    place = content.index(np.arange(1000.0, 1010.0, dtype=np.float32).tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a checkpoint of a training .*checksum") as caught:
        load_state(path, needed=["w"], **load)
    one_line(caught, path)


# ---- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"[" * 100_000, "nested too deeply", id="recursion"),
        pytest.param(b'{"a": ' * 500 + b"1" + b"}" * 500, "nested too deeply", id="deep"),
        (b'{"a": 1', "line 1: not JSON"),
        (b"", "line 1: not JSON"),
        (b'{"a": "\xff"}', "line 1: not UTF-8"),
        (b"[1]", "must hold a JSON object, not a list"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "4300 digits", id="digits"),
    ],
)  # fmt: skip
def test_json_of_others_is_one_line(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_json_object(path)
    one_line(caught, path)
    with pytest.raises(ValueError, match=message) as caught:
        read_run(tmp_path)
    one_line(caught, path)
    (tmp_path / ".running").write_bytes(content)
    marker = read_marker(tmp_path)
    assert marker is not None
    assert not marker.alive


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('\ufeff{"a": 1}', encoding="utf-8")
    assert read_json_object(path) == {"a": 1}


def test_an_analysis_of_nested_json(tmp_path):
    for name in ("attractors.npy", "transition_matrix.npy"):
        np.save(tmp_path / name, np.zeros(3))
    (tmp_path / "analysis_config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"analysis_config\.json: nested too deeply"):
        load_saved(tmp_path)


# ---- files of other programs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"N": 20.5}, "N = 20.5 must be a whole number"),
        ({"m": np.ones((20, 20))}, "m must be a diagonal matrix of 1 and -1"),
        ({"m": 2 * np.eye(20)}, "m must be a diagonal matrix"),
        ({"m": -np.eye(20)}, "m and inh disagree about unit"),
        ({"exc": fields()["inh"]}, "inh and exc disagree: unit"),
        ({"inh": 2.0 * fields()["inh"]}, "inh must hold 0 and 1 only"),
        ({"som_m": np.full((20, 20), 0.5)}, "som_m must hold 0 and 1 only"),
        ({"som_N": 1.5}, "som_N = 1.5 must be a whole number"),
        ({"taus": np.array([1e-300])}, r"taus = \[1e-300\] must be at least 0.5 DeltaT"),
        ({"w": fields()["w"] * 1e300}, "w has entries up to .*e[+]30"),
        ({"w_in": np.full((20, 1), 1e200)}, "w_in has entries up to 1e[+]200"),
    ],
)  # fmt: skip
def test_models_that_are_none_are_refused_by_field(tmp_path, change, message):
    path = tmp_path / "m.mat"
    scipy.io.savemat(path, {**fields(), **change})
    with pytest.raises(ValueError, match=message) as caught:
        RateModel.load(path)
    one_line(caught, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"T": np.nan}, "T = nan must be a whole number"),
        ({"T": np.inf}, "T = inf must be a whole number"),
        ({"T": 200.5}, "T = 200.5 must be a whole number"),
        ({"stim_on": np.array([5, 6])}, "stim_on holds 2 values"),
        ({"T": "long"}, "T is not numeric"),
    ],
)
def test_timings_that_are_none_are_refused_by_field(tmp_path, change, message):
    path = tmp_path / "m.mat"
    scipy.io.savemat(path, {**fields(), "task": "go_nogo", **change})
    with pytest.raises(ValueError, match=message) as caught:
        task_of(RateModel.load(path), None)
    one_line(caught, path)


def test_two_scaling_factors_are_none(tmp_path):
    path = model_file(tmp_path / "m.mat", opt_scaling_factor=np.array([30.0, 40.0]))
    with pytest.raises(ValueError, match=r"m\.mat: opt_scaling_factor holds 2 values"):
        RateModel.load(path).number("opt_scaling_factor")


def test_a_network_of_inhibition_alone_is_said(tmp_path):
    path = tmp_path / "m.mat"
    ones = np.ones((20, 1))
    scipy.io.savemat(path, {**fields(), "inh": ones, "exc": 1 - ones, "m": -np.eye(20)})
    with pytest.warns(UserWarning, match=r"m\.mat: inh: all 20 units are inhibitory"):
        RateModel.load(path)


def test_a_short_time_constant_beside_a_short_step_is_legal(tmp_path):
    path = tmp_path / "m.mat"
    scipy.io.savemat(path, {**fields(taus=(0.1,)), "DeltaT": 0.1})
    assert RateModel.load(path).taus.tolist() == [0.1]


def matlab_73(path, given):
    """Write fields as MATLAB 7.3 does: HDF5, axes exchanged, sparse matrices as groups."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in given.items():
            if scipy.sparse.issparse(value):
                packed = value.tocsc()
                group = file.create_group(name)
                group.attrs["MATLAB_sparse"] = np.uint64(value.shape[0])
                group.attrs["MATLAB_class"] = np.bytes_("double")
                for part, array in (
                    ("data", packed.data), ("ir", packed.indices), ("jc", packed.indptr)
                ):  # fmt: skip
                    group[part] = array
                continue
            text = isinstance(value, str)
            array = np.array([[ord(c) for c in value]], np.uint16) if text else np.atleast_2d(value)
            kind = "char" if text else "logical" if array.dtype == bool else "double"
            array = array.astype(np.uint8) if array.dtype == bool else array
            stored = file.create_dataset(name, data=array.T if text else np.asarray(array).T)
            stored.attrs["MATLAB_class"] = np.bytes_(kind)
        file.create_group("#refs#")
        file.create_group("a_structure")
    mat_73(path)


@pytest.mark.parametrize("layout", ["7.3", "sparse", "sparse 7.3", "4", "packed"])
def test_model_files_of_matlab_in_every_layout(tmp_path, layout):
    path, plain = tmp_path / "m.mat", tmp_path / "plain.mat"
    given = {**fields(n_in=2), "task": "mante", "T": 300.0, "encoding": "noisy"}
    scipy.io.savemat(plain, given)
    if layout == "7.3":
        matlab_73(path, given)
    elif layout == "sparse":
        scipy.io.savemat(path, {**given, "w": scipy.sparse.csc_matrix(given["w"])})
    elif layout == "sparse 7.3":
        matlab_73(path, {**given, "w": scipy.sparse.csc_matrix(given["w"])})
    elif layout == "4":
        scipy.io.savemat(path, {n: np.asarray(v) * 1.0 if n not in ("task", "encoding") else v
                                for n, v in given.items()}, format="4")  # fmt: skip
    else:
        write_mat(path, given)
    found, expected = RateModel.load(path), RateModel.load(plain)
    for name in ("w", "w_in", "w_out", "m", "som_m", "inh", "taus", "taus_gaus", "w0"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.text("task"), found.text("encoding"), found.whole("T")) == ("mante", "noisy", 300)
    before = path.read_bytes()
    update_rate_model(path, {"opt_scaling_factor": 25.0, "all_perfs": np.array([0.5, 1.0])})
    again = RateModel.load(path)
    assert again.number("opt_scaling_factor") == 25.0
    np.testing.assert_array_equal(again.w, expected.w)
    assert path.read_bytes()[:100] == before[:100] or layout == "4"  # its version stays


def test_an_update_keeps_what_nothing_here_reads(tmp_path):
    path = tmp_path / "m.mat"
    held = {**fields(), "cell": np.array(["a", 1.5], dtype=object), "struct": {"a": 1, "b": "x"}}
    scipy.io.savemat(path, held)
    assert {field.name for field in list_mat(path)} == set(fields())
    update_mat(path, {"N": 20.0, "w0": None, "new": "text"})
    found = scipy.io.loadmat(path)
    assert found["cell"].ravel()[1].item() == 1.5
    assert found["struct"]["b"][0, 0].item() == "x"
    assert found["new"].item() == "text"
    assert "w0" not in found
    np.testing.assert_array_equal(found["w"], held["w"])


def test_indices_of_a_sparse_matrix_stay_inside(tmp_path):
    matrix = scipy.sparse.csc_matrix(np.eye(20))
    matrix.indices[3] = 10**6
    path = tmp_path / "m.mat"
    scipy.io.savemat(path, {**fields(), "w": matrix})
    with pytest.raises(ValueError, match="indices must be < 20"):
        RateModel.load(path)


@pytest.mark.parametrize(
    "names",
    [
        ["fc1.weight", "lif.reset_mechanism_val"],  # snnTorch
        ["0.weight", "1.v"],  # SpikingJelly
        ["epoch", "global_step", "pytorch-lightning_version"],
    ],
)
def test_state_dicts_of_other_libraries_are_told_by_their_names(tmp_path, names):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    content = {name: torch.ones(2, 2, dtype=torch.int64) for name in names}
    content |= {"state_dict": {"net.fc.weight": torch.ones(2, 2)}} if "epoch" in names else {}
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"are no names of ours, which are W_ff\.0") as caught:
        load_weight_matrices(path)
    assert ("net.fc.weight" if "epoch" in names else names[0]) in one_line(caught, path)


def test_a_model_of_cells_is_no_model(tmp_path):
    path = tmp_path / "m.mat"
    scipy.io.savemat(path, {**fields(), "w": np.array(["a", 1], dtype=object)})
    with pytest.raises(ValueError, match="w missing"):
        RateModel.load(path)
    with pytest.warns(UserWarning, match="w missing"):
        load_rate_model(path)


def test_packed_and_plain_gzip_are_told_apart(tmp_path):
    content = bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + b"abc"
    for name, stored in (("a", content), ("b.gz", content), ("c", gzip.compress(content))):
        (tmp_path / name).write_bytes(stored)
        assert read_idx(tmp_path / name, n_dims=1).tobytes() == b"abc"
