"""What every test shares: one thread, and data folders that are not the user's."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

REAL_DATA = ("fashion_mnist", "cifar10", "location30")


@pytest.fixture
def real_data() -> Path:
    """The folder of the real data sets; the test is skipped where they are not."""
    from edgepriv.data import default_data_dir

    folder = default_data_dir()
    missing = [name for name in REAL_DATA if not (folder / f"{name}.npz").exists()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not in {folder}")
    return folder
