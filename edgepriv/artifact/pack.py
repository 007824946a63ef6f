"""Integers of 2 to 8 bits <-> bytes, at exactly their bits.

A width is a sum of the *fields* 8, 4, 2 and 1: a 7-bit integer is its low 4 bits, the next 2 and the top 1. A field of
w bits is stored apart from the others, 8/w values in a byte. The layout is planar: with m bytes, byte i holds the
values i, m + i, 2m + i, ..., so that one shift and one mask over all bytes restore m consecutive values:

    values[j * m + i] = (byte[i] >> (w * j)) & mask        j = 0 .. 8/w - 1

The same formula fills *cells* of 4 bits instead of 8 (mask 0b00110011 instead of 0b00000011 for w = 2): then what is
restored are not values but bytes with two 4-bit values each, as the 4-bit matrix kernel reads them.
"""

import numpy as np

FIELDS = {2: (2,), 3: (2, 1), 4: (4,), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1), 8: (8,)}
"""Widths of the fields of an integer, from its lowest bit up."""


def split_fields(integers: np.ndarray, bits: int) -> list[np.ndarray]:
    """The fields of integers, from the lowest up.

    Args:
        integers: uint8 < 2^bits.
        bits: 2 to 8.

    Returns:
        uint8 arrays of the same shape, one for each width in ``FIELDS``.
    """
    fields, offset = [], 0
    for width in FIELDS[bits]:
        fields.append((integers >> np.uint8(offset)) & np.uint8(2**width - 1))
        offset += width
    return fields


def shifts_of(width: int, cell: int = 8) -> np.ndarray:
    """How far the bytes are shifted to restore each plane.

    Args:
        width: bits of a value.
        cell: bits that values are packed into.

    Returns:
        uint8 [cell / width, 1].
    """
    return np.arange(0, cell, width, dtype=np.uint8)[:, None]


def mask_of(width: int, cell: int = 8) -> int:
    """What remains of a shifted byte: the low bits of each of its cells.

    Args:
        width: bits of a value.
        cell: bits that values are packed into.

    Returns:
        0 to 255.
    """
    return sum((2**width - 1) << start for start in range(0, 8, cell))


def pack_planes(values: np.ndarray, width: int, cell: int = 8) -> np.ndarray:
    """Values packed into planes, as above.

    Args:
        values: uint8 [n], whose cells hold values of ``width`` bits.
        width: bits of a value.
        cell: bits that values are packed into.

    Returns:
        uint8 [1, ceil(n * width / cell)].
    """
    planes = cell // width
    columns = -(-values.size // planes)
    padded = np.zeros(planes * columns, np.uint8)
    padded[: values.size] = values
    shifted = padded.reshape(planes, columns) << shifts_of(width, cell)
    return np.bitwise_or.reduce(shifted, axis=0, keepdims=True)


def pack_nibbles(values: np.ndarray) -> np.ndarray:
    """Two values in a byte along the last axis, the first in the low half; an odd end is padded with 0.

    Args:
        values: uint8 < 16, [..., n].

    Returns:
        uint8 [..., ceil(n / 2)].
    """
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], 1), np.uint8)], axis=-1)
    packed: np.ndarray = values[..., 0::2] | (values[..., 1::2] << np.uint8(4))
    return packed
