"""Examples that repeat others, found by a hash of their inputs."""

import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

_CHUNK = 256
"""Examples that are copied at a time: a data set may fill the memory."""


def prints(x: np.ndarray, index: np.ndarray | None = None) -> Iterator[bytes]:
    """A hash of each example; images as bytes, whether or not they are kept so.

    Args:
        x: inputs [N, ...], as a data set keeps them.
        index: int64 [M], which of them; None for all.

    Returns:
        A digest for each, in order.
    """
    asked = np.arange(len(x)) if index is None else index
    for start in range(0, len(asked), _CHUNK):
        rows = x[asked[start : start + _CHUNK]]
        if rows.ndim == 4 and rows.dtype != np.uint8:
            rows = np.rint(rows * 255).astype(np.uint8)
        for row in rows:
            yield hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()


def notes_on_repeats(x: np.ndarray, members: np.ndarray, non_members: np.ndarray) -> list[str]:
    """What equal examples do to figures of members and others.

    Args:
        x: inputs [N, ...], as a data set keeps them.
        members: int64 [M], which of them are members.
        non_members: int64, which are not.

    Returns:
        Sentences; none where no member is equal to another or to a non-member.
    """
    times = Counter(prints(x, members))
    lines = []
    known = sum(digest in times for digest in prints(x, non_members))
    if known:
        lines.append(
            f"warning: {known:,} of the {len(non_members):,} non-members are equal to a member, so the model was trained on "
            "them as well: its accuracy on others reads too high, and its leakage too low; if they are copies, leave them out"
        )
    again = len(members) - len(times)
    if again:
        lines.append(
            f"{again:,} of the {len(members):,} members repeat another, and one is there {max(times.values()):,} times: "
            "intervals take each for a draw of its own, and an epsilon is of one record, not of all that are equal to it"
        )
    return lines
