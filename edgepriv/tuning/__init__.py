"""The search for the smallest, most private or most accurate file within budgets. It calls ``edgepriv.pipeline``."""

from edgepriv.tuning.run import tune

__all__ = ["tune"]
