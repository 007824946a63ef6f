"""Tables as they are: what is detected of their columns, what members tell of them, and what rows become."""

import json

import numpy as np
import pytest

from edgepriv.data import TableEncoding, fitted, from_member_files, load
from edgepriv.data.encoding import RARE
from edgepriv.device.table import encoded, read_rows
from edgepriv.errors import UserError
from edgepriv.recipe import Data

HEADER = "age;height;job;smokes;joined;sex;who\n"


def rows(count=60):
    """Rows of which all is known: ages 20 to 49, one in six without a height, three jobs of which one is rare."""
    lines = []
    for i in range(count):
        job = "pilot" if i % 30 == 7 else ("cook", "clerk")[i % 2]
        height = "?" if i % 6 == 0 else f"1,{50 + i % 40}"
        date = f"{1 + i % 28:02d}.0{1 + i % 9}.20{10 + i % 10}"
        lines.append(
            f"{20 + i % 30};{height};{job};{('ja', 'nein')[i % 3 == 0]};{date};{'mf'[i % 2]};{'ab'[i % 5 == 0]}"
        )
    return HEADER + "\n".join(lines) + "\n"


def many(form):
    """Rows of two columns, the first in 28 forms, the second the label."""
    return "".join(f"{form.format(1 + i % 28, 1 + i % 12)},{'ab'[i % 2]}\n" for i in range(84))


@pytest.fixture
def table(tmp_path):
    def read(text, encoding=None, **asked):
        (tmp_path / "t.csv").write_text(text)
        return load(f"csv:{tmp_path / 't.csv'}", asked=Data(**asked), encoding=encoding)

    return read


@pytest.fixture
def learnt(table):
    def read(text, members=None, **asked):
        dataset = table(text, **{"label": "who"} | asked)
        return fitted(dataset, np.arange(len(dataset)) if members is None else np.asarray(members))

    return read


@pytest.fixture
def refused(learnt):
    def read(text, **asked):
        with pytest.raises(UserError) as error:
            learnt(text, **asked)
        assert "\n" not in str(error.value)
        return str(error.value)

    return read


def columns_of(dataset):
    return {column["name"]: column for column in dataset.encoding.record["columns"]}


def test_each_column_is_read_as_what_it_holds(learnt):
    found = learnt(rows())
    kinds = {name: column["kind"] for name, column in columns_of(found).items()}
    assert kinds == {
        "age": "integer",
        "height": "number",
        "job": "category",
        "smokes": "boolean",
        "joined": "date",
        "sex": "category",
    }
    assert columns_of(found)["joined"]["order"] == "DMY"
    assert found.encoding.feature_names == (
        *("age", "height", "height missing", "job = clerk", "job = cook"),
        *("smokes", "joined", "sex = f", "sex = m"),
    )
    assert "numbers have decimal commas" in found.notes
    assert "columns are separated by semicolons" in found.notes
    assert any(note.startswith("6 columns became 9 inputs, by the members alone: ") for note in found.notes)


def test_rows_become_shares_of_the_range_of_members_and_ones(learnt):
    found = learnt(rows())
    first = dict(zip(found.encoding.feature_names, found.x[7], strict=True))
    assert first["age"] == np.float32(7 / 29)
    assert first["smokes"] == 1 - ("ja", "nein").index("ja")
    assert (first["job = clerk"], first["job = cook"]) == (0, 0)  # a pilot, of whom there are too few
    missing = dict(zip(found.encoding.feature_names, found.x[6], strict=True))
    height = columns_of(found)["height"]
    assert missing["height missing"] == 1
    assert missing["height"] == np.float32((height["fill"] - height["low"]) / (height["high"] - height["low"]))
    assert found.x.dtype == np.float32
    assert found.x.min() >= 0
    assert found.x.max() <= 1


def test_nothing_of_others_than_members_is_learnt(learnt):
    lines = rows(120).splitlines()
    changed = "\n".join([*lines[:61], *("99;9,99;astronaut;ja;01.01.1999;m;a" for _ in range(60))]) + "\n"
    members = np.arange(60)
    one, other = learnt("\n".join(lines) + "\n", members), learnt(changed, members)
    assert one.encoding == other.encoding
    np.testing.assert_array_equal(one.x[:60], other.x[:60])


def test_what_few_members_share_is_not_in_the_record(learnt):
    text = "job,pay,who\n" + "".join(
        f"{'king' if i < RARE - 1 else 'cook' if i % 2 else 'clerk'},{1000 + (i if i else 99000)},{'ab'[i % 2]}\n"
        for i in range(400)
    )
    found = learnt(text, keep=("pay",))
    record = json.dumps(found.encoding.record)
    assert "king" not in record
    assert "100000" not in record
    assert columns_of(found)["pay"]["high"] < 1400
    assert any("'king' set none of the column's inputs (9 of 400 rows)" in note for note in found.notes)


def test_rare_categories_are_pooled_once_there_are_enough_of_them(learnt):
    text = "job,who\n" + "".join(f"{('cook', 'clerk', f'job {i // 4}')[i % 3]},{'ab'[i % 2]}\n" for i in range(90))
    job = columns_of(learnt(text))["job"]
    assert (job["categories"], job["other"]) == (["clerk", "cook"], True)


def test_the_kit_reads_rows_as_training_did(learnt):
    found = learnt(rows())
    swapped = "\n".join(";".join(line.split(";")[::-1]) for line in rows().splitlines())
    for text in (rows(), swapped, "sep=;\n" + rows(), rows().replace(";", "\t")):
        x, _ = encoded(found.encoding.record, *read_rows(text, found.encoding.record))
        np.testing.assert_array_equal(x, found.x)


def test_a_known_encoding_is_used_and_not_learnt_again(learnt, table):
    found = learnt(rows())
    again = table(rows(24), TableEncoding(json.loads(json.dumps(found.encoding.record))))
    np.testing.assert_array_equal(again.x, found.x[:24])
    with pytest.raises(UserError, match="has no column 'age', which the model was trained on"):
        table(rows().replace("age", "Age"), found.encoding)


def test_members_and_others_in_two_files_are_read_by_the_members(tmp_path):
    lines = rows(120).splitlines()
    (tmp_path / "a.csv").write_text("\n".join(lines[:81]))
    (tmp_path / "b.csv").write_text("\n".join([lines[0], *(line.replace("cook", "chef") for line in lines[81:])]))
    both = from_member_files(tmp_path / "a.csv", tmp_path / "b.csv", asked=Data(label="who", drop=("joined",)))
    assert both.known_members == 80
    assert "chef" not in json.dumps(both.encoding.record)
    assert any("b.csv: column 'job': 'chef'" in note for note in both.notes)


@pytest.mark.parametrize("scale", [1, 100])
def test_columns_of_two_tables_are_one_by_their_names_in_whatever_order(tmp_path, scale):
    """Numbers in [0, 1], which are taken as they are, and others."""
    one, other = np.random.default_rng(0).random((2, 40, 2)).round(4) * scale
    numbers = {"a.csv": ("u,v,who", one), "b.csv": ("v,u,who", other[:, ::-1])}
    for name, (titles, values) in numbers.items():
        lines = [f"{first},{second},{k % 2}" for k, (first, second) in enumerate(values.tolist())]
        (tmp_path / name).write_text("\n".join([titles, *lines]))
    both = from_member_files(tmp_path / "a.csv", tmp_path / "b.csv", asked=Data(label="who", range=(0, scale)))
    np.testing.assert_allclose(both.x * scale, np.concatenate([one, other]), rtol=1e-6)
    assert "b.csv has its columns in another order than a.csv: they are read by their names" in both.notes
    (tmp_path / "b.csv").write_text((tmp_path / "b.csv").read_text().replace("v,u,who", "w,u,who"))
    with pytest.raises(UserError, match=r"must have the same columns: .*b.csv has no column 'v'"):
        from_member_files(tmp_path / "a.csv", tmp_path / "b.csv", asked=Data(label="who", range=(0, scale)))


def test_identifiers_are_refused_until_somebody_says_what_they_are(refused, learnt):
    text = "customer_id,name,age,who\n" + "".join(
        f"{7919 * i % 10007},n{i},{20 + i % 30},{'ab'[i % 2]}\n" for i in range(50)
    )
    said = refused(text)
    assert "column 'customer_id' has a whole number of its own in each row, as an identifier has" in said
    assert "--drop customer_id, or take it for a measurement with --keep customer_id" in said
    assert "column 'name' has 50 different values in 50 rows" in refused(text, drop=("customer_id",))
    assert learnt(text, drop=("customer_id", "name")).encoding.titles == ("age",)
    assert learnt(text, drop=("name",), keep=("customer_id",)).encoding.titles == ("customer_id", "age")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "day,who\n" + "01/02/2020,a\n03/04/2021,b\n" * 20,
            "may have the day or the month first: say which with --date-order",
        ),
        ("age,who\n" + "30,a\n40,b\n" * 20 + "old,a\n", "line 42, column 'age' holds 'old' among numbers: correct it"),
        ("age,who\n" + "30,a\n40,b\n" * 20 + "inf,a\n", "column 'age' holds 'inf' among numbers"),
        ("pay;who\n" + "1.234;a\n5.678;b\n" * 20, "'1.234' may be 1.234 or 1234: say which with --decimal"),
        ("age,who\n" + "30,a\n30,b\n" * 20, "no column of it differs among enough members"),
        ("age,age,who\n" + "30,1,a\n40,2,b\n" * 20, "several columns are called 'age'"),
        ("pay,who\n" + "1e999,a\n40,b\n" * 20, "column 'pay' holds '1e999' (and 19 cells more) among numbers"),
        (
            "pay;fee;who\n" + "1.25;3,7;a\n2.75;3;b\n" * 20,
            "column 'fee' holds numbers such as '3,7', written in another way",
        ),
        ("pay;fee;who\n" + "1.25;3,7;a\n2.75;3,8;b\n" * 20, "written in several ways, such as '1.25' and '3,7'"),
        ("day,who\n" + "2020-01-31,a\n31.01.2021,b\n" * 20, "in several orders, such as '2020-01-31' and '31.01.2021'"),
        ("day,who\n" + many("{:02d} Jan 2020"), "dates or times in a form that is not read, such as '01 Jan 2020'"),
        ("day,who\n" + many("{:02d}.{:02d}.15"), "dates or times in a form that is not read"),
        ("day,who\n" + many("10:{:02d}"), "dates or times in a form that is not read"),
        ("day,who\n" + many("202001{:02d}"), "whole numbers that are dates, such as 20200101"),
        ("share,who\n" + many("{}%"), "numbers with a sign or a unit, such as '1%'"),
        ("dose,who\n" + many("{}.5 mg"), "numbers with a sign or a unit, such as '1.5 mg'"),
        ("won,who\n" + "yes,a\nFALSE,b\n1,a\n" * 20, "says yes and no in several ways ('1', 'FALSE', 'yes')"),
        (
            "mrn,who\n" + many("10{:02d}"),
            "column 'mrn' has 28 different values in 84 rows, and may say whose record each is",
        ),
        (
            "user_id,who\n" + many("u{1}"),
            "name it with --groups user_id, else leave it out with --drop user_id",
        ),
        ("studyID,who\n" + many("s{}"), "or make it a feature with --keep studyID"),
        ("tag,who\n" + "".join(f"{10**19 + i},{'ab'[i % 2]}\n" for i in range(200)), "as an identifier has"),
    ],
)
def test_what_may_be_meant_in_two_ways_is_asked_for(refused, text, sentence):
    assert sentence in refused(text)


def test_numbers_dates_and_codes_in_other_writings(learnt):
    text = "pay;day;zip;won;who\n" + "".join(
        f"{i % 9 + 1}.{i % 7}00,5;2020-0{1 + i % 9}-01 12:00;0{1000 + i % 3};{'yN'[i % 2]};{'ab'[i % 2]}\n"
        for i in range(60)
    )
    found = learnt(text)
    kinds = {name: column["kind"] for name, column in columns_of(found).items()}
    assert kinds == {"pay": "number", "day": "date", "zip": "category", "won": "boolean"}
    assert columns_of(found)["pay"]["high"] == 9510
    assert "points stand between thousands" in found.notes


def test_a_column_of_one_value_and_blanks_tells_who_has_it(learnt):
    """A ticked box, a date that is there or not: what differs is whether there is a value."""
    text = "ticked,code,day,job,who\n" + "".join(
        f"{('yes', '')[i % 2]},{('7', '')[i % 3 == 0]},{('2020-01-03', '')[i % 2]},{('x', '')[i % 3 == 0]},{'ab'[i % 2]}\n"
        for i in range(90)
    )
    found = learnt(text)
    rows_seen = dict(zip(found.encoding.feature_names, found.x.T, strict=True))
    for title, blank in (("ticked", 2), ("code", 3), ("day", 2), ("job", 3)):
        np.testing.assert_array_equal(rows_seen[f"{title} missing"], np.arange(90) % blank == (1 if blank == 2 else 0))
    assert all(std > 0 for std in found.encoding.normalisation["std"])


def test_what_is_left_out_is_left_out_for_the_reason_that_is_said(learnt):
    text = "same,ward,age,rare,who\n" + "".join(
        f"{'x' if i else 'y'},ward {i // 3},{20 + i % 30},{('no', 'yes')[i == 0]},{'ab'[i % 2]}\n" for i in range(120)
    )
    found = learnt(text)
    assert found.encoding.titles == ("age",)  # a yes of one member alone would be a record of that member
    assert "left out, since all members, or all but a few, have the same there: 'same', 'rare'" in found.notes
    assert "left out, since too few members share any value there: 'ward'" in found.notes


def test_large_whole_numbers_keep_all_their_digits(learnt):
    text = "code,who\n" + "".join(f"{9007199254740000 + i % 50},{'ab'[i % 2]}\n" for i in range(200))
    found = learnt(text)
    column = columns_of(found)["code"]
    assert (column["low"], column["high"]) == (9007199254740000, 9007199254740049)
    np.testing.assert_array_equal(found.x[10, 0], np.float32(10 / 49))


def test_letters_with_accents_are_one_however_they_are_stored(learnt):
    words = ("groß", "caf\u00e9", "cafe\u0301")
    text = "größe,who\n" + "".join(f"{words[i % 3]},{'ab'[i % 2]}\n" for i in range(60))
    found = learnt(text)
    assert columns_of(found)["größe"]["categories"] == ["caf\u00e9", "groß"]
    x, notes = encoded(found.encoding.record, *read_rows(text, found.encoding.record))
    assert not notes
    np.testing.assert_array_equal(x, found.x)


def test_a_table_without_titles_is_read_by_position(learnt):
    text = "".join(f"{'ab'[i % 2]},{30 + i % 20},{('red', 'blue')[i % 3 == 0]}\n" for i in range(60))
    found = learnt(text, label="0")
    record = found.encoding.record
    for given in (text, text.replace("a,", "").replace("b,", "")):
        np.testing.assert_array_equal(encoded(record, *read_rows(given, record))[0], found.x)


def test_what_moves_what_is_whole_and_what_is_missing_is_known_of_each_input(learnt):
    encoding = learnt(rows()).encoding
    names = encoding.feature_names
    assert [names[place] for place in np.flatnonzero(encoding.measured)] == ["age", "height", "joined"]
    assert dict(zip(names, encoding.levels.tolist(), strict=True))["age"] == 29
    assert [names[place] for place in encoding.missing if place >= 0] == ["height missing"]
    assert set(encoding.fixed) == set(np.flatnonzero(~encoding.measured).tolist())
