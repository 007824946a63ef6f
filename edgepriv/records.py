"""Records from elsewhere, checked before anything is made of them: what cannot be is said in one sentence."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgepriv.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Interval = tuple[float, float]
_ROUNDING = 1e-6


class Record(BaseModel):
    """A part of a record: numbers are finite, and no text stands for one. What is not named is kept."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _numbers_as_numbers(cls, content: Any) -> Any:
        if isinstance(content, dict):
            for name, field in cls.model_fields.items():
                _refuse_disguised(name, field.annotation, content.get(name))
        return content


def _refuse_disguised(name: str, kind: Any, value: Any) -> None:
    """``true`` is no 1, and "5" no 5."""
    if isinstance(value, bool | str) and kind in (int, float, int | None, float | None):
        raise ValueError(f"{name} is {value!r}, which is no number")


def within(name: str, value: float | None, interval: Interval | None, *, least: float = 0.0, most: float = 1.0) -> None:
    """Refuse a figure that does not lie in its own interval.

    Args:
        name: of the figure.
        value: of it; None where there is none.
        interval: low and high; None where there is none.
        least: below which neither can be.
        most: above which neither can be.

    Raises:
        ValueError: with a clause.
    """
    if interval is None:
        return
    low, high = interval
    if not least - _ROUNDING <= low <= high <= most + _ROUNDING:
        raise ValueError(
            f"the interval of {name} is [{low:g}, {high:g}], and lies from {least:g} to {most:g}, the lower end first"
        )
    if value is not None and not low - _ROUNDING <= value <= high + _ROUNDING:
        raise ValueError(f"{name} is {value:g}, outside its own interval [{low:g}, {high:g}]")


Kind = TypeVar("Kind", bound=BaseModel)


def checked(kind: type[Kind], content: Any, where: str) -> Kind:
    """A record, if it can be one.

    Args:
        kind: what it should be.
        content: as it was read.
        where: it comes from, with what it is not, for the message.

    Returns:
        The record.

    Raises:
        UserError: with the first thing that cannot be.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_in_words(error.errors()[0])}") from error


def _in_words(error: Any) -> str:
    field, told = _path(error["loc"]), error["type"]
    if told == "missing":
        return f"{field} is missing"
    if told == "value_error":
        reason = str(error["ctx"]["error"])
        return f"in {field}, {reason}" if error["loc"] else reason
    value = error["input"]
    shown = repr(value) if isinstance(value, int | float | str | bool | None) else f"a {type(value).__name__}"
    return f"{field} is {shown}, and {error['msg'].removeprefix('Input ').replace('should be', 'must be')}"


def _path(places: Sequence[int | str]) -> str:
    return ".".join(map(str, places)) or "the object itself"
