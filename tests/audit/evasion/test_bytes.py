"""Perturbations of a file that takes bytes are whole bytes inside the budget before they are counted."""

import numpy as np
import pytest

from edgepriv.audit.evasion.grid import on_bytes, radius_on_bytes
from edgepriv.errors import UserError

RNG = np.random.default_rng(0)
X = (RNG.integers(0, 256, (30, 3, 4, 4)) / 255).astype(np.float32)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("linf", 0.1), ("l2", 0.5)])
def test_they_are_whole_and_no_further_than_asked(norm, eps):
    change = RNG.standard_normal(X.shape).astype(np.float32)
    size = np.abs(change).max(axis=(1, 2, 3)) if norm == "linf" else np.sqrt((change**2).sum(axis=(1, 2, 3)))
    moved = np.clip(X + change * (eps / size)[:, None, None, None].astype(np.float32), 0, 1)
    found = on_bytes(X, moved, norm, eps)
    np.testing.assert_allclose(found * 255, np.rint(found * 255), atol=1e-3)
    change = found - X
    size = np.abs(change).max(axis=(1, 2, 3)) if norm == "linf" else np.sqrt((change**2).sum(axis=(1, 2, 3)))
    assert (size <= eps * (1 + 1e-5)).all()
    assert (size > 0.8 * eps).all()


def test_a_radius_is_a_whole_number_of_levels():
    assert radius_on_bytes("linf", 8 / 255) == pytest.approx(8 / 255)
    assert radius_on_bytes("linf", 0.1) == pytest.approx(25 / 255)
    assert radius_on_bytes("l2", 0.1) == 0.1
    with pytest.raises(UserError, match="less than one level"):
        radius_on_bytes("linf", 0.003)
