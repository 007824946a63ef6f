"""Answers of reference and shadow models, kept beside the models so that nothing is asked twice."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from edgepriv.files import sha256_of, written_aside


def digest(array: np.ndarray) -> str:
    """Of an array's bytes.

    Args:
        array: any.

    Returns:
        Its SHA-256 in hexadecimal.
    """
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def kept(
    model: Path, made_of: Sequence[object], code: Sequence[ModuleType], compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """What ``compute`` gives, read from beside ``model`` if the same was computed before by the same code.

    Args:
        model: file of the model that is asked.
        made_of: everything else that the answers depend on, as JSON.
        code: the modules that ask.
        compute: asks.

    Returns:
        The answers.
    """
    of_code = [sha256_of(Path(str(module.__file__))) for module in code]
    key = hashlib.sha256(json.dumps([*made_of, *of_code]).encode()).hexdigest()[:16]
    path = model.with_name(f"{model.stem}.{key}.npz")
    if zipfile.is_zipfile(path):
        with np.load(path, allow_pickle=False) as archive:
            stored: np.ndarray = archive["answers"]
            return stored
    answers = compute()
    with written_aside(path) as aside, aside.open("wb") as handle:
        np.savez_compressed(handle, answers=answers)
    return answers
