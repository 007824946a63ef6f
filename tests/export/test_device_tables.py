"""The kit on the rows of a table: Python and JavaScript make the inputs that training made, number for number."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from edgepriv.device.table import KIND, TableError, date_of, encoded, number_of, read_rows
from edgepriv.measure.kit import write_kit

COLUMNS = [
    {"name": "age", "kind": "integer", "low": 17, "high": 90, "fill": 38, "missing": True},
    {"name": "job, now", "kind": "category", "categories": ["cook", "né"], "missing": False, "other": True},
    {"name": "sex", "kind": "category", "categories": ["F", "M"], "missing": True, "other": False},
    {"name": "won", "kind": "boolean", "words": ["no", "yes"], "low": 0, "high": 1, "fill": 0.3, "missing": False},
    {"name": "day", "kind": "date", "order": "DMY", "low": 14600, "high": 18262, "fill": 16000, "missing": False},
    {"name": "pay", "kind": "number", "low": 0.1, "high": 977.3, "fill": 31.7, "missing": False},
]
RECORD = {
    "version": 1,
    "columns": [column | {"place": place} for place, column in enumerate(COLUMNS)],
    "decimal": ",",
    "thousands": ".",
    "missing": ["", "?", "na"],
    "titled": True,
    "width": 7,
    "label": "who",
    "label_place": 6,
}
TABLES = {
    "as trained": 'age;"job, now";sex;won;day;pay;who\n'
    "39;cook;F;yes;29.02.2012;1.234,5;a\n\n17;né;M;NO;01.01.1911 23:59;,7;b\n",
    "other order, commas": 'pay,won,"job, now",age,day,sex\n'
    '"12,25",no,"ro""bot\n2","1.007","31/12/2016",x\n3,yes,cook,NA,1.2.2015,\n',
    "tabs, no values": "day\tage\tsex\twon\tpay\tjob, now\textra\n?\t?\t?\t?\t?\t?\t1\n",
    "line ends in cells": 'age;"job, now";sex;won;day;pay;"in\nall"\n39;c\u2028k;F;yes;01.02.2012 10:30:15.25+02:00;1;2\n',
    "another separator, declared": "sep=:\nage:job, now:sex:won:day:pay\n39:cook:F:yes:01.02.2012:1\n",
    "accents apart": "age;job, now;sex;won;day;pay\n39;ne\u0301;F;yes;01.02.2012T10:30-01:30;1\n",
    "windows lines": "age;job, now;sex;won;day;pay\r\n 39 ; cook;F;yes;01.03.2012;1e2\r\n",
}


@pytest.fixture
def model(tmp_path):
    """A model.onnx of the record's inputs, p(b) rising with the age, and its kit."""
    graph = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> small (float[N, 11] input) => (float[N, 2] probabilities)'
        "<float[11, 2] w = {0, 3, 0, 1, 0, 0, 0, 0, 0, -1, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 1}>"
        "{ l = MatMul(input, w) probabilities = Softmax <axis = 1> (l) }"
    )
    told = {"edgepriv_version": "0", "class_names": '["a", "b"]', KIND: json.dumps(RECORD)}
    onnx.helper.set_model_props(graph, told)
    path = tmp_path / "model.onnx"
    onnx.save(graph, path)
    write_kit(path)
    return path


@pytest.fixture
def predicted(model, tmp_path):
    """Run the kit's predict.py on a table."""

    def run(text, *options):
        (tmp_path / "rows.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        command = [sys.executable, str(tmp_path / "device" / "predict.py"), str(model), str(tmp_path / "rows.csv")]
        return subprocess.run([*command, *options], capture_output=True, text=True)

    return run


def inputs(text):
    return encoded(RECORD, *read_rows(text, RECORD))


def test_rows_are_read_by_the_names_of_their_columns():
    x, notes = inputs(TABLES["as trained"])
    np.testing.assert_array_equal(x[0], np.float32([22 / 73, 0, 1, 0, 0, 1, 0, 0, 1, (15399 - 14600) / 3662, 1]))
    assert x[1, [2, 3, 4, 7, 8, 9]].tolist() == [0, 1, 0, 0, 0, 0]
    assert notes == [
        "column 'day': values beyond those of the members count as the nearest of these (1 of 2 rows)",
        "column 'pay': values beyond 0.1 to 977.3 count as the nearest of these (1 of 2 rows)",
    ]


def test_what_training_did_not_know_is_defined_and_said():
    x, notes = inputs(TABLES["tabs, no values"])
    fill = np.float32([21 / 73, 1, 0, 0, 1, 0, 0, 1, 0.3, 1400 / 3662, (31.7 - 0.1) / (977.3 - 0.1)])
    np.testing.assert_array_equal(x[0], fill)
    assert "column 'job, now': cells without a value count as 'other' (1 of 1 rows)" in notes
    _, notes = inputs("age;job, now;sex;won;day;pay\n39;astronaut;D;yes;01.01.2015;1\n")
    assert notes == ["column 'job, now': 'astronaut' count as 'other' (1 of 1 rows)",
                     "column 'sex': 'D' set none of the column's inputs (1 of 1 rows)"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("age;job, now;won;day\n1;cook;no;01.01.2015\n", "the first line has no column 'sex', 'pay'"),
        ("39;cook;F;yes;01.01.2015;1\n", "the first line has no column 'age', 'job, now', 'sex', 'won' and 2 more"),
        ("age;age;job, now;sex;won;day;pay\n", "2 columns are called 'age'"),
        ("age;job, now;sex;won;day;pay\n39;cook;F;yes;01.01.2015\n", "line 2 has 5 cells, the first 6"),
        (
            "age;job, now;sex;won;day;pay\nold;cook;F;yes;01.01.2015;1\n",
            "line 2, column 'age' holds 'old', which is no number",
        ),
        ("age;job, now;sex;won;day;pay\n3;cook;F;maybe;01.01.2015;1\n", "holds 'maybe', which is no no or yes"),
        ("age;job, now;sex;won;day;pay\n3;cook;F;no;30.02.2015;1\n", "'30.02.2015', which is no date (day.month.year)"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text, sentence):
    with pytest.raises(TableError) as error:
        inputs(text)
    assert sentence in str(error.value)


def test_predict_takes_raw_rows(predicted):
    ended = predicted(TABLES["as trained"], "--json")
    assert ended.returncode == 0, ended.stderr
    assert "note: column 'pay': values beyond 0.1 to 977.3" in ended.stderr
    first = json.loads(ended.stdout)["predictions"][0]
    x = inputs(TABLES["as trained"])[0][0]
    weights = np.array([3, 1, 0, 0, -1, 0, 1, 2, 0, 0, 1])
    assert first["probabilities"][1] == pytest.approx(1 / (1 + np.exp(-x @ weights)), abs=1e-6)
    ended = predicted("a,b\n1,2\n")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "rows.csv: the first line has no column 'age'" in ended.stderr


def test_javascript_makes_the_same_inputs(model, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    script = tmp_path / "try.mjs"
    script.write_text(
        'import { encoded, readRows, tableOf, widthOf } from "./device/js/table.mjs";\n'
        'import { metadataOf } from "./device/js/classifier.mjs";\n'
        'import { readFileSync } from "node:fs";\n'
        'const table = tableOf(metadataOf(readFileSync("model.onnx")));\n'
        "const tried = JSON.parse(process.argv[2]).map((text) => {\n"
        "  try { const { values, shape, notes } = encoded(table, readRows(text, table));\n"
        "    return { values: Array.from(values), shape, notes }; }\n"
        "  catch (error) { return error.message; }\n"
        "});\n"
        "console.log(JSON.stringify({ width: widthOf(table), tried }));\n"
    )
    bad = ["age;x\n1;2\n", "age;job, now;sex;won;day;pay\n3;cook;F;no;31.04.2015;1\n"]
    texts = [*TABLES.values(), *bad]
    ended = subprocess.run(["node", script, json.dumps(texts)], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["width"] == 11
    for text, theirs in zip(TABLES.values(), found["tried"], strict=False):
        x, notes = inputs(text)
        np.testing.assert_array_equal(np.float32(theirs["values"]).reshape(theirs["shape"]), x)
        assert len(theirs["notes"]) == len(notes)
    for text, theirs in zip(bad, found["tried"][len(TABLES) :], strict=True):
        with pytest.raises(TableError) as error:
            inputs(text)
        assert theirs == str(error.value)


@pytest.mark.parametrize(
    ("cell", "writing", "number"),
    [("1e3", (".", ""), 1000), ("1,5", (",", ""), 1.5), ("1.5", (",", ""), None), ("1_0", (".", ""), None),
     ("1,234.5", (".", ","), 1234.5), ("1 234", (".", " "), 1234), ("12,34", (".", ","), None), ("nan", (".", ""), None),
     ("1e999", (".", ""), None)],
)  # fmt: skip
def test_numbers_as_people_write_them(cell, writing, number):
    assert number_of(cell, *writing) == number


def test_dates_are_days_since_1970():
    assert date_of("1970-01-02T12:00:00Z", "YMD") == 1.5
    assert date_of("02/01/1970", "DMY") == 1
    assert date_of("02/13/1970", "DMY") is None
    assert date_of("70-01-02", "YMD") is None
    assert date_of("1970-01-02 12:00:13.5", "YMD") == 1 + 43213.5 / 86400
    assert date_of("1970-01-02T01:30:00+01:30", "YMD") == 1
    assert date_of("1970-01-01 22:30-0130", "YMD") == 1
