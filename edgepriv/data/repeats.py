"""Examples that repeat others, found by a hash of their inputs."""

import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

from edgepriv.data.dataset import as_inputs

_CHUNK = 4096


def prints(x: np.ndarray) -> Iterator[bytes]:
    """A hash of each example; images as bytes, whether or not they are kept so.

    Args:
        x: inputs [N, ...], as a data set keeps them.

    Returns:
        N digests, in order.
    """
    for start in range(0, len(x), _CHUNK):
        rows = x[start : start + _CHUNK]
        if rows.dtype != np.uint8:
            rows = as_inputs(rows)
            if rows.ndim == 4:
                rows = np.rint(rows * 255).astype(np.uint8)
        for row in rows:
            yield hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()


def notes_on_repeats(members: np.ndarray, non_members: np.ndarray) -> list[str]:
    """What equal examples do to figures of members and others.

    Args:
        members: inputs [M, ...], as a data set keeps them.
        non_members: inputs [N, ...], likewise.

    Returns:
        Sentences; none where no member is equal to another or to a non-member.
    """
    times = Counter(prints(members))
    lines = []
    known = sum(digest in times for digest in prints(non_members))
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
