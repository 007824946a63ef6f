"""What an attacker can derive from inputs alone: generated examples, and features of examples."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from edgepriv.data import Dataset

GENERATED = 1_000
COMPONENTS, SIDE = 32, 32
_CHUNK = 2048

Float32s = npt.NDArray[np.float32]


def generated_inputs(dataset: Dataset, index: np.ndarray, seed: int) -> Float32s:
    """Inputs that cannot be members, made of random examples.

    Images are replaced by their edges (mean of the absolute Sobel gradients along both axes, the generator that Hui et
    al. 2021 found best); in tables every feature is shuffled among the examples, which keeps each feature's distribution.

    Args:
        dataset: the examples.
        index: int64 [n], places of those that may be used.
        seed: of the draw.

    Returns:
        float32 [at most 1,000, ...] in [0, 1].
    """
    rng = np.random.default_rng([seed, 3])
    inputs = dataset.inputs(np.sort(rng.permutation(index)[:GENERATED]))
    if inputs.ndim == 4:
        return np.clip((np.abs(_sobel(inputs, 2, 3)) + np.abs(_sobel(inputs, 3, 2))) / 2, 0.0, 1.0)
    return rng.permuted(inputs, axis=0)


def _sobel(images: Float32s, across: int, along: int) -> Float32s:
    """Of each image by itself; scipy's filter of that name would smooth over channels and examples too."""
    gradient: Float32s = correlate1d(correlate1d(images, [-1, 0, 1], axis=across), [1, 2, 1], axis=along)
    return gradient


def features(dataset: Dataset, *asked: np.ndarray, fitted_on: np.ndarray, seed: int) -> list[Float32s]:
    """Principal components of the examples' inputs. No model and no label plays a part.

    Images larger than 32 x 32 are first averaged over blocks.

    Args:
        dataset: the examples.
        asked: int64 [n], places of the examples that are wanted, for each array that is returned.
        fitted_on: int64 [m], places of the examples whose components they are.
        seed: of the randomised decomposition.

    Returns:
        For each array float32 [n, at most 32].
    """
    components = min(COMPONENTS, len(fitted_on), _flat(dataset, fitted_on[:1]).shape[1])
    with threadpool_limits(1):
        projection = PCA(components, svd_solver="randomized", random_state=seed).fit(_flat(dataset, fitted_on[:_CHUNK]))
        return [_projected(projection, dataset, index) for index in asked]


def _projected(projection: PCA, dataset: Dataset, index: np.ndarray) -> Float32s:
    chunks = [index[start : start + _CHUNK] for start in range(0, len(index), _CHUNK)]
    return np.concatenate([projection.transform(_flat(dataset, chunk)).astype(np.float32) for chunk in chunks])


def _flat(dataset: Dataset, index: np.ndarray) -> Float32s:
    inputs = dataset.inputs(index)
    if inputs.ndim == 4:
        # Whole blocks only: a margin narrower than one block is cut off.
        block = [max(1, size // SIDE) for size in inputs.shape[2:]]
        rows, columns = (size // step for size, step in zip(inputs.shape[2:], block, strict=True))
        whole = inputs[:, :, : rows * block[0], : columns * block[1]]
        inputs = whole.reshape(*inputs.shape[:2], rows, block[0], columns, block[1]).mean(axis=(3, 5))
    return inputs.reshape(len(inputs), -1)
