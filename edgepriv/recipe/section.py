"""What every section of a recipe is: frozen, without unknown fields, without infinities."""

from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A group of typed fields of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, content: Any) -> Any:
        """``mean = 0.5`` where a list may have any length, as the command line has it."""
        if not isinstance(content, dict):
            return content
        lists = {name for name, field in cls.model_fields.items() if _of_any_length(field.annotation)}
        return {name: (value,) if name in lists and _single(value) else value for name, value in content.items()}


def _of_any_length(annotation: Any) -> bool:
    kinds = (annotation, *get_args(annotation))  # the second: of ``tuple[float, ...] | None``
    return any(get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis for kind in kinds)


def _single(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
