"""What an attacker observes. Nothing in this file can say who was in the target's training data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from edgepriv.audit.answers import Bools, Floats, Outputs
from edgepriv.audit.trained_answers import Population, References, Shadow
from edgepriv.audit.weights import WATCHED
from edgepriv.errors import UserError


@dataclass(frozen=True, eq=False)
class PopulationInputs:
    """What the inputs look like, and how the target answers m examples that it was not trained on.

    ``candidates`` float32 [n, F] and ``population`` float32 [m, F]: features of the inputs alone, no model's answers.
    ``answers``: the target's outputs on the m population examples.
    """

    candidates: npt.NDArray[np.float32]
    population: npt.NDArray[np.float32]
    answers: Outputs

    def __post_init__(self) -> None:
        c, p = self.candidates, self.population
        if c.ndim != 2 or p.shape != (len(self.answers.labels), *c.shape[1:]):
            raise UserError(f"population inputs need features [n, F] and [m, F], got {c.shape} and {p.shape}")
        if not (np.isfinite(c).all() and np.isfinite(p).all()):
            raise UserError("the features of the inputs are NaN or infinite")


LABEL_QUERIES = frozenset({"augmentation", "noise", "boundary"})
"""The kinds of ``Queried`` for which labels are asked and nothing more."""


@dataclass(frozen=True, eq=False)
class Queried:
    """What repeated questions about each example showed, one row of numbers for each.

    target: float64 [n, ...] of the n candidates, asked of the target; shadow: float64 [s, ...] of the s examples of
    ``Evidence.shadow``, asked of the shadow model in the same way; None without one.
    """

    target: Floats
    shadow: Floats | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.target).all() or (self.shadow is not None and not np.isfinite(self.shadow).all()):
            raise UserError("what a model answered to repeated questions contains NaN or infinity: it is broken there")


@dataclass(frozen=True, eq=False)
class Evidence:
    """All an attack may use: the target's outputs on the n candidates, and what the attacker trained himself.

    ``generated``: float32 [g, K], the target's probabilities on inputs that cannot be members because they were made up.
    ``seed`` drives whatever an attack draws at random. ``queried``: by what was asked ("augmentation", "noise", "boundary",
    "worst-case" or "trajectory") or watched ("last-layer", "gradient-norm"). ``adversarial``: the models did not answer to the
    candidates as they are but to perturbed ones, each model to those that fool it. ``labels_only``: the target shows no
    probabilities; those in ``target`` are 1 for its label. ``lacks``: a need of an attack -> why it is not met.
    ``copies``: the same of augmented copies of the candidates, the candidates as they are first. ``releases``: the same of
    other releases of the model, with reference models that were trained on the same records as those of the target;
    ``trainings``: which training the target, and then each of these, comes from: equal numbers are one training. Empty without
    releases.
    """

    target: Outputs
    shadow: Shadow | None = None
    references: References | None = None
    population: Population | None = None
    generated: npt.NDArray[np.floating] | None = None
    inputs: PopulationInputs | None = None
    seed: int = 0
    queried: Mapping[str, Queried] = field(default_factory=dict)
    adversarial: bool = False
    labels_only: bool = False
    lacks: Mapping[str, str] = field(default_factory=dict)
    copies: tuple["Evidence", ...] = ()
    releases: tuple["Evidence", ...] = ()
    trainings: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        n, references, population = len(self.target.labels), self.references, self.population
        if references is not None and references.confidence.shape[1] != n:
            raise UserError(f"references cover {references.confidence.shape[1]} candidates, the target {n}")
        if population is not None and (references is None or len(references.confidence) != len(population.references)):
            raise UserError("the population must be seen by exactly the same reference models as the candidates")
        if self.inputs is not None and len(self.inputs.candidates) != n:
            raise UserError(f"the inputs' features cover {len(self.inputs.candidates)} candidates, the target {n}")
        for name, asked in self.queried.items():
            known = None if self.shadow is None or asked.shadow is None else len(self.shadow.member)
            if len(asked.target) != n or (asked.shadow is not None and len(asked.shadow) != known):
                raise UserError(f"the answers about {name} do not cover the candidates and the shadow model's examples")
        generated, classes = self.generated, self.target.probabilities.shape[1]
        if generated is not None and (generated.ndim != 2 or len(generated) < 2 or generated.shape[1] != classes):
            raise UserError(f"generated answers must be [g >= 2, {classes}], got {generated.shape}")
        self._check_releases()

    def _check_releases(self) -> None:
        if self.releases and len(self.trainings) != 1 + len(self.releases):
            raise UserError("every release needs the training that it comes from")
        for release in self.releases:
            known, own = release.references, self.references
            if len(release.target.labels) != len(self.target.labels):
                raise UserError("the releases must be asked about the same candidates")
            if known is not None and own is not None and not np.array_equal(known.member, own.member):
                raise UserError("the reference models of all releases must be trained on the same candidates")

    @property
    def offers(self) -> frozenset[str]:
        """What is there, in the words of ``Attack.needs``."""
        optional = {
            "shadow": self.shadow,
            "references": self.references,
            "population": self.population,
            "generated": self.generated,
            "population inputs": self.inputs,
            "scores": self.target.scores,
        }
        offered = {"labels"} | {name for name, value in optional.items() if value is not None}
        offered |= {"gradients"} if self.adversarial else set()
        offered |= {"augmentation"} if self.copies else set()
        offered |= {"releases"} if self.releases else set()
        offered |= {"weights"} if set(WATCHED) & set(self.queried) else set()
        return frozenset(offered | ({"label-queries"} if LABEL_QUERIES & set(self.queried) else set()))

    def with_reference_as_target(self, r: int, *, equally: bool = True) -> tuple["Evidence", Bools]:
        """Pretend that reference model ``r`` is the target, attacked with the other R - 1 >= 1 references.

        Only log-odds are kept (``Outputs.of_confidence``).

        Args:
            r: in 0 .. R - 1.
            equally: keep equally many reference models of each candidate (``References.without``).

        Returns:
            The evidence, and the known membership bool [n].
        """
        if self.references is None or len(self.references.confidence) < 2:
            raise ValueError("needs at least two reference models")
        references = self.references
        population = self.population and self.population.as_target(r)
        hot = None if references.tempered is None else references.tempered[:, r]
        target = Outputs.of_confidence(references.confidence[r], hot)
        others = references.without(r, equally=equally)
        # What the target answered to other inputs is not what reference model r would have answered.
        copies = tuple(copy.with_reference_as_target(r, equally=equally)[0] for copy in self.copies)
        releases = tuple(release.with_reference_as_target(r, equally=equally)[0] for release in self.releases)
        pretended = replace(
            self, target=target, references=others, population=population, generated=None, inputs=None, copies=copies,
            releases=releases,
        )  # fmt: skip
        return pretended, references.member[r]

    def with_models(self, models: npt.NDArray[np.int64]) -> "Evidence":
        """The same evidence with some of the reference models.

        Args:
            models: int64, 0 .. R - 1.

        Returns:
            The evidence; without reference models, as it is.
        """
        references, population = self.references, self.population
        return replace(
            self,
            references=references and references.of_models(models),
            population=population and population.of_models(models),
            copies=tuple(copy.with_models(models) for copy in self.copies),
            releases=tuple(release.with_models(models) for release in self.releases),
        )

    def with_shadow_as_target(self, learnt: Bools) -> tuple["Evidence", Bools]:
        """Pretend that the shadow model is the target, of which a part is known.

        Args:
            learnt: bool [s], its examples that are known; it is attacked on the others.

        Returns:
            The evidence on the others, and their known membership.
        """
        if self.shadow is None:
            raise ValueError("needs a shadow model")
        rest = self.shadow.take(~learnt)
        asked = {name: asked.shadow for name, asked in self.queried.items() if asked.shadow is not None}
        queried = {name: Queried(answers[~learnt], answers[learnt]) for name, answers in asked.items()}
        known = self.shadow.take(learnt)
        pretended = Evidence(rest.outputs, known, seed=self.seed, queried=queried, adversarial=self.adversarial)
        return pretended, rest.member

    def take(self, index: npt.NDArray[np.generic]) -> "Evidence":
        """The same evidence on some of the candidates.

        Args:
            index: int [m], or a mask bool [n].

        Returns:
            The evidence; the shadow model's part of it stays whole.
        """
        references, inputs = self.references, self.inputs
        return replace(
            self,
            target=self.target.take(index),
            references=references and references.take(index),
            inputs=inputs and replace(inputs, candidates=inputs.candidates[index]),
            queried={name: Queried(asked.target[index], asked.shadow) for name, asked in self.queried.items()},
            copies=tuple(copy.take(index) for copy in self.copies),
            releases=tuple(release.take(index) for release in self.releases),
        )
