"""Sections of the defences that are not stages: perturbations, noise, differential privacy, heads."""

from typing import Annotated, Literal

from pydantic import Field

from edgepriv.recipe import written
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section


class Adversary(Section):
    """The perturbations trained and measured against, in input units ([0, 1]); ``None`` resolves by input shape."""

    method: Annotated[
        Literal["none", "fgsm", "pgd"],
        Option(
            "Adversarial training: none, fgsm, pgd or pgd-l2.",
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
            default="0.1 for grey images, 8/255 for colour, 0.05 for tables; 0.5 in L2",
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
        Option("Gradient steps of PGD in training.", "Defences", ("train", "harden")),
    ] = Field(7, ge=1)


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


class Head(Section):
    """What stands after the softmax, trained by the owner when the model is done.

    ``member``, ``nonmember``: the two masks of Ding et al. 2023; ``rank``: fixed values placed by rank; ``memguard``: Jia et
    al. 2019, an optimisation for each query that the device kit runs, not the graph. ``epsilon``: of MemGuard, the expected
    L1 distance of what is shown from what the model answers, at most 2.
    """

    method: Annotated[
        Literal["none", "member", "nonmember", "rank", "memguard"],
        Option(
            "Head behind the softmax: member, nonmember or rank.",
            "Defences",
            ("harden",),
            name="regenerate",
            kind=Literal["none", "member", "nonmember", "rank"],
            noun="head",
        ),
        Option(
            "A known defence to compare with.",
            "Defences",
            ("harden",),
            name="baseline",
            kind=str,
            choices={"train": ("dropout",), "harden": ("dropout", "memguard")},
            default="none",
            sets=lambda value: {"method": "memguard" if value == "memguard" else None},
        ),
    ] = "none"
    epsilon: float = Field(1.0, ge=0, le=2)
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)
