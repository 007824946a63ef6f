"""How many examples play which role, where the user does not say."""

from edgepriv.data.dataset import Dataset
from edgepriv.recipe import Data

ROLES = ("members", "non_members", "reference", "holdout", "validation")

# Famili & Lao 2023, section 4.1.3: 15,000 examples for the target, 15,000 for the shadow model, two sets of 15,000 to
# test. The reference pool holds the shadow model's two sets. CIFAR-10 has 60,000 examples in all, so there the
# shadow model's test set gives up 5,000 to the privacy holdout and the validation set, which the paper does without.
_PAPER_SIZES = {
    "fashion_mnist": (15_000, 15_000, 30_000, 5_000, 5_000),
    "mnist": (15_000, 15_000, 30_000, 5_000, 5_000),
    "cifar10": (15_000, 15_000, 25_000, 2_500, 2_500),
    "location30": (1_000, 1_000, 2_000, 400, 400),
}
_SHARES = (0.3, 0.3, 0.3, 0.05, 0.05)
_SHARES_OF_NON_MEMBERS = (0.4, 0.4, 0.1, 0.1)
RESOLVED = 100
"""So many non-members resolve a false-positive rate of 1%. Small sets keep them before they fill the attacker's pool."""


def of_pool(dataset: Dataset) -> tuple[int, ...]:
    """Sizes for a data set that is one pool: the papers' sizes of the sets they use, else shares of it.

    Below 334 examples 30% would be fewer than 100 non-members: then there are 100, at the cost of the pool, and half of the
    examples where even that is not enough.

    Args:
        dataset: all of it.

    Returns:
        One number for each of ROLES.
    """
    total = len(dataset)
    sizes = _PAPER_SIZES.get(dataset.name)
    if sizes is not None and sum(sizes) <= total:
        return sizes
    members, non_members, reference, holdout, validation = (int(share * total) for share in _SHARES)
    if non_members < RESOLVED:
        more = min(RESOLVED, total // 2)
        reference = max(0, reference - (more - non_members))
        non_members = more
    return members, non_members, reference, holdout, validation


def of_non_members(total: int) -> tuple[int, ...]:
    """Sizes for examples that are no members.

    Below 250 examples 40% would be fewer than 100 non-members: then there are 100, or 80% where even that is not enough, and
    the others keep their proportions.

    Args:
        total: how many there are.

    Returns:
        Non-members, pool, holdout and validation.
    """
    sizes = tuple(int(share * total) for share in _SHARES_OF_NON_MEMBERS)
    if sizes[0] >= RESOLVED:
        return sizes
    non_members = min(RESOLVED, int(0.8 * total))
    kept_back = (total - non_members) // 6
    return non_members, total - non_members - 2 * kept_back, kept_back, kept_back


def of_parts(training: int, others: int, kept_back: int, asked: Data) -> tuple[tuple[int, ...], bool]:
    """Sizes for a data set with parts of its own.

    Half of the training part are members and half the pool; of the other parts 80% are non-members. Where more than two
    thirds of the training part are to be members, too little is left of it, and the pool is drawn from the other parts.
    With a validation part of ``kept_back`` > 0 examples, half of that are the holdout and half the validation set, and all
    ``others`` are non-members, or non-members and pool.

    Args:
        training: examples of the training part.
        others: those of the other parts, without ``kept_back``.
        kept_back: those of the validation part, 0 without one.
        asked: ``members``, if the user says how many.

    Returns:
        One number for each of ROLES, and whether the training part holds the attacker's pool too.
    """
    members = training // 2 if asked.members is None else asked.members
    left = training - members
    pool_inside = left >= members / 2
    if kept_back:
        non_members = others if pool_inside else min(others, max(others // 2, RESOLVED))
        pool = left if pool_inside else others - non_members
        return (members, non_members, pool, kept_back // 2, kept_back - kept_back // 2), pool_inside
    if pool_inside:
        kept_back = others // 10
        return (members, others - 2 * kept_back, left, kept_back, kept_back), True
    return (members, *of_non_members(others)), False
