"""What an evasion attack is told, and the refusal of what it cannot be run on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepriv.artifact.batches import LARGEST
from edgepriv.audit.answers import Bools
from edgepriv.audit.clustered import Groups
from edgepriv.audit.evasion.grid import on_bytes
from edgepriv.audit.table_rows import TableRows
from edgepriv.errors import UserError
from edgepriv.training.pgd import norm_of


@dataclass(frozen=True, eq=False)
class Setting:
    """What a file allows, beside its answers.

    ``free``: bool, the shape of an example: the features that may change, None for all of them. ``bytes_in``: whether it takes
    bytes, so that perturbations are moved to whole ones before they are counted. ``head``: what changes the answers of the
    network behind its logits (``rank``, ``memguard``, ...), None for nothing: attacks climb on the logits before it.
    ``tolerance``: how far the rest of a batch may move a probability before answers count as dependent on it. ``rows``: what
    the rows of a table can hold, None for other inputs: perturbations are moved to such rows before they are counted.
    ``groups``: int64 [n], whose record each input is, by which intervals are made; None for a person each.
    """

    free: Bools | None = None
    bytes_in: bool = False
    head: str | None = None
    tolerance: float = LARGEST
    rows: TableRows | None = None
    groups: Groups = None

    def fed(
        self, x: npt.NDArray[np.float32], moved: npt.NDArray[np.float32], norm: str, eps: float
    ) -> npt.NDArray[np.float32]:
        """What the file can be fed: whole bytes, rows of a table.

        Args:
            x: float32 [n, ...] in [0, 1], the clean inputs.
            moved: float32 [n, ...] in [0, 1], the same perturbed.
            norm: "linf" or "l2".
            eps: radius in input units, which is not left.

        Returns:
            float32 [n, ...].
        """
        if self.rows is not None:
            return self.rows.nearest(x, moved, norm, eps)
        return on_bytes(x, moved, norm, eps) if self.bytes_in else moved

    @property
    def fixed_features(self) -> int:
        """How many may not change."""
        return 0 if self.free is None else int((~self.free).sum())


def check(x: npt.NDArray[Any], y: npt.NDArray[Any], norm: str, eps: float, eps_curve: Sequence[float]) -> None:
    """Refuse what evasion attacks cannot be run on.

    Args:
        x: float32 [n >= 1, ...] in [0, 1].
        y: int64 [n], the labels.
        norm: "linf" or "l2".
        eps: radius > 0, finite.
        eps_curve: radii >= 0, finite.

    Raises:
        UserError: for bad arrays, radii or norm.
    """
    norm_of(norm)
    if not (0 < eps < np.inf and all(0 <= radius < np.inf for radius in eps_curve)):
        raise UserError(f"perturbation radii must be finite and positive, got eps {eps} and curve {list(eps_curve)}")
    if x.dtype != np.float32 or y.dtype != np.int64 or not len(x) or y.shape != x.shape[:1]:
        shapes = f"{x.dtype} {x.shape} and {y.dtype} {y.shape}"
        raise UserError(f"expected float32 inputs [n >= 1, ...] and int64 labels [n], got {shapes}")
    if not (x.min() >= 0 and x.max() <= 1):
        raise UserError(f"inputs must lie in [0, 1] (they lie in {x.min():g}..{x.max():g})")
