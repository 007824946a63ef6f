"""Outcomes of attacks that have ended, kept on disk: an interrupted audit goes on from there, an equal one repeats nothing."""

import ast
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from edgepriv.audit.answers import Bools
from edgepriv.audit.evasion.trial import Predict
from edgepriv.files import UNREADABLE, write_bytes

_CODE = (
    "audit/evasion",
    "audit/table_rows.py",
    "audit/blackbox.py",
    "audit/boundary.py",
    "training/pgd.py",
    "artifact",
)
"""What decides which examples an attack fools, below the package."""


@dataclass
class Kept:
    """Which examples withstood each attack, bool [n] by its name. ``path``: None keeps nothing."""

    path: Path | None = None
    withstood: dict[str, Bools] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        folder: Path | None,
        sha256: str,
        predict: Predict,
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.int64],
        settings: Mapping[str, Any],
    ) -> "Kept":
        """What an earlier audit of the same file, on the same examples, with the same settings and code has left.

        Args:
            folder: None keeps nothing.
            sha256: of the file; empty keeps nothing.
            predict: the file's answers, which tell how it is fed and read; where equal questions get different ones, nothing is
                kept.
            x: float32 [n, ...] in [0, 1].
            y: int64 [n], the labels.
            settings: of the attacks.

        Returns:
            Outcomes by name; none where there was no such audit.
        """
        if folder is None or not sha256:
            return cls()
        answers = np.asarray(predict(x))
        if not np.array_equal(answers, predict(x), equal_nan=True):
            return cls()
        digest = hashlib.sha256(f"{sha256} {code_version()} {x.shape}".encode())
        for array in (x, y, answers):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name, value in sorted(settings.items()):
            digest.update(f"{name}={value.tolist() if isinstance(value, np.ndarray) else value!r};".encode())
        path = folder / f"{digest.hexdigest()[:32]}.npz"
        return cls(path, _read(path, len(x)))

    def get(self, name: str) -> Bools | None:
        """The outcome of an attack that has ended.

        Args:
            name: of the attack, with its radius where it has one.

        Returns:
            bool [n], who withstood it; None where it has not ended.
        """
        return self.withstood.get(name)

    def keep(self, name: str, held: Bools) -> None:
        """Write down the outcome of an attack.

        Args:
            name: of the attack, with its radius where it has one.
            held: bool [n], who withstood it.
        """
        self.withstood[name] = held
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            np.savez_compressed(content, **self.withstood)  # type: ignore[arg-type]
            write_bytes(self.path, content.getvalue())


def _read(path: Path, count: int) -> dict[str, Bools]:
    """Nothing where the file is not there, or not one of these."""
    try:
        with np.load(path, allow_pickle=False) as content:
            withstood = {name: content[name] for name in content.files}
    except UNREADABLE:
        return {}
    return withstood if all(held.shape == (count,) and held.dtype == np.bool_ for held in withstood.values()) else {}


@cache
def code_version() -> str:
    """Hex sha256 of the code that crafts and counts (its syntax, so comments do not count), torch and onnxruntime."""
    digest = hashlib.sha256(f"{torch.__version__} {onnxruntime.__version__} {np.__version__}".encode())
    package = Path(__file__).parents[2]
    for part in _CODE:
        root = package / part
        for source in sorted(root.glob("*.py")) if root.is_dir() else [root]:
            digest.update(ast.dump(ast.parse(source.read_text())).encode())
    return digest.hexdigest()
