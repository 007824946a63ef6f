"""What groups are called: names that are one however they are stored, and names of nobody."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from edgepriv.data.labels import MISSING
from edgepriv.errors import UserError

NOBODY = MISSING | {"none", "<na>", "nat", "#n/a", "-", "unknown"}
"""What stands where nobody says whose record it is, in lower case."""
_WHOLE = re.compile(r"([-+]?\d+)\.0*")
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+")
_NUMBER = re.compile(r"[-+]?\d+")


def in_one_writing(groups: np.ndarray) -> np.ndarray:
    """Groups as texts that are equal where the same is meant.

    Args:
        groups: [N], numbers or texts.

    Returns:
        Texts [N]: whole numbers without a fraction, whatever their type; no blanks around; one form of each letter.
    """
    texts, where = np.unique(groups.astype(str), return_inverse=True)
    written = [unicodedata.normalize("NFC", text.strip()) for text in texts.tolist()]
    if groups.dtype.kind == "f":
        numbers = np.unique(groups)
        written = [str(int(value)) if float(value).is_integer() else str(value) for value in numbers]
        where = np.searchsorted(numbers, groups)
    whole = [match[1] if (match := _WHOLE.fullmatch(text)) else text for text in written]
    return np.array(whole)[where.reshape(-1)]


def refuse_unlike(names: Sequence[str], groups: Sequence[np.ndarray]) -> None:
    """Refuse files, or parts of one, that may name the same person in two ways.

    Args:
        names: of the files or keys, for messages.
        groups: [N] of each.

    Raises:
        UserError: where one names persons by numbers and another by none, and where names differ by capitals, blanks or zeros
            in front alone.
    """
    texts = [set(in_one_writing(values).tolist()) for values in groups]
    for place, one in enumerate(texts):
        for offset, other in enumerate(texts[place + 1 :], place + 1):
            numbers = [sum(_NUMBER.fullmatch(text) is not None for text in side) for side in (one, other)]
            both = (names[place], names[offset])
            if (numbers[0] == len(one) and not numbers[1]) or (numbers[1] == len(other) and not numbers[0]):
                pair = f"{min(one)!r} in {both[0]}, {min(other)!r} in {both[1]}"
                raise UserError(
                    f"persons are named by numbers in one and by texts in the other ({pair}): name them alike"
                )
            loosely = {_loosely(text): text for text in one - other}
            unlike = sorted(text for text in other - one if _loosely(text) in loosely)
            if unlike:
                pair = f"{loosely[_loosely(unlike[0])]!r} in {both[0]}, {unlike[0]!r} in {both[1]}"
                raise UserError(f"the same person may be written in two ways ({pair}): write each in one way")


def _loosely(text: str) -> str:
    """Without capitals, blanks, and zeros in front of numbers."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"\s+", "", text.casefold()))


def refuse_missing(name: str, groups: np.ndarray) -> None:
    """Refuse records of which nobody says whose they are.

    Args:
        name: of the data, for messages.
        groups: [N], numbers or texts.

    Raises:
        UserError: with their number.
    """
    missing = _missing(groups)
    if missing.any():
        raise UserError(
            f"{name}: {int(missing.sum()):,} of {len(groups):,} records have no group: say whose they are, or leave them out"
        )


def _missing(groups: np.ndarray) -> np.ndarray:
    if groups.dtype.kind in "if":
        known = groups[groups != -1]
        unknown = (groups == -1) & bool(len(known) and known.min() >= 0)  # as codes of categories have it
        return np.asarray(~np.isfinite(groups) | unknown)
    if groups.dtype.kind in "mM":
        return np.asarray(np.isnat(groups))
    if groups.dtype.kind in "US":
        return np.isin(np.char.lower(np.char.strip(groups.astype(str))), sorted(NOBODY))
    return np.zeros(len(groups), dtype=bool)


def refuse_rounded(name: str, groups: np.ndarray) -> None:
    """Refuse numbers of persons that have lost their last digits, so that several persons may have become one.

    Args:
        name: of the data, for messages.
        groups: [N], numbers or texts; none is missing.

    Raises:
        UserError: for whole numbers that their type cannot hold, and for texts such as 1.23E+11.
    """
    if groups.dtype.kind == "f":
        most = 2.0 ** (np.finfo(groups.dtype).nmant + 1)
        if np.abs(groups).max() > most:
            raise UserError(
                f"{name}: groups are {groups.dtype}, which rounds whole numbers beyond {most:.0f} (the largest is "
                f"{np.abs(groups).max():.0f}), so that several persons may have become one: save them as integers or texts"
            )
    elif groups.dtype.kind in "US":
        rounded = next(
            (text for text in np.unique(groups.astype(str)).tolist() if _ROUNDED.fullmatch(text.strip())), None
        )
        if rounded is not None:
            raise UserError(
                f"{name}: a group is called {rounded!r}, a number that a spreadsheet has rounded, so that several persons may "
                "have become one: save groups as texts"
            )


def nearly_one(groups: np.ndarray | None) -> tuple[str, ...]:
    """What there is to say of names that may be of one person.

    Args:
        groups: [N], numbers or texts; None without any.

    Returns:
        A sentence where two differ by capitals, blanks or zeros in front alone; else none.
    """
    if groups is None or groups.dtype.kind not in "US":
        return ()
    alike: dict[str, list[str]] = {}
    for text in np.unique(in_one_writing(groups)).tolist():
        alike.setdefault(_loosely(text), []).append(text)
    pairs = [texts for texts in alike.values() if len(texts) > 1]
    if not pairs:
        return ()
    one, other = pairs[0][:2]
    more = f", and {len(pairs) - 1:,} more such pairs," if len(pairs) > 1 else ""
    return (f"warning: groups {one!r} and {other!r}{more} count as different persons: write each person in one way",)
