"""What may be chosen: the axes of the search, where it begins, and the plan that a point of it means."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgepriv.recipe import block_size
from edgepriv.training import quantizers
from edgepriv.tuning.bits import allocated
from edgepriv.tuning.budgets import Budgets
from edgepriv.tuning.plan import DEFENCES, MOVED, Plan, Setting

if TYPE_CHECKING:
    from optuna.trial import Trial

MEAN_BITS = (2.0, 6.0, 0.125)
"""Bits of a weight on average: fewest, most, step."""
ROBUST_EPOCHS = (3, 12, 3)
"""Epochs of adversarial training: fewest, most, step."""
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
_UNIFORM = 4
_STARTS = ((2.5, 3.0), (2.25, 3.0), (2.125, 3.0), (3.0, 1.0), (2.0, 10.0), (4.0, 1.0))
"""Bits of a weight on average, and the learning rate for them: the coarser the weights, the more is to be learnt."""


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
    searched = trains_robustly(budgets, setting)
    fewest, most, step = ROBUST_EPOCHS
    robust = trial.suggest_int("robust_epochs", fewest, most, step=step) if searched else setting.robust_epochs
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
        adversary=adversary_of(budgets, setting),
    )


def trains_robustly(budgets: Budgets, setting: Setting) -> bool:
    """Whether the epochs of adversarial training are searched.

    Args:
        budgets: that were asked for.
        setting: of the search.

    Returns:
        True with a budget of robustness, unless no candidate is trained at all.
    """
    return budgets.robust is not None and setting.trains


def adversary_of(budgets: Budgets, setting: Setting) -> str | None:
    """Whom candidates are trained against.

    Args:
        budgets: as for ``suggested``.
        setting: of the search.

    Returns:
        A method of the recipe; None for the checkpoint's or the recipe's own.
    """
    if setting.attacked:
        return None
    return "pgd" if trains_robustly(budgets, setting) else "none"


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
    robust = 6 if trains_robustly(budgets, setting) else setting.robust_epochs
    return Plan(
        f"*={_UNIFORM}",
        QUANTIZERS[0],
        GRANULARITIES[0],
        robust_epochs=robust,
        adversary=adversary_of(budgets, setting),
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
