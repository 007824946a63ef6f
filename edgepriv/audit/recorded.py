"""An audit as it was written, checked before another is judged by it: a figure that cannot be would decide the gate."""

from itertools import pairwise
from typing import Any

from pydantic import Field, model_validator

from edgepriv.records import Count, Interval, Record, Share, within


class Rate(Record):
    """A true-positive rate at a false-positive rate. ``value``: None where it is not resolved."""

    value: Share | None = None
    ci: Interval | None = None
    ci_simultaneous: Interval | None = None

    @model_validator(mode="after")
    def _in_its_intervals(self) -> "Rate":
        for interval in (self.ci, self.ci_simultaneous):
            within("the rate", self.value, interval)
        return self


class Curve(Record):
    """A ROC."""

    fpr: list[Share]
    tpr: list[Share]

    @model_validator(mode="after")
    def _rises(self) -> "Curve":
        if len(self.fpr) != len(self.tpr):
            raise ValueError(
                f"the curve has {len(self.fpr)} false-positive rates and {len(self.tpr)} true-positive rates"
            )
        if any(one > other for rates in (self.fpr, self.tpr) for one, other in pairwise(rates)):
            raise ValueError("the curve falls somewhere, which no ROC does")
        return self


class Attack(Record):
    """One attack."""

    name: str
    threat_model: str
    auc: Share
    auc_ci: Interval
    auc_ci_simultaneous: Interval | None = None
    n_members: Count
    n_non_members: Count
    n_member_persons: Count | None = None
    n_non_member_persons: Count | None = None
    tpr_at_fpr: dict[str, Rate]
    roc: Curve

    @model_validator(mode="after")
    def _in_its_intervals(self) -> "Attack":
        for interval in (self.auc_ci, self.auc_ci_simultaneous):
            within("the AUC", self.auc, interval)
        return self


class Utility(Record):
    """Accuracy on members and others."""

    n_members: Count
    n_non_members: Count
    member_accuracy: Share | None = None
    member_accuracy_ci: Interval | None = None
    non_member_accuracy: Share
    non_member_accuracy_ci: Interval

    @model_validator(mode="after")
    def _in_their_intervals(self) -> "Utility":
        within("the accuracy on non-members", self.non_member_accuracy, self.non_member_accuracy_ci)
        within("the accuracy on members", self.member_accuracy, self.member_accuracy_ci)
        return self


class Robustness(Record):
    """Accuracy under attack. ``worst_case_accuracy``: None where it was not measured."""

    worst_case_accuracy: Share | None = None
    ci: Interval | None = None
    clean_accuracy: Share | None = None
    n: Count | None = None

    @model_validator(mode="after")
    def _no_better_than_clean(self) -> "Robustness":
        within("the accuracy under attack", self.worst_case_accuracy, self.ci)
        worst, clean = self.worst_case_accuracy, self.clean_accuracy
        if worst is not None and clean is not None and worst > clean + 1e-9:
            raise ValueError(f"the accuracy under attack, {worst:g}, is above that without one, {clean:g}")
        return self


class Planted(Record):
    """What an attack finds of canaries."""

    tpr_at_fpr: dict[str, Rate] = Field(default_factory=dict)


class OnCanaries(Record):
    """One attack on canaries."""

    canaries: Planted | None = None


class Canaries(Record):
    """The audit on canaries."""

    members: Count | None = None
    non_members: Count | None = None
    attacks: list[OnCanaries] = Field(default_factory=list)


class RecordedAudit(Record):
    """The figures of model.audit.json that another audit is compared with."""

    sha256: str
    attacks: list[Attack]
    utility: Utility
    robustness: Robustness | None = None
    canaries: Canaries | None = None
    references: int | None = Field(None, ge=0)
    settings: dict[str, Any] | None = None
