"""What is searched for, opened and checked before the search."""

from pathlib import Path

from edgepriv import data, project
from edgepriv.errors import UserError
from edgepriv.hardening_recipe import hardening_recipe
from edgepriv.recipe import Recipe
from edgepriv.training.eps import CUSTOMARY, stated
from edgepriv.tuning.budgets import Budgets, refuse_unresolvable
from edgepriv.tuning.question import Question


def question_of(model: Path, recipe: Recipe | None, budgets: Budgets, data_dir: Path | None) -> Question:
    """Open what is searched for.

    Args:
        model: a checkpoint of ``edgepriv train``.
        recipe: what all candidates have in common; None for the usual.
        budgets: that the file must keep.
        data_dir: folder of the data sets; None for the default one.

    Returns:
        The question, with the checkpoint's data, proved to be those that it was trained on.

    Raises:
        UserError: for a checkpoint that cannot be tuned, and for budgets that its non-members cannot resolve.
    """
    given = project.open_checkpoint(model, recipe, data_dir)
    if set(given.checkpoint.stages) - {"train"}:
        raise UserError(
            f"{model} has been hardened already (stages {', '.join(given.checkpoint.stages)}): tune the checkpoint that it was "
            "made from"
        )
    hardening_recipe(
        given.checkpoint.recipe, recipe, {}, model
    )  # one of another model is refused before anything is measured
    halves = data.halves_of(given.dataset, given.split)
    if min(len(split.non_members) for split in halves) < 2:
        raise UserError(
            f"{model} has {len(given.split.non_members)} non-members: a file is chosen by one half of them and its figures are "
            "of the other, so give more"
        )
    sizes = {name: len(split.non_members) for name, split in zip(("choosing", "telling"), halves, strict=True)}
    refuse_unresolvable(budgets, sizes)
    question = Question(model, recipe, given, budgets, halves, data_dir)
    if budgets.robust is not None:
        _refuse_unstated_eps(question)
    reason = question.unfit("none")
    if reason is not None:
        raise UserError(f"{model} cannot be tuned: {reason}")
    start = given.checkpoint.recipe.start
    if budgets.leakage is not None and start.active and (recipe is None or recipe.start.path is None):
        raise UserError(
            f"--max-tpr: the reference models of an audit start from {start.file}, as {model} did: give a --recipe that says "
            "where it is (path under [start])"
        )
    return question


def _refuse_unstated_eps(question: Question) -> None:
    dataset, made_by = question.given.dataset, question.given.checkpoint.recipe
    if dataset.name not in CUSTOMARY and not stated({}, question.recipe, made_by, dataset.input_shape):
        raise UserError(
            f"--min-robust: no radius of perturbations is customary for {dataset.name}: give a --recipe that says it (eps "
            "under [adversary])"
        )
