"""What may be chosen: the axes of the search, and the changes of the recipe that a point of it means."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from typing import TYPE_CHECKING, Any

from edgepriv.tuning.bits import allocated
from edgepriv.tuning.budgets import Budgets

if TYPE_CHECKING:
    from optuna.trial import Trial

MEAN_BITS = (2.0, 6.0, 0.25)
"""Bits of a weight on average: fewest, most, step."""
QUANTIZERS = ("minmax", "lsq", "dorefa", "famili")
"""The simplest first: it wins a tie."""
GRANULARITIES = ("channel", "tensor", "block:64")
"""The same."""
EPOCHS = (1, 4, 12)
"""Epochs of fine-tuning on each rung: what is promising on one is trained again for the next."""
VARIANTS = (
    {"profile": "latency", "compute": "float32"},
    {"profile": "memory", "compute": "float32"},
    {"profile": "portable", "compute": "float32"},
    {"profile": "latency", "compute": "int8-static"},
)
"""Layouts of the same weights that the finalists are exported in; the simplest first."""
DEFENCES: dict[str, dict[str, dict[str, Any]]] = {
    "none": {},
    "label smoothing 0.1": {"smoothing": {"share": 0.1}},
    "label smoothing 0.3": {"smoothing": {"share": 0.3}},
    "HAMP 0.3": {"hamp": {"entropy": 0.3}},
    "HAMP 0.6": {"hamp": {"entropy": 0.6}},
    "SELENA 10 of 4": {"selena": {"sub_models": 10, "unseen": 4}},
}
"""Defences of training with their strength, searched where leakage has a budget. A head that hides scores is none of them: who
holds the file can cut it off."""
_UNIFORM = 4
_STARTS = (2.5, 2.25, 3.0, 2.0, 4.0)


@dataclass(frozen=True)
class Plan:
    """One candidate: what it asks of the recipe, but for the epochs of fine-tuning. ``bits``: by layer."""

    bits: str
    quantizer: str
    granularity: str
    defence: str = "none"
    robust_epochs: int = 0
    layout: tuple[str, str] | None = None

    def changes(self, epochs: int) -> dict[str, dict[str, Any]]:
        """Sections of the recipe.

        Args:
            epochs: of fine-tuning.

        Returns:
            As ``Recipe.with_changes`` takes them.
        """
        attacked = self.robust_epochs > 0
        layout = {} if self.layout is None else dict(zip(("profile", "compute"), self.layout, strict=True))
        return {
            "quantize": {"bits": self.bits, "quantizer": self.quantizer, "granularity": self.granularity},
            "qat": {"epochs": epochs},
            "adversary": {"method": "pgd" if attacked else "none"},
            "robust": {"epochs": self.robust_epochs if attacked else 0},
            **({"export": layout} if layout else {}),
            **DEFENCES[self.defence],
        }

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
            Such as "conv1=4,fc=2 lsq channel, 4 epochs".
        """
        more = [f"PGD {self.robust_epochs}"] if self.robust_epochs else []
        more += [self.defence] if self.defence != "none" else []
        more += [] if self.layout is None else [" ".join(self.layout)]
        return ", ".join(
            [f"{self.bits} {self.quantizer} {self.granularity}", f"{epochs} epoch{'s' if epochs != 1 else ''}", *more]
        )


def suggested(trial: "Trial", table: Mapping[str, Any], budgets: Budgets) -> Plan:
    """The plan of a trial.

    Args:
        trial: of Optuna, which draws.
        table: what each layer loses at each width.
        budgets: which decide what is searched: without one on robustness no attack is trained against.

    Returns:
        The plan.
    """
    low, high, step = MEAN_BITS
    bits = trial.suggest_float("mean_bits", low, high, step=step)
    spread = trial.suggest_categorical("spread", ["by sensitivity", "even"])
    quantizer = trial.suggest_categorical("quantizer", list(QUANTIZERS))
    granularity = trial.suggest_categorical("granularity", list(GRANULARITIES))
    rules = allocated(table, bits) if spread == "by sensitivity" else even(table, bits)
    robust = 0 if budgets.robust is None else trial.suggest_int("robust_epochs", 3, 12, step=3)
    defence = "none" if budgets.leakage is None else trial.suggest_categorical("defence", list(DEFENCES))
    return Plan(rules, quantizer, granularity, defence, robust)


def even(table: Mapping[str, Any], mean_bits: float) -> str:
    """The same bits for every layer: the widest known width that is no wider than asked.

    Args:
        table: whose ``widths`` are known.
        mean_bits: that may be spent.

    Returns:
        Rules as a recipe writes them.
    """
    return f"*={max(width for width in sorted(table['widths']) if width <= max(mean_bits, min(table['widths'])))}"


def first_points(budgets: Budgets) -> list[dict[str, Any]]:
    """Where the search begins: 4 bits everywhere, to compare with, then fewer bits by sensitivity.

    Args:
        budgets: as for ``suggested``.

    Returns:
        Parameters of trials.
    """
    others: dict[str, Any] = {} if budgets.robust is None else {"robust_epochs": 6}
    if budgets.leakage is not None:
        others |= {"defence": "none"}
    uniform = {"mean_bits": float(_UNIFORM), "spread": "even", "quantizer": "minmax", "granularity": "channel"}
    learned = {"spread": "by sensitivity", "quantizer": "lsq", "granularity": "channel"}
    return [uniform | others, *({"mean_bits": bits} | learned | others for bits in _STARTS)]
