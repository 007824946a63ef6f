"""The kinds of canary, each drawn for its places (Aerni et al. 2024, section 4).

``mislabelled``: the record that was there, under a label drawn from the other classes (the paper's canaries for most
defences). ``rare``: of pictures, one colour drawn at random (the paper's "blank images"), no two alike; of tables, which the
paper does not have, every column of its own takes a value at random among those that occur there; both under a random label.
``near-duplicate``: a copy of an ordinary candidate, changed a little (a picture moved by one pixel, a row with one other cell),
under a wrong label; who holds the original is drawn independently (the paper's canaries for defences that rely on neighbours,
which copies exactly).
"""

from collections.abc import Callable

import numpy as np

from edgepriv.data.dataset import Dataset
from edgepriv.errors import UserError

_VALUES = 2_000  # candidates among whom a column's values are looked for

Examples = tuple[np.ndarray, np.ndarray]
"""Inputs in the type of the data set, and labels int64, of all canaries."""


def _wrong(labels: np.ndarray, classes: int, generator: np.random.Generator) -> np.ndarray:
    """Uniform among the other classes."""
    drawn = generator.integers(classes - 1, size=len(labels))
    return (drawn + (drawn >= labels)).astype(np.int64)


def _mislabelled(dataset: Dataset, others: np.ndarray, index: np.ndarray, generator: np.random.Generator) -> Examples:
    return dataset.x[index], _wrong(dataset.y[index], dataset.num_classes, generator)


def _rare(dataset: Dataset, others: np.ndarray, index: np.ndarray, generator: np.random.Generator) -> Examples:
    labels = generator.integers(dataset.num_classes, size=len(index)).astype(np.int64)
    if len(dataset.input_shape) == 3:
        return _one_colour(dataset, len(index), generator), labels
    some = generator.permutation(others)[:_VALUES]
    x = dataset.x[index].copy()
    for column in _columns(dataset):
        values = np.unique(dataset.x[some][:, column], axis=0)
        x[:, column] = values[generator.integers(len(values), size=len(index))]
    return x, labels


def _one_colour(dataset: Dataset, count: int, generator: np.random.Generator) -> np.ndarray:
    """Pictures of one colour, no two of which are alike."""
    channels = dataset.input_shape[0]
    if dataset.x.dtype != np.uint8:
        colours = generator.random((count, channels)).astype(dataset.x.dtype)
    elif channels == 1:
        if count > 256:
            raise UserError(
                f"{dataset.name}: grey pictures of one colour come in 256 shades, fewer than {count:,} rare canaries: ask for "
                "fewer, or for mislabelled ones"
            )
        colours = generator.choice(256, count, replace=False).astype(np.uint8)[:, None]
    else:
        colours = np.empty((0, channels), np.uint8)
        while len(colours) < count:
            more = generator.integers(256, size=(count - len(colours), channels), dtype=np.uint8)
            colours = np.unique(np.concatenate([colours, more]), axis=0)
        colours = generator.permutation(colours)
    return np.broadcast_to(colours[:, :, None, None], (count, *dataset.input_shape)).copy()


def _near_duplicate(
    dataset: Dataset, others: np.ndarray, index: np.ndarray, generator: np.random.Generator
) -> Examples:
    if len(others) < len(index):
        raise UserError(
            f"{len(others):,} ordinary records are too few to copy {len(index):,} of them: ask for fewer canaries"
        )
    originals = generator.permutation(others)[: len(index)]
    x, labels = dataset.x[originals].copy(), _wrong(dataset.y[originals], dataset.num_classes, generator)
    if len(dataset.input_shape) == 3:
        return _moved(x, generator), labels
    columns = _columns(dataset)
    lenders = dataset.x[generator.permutation(others)[: min(len(others), _VALUES)]]
    for row in x:
        for place in generator.permutation(len(columns)):
            column = columns[place]
            different = np.flatnonzero((lenders[:, column] != row[column]).any(axis=1))
            if len(different):
                row[column] = lenders[generator.choice(different)][column]
                break
    return x, labels


def _moved(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each picture by one pixel, up, down, left or right; its edge is repeated."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = x.shape[2:]
    steps = np.array([(0, 1), (2, 1), (1, 0), (1, 2)])[generator.integers(4, size=len(x))]
    return np.stack(
        [one[:, top : top + height, left : left + width] for one, (top, left) in zip(padded, steps, strict=True)]
    )


def _columns(dataset: Dataset) -> list[np.ndarray]:
    """Inputs that say one thing together: those of a column of an encoded table, else each by itself."""
    if dataset.encoding is None:
        return [np.array([place]) for place in range(dataset.x.shape[1])]
    names = [column["name"] for column, _ in dataset.encoding.features]
    return [np.flatnonzero([own == name for own in names]) for name in dict.fromkeys(names)]


MAKERS: dict[str, Callable[[Dataset, np.ndarray, np.ndarray, np.random.Generator], Examples]] = {
    "mislabelled": _mislabelled,
    "rare": _rare,
    "near-duplicate": _near_duplicate,
}
"""Kind -> canaries for the places ``index``, made of the ordinary candidates ``others``."""
