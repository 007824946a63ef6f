"""The verbs as functions."""

from edgepriv.pipeline import attacks, audit, bench, compare, export, harden, show, train, write_report

__all__ = ["attacks", "audit", "bench", "compare", "export", "harden", "show", "train", "write_report"]
