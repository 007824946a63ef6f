"""How training code calls the tensors of a network: what wrappers, averaging, profilers and weight norm make of their names."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

State = Mapping[str, Tensor]

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch's own wrappers put into the names of what they wrap, in any order and at any depth."""
_COUNTERS = ("total_ops", "total_params", "n_averaged", "num_batches_tracked", "_metadata", "_extra_state")
"""Entries that profilers, averaging and torch keep beside weights, and that no answer depends on."""
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|average[ds]?|shadow)([._]|$)|n_averaged", re.IGNORECASE)
_OLD_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
_SHOWN = 4


def unwrapped_name(name: str) -> str:
    """A name without what torch's wrappers put into it.

    Args:
        name: of a tensor, dotted.

    Returns:
        The name inside.
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def renamed(name: str, wanted: State) -> str:
    """A name as a network has it: weight norm's two forms in torch have their own names for the same two tensors.

    Args:
        name: in the file.
        wanted: the network's own.

    Returns:
        The name in the network's form; others as they are.
    """
    layer, _, last = name.rpartition(".")
    other = f"{layer}.{_OLD_NORM.get(last, last)}" if layer else _OLD_NORM.get(last, last)
    return other if name not in wanted and any(own.endswith(_OLD_NORM.get(last, "\n")) for own in wanted) else name


def is_counter(name: str) -> bool:
    """Whether a tensor is no weight: no answer depends on it.

    Args:
        name: dotted.

    Returns:
        True by its last part.
    """
    return name.rpartition(".")[2] in _COUNTERS


def is_averaged(title: str, tensors: State) -> bool:
    """Whether a dictionary of tensors holds averaged weights.

    Args:
        title: where it stands, prefix included.
        tensors: by name.

    Returns:
        True by its names.
    """
    return bool(_AVERAGED.search(title)) or "n_averaged" in tensors


def some(names: Sequence[str]) -> str:
    """The first few of many names.

    Args:
        names: any number.

    Returns:
        Them, and how many more there are.
    """
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
