"""The commands as typed functions: what ``import edgepriv`` offers. Heavy libraries are imported when one is called."""

from edgepriv.api.building import export, harden, train
from edgepriv.api.examining import attacks, audit, bench, compare, defences, show

__all__ = ["attacks", "audit", "bench", "compare", "defences", "export", "harden", "show", "train"]
