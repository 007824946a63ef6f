import numpy as np
import pytest
from scipy.ndimage import convolve

from edgepriv.audit.inputs import COMPONENTS, GENERATED, features, generated_inputs
from edgepriv.data import Dataset


def images(n, size, dtype=np.float32, channels=1):
    rng = np.random.default_rng(0)
    x = rng.random((n, channels, size, size)).astype(np.float32)
    x = (x * 255).astype(np.uint8) if dtype == np.uint8 else x
    return Dataset("images", x, np.zeros(n, dtype=np.int64), ("a", "b"))


def table(n, width):
    x = np.random.default_rng(0).random((n, width)).astype(np.float32)
    return Dataset("table", x, np.zeros(n, dtype=np.int64), ("a", "b"))


def test_generated_images_are_the_edges_of_examples():
    dataset = images(20, 8, np.uint8)
    made = generated_inputs(dataset, np.arange(20), seed=0)
    assert made.dtype == np.float32
    assert made.shape == (20, 1, 8, 8)
    assert made.min() >= 0
    assert made.max() <= 1
    down = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], dtype=np.float32)
    x = dataset.inputs()[3, 0]
    edges = (np.abs(convolve(x, down)) + np.abs(convolve(x, down.T))) / 2
    np.testing.assert_allclose(made[3, 0], np.clip(edges, 0, 1), atol=1e-5)


def test_generated_rows_keep_every_features_values_but_no_example():
    dataset = table(200, 12)
    index = np.arange(50, 150)
    made = generated_inputs(dataset, index, seed=0)
    np.testing.assert_array_equal(np.sort(made, axis=0), np.sort(dataset.x[index], axis=0))
    known = set(map(bytes, dataset.x))
    assert not any(bytes(row) in known for row in made)


def test_generated_inputs_are_few_and_depend_on_the_seed():
    dataset = table(GENERATED + 500, 4)
    made = [generated_inputs(dataset, np.arange(len(dataset)), seed=seed) for seed in (0, 0, 1)]
    assert len(made[0]) == GENERATED
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.mark.parametrize("dataset", [images(60, 8), images(60, 70, np.uint8, 3), table(60, 500), table(60, 5)])
def test_features_are_few_finite_and_owe_nothing_to_the_candidates(dataset):
    fitted_on, asked = np.arange(40), np.arange(40, 60)
    of_asked, of_known = features(dataset, asked, fitted_on, fitted_on=fitted_on, seed=0)
    assert of_asked.shape[1] <= min(COMPONENTS, dataset.x[0].size)
    assert of_asked.dtype == np.float32
    assert np.isfinite(of_asked).all()
    assert len(of_known) == 40
    [some] = features(dataset, asked[:3], fitted_on=fitted_on, seed=0)
    np.testing.assert_allclose(some, of_asked[:3], atol=1e-5)


def test_features_of_large_images_are_those_of_their_block_means():
    rng, small = np.random.default_rng(0), images(80, 32, channels=3)
    large = small.x.repeat(3, axis=2).repeat(3, axis=3) + 0.0
    large += 0.01 * rng.standard_normal((80, 3, 96, 96)).astype(np.float32)
    large = Dataset("large", large, small.y, small.class_names)
    [expected], [found] = (
        features(dataset, np.arange(80), fitted_on=np.arange(80), seed=0) for dataset in (small, large)
    )
    cosines = np.abs((expected * found).sum(0)) / np.linalg.norm(expected, axis=0) / np.linalg.norm(found, axis=0)
    assert (cosines[:5] > 0.9).all()
