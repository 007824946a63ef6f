"""Examples from the user's own files, and what is said of the ones that cannot be read."""

import numpy as np
import pytest
from PIL import Image

from edgepriv import data
from edgepriv.data import from_member_files, load
from edgepriv.data.files import from_npz
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
    np.testing.assert_array_equal(load(f"npz:{saved(features=X, labels=np.eye(3)[Y])}").y, Y)


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
            from_npz(path)
    read = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            from_npz(path)
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


# --- csv ---


def csv(tmp_path, text, encoding="utf-8"):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    return f"csv:{tmp_path / 't.csv'}"


def test_the_label_column_is_found_by_its_title(tmp_path):
    found = load(csv(tmp_path, "width, Label ,height\n0.5,cat,1\n\n0.25,dog,0\n0,cat,0\n"))
    assert found.x.tolist() == [[0.5, 1.0], [0.25, 0.0], [0.0, 0.0]]
    assert found.y.tolist() == [0, 1, 0]
    assert found.class_names == ("cat", "dog")


def test_else_the_last_column_is_the_label_and_numbers_are_in_order(tmp_path):
    found = load(csv(tmp_path, "a,b\n0,10\n1,9\n0,-1\n"))
    assert found.class_names == ("-1", "9", "10")
    assert found.y.tolist() == [2, 1, 0]


def test_a_byte_order_mark_is_no_part_of_the_title(tmp_path):
    assert load(csv(tmp_path, "label,a\nx,0\ny,1\n", "utf-8-sig")).class_names == ("x", "y")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no examples"),
        ("a,label\n", "no examples"),
        ("label\n0\n1\n", "no examples"),
        ("a,b,label\n0,1,x\n0,1\n", "line 3 has 2 fields, the header 3"),
        ("a,colour,label\n0,red,x\n0,blue,y\n", "every column but 'label' must be a number: .*red"),
        ("a,label\n0,x\nnan,y\n", "NaN or infinity"),
        ("a,label\n0,x\n17,y\n", r"lie in \[0, 17\].*scale them first"),
        ("a,label\n0,x\n1,x\n", "at least two classes"),
    ],
)
def test_bad_tables_are_one_sentence(tmp_path, text, sentence):
    with pytest.raises(UserError, match=sentence):
        load(csv(tmp_path, text))


def test_unreadable_tables(tmp_path):
    assert "not a readable CSV" in refused(csv(tmp_path, "a,labél\n0,x\n", "latin-1"))
    assert "no such file" in refused(f"csv:{tmp_path / 'absent.csv'}")
    assert "not a readable CSV" in refused(f"csv:{tmp_path}")


# --- folders of images ---


def picture(folder, name, size=(8, 6), value=128, **options):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 255)).save(folder / name, **options)


def test_sub_folders_are_the_classes(tmp_path):
    picture(tmp_path / "set" / "cat", "1.png", value=10)
    picture(tmp_path / "set" / "dog", "1.png", value=20)
    picture(tmp_path / "set" / "dog", "2.png", value=30)
    found = load(f"folder:{tmp_path / 'set'}")
    assert found.class_names == ("cat", "dog")
    assert found.y.tolist() == [0, 1, 1]
    assert found.input_shape == (3, 6, 8)
    assert found.x[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_images_of_different_size_are_named(tmp_path):
    picture(tmp_path / "cat", "1.png")
    picture(tmp_path / "dog", "1.png", size=(8, 8))
    assert "image 1 is (8, 8, 3), the first (6, 8, 3): resize" in refused(f"folder:{tmp_path}")


@pytest.mark.parametrize("keep", [0, 20, 45])
def test_a_damaged_image_is_one_sentence(tmp_path, keep):
    picture(tmp_path / "cat", "1.png")
    picture(tmp_path / "dog", "1.png")
    damaged = tmp_path / "dog" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:keep])
    assert "example 1 cannot be read as an image" in refused(f"folder:{tmp_path}")


def test_folders_without_classes_or_images(tmp_path):
    assert "no such folder" in refused(f"folder:{tmp_path / 'absent'}")
    assert "sub-folder of images" in refused(f"folder:{tmp_path}")
    (tmp_path / "cat").mkdir()
    assert "sub-folder of images" in refused(f"folder:{tmp_path}")


def test_one_class_is_not_enough(tmp_path):
    picture(tmp_path / "cat", "1.png")
    assert "at least two classes" in refused(f"folder:{tmp_path}")


def test_unknown_sources_name_the_known(tmp_path):
    message = refused("parquet:x")
    assert all(f"{known}:..." in message for known in ("npz", "csv", "folder"))


def test_the_public_names_are_importable():
    assert all(hasattr(data, name) for name in data.__all__)
