"""Members and non-members that differ in themselves are said to, and those that do not are not."""

import io

import numpy as np
import pytest
from PIL import Image

from edgepriv.audit.shift import FEWEST, features, shift_part, warning_of
from edgepriv.data import Dataset

CLASSES = 4


def images(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Soft blobs, uint8 [n, 1, 16, 16], placed by class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(CLASSES, size=n)
    y, x = np.mgrid[:16, :16]
    middle = 3 + 3 * labels[:, None, None] + generator.normal(size=(n, 1, 1))
    blob = np.exp(-((x - middle) ** 2 + (y - 8) ** 2) / generator.uniform(10, 20, size=(n, 1, 1)))
    noisy = 200 * blob + 15 * generator.random((n, 16, 16))
    return noisy.clip(0, 255).astype(np.uint8)[:, None], labels


def table(n: int, seed: int, drift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Twenty features in [0, 1]; ``drift`` moves each of them by so many of its spreads between the first row and the last."""
    generator = np.random.default_rng(seed)
    moved = generator.normal(size=(n, 20)) + drift * np.linspace(0, 1, n)[:, None]
    return (1 / (1 + np.exp(-moved))).astype(np.float32), generator.integers(CLASSES, size=n)


def told(members, non_members, seed=0):
    x, y = (np.concatenate(both) for both in zip(members, non_members, strict=True))
    dataset = Dataset("made up", x, y, tuple(map(str, range(CLASSES))))
    return shift_part(dataset, np.arange(len(members[1])), np.arange(len(members[1]), len(y)), seed)[0]


def compressed(x: np.ndarray, quality: int) -> np.ndarray:
    def through(picture: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        return np.array(Image.open(file))

    return np.stack([through(picture) for picture in x[:, 0]])[:, None]


CHANGES = {
    "brighter": lambda x: np.minimum(x.astype(int) + 10, 255).astype(np.uint8),
    "less contrast": lambda x: (0.9 * x).astype(np.uint8),
    "compressed": lambda x: compressed(x, 75),
}


@pytest.mark.parametrize("change", CHANGES)
def test_pictures_of_another_make_are_told_apart_by_their_inputs(change):
    members, (x, y) = images(400, 0), images(400, 1)
    found = told(members, (CHANGES[change](x), y))
    assert found["found"]
    assert (found["seen"], found["p_value"] < 1e-6) == ("their inputs", True)
    assert found["auc_ci"][0] > 0.6
    [said] = warning_of(found)
    assert f"their inputs alone, without the model, tell them apart with AUC {found['auc']:.3f}" in said


def test_another_mix_of_classes_is_told_by_the_labels():
    """Also where the inputs show no class."""
    members, (x, y) = table(400, 0), table(400, 1)
    found = told(members, (x[y < 2], y[y < 2]))
    assert (found["found"], found["seen"]) == (True, "their labels")
    assert found["auc"] == found["labels"]["auc"] > 0.65
    assert found["inputs"]["auc"] < 0.6


def test_rows_of_another_time_and_of_another_kind_are_told_apart():
    x, y = table(1600, 0, drift=0.6)
    assert told((x[:800], y[:800]), (x[800:], y[800:]))["found"]
    old = x[:, 0] > np.median(x[:, 0])
    assert told((x[old], y[old]), (x[~old], y[~old]))["auc"] > 0.95


@pytest.mark.parametrize("of", [images, table])
def test_draws_of_one_source_are_alike(of):
    """Even at one in twenty instead of one in a thousand, few of sixteen would be beyond chance."""
    x, y = of(400, 5)
    chances = []
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(400)
        inside, outside = order[:150], order[150:]
        found = told((x[inside], y[inside]), (x[outside], y[outside]), seed)
        assert not found["found"]
        assert warning_of(found) == []
        chances += [found["inputs"]["p_value"], found["labels"]["p_value"]]
    assert (np.array(chances) < 0.05).mean() <= 0.25


def test_records_that_repeat_are_no_shift():
    """Learnt by heart in one half, they would be known again in the other."""
    x, y = images(100, 3)
    again = np.tile(np.arange(50), 8)
    other = np.tile(np.arange(50, 100), 8)
    assert not told((x[again], y[again]), (x[other], y[other]))["inputs"]["p_value"] < 0.001


def test_too_few_are_not_judged():
    members, non_members = table(FEWEST - 1, 0), table(400, 1)
    found = told(members, non_members)
    assert (found["found"], found["n_members"]) == (False, FEWEST - 1)
    assert f"needs {FEWEST} members" in found["note"]
    assert warning_of(found) == []


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 32, 20), (5, 1, 2, 2), (5, 1, 1, 9)])
def test_inputs_of_any_shape_have_finite_features(shape):
    found = features(np.random.default_rng(0).random(shape).astype(np.float32))
    assert len(found) == 5
    assert np.isfinite(found).all()
