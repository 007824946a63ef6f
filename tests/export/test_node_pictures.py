"""Pictures and rows of a table through the kit for Node: pixel for pixel, and answer for answer, what Python makes of them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from pictures import COLOUR, DEEP, GREY, as_trained_on, saved
from PIL import Image

from edgepriv.measure.kit import write_kit

SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { examples } from "./device/js/picture.mjs";
import { decodeJpeg } from "./device/node/kit.mjs";

for (const { row, out, files } of JSON.parse(readFileSync(0, "utf8"))) {
  const named = files.map((name) => ({ name, bytes: readFileSync(name) }));
  const { values } = await examples(named, row, decodeJpeg);
  writeFileSync(out, values instanceof Float32Array ? values : Float32Array.from(values, (byte) => byte / 255));
}
"""
SIZES = [(1, 28, 20), (3, 12, 12), (3, 50, 41), (1, 29, 37)]


@pytest.fixture
def kit(pictured, onnxruntime_node):
    """Its model, beside which the kit stands with its packages."""
    model = pictured()
    write_kit(model)
    (model.parent / "device" / "node" / "node_modules").symlink_to(onnxruntime_node)
    return model


def node(model, command, *arguments):
    script = model.parent / "device" / "node" / f"{command}.mjs"
    return subprocess.run(["node", script, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_every_kind_of_picture_is_read_as_in_training(kit, tmp_path):
    files = saved(tmp_path)
    asked = [{"row": row, "out": f"{at}.bin", "files": list(map(str, files.values()))} for at, row in enumerate(SIZES)]
    (tmp_path / "try.mjs").write_text(SCRIPT)
    command = ["node", "try.mjs"]
    ended = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert ended.returncode == 0, ended.stderr
    for at, (channels, *size) in enumerate(SIZES):
        x = np.fromfile(tmp_path / f"{at}.bin", np.float32).reshape(len(files), channels, *size)
        expected = as_trained_on(files, tmp_path / f"set-{at}", channels, tuple(size))
        for name, ours, theirs in zip(files, expected, x, strict=True):
            np.testing.assert_array_equal(theirs, ours, err_msg=name)


def test_the_commands_agree_with_python(kit, tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "photo.jpg")
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    ended = node(kit, "predict", kit, tmp_path / "photo.jpg", tmp_path / "deep.png", "--json")
    command = [sys.executable, kit.parent / "device" / "predict.py", kit, tmp_path / "photo.jpg", tmp_path / "deep.png"]
    ours = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert (ended.returncode, ours.returncode) == (0, 0), ended.stderr + ours.stderr
    assert sorted(ended.stderr.splitlines()) == sorted(ours.stderr.splitlines())
    scores = [[row["probabilities"] for row in json.loads(each.stdout)["predictions"]] for each in (ended, ours)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_what_cannot_be_used_is_one_sentence(kit, tmp_path):
    files = saved(tmp_path)
    Image.fromarray(np.concatenate([COLOUR, np.full((*GREY.shape, 1), 9, np.uint8)], axis=2)).save(
        tmp_path / "clear.png"
    )
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "ink.jpg")
    Image.fromarray((GREY.astype(np.uint16) << 4) + 15).save(tmp_path / "dark.png")
    (tmp_path / "cut.jpg").write_bytes(files["sampled-0.jpg"].read_bytes()[:-200])
    (tmp_path / "torn.jpg").write_bytes(files["sampled-0.jpg"].read_bytes()[:100])
    (tmp_path / "cut.png").write_bytes(files["colour.png"].read_bytes()[:-20])
    damaged = bytearray(files["colour.png"].read_bytes())
    damaged[200] ^= 1
    (tmp_path / "damaged.png").write_bytes(damaged)
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in [
        ("clear.png", "transparent pixels"),
        ("ink.jpg", "CMYK"),
        ("dark.png", "--input-range 0:4095 or --input-range 0:65535"),
        ("cut.jpg", "cut short"),
        ("torn.jpg", "torn.jpg cannot be used: it is damaged or cut short"),
        ("cut.png", "cut short"),
        ("damaged.png", "chunk IDAT is damaged"),
        ("text.png", "neither a JPEG nor a PNG"),
        ("absent.png", "no such file"),
    ]:
        ended = node(kit, "predict", kit, tmp_path / name)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), (name, ended)
        assert ended.stderr.startswith("error: ")
        assert reason in ended.stderr
    assert node(kit, "predict", kit, tmp_path / "dark.png", "--input-range", "0:4095").returncode == 0


def test_raw_rows_of_a_table_are_answered_as_in_python(titanic, onnxruntime_node, tmp_path):
    (titanic.parent / "device" / "node" / "node_modules").symlink_to(onnxruntime_node)
    (tmp_path / "rows.csv").write_text("sex,age\nF,39\nM,12\n")
    ended = node(titanic, "predict", titanic, tmp_path / "rows.csv", "--json")
    command = [sys.executable, titanic.parent / "device" / "predict.py", titanic, tmp_path / "rows.csv", "--json"]
    ours = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ours.returncode) == (0, 0), ended.stderr + ours.stderr
    scores = [[row["probabilities"] for row in json.loads(each.stdout)["predictions"]] for each in (ended, ours)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
    assert ended.stderr == ours.stderr
    assert "values beyond 17 to 90" in ended.stderr
