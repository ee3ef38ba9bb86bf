"""State dicts of trained networks (``.pth``): read as plain tensors, never executed."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.files.reading import Allowance, FileContentError, cause, check_ordinary
from bridge.network.published import import_torch

NESTED_UNDER = ("state_dict", "model")
"""Keys under which checkpoints keep the state dict."""

_OURS = re.compile(r"W_(in|out)|W_ff_\d+to\d+|W_(ee|ei|ie|ii)(_\d+|\.\d+)?|W_ff\.\d+|b_out|b_ff\.0")
_PICKLE = "data.pkl"
_PICKLE_BYTES = 64 * 2**20  # of what a file holds besides tensors
_WRAPPERS = ("_orig_mod.", "module.")  # torch.compile and data-parallel put these before names
_PLAIN = {"W_ee": "W_ee_1", "W_ei": "W_ei_1", "W_ie": "W_ie_1", "W_ii": "W_ii_1", "b_ff.0": "b_out"}


def load_state_dict(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the tensors of a state dict as float64 arrays, under their own names.

    The dict may lie at the top of the file, or under ``state_dict`` or ``model``.

    Raises
    ------
    ImportError
        Without torch.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, is not a torch file, asks for anything but plain tensors to be
        built, knows none of our names, or holds an entry that is not a real-valued dense tensor
        with numbers of its own. Nothing was executed.
    """
    torch = import_torch(f"reading {path}")
    content = load_plain(path, what="torch state dict of plain tensors")
    for key in NESTED_UNDER:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise FileContentError(
            f"{path} holds no state dict but {_kind(content)}; nothing in it was executed or loaded"
        )
    named = {_bare(name, path): tensor for name, tensor in content.items()}
    if not any(_OURS.fullmatch(name) for name in named):
        shown = ", ".join(map(cause, list(named)[:4])) + (" ..." if len(named) > 4 else "")
        raise FileContentError(
            f"{path}: {shown} are no names of ours, which are W_ff.0, W_ff.1, W_ei.1 ... or W_in, "
            "W_out, W_ei_1 ...; nothing was loaded"
        )
    allowance = Allowance(path)
    for name, tensor in named.items():
        _check(torch, name, tensor, path)
        allowance.spend(8 * tensor.numel(), f"entry {name!r}")
    return {name: tensor.detach().to(torch.float64).numpy() for name, tensor in named.items()}


def load_plain(path: Path, *, what: str) -> Any:
    """Return what a torch file holds: tensors, numbers, texts, lists and dicts of these.

    Nothing in the file is executed, and the checksum of every part of it is verified, which torch
    does not do.

    Parameters
    ----------
    path : Path
    what : str
        What it ought to be, for messages.

    Raises
    ------
    ImportError
        Without torch.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, no torch file, or asks for anything else to be built.
    """
    torch = import_torch(f"reading {path}")
    check_ordinary(path)
    try:
        _verify(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice for programmers; the outcome is what counts
            return torch.load(path, weights_only=True, map_location="cpu")
    except FileContentError:
        raise
    except Exception as error:  # whatever a broken or hostile file provokes is one line
        raise FileContentError(
            f"{path} is not a {what} ({_reason(error)}); nothing in it was executed or loaded"
        ) from error


def _verify(path: Path) -> None:
    """Verify the checksums of a torch file, unless it is of the kind that has none."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        allowance = Allowance(path)
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} is compressed, which torch never does")
            allowance.spend(entry.file_size, entry.filename)
            if entry.filename.endswith(_PICKLE) and entry.file_size > _PICKLE_BYTES:
                raise ValueError(f"{entry.filename} is longer than any description of tensors")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")


def canonical_names(matrices: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Return matrices under the names of `NetworkSpec.matrix_shapes`.

    The published names become ours: ``W_ff.0`` is ``W_in``, the last ``W_ff`` is ``W_out``, those
    between are ``W_ff_1to2`` and so on, ``b_ff.0`` is ``b_out``, ``W_ei.1`` is ``W_ei_1``; without
    a layer number, as in ``W_ei``, layer 1 is meant. Of current-based networks, which have a
    bias, an all-zero ``W_ee`` is dropped: it is stored but not used. Names already ours stay.

    Raises
    ------
    ValueError
        If the ``W_ff`` are not numbered from 0 without a gap, if there is only one, if two names
        mean the same matrix, or if a current-based network has a non-zero ``W_ee``.

    Source: pinglab, models.py (parameter lists of its networks).
    """
    numbers = sorted(int(n[5:]) for n in matrices if re.fullmatch(r"W_ff\.\d+", n))
    if numbers and (numbers != list(range(len(numbers))) or len(numbers) < 2):
        raise ValueError(
            f"W_ff matrices are numbered {', '.join(map(str, numbers))}; expected 0, 1, ... with "
            "the input first and the readout last"
        )
    renamed: dict[str, NDArray] = {}
    for name, matrix in matrices.items():
        ours = _canonical(name, n_ff=len(numbers))
        if ours in renamed:
            raise ValueError(f"two entries mean the matrix {ours} (one of them is {name!r})")
        renamed[ours] = matrix
    if "b_out" in renamed and "W_ee_1" in renamed:
        if np.any(renamed["W_ee_1"]):
            raise ValueError("a current-based network (it has b_out) uses no W_ee, yet it is not 0")
        del renamed["W_ee_1"]
    return renamed


def _canonical(name: str, *, n_ff: int) -> str:
    if found := re.fullmatch(r"W_ff\.(\d+)", name):
        k = int(found[1])
        return "W_in" if k == 0 else "W_out" if k == n_ff - 1 else f"W_ff_{k}to{k + 1}"
    if re.fullmatch(r"W_(ee|ei|ie|ii)\.\d+", name):
        return name.replace(".", "_")
    return _PLAIN.get(name, name)


def _bare(name: Any, path: Path) -> str:
    if not isinstance(name, str):
        raise FileContentError(f"{path} has an entry named {name!r}; names of matrices are text")
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _check(torch: Any, name: str, tensor: Any, path: Path) -> None:
    """Refuse what is no dense tensor of real numbers that all stand in the file."""
    if not isinstance(tensor, torch.Tensor):
        raise FileContentError(
            f"{path}: entry {name!r} is {_kind(tensor)}, not a tensor; nothing was loaded"
        )
    real = tensor.dtype.is_floating_point and not tensor.is_quantized
    if not real or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise FileContentError(
            f"{path}: entry {name!r} is a {tensor.dtype} {tensor.layout} tensor; dense "
            "floating-point ones are needed"
        )
    n_bytes = tensor.numel() * tensor.element_size()
    if n_bytes > tensor.untyped_storage().nbytes():
        raise FileContentError(
            f"{path}: entry {name!r} has shape {tuple(tensor.shape)}, more than the numbers that "
            "stand in the file; nothing was loaded"
        )


def _reason(error: Exception) -> str:
    """Return torch's reason without its advice to load the file unsafely."""
    lines = str(error).split("\n")
    if not any("weights_only" in line for line in lines):
        return cause(error)
    refused = [line for line in lines if "nsupported" in line and "weights_only" not in line]
    return cause(refused[0]) if refused else "torch finds it unsafe"


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
