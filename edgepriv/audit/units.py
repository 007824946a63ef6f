"""Perturbations of numbers that do not lie in [0, 1]: asked for and reported in the user's own units, made in [0, 1]."""

from dataclasses import dataclass
from typing import Any

from edgepriv.audit.examples import Examples
from edgepriv.recipe import Recipe, eps_for


@dataclass(frozen=True)
class Unit:
    """``span``: how many of the user's units the range from 0 to 1 is. ``notes``: what there is to say about radii. ``name``:
    what a radius is measured in, to follow the number; empty for inputs in [0, 1]."""

    span: float
    notes: tuple[str, ...] = ()
    name: str = ""

    def restored(self, robustness: dict[str, Any] | None) -> dict[str, Any] | None:
        """The audit's ``robustness`` with its radii in the user's units.

        Args:
            robustness: with radii in [0, 1], or None.

        Returns:
            The same with ``eps`` and the curve in the user's units, and ``unit`` where they have a name; None of None.
        """
        if robustness is None:
            return None
        if self.name:
            robustness = robustness | {"unit": self.name}
        if self.span == 1:
            return robustness
        curve = [point | {"eps": point["eps"] * self.span} for point in robustness["curve"]]
        return robustness | {"eps": robustness["eps"] * self.span, "curve": curve}


def in_unit_range(recipe: Recipe, examples: Examples) -> tuple[Recipe, Unit]:
    """The recipe with the radius measured in [0, 1], and how to turn it back.

    A radius that is asked for is in the user's units; one that is not is the customary share of the range. Where each feature
    has a range of its own, a radius is a share of that, asked for or not.

    Args:
        recipe: settings of the audit.
        examples: members and non-members, with the range of their numbers.

    Returns:
        The recipe and the unit; of inputs that lie in [0, 1] by themselves, the recipe as it is.
    """
    if examples.kind != "other":
        return recipe, Unit(1.0)
    asked, norm = recipe.adversary.eps, recipe.adversary.norm
    share = eps_for(examples.dataset.input_shape, norm)
    if examples.span is None:
        eps = share if asked is None else asked
        return recipe.with_changes(adversary={"eps": eps}), Unit(
            1.0, (_of_ranges(norm, eps),), "of each feature's range"
        )
    eps = share if asked is None else asked / examples.span
    notes = (
        ()
        if asked is not None
        else (
            f"eps is not given: perturbations have the customary radius, {share:g} of the inputs' range, which is "
            f"{share * examples.span:g} in their units (--eps)",
        )
    )
    return recipe.with_changes(adversary={"eps": eps}), Unit(examples.span, notes, "in the inputs' own units")


def _of_ranges(norm: str, eps: float) -> str:
    means = (
        f"a perturbation moves each feature by at most {eps:.3g} times its range"
        if norm == "linf"
        else f"a perturbation is at most {eps:.3g} long, where each feature counts in units of its range"
    )
    return (
        f"{norm} eps {eps:.3g}: {means} (its lowest to its highest value in the two files), and never out of that range"
    )
