"""The ways in which an image or a row may be fed to a file of others: what the user says, else the usual ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepriv.audit.examples import Examples
from edgepriv.audit.feeding import Feeding, Told, feeding_of
from edgepriv.errors import UserError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's images in [0, 1], which most pretrained networks are fed by."""


@dataclass(frozen=True)
class Way:
    """One way of feeding. ``phrase``: to go on behind "fed"; ``options``: of the command line that ask for it. ``reversed``:
    that the channels stand in reverse order, as libraries that read BGR have them."""

    phrase: str
    options: str
    feeding: Feeding
    reversed: bool = False


def ways_of(examples: Examples, told: Told, dtype: str) -> list[Way]:
    """The ways in which a file may be fed.

    Args:
        examples: in the user's units.
        told: what the user states.
        dtype: that the file takes.

    Returns:
        The plain one first; the others only where nothing is said, and where there is something to doubt. That red and blue may
        be swapped no option says, and it is always in doubt.
    """
    ways = _ways(examples, told, dtype)
    return ways + _swapped(ways[0], examples.dataset.input_shape)


def _ways(examples: Examples, told: Told, dtype: str) -> list[Way]:
    shape = examples.dataset.input_shape

    def way(
        phrase: str,
        low: float,
        high: float,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> Way:
        options = (
            []
            if (low, high) == (0, 1) and mean
            else [f"--input-range {low:g}:{high:g}" if low >= 0 else f"--input-range={low:g}:{high:g}"]
        )
        options += [f"--mean {_list(mean)} --std {_list(std or ())}"] if mean else []
        return Way(phrase, " ".join(options), feeding_of(low, high, mean, std, shape))

    if examples.kind == "other" and dtype == "uint8":
        _refuse_unless_bytes(examples, told)
        feeding = feeding_of(examples.low / 255, examples.high / 255, None, None, shape)
        return [Way("fed as bytes", "", feeding)]
    if examples.kind == "other":
        feeding = feeding_of(examples.low, examples.high, told.mean, told.std, shape)
        return [
            Way("fed as they are" if told.mean is None and told.std is None else "fed by --mean and --std", "", feeding)
        ]
    if dtype == "uint8":
        _refuse_told_of_bytes(told)
        return [Way("fed as bytes", "", feeding_of(0.0, 1.0, None, None, shape))]
    if told.of_inputs:
        low, high = told.input_range or (0.0, 1.0)
        return [Way("fed as the options say", "", feeding_of(low, high, told.mean, told.std, shape))]
    plain = way("divided by 255" if examples.kind == "bytes" else "fed as they are", 0, 1)
    if len(shape) != 3:
        return [plain]
    usual = [way("fed from 0 to 255", 0, 255), way("fed from -1 to 1", -1, 1)]
    if shape[0] == 3:
        usual.append(way("normalised by ImageNet's mean and standard deviation", 0, 1, *IMAGENET))
    inside = examples.dataset.inputs(slice(min(2000, examples.dataset.known_members or 1)))
    mean, std = inside.mean(axis=(0, 2, 3), dtype=np.float64), inside.std(axis=(0, 2, 3), dtype=np.float64)
    own = tuple(round(float(value), 4) for value in mean), tuple(round(max(float(value), 1e-4), 4) for value in std)
    return [plain, *usual, way("normalised by the members' own mean and standard deviation", 0, 1, *own)]


def _swapped(plain: Way, shape: tuple[int, ...]) -> list[Way]:
    """The same of pictures whose red and blue are swapped."""
    if len(shape) != 3 or shape[0] != 3:
        return []
    return [Way(f"{plain.phrase} with red and blue swapped", "x[:, ::-1]", plain.feeding, reversed=True)]


def refuse_unfit(path: Path, wanted: tuple[int | None, ...], have: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Refuse a file that takes examples of another shape.

    Args:
        path: of the file.
        wanted: shape that it takes, None where free.
        have: shape that it would be fed.
        shape: as the data have it.

    Raises:
        UserError: where the two differ.
    """
    if len(wanted) == len(have) and all(one in (None, other) for one, other in zip(wanted, have, strict=True)):
        return
    takes, given = (
        f"[N, {', '.join('any' if size is None else str(size) for size in sizes)}]" for sizes in (wanted, have)
    )
    what_now = "save the examples in that shape"
    if len(wanted) == len(have) == len(shape) == 3:
        first, *size = wanted if wanted[0] in (None, 1, 3) else (wanted[-1], *wanted[:-1])
        options = [f"--channels {first}"] if first not in (None, shape[0]) else []
        if None not in size and tuple(size) != shape[1:]:
            options.append(f"--image-size {size[0]}x{size[1]}")
        what_now = f"pass {' '.join(options)}, if it was trained on pictures made so" if options else what_now
    raise UserError(f"{path} takes inputs of shape {takes}, and these are {given}: {what_now}")


def _refuse_told_of_bytes(told: Told) -> None:
    if told.of_inputs:
        raise UserError(
            "--mean, --std and --input-range do not fit a file that takes bytes: it is fed the bytes themselves"
        )


def _refuse_unless_bytes(examples: Examples, told: Told) -> None:
    """Raise UserError where numbers beyond [0, 1] are not those that a file of bytes is fed."""
    _refuse_told_of_bytes(told)
    lowest, highest = float(examples.raw.min()), float(examples.raw.max())
    if lowest < 0 or highest > 255 or not (examples.raw == np.rint(examples.raw)).all():
        raise UserError(
            f"the file takes bytes, and these examples are numbers from {lowest:g} to {highest:g}: save them as whole numbers "
            "from 0 to 255, or in [0, 1]"
        )


def _list(values: tuple[float, ...] | None) -> str:
    return ",".join(f"{value:g}" for value in values or ())
