"""One model's answers on labelled examples, and the log-odds that attacks read from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edgepriv.audit import logarithms
from edgepriv.audit.tempered import FLOOR, Tempered, tempered_log_odds
from edgepriv.errors import UserError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def log_odds(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Floats:
    """Logit-scaled confidence log p_y - log(sum of the other p), as in LiRA (Carlini et al. 2022).

    Args:
        probabilities: float [n, K], rows in [0, 1] that sum to 1.
        labels: integer [n] in 0..K-1.

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

    probabilities: float [n, K], K >= 2, rows sum to 1. labels: int64 [n], the true classes in 0..K-1. kept: where the
    probabilities stand for those of a model of which only log-odds are kept, these at other temperatures. scores: float64
    [n, K] of a model that returns no probabilities but other scores, of which these are the softmax; see ``of_scores``.
    """

    probabilities: npt.NDArray[np.floating]
    labels: npt.NDArray[np.int64]
    kept: Tempered | None = None
    scores: Floats | None = None

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
        """Log-odds of the true label, float64 [n] in [-87.4, 87.4], as they are known of reference models; see
        ``log_odds``."""
        return log_odds(self.probabilities, self.labels)

    @cached_property
    def log_probabilities(self) -> Floats:
        """float64 [n, K], distinct where the probabilities themselves are too near to 0 or 1 to tell them apart."""
        if self.scores is None:
            return logarithms.of_probabilities(self.probabilities)
        return logarithms.of_scores(self.scores)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """int64 [n], the class of the largest score."""
        return np.asarray((self.probabilities if self.scores is None else self.scores).argmax(axis=1))

    @cached_property
    def tempered(self) -> Tempered:
        """Log-odds of the true label at each temperature of ``HOTTER``, float32 [len(HOTTER), n]."""
        return tempered_log_odds(self.probabilities, self.labels) if self.kept is None else self.kept

    def take(self, index: npt.NDArray[np.generic]) -> "Outputs":
        """Some of the examples.

        Args:
            index: int [m], or a mask bool [n].

        Returns:
            The answers to these.
        """
        kept = None if self.kept is None else self.kept[:, index]
        scores = None if self.scores is None else self.scores[index]
        return Outputs(self.probabilities[index], self.labels[index], kept, scores)

    @classmethod
    def of_scores(cls, scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> "Outputs":
        """The answers of a model that returns scores which are no probabilities, such as logits or margins.

        The softmax keeps their differences alone, and rounds what is nearly certain; the scores are kept beside.

        Args:
            scores: float [n, K].
            labels: int64 [n], the true classes.

        Returns:
            Outputs with ``scores``.
        """
        doubles: Floats = scores.astype(np.float64)
        return cls(np.exp(logarithms.of_scores(doubles)), labels, scores=doubles)

    @classmethod
    def of_confidence(cls, confidence: Floats, tempered: Tempered | None = None) -> "Outputs":
        """The answers of a model of which only log-odds are kept: label 0 against everything else.

        Args:
            confidence: float64 [n], log-odds of the true label.
            tempered: float32 [len(HOTTER), n], the same at other temperatures, where they are known.

        Returns:
            Outputs of two classes, all labels 0.
        """
        away = np.exp(-np.logaddexp(0.0, confidence))
        probabilities = np.stack([np.exp(-np.logaddexp(0.0, -confidence)), away], axis=1)
        return cls(probabilities, np.zeros(len(confidence), dtype=np.int64), tempered)
