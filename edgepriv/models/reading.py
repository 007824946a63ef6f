"""Files of tensors from anywhere, told apart by their content and read as data: what would need code to be run is refused,
with the line of Python that saves it rightly."""

import argparse
import collections
import pathlib
import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from edgepriv.errors import UserError
from edgepriv.models.containers import by_place

_MAGIC = 0x1950A86A20F9469CFC6C
"""What torch.save wrote first before it wrote zip files."""
_LARGEST_HEADER = 100_000_000
"""Bytes of a safetensors header, by its specification."""


_ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".tar")
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: fetch it with git lfs pull",
    b"<!doctype": "a web page, not the file itself: download it again",
    b"<html": "a web page, not the file itself: download it again",
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"\x89hdf": "a file of HDF5, as Keras writes it: export that model to ONNX, and audit the .onnx",
}
"""What files of other kinds begin with, in lower case."""


class Attributes(dict[str, Any]):
    """What stands in for dictionaries of hyper-parameters that other packages define: their entries and nothing else."""


# The two functions that NumPy's own pickles call; their module's name is another in each NumPy.
_reconstruct = np.empty(0).__reduce__()[0]
_scalar = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    argparse.Namespace,
    collections.defaultdict,
    (pathlib.PurePosixPath, "pathlib.PosixPath"),
    (pathlib.PurePosixPath, "pathlib._local.PosixPath"),
    (pathlib.PureWindowsPath, "pathlib.WindowsPath"),
    (pathlib.PureWindowsPath, "pathlib._local.WindowsPath"),
    *(
        (Attributes, f"{package}.AttributeDict")
        for package in (
            "pytorch_lightning.utilities.parsing",
            "lightning.pytorch.utilities.parsing",
            "lightning_fabric.utilities.data",
            "lightning.fabric.utilities.data",
        )
    ),
    np.dtype,
    np.ndarray,
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__ if name not in ("ObjectDType", "StringDType")),
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, function in (("scalar", _scalar), ("_reconstruct", _reconstruct))
    ),
]
"""Types that training code puts beside the tensors and that run nothing when they are made: containers, paths, numbers."""


def load_tensors(path: Path) -> dict[str, Any]:
    """The dictionary in a file of torch.save, safetensors or NumPy (.npz), whatever it is called; code in it is refused, not
    run. Of a list or tuple: what is in it by its place.

    Args:
        path: the file.

    Returns:
        Its content; tensors are on the processor.

    Raises:
        UserError: when the file is missing, damaged, of another kind, or needs code to be read.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the file of weights in it")
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    _refuse_other_kinds(path)
    if is_safetensors(path):
        return _from_safetensors(path)
    if _is_npz(path):
        return _from_npz(path)
    _refuse_programs(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if " GLOBAL " in str(error) or "global" in str(error) or _opcodes(path):
            raise UserError(_needs_code(path, str(error))) from error
        raise UserError(f"{path} is not a PyTorch checkpoint (not readable, or truncated)") from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        AssertionError,
        IndexError,
        TypeError,
    ) as error:
        raise UserError(f"{path} is not a PyTorch checkpoint (not readable, or truncated)") from error
    if isinstance(content, list | tuple):
        content = {str(place): value for place, value in by_place(content).items()}
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}; expected an edgepriv checkpoint or a state_dict")
    if not content:
        raise UserError(f"{path} holds no weights; expected an edgepriv checkpoint or a state_dict")
    return content


def _refuse_other_kinds(path: Path) -> None:
    """What people take for a checkpoint, by its first bytes."""
    with path.open("rb") as handle:
        start = handle.read(64).lstrip()
    for first, what in _OTHERS.items():
        if start.lower().startswith(first):
            raise UserError(f"{path} is {what}")
    if not start:
        raise UserError(f"{path} is empty: copy or download it again")
    if zipfile.is_zipfile(path) and not _is_npz(path):
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if not name.endswith("/")]
        packed = [name for name in inside if Path(name).suffix in _ENDINGS]
        if packed and not any(name.endswith((".pkl", "/version")) for name in inside):
            raise UserError(f"{path} is an archive of {', '.join(packed[:3])}: unpack it, and name the file of weights")


def _is_npz(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _from_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} holds arrays that are no numbers, or is truncated") from error


def is_of_tensors(path: Path) -> bool:
    """Whether a file is one of torch.save or safetensors rather than of ONNX.

    Args:
        path: a file that exists.

    Returns:
        True by its first bytes, or else by its name.
    """
    with path.open("rb") as handle:
        start = handle.read(16)
    known = start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")) or is_safetensors(
        path
    )
    return known or path.suffix in _ENDINGS


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: with the length of a header and a JSON object.

    Args:
        path: a file that exists.

    Returns:
        True by its first bytes.
    """
    with path.open("rb") as handle:
        start = handle.read(9)
    return len(start) == 9 and 2 <= int.from_bytes(start[:8], "little") < _LARGEST_HEADER and start[8:] == b"{"


def _from_safetensors(path: Path) -> dict[str, Any]:
    try:
        content = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{path} is not a safetensors file (not readable, or truncated)") from error
    if not content:
        raise UserError(f"{path} holds no tensors")
    return dict(content)


def _refuse_programs(path: Path) -> None:
    """TorchScript and exported programs are zip files as checkpoints are, with their code beside the tensors."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return
    if any(name.startswith("code/") for name in names) and "constants.pkl" in names:
        made_by = "TorchScript"
        saved = _line(path, f"torch.jit.load({str(path)!r}).state_dict()")
    elif any("exported_program" in name or name.startswith("models/") for name in names):
        made_by = "torch.export"
        saved = _line(path, f"torch.export.load({str(path)!r}).state_dict")
    else:
        return
    raise UserError(f"{path} is a program of {made_by}, and edgepriv reads weights only: save them with {saved}")


def _line(path: Path, expression: str, modules: str = "torch") -> str:
    return f'python -c "import {modules}; torch.save({expression}, {str(path.with_suffix(".state_dict.pth"))!r})"'


def _needs_code(path: Path, error: str) -> str:
    """Why a pickle is refused, and the line that saves what is wanted of it."""
    strings = {argument for code, argument in _opcodes(path) if "UNICODE" in code}
    if not zipfile.is_zipfile(path) and (_MAGIC not in [argument for _, argument in _opcodes(path)[:2]]):
        arrays = f"{{k: torch.as_tensor(v) for k, v in pickle.loads(pathlib.Path({str(path)!r}).read_bytes()).items()}}"
        return (
            f"{path} is a pickle that torch did not write, which is never loaded because it can run code: where you trust it "
            f"and it holds arrays by name, save them by {_line(path, arrays, 'pathlib, pickle, torch')}"
        )
    whole = f"torch.load({str(path)!r}, weights_only=False)"
    key = next((key for key in ("state_dict", "model_state_dict") if key in strings), None)
    is_dictionary = any(code in ("EMPTY_DICT", "DICT") for code, _ in _opcodes(path)[:4])
    if key is not None:
        expression = f"{whole}[{key!r}]"
    elif is_dictionary and "model" in strings:
        expression = f"{whole}['model'].state_dict()"
    else:
        expression = f"{whole}.state_dict()"
    named = re.search(r"GLOBAL ([\w.]+)", error)
    what = f" ({named[1]})" if named else ""
    return (
        f"{path} holds pickled objects other than tensors{what}, which are never loaded because they can run code: save "
        f"model.state_dict() instead, where you trust the file by {_line(path, expression)}"
    )


def _opcodes(path: Path) -> list[tuple[str, Any]]:
    """(name, argument) of a pickle's operations but the first, read and not run; empty where there is no whole pickle."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                content = archive.read(name)
        else:
            content = path.read_bytes()
        return [(code.name, argument) for code, argument, _ in pickletools.genops(content)][1:]
    except (ValueError, UnicodeDecodeError, IndexError, StopIteration, OSError, zipfile.BadZipFile):
        return []
