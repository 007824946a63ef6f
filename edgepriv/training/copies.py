"""Examples of the privacy holdout that repeat somebody: who distils on these, trains on the other as well."""

import numpy as np

from edgepriv.data import Dataset, Split
from edgepriv.data.repeats import prints

_KNOWN: dict[tuple[str, bool, bytes, bytes], np.ndarray] = {}
"""Of the last data set: harden and the reference models of one process ask about the same, and all of it is hashed."""


def copied_in_holdout(dataset: Dataset, split: Split) -> np.ndarray:
    """Which examples of the privacy holdout are equal to one that is not held out: a copy tells of the other.

    Args:
        dataset: the examples.
        split: who is held out.

    Returns:
        bool [H], by hash; images are compared as bytes. Copies within the holdout and the validation part do not count.
    """
    key = (dataset.sha256, dataset.canaries is not None, split.holdout.tobytes(), split.validation.tobytes())
    if key not in _KNOWN:
        held = np.union1d(split.holdout, split.validation)
        own = list(prints(dataset.x, split.holdout))
        copied = set(own).intersection(prints(dataset.x, np.setdiff1d(np.arange(len(dataset)), held))) if own else set()
        _KNOWN.clear()
        _KNOWN[key] = np.array([digest in copied for digest in own], dtype=bool)
    return _KNOWN[key]
