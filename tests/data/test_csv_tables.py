"""Tables of text: separators, titles, the label column, and what is said of the ones that cannot be understood."""

import numpy as np
import pytest

from edgepriv.data import load
from edgepriv.errors import UserError
from edgepriv.recipe import Data


@pytest.fixture
def table(tmp_path):
    def read(text, encoding="utf-8", **asked):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        return load(f"csv:{tmp_path / 't.csv'}", asked=Data(**asked))

    return read


@pytest.fixture
def refused(table):
    def read(text, encoding="utf-8", **asked):
        with pytest.raises(UserError) as error:
            table(text, encoding, **asked)
        assert "\n" not in str(error.value)
        return str(error.value)

    return read


def test_the_label_column_is_found_by_its_title_and_said(table):
    found = table("width, Label ,height\n0.5,cat,1\n\n0.25,dog,0\n0,cat,0\n")
    assert found.x.tolist() == [[0.5, 1.0], [0.25, 0.0], [0.0, 0.0]]
    assert found.y.tolist() == [0, 1, 0]
    assert found.class_names == ("cat", "dog")
    assert found.notes == ("2 features, label column 'Label'",)


def test_the_one_column_of_words_is_the_label(table):
    found = table("length,width,species\n0.1,0.2,setosa\n0.3,0.4,virginica\n0.2,0.2,setosa\n")
    assert found.class_names == ("setosa", "virginica")


@pytest.mark.parametrize("separator", [";", "\t", "|", " "])
def test_separators_are_detected_and_said(table, separator):
    found = table("a,b,label\n0.1,0.2,0\n0.3,0.4,1\n".replace(",", separator))
    assert found.x.shape == (2, 2)
    assert "columns are separated by" in found.notes[1]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("sep=;\r\na;b;label\r\n0.1;0.2;x\r\n0.3;0.4;y\r\n", "utf-8-sig"),
        ("a\tb\tlabel\n0.1\t0.2\tx\n0.3\t0.4\ty\n", "utf-16"),
        ("a,b,label,\n0.1,0.2,x,\n0.3,0.4,y,\n", "utf-8"),
    ],
)
def test_what_spreadsheets_write_around_a_table(table, text, encoding):
    found = table(text, encoding)
    np.testing.assert_allclose(found.x, [[0.1, 0.2], [0.3, 0.4]])
    assert found.class_names == ("x", "y")


def test_names_that_differ_in_case_alone_are_classes_and_that_is_said(table):
    found = table("a,label\n0.1,Cat\n0.2,cat\n0.3,dog\n")
    assert found.class_names == ("Cat", "cat", "dog")
    assert "'Cat' and 'cat' differ in upper and lower case alone" in found.notes[-1]


def test_quoted_cells_may_hold_the_separator(table):
    found = table('"a","b, scaled","label"\n"0.1","0.2","yes, 1"\n"0.3","0.4","no"\n', "utf-8-sig")
    assert found.class_names == ("no", "yes, 1")


def test_decimal_commas(table, refused):
    found = table("a;b;label\n0,5;0,25;x\n1;0,75;y\n")
    assert found.x.tolist() == [[0.5, 0.25], [1.0, 0.75]]
    assert "numbers have decimal commas" in found.notes
    assert table("a;label\n0,5;1,0\n0,25;2\n0,5;1\n").class_names == ("1", "2")
    assert "'1,000' may be 1 or 1000: say which with --decimal ',' or --decimal '.'" in refused(
        "a;label\n1,000;x\n2,000;y\n", range=(0, 9000)
    )
    told = table("a;label\n1,000;x\n2,000;y\n", range=(0, 4000), decimal=".")
    np.testing.assert_allclose(told.x, [[0.25], [0.5]])


def test_one_number_in_two_writings_is_one_class(table):
    assert table("a,label\n0,0\n1,0.0\n1,1\n").class_names == ("0", "1")


def test_a_column_of_row_numbers_is_left_out_and_said(table):
    for title in ("", "Unnamed: 0", "id"):
        found = table(f"{title},a,label\n7,0,x\n8,1,y\n9,1,y\n")
        assert found.x.tolist() == [[0], [1], [1]]
        assert any("numbers the rows and is left out" in sentence for sentence in found.notes)


def test_a_coordinate_called_y_is_no_label_beside_one(table):
    rows = "".join(f"{i / 99},{(7 * i % 99) / 99},{i % 2}\n" for i in range(99))
    assert table("x,y,label\n" + rows).input_shape == (2,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "class,target,a\n0,1,0.5\n1,0,0.5\n",
            "may be column 'class' or 'target': say which column it is with --label",
        ),
        ("x,y\n0.5,0\n0.25,1\n", "may be column 'y'"),
        ("a,class\n0.5,0\n0.25,0.5\n", "may be column 'class'"),
        ("a,b\n0,10\n1,9\n0,-1\n", "which column is the label? Say so with --label (columns: 'a', 'b'"),
        ("0.5,1,x\n0.25,0,y\n", "the first line holds data, not titles (0.5, 1, x): add a line of titles"),
    ],
)
def test_a_label_column_that_could_be_another_is_asked_for(refused, text, sentence):
    assert sentence in refused(text)


def test_the_label_column_is_named_by_title_or_position(table, refused):
    text = "class,target,a\n0,1,0.5\n1,0,0.5\n1,1,0.25\n"
    assert table(text, label="Target").y.tolist() == [1, 0, 1]
    assert table(text, label="0").x[:, 0].tolist() == [1, 0, 1]
    assert table("0.5,1\n0.25,0\n0.5,1\n", label="-1").y.tolist() == [1, 0, 1]
    assert "there is no column 'z' for --label (columns: 'class', 'target', 'a'" in refused(text, label="z")
    assert "2 columns are called 'a'" in refused("a,a,b\n0,1,0\n1,0,1\n", label="a")


def test_persons_and_parts_are_no_features(table):
    rows = "".join(f"{i // 4},{i % 2},{i / 400},{'test' if i > 300 else 'train'}\n" for i in range(400))
    found = table("patient_id,label,a,split\n" + rows)
    assert found.input_shape == (1,)
    assert len(set(found.groups.tolist())) == 100
    assert (found.parts == "train").sum() == 301


def test_a_first_line_that_holds_the_named_label_is_one_of_titles(table):
    """Titles may be numbers."""
    found = table("1990,2000,who\n" + "0.1,0.2,a\n0.3,0.4,b\n" * 8, label="who")
    assert (len(found), found.class_names) == (16, ("a", "b"))
    years = table("1990,2000,2010\n" + "0.1,0.2,0\n0.3,0.4,1\n" * 8, label="2010")
    assert (len(years), years.class_names) == (16, ("0", "1"))
    positions = table("1,0,2\n" + "0,1,1\n1,0,2\n" * 8, label="2")
    assert (len(positions), positions.class_names) == (17, ("1", "2"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no examples"),
        ("a,label\n", "no examples"),
        ("label\n0\n1\n", "no column is left beside the label"),
        ("a,b,label\n0,1,x\n0,1\n", "line 3 has 2 fields, the header 3"),
        ("a,label\n0,x\n0,\n1,y\n", "line 3, column 'label' is empty"),
        ("a,label\n0,0\n0,nan\n1,1\n", "line 3, column 'label' has no value ('nan')"),
        ("a,b,label\n0,red,0\n0,blue,1\n", "may be column 'b' or 'label'"),
        ("a,label\n0,x\n1,x\n", "at least two classes"),
    ],
)
def test_bad_tables_are_one_sentence_that_says_where(refused, text, sentence):
    assert sentence in refused(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b,label\n0,1,0\n0,blue,1\n", "line 3, column 'b' holds 'blue': every column but the label 'label' must be"),
        ("a,b,label\n0,1,x\n\n0,,y\n", "line 4, column 'b' is empty"),
        ("a,label\n0,x\nnan,y\n", "line 3, column 'a' has no value ('nan')"),
    ],
)
def test_with_one_range_for_all_columns_each_cell_is_a_number(refused, text, sentence):
    assert sentence in refused(text, label="label", range=(0, 255))


def test_one_range_for_all_columns(table, refused):
    text = "a,b,label\n0,255,x\n51,102,y\n"
    np.testing.assert_allclose(table(text, range=(0, 255)).x, [[0, 1], [0.2, 0.4]], atol=1e-6)
    assert "outside --input-range 0:100" in refused(text, range=(0, 100))


def test_text_in_latin_1_is_read_and_that_is_said(table):
    found = table("a,labél\n0,né\n1,x\n", "latin-1", label="labél")
    assert found.class_names == ("né", "x")
    assert "the text is not UTF-8, and is read as Windows-1252 (which holds Latin-1)" in found.notes


def test_unreadable_tables(refused, tmp_path):
    assert "is not text: if it is a table, save it again as CSV" in refused("PK\0\1,label\n0,x\n")
    for path, sentence in ((tmp_path / "absent.csv", "no such file"), (tmp_path, "not a readable CSV")):
        with pytest.raises(UserError, match=sentence):
            load(f"csv:{path}")
