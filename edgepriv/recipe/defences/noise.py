"""Retraining on members with noise."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


class Noise(Section):
    """Optimal noise on the members (Kassa, Adi & Bouhaddi, eq. 5-8 and section 5.1), or its baseline ``uniform``.

    ``tau``: entropy in nats that the teacher's answer to a noisy member should reach. ``eps``: budget of each feature, in
    input units; ``beta``: how much of it an important feature loses. ``alpha``: share of the teacher's answer in the loss of
    the noisy stage and the stages after it, which all see the members with their noise.
    """

    method: Annotated[
        Literal["none", "shapley", "uniform"],
        Option("Retrain on members with noise: shapley (optimal) or uniform.", "Defences", ("harden",), name="noise"),
    ] = "none"
    tau: Annotated[
        float,
        Option("Entropy of a noisy member's prediction to reach, in nats.", "Defences", ("harden",), name="noise_tau"),
    ] = Field(0.5, ge=0)
    eps: Annotated[
        float,
        Option("Largest noise on a feature, in input units ([0, 1]).", "Defences", ("harden",), name="noise_eps"),
    ] = Field(0.1, gt=0)
    beta: Annotated[
        float,
        Option("Share of it that the most important feature loses.", "Defences", ("harden",), name="noise_beta"),
    ] = Field(0.8, ge=0, le=1)
    alpha: Annotated[
        float,
        Option(
            "Share of the teacher's answers in the loss on noisy members.", "Defences", ("harden",), name="noise_alpha"
        ),
    ] = Field(0.5, ge=0, le=1)


def _from_noisy_on(recipe: "Recipe", stage: str) -> bool:
    """The stage ``noisy`` and those after it see the members with their noise, and none without it."""
    return recipe.noise.method != "none" and recipe.noisy.epochs > 0 and stage != "train"


def _uniform(recipe: "Recipe") -> bool:
    return recipe.noise.method == "uniform"


def _lines(facts: Mapping[str, Any]) -> list[str]:
    shapley = "share_all" in facts
    within = "within every bound for" if shapley else "for"
    return [
        f"{facts['method']} noise on {facts['members']:,} members: entropy {facts['mean_entropy_before']:.3g} -> "
        f"{facts['mean_entropy_after']:.3g} nats, as high as asked {within} "
        f"{facts['share_all' if shapley else 'share_entropy']:.1%}; label kept for {facts['share_label_kept']:.1%}; "
        f"mean L2 norm {facts['mean_norm']:.3g}"
    ]


NOISE: Defence = Defence(
    name="noise",
    place=60,
    title="optimal noise on the members",
    option="--noise shapley",
    source="Kassa, Adi & Bouhaddi",
    what="retrains on members with the least noise that raises the prediction's entropy to `--noise-tau`, smaller on important "
    "features; `uniform` is its baseline. Where the bounds do not admit tau, the entropy gives way, never the label or the "
    "bounds; the manifest says how often",
    fields=("noise",),
    stage="noisy",
    anew=True,
    asked=lambda recipe: recipe.noise.method != "none",
    acts_in=_from_noisy_on,
    unused={"noise.tau": _uniform, "noise.beta": _uniform},  # of uniform noise they are only measured
    conflicts=(
        Conflict(
            "RelaxLoss holds the loss on hard labels, and members with optimal noise are trained on the teacher's soft "
            "answers: use one or the other",
            beside=("relaxloss",),
        ),
        Conflict(
            "free adversarial training takes its perturbations from the gradient of the loss, which draws the answers to noisy "
            "members towards the teacher's: use --adv pgd with noise",
            met=lambda recipe: of_method(recipe, "free") and in_one_stage(recipe, NOISE, ADVERSARIAL),
        ),
        Conflict(
            "--noise needs epochs of retraining on the noisy members: set noisy.epochs above 0",
            met=lambda recipe: recipe.noise.method != "none" and recipe.noisy.epochs == 0,
        ),
        Conflict(
            "noisy.epochs is above 0, but no noise is asked for: set noise.method to shapley or uniform",
            met=lambda recipe: recipe.noise.method == "none" and recipe.noisy.epochs > 0,
        ),
        Conflict(
            "tau, eps, beta and alpha of the noise have no effect without a method: pass --noise shapley or uniform",
            details=("noise.tau", "noise.eps", "noise.beta", "noise.alpha"),
            without=lambda recipe: recipe.noise.method == "none",
        ),
    ),
    done="training on noisy members",
    facts="noise",
    terminal_lines=_lines,
)
