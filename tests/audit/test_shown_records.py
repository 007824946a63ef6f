"""The most exposed records themselves: as small pictures, or as the columns of a table."""

import base64
import io

import numpy as np
from PIL import Image

from edgepriv.audit.shown_records import NOTE, shown_records
from edgepriv.data import Dataset, fitted, load
from edgepriv.recipe import Data


def exposed(*indices):
    return {
        "rows": [{"index": index, "rank": rank, "label": 0} for rank, index in enumerate(indices, 1)],
        "note": "why",
    }


def decoded(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


def test_pictures_come_back_as_they_are():
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 12, 10), dtype=np.uint8)
    part = shown_records(Dataset("a", x, np.zeros(5, np.int64), ("cat", "dog")), exposed(3, 1))
    assert part["note"] == NOTE
    assert [(row["rank"], row["index"], row["class"]) for row in part["rows"]] == [(1, 3, "cat"), (2, 1, "cat")]
    assert np.array_equal(decoded(part["rows"][0]["image"]), x[3].transpose(1, 2, 0))


def test_large_pictures_are_made_small():
    x = np.zeros((1, 1, 300, 150), np.uint8)
    part = shown_records(Dataset("a", x, np.zeros(1, np.int64), ("cat", "dog")), exposed(0))
    assert decoded(part["rows"][0]["image"]).shape == (96, 48)


def test_numbers_are_shown_by_place():
    x = np.linspace(0, 1, 100, dtype=np.float32).reshape(2, 50)
    (row,) = shown_records(Dataset("a", x, np.zeros(2, np.int64), ("no", "yes")), exposed(1))["rows"]
    assert row["values"][0] == ["0", "0.5051"]
    assert row["values"][-1] == ["...", "10 more"]


def test_rows_of_a_table_are_shown_as_they_stand_in_it(tmp_path):
    lines = [
        f"{20 + place % 30},{1.5 + place / 100:.2f},{('cook', 'clerk')[place % 2]},{'ab'[place % 5 == 0]}"
        for place in range(60)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["age,height,job,who", *lines]) + "\n")
    dataset = load(f"csv:{tmp_path / 't.csv'}", asked=Data(label="who"))
    (row,) = shown_records(fitted(dataset, np.arange(60)), exposed(37))["rows"]
    assert row["values"] == [["age", "27"], ["height", "1.87"], ["job", "clerk"]]


def test_nobody_is_shown_where_nobody_is_singled_out():
    x = np.zeros((2, 3), np.float32)
    part = shown_records(
        Dataset("a", x, np.zeros(2, np.int64), ("no", "yes")), {"rows": [], "note": "None is beyond guessing."}
    )
    assert part == {"note": "No record is shown: None is beyond guessing.", "rows": []}
