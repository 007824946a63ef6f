"""Values as a command line writes them, read as the recipe keeps them. Values that are that already stay as they are."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgepriv.errors import UserError

BOTH = ("adaptive", "oblivious")
ADVERSARIES: dict[str, dict[str, str]] = {
    "none": {"method": "none"},
    "fgsm": {"method": "fgsm"},
    "pgd": {"method": "pgd", "norm": "linf"},
    "pgd-l2": {"method": "pgd", "norm": "l2"},
    "nfgsm": {"method": "nfgsm", "norm": "linf"},
    "free": {"method": "free"},
    "trades": {"method": "trades"},
    "mart": {"method": "mart"},
}


def numbers(option: str, given: str | float | Sequence[float]) -> tuple[float, ...]:
    """``"0.485,0.456,0.406"`` -> three numbers."""
    try:
        values = tuple(float(number) for number in _parts(given))
    except (TypeError, ValueError):
        values = ()
    if not values or not all(math.isfinite(number) for number in values):
        raise UserError(f"--{option} {given!r}: expected numbers separated by commas, such as 0.5 or 0.485,0.456,0.406")
    return values


def whole_numbers(option: str, given: str | int | Sequence[int]) -> list[int]:
    """``"512,256"`` -> [512, 256]."""
    try:
        return [int(number) for number in _parts(given)]
    except (TypeError, ValueError):
        raise UserError(f"--{option} {given!r}: expected whole numbers such as 512,256") from None


def _parts(given: Any) -> Sequence[Any]:
    if isinstance(given, str):
        return given.split(",")
    return given if isinstance(given, Sequence) else [given]


def ends(option: str, given: str | Sequence[float]) -> tuple[float, float]:
    """``"0:255"`` -> (0.0, 255.0)."""
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
    """``"64"`` -> (64, 64), ``"48x64"`` -> (48, 64): height, width in pixels."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        parts = [str(part) for part in given]
    else:
        parts = str(given).lower().split("x")
    if not (1 <= len(parts) <= 2 and all(part.isdecimal() and int(part) > 0 for part in parts)):
        raise UserError(f"--image-size {given!r}: expected pixels, such as 64, or height and width, such as 48x64")
    return int(parts[0]), int(parts[-1])


def arguments(given: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """``["stem=plain", "stem_stride=2"]`` -> keyword arguments of the model; a value is read as JSON where it is that."""
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
    """``["quick", "lira-online"]`` -> ``"quick,lira-online"``, as the recipe keeps it."""
    return given if isinstance(given, str) else ",".join(given)


def titles(given: str | Sequence[str]) -> tuple[str, ...]:
    """One title of a column, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def counts(given: int | Sequence[int]) -> tuple[int, ...]:
    """One number, or several."""
    return (given,) if isinstance(given, int) else tuple(given)


def threat_models(given: str) -> tuple[str, ...]:
    """``"both"`` -> the two of them."""
    return BOTH if given == "both" else (given,)
