"""Which defences go together, and why some do not."""

from collections.abc import Callable

from edgepriv.errors import UserError
from edgepriv.recipe import Dp, Noise, Recipe, Stage


def _any(recipe: Recipe, asked: Callable[[Stage], bool]) -> bool:
    return any(asked(stage) for stage in recipe.stages().values())


IMPOSSIBLE: tuple[tuple[Callable[[Recipe], bool], str], ...] = (
    (
        lambda recipe: not recipe.dp.active and recipe.dp != Dp(),
        "delta and clip of differential privacy have no effect without an epsilon, and the training would not be private: "
        "pass --dp-epsilon",
    ),
    (
        lambda recipe: recipe.dp.active and bool(recipe.stages().keys() - {"train"}),
        "differentially private training covers the stage 'train' only, and every later stage would read the members again "
        "without it: leave [noisy], [robust] and [qat] out of the recipe, give --adv and --bits to edgepriv train if need be, "
        "then harden with --ptq, which costs no privacy",
    ),
    (
        lambda recipe: recipe.dp.active and _any(recipe, lambda stage: stage.flatten > 0 or stage.relax > 0),
        "differential privacy bounds what each example alone does to a step; posterior flattening and RelaxLoss mix the "
        "examples of a batch, so its epsilon would be wrong: use one or the other",
    ),
    (
        lambda recipe: recipe.dp.active and recipe.head.method in ("member", "nonmember", "memguard"),
        "this head is trained on what the model answers to its members, which the epsilon of differentially private training "
        "does not cover: use --regenerate rank, which looks at no data",
    ),
    (
        lambda recipe: recipe.dp.active and recipe.dropout_in("train") > 0,
        "the gradients of differentially private training are those of each example through the whole network, without "
        "dropout: use one or the other",
    ),
    (
        lambda recipe: recipe.noise.method != "none" and _any(recipe, lambda stage: stage.relax > 0),
        "RelaxLoss holds the loss on hard labels, and members with optimal noise are trained on the teacher's soft answers: "
        "use one or the other",
    ),
    (
        lambda recipe: recipe.noise.method != "none" and recipe.noisy.epochs == 0,
        "--noise needs epochs of retraining on the noisy members: set noisy.epochs above 0",
    ),
    (
        lambda recipe: recipe.noise.method == "none" and recipe.noisy.epochs > 0,
        "noisy.epochs is above 0, but no noise is asked for: set noise.method to shapley or uniform",
    ),
    (
        lambda recipe: recipe.noise.method == "none" and recipe.noise != Noise(),
        "tau, eps, beta and alpha of the noise have no effect without a method: pass --noise shapley or uniform",
    ),
    (
        lambda recipe: (
            not recipe.quantize.active and (recipe.quantize.last_k or recipe.quantize.first_last) is not None
        ),
        "--last-k and --first-last say which layers are quantized how, and no bits are asked for: give --bits as well",
    ),
    (
        lambda recipe: recipe.head.method != "none" and recipe.export.output == "logits",
        "a head turns probabilities into other probabilities, and there are no logits of those: leave --output at "
        "probabilities, or label",
    ),
    (
        lambda recipe: recipe.head.method == "memguard" and recipe.export.output == "label",
        "MemGuard changes the probabilities and never the label: a file that returns the label has nothing for it to change",
    ),
)
"""When a recipe cannot be run, and the sentence that says why and what to do."""


def reasons(recipe: Recipe) -> list[str]:
    """Why the recipe cannot be run, one sentence for each; empty when all of it goes together."""
    return [reason for impossible, reason in IMPOSSIBLE if impossible(recipe)]


def refuse_impossible(recipe: Recipe) -> None:
    """Raise UserError when the recipe joins what does not go together."""
    for reason in reasons(recipe):
        raise UserError(reason)
