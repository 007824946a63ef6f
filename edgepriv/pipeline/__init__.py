"""What each command does, as functions of a recipe and paths; each reads as the list of its stages.

All raise UserError on bad input, write files whole or not at all, and return what they wrote or measured as plain
dictionaries that are JSON.
"""

from edgepriv.pipeline._audit import attacks, audit, audit_file
from edgepriv.pipeline._bench import bench
from edgepriv.pipeline._compare import compare
from edgepriv.pipeline._defences import defences
from edgepriv.pipeline._diagnose import diagnose
from edgepriv.pipeline._export import export
from edgepriv.pipeline._export_foreign import export_foreign
from edgepriv.pipeline._harden import harden
from edgepriv.pipeline._hardening_files import written_by_harden
from edgepriv.pipeline._page import write_report
from edgepriv.pipeline._quickstart import quickstart
from edgepriv.pipeline._robust import robustness_of
from edgepriv.pipeline._sensitivity import sensitivity_of
from edgepriv.pipeline._show import show
from edgepriv.pipeline._train import train

__all__ = [
    "attacks",
    "audit",
    "audit_file",
    "bench",
    "compare",
    "defences",
    "diagnose",
    "export",
    "export_foreign",
    "harden",
    "quickstart",
    "robustness_of",
    "sensitivity_of",
    "show",
    "train",
    "write_report",
    "written_by_harden",
]
