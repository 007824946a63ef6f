"""DMP: distillation on examples of which nobody is a member."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from edgepriv.errors import UserError
from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.defences.extra import EXTRA
from edgepriv.recipe.defences.flattening import FLATTENING
from edgepriv.recipe.defences.hamp import HAMP
from edgepriv.recipe.defences.heads import trained_on_members
from edgepriv.recipe.defences.relaxed_loss import RELAXED_LOSS
from edgepriv.recipe.defences.selena import SELENA, from_distillation_on
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe

KINDS = ("npz", "csv", "parquet", "folder")


def _file(asked: str) -> str:
    kind, colon, path = asked.partition(":")
    if not colon or kind not in KINDS or not path:
        raise UserError(f"--public {asked}: expected npz:FILE, csv:FILE, parquet:FILE or folder:DIR")
    return f"{kind}:{Path(path).resolve()}"


class Dmp(Section):
    """DMP (Shejwalkar & Houmansadr 2021). ``share``: of the reference examples that is distilled on, those to which the model
    gives the answers of lowest entropy; 0 for no DMP. ``file``: of the reference examples, "npz:FILE" and the like, whose
    labels are not read; None for the privacy holdout. ``sha256``: of their inputs."""

    share: Annotated[
        float,
        Option(
            "DMP: distil the model on the privacy holdout, or --public; share of it that is used, of lowest entropy (1.0).",
            "Defences",
            ("harden",),
            name="dmp",
            default="off",
        ),
    ] = Field(0.0, ge=0, le=1)
    file: Annotated[
        str | None,
        Option(
            "Unlabelled examples for --dmp, of which nobody is a member: npz:FILE, csv:FILE, parquet:FILE or folder:DIR.",
            "Defences",
            ("harden",),
            name="public",
            kind=str,
            default="the privacy holdout",
            reads=_file,
        ),
    ] = None
    sha256: str = ""

    @property
    def path(self) -> Path | None:
        """Of the file."""
        return None if self.file is None else Path(self.file.partition(":")[2])


def _asked(recipe: "Recipe") -> bool:
    return recipe.own(Dmp).share > 0


def _lines(facts: Mapping[str, Any]) -> list[str]:
    copies = f"; {facts['left_out']:,} that are equal to others were left out" if facts.get("left_out") else ""
    return [
        f"DMP: distilled on {facts['used']:,} of {facts['examples']:,} reference examples ({facts['origin']}), to which the "
        f"model answers with a mean entropy of {facts['mean_entropy']:.3g} nats; no member was trained on again{copies}"
    ]


DMP: Defence = Defence(
    name="dmp",
    place=64,
    title="DMP",
    option="--dmp 1.0",
    source="Shejwalkar & Houmansadr 2021",
    what="distils the model into a new one on examples that are no members: the privacy holdout, or a file (`--public "
    "npz:FILE`), whose labels are not read; of these the share to which the model gives the answers of lowest entropy",
    section=Dmp,
    fields=("dmp",),
    stage="distilled",
    anew=True,
    asked=_asked,
    acts_in=from_distillation_on(_asked),
    unused={
        "dmp.file": lambda recipe: True,  # what is in it counts, which is hashed
        "dmp.sha256": lambda recipe: recipe.own(Dmp).file is None,
    },
    conflicts=(
        Conflict(
            "--dmp needs epochs of distillation: set distilled.epochs above 0",
            met=lambda recipe: _asked(recipe) and recipe.distilled.epochs == 0,
        ),
        Conflict(
            "--public names the examples that DMP distils on, and without --dmp nothing reads them: pass --dmp 1.0",
            details=("dmp.file", "dmp.sha256"),
            without=lambda recipe: not _asked(recipe),
        ),
        Conflict(
            "distilled.epochs is above 0, but nothing is distilled: pass --selena 25 or --dmp 1.0",
            met=lambda recipe: recipe.distilled.epochs > 0 and not (DMP.active(recipe) or SELENA.active(recipe)),
        ),
        Conflict(
            "DMP, SELENA and noise on the members each retrain from new weights on answers of their own teachers: use one",
            beside=("noise", "selena"),
        ),
        Conflict(
            "DMP trains on the model's soft answers to other examples; RelaxLoss and HAMP need the members' labels: in one "
            "stage use one or the other (--relax 0; for HAMP, a model that was trained without)",
            met=lambda recipe: in_one_stage(recipe, DMP, RELAXED_LOSS) or in_one_stage(recipe, DMP, HAMP),
        ),
        Conflict(
            "extra data stand beside members, of which DMP trains on none: give these examples to --public",
            met=lambda recipe: in_one_stage(recipe, DMP, EXTRA),
        ),
        Conflict(
            "posterior flattening compares members with the privacy holdout, and a model distilled by DMP is trained on no "
            "member: use one or the other (--flatten 0)",
            met=lambda recipe: in_one_stage(recipe, DMP, FLATTENING),
        ),
        Conflict(
            "this head is trained on how the answers to members and to the privacy holdout differ, and DMP trains on that "
            "holdout: give DMP other examples with --public, or use --regenerate rank",
            met=lambda recipe: DMP.active(recipe) and recipe.own(Dmp).file is None and trained_on_members(recipe.head),
        ),
        Conflict(
            "MART weighs each example by the probability of its one label, and DMP's examples have soft ones: use --adv pgd or "
            "trades",
            met=lambda recipe: of_method(recipe, "mart") and in_one_stage(recipe, DMP, ADVERSARIAL),
        ),
    ),
    stacked=False,  # each model has reference examples of its own choice
    done="DMP",
    facts="dmp",
    terminal_lines=_lines,
)
