"""Numbers as people read them. Fractions become percentages here and nowhere else."""

from collections.abc import Callable, Mapping, Sequence
from math import floor, log10
from typing import Any

NOT_MEASURED = "not measured"


def significant(value: float, digits: int = 3) -> str:
    """``value`` rounded to significant digits, never in exponent notation: 0.0213, 4.56, 1230.

    Args:
        value: any finite number.
        digits: that are kept, at least 1.

    Returns:
        The number with commas between thousands.
    """
    if value == 0:
        return "0"
    decimals = digits - 1 - floor(log10(abs(value)))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def budget(robustness: Mapping[str, Any]) -> str:
    """The perturbations of a robustness measurement: "linf eps 0.1", "linf eps 0.1 of each feature's range".

    Args:
        robustness: ``robustness`` of an audit: ``norm``, ``eps``, and ``unit`` where the inputs do not lie in [0, 1].

    Returns:
        The norm, then eps with three significant digits.
    """
    unit = f" {robustness['unit']}" if robustness.get("unit") else ""
    return f"{robustness['norm']} eps {robustness['eps']:.3g}{unit}"


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal: 0.9612 -> "96.1%".

    Args:
        value: fraction in [0, 1], None if it was not measured.

    Returns:
        The percentage, or "not measured".
    """
    return NOT_MEASURED if value is None else f"{100 * value:.1f}%"


def rate(value: float | None) -> str:
    """A rate as a percentage, with two decimals where it is small: 0.0012 -> "0.12%".

    Args:
        value: fraction in [0, 1], None if it was not measured.

    Returns:
        Two decimals below 9.95%, else one; or "not measured".
    """
    if value is None:
        return NOT_MEASURED
    return f"{100 * value:.2f}%" if value < 0.0995 else percent(value)


def area(value: float | None) -> str:
    """An AUC with three decimals.

    Args:
        value: in [0, 1], None if it was not measured.

    Returns:
        The number, or "not measured".
    """
    return NOT_MEASURED if value is None else f"{value:.3f}"


def latency_range(ratio: Mapping[str, Any]) -> tuple[float, float]:
    """How far the ratio of latencies is known.

    Args:
        ratio: of a bench.

    Returns:
        Its 95% interval; the smallest and the largest over the rounds where there is none.
    """
    low, _, high = ratio["latency_rounds"]
    interval = ratio.get("latency_interval")
    return (low, high) if interval is None else (interval[0], interval[1])


def milliseconds(value: float | None) -> str:
    """A duration with three significant digits: 1.2345 -> "1.23 ms".

    Args:
        value: milliseconds, None if it was not measured.

    Returns:
        The number and its unit, or "not measured".
    """
    return NOT_MEASURED if value is None else f"{significant(value)} ms"


def megabytes(value: float | None) -> str:
    """An amount of memory with one decimal.

    Args:
        value: megabytes of 10^6 bytes, None if it was not measured.

    Returns:
        The number and its unit, or "not measured".
    """
    return NOT_MEASURED if value is None else f"{value:.1f} MB"


def file_size(size: int | None) -> str:
    """A size in B, kB of 10^3 bytes or MB of 10^6 bytes, whichever is the largest that fits.

    Args:
        size: bytes, None if it was not measured.

    Returns:
        Three significant digits and the unit, or "not measured".
    """
    if size is None:
        return NOT_MEASURED
    if size < 1000:
        return f"{size} B"
    return f"{significant(size / 1e6)} MB" if size >= 1_000_000 else f"{significant(size / 1e3)} kB"


def interval(bounds: Sequence[float] | None, text_of: Callable[[float | None], str]) -> str:
    """(0.48, 0.54) -> "[0.480, 0.540]", empty without bounds.

    Args:
        bounds: lower and upper end, or None.
        text_of: how one end is written.

    Returns:
        Both ends in brackets, or an empty text.
    """
    return "" if bounds is None else f"[{text_of(bounds[0])}, {text_of(bounds[1])}]"


def with_interval(value: float | None, bounds: Sequence[float] | None, text_of: Callable[[float | None], str]) -> str:
    """A number and its 95% interval: "0.512 [0.480, 0.540]".

    Args:
        value: the number, None if it was not measured.
        bounds: lower and upper end of the interval; None without one.
        text_of: how the number and each end are written.

    Returns:
        The number alone where there is no interval.
    """
    return f"{text_of(value)} {interval(bounds, text_of)}".strip()


def times(ratio: float | None) -> str:
    """A ratio against the reference: 0.13 -> "×0.130".

    Args:
        ratio: measured / reference, or None.

    Returns:
        Three significant digits after the sign; empty for None.
    """
    return "" if ratio is None else f"×{significant(ratio)}"


def signed_points(difference: float | None) -> str:
    """A difference of fractions in percentage points: -0.012 -> "−1.2 points".

    Args:
        difference: of two fractions, in [-1, 1], or None.

    Returns:
        Points with their sign and one decimal; empty for None.
    """
    return "" if difference is None else f"{100 * difference:+.1f} points".replace("-", "−")


def count(number: int, noun: str) -> str:
    """A number with its noun: 1, "record" -> "1 record"; 1000, "record" -> "1,000 records".

    Args:
        number: how many, 0 or more.
        noun: in the singular; its plural ends in s.

    Returns:
        Number and noun.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def and_(names: Sequence[str]) -> str:
    """Names as a list in a sentence: commas between them, and "and" before the last.

    Args:
        names: any number of them.

    Returns:
        The list; empty without names.
    """
    return ", ".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} and {names[-1]}"


def attack_name(attack: Mapping[str, Any]) -> str:
    """The name of an attack, with "(reversed)" where low scores mean members: it was judged the other way round.

    Args:
        attack: a row of the audit's ``attacks``.

    Returns:
        The name as tables show it.
    """
    return f"{attack['name']} (reversed)" if attack.get("direction") == "reversed" else str(attack["name"])


def parameters(attack: Mapping[str, Any]) -> str:
    """What was chosen for the attack on reference models: "temperature 2, release 1 alone", empty where nothing is.

    Args:
        attack: a row of the audit's ``attacks``.

    Returns:
        Names and numbers, and ways as they are called, joined by commas.
    """
    chosen = attack.get("chosen", {})
    return ", ".join(
        value if isinstance(value, str) else f"{name} {value:g}" for name, value in chosen.items() if name != "by"
    )
