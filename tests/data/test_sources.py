"""Data sets by name: looked for as NAME.npz, then as published, then as torchvision keeps them; never the network."""

import struct

import numpy as np
import pytest

from edgepriv.data import default_data_dir, load
from edgepriv.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a test tried to reach the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_digits_come_with_scikit_learn(tmp_path):
    found = load("digits", tmp_path)
    assert found.x.shape == (1797, 1, 8, 8)
    assert (found.x.min(), found.x.max()) == (0.0, 1.0)
    assert found.num_classes == 10


def test_a_named_set_is_its_npz_in_the_data_folder(tmp_path, monkeypatch):
    images = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "fashion_mnist.npz", x_train=images[:4], y_train=[0, 1, 2, 3], x_test=images[4:], y_test=[4, 5])
    found = load("fashion_mnist", tmp_path)
    assert found.name == "fashion_mnist"
    np.testing.assert_array_equal(found.x[:, 0], images)
    monkeypatch.setenv("EDGEPRIV_DATA", str(tmp_path))
    assert default_data_dir() == tmp_path
    assert load("fashion_mnist").sha256 == found.sha256


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(tmp_path):
    for name in ("fashion_mnist", "cifar10"):
        with pytest.raises(UserError, match=f"{name}.*{tmp_path}.*--download.*--data-dir"):
            load(name, tmp_path)
    for name in ("purchase100", "texas100", "location30"):
        with pytest.raises(UserError, match=rf"{name}.*{tmp_path}.*put {name}\.npz there"):
            load(name, tmp_path)
    with pytest.raises(UserError, match=r"no such file.*adult\.npz"):
        load("adult", tmp_path)


def test_an_unknown_name_lists_the_known(tmp_path):
    for name in ("fashion", "../secret"):
        with pytest.raises(UserError) as error:
            load(name, tmp_path)
        assert all(known in str(error.value) for known in (name, "digits", "fashion_mnist", "location30", "npz:FILE"))


# --- published forms ---


def rows_of(labels, features, quoted):
    shown = [f'"{label}"' if quoted else str(label) for label in labels]
    return "\n".join(f"{label},{','.join(map(str, row))}" for label, row in zip(shown, features, strict=True)) + "\n"


@pytest.mark.parametrize(
    ("name", "file", "quoted"), [("purchase100", "dataset_purchase", False), ("location30", "bangkok", True)]
)
def test_tables_with_the_label_first(tmp_path, name, file, quoted):
    features = RNG.integers(0, 2, (9, 7))
    (tmp_path / file).write_text(rows_of([3, 1, 2] * 3, features, quoted))
    found = load(name, tmp_path)
    assert found.x.dtype == np.float32
    np.testing.assert_array_equal(found.x, features)
    assert found.y.tolist() == [2, 0, 1] * 3
    assert found.name == name


def test_texas_is_two_files(tmp_path):
    features = RNG.integers(0, 2, (6, 5))
    folder = tmp_path / "texas" / "100"
    folder.mkdir(parents=True)
    (folder / "feats").write_text("\n".join(",".join(map(str, row)) for row in features))
    (folder / "labels").write_text("1\n2\n3\n3\n2\n1\n")
    found = load("texas100", tmp_path)
    np.testing.assert_array_equal(found.x, features)
    assert found.y.tolist() == [0, 1, 2, 2, 1, 0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no examples"),
        ("1,0,x\n2,1,0\n", "not a table of numbers"),
        ("1,0,1\n2,1\n", "not a table of numbers"),
        ("1\n2\n", "no examples"),
        ("1.5,0\n2,1\n", "whole numbers"),
        ("nan,0\n2,1\n", "whole numbers"),
    ],
)
def test_damaged_published_files_are_one_sentence(tmp_path, text, sentence):
    (tmp_path / "dataset_purchase").write_text(text)
    with pytest.raises(UserError, match=sentence):
        load("purchase100", tmp_path)


@pytest.mark.parametrize("name", ["purchase100", "texas100", "location30"])
def test_an_npz_wins_over_the_published_form(tmp_path, name):
    np.savez(tmp_path / f"{name}.npz", x=np.eye(4), y=[0, 1, 0, 1])
    assert load(name, tmp_path).x.shape == (4, 4)


def test_adult_is_scaled_by_the_range_of_its_training_part(tmp_path):
    train = np.array([[-2.0, 5.0, 1.0], [2.0, 5.0, 3.0], [0.0, 5.0, 2.0]])
    test = np.array([[9.0, 5.0, 1.5], [-9.0, 6.0, 3.0]])
    np.savez(tmp_path / "adult.npz", x_train=train, y_train=[0, 1, 0], x_test=test, y_test=[1, 0])
    found = load("adult", tmp_path)
    assert found.x.tolist() == [[0, 0, 0], [1, 0, 1], [0.5, 0, 0.5], [1, 0, 0.25], [0, 1, 1]]
    assert found.class_names == ("<=50K", ">50K")


def test_adult_without_its_parts_names_the_keys(tmp_path):
    np.savez(tmp_path / "adult.npz", x=np.eye(4), y=[0, 1, 0, 1])
    with pytest.raises(UserError, match=r"keys \['x', 'y'\]; expected x_train"):
        load("adult", tmp_path)


# --- torchvision's layout ---


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist_folder(tmp_path):
    images, labels = RNG.integers(0, 256, (15, 28, 28)), np.arange(15) % 10
    raw = tmp_path / "MNIST" / "raw"
    for part, index in (("train", slice(0, 10)), ("t10k", slice(10, 15))):
        write_idx(raw / f"{part}-images-idx3-ubyte", images[index])
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels[index])
    return tmp_path, images, labels


def test_mnist_in_torchvisions_layout_loads_every_part(mnist_folder):
    folder, images, labels = mnist_folder
    found = load("mnist", folder)
    np.testing.assert_array_equal(found.x[:, 0], images)
    np.testing.assert_array_equal(found.y, labels)
    assert len(found.class_names) == 10


def test_a_truncated_idx_file_is_one_sentence(mnist_folder):
    folder, _, _ = mnist_folder
    path = folder / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="mnist"):
        load("mnist", folder)


def test_torchvision_sets_of_another_kind_are_one_sentence(tmp_path):
    for name in ("coco_detection", "fakedata", "emnist"):
        with pytest.raises(UserError, match=f"{name}.*a training and a test part of labelled images"):
            load(name, tmp_path)
