"""What every section of a recipe is: frozen, without unknown fields, without infinities."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of typed fields of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
