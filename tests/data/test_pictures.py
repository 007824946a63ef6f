"""Folders of pictures: every depth by its own range, nothing cut, converted or resized unless asked."""

import numpy as np
import pytest
from PIL import Image

from edgepriv.data import load
from edgepriv.errors import UserError
from edgepriv.recipe import Data

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
DEEP = RNG.integers(0, 4096, (6, 8)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Writes pictures by their path in the folder, arrays or opened pictures, and returns the folder."""

    def write(**pictures):
        for name, picture in pictures.items():
            path = tmp_path / "set" / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
            image.save(path)
        return tmp_path / "set"

    return write


def two(first, second=None, ending="png"):
    return {f"cat__1_DOT_{ending}": first, f"dog__1_DOT_{ending}": first if second is None else second}


def read(path, **asked):
    return load(f"folder:{path}", asked=Data(**asked))


def refused(path, **asked):
    with pytest.raises(UserError) as error:
        read(path, **asked)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sub_folders_are_the_classes(folder):
    found = read(folder(cat__1_DOT_png=COLOUR, dog__1_DOT_png=COLOUR[::-1], dog__2_DOT_png=COLOUR))
    assert found.class_names == ("cat", "dog")
    assert found.y.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(found.x[1], COLOUR[::-1].transpose(2, 0, 1))
    assert found.x.dtype == np.uint8


def test_grey_stays_one_channel(folder):
    found = read(folder(**two(GREY)))
    np.testing.assert_array_equal(found.x, np.stack([GREY[None]] * 2))


def test_colours_of_printers_are_converted_and_that_is_said(folder):
    ink = Image.fromarray(COLOUR).convert("CMYK")
    found = read(folder(**two(ink, ending="tif")))
    np.testing.assert_array_equal(found.x[0], np.asarray(ink.convert("RGB")).transpose(2, 0, 1))
    assert found.notes == ("2 pictures were converted from CMYK to RGB, ignoring any colour profile",)


def test_16_bits_span_65535_and_that_is_said(folder):
    full = DEEP * np.uint16(16)
    found = read(folder(**two(full)))
    np.testing.assert_allclose(found.x[0, 0], full / 65535, atol=1e-7)
    assert found.notes == ("the pixels have 16 bits: 65535 is taken for white",)
    np.testing.assert_allclose(
        read(folder(**two(full)), range=(0, 1)).x, found.x
    )  # the network's range, not the file's


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_bits_in_words_of_16_are_asked_for(folder, bits):
    dark = (DEEP * 4 >> (14 - bits)).astype(np.uint16)
    path, white = folder(**two(dark)), 2**bits - 1
    assert f"--input-range 0:{white} or --input-range 0:65535" in refused(path)
    np.testing.assert_allclose(read(path, range=(0, white)).x[0, 0], dark / white, atol=1e-6)
    np.testing.assert_allclose(read(path, range=(0, 65535)).x[0, 0], dark / 65535, atol=1e-6)


def test_a_range_that_16_bits_exceed_is_refused(folder):
    assert "outside --input-range 0:1023" in refused(folder(**two(DEEP)), range=(0, 1023))


def test_floating_point_is_in_the_unit_range_or_asks(folder):
    values = DEEP.astype(np.float32)
    np.testing.assert_array_equal(read(folder(**two(values / 4095, ending="tif"))).x[0, 0], values / 4095)
    path = folder(**two(values, ending="tif"))
    assert "--input-range LO:HI" in refused(path)
    np.testing.assert_allclose(read(path, range=(0, 4095)).x[0, 0], values / 4095, atol=1e-6)


def test_1_bit_palette_and_cmyk_pictures(folder):
    black_and_white = Image.fromarray(GREY).convert("1")
    found = read(folder(**two(black_and_white)))
    assert found.input_shape == (1, 6, 8)
    assert set(np.unique(found.x)) == {0, 255}
    palette = Image.fromarray(COLOUR).quantize(16)
    np.testing.assert_array_equal(
        read(folder(**two(palette))).x[0], np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    )
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    assert read(folder(cat__1_DOT_tif=cmyk, dog__1_DOT_tif=cmyk, cat__2_DOT_png=COLOUR)).input_shape == (3, 6, 8)


def test_an_opaque_alpha_channel_is_dropped_and_any_other_refused(folder):
    opaque = Image.fromarray(COLOUR).convert("RGBA")
    np.testing.assert_array_equal(read(folder(**two(opaque))).x[0], COLOUR.transpose(2, 0, 1))
    glass = opaque.copy()
    glass.putalpha(Image.fromarray(GREY))
    assert "dog/1.png has transparent pixels" in refused(folder(**two(opaque, glass)))
    assert read(folder(**two(opaque, glass)), channels=4).input_shape == (4, 6, 8)


def test_mixed_channels_ask_for_a_number_of_them(folder):
    path = folder(cat__1_DOT_png=GREY, dog__1_DOT_png=COLOUR)
    said = refused(path)
    assert "dog/1.png has 3 channels" in said
    assert "cat/1.png 1 channel: say which all are to have, --channels 1 or --channels 3" in said
    luminance = np.rint(COLOUR @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(read(path, channels=1).x[1, 0], luminance)
    np.testing.assert_array_equal(read(path, channels=3).x[0], np.stack([GREY] * 3))


def test_mixed_sizes_ask_for_one(folder):
    path = folder(cat__1_DOT_png=GREY, dog__1_DOT_png=GREY[:, :6])
    assert "dog/1.png is 6x6 pixels" in refused(path)
    found = read(path, image_size=(4, 5))
    assert found.input_shape == (1, 4, 5)
    assert found.notes == ("pictures were resized to 4x5, regardless of their proportions",)
    assert abs(found.inputs().mean() - GREY.mean() / 255) < 0.1


def test_8_and_16_bits_together_are_each_scaled_by_their_range_and_said(folder):
    found = read(folder(**two(GREY, (GREY * np.uint16(257)).astype(np.uint16))))
    np.testing.assert_allclose(found.x[0], found.x[1], atol=1e-6)
    assert "1 of 16 bits and 1 of 8 bits are mixed" in found.notes[0]


def test_pictures_are_turned_as_their_exif_data_say(folder):
    turned = Image.fromarray(GREY)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.info["exif"] = exif.tobytes()
    path = folder(cat__1_DOT_png=GREY.T.copy())
    (path / "dog").mkdir()
    turned.save(path / "dog" / "1.png", exif=exif)
    found = read(path)
    np.testing.assert_array_equal(found.x[1, 0], np.rot90(GREY, -1))
    assert found.notes == ("1 pictures were rotated as their EXIF data say",)


def test_train_and_test_folders_are_parts_not_classes(folder):
    found = read(folder(train__cat__1_DOT_png=GREY, train__dog__1_DOT_png=GREY, test__cat__1_DOT_png=GREY))
    assert found.class_names == ("cat", "dog")
    assert sorted(zip((found.parts == "train").tolist(), found.y.tolist(), strict=True)) == [
        (False, 0),
        (True, 0),
        (True, 1),
    ]


def test_train_and_test_folders_without_classes_are_refused(folder):
    assert "named as a part of the data, not as a class" in refused(folder(train__1_DOT_png=GREY, test__1_DOT_png=GREY))


def test_other_files_are_passed_over_and_counted(folder):
    path = folder(**two(GREY))
    (path / "cat" / "notes.txt").write_text("none")
    (path / "cat" / "._1.png").write_text("of the system")
    (path / ".ipynb_checkpoints").mkdir()
    assert read(path).notes == ("1 files that are not images were skipped",)


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_damaged_picture_is_named(folder, keep):
    path = folder(**two(COLOUR))
    damaged = path / "dog" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:keep])
    assert "dog/1.png cannot be read as an image" in refused(path)


def test_a_picture_of_many_frames_is_no_example(folder):
    path = folder(**two(GREY, ending="gif"))
    frames = [Image.fromarray(GREY + np.uint8(step)) for step in range(3)]
    frames[0].save(path / "dog" / "1.gif", save_all=True, append_images=frames[1:])
    assert "dog/1.gif holds 3 pictures" in refused(path)


def test_folders_without_classes_or_images(folder, tmp_path):
    assert "no such folder" in refused(tmp_path / "absent")
    (tmp_path / "set").mkdir()
    assert "sub-folder of images" in refused(tmp_path / "set")
    (tmp_path / "set" / "cat").mkdir()
    assert "this sub-folder holds no images" in refused(tmp_path / "set")
    assert "at least two classes" in refused(folder(cat__1_DOT_png=GREY))
