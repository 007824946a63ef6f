"""Differentially private training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.defences.heads import trained_on_members
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


class Dp(Section):
    """Differentially private training (Abadi et al. 2016) of the stage ``train``. ``epsilon``: to spend, None for no DP.

    ``delta``: None for 1 / (10 x members). ``clip``: bound on the L2 norm of each example's gradient.
    """

    epsilon: Annotated[
        float | None,
        Option(
            "Differentially private training (DP-SGD): the epsilon to spend.",
            "Defences",
            ("train", "harden"),
            name="dp_epsilon",
            hidden_on=("harden",),
            default="no differential privacy",
        ),
    ] = Field(None, gt=0)
    delta: Annotated[
        float | None,
        Option("Its delta.", "Defences", ("train",), name="dp_delta", default="1 / (10 x members)"),
    ] = Field(None, gt=0, lt=1)
    clip: Annotated[
        float,
        Option("Bound on the L2 norm of each example's gradient.", "Defences", ("train",), name="dp_clip"),
    ] = Field(1.0, gt=0)

    @property
    def active(self) -> bool:
        """Whether any budget is set."""
        return self.epsilon is not None


def _lines(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"differential privacy: epsilon {facts['epsilon']:.3g} at delta {facts['delta']:.2g} spent in {facts['steps']:,} steps "
        f"(noise multiplier {facts['noise_multiplier']:.3g}, gradients clipped to {facts['clip']:g})"
    ]


def _later_stages(recipe: "Recipe") -> bool:
    return recipe.dp.active and bool(recipe.stages().keys() - {"train"})


PRIVATE_TRAINING: Defence = Defence(
    name="dp",
    place=50,
    title="differentially private training (DP-SGD)",
    option="--dp-epsilon 8",
    source="Abadi et al. 2016",
    what="DP-SGD through Opacus, in `edgepriv train`: a proof, not a measurement. The epsilon spent is in the manifest, beside "
    "the audit's lower bound. It does not cover the choice of hyperparameters, the normalisation, or an attacker who knows the "
    "seed of the noise; afterwards quantize with `--ptq`",
    fields=("dp",),
    acts_in=lambda recipe, stage: recipe.dp.active and stage == "train",
    conflicts=(
        Conflict(
            "delta and clip of differential privacy have no effect without an epsilon, and the training would not be private: "
            "pass --dp-epsilon",
            met=lambda recipe: not recipe.dp.active and recipe.dp != Dp(),
        ),
        Conflict(
            "differentially private training covers the stage 'train' only, and every later stage would read the members again "
            "without it: leave [noisy], [distilled], [robust] and [qat] out of the recipe, give --adv and --bits to edgepriv "
            "train if need be, then harden with --ptq, which costs no privacy",
            beside=("noise",),
            met=_later_stages,
        ),
        Conflict(
            "differential privacy bounds what each example alone does to a step; posterior flattening and RelaxLoss mix the "
            "examples of a batch, so its epsilon would be wrong: use one or the other",
            beside=("flattening", "relaxloss"),
        ),
        Conflict(
            "differentially private training clips the gradient of each example's cross-entropy, and updates the weights once "
            "for each batch: --adv trades, mart and free do not go with it (--adv pgd does)",
            met=lambda recipe: (
                of_method(recipe, "trades", "mart", "free") and in_one_stage(recipe, PRIVATE_TRAINING, ADVERSARIAL)
            ),
        ),
        Conflict(
            "this head is trained on what the model answers to its members, which the epsilon of differentially private "
            "training does not cover: use --regenerate rank, which looks at no data",
            beside=("memguard",),
            met=lambda recipe: recipe.dp.active and trained_on_members(recipe.head),
        ),
        Conflict(
            "the gradients of differentially private training are those of each example through the whole network, without "
            "dropout: use one or the other",
            beside=("dropout",),
        ),
        Conflict(
            "differential privacy bounds what each example alone does to a step, and in a network whose answers depend on the "
            "batch every example moves the gradients of the others: --dp-epsilon and --batch-dependent do not go together",
            met=lambda recipe: recipe.dp.active and recipe.model.batch_dependent,
        ),
    ),
    stacked=False,  # clips the examples of one model
    facts="dp",
    terminal_lines=_lines,
)
