"""How many bits the weights of each layer have, as it is written in a recipe, and how many of them share a scale."""

FULL_WIDTH = 32


def bit_rules(bits: int | str) -> list[tuple[str, int]]:
    """``4`` -> ``[("*", 4)]``; ``"conv1=8,*=4"`` -> ``[("conv1", 8), ("*", 4)]``. Raises ValueError on anything else."""
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
    """``"block:64"`` -> 64; None for ``"tensor"`` and ``"channel"``. Raises ValueError on anything else."""
    if granularity in ("tensor", "channel"):
        return None
    kind, _, size = granularity.partition(":")
    if kind != "block" or size not in {"16", "32", "64", "128", "256"}:
        raise ValueError(f"granularity {granularity!r}: tensor, channel, or block:N with N of 16, 32, 64, 128, 256")
    return int(size)
