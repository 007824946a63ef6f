"""What is said of a split: who plays which role, what repeats, and what the sizes allow."""

import numpy as np

from edgepriv.data.dataset import Dataset
from edgepriv.data.repeats import notes_on_repeats
from edgepriv.data.sizes import RESOLVED, ROLES
from edgepriv.data.splits import SHOWN, Split, training_side, validation_side


def notes_on_split(dataset: Dataset, split: Split) -> list[str]:
    """Who plays which role, and what the sizes allow.

    Args:
        dataset: all of it.
        split: of it.

    Returns:
        Sentences.
    """
    lines = [", ".join(f"{SHOWN.get(role, role)} {count:,}" for role, count in split.sizes.items())]
    inside = training_side(dataset)
    if inside is not None:
        of_pool = "members and the pool" if inside[split.reference].any() else "members"
        others = "the others are not"
        of_validation = validation_side(dataset)
        if of_validation is not None:
            count = int(of_validation.sum())
            others = f"holdout and validation of its validation part ({count:,}), non-members of its test part"
        lines.append(f"{of_pool} are of the file's training part ({int(inside.sum()):,} examples), {others}")
    if dataset.groups is not None:
        lines.append(_of_groups(dataset.groups, split))
    repeats = notes_on_repeats(dataset.x, split.members, split.non_members)
    return lines + repeats + notes_on_resolution(len(split.non_members))


def notes_on_resolution(non_members: int) -> list[str]:
    """What few non-members cannot tell.

    Args:
        non_members: how many there are.

    Returns:
        A sentence; none from 1,000 on.
    """
    if non_members >= 10 * RESOLVED:
        return []
    hint = "" if non_members >= RESOLVED else ": too few for 1%"
    return [f"the smallest false-positive rate that {non_members} non-members resolve is 1/{non_members}{hint}"]


def _of_groups(groups: np.ndarray, split: Split) -> str:
    """How many groups play which role."""
    roles = {role: np.unique(groups[getattr(split, role)]) for role in ROLES}
    each = ", ".join(f"{SHOWN.get(role, role)} {len(own):,}" for role, own in roles.items())
    every, times = np.unique(np.concatenate(list(roles.values())), return_counts=True)
    if (times > 1).any():  # of official parts: a validation and a test part that share some
        return f"groups: {each}; warning: {int((times > 1).sum()):,} of {len(every):,} play several roles"
    return f"groups: {each}; each of the {len(every):,} plays one role"
