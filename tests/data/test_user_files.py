"""Examples from the user's own files, and what is said of the ones that cannot be read."""

import numpy as np
import pytest

from edgepriv import data
from edgepriv.data import from_member_files, load
from edgepriv.errors import UserError

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
    assert found.said == ("labels are one-hot rows of 3, read as 3 classes",)


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
    (tmp_path / "empty.npz").write_bytes(b"")
    assert "one bare array" in refused(f"npz:{tmp_path / 'one.npy'}")
    assert "not a readable .npz" in refused(f"npz:{tmp_path / 'table.npz'}")
    assert "not a readable .npz" in refused(f"npz:{tmp_path / 'empty.npz'}")
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


def test_members_among_non_members_are_counted(saved):
    members, others = saved("in.npz", x=X[:6], y=Y[:6]), saved("out.npz", x=X[4:], y=Y[4:])
    assert "2 of the 8 non-members" in refused(f"members:{members}|{others}")


def test_unknown_sources_name_the_known(tmp_path):
    message = refused("parquet:x")
    assert all(f"{known}:..." in message for known in ("npz", "csv", "folder"))


def test_the_public_names_are_importable():
    assert all(hasattr(data, name) for name in data.__all__)
