"""Pictures through the Python kit: pixel for pixel what training's data reader makes of them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from pictures import COLOUR, DEEP, GREY, as_trained_on, saved
from PIL import Image

from edgepriv.device.command import KitError
from edgepriv.device.inputs import read_pictures
from edgepriv.device.picture import PictureError, examples, in_range, with_channels
from edgepriv.device.predict import main, open_session, predict
from edgepriv.measure.kit import write_kit


@pytest.mark.parametrize(("channels", "size"), [(1, (28, 20)), (3, (12, 12)), (3, (50, 41)), (1, (29, 37))])
def test_every_kind_of_picture_is_read_as_in_training(channels, size, tmp_path):
    files = saved(tmp_path)
    x, _ = examples(list(files.values()), (channels, *size))
    np.testing.assert_array_equal(x, as_trained_on(files, tmp_path, channels, size))


def test_the_commands_answer_is_that_of_the_same_pixels(pictured, tmp_path):
    model = pictured()
    write_kit(model)
    Image.fromarray(COLOUR).save(tmp_path / "photo.png")
    command = [sys.executable, model.parent / "device" / "predict.py", model, *[tmp_path / "photo.png"] * 2]
    ended = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == (
        "note: pictures resized to 12x12 regardless of their proportions, as --image-size does in training: 2 of 2\n"
    )
    first, second = (row["probabilities"] for row in json.loads(ended.stdout)["predictions"])
    x = as_trained_on({"photo": tmp_path / "photo.png"}, tmp_path, 3, (12, 12))
    np.testing.assert_allclose(first, predict(open_session(model), x)[0], atol=1e-6)
    assert first == second


def test_a_model_of_bytes_gets_bytes(pictured, tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "photo.png")
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    session = open_session(pictured(takes="uint8"))
    assert read_pictures(session, [tmp_path / "photo.png"])[0].dtype == np.uint8
    with pytest.raises(KitError, match="more than 8 bits, but the model takes bytes"):
        read_pictures(session, [tmp_path / "deep.png"])


def test_what_was_done_is_said(tmp_path):
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "ink.jpg")
    files = [*saved(tmp_path).values(), tmp_path / "ink.jpg"]
    _, notes = examples(files, (1, 29, 37))
    assert "pictures rotated as their EXIF data say: 8 of 30" in notes
    assert "pictures of colour with 16 bits for each channel, of which the upper 8 are read: 1 of 30" in notes
    assert "pictures converted from CMYK to RGB, ignoring any colour profile: 1 of 30" in notes
    assert "pictures turned from colour to grey: 23 of 30" in notes
    _, notes = examples([files[0]], (3, *COLOUR.shape[:2]))
    assert notes == []


def test_the_range_of_few_bits_is_asked_for_and_used(pictured, tmp_path):
    dark = (GREY.astype(np.uint16) << 4) + 15
    Image.fromarray(dark).save(tmp_path / "dark.png")
    with pytest.raises(PictureError, match="--input-range 0:4095 or --input-range 0:65535"):
        examples([tmp_path / "dark.png"], (1, *GREY.shape))
    x, _ = examples([tmp_path / "dark.png"], (1, *GREY.shape), (0, 4095))
    np.testing.assert_allclose(x[0, 0], dark / 4095, atol=1e-7)
    with pytest.raises(PictureError, match="not in \\[0, 1000\\]"):
        in_range(dark[None], (0, 1000), "dark.png")
    model = pictured()
    write_kit(model, picture_range=(0, 4095))
    command = [sys.executable, model.parent / "device" / "predict.py", model, tmp_path / "dark.png", "--json"]
    known = subprocess.run(command, capture_output=True, text=True)
    assert known.returncode == 0, known.stderr
    assert known.stdout == subprocess.run([*command, "--input-range", "0:4095"], capture_output=True, text=True).stdout
    other = subprocess.run([*command, "--input-range", "0:65535"], capture_output=True, text=True)
    assert json.loads(other.stdout) != json.loads(known.stdout)


def test_shades_half_way_are_rounded_to_even():
    halves = np.array([[[0]], [[2]], [[114 - 111]]], np.uint8)  # (2 * 587 + 3 * 114) / 1000 = 1.516
    assert with_channels(halves, 1, "").item() == 2
    even = np.array([[[5]], [[0]], [[35]]], np.uint8)  # 5.485
    assert with_channels(even, 1, "").item() == 5
    half = np.array([[[250]], [[250]], [[50]]], np.uint8)  # 227.2
    assert with_channels(half, 1, "").item() == 227


def test_what_cannot_be_used_is_one_sentence(pictured, model, tmp_path, monkeypatch):
    takes = pictured()
    clear = np.concatenate([COLOUR, np.full((*GREY.shape, 1), 254, np.uint8)], axis=2)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(COLOUR).save(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(saved(tmp_path)["sampled-0.jpg"].read_bytes()[:900])
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 12, 12), np.float32))
    for arguments, reason in [
        ((takes, tmp_path / "clear.png"), "transparent pixels"),
        ((takes, tmp_path / "text.png"), "cannot be read as an image"),
        ((takes, tmp_path / "cut.jpg"), "cannot be read as an image"),
        ((takes, tmp_path / "absent.png"), "no such file"),
        ((takes, tmp_path / "photo.png", tmp_path / "x.npy"), "pictures alone"),
        ((takes, tmp_path / "photo.png", "--input-range", "9"), "--input-range 9"),
        ((model, tmp_path / "photo.png"), "is a picture, but the model takes examples of shape [3]"),
    ]:
        monkeypatch.setattr("sys.argv", ["predict.py", *map(str, arguments)])
        with pytest.raises(KitError) as error:
            main()
        assert reason in str(error.value)
        assert "\n" not in str(error.value)
