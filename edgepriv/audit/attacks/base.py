"""What an attack is: a function from evidence to one score for each candidate."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from edgepriv.audit.answers import Floats
from edgepriv.audit.evidence import Evidence

Asks = Literal["clean", "augmentation", "noise", "boundary", "adversarial", "distilled", "augmented", "weights"]

QUERIES: dict[Asks, str] = {
    "clean": "clean",
    "augmentation": "label-only",
    "noise": "label-only",
    "boundary": "label-only",
    "adversarial": "adversarial",
    "distilled": "clean",
    "augmented": "clean",
    "weights": "white-box",
}
"""What an attack asks -> the word for it in the audit's JSON."""

NEEDS = {
    "labels": "labels",
    "scores": "scores that are no probabilities",
    "shadow": "a shadow model",
    "references": "reference models",
    "population": "population examples",
    "population inputs": "population examples with their inputs",
    "generated": "answers to generated inputs",
    "gradients": "a differentiable twin of the model",
    "weights": "the model's weights in a differentiable twin",
    "augmentation": "answers to augmented copies",
    "label-queries": "labels of many variants of each example",
    "releases": "another release of the model (--also)",
}
"""What an attack may need, in the evidence's words -> in people's."""

TRAINED = frozenset({"shadow", "references", "population"})
"""The needs for which an attacker trains models, by the recipe of the threat model."""


class Unavailable(Exception):
    """This attack cannot be run on this evidence; the message is the reason that the audit prints."""


@dataclass(frozen=True)
class Attack:
    """A membership inference attack.

    name: the registry's key. title: for people. paper: where it comes from. needs: what must be in the evidence, keys of
    ``NEEDS``. run: Evidence -> float64 [n], finite, higher = more likely a member; raises Unavailable with the reason if
    the evidence is too thin.

    queries: questions to the target for each candidate, at most. reads: what it reads in an answer, all probabilities or
    only the label; or the weights, whatever the file answers. asks: the evidence that it is run on: answers to the candidates
    as they are ("clean"), labels of many variants of each ("augmentation", "noise", "boundary"), answers to perturbed
    candidates ("adversarial"), the losses of a copy distilled from the target ("distilled"), answers to copies that training
    with augmentation draws ("augmented"), or gradients and activations ("weights").

    tune: for attacks with parameters: Evidence -> their values, arguments of ``run`` by name, and under ``by`` how they were
    chosen. Like ``run`` it sees the evidence alone, so no candidate's membership can speak for a value.
    """

    name: str
    title: str
    paper: str
    needs: frozenset[str]
    run: Callable[..., Floats]
    queries: int = 1
    reads: Literal["probabilities", "label", "weights"] = "probabilities"
    asks: Asks = "clean"
    tune: Callable[[Evidence], dict[str, Any]] | None = None

    def tuned(self, evidence: Evidence) -> tuple[Callable[[Evidence], Floats], dict[str, Any]]:
        """``run`` with the parameters that suit an evidence.

        Args:
            evidence: what the attack is run on.

        Returns:
            ``run`` with them; and what they are, by name, with ``by``. Without ``tune``, ``run`` itself and nothing.

        Raises:
            Unavailable: where the evidence is too thin to choose them.
        """
        chosen = {} if self.tune is None else self.tune(evidence)
        return partial(self.run, **{name: value for name, value in chosen.items() if name != "by"}), chosen
