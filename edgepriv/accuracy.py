"""Is this the model you think it is? What its answers say about that, as pure functions of labels.

One rule for every verb. A model is stopped

- when it gives one class to ONE_CLASS of the inputs and the data do not: fewer than RECOGNISED of the inputs of other
  classes get another answer;
- when it does no better than the largest class, on members and on held-out data alike: neither its accuracy against always
  answering the largest class, nor its balanced accuracy (the mean recall of the classes) against chance. Data of which 95%
  are of one class are judged fairly by the second;
- when quantization costs more than ``Standard.max_drop`` points against the weights before it, on the same inputs.

Noise neither stops a model nor excuses one. "Better" must be significant (one-sided, 99%); what is not, is stopped only if
its gain is not above zero, or if so many inputs were asked that a gain of NOISE would have been seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import beta, binom

from edgepriv.errors import UserError
from edgepriv.recipe import MAX_DROP

ONE_CLASS = 0.95
RECOGNISED = 0.25
NOISE = 0.15
NEAR = 0.03
"""By how much a model from elsewhere must beat the largest class on what it was trained on; untrained ones do by a little."""
LITTLE = 0.25
"""Share of the way from the largest class to no error below which a model's accuracy on its members is remarked on."""
FEW = 100
"""With fewer held-out examples, what quantization costs is judged on members and held-out examples together."""

FEW_GROUPS = 10
_ONE_SIDED = 2.326


@dataclass(frozen=True)
class Standard:
    """What a model must keep to ship. ``max_drop``: points of accuracy that quantization may cost, above 0 to 100;
    ``accept``: whether a model that fails is shipped all the same, with a warning."""

    max_drop: float = MAX_DROP
    accept: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.max_drop <= 100:
            raise UserError(f"--max-drop {self.max_drop:g}: expected points of accuracy, above 0 and at most 100")

    def judge(self, failures: Sequence[str], what_now: str) -> list[str]:
        """Turn failures into warnings where they are accepted.

        Args:
            failures: clauses on what is wrong, none if nothing is.
            what_now: a sentence on what the user can do.

        Returns:
            A warning for each failure.

        Raises:
            UserError: for failures that are not accepted; it names all of them, then says ``what_now``.
        """
        if failures and not self.accept:
            raise UserError(f"{'; '.join(failures)}. {what_now}")
        return [f"{failure} (accepted by --accept-accuracy-loss)" for failure in failures]


@dataclass(frozen=True)
class Answers:
    """``predicted``, ``truth``: int64 [n], the model's label and the true one of each input. ``groups``: int64 [n], whose
    records they are; None where each is by itself."""

    predicted: np.ndarray
    truth: np.ndarray
    groups: np.ndarray | None = None

    @property
    def right(self) -> np.ndarray:
        """bool [n]."""
        correct: np.ndarray = self.predicted == self.truth
        return correct

    @property
    def largest(self) -> int:
        """The largest class of the data."""
        return int(np.bincount(self.truth).argmax())

    def share_of(self, label: int) -> float:
        """How large a class is in the data.

        Args:
            label: of the class, from 0.

        Returns:
            Its share of the true labels, in [0, 1].
        """
        return float((self.truth == label).mean())

    @property
    def commonest(self) -> tuple[int, float]:
        """The commonest answer, and its share of all answers."""
        counts = np.bincount(self.predicted)
        return int(counts.argmax()), float(counts.max() / len(self.predicted))

    @property
    def is_one_class(self) -> bool:
        """Whether the model gives one class to all but 1 - ONE_CLASS of the inputs, and the data do not."""
        answer, share = self.commonest
        data = self.share_of(answer)
        return share >= ONE_CLASS > data and (1 - share) / (1 - data) < RECOGNISED

    def facts(self) -> dict[str, Any]:
        """Accuracy with its 95% interval (Clopper-Pearson, of ``effective`` sizes where records belong to persons), balanced
        accuracy, n, and how much is one class; JSON."""
        counts = np.bincount(self.predicted)
        hits, trials = (
            (self.right.sum(), len(self.right)) if self.groups is None else effective(self.right, self.groups)
        )
        return {
            "accuracy": float(self.right.mean()),
            "ci": [
                float(beta.ppf(0.025, hits, trials - hits + 1)) if hits > 0 else 0.0,
                float(beta.ppf(0.975, hits + 1, trials - hits)) if hits < trials else 1.0,
            ],
            "balanced_accuracy": float(np.mean(self._recalls()[0])),
            "n": len(self.truth),
            "largest_class": self.share_of(self.largest),
            "commonest_answer": float(counts.max() / len(self.predicted)),
        }

    def better(self, margin: float = 0.0) -> Literal["yes", "no", "unclear"]:
        """Whether the model beats the largest class.

        Two gains are looked at: of accuracy over always answering the largest class, and of balanced accuracy over chance.

        Args:
            margin: by how much it must be beaten, a fraction.

        Returns:
            "yes" where either gain is more than ``margin`` (one-sided, 99%). "no" where each is at most ``margin``, or so many
            inputs were asked that a gain of NOISE more than it would have been seen. Else "unclear".
        """
        gains = self.right.astype(float) - (self.truth == self.largest)
        recalls, sizes = self._recalls()
        smooth = (recalls * sizes + 1) / (
            sizes + 2
        )  # one example of a class, found, does not make a recall of 1 certain
        views = [
            (gains.mean(), gains.std() / np.sqrt(len(gains))),
            (recalls.mean() - 1 / len(recalls), np.sqrt((smooth * (1 - smooth) / sizes).sum()) / len(recalls)),
        ]
        if any(gain - _ONE_SIDED * error > margin for gain, error in views):
            return "yes"
        seen = [gain <= margin or gain + _ONE_SIDED * error < NOISE + margin for gain, error in views]
        return "no" if all(seen) else "unclear"

    def _recalls(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 [classes that occur]: their recalls and sizes."""
        sizes = np.bincount(self.truth)
        hits = np.bincount(self.truth[self.right], minlength=len(sizes))
        return hits[sizes > 0] / sizes[sizes > 0], sizes[sizes > 0]


@dataclass(frozen=True)
class Asked:
    """What one model answered on members, and on held-out data that had no part in its training or selection."""

    members: Answers
    held_out: Answers

    @property
    def together(self) -> Answers:
        """Members, then held-out."""
        both = (self.members, self.held_out)
        predicted, truth = (np.concatenate([getattr(part, name) for part in both]) for name in ("predicted", "truth"))
        groups = [part.groups for part in both if part.groups is not None]
        return Answers(predicted, truth, np.concatenate(groups) if len(groups) == len(both) else None)

    def facts(self) -> dict[str, Any]:
        """Of members and held-out data, as JSON."""
        return {"members": self.members.facts(), "held_out": self.held_out.facts()}


def effective(hits: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Successes and trials as an interval of their rate may count them where records belong to groups (Rao & Scott 1992).

    Both are divided by the design effect d = v (n - 1) / (p (1 - p)), where
    v = G / (G - 1) sum over groups of (x_g - n_g p)^2 / n^2 is the variance of the rate p over the draw of G groups with x_g
    successes in n_g records. d is 1 at least. Where fewer than FEW_GROUPS groups have either outcome, v is no good, and the
    records of a group are taken for copies of each other: d = sum of n_g^2 / n (Kish 1965).

    Args:
        hits: bool [n].
        groups: int [n].

    Returns:
        Two real numbers; the hits and n themselves where each record is a group.
    """
    _, group = np.unique(groups, return_inverse=True)
    sizes, inside = np.bincount(group), np.bincount(group, weights=hits)
    n, rate = len(hits), float(np.mean(hits))
    copies = float((sizes**2).sum()) / n
    if min((inside > 0).sum(), (inside < sizes).sum()) < FEW_GROUPS:
        effect = copies
    else:
        spread = len(sizes) / (len(sizes) - 1) * float(((inside - sizes * rate) ** 2).sum()) / n
        effect = max(1.0, spread * (n - 1) / n / (rate * (1 - rate)))
    return float(hits.sum()) / effect, n / effect


def collapse(asked: Asked, class_names: Sequence[str], margin: float = 0.0) -> str | None:
    """What is wrong with a model that gives one class to almost everything, or does no better than the largest class.

    Args:
        asked: its labels of members and of held-out inputs.
        class_names: by class.
        margin: accuracy above the largest class's share that is required, a fraction.

    Returns:
        A clause that follows the model's name ("answers 'pneumonia' to 100% ..."); None when nothing is wrong.
    """
    every = asked.together
    if every.is_one_class:
        answer, share = every.commonest
        return (
            f"answers {class_names[answer]!r} to {share:.1%} of {len(every.predicted):,} inputs, and "
            f"{every.share_of(answer):.1%} are of that class"
        )
    members, held_out = asked.members, asked.held_out
    if "yes" in (members.better(margin), held_out.better(margin)) or every.better(margin) != "no":
        return None
    return (
        f"does no better than always answering {class_names[every.largest]!r}: right on {members.right.mean():.1%} of "
        f"{len(members.truth):,} members and {held_out.right.mean():.1%} of {len(held_out.truth):,} held-out inputs, where "
        f"that answer is right on {members.share_of(every.largest):.1%} and {held_out.share_of(every.largest):.1%}"
    )


def remarks(asked: Asked) -> list[str]:
    """What deserves a word without being a reason to stop.

    Args:
        asked: the model's labels of members and of held-out inputs.

    Returns:
        Clauses that follow the model's name; empty where there is nothing to say.
    """
    members, held_out = asked.members, asked.held_out
    sentences = []
    base, accuracy = members.share_of(members.largest), float(members.right.mean())
    if accuracy < base + LITTLE * (1 - base) and members.facts()["balanced_accuracy"] < 0.5:
        sentences.append(f"is right on only {accuracy:.1%} of the members (the largest class is {base:.1%} of them)")
    if held_out.better() == "no":
        sentences.append(
            f"does no better than the largest class on held-out data: {held_out.right.mean():.1%} of {len(held_out.truth):,}, "
            f"the class is {held_out.share_of(held_out.largest):.1%}"
        )
    elif held_out.better() == "unclear" and members.better() == "unclear":
        sentences.append(
            f"cannot be distinguished from always answering the largest class on {len(asked.together.truth)} inputs"
        )
    return sentences


def drop(floating: Asked, deployed: Asked) -> float:
    """What one model loses to another in held-out accuracy, where both were asked about the same inputs.

    Args:
        floating: answers of the first, with the float weights.
        deployed: answers of the second, as it ships.

    Returns:
        Percentage points, in [-100, 100]; below 0 where the second is better.
    """
    return 100 * float(floating.held_out.right.mean() - deployed.held_out.right.mean())


def too_costly(
    floating: Asked,
    deployed: Asked,
    standard: Standard,
    weights: str = "float weights",
    what: str = "quantization",
) -> str | None:
    """What quantization cost, if it is more than the standard allows and not chance; None if it is not.

    Chance: the inputs that only one of the two has right, by the sign test. What members alone lose is no loss: it may be
    what the model knew by heart.

    Args:
        floating: answers with the weights before it.
        deployed: answers of the quantized model, about the same inputs.
        standard: of which ``max_drop`` counts, in percentage points.
        weights: what those before it are called.
        what: cost this: quantization, and what acted beside it.

    Returns:
        A clause on the loss, or None.
    """
    whole = len(floating.held_out.truth) < FEW
    before, after = (asked.together if whole else asked.held_out for asked in (floating, deployed))
    lost, won = int((before.right & ~after.right).sum()), int((~before.right & after.right).sum())
    points = 100 * (lost - won) / len(before.truth)
    if points <= standard.max_drop or binom.sf(lost - 1, lost + won, 0.5) >= 0.05:
        return None
    return (
        f"{what} cost {points:.1f} points of accuracy against its {weights} ({before.right.mean():.1%} to "
        f"{after.right.mean():.1%} on {len(before.truth):,} {'members and held-out' if whole else 'held-out'} inputs), more "
        f"than the {standard.max_drop:g} of --max-drop"
    )
