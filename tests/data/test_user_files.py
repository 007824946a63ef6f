"""Examples from the user's own files, and what is said of the ones that cannot be read."""

import numpy as np
import pytest

from edgepriv import data
from edgepriv.data import from_member_files, load
from edgepriv.errors import UserError
from edgepriv.recipe import Data

X = np.random.default_rng(0).random((12, 5)).astype(np.float32)
Y = np.arange(12) % 3


@pytest.fixture
def saved(tmp_path):
    def save(name="set.npz", **arrays):
        np.savez_compressed(tmp_path / name, **arrays)
        return tmp_path / name

    return save


def refused(name):
    with pytest.raises(UserError) as error:
        load(name)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- npz ---


def test_x_and_y(saved):
    found = load(f"npz:{saved(x=X, y=Y, class_names=np.array(['a', 'b', 'c']))}")
    np.testing.assert_array_equal(found.x, X)
    assert found.class_names == ("a", "b", "c")
    assert found.name.startswith("npz:/")


def test_parts_stand_one_after_another(saved):
    found = load(f"npz:{saved(x_train=X[:6], y_train=Y[:6], x_val=X[6:8], y_val=Y[6:8], x_test=X[8:], y_test=Y[8:])}")
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.y, Y)


def test_one_hot_labels_of_a_features_and_labels_file(saved):
    found = load(f"npz:{saved(features=X, labels=np.eye(3)[Y])}")
    np.testing.assert_array_equal(found.y, Y)
    assert found.notes == ("labels are one-hot rows of 3, read as 3 classes",)


def test_missing_keys_are_named(saved):
    assert "keys ['inputs', 'y']; expected x and y" in refused(f"npz:{saved(inputs=X, y=Y)}")


@pytest.mark.parametrize(
    ("changed", "what"), [({"x_test": X[8:, :4]}, "examples"), ({"y_test": Y[8:, None]}, "labels")]
)
def test_parts_of_different_shapes_are_refused(saved, changed, what):
    parts = {"x_train": X[:8], "y_train": Y[:8], "x_test": X[8:], "y_test": Y[8:]}
    assert f"its parts have {what} of different shapes" in refused(f"npz:{saved(**(parts | changed))}")


def test_scalars_are_refused(saved):
    assert "not one number" in refused(f"npz:{saved(x=np.array(1.0), y=np.array(1))}")


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "it_ran"), "w"))

    np.savez(tmp_path / "bomb.npz", x=np.array([Bomb()], dtype=object), y=Y)
    assert "pickled objects, which are never loaded" in refused(f"npz:{tmp_path / 'bomb.npz'}")
    assert not (tmp_path / "it_ran").exists()


def test_files_of_another_kind_are_refused(tmp_path):
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "table.npz").write_text("a,b\n1,2\n")
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.npz").write_bytes(b"")
    assert "one bare array" in refused(f"npz:{tmp_path / 'one.npy'}")
    assert "not a readable .npz" in refused(f"npz:{tmp_path / 'table.npz'}")
    assert "not a readable .npz" in refused(f"npz:{tmp_path / 'empty.npz'}")
    assert "from tables of text (.csv, .tsv, .txt)" in refused(f"npz:{tmp_path / 'table.parquet'}")
    assert "not a readable .npz" in refused(f"npz:{tmp_path}")
    assert "no such file" in refused(f"npz:{tmp_path / 'absent.npz'}")


def test_damaged_files_never_raise_anything_but_user_errors(saved):
    path = saved(x=X, y=Y)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for cut in range(0, len(whole), 37):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError):
            load(f"npz:{path}")
    read = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            load(f"npz:{path}")
            read += 1
        except UserError:
            pass
    assert read < 100  # most damage is noticed


def test_member_files(saved):
    members, others = saved("in.npz", x=X[:6], y=Y[:6]), saved("out.npz", x=X[6:], y=Y[6:])
    found = load(f"members:{members}|{others}")
    assert found.known_members == 6
    assert found.name == f"members:{members}|{others}"
    np.testing.assert_array_equal(found.x, X)
    assert "members:FILE|FILE" in refused(f"members:{members}")


def test_member_files_of_one_class_each_take_the_models_class_names(saved):
    members, others = saved("in.npz", x=X[:2], y=[0, 0]), saved("out.npz", x=X[2:4], y=[2, 2])
    found = from_member_files(members, others, ("a", "b", "c"))
    assert found.class_names == ("a", "b", "c")
    with pytest.raises(UserError, match="outside the classes"):
        from_member_files(members, others, ("a", "b"))


def test_truth_values_in_one_file_and_numbers_in_the_other(saved):
    of_truth = saved("true.npz", x=X, y=Y > 0)
    with pytest.raises(UserError, match=r"are False and True, and those of .* are numbers other than 0 and 1"):
        from_member_files(of_truth, saved("out.npz", x=1 - X, y=Y))
    alike = from_member_files(of_truth, saved("out.npz", x=1 - X, y=(Y > 0).astype(int)))
    np.testing.assert_array_equal(alike.y, np.tile(Y > 0, 2))


def test_members_among_non_members_are_counted(saved):
    members, others = saved("in.npz", x=X[:6], y=Y[:6]), saved("out.npz", x=X[4:], y=Y[4:])
    assert "2 of the 8 non-members" in refused(f"members:{members}|{others}")


def test_unknown_sources_name_the_known(tmp_path):
    message = refused("feather:x")
    assert all(f"{known}:..." in message for known in ("npz", "csv", "folder"))


def test_the_public_names_are_importable():
    assert all(hasattr(data, name) for name in data.__all__)


# --- members and non-members are read as one set ---


def both(saved, members, others, **asked):
    return from_member_files(saved("in.npz", **members), saved("out.npz", **others), asked=Data(**asked))


def test_labels_of_both_files_are_one_set_of_classes(saved):
    found = both(saved, {"x": X[:6], "y": [10, 10, 30, 30, 10, 30]}, {"x": X[6:], "y": [20, 30, 20, 30, 20, 30]})
    assert found.class_names == ("10", "20", "30")
    assert found.y.tolist() == [0, 0, 2, 2, 0, 2, 1, 2, 1, 2, 1, 2]


def test_one_hot_rows_and_findings_are_told_apart_over_both_files(saved):
    one_hot = np.eye(3, dtype=np.uint8)[Y]
    findings = one_hot.copy()
    findings[9, 2] = 1
    assert both(saved, {"x": X[:6], "y": one_hot[:6]}, {"x": X[6:], "y": one_hot[6:]}).y.tolist() == Y.tolist()
    with pytest.raises(UserError, match="3 findings for each example"):
        both(saved, {"x": X[:6], "y": findings[:6]}, {"x": X[6:], "y": findings[6:]})
    with pytest.raises(UserError, match="labels of different shapes"):
        both(saved, {"x": X[:6], "y": one_hot[:6]}, {"x": X[6:], "y": Y[6:]})


def test_neither_file_alone_decides_its_range(saved):
    x = np.concatenate([X[:6], -X[6:]])  # the members alone would pass for numbers in [0, 1]
    found = both(saved, {"x": x[:6], "y": Y[:6]}, {"x": x[6:], "y": Y[6:]}, range=(-1, 1))
    np.testing.assert_allclose(found.x, (x + 1) / 2, atol=1e-6)


def test_names_of_classes_in_both_files_need_not_stand_in_one_order(saved):
    found = both(
        saved,
        {"x": X[:6], "y": [0, 1, 0, 1, 0, 1], "class_names": np.array(["dog", "cat"])},
        {"x": X[6:], "y": [0, 1, 0, 1, 0, 1], "class_names": np.array(["cat", "dog"])},
    )
    assert found.class_names == ("cat", "dog")
    assert found.y.tolist() == [1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1]


def test_members_may_stand_in_tables_of_text(tmp_path):
    for name, rows in (("in", X[:6]), ("out", X[6:])):
        lines = [",".join([*map(str, row), "yes" if i % 2 else "no"]) for i, row in enumerate(rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b,c,d,e,label", *lines]))
    found = from_member_files(tmp_path / "in.csv", tmp_path / "out.csv")
    assert found.class_names == ("no", "yes")
    np.testing.assert_allclose(found.x, X, atol=1e-7)


# --- parts and groups ---


def test_parts_and_groups_of_an_archive_are_kept(saved):
    parts = {"x_train": X[:8], "y_train": Y[:8], "x_test": X[8:], "y_test": Y[8:]}
    patients = {"patient_train": np.arange(8) // 2 + 100, "patient_test": np.arange(4) // 2 + 500}
    found = load(f"npz:{saved(**parts, **patients)}")
    assert found.parts.tolist() == ["train"] * 8 + ["test"] * 4
    assert found.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert (
        load(f"npz:{saved(x=X, y=Y, groups=np.arange(12) // 3)}").groups.tolist()
        == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    )
    assert "group, for --groups, has 5 values for 12 examples" in refused(f"npz:{saved(x=X, y=Y, group=np.arange(5))}")


def test_a_published_set_is_one_pool_and_any_other_name_keeps_its_parts(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    parts = {"x_train": images[:8], "y_train": Y[:8], "x_test": images[8:], "y_test": Y[8:]}
    for name in ("cifar10", "scans"):
        np.savez(tmp_path / f"{name}.npz", **parts)
    assert load("cifar10", tmp_path).parts is None
    assert (load("scans", tmp_path).parts == "train").sum() == 8
    with pytest.raises(UserError, match="--channels says how a file is read, and cifar10 needs no description"):
        load("cifar10", tmp_path, asked=Data(channels=3))


def test_an_archive_has_no_label_column(saved):
    with pytest.raises(UserError, match="--label names a column of a table"):
        load(f"npz:{saved(x=X, y=Y)}", asked=Data(label="y"))
