"""Adversarial training."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from edgepriv.recipe import written
from edgepriv.recipe.defences.base import Conflict, Defence
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


_REGULARISED = {"trades": 6.0, "mart": 5.0}
"""Weight of the divergence between clean and perturbed answers in their authors' experiments with CIFAR-10."""


class Adversary(Section):
    """The perturbations trained and measured against, in input units ([0, 1]); ``None`` resolves by input shape.

    ``method``: "pgd" (Madry et al. 2018), "fgsm" from a random start (Wong, Rice & Kolter 2020), "nfgsm" (de Jorge et al.
    2022), "free" (Shafahi et al. 2019: ``steps`` updates of the weights for each batch, each a step of the attack too),
    "trades" (Zhang et al. 2019), "mart" (Wang et al. 2020). ``beta``: weight of the divergence in the last two. ``warmup``:
    epochs over which eps grows to its full size. ``fixed``: positions of the inputs that they leave alone, filled in from the
    data: of a table those that stand for a category, a yes or no, or a missing cell.
    """

    method: Annotated[
        Literal["none", "fgsm", "pgd", "nfgsm", "free", "trades", "mart"],
        Option(
            "Adversarial training: none, fgsm, nfgsm, free, pgd, pgd-l2, trades or mart.",
            "Defences",
            ("train", "harden"),
            name="adv",
            kind=str,
            choices=tuple(written.ADVERSARIES),
            noun="adversarial training",
            sets=lambda value: written.ADVERSARIES[value],
        ),
    ] = "none"
    norm: Annotated[
        Literal["linf", "l2"],
        Option(
            "Norm of the perturbations: linf or l2.", "Audit", ("audit",), default="the model's own training, else linf"
        ),
    ] = "linf"
    eps: Annotated[
        float | None,
        Option(
            "Radius of the perturbations, in input units ([0, 1]).",
            "Defences",
            ("train", "harden"),
            default="0.1 for grey images, 8/255 for colour, 0.05 for tables; 0.5 in L2; asked for with --adv on your own data",
        ),
        Option(
            "Radius of the perturbations, in input units ([0, 1]).",
            "Audit",
            ("audit",),
            default="the model's own training, else as edgepriv harden has it",
        ),
    ] = Field(None, gt=0)
    step: float | None = Field(None, gt=0)
    steps: Annotated[
        int,
        Option("Gradient steps of the attack in training.", "Defences", ("train", "harden")),
    ] = Field(7, ge=1)
    fixed: tuple[int, ...] = ()
    beta: Annotated[
        float | None,
        Option(
            "Weight of the divergence between clean and perturbed answers in TRADES and MART.",
            "Defences",
            ("train", "harden"),
            name="adv_beta",
            default="6 for trades, 5 for mart",
        ),
    ] = Field(None, gt=0)
    warmup: Annotated[
        int,
        Option(
            "Epochs over which eps grows to its full size, in the first stage that trains against perturbations.",
            "Defences",
            ("train", "harden"),
            name="eps_warmup",
            default="0",
        ),
    ] = Field(0, ge=0)

    @property
    def divergence_weight(self) -> float:
        """``beta``, or the authors' own."""
        return _REGULARISED[self.method] if self.beta is None else self.beta


def _on_perturbed_inputs(recipe: "Recipe", stage: str) -> bool:
    return recipe.adversary.method != "none" and getattr(recipe, stage).adversarial


def of_method(recipe: "Recipe", *methods: str) -> bool:
    """Whether adversarial training is by one of some methods.

    Args:
        recipe: settings of a run.
        methods: values of ``adversary.method``.

    Returns:
        True for one of them.
    """
    return recipe.adversary.method in methods


def _trained_by(recipe: "Recipe") -> str:
    method = recipe.adversary.method
    return method if method in ("free", *_REGULARISED) else "adversarial"


def _warming_for_ever(recipe: "Recipe") -> bool:
    warmup, first = recipe.adversary.warmup, ADVERSARIAL.stages_in(recipe)[:1]
    return warmup > 0 and any(recipe.stages()[name].epochs <= warmup for name in first)


ADVERSARIAL: Defence = Defence(
    name="adversarial",
    place=20,
    title="adversarial training",
    option="--adv pgd",
    source="Madry et al. 2018",
    what="adversarial training (also `fgsm`, `nfgsm`, `free`, `pgd-l2`, `trades`, `mart`)",
    fields=("adversary", "*.adversarial"),
    stage="robust",
    acts_in=_on_perturbed_inputs,
    trained_as=_trained_by,
    unused={
        "adversary.steps": lambda recipe: recipe.adversary.method in ("fgsm", "nfgsm"),
        "adversary.beta": lambda recipe: recipe.adversary.method not in _REGULARISED,
    },
    conflicts=(
        Conflict(
            "--eps-warmup takes as many epochs as the first adversarial stage has, so that it would never be trained at the "
            "full radius: give fewer",
            met=_warming_for_ever,
        ),
        Conflict(
            "--eps-warmup has no effect without adversarial training: pass --adv pgd",
            met=lambda recipe: recipe.adversary.warmup > 0 and recipe.adversary.method == "none",
        ),
        Conflict(
            "--adv-beta weighs the divergence in TRADES and MART, and has no effect without them: pass --adv trades or "
            "--adv mart",
            details=("adversary.beta",),
            without=lambda recipe: recipe.adversary.method not in _REGULARISED,
        ),
    ),
    done="adversarial training",
)
