"""Arrays of pictures: which axis holds the channels, in which range the numbers are."""

import numpy as np
import pytest

from edgepriv.data import checked
from edgepriv.errors import UserError
from edgepriv.recipe import Data

LABELS = np.array([0, 1, 2, 0])
RNG = np.random.default_rng(0)


def read(x, **asked):
    return checked("set", x, LABELS, asked=Data(**asked))


def refused(x, **asked):
    with pytest.raises(UserError) as error:
        read(x, **asked)
    return str(error.value)


def test_rounding_beyond_the_range_is_clipped_and_no_error():
    x = np.array([[1.0000001, -1e-9], [0.5, 1], [0, 0.25], [1 + 9e-5, 0]])
    found = read(x).x
    assert found.max() == 1
    assert found.min() == 0
    assert found[1].tolist() == [0.5, 1]
    assert "lie in [0, 1.001]" in refused(np.array([[1.001, 0]] * 4))


def test_numbers_in_another_range_are_scaled_when_it_is_said():
    x = RNG.normal(0, 0.4, (4, 1, 5, 5)).clip(-1, 1)
    x[0, 0, 0, 0] = -1
    np.testing.assert_allclose(read(x, range=(-1, 1)).x, (x + 1) / 2, atol=1e-6)
    assert "say in which range they were recorded with --input-range LO:HI" in refused(x)
    assert "outside --input-range 0:1" in refused(x, range=(0, 1))
    whole = RNG.integers(0, 256, (4, 5, 5))
    np.testing.assert_allclose(read(whole, range=(0, 255)).x[:, 0], whole / 255, atol=1e-6)


def test_numbers_in_the_unit_range_stay_whatever_the_networks_range():
    x = RNG.random((4, 1, 5, 5))
    found = read(x, range=(0, 255))
    np.testing.assert_allclose(found.x, x, atol=1e-7)
    assert "they stay as they are" in found.notes[0]


def test_bytes_of_0_and_1_are_not_taken_for_black():
    x = RNG.integers(0, 2, (4, 5, 5)).astype(np.uint8)
    assert "say --input-range 0:1 if 1 is white" in refused(x)
    assert set(np.unique(read(x, range=(0, 1)).x)) == {0, 1}
    table = x.reshape(4, 25)
    assert set(np.unique(read(table).x)) == {0, 1}


def test_bytes_keep_their_type_whatever_the_networks_range():
    x = RNG.integers(0, 256, (4, 5, 5)).astype(np.uint8)
    for asked in ({}, {"range": (0, 255)}, {"range": (-1, 1)}):
        np.testing.assert_array_equal(read(x, **asked).x[:, 0], x)


def test_words_of_16_bits_in_an_array():
    x = RNG.integers(0, 65536, (4, 5, 5)).astype(np.uint16)
    np.testing.assert_allclose(read(x).x[:, 0], x / 65535, atol=1e-7)


def test_channels_that_could_be_first_or_last_are_asked_for():
    x = RNG.random((4, 3, 8, 3))
    assert "--image-size 8x3 or --image-size 3x8" in refused(x)
    np.testing.assert_allclose(read(x, image_size=(8, 3)).x, x, atol=1e-7)
    np.testing.assert_allclose(read(x, image_size=(3, 8)).x, x.transpose(0, 3, 1, 2), atol=1e-7)


@pytest.mark.parametrize("channels", [2, 12])
def test_any_number_of_channels_works_when_it_is_said(channels):
    x = RNG.random((4, 6, 7, channels))
    assert "--channels N" in refused(x)
    assert read(x, channels=channels).input_shape == (channels, 6, 7)
    assert read(x.transpose(0, 3, 1, 2), channels=channels).input_shape == (channels, 6, 7)


def test_channels_of_arrays_are_turned_into_others():
    colour = RNG.integers(0, 256, (4, 6, 7, 3)).astype(np.uint8)
    assert read(colour, channels=1).input_shape == (1, 6, 7)
    assert read(colour[..., :1], channels=3).input_shape == (3, 6, 7)
    assert "pictures of 4 channels cannot be turned into 3" in refused(RNG.random((4, 6, 7, 4)), channels=3)


def test_tables_have_neither_channels_nor_size():
    for asked in ({"channels": 1}, {"image_size": (4, 4)}):
        assert "do not fit" in refused(RNG.random((4, 5)), **asked)


def test_resizing_keeps_the_range_and_the_mean():
    x = RNG.random((4, 1, 32, 32))
    small = read(x, image_size=(8, 8)).x
    assert small.shape == (4, 1, 8, 8)
    assert 0 <= small.min() <= small.max() <= 1
    np.testing.assert_allclose(small.mean(), x.mean(), atol=0.02)
