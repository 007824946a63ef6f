"""What an attacker observes. Nothing in this file can say who was in the target's training data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgepriv.audit.tempered import FLOOR, HOTTER, Tempered, tempered_log_odds
from edgepriv.errors import UserError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def log_odds(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Floats:
    """Logit-scaled confidence log p_y - log(sum of the other p), as in LiRA (Carlini et al. 2022).

    Args:
        probabilities: float [n, K], rows in [0, 1] that sum to 1. labels: integer [n] in 0..K-1.

    Returns:
        float64 [n] in [-87.4, 87.4]. The others are summed, not taken as 1 - p_y: a float32 softmax rounds p_y to
        exactly 1 from log-odds of 17 on, while the small probabilities stay exact down to ``FLOOR``, where both
        terms are clipped.
    """
    rows = np.arange(len(labels))
    others = np.array(probabilities, dtype=np.float64)
    true = others[rows, labels]
    others[rows, labels] = 0.0
    odds: Floats = np.log(np.maximum(true, FLOOR)) - np.log(np.maximum(others.sum(axis=1), FLOOR))
    return odds


@dataclass(frozen=True, eq=False)
class Outputs:
    """One model's answers on labelled examples.

    probabilities: float32 [n, K], K >= 2, rows sum to 1. labels: int64 [n], the true classes in 0..K-1. kept: where the
    probabilities stand for those of a model of which only log-odds are kept, these at other temperatures.
    """

    probabilities: npt.NDArray[np.floating]
    labels: npt.NDArray[np.int64]
    kept: Tempered | None = None

    def __post_init__(self) -> None:
        p, y = self.probabilities, self.labels
        if p.ndim != 2 or p.shape[1] < 2 or y.shape != p.shape[:1]:
            raise UserError(f"expected probabilities [n, K >= 2] and labels [n], got {p.shape} and {y.shape}")
        if not np.isfinite(p).all():
            raise UserError("the model's probabilities contain NaN or infinity: the model is broken on these inputs")
        if len(p) and (p.min() < 0 or np.abs(p.sum(axis=1, dtype=np.float64) - 1).max() > 1e-3):
            raise UserError("the model's outputs are not probabilities (rows in [0, 1] that sum to 1): apply softmax")
        if len(y) and (y.min() < 0 or y.max() >= p.shape[1]):
            raise UserError(f"labels must lie in 0..{p.shape[1] - 1}, found {y.min()}..{y.max()}")

    @cached_property
    def confidence(self) -> Floats:
        """Log-odds of the true label, float64 [n]; see ``log_odds``."""
        return log_odds(self.probabilities, self.labels)

    @cached_property
    def tempered(self) -> Tempered:
        """Log-odds of the true label at each temperature of ``HOTTER``, float32 [len(HOTTER), n]."""
        return tempered_log_odds(self.probabilities, self.labels) if self.kept is None else self.kept

    def take(self, index: npt.NDArray[np.generic]) -> "Outputs":
        """The examples at ``index`` (integers or a mask)."""
        kept = None if self.kept is None else self.kept[:, index]
        return Outputs(self.probabilities[index], self.labels[index], kept)

    @classmethod
    def of_confidence(cls, confidence: Floats, tempered: Tempered | None = None) -> "Outputs":
        """A model of which only the true label's log-odds [n] are kept, at other temperatures too if ``tempered`` is given:
        label 0 against everything else."""
        away = np.exp(-np.logaddexp(0.0, confidence))
        probabilities = np.stack([np.exp(-np.logaddexp(0.0, -confidence)), away], axis=1)
        return cls(probabilities, np.zeros(len(confidence), dtype=np.int64), tempered)


@dataclass(frozen=True, eq=False)
class Shadow:
    """A shadow model's outputs on its own members and non-members, none of them a candidate of the evaluation.

    ``outputs`` of n examples (several shadow models: one after the other), ``member`` bool [n], both values present.
    """

    outputs: Outputs
    member: Bools

    def __post_init__(self) -> None:
        if self.member.shape != self.outputs.labels.shape or self.member.dtype != np.bool_:
            raise UserError(f"shadow membership must be bool [{len(self.outputs.labels)}], got {self.member.shape}")
        if not 1 < self.member.sum() < len(self.member) - 1:
            raise UserError("the shadow model needs at least two members and two non-members")

    def take(self, index: npt.NDArray[np.generic]) -> "Shadow":
        """The examples at ``index`` (integers or a mask)."""
        return Shadow(self.outputs.take(index), self.member[index])


@dataclass(frozen=True, eq=False)
class References:
    """R reference models on the n candidates.

    confidence: float [R, n], ``log_odds`` of the candidates' true labels. member: bool [R, n], True where reference
    model r was trained on candidate i (IN), else OUT; all False for purely offline references. tempered: float32
    [len(HOTTER), R, n], the log-odds at other temperatures; None where they are not known. unused: bool [R, n], True where
    model r is not asked about candidate i; None: nowhere.
    """

    confidence: Floats
    member: Bools
    tempered: Tempered | None = None
    unused: Bools | None = None

    @cached_property
    def inside(self) -> Bools:
        """bool [R, n]: where model r is asked about candidate i as one that was trained on it."""
        return self.member if self.unused is None else self.member & ~self.unused

    @cached_property
    def out(self) -> Bools:
        """bool [R, n]: where model r is asked about candidate i as one that was not trained on it."""
        return ~self.member if self.unused is None else ~(self.member | self.unused)

    def __post_init__(self) -> None:
        c, m, t, u = self.confidence, self.member, self.tempered, self.unused
        if c.ndim != 2 or not c.shape[0] or m.shape != c.shape or m.dtype != np.bool_:
            raise UserError(f"references need confidence [R >= 1, n] and bool member [R, n], got {c.shape}, {m.shape}")
        if not np.isfinite(c).all():
            raise UserError("a reference model's confidence is NaN or infinite: its training diverged")
        if t is not None and (t.shape != (len(HOTTER), *c.shape) or not np.isfinite(t).all()):
            raise UserError(f"references need finite tempered log-odds {(len(HOTTER), *c.shape)}, got {t.shape}")
        if u is not None and u.shape != c.shape:
            raise UserError(f"references need unused bool {c.shape}, got {u.shape}")

    def take(self, index: npt.NDArray[np.generic]) -> "References":
        """The same models on the candidates at ``index`` (integers or a mask)."""
        return References(
            self.confidence[:, index],
            self.member[:, index],
            None if self.tempered is None else self.tempered[:, :, index],
            None if self.unused is None else self.unused[:, index],
        )

    def asked_without(self, r: int) -> tuple[Bools, Bools]:
        """Whom to ask about each candidate when model ``r`` is attacked by the others: IN and OUT models, bool [R, n].

        Which candidates model r was trained on must not be told by how many others were trained on them. Models are
        trained on each candidate about equally often, so r's members have one IN model less among the others. Hence all
        candidates keep as many as the one that has fewest; which ones go depends on nothing but the memberships.
        """
        order = np.roll(np.arange(len(self.member)), -r - 1)  # from r + 1 on, so that other models go for another r
        asked = []
        for side in (self.inside, self.out):
            others = side[order]
            others[-1] = False
            ranks = np.cumsum(others, axis=0)
            kept = np.empty_like(others)
            kept[order] = others & (ranks > ranks[-1] - ranks[-1].min())
            asked.append(kept)
        return asked[0], asked[1]

    def without(self, r: int, *, equally: bool = True) -> "References":
        """The other models; ``equally``: of each candidate those of ``asked_without``, else all."""
        inside, out = self.asked_without(r) if equally else (self.inside, self.out)
        return References(
            np.delete(self.confidence, r, axis=0),
            np.delete(self.member, r, axis=0),
            None if self.tempered is None else np.delete(self.tempered, r, axis=1),
            np.delete(~(inside | out), r, axis=0),
        )


@dataclass(frozen=True, eq=False)
class Population:
    """m examples that neither the target nor any reference model was trained on (RMIA's z).

    target: float [m], the target's ``log_odds``; references: float [R, m], the reference models'. tempered_target: float32
    [len(HOTTER), m] and tempered_references: float32 [len(HOTTER), R, m], the same at other temperatures; None where they
    are not known.
    """

    target: Floats
    references: Floats
    tempered_target: Tempered | None = None
    tempered_references: Tempered | None = None

    def as_target(self, r: int) -> "Population":
        """The same examples, with reference model ``r`` as the target of the others."""
        hot = self.tempered_references
        return Population(
            self.references[r],
            np.delete(self.references, r, axis=0),
            None if hot is None else hot[:, r],
            None if hot is None else np.delete(hot, r, axis=1),
        )

    def __post_init__(self) -> None:
        t, r = self.target, self.references
        hot, hotter = self.tempered_target, self.tempered_references
        if t.ndim != 1 or not len(t) or r.ndim != 2 or r.shape[1:] != t.shape:
            raise UserError(f"population needs target [m >= 1] and references [R, m], got {t.shape} and {r.shape}")
        if not (np.isfinite(t).all() and np.isfinite(r).all()):
            raise UserError("the confidence on the population is NaN or infinite")
        if (hot is None) != (hotter is None):
            raise UserError("the population needs tempered log-odds of the target and of the references, or of neither")
        if hot is not None and hotter is not None:
            if hot.shape != (len(HOTTER), *t.shape) or hotter.shape != (len(HOTTER), *r.shape):
                raise UserError(f"the population's tempered log-odds do not fit: {hot.shape} and {hotter.shape}")
            if not (np.isfinite(hot).all() and np.isfinite(hotter).all()):
                raise UserError("the tempered log-odds on the population are NaN or infinite")


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
    "worst-case" or "trajectory"). ``adversarial``: the models did not answer to the candidates as they are but to
    perturbed ones, each model to those that fool it. ``labels_only``: the target shows no probabilities; those in ``target``
    are 1 for its label. ``lacks``: a need of an attack -> why it is not met.
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

    @property
    def offers(self) -> frozenset[str]:
        """What is there, in the words of ``Attack.needs``."""
        optional = {
            "shadow": self.shadow,
            "references": self.references,
            "population": self.population,
            "generated": self.generated,
            "population inputs": self.inputs,
        }
        offered = {"labels"} | {name for name, value in optional.items() if value is not None}
        offered |= {"gradients"} if self.adversarial else set()
        return frozenset(offered | ({"label-queries"} if LABEL_QUERIES & set(self.queried) else set()))

    def with_reference_as_target(self, r: int, *, equally: bool = True) -> tuple["Evidence", Bools]:
        """Pretend that reference model ``r`` is the target, attacked with the other R - 1 >= 1 references.

        Returns the evidence and the known membership bool [n]. Only log-odds are kept (``Outputs.of_confidence``), and
        ``equally`` many reference models of each candidate (``References.without``).
        """
        if self.references is None or len(self.references.confidence) < 2:
            raise ValueError("needs at least two reference models")
        references = self.references
        population = self.population and self.population.as_target(r)
        hot = None if references.tempered is None else references.tempered[:, r]
        target = Outputs.of_confidence(references.confidence[r], hot)
        others = references.without(r, equally=equally)
        # What the target answered to other inputs is not what reference model r would have answered.
        pretended = replace(self, target=target, references=others, population=population, generated=None, inputs=None)
        return pretended, references.member[r]

    def with_shadow_as_target(self, learnt: Bools) -> tuple["Evidence", Bools]:
        """Pretend that the shadow model is the target: it is known on the examples of the mask ``learnt`` [s], attacked on
        the others.

        Returns the evidence and the known membership of the others.
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
        """The same evidence on the candidates at ``index`` (integers or a mask)."""
        references, inputs = self.references, self.inputs
        return replace(
            self,
            target=self.target.take(index),
            references=references and references.take(index),
            inputs=inputs and replace(inputs, candidates=inputs.candidates[index]),
            queried={name: Queried(asked.target[index], asked.shadow) for name, asked in self.queried.items()},
        )
