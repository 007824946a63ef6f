"""What a user asks of one audit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.baseline import Baseline
from edgepriv.audit.brought import NOTHING_BROUGHT, Brought
from edgepriv.recipe import Model


@dataclass(frozen=True)
class Request:
    """Settings of an audit, and what it may use.

    ``cache_dir``: folder in which reference models, and outcomes of evasion attacks, are kept. ``changes``: sections of the
    recipe by name, as ``Recipe.with_changes`` takes them. ``data_dir``: folder of the data sets; None for the default one.
    ``float_twin``: audit the float twin as well. ``cut_head``: audit the file with its head removed. ``accept_accuracy_loss``:
    continue though the model is hardly better than chance on its members. ``confirmed``: the user's own module, which a
    manifest alone may not ask to import. ``loss_trace``: file of the losses of the model's training. ``brought``: the
    user's own reference models, or the function that trains them. ``show_records``: put the most exposed records into the
    audit, which is then as private as they are. ``baseline``: the audit of an earlier version, which must be of the same
    data. ``also``: other releases of the model, which an attacker may hold beside it. ``input_shape``: of one example, as the
    user states it for a file that leaves sizes open.
    """

    cache_dir: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    data_dir: Path | None = None
    float_twin: bool = True
    cut_head: bool = False
    accept_accuracy_loss: bool = False
    confirmed: Model | None = None
    loss_trace: Path | None = None
    brought: Brought = NOTHING_BROUGHT
    baseline: Baseline | None = None
    show_records: bool = False
    also: tuple[DeployedModel, ...] = ()
    input_shape: tuple[int, ...] | None = None

    def refuse_other_data(self, sha256: str) -> None:
        """Refuse data that the baseline, if there is one, was not measured on.

        Args:
            sha256: of the data.

        Raises:
            UserError: where they differ.
        """
        if self.baseline is not None:
            self.baseline.refuse_other_data(sha256)
