"""How long the training of one more model by a checkpoint's recipe takes here, by a few of its epochs."""

import torch

from edgepriv.errors import UserError
from edgepriv.extra_data import with_extra
from edgepriv.training import new_classifier, run_stages
from edgepriv.tuning.clock import now
from edgepriv.tuning.question import Question

_FEW = 3
"""Epochs of a second run, which tells what comes once, such as fixed features, from what each epoch costs."""
_SHARE = 0.05
"""Of the time that is left, that the second run may take."""


def seconds_of_training(question: Question, left: float) -> float | None:
    """Seconds of the stage ``train`` of one reference model, which has one thread.

    Args:
        question: with the checkpoint and its data.
        left: seconds that the search has; where they are few, one epoch tells.

    Returns:
        An estimate for this machine, as the checkpoint may have been trained on another one; None where its training cannot be
        begun again, or no time is left.
    """
    epochs = question.given.checkpoint.recipe.train.epochs
    if epochs == 0:
        return 0.0
    if left <= 0:
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first = _timed(question, 1)
        if _FEW * first > _SHARE * left or epochs <= _FEW:
            return epochs * first
        more = _timed(question, _FEW)
    except UserError:
        return None
    finally:
        torch.set_num_threads(threads)
    each = max(0.0, more - first) / (_FEW - 1)
    return max(first, more) + each * (epochs - _FEW)


def seconds_of_a_pass(question: Question) -> float | None:
    """Seconds of one epoch of the checkpoint's own training, on the threads of this process.

    Args:
        question: with the checkpoint and its data.

    Returns:
        The time, measured here; None where the training cannot be begun again.
    """
    recipe = question.given.checkpoint.recipe
    try:
        return _timed(question, 1) / ((recipe.adversary.steps + 1) if recipe.train.adversarial else 1)
    except UserError:
        return None


def _timed(question: Question, epochs: int) -> float:
    given, asked = question.given, question.recipe
    start = {} if asked is None or asked.start.path is None else {"start": {"path": asked.start.path}}
    recipe = given.checkpoint.recipe.with_changes(train={"epochs": epochs}, **start)
    recipe, dataset = with_extra(recipe, given.dataset, given.split, quiet=True)
    began = now()
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    run_stages(classifier, recipe, ("train",), dataset, given.split, quiet=True)
    return now() - began
