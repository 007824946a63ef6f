"""Which records are equal: same inputs, to the last bit, and same label."""

import hashlib
from collections import Counter, defaultdict

import numpy as np

from edgepriv.data.dataset import Dataset


class EqualRecords:
    """The records of a data set by their inputs, to tell a new one from all of them."""

    def __init__(self, dataset: Dataset) -> None:
        """Look at every record once.

        Args:
            dataset: the examples, whose inputs new ones must have the type of.
        """
        self._classes = dataset.num_classes
        self._prints = prints(dataset.x)
        self._labels = dataset.y.tolist()
        self._known: dict[bytes, Counter[int]] = defaultdict(Counter)
        for own, label in zip(self._prints, self._labels, strict=True):
            self._known[own][label] += 1

    def relabelable(self, order: np.ndarray, besides: np.ndarray) -> np.ndarray:
        """The records that could each stand under another label and equal no other one.

        Args:
            order: int64 [n], their places; of equal inputs the first counts.
            besides: int64, places that were chosen before.

        Returns:
            Those of ``order``, in its order, whose inputs the data do not hold under every other label.
        """
        taken = {self._prints[place] for place in besides.tolist()}
        kept = []
        for place in order.tolist():
            own = self._prints[place]
            if own not in taken and len(set(self._known[own]) - {self._labels[place]}) < self._classes - 1:
                taken.add(own)
                kept.append(place)
        return np.array(kept, dtype=np.int64)

    def leave_out(self, index: np.ndarray) -> None:
        """Forget records whose places new ones take.

        Args:
            index: int64, their places.
        """
        for place in index.tolist():
            labels = self._known[self._prints[place]]
            labels[self._labels[place]] -= 1
            labels += Counter()  # drops what is 0

    def there(self, x: np.ndarray, y: np.ndarray, *, by_inputs: bool = False) -> np.ndarray:
        """Which new records are in the data.

        Args:
            x: inputs [n, ...], in the type of the data.
            y: int64 [n].
            by_inputs: under any label.

        Returns:
            bool [n].
        """
        seen = (self._known.get(own, Counter[int]()) for own in prints(x))
        return np.array([bool(labels) if by_inputs else y[n] in labels for n, labels in enumerate(seen)], dtype=bool)

    def not_new(self, x: np.ndarray, y: np.ndarray, *, by_inputs: bool = False) -> np.ndarray:
        """Which new records are in the data, or equal a new one before them.

        Args:
            x: inputs [n, ...], in the type of the data.
            y: int64 [n].
            by_inputs: under any label.

        Returns:
            bool [n].
        """
        before: set[tuple[bytes, int]] = set()
        twice = []
        for own, label in zip(prints(x), y.tolist(), strict=True):
            key = (own, -1 if by_inputs else label)
            twice.append(key in before)
            before.add(key)
        either: np.ndarray = self.there(x, y, by_inputs=by_inputs) | np.array(twice, dtype=bool)
        return either


def prints(x: np.ndarray) -> list[bytes]:
    """A hash of each example's bytes.

    Args:
        x: [n, ...].

    Returns:
        n hashes of 16 bytes; equal for equal inputs of one type.
    """
    return [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest() for row in x]
