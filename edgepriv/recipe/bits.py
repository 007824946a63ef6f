"""How many bits the weights of each layer have, as it is written in a recipe, and how many of them share a scale."""

FULL_WIDTH = 32


def bit_rules(bits: int | str) -> list[tuple[str, int]]:
    """How many bits weights have, by the name of their layer: ``"conv1=8,*=4"`` -> ``[("conv1", 8), ("*", 4)]``.

    Args:
        bits: a number for all layers, or rules PATTERN=BITS separated by commas.

    Returns:
        (pattern, bits) in their order, of which the first that matches counts; 32 stands for weights that are not quantized.

    Raises:
        ValueError: for anything but 2 to 16, or 32.
    """
    if isinstance(bits, int):
        rules = [("*", bits)]
    else:
        rules = []
        for rule in bits.split(","):
            pattern, equals, width = (part.strip() for part in rule.partition("="))
            if not (pattern and equals and width.isdigit()):
                raise ValueError(f"bits {bits!r}: expected a number, or rules such as 'conv1=8,fc*=2,*=4'")
            rules.append((pattern, int(width)))
    for pattern, bits_asked in rules:
        if bits_asked not in {*range(2, 17), FULL_WIDTH}:
            raise ValueError(f"bits {bits_asked} for {pattern!r}: weights have 2 to 16 bits, or 32 (not quantized)")
    return rules


def block_size(granularity: str) -> int | None:
    """How many weights in a row share a scale: ``"block:64"`` -> 64.

    Args:
        granularity: "tensor", "channel" or "block:N".

    Returns:
        N of 16, 32, 64, 128, 256; None for "tensor" and "channel".

    Raises:
        ValueError: for anything else.
    """
    if granularity in ("tensor", "channel"):
        return None
    kind, _, size = granularity.partition(":")
    if kind != "block" or size not in {"16", "32", "64", "128", "256"}:
        raise ValueError(f"granularity {granularity!r}: tensor, channel, or block:N with N of 16, 32, 64, 128, 256")
    return int(size)
