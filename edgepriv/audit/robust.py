"""The audit of one model file: how perturbed inputs break it."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import progress
from edgepriv.audit import evasion
from edgepriv.audit.answers import Bools
from edgepriv.audit.evasion.grid import refuse_below_a_level
from edgepriv.audit.evasion.kept import Kept
from edgepriv.audit.run import Target
from edgepriv.audit.table_rows import TableRows
from edgepriv.data import Dataset
from edgepriv.recipe import Recipe
from edgepriv.training.device import device_of, placed
from edgepriv.training.pgd import budget_of

CURVE = (0.0, 0.5, 1.0, 2.0)
"""Radii of the robustness curve, as multiples of eps."""


def refuse_radius(target: Target, dataset: Dataset, recipe: Recipe) -> None:
    """Refuse a radius within which the file cannot be fed any change.

    Args:
        target: the opened model.
        dataset: the examples.
        recipe: settings of the audit.

    Raises:
        UserError: for a file of bytes and a radius below one level.
    """
    if target.bytes_in and recipe.audit.robust != "none":
        refuse_below_a_level(budget_of(recipe.adversary, dataset.input_shape).eps)


def robustness_part(
    target: Target,
    dataset: Dataset,
    index: np.ndarray,
    recipe: Recipe,
    label: str = "robustness",
    *,
    free: Bools | None = None,
    cache_dir: Path | None = None,
) -> dict[str, Any] | None:
    """``robustness`` of the audit.

    Args:
        target: the opened model.
        dataset: the examples.
        index: int64 [n], places of those that may be attacked; at most ``recipe.audit.robust_examples`` are.
        recipe: settings of the audit.
        label: of the bar.
        free: bool, the shape of an example: what may change, None for everything.
        cache_dir: where the outcome of each attack that has ended is kept, so that an interrupted audit goes on from there;
            None keeps nothing.

    Returns:
        Part of the audit's JSON, with intervals by person where the data say whose records they are (``n_persons``); None
        where the recipe asks for no attack, or a table has no column that one may change.
        Where the gradients are of no use ``worst_case_accuracy`` is None, ``at_most`` is an upper bound and ``warnings`` say
        why.
    """
    if recipe.audit.robust == "none":
        return None
    budget = budget_of(recipe.adversary, dataset.input_shape)
    chosen = np.random.default_rng(recipe.seed).permutation(index)[: recipe.audit.robust_examples]
    x, y = dataset.inputs(chosen), dataset.y[chosen]
    budget_and_seed = {"norm": budget.norm, "eps": budget.eps, "seed": recipe.seed}
    rows = TableRows.of(dataset.encoding)
    if rows is not None and not rows.free.any():
        return None
    groups = None if dataset.groups is None else dataset.groups[chosen]
    # Which examples they are, so that another version on the same ones can be compared example by example.
    common_to_all = {"examples_sha256": sha256(chosen.astype(np.int64).tobytes()).hexdigest()}
    persons = common_to_all | ({} if groups is None else {"n_persons": len(np.unique(groups))})
    settings = budget_and_seed | {"steps": recipe.audit.pgd_steps, "free": free}
    if dataset.encoding is not None:
        settings |= {"rows": dataset.encoding.record}
    kept = Kept.of(cache_dir, target.sha256, target.predict, x, y, settings)
    common: dict[str, Any] = budget_and_seed | {
        "level": recipe.audit.robust,
        "setting": evasion.Setting(free, target.bytes_in, target.head, target.tolerance, rows, groups),
        "kept": kept,
    }
    if target.twin is None:
        with progress.shown(f"{label}, without gradients", unit="answer", leave=False) as bar:

            def ask(x: np.ndarray) -> np.ndarray:
                bar.update(len(x))
                return target.predict(x)

            return persons | evasion.without_gradients(ask, x, y, **common, reason=target.no_twin)
    with progress.shown(label, unit="step") as bar, placed(target.twin, device_of(recipe.device)):
        return persons | evasion.robustness(
            target.twin,
            target.predict,
            x,
            y,
            **common,
            steps=recipe.audit.pgd_steps,
            eps_curve=[multiple * budget.eps for multiple in CURVE],
            progress=progress.follower(bar),
        )
