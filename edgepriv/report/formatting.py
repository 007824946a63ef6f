"""Numbers as people read them. Fractions become percentages here and nowhere else."""

from collections.abc import Callable, Mapping, Sequence
from math import floor, log10
from typing import Any

NOT_MEASURED = "not measured"
THREAT_MODELS = {
    "adaptive": "attacker knows the defence",
    "oblivious": "attacker does not know the defence",
    "none": "attacker trains nothing",
}


def significant(value: float, digits: int = 3) -> str:
    """``value`` rounded to significant digits, never in exponent notation: 0.0213, 4.56, 1230."""
    if value == 0:
        return "0"
    decimals = digits - 1 - floor(log10(abs(value)))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def budget(robustness: Mapping[str, Any]) -> str:
    """The perturbations of a robustness measurement: "linf eps 0.1", "linf eps 0.1 of each feature's range"."""
    unit = f" {robustness['unit']}" if robustness.get("unit") else ""
    return f"{robustness['norm']} eps {robustness['eps']:.3g}{unit}"


def percent(value: float | None) -> str:
    """0.9612 -> "96.1%"."""
    return NOT_MEASURED if value is None else f"{100 * value:.1f}%"


def rate(value: float | None) -> str:
    """Small rates with two decimals: 0.0012 -> "0.12%"."""
    if value is None:
        return NOT_MEASURED
    return f"{100 * value:.2f}%" if value < 0.0995 else percent(value)


def area(value: float | None) -> str:
    """An AUC with three decimals."""
    return NOT_MEASURED if value is None else f"{value:.3f}"


def milliseconds(value: float | None) -> str:
    """1.2345 -> "1.23 ms"."""
    return NOT_MEASURED if value is None else f"{significant(value)} ms"


def megabytes(value: float | None) -> str:
    """Megabytes of 10^6 bytes with one decimal."""
    return NOT_MEASURED if value is None else f"{value:.1f} MB"


def file_size(size: int | None) -> str:
    """Bytes, kB or MB, the latter of 10^3 and 10^6 bytes."""
    if size is None:
        return NOT_MEASURED
    if size < 1000:
        return f"{size} B"
    return f"{significant(size / 1e6)} MB" if size >= 1_000_000 else f"{significant(size / 1e3)} kB"


def interval(bounds: Sequence[float] | None, text_of: Callable[[float | None], str]) -> str:
    """(0.48, 0.54) -> "[0.480, 0.540]", empty without bounds."""
    return "" if bounds is None else f"[{text_of(bounds[0])}, {text_of(bounds[1])}]"


def with_interval(value: float | None, bounds: Sequence[float] | None, text_of: Callable[[float | None], str]) -> str:
    """A number and its 95% interval."""
    return f"{text_of(value)} {interval(bounds, text_of)}".strip()


def times(ratio: float | None) -> str:
    """A ratio against the reference: 0.13 -> "×0.130"."""
    return "" if ratio is None else f"×{significant(ratio)}"


def signed_points(difference: float | None) -> str:
    """A difference of fractions in percentage points: -0.012 -> "−1.2 points"."""
    return "" if difference is None else f"{100 * difference:+.1f} points".replace("-", "−")


def count(number: int, noun: str) -> str:
    """1, "record" -> "1 record"; 1000, "record" -> "1,000 records"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def and_(names: Sequence[str]) -> str:
    """Names joined by commas, the last by "and"."""
    return ", ".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} and {names[-1]}"


def attack_name(attack: Mapping[str, Any]) -> str:
    """Its name, and "(reversed)" where the records with low scores are the members: it was judged the other way round."""
    return f"{attack['name']} (reversed)" if attack.get("direction") == "reversed" else str(attack["name"])


def parameters(attack: Mapping[str, Any]) -> str:
    """What was chosen for the attack on reference models: "temperature 2, a 0.3", empty where nothing is."""
    chosen = attack.get("chosen", {})
    return ", ".join(f"{name} {value:g}" for name, value in chosen.items() if name != "by")
