"""The robustness that hardening reports of the file it has written: the audit's own measurement, on fewer examples."""

from pathlib import Path
from typing import Any

from edgepriv import progress
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.columns import free_columns
from edgepriv.audit.examples import of_dataset
from edgepriv.audit.feeding import Told
from edgepriv.audit.robust import refuse_radius, robustness_part
from edgepriv.audit.target import open_target
from edgepriv.data import ordinary
from edgepriv.errors import UserError
from edgepriv.project import Trained
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences import DEFENCES

EXAMPLES = 200
"""Non-members that are perturbed unless more are asked for: the first of those that an audit perturbs."""
_LEFT = "the files are written; edgepriv audit measures their robustness"


def asked_of(hardened_by: Recipe, level: str | None, examples: int | None) -> Recipe:
    """The settings of the report.

    Args:
        hardened_by: recipe of the hardening.
        level: "autoattack", "quick" or "none"; None for that of the recipe where perturbed inputs are trained on, else none.
        examples: non-members to perturb; None for ``EXAMPLES``, or the recipe's where these are fewer.

    Returns:
        The recipe with these settings of the audit.

    Raises:
        UserError: for values that no recipe has.
    """
    trained = DEFENCES["adversarial"].active(hardened_by)
    usual = hardened_by.audit
    return hardened_by.with_changes(
        audit={
            "robust": level or (usual.robust if trained else "none"),
            "robust_examples": min(EXAMPLES, usual.robust_examples) if examples is None else examples,
        }
    )


def robustness_of(onnx: Path, given: Trained, asked: Recipe, cache_dir: Path) -> dict[str, Any] | None:
    """``robustness`` of a file that was just written, on non-members.

    Args:
        onnx: the file, with its manifest beside it.
        given: the data and the split.
        asked: settings, of ``asked_of``.
        cache_dir: folder in which outcomes of attacks are kept: an audit with as many examples goes on from them.

    Returns:
        See ``audit.robust.robustness_part``; None where it was not asked for or could not be measured, which is said.
    """
    if asked.audit.robust == "none":
        return None
    dataset = given.dataset
    try:
        told = Told(batch_dependent=asked.model.batch_dependent, accept=True)
        opened = open_target(DeployedModel.open(onnx), of_dataset(dataset), told)
        refuse_radius(opened.target, dataset, asked)
        free, _ = free_columns(dataset, asked.audit.perturb, span=asked.data.range)
        asked_about = ordinary(given.split, dataset).non_members  # canaries are no ordinary records
        kept = cache_dir / "robustness"
        return robustness_part(opened.target, dataset, asked_about, asked, free=free, cache_dir=kept)
    except UserError as reason:
        progress.note(f"robustness was not measured: {reason}")
        return None
    except KeyboardInterrupt:
        progress.note(_LEFT)
        raise
