import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepriv.artifact.pack import FIELDS, mask_of, pack_nibbles, pack_planes, shifts_of, split_fields


@pytest.mark.parametrize("bits", range(2, 9))
def test_fields_add_up_to_the_integer(bits):
    integers = np.arange(2**bits, dtype=np.uint8)
    total, offset = 0, 0
    for width, field in zip(FIELDS[bits], split_fields(integers, bits), strict=True):
        assert field.max() == 2**width - 1
        total = total + (field.astype(int) << offset)
        offset += width
    assert offset == bits
    np.testing.assert_array_equal(total, integers)


def test_planar_layout_by_hand():
    # Five 2-bit values take two bytes: byte 0 holds values 0, 2, 4 and byte 1 holds values 1 and 3.
    packed = pack_planes(np.array([1, 2, 3, 0, 2], np.uint8), 2)
    assert packed.tolist() == [[0b00_10_11_01, 0b00_00_00_10]]


def test_planes_of_four_bit_cells_by_hand():
    # Two bytes with two cells each, every cell below 4: the second byte goes two bits above the first.
    packed = pack_planes(np.array([0x21, 0x03], np.uint8), 2, cell=4)
    assert packed.tolist() == [[0x21 | 0x03 << 2]]


@given(st.sampled_from([1, 2, 4]), st.sampled_from([4, 8]), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_shift_and_mask_restore_the_planes(width, cell, count, seed):
    values = np.random.default_rng(seed).integers(0, 256, count).astype(np.uint8) & np.uint8(mask_of(width, cell))
    packed = pack_planes(values, width, cell)
    assert packed.shape == (1, -(-count * width // cell))
    restored = (packed >> shifts_of(width, cell)) & np.uint8(mask_of(width, cell))
    np.testing.assert_array_equal(restored.reshape(-1)[:count], values)


def test_nibbles_put_the_first_value_in_the_low_half():
    assert pack_nibbles(np.array([[1, 2, 3], [4, 5, 15]], np.uint8)).tolist() == [[0x21, 0x03], [0x54, 0x0F]]
