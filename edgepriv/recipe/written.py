"""Values as a command line writes them, read as the recipe keeps them. Values that are that already stay as they are."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgepriv.errors import UserError
from edgepriv.recipe.canaries import planted

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)([smh]?)")
BOTH = ("adaptive", "oblivious")
ADVERSARIES: dict[str, dict[str, str]] = {
    "none": {"method": "none"},
    "fgsm": {"method": "fgsm"},
    "pgd": {"method": "pgd", "norm": "linf"},
    "pgd-l2": {"method": "pgd", "norm": "l2"},
    "nfgsm": {"method": "nfgsm", "norm": "linf"},
    "free": {"method": "free", "norm": "linf"},
    "trades": {"method": "trades", "norm": "linf"},
    "mart": {"method": "mart", "norm": "linf"},
}


def numbers(option: str, given: str | float | Sequence[float]) -> tuple[float, ...]:
    """Numbers as they are written: ``"0.485,0.456,0.406"`` -> three.

    Args:
        option: its name, for the message.
        given: text, one number, or several.

    Returns:
        One finite number or more.

    Raises:
        UserError: for anything else.
    """
    try:
        values = tuple(float(number) for number in _parts(given))
    except (TypeError, ValueError):
        values = ()
    if not values or not all(math.isfinite(number) for number in values):
        raise UserError(f"--{option} {given!r}: expected numbers separated by commas, such as 0.5 or 0.485,0.456,0.406")
    return values


def prior(given: float | None) -> float | None:
    """A share of members as a recipe keeps it.

    Args:
        given: the number; None for none.

    Returns:
        The same.

    Raises:
        UserError: where it is not between 0 and 1.
    """
    if given is not None and not 0 < given < 1:
        percent = f", so {given:g}% is {given / 100:g}" if 1 <= given < 100 else ""
        raise UserError(f"--prior {given:g}: expected a share above 0 and below 1, such as 0.01 for 1%{percent}")
    return given


def duration(given: str | float) -> float:
    """A time as it is written: ``"30s"`` -> 30.0, ``"2m"`` -> 120.0, ``"1h30m"`` -> 5400.0.

    Args:
        given: text, or seconds.

    Returns:
        Seconds, above 0.

    Raises:
        UserError: for anything else.
    """
    text = str(given).strip().lower()
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) == text and all(unit for _, unit in parts):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise UserError(f"--time {given!r}: expected a time above 0, such as 30s, 2m or 1h30m")
    return seconds


def whole_numbers(option: str, given: str | int | Sequence[int]) -> list[int]:
    """Whole numbers as they are written: ``"512,256"`` -> [512, 256].

    Args:
        option: its name, for the message.
        given: text, one number, or several.

    Returns:
        The numbers.

    Raises:
        UserError: for anything else.
    """
    try:
        return [int(number) for number in _parts(given)]
    except (TypeError, ValueError):
        raise UserError(f"--{option} {given!r}: expected whole numbers such as 512,256") from None


def _parts(given: Any) -> Sequence[Any]:
    if isinstance(given, str):
        return given.split(",")
    return given if isinstance(given, Sequence) else [given]


def ends(option: str, given: str | Sequence[float]) -> tuple[float, float]:
    """The ends of a range: ``"0:255"`` -> (0.0, 255.0).

    Args:
        option: its name, for the message.
        given: text LO:HI, or two numbers.

    Returns:
        The lowest and the highest value, finite, the first below the second.

    Raises:
        UserError: for anything else.
    """
    parts = given.split(":") if isinstance(given, str) else given
    try:
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(
            f"--{option} {given!r}: expected LO:HI, the lowest and the highest value, such as 0:255 or -1:1"
        )
    return low, high


def size_of(given: str | int | Sequence[int]) -> tuple[int, int]:
    """The size of pictures: ``"64"`` -> (64, 64), ``"48x64"`` -> (48, 64).

    Args:
        given: text, one number, or two.

    Returns:
        Height and width in pixels, 1 or more each.

    Raises:
        UserError: for anything else.
    """
    if isinstance(given, Sequence) and not isinstance(given, str):
        parts = [str(part) for part in given]
    else:
        parts = str(given).lower().split("x")
    if not (1 <= len(parts) <= 2 and all(part.isdecimal() and int(part) > 0 for part in parts)):
        raise UserError(f"--image-size {given!r}: expected pixels, such as 64, or height and width, such as 48x64")
    return int(parts[0]), int(parts[-1])


def arguments(given: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Arguments of a model: ``["stem=plain", "stem_stride=2"]`` -> keyword arguments.

    Args:
        given: NAME=VALUE each, or a dictionary of them; a value is read as JSON where it is that.

    Returns:
        Name -> value.

    Raises:
        UserError: for text that is not NAME=VALUE.
    """
    if isinstance(given, Mapping):
        return dict(given)
    return dict(_argument(text) for text in given)


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise UserError(f"--model-arg {text!r}: expected NAME=VALUE, such as stem=plain or stem_stride=2")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def names(given: str | Sequence[str]) -> str:
    """Names as the recipe keeps them: ``["quick", "lira-online"]`` -> ``"quick,lira-online"``.

    Args:
        given: text, or several names.

    Returns:
        The names, separated by commas.
    """
    return given if isinstance(given, str) else ",".join(given)


def patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    """Patterns of layers: ``"layer1,layer2.*"`` -> two; ``"none"`` -> none.

    Args:
        given: text, or several patterns.

    Returns:
        The patterns.

    Raises:
        UserError: where there is nothing between two commas.
    """
    parts = [part.strip() for part in (given.split(",") if isinstance(given, str) else given)]
    if not all(parts):
        raise UserError(f"--freeze {given!r}: expected patterns of layers separated by commas, such as conv1,layer1.*")
    return () if parts == ["none"] else tuple(parts)


def titles(given: str | Sequence[str]) -> tuple[str, ...]:
    """One title of a column, or several.

    Args:
        given: either.

    Returns:
        All of them.
    """
    return (given,) if isinstance(given, str) else tuple(given)


def counts(given: int | Sequence[int]) -> tuple[int, ...]:
    """One number, or several.

    Args:
        given: either.

    Returns:
        All of them.
    """
    return (given,) if isinstance(given, int) else tuple(given)


def threat_models(given: str) -> tuple[str, ...]:
    """Threat models as the recipe keeps them.

    Args:
        given: "adaptive", "oblivious" or "both".

    Returns:
        The names of one or two.
    """
    return BOTH if given == "both" else (given,)


def canaries(given: str) -> str:
    """Canaries as a recipe keeps them.

    Args:
        given: ``KIND:N``, or a file.

    Returns:
        The same, a file with its whole path.

    Raises:
        UserError: for anything else.
    """
    try:
        return str(planted(given))
    except ValueError as error:
        raise UserError(f"--canaries {given!r}: {error}") from None
