"""The records that one model may see, as a training function of the user's own takes them."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset


class TrainingData(TorchDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Exactly the records that a model may be trained on.

    As arrays: ``x`` float32 [n, C, H, W] or [n, F], ``y`` int64 [n], ``groups`` int64 [n] or None (whose records they are).
    As a torch data set: pairs of tensors ``x[i]``, ``y[i]``. Inputs are those of the user's files: bytes as numbers in [0, 1],
    other numbers as they are, or scaled to [0, 1] where the data set of the audited model is.
    The arrays are copies, and may be changed.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, classes: int, groups: np.ndarray | None = None) -> None:
        self._x, self._y, self._groups = x, y, groups
        self.classes = classes
        """K: classes that the model must tell apart, whichever of them are among these records."""
        self.read = False
        """Whether anybody has looked."""

    @property
    def x(self) -> np.ndarray:
        """float32 [n, ...]."""
        self.read = True
        return self._x

    @property
    def y(self) -> np.ndarray:
        """int64 [n], in 0..K-1."""
        self.read = True
        return self._y

    @property
    def groups(self) -> np.ndarray | None:
        """int64 [n], None where nobody says."""
        self.read = True
        return self._groups

    def __len__(self) -> int:
        self.read = True
        return len(self._y)

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.read = True
        return torch.as_tensor(self._x[index]), torch.as_tensor(self._y[index])
