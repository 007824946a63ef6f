"""What models that the attacker has trained himself answer: shadow models, and reference models."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgepriv.audit.answers import Bools, Floats, Outputs
from edgepriv.audit.tempered import HOTTER, Tempered
from edgepriv.errors import UserError


@dataclass(frozen=True, eq=False)
class Shadow:
    """A shadow model's outputs on its own members and non-members, none of them a candidate of the evaluation.

    ``outputs`` of n examples (several shadow models: one after the other), ``member`` bool [n], both values present.
    ``groups``: int64 [n], whose records they are; None where each is by itself.
    """

    outputs: Outputs
    member: Bools
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.member.shape != self.outputs.labels.shape or self.member.dtype != np.bool_:
            raise UserError(f"shadow membership must be bool [{len(self.outputs.labels)}], got {self.member.shape}")
        if not 1 < self.member.sum() < len(self.member) - 1:
            raise UserError("the shadow model needs at least two members and two non-members")

    def take(self, index: npt.NDArray[np.generic]) -> "Shadow":
        """Some of the examples.

        Args:
            index: int [m], or a mask bool [n].

        Returns:
            The answers to these, and who of them is a member.
        """
        groups = None if self.groups is None else self.groups[index]
        return Shadow(self.outputs.take(index), self.member[index], groups)


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
        """The same models on some of the candidates.

        Args:
            index: int [m], or a mask bool [n].

        Returns:
            Their answers to these.
        """
        return References(
            self.confidence[:, index],
            self.member[:, index],
            None if self.tempered is None else self.tempered[:, :, index],
            None if self.unused is None else self.unused[:, index],
        )

    def of_models(self, models: npt.NDArray[np.int64]) -> "References":
        """Some of the models.

        Args:
            models: int64, 0 .. R - 1.

        Returns:
            Their answers to all candidates.
        """
        return References(
            self.confidence[models],
            self.member[models],
            None if self.tempered is None else self.tempered[:, models],
            None if self.unused is None else self.unused[models],
        )

    def asked_without(self, r: int) -> tuple[Bools, Bools]:
        """Whom to ask about each candidate when a model is attacked by the others.

        Which candidates model r was trained on must not be told by how many others were trained on them. Models are
        trained on each candidate about equally often, so r's members have one IN model less among the others. Hence all
        candidates keep as many as the one that has fewest; which ones go depends on nothing but the memberships.

        Args:
            r: the model, in 0 .. R - 1.

        Returns:
            IN and OUT models, bool [R, n] each.
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
        """The models without one.

        Args:
            r: the model, in 0 .. R - 1.
            equally: keep of each candidate those of ``asked_without``, else all.

        Returns:
            The R - 1 others.
        """
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

    def of_models(self, models: npt.NDArray[np.int64]) -> "Population":
        """The same examples, with some of the reference models.

        Args:
            models: int64, 0 .. R - 1.

        Returns:
            The examples.
        """
        hot = self.tempered_references
        return Population(
            self.target, self.references[models], self.tempered_target, None if hot is None else hot[:, models]
        )

    def as_target(self, r: int) -> "Population":
        """The same examples, with a reference model as the target of the others.

        Args:
            r: the model, in 0 .. R - 1.

        Returns:
            The examples, with R - 1 reference models.
        """
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
