"""One candidate of the search: what it asks of the recipe, its name and its title, and the setting it is searched in."""

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from typing import Any

from edgepriv.recipe import bit_rules
from edgepriv.report.formatting import count

MOVED = "moved copies"
DEFENCES: dict[str, dict[str, dict[str, Any]]] = {
    "none": {},
    MOVED: {"qat": {"augment": "crop"}},
    "label smoothing 0.1": {"smoothing": {"share": 0.1}},
    "label smoothing 0.3": {"smoothing": {"share": 0.3}},
    "mixup 0.2": {"mixup": {"alpha": 0.2}},
    "RelaxLoss 0.3": {"qat": {"relax": 0.3}},
    "HAMP 0.3": {"hamp": {"entropy": 0.3}},
    "HAMP 0.6": {"hamp": {"entropy": 0.6}},
    "DMP": {"dmp": {"share": 1.0}},
    "SELENA 10 of 4": {"selena": {"sub_models": 10, "unseen": 4}},
}
"""Defences of training with their strength, searched where leakage has a budget. A head that hides scores is none of them: who
holds the file can cut it off."""
_MOST_WRITTEN_OUT = 8
"""Layers whose bits a title gives one by one."""


@dataclass(frozen=True)
class Setting:
    """What a search depends on beside its budgets. ``trains``: whether candidates are trained at all; ``images``: whether they
    can be moved; ``epochs``: of the training that the checkpoint is of; ``holdout``: its examples, as a share of the members;
    ``most_bits``: of a weight on average, what the budget of size leaves, None without one; ``steps``: of an attack in
    adversarial training; ``lr``: learning rate of the recipe's fine-tuning; ``attacked``: whether the checkpoint was
    trained against an adversary, or the recipe names one, which stays; ``robust_epochs``: of the stage ``robust`` that the
    recipe asks for; ``tuned_attacked``: whether fine-tuning has the adversary too; ``fixed``: whether there are filters that
    nobody trains, which the sensitivity does not tell of; ``unfit``: defences that do not go with its training."""

    trains: bool
    images: bool
    epochs: int
    holdout: float
    most_bits: float | None
    steps: int
    lr: float
    attacked: bool = False
    robust_epochs: int = 0
    tuned_attacked: bool = True
    fixed: bool = False
    unfit: frozenset[str] = frozenset()

    def defences(self) -> list[str]:
        """Those that fit the model and its data, by name."""
        if not self.trains:
            return ["none"]
        unfit = self.unfit | ({MOVED} if not self.images else set()) | ({"DMP"} if self.holdout == 0 else set())
        return [name for name in DEFENCES if name not in unfit]


@dataclass(frozen=True)
class Plan:
    """One candidate: what it asks of the recipe, but for the epochs of fine-tuning. ``bits``: by layer; ``distil_epochs``: of a
    defence that distils a new model; ``lr``: learning rate of fine-tuning, None for the recipe's; ``adversary``: its method,
    None for the checkpoint's own."""

    bits: str
    quantizer: str
    granularity: str
    defence: str = "none"
    robust_epochs: int = 0
    layout: tuple[str, str] | None = None
    distil_epochs: int = 0
    lr: float | None = None
    adversary: str | None = "none"

    def changes(self, epochs: int) -> dict[str, dict[str, Any]]:
        """Sections of the recipe.

        Args:
            epochs: of fine-tuning.

        Returns:
            As ``Recipe.with_changes`` takes them.
        """
        defended = DEFENCES[self.defence]
        layout = {} if self.layout is None else dict(zip(("profile", "compute"), self.layout, strict=True))
        return {
            **defended,
            "quantize": {"bits": self.bits, "quantizer": self.quantizer, "granularity": self.granularity},
            "qat": {"epochs": epochs} | ((defended.get("qat", {}) | self._rate()) if epochs else {}),
            **({} if self.adversary is None else {"adversary": {"method": self.adversary}}),
            "robust": {"epochs": self.robust_epochs},
            **({"distilled": {"epochs": self.distil_epochs}} if self.distil_epochs else {}),
            **({"export": layout} if layout else {}),
        }

    def _rate(self) -> dict[str, Any]:
        return {} if self.lr is None else {"lr": self.lr}

    def passes(self, epochs: int, setting: Setting) -> float:
        """How often all members are gone through, which its time follows.

        Args:
            epochs: of fine-tuning.
            setting: of the search.

        Returns:
            Passes forward and backward.
        """
        of_selena = DEFENCES[self.defence].get("selena")
        sub_models = 0.0 if of_selena is None else of_selena["sub_models"] - of_selena["unseen"]
        share = setting.holdout if self.defence == "DMP" else 1.0 + sub_models
        attacked = setting.steps + 1 if self.adversary != "none" else 1
        tuned = attacked if setting.tuned_attacked else 1
        return tuned * epochs + attacked * self.robust_epochs + self.distil_epochs * share

    def named(self, epochs: int) -> str:
        """A name by what it asks for.

        Args:
            epochs: of fine-tuning.

        Returns:
            12 hex digits.
        """
        return sha256(dumps(self.changes(epochs), sort_keys=True).encode()).hexdigest()[:12]

    def title(self, epochs: int) -> str:
        """In words, for tables.

        Args:
            epochs: of fine-tuning.

        Returns:
            Such as "conv1=4,fc=2 lsq channel, 4 epochs"; of many layers, how many of them have which bits.
        """
        more = [] if self.lr is None else [f"learning rate {self.lr:g}"]
        by = {"pgd": "PGD", "none": "training on"}.get(self.adversary or "", "adversarial training")
        more += [f"{by} {self.robust_epochs}"] if self.robust_epochs else []
        more += [self.defence] if self.defence != "none" else []
        more += [] if self.layout is None else [" ".join(self.layout)]
        return ", ".join(
            [
                f"{_shortened(self.bits)} {self.quantizer} {self.granularity}",
                f"{epochs} epoch{'s' if epochs != 1 else ''}",
                *more,
            ]
        )


def _shortened(bits: str) -> str:
    rules = bit_rules(bits)
    if len(rules) <= _MOST_WRITTEN_OUT:
        return bits
    counts = Counter(width for _, width in rules)
    return ", ".join(f"{width} bits in {count(counts[width], 'layer')}" for width in sorted(counts))
