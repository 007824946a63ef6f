"""Public examples in a file of arrays: their labels are not read, and their range is that of the model's inputs."""

import numpy as np
import pytest

from edgepriv.data import load
from edgepriv.data.extra import read_extra, read_public
from edgepriv.errors import UserError
from edgepriv.recipe import Data


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_labels_of_another_task_do_not_matter(digits, tmp_path):
    np.savez(tmp_path / "p.npz", x=digits.x[:20], y=np.arange(20) + 50)
    extra = read_public(f"npz:{tmp_path / 'p.npz'}", digits, Data())
    assert extra.y is None
    assert np.array_equal(extra.x, digits.x[:20])
    with pytest.raises(UserError, match="is no class of"):
        read_extra(tmp_path / "p.npz", digits, Data())


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_numbers_of_another_range_are_refused_with_what_helps(digits, tmp_path, kind):
    np.savez(tmp_path / "p.npz", x=(digits.inputs(np.arange(20)) * 255).astype(kind))
    with pytest.raises(UserError, match=r"--public .* holds numbers in \[0, 255\].*divide by 255") as refused:
        read_public(f"npz:{tmp_path / 'p.npz'}", digits, Data())
    assert "--input-range" not in str(refused.value)
