"""Layers of a network as a recipe names them: by patterns on their names, and what is asked of each."""

import math
from fnmatch import fnmatchcase


def is_within(name: str, pattern: str) -> bool:
    """Whether a pattern names something or a module that it stands in: ``layer1`` and ``layer*`` both name
    ``layer1.0.conv1.weight``.

    Args:
        name: dotted, of a module or a parameter.
        pattern: as the shell's, where ``*`` stands for dots too.

    Returns:
        True if it does.
    """
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:depth]), pattern) for depth in range(1, len(parts) + 1))


def rate_rules(rates: str) -> list[tuple[str, float]]:
    """Shares of the learning rate by layer: ``"backbone*=0.1,fc=2"`` -> ``[("backbone*", 0.1), ("fc", 2.0)]``.

    Args:
        rates: rules PATTERN=FACTOR separated by commas; empty for none.

    Returns:
        (pattern, factor) in their order, of which the first that matches counts; what none matches has factor 1.

    Raises:
        ValueError: for anything else, and for a factor that is not above 0.
    """
    rules = []
    for rule in rates.split(",") if rates else ():
        pattern, equals, factor = (part.strip() for part in rule.partition("="))
        try:
            number = float(factor)
        except ValueError:
            number = math.nan
        if not (pattern and equals and math.isfinite(number)):
            raise ValueError(f"layer rates {rates!r}: expected PATTERN=FACTOR, such as backbone*=0.1,fc=1")
        if number <= 0:
            raise ValueError(f"layer rates: {pattern}={factor} would not train these layers: freeze them instead")
        rules.append((pattern, number))
    return rules
