"""What training starts from where it does not start from random weights."""

import os
from typing import Annotated

from pydantic import Field

from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section


class Start(Section):
    """Public weights, such as those of a network that was trained on ImageNet, from which every new model of a recipe starts.

    ``file``: its name without a folder; ``sha256``: hex, of its bytes. ``path``: where it is on this machine, so it is never
    stored.
    """

    file: str | None = None
    sha256: str | None = None
    path: Annotated[
        str | None,
        Option(
            "Public weights that training starts from (.pt, .safetensors): reference models start from them too.",
            "Training",
            ("train", "harden", "audit"),
            name="start_weights",
            flags=("--start-weights", "--public-weights"),
            kind=str | os.PathLike[str],
            default={
                "train": "random weights",
                "harden": "none; for a model from elsewhere, what it was fine-tuned from",
                "audit": "none; the file that the model was trained from",
            },
            reads=os.fspath,
        ),
    ] = Field(None, exclude=True)

    @property
    def active(self) -> bool:
        """Whether there are any."""
        return self.sha256 is not None or self.path is not None
