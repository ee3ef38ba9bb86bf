"""Files that are small and unpack to a lot, and what a reader needs to refuse them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib

import h5py
import numpy as np

N_BYTES = 128 * 2**20
"""What a bomb unpacks to: more than a reader may take here, and no danger for the machine."""

_MIB = bytes(2**20)
_ROOM = """
import json, os, resource, sys, time
resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))  # a reader that fails harms nobody
imports, cases = json.load(sys.stdin)
space = {}
exec(imports, space)
def peak():
    with open("/proc/self/status") as status:  # ru_maxrss begins with that of the parent
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])
for name, (expression, path, limit) in cases.items():
    os.environ.pop("PINGBRIDGE_READ_LIMIT_GIB", None)
    if limit:
        os.environ["PINGBRIDGE_READ_LIMIT_GIB"] = limit
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")  # the peak from now on
    before, began = peak(), time.perf_counter()
    try:
        eval(expression, space | {"path": space["Path"](path)})
        said = "read"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    took = time.perf_counter() - began
    print(json.dumps([name, (peak() - before) // 1024, took, said]), flush=True)
"""


def in_a_small_room(imports, cases):
    """Return growth (MiB), seconds and message of each case, read in a process of their own.

    Parameters
    ----------
    imports : str
        What the expressions need.
    cases : dict of str to (expression, path, limit)
        `path` is known to the expression; `limit` is the allowance in GiB, or None for the usual.
    """
    done = subprocess.run(
        [sys.executable, "-c", _ROOM], input=json.dumps([imports, cases]), capture_output=True,
        text=True, timeout=300, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found = {}
    for line in done.stdout.splitlines():
        name, grown, took, said = json.loads(line)
        found[name] = (grown, took, said)
    assert set(found) == set(cases), done.stderr[-2000:]
    return found


def deflated(n_bytes=N_BYTES, *, head=b"", wbits=15):
    """Return a stream of `head` and then zeros, `n_bytes` in all."""
    packer = zlib.compressobj(1, wbits=wbits)
    parts = [packer.compress(head)]
    left = n_bytes - len(head)
    while left > 0:
        parts.append(packer.compress(_MIB[: min(left, len(_MIB))]))
        left -= len(_MIB)
    return b"".join([*parts, packer.flush()])


def npy_head(shape, dtype="<f8"):
    """Return the header of an ``.npy`` file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    text = text.ljust(118 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def add_zeros(path, name, shape, dtype="<f8"):
    """Add an array of zeros to an NPZ without having it in memory."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy_head(shape, dtype))
        for begin in range(0, n_bytes, len(_MIB)):
            member.write(_MIB[: n_bytes - begin])


def add_lie(path, name, shape):
    """Add an entry to an NPZ whose header announces more than it holds."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", npy_head(shape) + bytes(80))


def add_hdf5(path, name, shape):
    """Add a dataset to an HDF5 file that takes no room there and is zeros."""
    with h5py.File(path, "a") as file:
        file.create_dataset(name, shape, dtype="<f8", chunks=True, compression="gzip")


def add_hdf5_bomb(path, name, shape):
    """Add a dataset whose one chunk unpacks to more than it announces."""
    with h5py.File(path, "a") as file:
        made = file.create_dataset(name, shape, dtype="<f8", chunks=shape, compression="gzip")
        made.id.write_direct_chunk((0,) * len(shape), deflated(), 0)


def add_repeated(path, name, dtype, value, n):
    """Add a dataset of texts or lists, each of which is one and the same in the file."""
    with h5py.File(path, "a") as file:
        made = file.create_dataset(name, (n,), dtype=dtype)
        made[0] = value
        begin = made.id.get_offset()
    content = bytearray(path.read_bytes())
    content[begin : begin + 16 * n] = content[begin : begin + 16] * n  # references to the heap
    path.write_bytes(content)


def mat_element(name, shape, content, *, cls=6, announced=None):
    """Return a compressed field of a MATLAB file: `content` is the head of its numbers.

    Zeros follow up to the size that `shape` gives, of 8 bytes each; `announced` is what the field
    says of its own size, if it lies.
    """
    label = name.encode()
    label += bytes(-len(label) % 8)
    head = struct.pack("<IIII", 6, 8, cls, 0)
    head += struct.pack("<II", 5, 4 * len(shape)) + struct.pack(f"<{len(shape)}i", *shape)
    head += bytes(-4 * len(shape) % 8)
    head += struct.pack("<II", 1, len(name)) + label
    n_numbers = 8 * int(np.prod(shape, dtype=np.int64))
    head += struct.pack("<II", 9, n_numbers % 2**32) + content
    inner = len(head) - len(content) + n_numbers
    packed = deflated(
        8 + inner, head=struct.pack("<II", 14, inner if announced is None else announced) + head
    )
    return struct.pack("<II", 15, len(packed)) + packed
