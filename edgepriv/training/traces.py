"""The loss of each member after every epoch of training: an owner's record, which never ships.

It is written beside the checkpoint. Members whose loss falls late and far are those that membership attacks find (LT-IQR,
Pollock, Shilov, Dodd & de Montjoye 2024), so they are known without training another model.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from edgepriv.errors import UserError
from edgepriv.files import read_bytes, write_bytes
from edgepriv.training.examples import Examples
from edgepriv.training.pgd import Logits

_BATCH = 256


@dataclass
class LossTrace:
    """``losses``: one float32 [n] of cross-entropies for each epoch of ``epochs``, counted from 1; ``members``: int64 [n],
    places in the data set; ``data``: SHA-256 of that."""

    members: npt.NDArray[np.int64]
    data: str
    losses: list[npt.NDArray[np.float32]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)

    @torch.no_grad()
    def after(self, epoch: int, logits_of: Logits, examples: Examples) -> None:
        """Look at the model at the end of an epoch.

        Args:
            epoch: counted from 1.
            logits_of: the model, in eval mode.
            examples: the members, on its device.
        """
        parts = []
        for index in torch.arange(len(examples)).split(_BATCH):
            x, y = examples.batch(index)
            parts.append(functional.cross_entropy(logits_of(x).float(), y, reduction="none").cpu())
        self.losses.append(torch.cat(parts).numpy())
        self.epochs.append(epoch)

    def write(self, path: Path) -> None:
        """Write ``losses`` float32 [epochs, n], ``epochs``, ``members`` and ``data`` as .npz.

        Args:
            path: of the file.
        """
        file = io.BytesIO()
        losses = np.stack(self.losses) if self.losses else np.empty((0, len(self.members)), dtype=np.float32)
        np.savez_compressed(
            file, losses=losses, epochs=np.array(self.epochs), members=self.members, data=np.array(self.data)
        )
        write_bytes(path, file.getvalue())


def read_trace(path: Path) -> LossTrace:
    """A trace that ``edgepriv train --trace-losses`` wrote.

    Args:
        path: of the file.

    Returns:
        The trace.

    Raises:
        UserError: for a file that is none.
    """
    content = read_bytes(path, "loss trace")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            held: dict[str, Any] = {name: archive[name] for name in ("losses", "epochs", "members", "data")}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path} is no loss trace: edgepriv train --trace-losses writes one") from error
    losses, members = held["losses"], held["members"]
    if losses.ndim != 2 or losses.shape != (len(held["epochs"]), len(members)) or not np.isfinite(losses).all():
        raise UserError(f"{path} is no loss trace: losses must be finite, [epochs, members], got {losses.shape}")
    return LossTrace(members, str(held["data"]), list(losses), [int(epoch) for epoch in held["epochs"]])
