"""Whose records are whose, in every kind of file: a column that is never an input."""

import sys

import numpy as np
import pytest
from PIL import Image

from edgepriv.data import NAMING, from_member_files, load, read_members
from edgepriv.data.groups import first_groups, halved, numbered
from edgepriv.data.inherited import as_far_as_held
from edgepriv.errors import UserError
from edgepriv.recipe import Data

X = np.random.default_rng(0).random((12, 3)).astype(np.float32)
Y = np.arange(12) % 2
SCANNED = np.array([f"p{i // 3}" for i in range(12)])


def refused(name, **asked):
    with pytest.raises(UserError) as error:
        load(name, asked=Data(**asked))
    assert "\n" not in str(error.value)
    return str(error.value)


# --- npz ---


def test_a_key_of_an_archive_names_persons_and_parts(tmp_path):
    part = np.repeat(["Training", "validation", "test"], 4)
    np.savez(tmp_path / "a.npz", x=X, y=Y, who=SCANNED, part_of=part, sex=np.array(["f", "m"] * 6))
    asked = Data(groups="who", split_column="part_of", subgroups="sex")
    found = load(f"npz:{tmp_path / 'a.npz'}", asked=asked)
    assert found.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert found.parts.tolist() == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert (found.subgroups.title, found.subgroups.names) == ("sex", ("f", "m"))
    assert found.input_shape == (3,)
    assert "no whom for --groups whom" in refused(f"npz:{tmp_path / 'a.npz'}", groups="whom")
    assert "'p0', 'p1', 'p2', ...: the parts of the data are called train" in refused(
        f"npz:{tmp_path / 'a.npz'}", split_column="who"
    )


def test_a_record_without_a_person_may_be_anybodys(tmp_path):
    for number, who in enumerate((np.where(np.arange(12) < 2, "", SCANNED), np.where(np.arange(12) < 2, np.nan, 1.0))):
        np.savez(tmp_path / f"{number}.npz", x=X, y=Y, group=who)
        assert "2 of 12 records have no group" in refused(f"npz:{tmp_path / f'{number}.npz'}")


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (np.array([np.inf, 1, 1] * 4), "4 of 12 records have no group"),
        (np.array([-1, 0, 1] * 4), "4 of 12 records have no group"),
        (np.array(["NaT", "2020-01-01", "2020-01-02"] * 4, "M8[D]"), "4 of 12 records have no group"),
        (np.array(["None", "p1", "Unknown"] * 4), "8 of 12 records have no group"),
        (np.arange(12, dtype=np.float32) + 2**24, "groups are float32, which rounds whole numbers beyond 16777216"),
        (np.array(["1.23457E+11", "17", "18"] * 4), "'1.23457E+11', a number that a spreadsheet has rounded"),
    ],
)
def test_names_of_nobody_and_names_that_have_lost_digits_are_refused(tmp_path, groups, sentence):
    np.savez(tmp_path / "a.npz", x=X, y=Y, group=groups)
    assert sentence in refused(f"npz:{tmp_path / 'a.npz'}")


def test_persons_who_may_be_one_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y, group=np.array(["p1", "P1", "p02", "p2"] * 3))
    notes = load(f"npz:{tmp_path / 'a.npz'}").notes
    assert any("groups 'P1' and 'p1', and 1 more such pairs, count as different persons" in note for note in notes)


def test_subgroups_are_one_however_they_are_stored(tmp_path):
    sites = np.array(["1", "1.0", " 2", "?", "", "NA"] * 2)
    np.savez(tmp_path / "a.npz", x=X, y=Y, site=sites, each=np.arange(12))
    subgroups = load(f"npz:{tmp_path / 'a.npz'}", asked=Data(subgroups="site")).subgroups
    assert (subgroups.names, np.bincount(subgroups.of).tolist()) == (("(no value)", "1", "2"), [6, 4, 2])
    many = np.repeat(X, 4, axis=0)
    np.savez(tmp_path / "a.npz", x=many, y=np.repeat(Y, 4), each=np.arange(48))
    assert "--subgroups each names 48 subgroups of 48 records" in refused(f"npz:{tmp_path / 'a.npz'}", subgroups="each")


def test_members_and_non_members_bring_their_persons(tmp_path):
    members, others = tmp_path / "m.npz", tmp_path / "n.npz"
    np.savez(members, x=X[:6], y=Y[:6], group=SCANNED[:6])
    np.savez(others, x=X[6:], y=Y[6:], group=SCANNED[6:])
    assert from_member_files(members, others).groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    np.savez(others, x=X[6:], y=Y[6:], group=SCANNED[5:11])
    with pytest.raises(UserError, match=r"1 of 4 groups \(4 records\) stand both in .*m.npz and in .*n.npz"):
        from_member_files(members, others)
    np.savez(others, x=X[6:], y=Y[6:])
    beside = from_member_files(members, others)
    assert beside.groups is None
    assert "n.npz does not say whose records it holds: groups are not looked at" in beside.notes


def test_options_of_the_models_own_data_hold_only_where_another_file_has_what_they_name(tmp_path):
    np.savez(tmp_path / "m.npz", x=X, y=Y, visitor=SCANNED)
    csv(tmp_path / "n.csv")
    own = Data(label="label", groups="visitor", split_column="part", drop=("b", "site"))
    archive, table = read_members(tmp_path / "m.npz", tmp_path / "n.csv", own, NAMING)
    assert archive.groups.tolist() == SCANNED.tolist()
    assert table.x.shape == (12, 1)
    assert len(set(table.groups.tolist())) == 12
    assert "n.csv has no 'site', which --drop named in the model's own data: left out" in table.notes
    assert [note.split(",")[0] for note in archive.notes if "--split-column" in note] == ["m.npz has no 'part'"]
    with pytest.raises(UserError, match="no part for --split-column part"):
        read_members(tmp_path / "m.npz", tmp_path / "n.csv", own, [name for name in NAMING if name != "split_column"])


# --- tables ---


def csv(path, title="visitor"):
    rows = [f"{who},{a:.3f},{b:.3f},{label}" for who, (a, b, _), label in zip(range(100, 112), X, Y, strict=True)]
    path.write_text("\n".join([f"{title},a,b,label", *rows]) + "\n")
    return f"csv:{path}"


def test_a_column_that_names_persons_is_no_feature(tmp_path):
    named = load(csv(tmp_path / "t.csv"), asked=Data(groups="visitor"))
    assert named.input_shape == (2,)
    assert len(set(named.groups.tolist())) == 12
    assert load(csv(tmp_path / "t.csv"), asked=Data(groups="0")).input_shape == (2,)
    assert "--label and --groups name one column, 'a'" in refused(f"csv:{tmp_path / 't.csv'}", label="a", groups="a")
    assert "no column 'b2' for --groups" in refused(f"csv:{tmp_path / 't.csv'}", groups="b2")


def test_a_subgroup_is_no_feature_unless_it_is_kept(tmp_path):
    (tmp_path / "t.csv").write_text("sex,a,label\n0,0.5,no\n1,0.25,yes\n1,0.75,no\n")
    for keep, features in ((None, 1), (("sex",), 2)):
        told = load(f"csv:{tmp_path / 't.csv'}", asked=Data(subgroups="sex", keep=keep))
        assert told.x.shape[1] == features
        assert told.subgroups.of.tolist() == [0, 1, 1]
    assert "--label and --subgroups name one column, 'a'" in refused(
        f"csv:{tmp_path / 't.csv'}", label="a", subgroups="a"
    )


def test_parquet_is_read_as_a_table_or_says_what_it_needs(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install pyarrow" in refused(f"parquet:{path}")
    monkeypatch.undo()
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    assert "is not a readable Parquet file" in refused(f"parquet:{path}")
    columns = {"visit_of": SCANNED, "a": X[:, 0].astype(float), "label": np.array(["no", "yes"] * 6)}
    parquet.write_table(pyarrow.table(columns), path)
    found = load(f"parquet:{path}", asked=Data(groups="visit_of"))
    assert found.input_shape == (1,)
    assert found.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


# --- folders ---


@pytest.fixture
def scans(tmp_path):
    """Two classes, in each two persons with two pictures each, in a folder of their own; one person is in both classes."""
    for label, people in (("ill", ("ann", "bob")), ("well", ("bob", "cy"))):
        for person in people:
            (tmp_path / label / person).mkdir(parents=True)
            for number in range(2):
                shade = len(label) * 40 + len(person) * 10 + number
                Image.new("L", (5, 6), shade).save(tmp_path / label / person / f"{number}.png")
    return tmp_path


def test_a_level_of_the_path_names_persons(scans):
    for level in ("level:2", "level:-1"):
        assert load(f"folder:{scans}", asked=Data(groups=level)).groups.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert "names the classes, not persons" in refused(f"folder:{scans}", groups="level:1")
    assert "has no folder there" in refused(f"folder:{scans}", groups="level:3")
    assert "holds no metadata.csv (columns file_name and patient)" in refused(f"folder:{scans}", groups="patient")


def test_a_table_in_the_folder_names_persons_parts_and_subgroups(scans):
    names = [file.relative_to(scans).as_posix() for file in sorted(scans.rglob("*.png"))]
    rows = [
        f"{name},{name.split('/')[1]},{'test' if 'cy' in name else 'train'},{i % 2}" for i, name in enumerate(names)
    ]
    (scans / "metadata.csv").write_text("\n".join(["file_name,patient_id,split,side", *reversed(rows)]) + "\n")
    found = load(f"folder:{scans}", asked=Data(subgroups="side"))
    assert found.groups.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert found.parts.tolist() == ["train"] * 6 + ["test"] * 2
    assert found.subgroups.of.tolist() == [0, 1] * 4
    assert "no column 'ward' for --groups (columns: patient_id, split, side)" in refused(
        f"folder:{scans}", groups="ward"
    )
    (scans / "metadata.csv").write_text("\n".join(["file_name,patient_id,split,side", *rows[1:]]) + "\n")
    assert "1 of 8 pictures have no row, such as ill/ann/0.png" in refused(f"folder:{scans}")


# --- whole groups at a time ---


def test_about_so_many_records_are_whole_groups():
    groups = np.array([0, 0, 0, 1, 2, 2, 3, 3])
    taken, left = first_groups(np.array([3, 0, 4, 6, 1, 2, 5, 7]), groups, 5)
    assert taken.tolist() == [3, 0, 1, 2]  # 4 records, nearer to 5 than 6 would be: of the two that are, the fewer
    assert left.tolist() == [4, 5, 6, 7]
    assert first_groups(np.arange(8), None, 5)[0].tolist() == [0, 1, 2, 3, 4]


def test_groups_are_numbered_whatever_they_are_called():
    assert numbered("x", np.array(["b", "a", "b"])).tolist() == [1, 0, 1]
    assert numbered("x", None) is None


def test_a_part_of_several_groups_is_never_empty_and_never_all():
    giant = np.repeat([0, 1, 2], [100, 4, 3])
    taken, left = first_groups(np.arange(107), giant, 5)
    assert (set(giant[taken]), set(giant[left])) == ({1}, {0, 2})  # whom nobody has room for is passed over
    for count, sizes in ((1, [10, 10]), (19, [10, 10]), (9, [10, 2])):
        groups = np.repeat(np.arange(2), sizes)
        taken, left = first_groups(np.arange(sum(sizes)), groups, count)
        assert len(taken)
        assert len(left)
    for seed in range(20):
        half = halved(giant, np.arange(107), np.random.default_rng(seed))
        assert 0 < len(half) < 107


# --- what looks like persons or parts and is not taken for them ---


def in_parts(path, **arrays):
    np.savez(path, x_train=X[:8], y_train=Y[:8], x_test=X[8:], y_test=Y[8:], **arrays)
    return f"npz:{path}.npz"


def test_each_part_of_an_archive_names_as_many_persons_as_it_has_examples(tmp_path):
    shifted = {"patient_id_train": np.arange(7), "patient_id_test": np.arange(5) + 10}
    assert "patient_id_train, for --groups, has 7 values for 8 examples" in refused(in_parts(tmp_path / "a", **shifted))
    colours = {"hue_train": np.arange(8), "hue_test": np.arange(5)}
    said = refused(in_parts(tmp_path / "b", **colours), subgroups="hue")
    assert "hue_test, for --subgroups, has 5 values for 4 examples" in said


@pytest.mark.parametrize("keys", [("patient_id_train",), ("patient_id",), ("PatientID_test",)])
def test_persons_of_some_parts_alone_are_refused(tmp_path, keys):
    said = refused(in_parts(tmp_path / "a", **{key: np.arange(8) for key in keys}))
    assert f"{keys[0]} may say whose examples these are, but there is no" in said


def test_a_persons_name_is_the_same_however_it_is_stored(tmp_path):
    members, others = tmp_path / "m.npz", tmp_path / "n.npz"
    for one, other in (
        (np.array([1.0, 2, 3, 4, 5, 6]), np.array(["6", "7", "8", "9", "10", "11"])),
        (np.array(["p1 ", "p2", "p3", "p4", "p5", "p6"]), np.array(["p1", "p7", "p8", "p9", "q", "r"])),
        (np.array(["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]), np.arange(6, 12)),
    ):
        np.savez(members, x=X[:6], y=Y[:6], patient_id=one)
        np.savez(others, x=X[6:], y=Y[6:], patient_id=other)
        with pytest.raises(UserError, match=r"1 of 11 groups \(2 records\) stand both in"):
            from_member_files(members, others)
    for other, sentence in (
        (
            np.array(["a", "b", "c", "d", "e", "f"]),
            r"by numbers in one and by texts in the other \('1' in m.npz, 'a' in",
        ),
        (np.array(["007", "12", "8", "9", "10", "11"]), r"written in two ways \('7' in m.npz, '007' in n.npz\)"),
    ):
        np.savez(members, x=X[:6], y=Y[:6], patient_id=np.array([1, 2, 3, 4, 5, 7]))
        np.savez(others, x=X[6:], y=Y[6:], patient_id=other)
        with pytest.raises(UserError, match=sentence):
            from_member_files(members, others)


def test_the_plainest_name_of_persons_is_taken_and_two_that_differ_are_refused(tmp_path):
    arms = np.arange(12) % 3
    np.savez(tmp_path / "a.npz", x=X, y=Y, group=arms, patient_id=SCANNED)
    found = load(f"npz:{tmp_path / 'a.npz'}")
    assert found.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert "group is not taken for persons" in found.notes
    np.savez(tmp_path / "b.npz", x=X, y=Y, subject=arms, patient_id=SCANNED)
    assert "'patient_id' and 'subject' both may be meant, and differ: say which with --groups" in refused(
        f"npz:{tmp_path / 'b.npz'}"
    )
    rows = [f"{arm},{who},{a:.3f},{label}" for arm, who, a, label in zip(arms, SCANNED, X[:, 0], Y, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["person,Patient ID,a,label", *rows]) + "\n")
    assert "say which with --groups" in refused(f"csv:{tmp_path / 't.csv'}")
    named = load(f"csv:{tmp_path / 't.csv'}", asked=Data(groups="Patient ID"))
    assert named.input_shape == (1,)
    assert "'person' (a feature only with --keep)" in " ".join(named.notes)
    assert load(f"csv:{tmp_path / 't.csv'}", asked=Data(groups="Patient ID", keep=("person",))).cells.titles == (
        "person",
        "a",
    )


def test_one_person_alone_is_no_feature_and_no_split(tmp_path):
    rows = [f"p7,{a:.3f},{label}" for a, label in zip(X[:, 0], Y, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["patient_id,a,label", *rows]) + "\n")
    found = load(f"csv:{tmp_path / 't.csv'}")
    assert (found.input_shape, found.groups) == ((1,), None)
    assert "all records are of one group: groups are not looked at" in found.notes
    assert "puts all 12 records into one group" in refused(f"csv:{tmp_path / 't.csv'}", groups="patient_id")


def test_a_part_of_another_name_is_refused_in_every_kind_of_file(tmp_path, scans):
    parts = np.array(["train"] * 6 + ["test"] * 3 + ["external"] * 3)
    np.savez(tmp_path / "a.npz", x=X, y=Y, split=parts)
    assert "split holds 'external': the parts of the data are called" in refused(f"npz:{tmp_path / 'a.npz'}")
    rows = [f"{part},{a:.3f},{label}" for part, a, label in zip(parts, X[:, 0], Y, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["split,a,label", *rows]) + "\n")
    assert "column 'split' holds 'external': the parts" in refused(f"csv:{tmp_path / 't.csv'}")
    names = [file.relative_to(scans).as_posix() for file in sorted(scans.rglob("*.png"))]
    (scans / "metadata.csv").write_text(
        "\n".join(["file_name,split", *(f"{name},{part}" for name, part in zip(names, parts[2:], strict=False))])
    )
    assert "column 'split' holds 'external': the parts" in refused(f"folder:{scans}")


def test_parts_that_make_no_split_are_said_to(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y, split=np.array(["train"] * 12), fold=np.arange(12) % 3)
    found = load(f"npz:{tmp_path / 'a.npz'}")
    assert found.parts is None
    assert "its only part is train: all examples are drawn as one pool" in found.notes
    assert "fold names no parts (train, val, test) and is not read" in found.notes


def test_groups_that_are_the_classes_or_the_parts_are_refused(tmp_path, scans):
    np.savez(tmp_path / "a.npz", x=X, y=Y, split=np.array(["train"] * 8 + ["test"] * 4))
    assert "is the classes of the data, not persons" in refused(f"npz:{tmp_path / 'a.npz'}", groups="y")
    assert "is the parts of the data, not persons" in refused(f"npz:{tmp_path / 'a.npz'}", groups="split")
    for part in ("train", "test"):
        (scans / part).mkdir()
        for label in ("ill", "well"):
            (scans / part / label).mkdir()
            Image.new("L", (5, 6), len(part) + len(label)).save(scans / part / label / "0.png")
    for label in ("ill", "well"):
        (scans / label).rename(scans / "train" / label / "more")
    assert "is the parts of the data, not persons" in refused(f"folder:{scans}", groups="level:1")


@pytest.mark.parametrize("title", ["filename", "path", "image", "File Name"])
def test_a_table_names_its_pictures_in_many_ways_and_stands_in_many_places(scans, title):
    for label in ("ill", "well"):
        names = sorted(file.relative_to(scans / label).as_posix() for file in (scans / label).rglob("*.png"))
        rows = [f"{name},{name.split('/')[0]}" for name in names]
        (scans / label / "metadata.csv").write_text("\n".join([f"{title},patient_id", *rows]) + "\n")
    assert load(f"folder:{scans}").groups.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    (scans / "well" / "metadata.csv").write_text("which,patient_id\na,b\n")
    assert "there is no column file_name" in refused(f"folder:{scans}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file_name,camera\nill/ann/0.png,3\n", "metadata.csv says nothing that is used"),
        ("a,b\n1\n", "metadata.csv is not read: line 2 has 1 fields, the header 2"),
        ("file_name,camera\nx.png,3\nx.png,4\n", "metadata.csv is not read: line 3 names x.png again"),
    ],
)
def test_a_table_that_nobody_needs_breaks_nothing(scans, text, said):
    (scans / "metadata.csv").write_text(text)
    found = load(f"folder:{scans}")
    assert found.groups is None
    assert said in " ".join(found.notes)
    assert refused(f"folder:{scans}", groups="camera")


def test_an_inherited_column_is_looked_for_in_every_table_beside_pictures(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        (tmp_path / part / "metadata.csv").write_text("file_name,patient\na/1.png,p1\n")
    asked = Data(groups="patient", split_column="site")
    own, notes = as_far_as_held(tmp_path, asked, ("groups", "split_column"))
    assert (own.groups, own.split_column) == ("patient", None)
    assert len(notes) == 1
