"""Whose records are whose, in every kind of file: a column that is never an input."""

import sys

import numpy as np
import pytest
from PIL import Image

from edgepriv.data import NAMING, from_member_files, load, read_members
from edgepriv.data.groups import first_groups, halved, numbered
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


def test_a_subgroup_stays_the_feature_that_it_is(tmp_path):
    (tmp_path / "t.csv").write_text("sex,a,label\n0,0.5,no\n1,0.25,yes\n1,0.75,no\n")
    plain, told = (load(f"csv:{tmp_path / 't.csv'}", asked=asked) for asked in (Data(), Data(subgroups="sex")))
    np.testing.assert_array_equal(plain.x, told.x)
    assert told.subgroups.of.tolist() == [0, 1, 1]


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
