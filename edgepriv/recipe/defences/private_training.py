"""Differentially private training."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.defences.dmp import DMP
from edgepriv.recipe.defences.heads import trained_on_members
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


_MOST_COPIES = 256
"""Augmented copies of an example: the memory of a linear layer's norms grows with their square."""
_WORTHLESS = 50.0
"""An epsilon above this leaves an attacker all but certain: at 50, e^50 to one."""


class Dp(Section):
    """Differentially private training (Abadi et al. 2016) of the stage ``train``. ``epsilon``: to spend, None for no DP.

    ``noise``: instead of an epsilon, the standard deviation of the noise over ``clip``; 0 clips only. ``delta``: None for
    1 / (10 x members). ``clip``: bound on the L2 norm of each example's gradient. ``augmentations``: so many augmented copies
    of each example, whose mean gradient is clipped (De et al. 2022, section 3.2). ``total``: epsilon that ``train`` and the
    stages ``robust`` and ``qat`` after it spend together; None for none after it. ``seed``: of batches and noise, so that they
    can be repeated; None to draw them from the operating system.
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
    ] = Field(None, gt=0, allow_inf_nan=False)
    noise: Annotated[
        float | None,
        Option(
            "DP-SGD with this noise multiplier, whatever epsilon it comes to; 0 clips gradients only and guarantees nothing.",
            "Defences",
            ("train", "harden"),
            name="dp_noise",
            hidden_on=("harden",),
            default="what --dp-epsilon needs",
        ),
    ] = Field(None, ge=0, allow_inf_nan=False)
    delta: Annotated[
        float | None,
        Option("Its delta.", "Defences", ("train",), name="dp_delta", default="1 / (10 x members)"),
    ] = Field(None, gt=0, lt=1)
    clip: Annotated[
        float,
        Option("Bound on the L2 norm of each example's gradient.", "Defences", ("train",), name="dp_clip"),
    ] = Field(1.0, gt=0, allow_inf_nan=False)

    augmentations: Annotated[
        int,
        Option(
            "Clip the mean gradient of so many augmented copies of each example (with --augment); costs no privacy.",
            "Defences",
            ("train",),
            name="dp_augmentations",
        ),
    ] = Field(1, ge=1, le=_MOST_COPIES)

    total: Annotated[
        float | None,
        Option(
            "Fine-tune a private model privately: the epsilon that its training and these stages spend together.",
            "Defences",
            ("harden",),
            name="dp_total_epsilon",
            default="that of the training: nothing is fine-tuned",
        ),
    ] = Field(None, gt=0, allow_inf_nan=False)

    seed: Annotated[
        int | None,
        Option(
            "Draw batches and noise from this seed, so that a run can be repeated: whoever knows it can subtract the noise.",
            "Defences",
            ("train",),
            name="dp_seed",
            default="drawn from the operating system, and kept nowhere",
        ),
    ] = Field(None, ge=0)

    @property
    def active(self) -> bool:
        """Whether gradients are clipped, with a budget or with a noise that is given."""
        return self.epsilon is not None or self.noise is not None


_FINE_TUNING = ("robust", "qat")
"""Stages that go on from the weights of ``train``, and may do so under the same accountant."""


def _lines(facts: Mapping[str, Any]) -> list[str]:
    if facts["epsilon"] is None:
        return [
            f"gradients of single examples clipped to {facts['clip']:g} in {facts['steps']:,} steps, without noise: no "
            "differential privacy and no guarantee (epsilon is infinite)"
        ]
    rest = [f"epsilon does not cover {'; nor '.join(facts['not_covered'])}"] if facts.get("not_covered") else []
    asked = "" if facts.get("claimed", True) else "; the noise was given, no epsilon was asked for"
    taken, worth = facts.get("steps_taken"), in_words(facts["epsilon"])
    early = (
        "" if taken is None else f" (an early stop after {taken:,} saves nothing: when it comes depends on the members)"
    )
    return [
        f"differential privacy: epsilon {facts['epsilon']:.3g}{worth and worth + ','} at delta {facts['delta']:.2g} spent "
        f"in {facts['steps']:,} steps{early} ({noises(facts)}, gradients clipped to {facts['clip']:g}){asked}",
        *of_a_person(facts),
        *rest,
    ]


def noises(facts: Mapping[str, Any]) -> str:
    """The noise of each stage, from which anybody can account for epsilon again.

    Args:
        facts: of the training.

    Returns:
        A phrase, such as "noise multiplier 1.1, sampling rate 0.02", or with the steps of each of several stages.
    """
    stages = facts.get("stages") or [facts]
    if len(stages) == 1:
        return f"noise multiplier {facts['noise_multiplier']:.3g}, sampling rate {facts['sample_rate']:.3g}"
    each = [
        f"{stage['noise_multiplier']:.3g} in {stage['steps']:,} steps at sampling rate {stage['sample_rate']:.3g}"
        for stage in stages
    ]
    return f"noise multipliers {', then '.join(each)}"


def of_a_person(facts: Mapping[str, Any]) -> list[str]:
    """What the proof is worth to a person with several records.

    Args:
        facts: of the training.

    Returns:
        One sentence without a full stop; none where nobody is known to have several, and where nothing is proven.
    """
    if facts.get("records_of_a_person", 1) < 2:
        return []
    most = facts["records_of_a_person"]
    if facts["delta_of_a_person"] >= 1:
        return [
            f"that is the proof for one record: nothing is proven for a person with up to {most} (delta would be 1)"
        ]
    return [
        f"that is the proof for one record: a person with up to {most} records is covered by an epsilon of "
        f"{facts['epsilon_of_a_person']:.3g} at delta {facts['delta_of_a_person']:.2g} only"
    ]


def in_words(epsilon: float) -> str:
    """What a large epsilon is worth.

    Args:
        epsilon: that is proven.

    Returns:
        What stands behind the number in a sentence, or ends it; empty below ``_WORTHLESS``.
    """
    return "" if epsilon <= _WORTHLESS else ", which is no guarantee in practice"


def _later_stages(recipe: "Recipe") -> bool:
    private = {"train"} if recipe.dp.total is None else {"train", *_FINE_TUNING}
    return recipe.dp.active and bool(recipe.stages().keys() - private) and not _without_members(recipe)


def _without_members(recipe: "Recipe") -> bool:
    """Whether every stage after ``train`` reads the model's answers and no member: to go on from those costs no privacy."""
    later = [name for name in recipe.stages() if name != "train"]
    return "noisy" not in later and any(DMP.acts_in(recipe, name) for name in later)


PRIVATE_TRAINING: Defence = Defence(
    name="dp",
    place=50,
    title="differentially private training (DP-SGD)",
    option="--dp-epsilon 8",
    source="Abadi et al. 2016",
    what="DP-SGD through Opacus, in `edgepriv train`: a proof, not a measurement. The epsilon spent is in the manifest, beside "
    "the audit's lower bound. Batches and noise come from the operating system and cannot be drawn again (`--dp-seed` repeats "
    "them, and voids the proof for whoever knows it). It does not cover the choice of hyperparameters, the normalisation, the "
    "encoding of a table's columns, or what the manifest says of the members; afterwards quantize with `--ptq`, or fine-tune "
    "under the same accountant (`--dp-total-epsilon 10`). `--dp-noise 0.1` gives the noise instead of an epsilon: the manifest "
    "says which epsilon that still is",
    fields=("dp",),
    unused={
        "dp.seed": lambda recipe: True,  # another draw of the same training: no reference model is worth less for it
        "dp.delta": lambda recipe: recipe.dp.noise is not None,  # it is what epsilon is counted at
        "dp.total": lambda recipe: not recipe.stages().keys() & set(_FINE_TUNING),
    },
    acts_in=lambda recipe, stage: (
        recipe.dp.active and (stage == "train" or (recipe.dp.total is not None and stage in _FINE_TUNING))
    ),
    idle="--dp-total-epsilon is spent by fine-tuning, and no stage trains here: leave it out, or pass --qat-epochs",
    conflicts=(
        Conflict(
            "--dp-total-epsilon is spent on members, and after DMP no stage reads one: leave it out, which costs no privacy",
            met=lambda recipe: recipe.dp.total is not None and _without_members(recipe),
        ),
        Conflict(
            "differentially private training computes in float32: leave out --precision bfloat16",
            met=lambda recipe: recipe.dp.active and recipe.precision == "bfloat16",
        ),
        Conflict(
            "delta, clip, augmentations and seed of differential privacy have no effect without an epsilon or a noise, and the "
            "training would not be private: pass --dp-epsilon or --dp-noise",
            details=("dp",),
            without=lambda recipe: not recipe.dp.active,
        ),
        Conflict(
            "--dp-total-epsilon is what training and fine-tuning spend together, so it must be larger than the --dp-epsilon of "
            "the training",
            met=lambda recipe: (recipe.dp.total or math.inf) <= (recipe.dp.epsilon or 0.0),
        ),
        Conflict(
            "--dp-augmentations takes the mean over augmented copies of an example, which are all equal without augmentation: "
            "pass --augment crop or crop_flip",
            met=lambda recipe: recipe.dp.active and recipe.dp.augmentations > 1 and recipe.train.augment == "none",
        ),
        Conflict(
            "--dp-epsilon chooses the noise, and --dp-noise gives it: use one or the other",
            met=lambda recipe: recipe.dp.epsilon is not None and recipe.dp.noise is not None,
        ),
        Conflict(
            "differentially private training covers the stage 'train' only, and every later stage would read the members again "
            "without it: leave [noisy], [distilled], [robust] and [qat] out of the recipe, give --adv and --bits to edgepriv "
            "train if need be, then harden with --ptq, which costs no privacy; or fine-tune (robust, qat) under the same "
            "accountant with --dp-total-epsilon; or distil the model on examples that are nobody's (--dmp)",
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
