"""What may be chosen: the axes of the search, and the changes of the recipe that a point of it means."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from typing import TYPE_CHECKING, Any

from edgepriv.recipe import bit_rules, block_size
from edgepriv.report.formatting import count
from edgepriv.training import quantizers
from edgepriv.tuning.bits import allocated
from edgepriv.tuning.budgets import Budgets

if TYPE_CHECKING:
    from optuna.trial import Trial

MEAN_BITS = (2.0, 6.0, 0.125)
"""Bits of a weight on average: fewest, most, step."""
QUANTIZERS = ("minmax", "lsq", "dorefa", "famili")
"""The simplest first: it wins a tie."""
GRANULARITIES = ("channel", "tensor", "block:64")
"""The same."""
RATES = (1.0, 3.0, 10.0)
"""Learning rates of fine-tuning, as multiples of the recipe's; the same. What must be learnt anew, as to know moved copies,
takes a higher one than what is only to be rounded."""
EPOCHS = (1, 4, 12)
"""Epochs of fine-tuning on each rung: what is promising on one is trained again for the next."""
VARIANTS = (
    {"profile": "latency", "compute": "float32"},
    {"profile": "memory", "compute": "float32"},
    {"profile": "portable", "compute": "float32"},
    {"profile": "latency", "compute": "int8-static"},
)
"""Layouts of the same weights that the finalists are exported in; the simplest first."""
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
_UNIFORM = 4
_STARTS = ((2.5, 3.0), (2.25, 3.0), (2.125, 3.0), (3.0, 1.0), (2.0, 10.0), (4.0, 1.0))
"""Bits of a weight on average, and the learning rate for them: the coarser the weights, the more is to be learnt."""


@dataclass(frozen=True)
class Setting:
    """What a search depends on beside its budgets. ``trains``: whether candidates are trained at all; ``images``: whether they
    can be moved; ``epochs``: of the training that the checkpoint is of; ``holdout``: its examples, as a share of the members;
    ``most_bits``: of a weight on average, what the budget of size leaves, None without one; ``steps``: of an attack in
    adversarial training; ``lr``: learning rate of the recipe's fine-tuning; ``attacked``: whether the checkpoint was
    trained against an adversary, which stays its own; ``fixed``: whether there are filters that nobody trains, which the
    sensitivity does not tell of; ``unfit``: defences that do not go with its training."""

    trains: bool
    images: bool
    epochs: int
    holdout: float
    most_bits: float | None
    steps: int
    lr: float
    attacked: bool = False
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
        attacked = setting.steps + 1 if self.robust_epochs else 1
        return attacked * (epochs + self.robust_epochs) + self.distil_epochs * share

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
        by = "PGD" if self.adversary == "pgd" else "adversarial training"
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


def suggested(trial: "Trial", table: Mapping[str, Any], budgets: Budgets, setting: Setting) -> Plan:
    """The plan of a trial.

    Args:
        trial: of Optuna, which draws.
        table: what each layer loses at each width.
        budgets: which decide what is searched: without one on robustness no attack is trained against.
        setting: of the search.

    Returns:
        The plan.
    """
    bits = trial.suggest_float("mean_bits", MEAN_BITS[0], most_bits(setting), step=MEAN_BITS[2])
    spread = trial.suggest_categorical("spread", ["by sensitivity", "even"])
    quantizer = trial.suggest_categorical("quantizer", list(QUANTIZERS))
    granularity = trial.suggest_categorical("granularity", list(GRANULARITIES))
    if quantizers.QUANTIZERS[quantizer].learned and block_size(granularity) is not None:
        granularity = GRANULARITIES[0]  # a learned step belongs to a channel or a tensor
    rules = allocated(table, bits) if spread == "by sensitivity" else even(table, bits)
    if setting.fixed and not rules.startswith("*="):
        rules += f",*={_UNIFORM}"
    robust = trial.suggest_int("robust_epochs", 3, 12, step=3) if trains_robustly(budgets, setting) else 0
    defence = "none" if budgets.leakage is None else trial.suggest_categorical("defence", setting.defences())
    rate = trial.suggest_categorical("rate", list(RATES)) if setting.trains else RATES[0]
    lr = None if rate == RATES[0] else float(f"{rate * setting.lr:.6g}")  # as a person would write it
    return Plan(
        rules,
        quantizer,
        granularity,
        defence,
        robust,
        distil_epochs=distil_epochs(defence, setting),
        lr=lr,
        adversary=adversary_of(robust, setting),
    )


def trains_robustly(budgets: Budgets, setting: Setting) -> bool:
    """Whether candidates are trained against an adversary.

    Args:
        budgets: that were asked for.
        setting: of the search.

    Returns:
        True with a budget of robustness, unless no candidate is trained at all.
    """
    return budgets.robust is not None and setting.trains


def adversary_of(robust_epochs: int, setting: Setting) -> str | None:
    """Whom a candidate is trained against.

    Args:
        robust_epochs: of its adversarial training.
        setting: of the search.

    Returns:
        A method of the recipe; None for the checkpoint's own.
    """
    if setting.attacked:
        return None
    return "pgd" if robust_epochs else "none"


def distil_epochs(defence: str, setting: Setting) -> int:
    """Epochs of a defence that distils a new model: as many steps as the training of the checkpoint had.

    Args:
        defence: a name of DEFENCES.
        setting: of the search.

    Returns:
        0 for one that distils none.
    """
    if defence == "DMP":
        return round(setting.epochs / setting.holdout)
    return setting.epochs if "selena" in DEFENCES[defence] else 0


def most_bits(setting: Setting) -> float:
    """The most bits of a weight, on average, that are searched: a file of more would miss the budget of size.

    Args:
        setting: of the search.

    Returns:
        A multiple of the step.
    """
    low, high, step = MEAN_BITS
    if setting.most_bits is None:
        return high
    return min(high, low + step * max(0, int((setting.most_bits - low) / step)))


def even(table: Mapping[str, Any], mean_bits: float) -> str:
    """The same bits for every layer: the widest known width that is no wider than asked.

    Args:
        table: whose ``widths`` are known.
        mean_bits: that may be spent.

    Returns:
        Rules as a recipe writes them.
    """
    return f"*={max(width for width in sorted(table['widths']) if width <= max(mean_bits, min(table['widths'])))}"


def uniform(budgets: Budgets, setting: Setting) -> Plan:
    """What all candidates are compared with: 4 bits everywhere, undefended.

    Args:
        budgets: that were asked for.
        setting: of the search.

    Returns:
        The plan.
    """
    robust = 6 if trains_robustly(budgets, setting) else 0
    return Plan(
        f"*={_UNIFORM}",
        QUANTIZERS[0],
        GRANULARITIES[0],
        robust_epochs=robust,
        adversary=adversary_of(robust, setting),
    )


def first_points(budgets: Budgets, setting: Setting) -> list[dict[str, Any]]:
    """Where the search begins, after 4 bits everywhere: fewer bits by sensitivity, with each defence in turn.

    Args:
        budgets: as for ``suggested``.
        setting: of the search.

    Returns:
        Parameters of trials.
    """
    others: dict[str, Any] = {"robust_epochs": 6} if trains_robustly(budgets, setting) else {}
    learned = {"spread": "by sensitivity", "quantizer": "lsq", "granularity": "channel"} | others
    starts = dict((min(bits, most_bits(setting)), rate) for bits, rate in reversed(_STARTS))
    first = min(_STARTS[0][0], most_bits(setting))
    plain = [{"mean_bits": bits, "rate": starts[bits]} | learned for bits in dict.fromkeys([first, *reversed(starts)])]
    if budgets.leakage is None:
        return plain
    defended = [
        {"mean_bits": first, "defence": name, "rate": RATES[-1] if name == MOVED else starts[first]} | learned
        for name in setting.defences()[1:]
    ]
    undefended = [each | {"defence": "none"} for each in plain]
    return [undefended[0], *defended, *undefended[1:]]
