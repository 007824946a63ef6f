"""Extra data in each batch: synthetic or public examples, of which nobody is a member."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from edgepriv.errors import UserError
from edgepriv.recipe.defences.base import Conflict, Defence
from edgepriv.recipe.option import Option
from edgepriv.recipe.stages import InStages

GIVEN, BY_MODEL = "given", "model"


def _file(asked: str) -> str:
    kind, colon, path = asked.partition(":")
    if not colon or kind != "npz" or not path:
        raise UserError(f"--extra {asked}: expected npz:FILE, with x and, if the labels are known, y")
    return f"npz:{Path(path).resolve()}"


def _labels(asked: str) -> str:
    return asked if asked in (GIVEN, BY_MODEL) else str(Path(asked).resolve())


class Extra(InStages):
    """``file``: "npz:FILE"; None for none. ``share``: of each batch that is drawn from it, in place of members. ``labels``:
    "given" in the file, by the "model" that is hardened, as it is before the first of ``stages``, or by the checkpoint of a
    path; None takes those given, else the model's. ``sha256``: of inputs and labels (of inputs alone, where the model labels
    them)."""

    file: Annotated[
        str | None,
        Option(
            "Synthetic or public examples to train on beside the members: npz:FILE with x and, if known, y.",
            "Data",
            ("train", "harden"),
            name="extra",
            kind=str,
            default="none",
            reads=_file,
        ),
    ] = None
    share: Annotated[
        float,
        Option("Share of each batch that --extra takes.", "Data", ("train", "harden"), name="extra_share"),
    ] = Field(0.5, gt=0, lt=1)
    labels: Annotated[
        str | None,
        Option(
            "Labels of --extra: given (its y), model (the model that is hardened), or a checkpoint that tells them.",
            "Data",
            ("train", "harden"),
            name="extra_labels",
            kind=str,
            default="given where there is a y, else model",
            reads=_labels,
        ),
    ] = None
    sha256: str = ""

    @property
    def path(self) -> Path | None:
        """Of the file."""
        return None if self.file is None else Path(self.file.partition(":")[2])

    @property
    def labelled_by(self) -> Path | None:
        """The checkpoint that labels them; None for another origin."""
        return None if self.labels in (None, GIVEN, BY_MODEL) else Path(str(self.labels))


EXTRA: Defence = Defence(
    name="extra",
    place=22,
    title="extra data",
    option="--extra npz:FILE",
    source="Carmon et al. 2019; Gowal et al. 2021",
    what="a share of each batch (`--extra-share 0.5`) are synthetic or public examples instead of members, labelled by the "
    "file, by the model that is hardened or by another checkpoint (`--extra-labels`); adaptive reference models are "
    "trained on the same ones",
    section=Extra,
    fields=("extra",),
    acts_in=lambda recipe, stage: recipe.own(Extra).file is not None and stage in recipe.own(Extra).stages,
    unused={
        "extra.file": lambda recipe: True,  # what is in it counts, which is hashed
        "extra.labels": lambda recipe: recipe.own(Extra).labels != BY_MODEL,
    },
    conflicts=(
        Conflict(
            "share and labels of extra examples have no effect without the examples: pass --extra npz:FILE",
            details=("extra.share", "extra.labels"),
            without=lambda recipe: recipe.own(Extra).file is None,
        ),
        Conflict(
            "differentially private training draws each member by itself, and its epsilon knows of no other examples in a "
            "batch: train on --extra or with --dp-epsilon",
            beside=("dp",),
        ),
        Conflict(
            "noise on the members has a teacher for each member and none for other examples: use --extra or --noise",
            beside=("noise",),
        ),
        Conflict(
            "your own loader makes whole batches, in which there is no place for --extra: let the loader yield these examples "
            "too, or leave out one",
            met=lambda recipe: EXTRA.active(recipe) and "loader" in recipe.pipeline.hooks,
        ),
    ),
    idle="--extra acts while training, and no stage trains here: use edgepriv train --extra",
    done="extra data",
)
