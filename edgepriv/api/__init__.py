"""The commands as typed functions: what ``import edgepriv`` offers. Heavy libraries are imported when one is called."""

from edgepriv.api.auditing import attacks, audit, defences
from edgepriv.api.building import export, harden, train
from edgepriv.api.examining import bench, compare, show
from edgepriv.api.quickstart import quickstart
from edgepriv.api.tuning import tune

__all__ = [
    "attacks",
    "audit",
    "bench",
    "compare",
    "defences",
    "export",
    "harden",
    "quickstart",
    "show",
    "train",
    "tune",
]
