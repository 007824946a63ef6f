"""Labels as people have them -> classes: one number for each example, one name for each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepriv.errors import UserError

MISSING = frozenset({"", "nan", "na", "n/a", "null", "?"})
"""What stands for a label that is not there, in lower case. Not "none", which may name a class."""
FEW = 20
"""So many different values are classes, whatever they look like; more must be whole numbers or names that repeat."""
_ROUNDING = 1e-4
_SHOWN = 6


@dataclass(frozen=True)
class Labels:
    """``y``: int64 [N], positions in ``names``. ``notes``: what was made of the labels that is not plain, in sentences."""

    y: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def coded(name: str, y: np.ndarray, class_names: tuple[str, ...] | None = None) -> Labels:
    """The classes of raw labels: whole numbers, names, or one-hot rows [N, L].

    With ``class_names``, numbers are positions among them and names must be among them. Without, the different labels are the
    classes, numbers in their order: 10, 20 and 30 are three.

    Args:
        name: of the data, for messages.
        y: [N] or [N, L].
        class_names: of the model, if known.

    Returns:
        int64 [N] positions among the names, the names, and notes.

    Raises:
        UserError: for labels that are missing, not a class, or several for one example.
    """
    if y.ndim == 2 and y.shape[1] > 1:
        return _one_hot(name, y, class_names)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise UserError(f"{name}: labels have shape {list(y.shape)}; expected one label for each example")
    if y.dtype.kind in "US":
        texts = np.char.strip(y.astype(str))
        _refuse_missing(name, texts)
        if class_names is not None and set(texts.tolist()) <= set(class_names):
            return Labels(_positions(texts, class_names), class_names)
        numbers = _as_numbers(texts)
        if numbers is None:
            return _of_names(name, texts, class_names)
        y = numbers
    elif y.dtype.kind == "f":
        _refuse_nan(name, y)
        _refuse_fractions(name, y)
    elif y.dtype.kind not in "uib":
        raise UserError(f"{name}: labels must be whole numbers or names (their dtype is {y.dtype})")
    return _of_numbers(name, y, class_names)


def _one_hot(name: str, y: np.ndarray, class_names: tuple[str, ...] | None) -> Labels:
    count = y.shape[1]
    if y.dtype.kind not in "uibf":
        raise UserError(f"{name}: labels have shape {list(y.shape)}; expected one label for each example")
    if y.dtype.kind == "f":
        _refuse_nan(name, y)
    sums = y.sum(axis=1, dtype=np.float64)
    if np.isin(y, (0, 1)).all():
        several, none = int((sums > 1).sum()), int((sums == 0).sum())
        if several or none:
            raise UserError(
                f"{name}: labels are {count} findings for each example ({several} of {len(y)} rows have several, {none} "
                "none), and an example must have one class: keep one finding (y[:, 0]), or audit each as a model of its own"
            )
        if class_names is not None and len(class_names) != count:
            raise UserError(f"{name}: labels are one-hot rows of {count}, but there are {len(class_names)} class names")
        notes = (f"labels are one-hot rows of {count}, read as {count} classes",)
        return Labels(y.argmax(axis=1).astype(np.int64), class_names or tuple(map(str, range(count))), notes)
    if (y >= 0).all() and np.allclose(sums, 1, atol=_ROUNDING):
        raise UserError(
            f"{name}: labels are {count} probabilities for each example (soft labels), and an example must have one class: "
            "save the class of each, such as y.argmax(axis=1), if that is what the model was trained on"
        )
    raise UserError(
        f"{name}: labels have shape {list(y.shape)} and are not one-hot rows; expected one label for each example"
    )


def _refuse_missing(name: str, texts: np.ndarray) -> None:
    missing = np.array([text.lower() in MISSING for text in texts.tolist()], dtype=bool)
    if missing.any():
        row = int(missing.argmax())
        raise UserError(
            f"{name}: {int(missing.sum())} labels are missing (first: {str(texts[row])!r} in row {row}): remove these examples"
        )


def _refuse_nan(name: str, y: np.ndarray) -> None:
    bad = ~np.isfinite(y.reshape(len(y), -1)).all(axis=1)
    if bad.any():
        raise UserError(
            f"{name}: {int(bad.sum())} labels are NaN or infinite (first: row {int(bad.argmax())}); labels must be whole "
            "numbers or names"
        )


def _refuse_fractions(name: str, y: np.ndarray) -> None:
    fractions = y != np.floor(y)
    if fractions.any():
        row = int(fractions.argmax())
        raise UserError(f"{name}: labels must be whole numbers or names (row {row} has {y[row]:g})")


def _as_numbers(texts: np.ndarray) -> np.ndarray | None:
    """float64, or None when any is not a number: ``0`` and ``0.0`` are one class, ``0`` and ``zero`` are two."""
    if any("_" in text for text in texts.tolist()):
        return None  # Python reads "1_0" as ten
    try:
        numbers = texts.astype(np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _of_names(name: str, texts: np.ndarray, class_names: tuple[str, ...] | None) -> Labels:
    if class_names is not None:
        strange = sorted(set(texts.tolist()) - set(class_names))
        raise UserError(
            f"{name}: label {strange[0]!r} is outside the classes ({', '.join(class_names[:_SHOWN])}"
            f"{', ...' if len(class_names) > _SHOWN else ''})"
        )
    names, y = np.unique(texts, return_inverse=True)
    _refuse_too_many(name, len(names), len(texts), str(names[0]))
    return Labels(y.astype(np.int64), tuple(names.tolist()), _nearly_one(names.tolist()))


def _nearly_one(names: Sequence[str]) -> tuple[str, ...]:
    """What there is to say of names that somebody may have meant as one."""
    return tuple(
        f"{' and '.join(map(repr, alike))} differ in upper and lower case alone, and are classes of their own"
        for alike in differing_in_case(names)
    )


def differing_in_case(names: Sequence[str]) -> list[list[str]]:
    """Names that are one but for upper and lower case.

    Args:
        names: all different.

    Returns:
        Lists of two or more, in the order of ``names``.
    """
    by_letters: dict[str, list[str]] = {}
    for name in names:
        by_letters.setdefault(name.casefold(), []).append(name)
    return [alike for alike in by_letters.values() if len(alike) > 1]


def _of_numbers(name: str, y: np.ndarray, class_names: tuple[str, ...] | None) -> Labels:
    values, positions = np.unique(y.astype(np.int64) if y.dtype.kind == "b" else y, return_inverse=True)
    if class_names is not None:
        wrong = (y < 0) | (y >= len(class_names)) | (y != np.floor(y))
        if wrong.any():
            first = y[int(wrong.argmax())]
            raise UserError(
                f"{name}: {int(wrong.sum())} labels are outside the classes (first: {first:g}; classes: 0 to "
                f"{len(class_names) - 1})"
            )
        return Labels(y.astype(np.int64), class_names)
    below = y < 0
    if below.any() and values.tolist() != [-1, 1]:
        raise UserError(
            f"{name}: {int(below.sum())} labels are outside the classes (first: {y[int(below.argmax())]:g}; classes: whole "
            "numbers from 0, or -1 and 1): a label below 0 often marks an example without one"
        )
    _refuse_too_many(name, len(values), len(y), f"{values[0]:g}", whole=bool((values == np.floor(values)).all()))
    return Labels(positions.astype(np.int64), tuple(shown(value) for value in values.tolist()))


def _refuse_too_many(name: str, classes: int, examples: int, first: str, *, whole: bool = True) -> None:
    if classes > FEW and (classes > examples / 2 or not whole):
        raise UserError(
            f"{name}: the labels take {classes} different values in {examples} examples (first: {first}): these are "
            "measurements or numbers of rows, not classes"
        )


def shown(value: float) -> str:
    """A number as people write it.

    Args:
        value: finite.

    Returns:
        ``10.0`` -> ``"10"``, ``0.5`` -> ``"0.5"``.
    """
    return str(int(value)) if value == int(value) else repr(float(value))


def _positions(labels: Sequence[str] | np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    place = {label: position for position, label in reversed(list(enumerate(class_names)))}
    return np.array([place[str(label)] for label in labels], dtype=np.int64)


def numbers_first(label: str) -> tuple[int, float, str]:
    """Sorts names of classes: numbers by value, then words.

    Args:
        label: a name.

    Returns:
        A key for ``sorted``.
    """
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def renamed(name: str, labels: Labels, class_names: tuple[str, ...]) -> Labels:
    """The labels under a model's class names: found by name; else, if they are whole numbers, by position.

    Where the model's names are but the numbers of its outputs, and the data have as many classes of other numbers (10, 20,
    30), they are taken in order, and that is said.

    Args:
        name: of the data, for messages.
        labels: under names of their own.
        class_names: of the model, in the order of its outputs.

    Returns:
        Positions among ``class_names``, with what was made of the labels in the notes.

    Raises:
        UserError: for labels that fit in none of these ways.
    """
    if labels.names == class_names:
        return labels
    used = np.unique(labels.y)
    own = tuple(labels.names[position] for position in used)
    count = len(class_names)
    notes = labels.notes
    if set(own) <= set(class_names):
        places = _positions(own, class_names)
    elif all(label.isdigit() and int(label) < count for label in own):
        places = np.array([int(label) for label in own], dtype=np.int64)
        notes += (f"labels {_listed(own)} are read as positions among the classes {_listed(class_names)}",)
    elif class_names == tuple(map(str, range(count))) and len(labels.names) == count:
        places = used.astype(np.int64)
        notes += (f"labels {_listed(own)} are taken in this order for the model's outputs 0 to {count - 1}",)
    else:
        strange = [label for label in own if label not in class_names]
        wrong = int(np.isin(labels.y, [labels.names.index(label) for label in strange]).sum())
        known = f"0 to {count - 1}" if class_names == tuple(map(str, range(count))) else _listed(class_names)
        raise UserError(f"{name}: {wrong} labels are outside the classes (first: {strange[0]}; classes: {known})")
    table = np.zeros(len(labels.names), np.int64)
    table[used] = places
    return Labels(table[labels.y], class_names, notes)


def counted(y: np.ndarray, names: Sequence[str]) -> str:
    """How many examples each class has, in a line.

    Args:
        y: int64 [N], positions in ``names``.
        names: of the classes.

    Returns:
        ``3 classes: 10 (98), 20 (102), 30 (100)``; of many classes the first and the range of their sizes.
    """
    sizes = np.bincount(y, minlength=len(names))
    if len(names) <= 2 * _SHOWN:
        each = ", ".join(f"{label} ({size:,})" for label, size in zip(names, sizes.tolist(), strict=True))
        return f"{len(names)} classes: {each}"
    return f"{len(names)} classes of {sizes.min():,} to {sizes.max():,} examples: {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= _SHOWN else [*names[: _SHOWN - 1], "...", names[-1]])
