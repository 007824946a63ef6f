"""Algorithm 2: what every answer shows behind a non-member mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepriv.heads.values import GAP, descending_values, mask_values


@given(classes=st.integers(2, 300), seed=st.integers(0, 2**32 - 1))
def test_values_descend_to_zeros_and_sum_to_one(classes, seed):
    values = descending_values(classes, np.random.default_rng(seed))
    k = np.count_nonzero(values)
    assert values.shape == (classes,)
    assert values.sum() == pytest.approx(1, abs=1e-12)
    assert (values[:k] > 0).all()
    assert (values[k:] == 0).all()
    assert (-np.diff(values[:k]) >= GAP).all()
    assert 1 / k < values[0] < 2 / k


def test_draws_differ_and_find_more_than_one_k():
    drawn = [descending_values(10, np.random.default_rng(seed)) for seed in range(50)]
    assert len({values[0] for values in drawn}) == 50
    assert len({np.count_nonzero(values) for values in drawn}) > 1


def test_all_models_with_as_many_classes_show_the_same_values():
    assert mask_values(7) == mask_values(7) != mask_values(8)
