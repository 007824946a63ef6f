"""Which batch sizes can be timed of files that take a fixed one."""

from collections.abc import Mapping, Sequence

from edgepriv.errors import UserError


def batches_for(fixed: Mapping[str, int | None], asked: Sequence[int]) -> tuple[list[int], list[str]]:
    """The batch sizes to time.

    Args:
        fixed: the only batch size that each file takes, by name, None for any.
        asked: sizes that were asked for.

    Returns:
        The sizes, and what there is to say about them, in sentences.

    Raises:
        UserError: when two files take none in common.
    """
    sizes = {size for size in fixed.values() if size is not None}
    if not sizes:
        return list(asked), []
    takes = ", ".join(f"{name} takes {size} at a time" for name, size in fixed.items() if size is not None)
    if len(sizes) > 1:
        raise UserError(f"no batch size suits all of these files ({takes}): measure them one by one")
    (size,) = sizes
    if list(asked) == [size]:
        return [size], []
    return [size], [f"only a batch of {size} is timed: {takes}"]
