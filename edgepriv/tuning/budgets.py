"""What a file must keep: the budgets of ``edgepriv tune``, and whether measured figures keep them."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgepriv.errors import UserError

_UNITS = {"b": 1, "kb": 1_000, "kib": 1_024, "mb": 1_000_000, "mib": 1_048_576}
_STANDARD_ERRORS = 2 * 1.959964
"""Width of a 95% interval in standard errors."""


@dataclass(frozen=True)
class Size:
    """``limit``: bytes, or a share of the float file where ``relative``."""

    limit: float
    relative: bool


@dataclass(frozen=True)
class Leakage:
    """``tpr``: the largest true-positive rate of any attack at a false-positive rate of ``fpr``."""

    tpr: float
    fpr: float


@dataclass(frozen=True)
class Budgets:
    """Budgets; None is none.

    ``drop``: points of accuracy against the float file. ``robust``: the least accuracy under attack, a share.
    """

    size: Size | None = None
    drop: float | None = None
    leakage: Leakage | None = None
    robust: float | None = None

    @property
    def goal(self) -> str:
        """What is best among files that keep all budgets: "size" where it has none of its own, else "accuracy"."""
        return "size" if self.size is None else "accuracy"

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Kept:
    """One budget beside its figure. ``excess``: by which share of the limit it is missed, 0 or below where it is kept."""

    budget: str
    limit: float
    value: float
    ci: tuple[float, float] | None
    excess: float

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.excess <= 0


def budgets_of(max_size: str | None, max_drop: float | None, max_tpr: str | None, min_robust: float | None) -> Budgets:
    """The budgets as they are written.

    Args:
        max_size: such as "0.15x" or "60kB".
        max_drop: points of accuracy.
        max_tpr: such as "0.01@0.001".
        min_robust: a share, such as 0.45.

    Returns:
        The budgets.

    Raises:
        UserError: for a budget that is malformed or that no file, or every file, keeps; and where there is none.
    """
    if all(given is None for given in (max_size, max_drop, max_tpr, min_robust)):
        raise UserError(
            "nothing to tune for: give a budget, such as --max-drop 1.0 (points of accuracy), --max-size 0.15x, --max-tpr "
            "0.01@0.001 or --min-robust 0.45"
        )
    for option, number in (("--max-drop", max_drop), ("--min-robust", min_robust)):
        if number is not None and not isinstance(number, int | float):
            raise UserError(f"{option} {number!r}: expected a number")
    if max_drop is not None and not 0 < max_drop <= 100:
        raise UserError(f"--max-drop {max_drop:g}: expected points of accuracy, above 0 and at most 100")
    if min_robust is not None and not 0 < min_robust < 1:
        hint = f"; {min_robust:g}% is {min_robust / 100:g}" if 2 <= min_robust < 100 else ""
        raise UserError(f"--min-robust {min_robust:g}: expected a share above 0 and below 1, such as 0.45{hint}")
    return Budgets(
        None if max_size is None else _size(max_size),
        max_drop,
        None if max_tpr is None else _leakage(max_tpr),
        min_robust,
    )


def _size(text: str) -> Size:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([xX]|[kmKM]?i?[bB])\s*", str(text))
    if match is None:
        raise UserError(
            f"--max-size {text!r}: expected a share of the float file such as 0.15x, or bytes such as 60kB or 1.5MB"
        )
    value, unit = float(match[1]), match[2].lower()
    if unit == "x" and not 0 < value < 1:
        raise UserError(f"--max-size {text}: expected a share of the float file above 0x and below 1x, such as 0.15x")
    if not 0 < value < math.inf or unit not in {"x", *_UNITS}:
        raise UserError(f"--max-size {text}: expected a size above 0, in B, kB, KiB, MB or MiB")
    return Size(value, True) if unit == "x" else Size(value * _UNITS[unit], False)


def _leakage(text: str) -> Leakage:
    tpr, at, fpr = str(text).partition("@")
    try:
        rates = Leakage(float(tpr), float(fpr))
    except ValueError:
        rates = Leakage(math.nan, math.nan)
    if not at or not (0 < rates.tpr < 1 and 0 < rates.fpr < 1):
        raise UserError(
            f"--max-tpr {text!r}: expected a true-positive rate at a false-positive rate, both shares, such as 0.01@0.001"
        )
    if rates.tpr < rates.fpr:
        raise UserError(
            f"--max-tpr {text}: guessing finds {rates.fpr:g} of the members at that false-positive rate, so no file finds "
            f"fewer than that; ask for more than {rates.fpr:g}"
        )
    return rates


def refuse_unresolvable(budgets: Budgets, halves: Mapping[str, int]) -> None:
    """Refuse a false-positive rate that so few non-members cannot resolve.

    Args:
        budgets: that were asked for.
        halves: non-members by which the file is chosen, and by which it is told, by name.

    Raises:
        UserError: with the rate that they do resolve.
    """
    if budgets.leakage is None:
        return
    fewest = min(halves.values())
    if budgets.leakage.fpr * fewest < 1 - 1e-9:
        raise UserError(
            f"--max-tpr ...@{budgets.leakage.fpr:g}: the file is chosen by one half of the non-members and its figures are of "
            f"the other, and {fewest:,} non-members resolve no false-positive rate below 1/{fewest}: give more of them, or ask "
            f"for @{_rounded_up(1 / fewest):g} or more"
        )


def refuse_too_small(budgets: Budgets, least: int, floating: int) -> None:
    """Refuse a size that not even 2 bits for every weight reach.

    Args:
        budgets: that were asked for.
        least: bytes that the numbers alone take at 2 bits, without the graph.
        floating: bytes of the float file.

    Raises:
        UserError: with the least size.
    """
    if budgets.size is None:
        return
    limit = limit_in_bytes(budgets.size, floating)
    if limit < least:
        raise UserError(
            f"--max-size leaves {limit:,.0f} bytes, and the numbers of this network take {least:,} at 2 bits "
            f"({least / floating:.3f}x of the float file's {floating:,}), without the graph: no file is smaller"
        )


def limit_in_bytes(size: Size, floating: int) -> float:
    """A size as bytes.

    Args:
        size: the budget.
        floating: bytes of the float file.

    Returns:
        Bytes.
    """
    return size.limit * floating if size.relative else size.limit


def size_kept(figures: Mapping[str, Any], budgets: Budgets) -> bool:
    """Whether a file is as small as it must be.

    Args:
        figures: ``size_bytes`` and ``float_bytes``.
        budgets: that were asked for.

    Returns:
        True without a budget.
    """
    return budgets.size is None or figures["size_bytes"] <= limit_in_bytes(budgets.size, figures["float_bytes"])


def judged(budgets: Budgets, figures: Mapping[str, Any], *, margin: float = 0.0, slack: float = 1.0) -> list[Kept]:
    """Each budget beside its figure.

    Args:
        budgets: that were asked for.
        figures: ``size_bytes``, ``float_bytes``; ``drop``, ``tpr``, ``robust``: ``value`` and ``ci`` where measured.
        margin: standard errors by which a figure must keep its budget; below 0, by which it may miss it.
        slack: factor of the budget for accuracy, 1 or more, of a candidate whose training was cut short.

    Returns:
        Those that were asked for and measured.
    """
    rows = []
    if budgets.size is not None:
        limit = limit_in_bytes(budgets.size, figures["float_bytes"])
        rows.append(Kept("size", limit, figures["size_bytes"], None, figures["size_bytes"] / limit - 1))
    bounds: dict[str, float | None] = {
        "drop": None if budgets.drop is None else budgets.drop * slack,
        "tpr": None if budgets.leakage is None else budgets.leakage.tpr,
        "robust": budgets.robust,
    }
    for name, bound in bounds.items():
        figure = figures.get(name)
        if bound is None or figure is None:
            continue
        low, high = figure["ci"]
        by = margin * (high - low) / _STANDARD_ERRORS
        short = bound - (figure["value"] - by) if name == "robust" else figure["value"] + by - bound
        rows.append(Kept(name, bound, figure["value"], (low, high), short / bound))
    return rows


def _rounded_up(rate: float) -> float:
    power = 10.0 ** math.floor(math.log10(rate))
    return float(math.ceil(rate / power - 1e-9) * power)
